//! Random commands: mostly well formed, on few keys, with the numbers and options where mistakes live.

use emberkeep_storage::random::Random;

/// Makes commands from a seed.
pub struct Generator {
    random: Random,
}

/// What stands for an argument in a form.
const FORMS: &[&str] = &[
    "GET k",
    "SET k v",
    "SET k v opt",
    "SET k v opt opt",
    "SET k v opt opt opt",
    "SET k n",
    "SETNX k v",
    "SETEX k t v",
    "PSETEX k t v",
    "GETSET k v",
    "GETDEL k",
    "GETEX k",
    "GETEX k opt",
    "GETEX k opt opt",
    "MGET k k k",
    "MSET k v k v",
    "MSETNX k v k v",
    "INCR k",
    "INCRBY k n",
    "DECR k",
    "DECRBY k n",
    "INCRBYFLOAT fk f",
    "APPEND k v",
    "STRLEN k",
    "GETRANGE k n n",
    "SUBSTR k n n",
    "SETRANGE k n v",
    "DEL k k",
    "UNLINK k",
    "EXISTS k k k",
    "EXPIRE k t",
    "EXPIRE k t flag",
    "PEXPIRE k t flag flag",
    "EXPIREAT k t",
    "PEXPIREAT k t flag",
    "TTL k",
    "PTTL k",
    "EXPIRETIME k",
    "PEXPIRETIME k",
    "PERSIST k",
    "TYPE k",
    "TOUCH k k",
    "RENAME k k",
    "RENAMENX k k",
    "COPY k k",
    "COPY k k copy",
    "COPY k k copy copy",
    "DBSIZE",
    "SELECT db",
    "FLUSHDB",
    "OBJECT ENCODING k",
    "OBJECT REFCOUNT k",
    "KEYS pattern",
    "SCAN 0 COUNT 1000 MATCH pattern",
    "MULTI",
    "EXEC",
    "EXEC",
    "EXEC",
    "DISCARD",
    "WATCH k",
    "UNWATCH",
    "ECHO v",
    "PING v",
    "DUMP k",
    "SET k v EX t",
    "SET fk f",
    "INCR fk",
    "GET fk",
    "INCRBYFLOAT fk f",
    "SET k v",
];
const OPTIONS: &[&str] = &[
    "NX", "XX", "GET", "KEEPTTL", "EX t", "PX t", "EXAT t", "PXAT t", "PERSIST", "EX", "nope", "ex 100", "nx",
];
const FLAGS: &[&str] = &["NX", "XX", "GT", "LT", "nope", "gt"];
const COPIES: &[&str] = &["REPLACE", "DB db", "DB", "nope"];
const DATABASES: &[&str] = &["0", "0", "0", "1", "15", "16", "-1", "x", ""];
/// Lifetimes and instants. One that ends while the test runs would be a race.
const TIMES: &[&str] = &[
    "0",
    "-1",
    "-100",
    "100000",
    "2000000000",
    "4102444800",
    "4102444800000",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "9223372036854775",
    "1.5",
    "abc",
    "",
    " 1",
    "+1",
    "-0",
];
/// Offsets and amounts.
const NUMBERS: &[&str] = &[
    "0",
    "1",
    "-1",
    "5",
    "7",
    "100000",
    "-100",
    "2000000000",
    "4102444800",
    "4102444800000",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "9223372036854775",
    "1.5",
    "abc",
    "",
    " 1",
    "1 ",
    "+1",
    "01",
    "-0",
    "1e3",
];
const FLOATS: &[&str] = &[
    "1",
    "0.1",
    "-0.5",
    "5e0",
    "3.0e-2",
    "inf",
    "-inf",
    "nan",
    "abc",
    "",
    " 1",
    "1 ",
    "0.30000000000000004",
    "-1",
    "+1",
    ".5",
    "5.",
];
const VALUES: &[&str] =
    &["", "v", "10", "-3", "1.25", "hello world", "a\r\nb", "\0\u{1}\u{fe}", "9223372036854775806", "00"];
const PATTERNS: &[&str] =
    &["*", "k?", "k[12]", "k[^1]", "k\\1", "none", "[", "k[1-", "k*1", "", "?*", "[^", "k[2-1]"];

impl Generator {
    pub fn new(seed: u64) -> Generator {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Generator { random: Random::from_seed(bytes) }
    }

    /// The next command: at least one word.
    pub fn command(&mut self) -> Vec<Vec<u8>> {
        let form = self.pick(FORMS);
        let mut args = Vec::new();
        for word in form.split(' ') {
            self.word(word, &mut args);
        }
        // A few are cut or go on too long.
        match self.below(40) {
            0 => args.truncate(1 + self.below(args.len())),
            1 => args.push(b"more".to_vec()),
            _ => {}
        }
        if self.below(8) == 0 {
            args[0].make_ascii_lowercase();
        }
        args
    }

    fn word(&mut self, word: &str, args: &mut Vec<Vec<u8>>) {
        let choices = match word {
            "k" => return args.push(self.key()),
            "v" => VALUES,
            "n" => NUMBERS,
            "t" => TIMES,
            // Sums that are not whole stay among themselves.
            "fk" => return args.push(format!("f{}", self.below(3)).into_bytes()),
            "f" => FLOATS,
            "db" => DATABASES,
            "pattern" => PATTERNS,
            "opt" | "flag" | "copy" => {
                let options = match word {
                    "opt" => OPTIONS,
                    "flag" => FLAGS,
                    _ => COPIES,
                };
                for word in self.pick(options).split(' ') {
                    self.word(word, args);
                }
                return;
            }
            plain => return args.push(plain.as_bytes().to_vec()),
        };
        args.push(self.pick(choices).as_bytes().to_vec());
    }

    fn key(&mut self) -> Vec<u8> {
        match self.below(12) {
            0 => b"\xff\0binary\r\n".to_vec(),
            1 => b"none".to_vec(),
            n => format!("k{}", n % 5).into_bytes(),
        }
    }

    fn pick<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }

    fn below(&mut self, end: usize) -> usize {
        (self.random.next_u64() % end as u64) as usize
    }
}
