//! The same commands to this server and to a real redis-server (7.0 and later): the replies are the same,
//! but for the differences in [`known`], each with its reason.
//!
//! A seed makes a run, and is printed: `EMBERKEEP_SEED=7 cargo test --test main differential -- --ignored`.

mod generate;
mod known;
mod peer;

use self::{
    generate::Generator,
    known::{difference, not_compared_in_transactions},
    peer::Redis,
};
use super::{
    fixture::Server,
    wire::{Client, Value, shown, words},
};

/// Commands of a run of random ones.
const COMMANDS: usize = 30_000;
/// Commands before the first difference that are told.
const HISTORY: usize = 40;
/// Differences that are told before giving up.
const SHOWN_MAX: usize = 25;

/// A connection to each, in the same state.
struct Pair {
    ours: Client,
    theirs: Client,
    differences: Vec<String>,
    /// The last commands, the newest last.
    history: Vec<String>,
    /// Between `MULTI` and what ends it.
    queues: bool,
}

impl Pair {
    fn run(&mut self, args: &[Vec<u8>]) {
        if self.queues && not_compared_in_transactions(args) {
            return;
        }
        self.history.push(shown(args));
        let ours = self.ours.run(args);
        let theirs = self.theirs.run(args);
        self.compare(args, &ours, &theirs);
        if ours != theirs && args[0].eq_ignore_ascii_case(b"EXEC") && ours.is_array() != theirs.is_array() {
            // One has happened, the other not: what follows would differ for that reason only.
            for client in [&mut self.ours, &mut self.theirs] {
                ["FLUSHALL", "SELECT 0"]
                    .iter()
                    .for_each(|line| assert_eq!(client.say(line).to_string(), "+OK"));
            }
        }
        match args[0].to_ascii_uppercase().as_slice() {
            b"MULTI" => self.queues |= args.len() == 1,
            // With any number of words: then it is aborted.
            b"EXEC" => self.queues = false,
            b"DISCARD" => self.queues &= args.len() > 1,
            _ => {}
        }
    }

    fn compare(&mut self, args: &[Vec<u8>], ours: &Value, theirs: &Value) {
        if ours != theirs && difference(args, ours, theirs).is_none() {
            if self.differences.is_empty() {
                let from = self.history.len().saturating_sub(HISTORY);
                self.differences.push(format!("after\n  {}", self.history[from..].join("\n  ")));
            }
            let said = format!("{}\n  redis {theirs}\n  ours  {ours}", shown(args));
            self.differences.push(said.chars().take(600).collect());
        }
    }

    #[track_caller]
    fn end(self, what: &str) {
        let count = self.differences.len();
        assert_eq!(count, 0, "{what}\n{}", self.differences[..count.min(SHOWN_MAX)].join("\n"));
    }
}

fn pairs(protocol: &str) -> (Server, Redis, Pair) {
    let (server, redis) = (Server::with(&["--memory-only"]), Redis::start());
    let (mut ours, mut theirs) = (server.connect(), Client::connect(redis.address));
    for client in [&mut ours, &mut theirs] {
        assert!(!client.say(&format!("HELLO {protocol}")).is_error());
    }
    (server, redis, Pair { ours, theirs, differences: Vec::new(), history: Vec::new(), queues: false })
}

/// What is worth being said by hand: forms that a generator seldom meets.
const TABLE: &str = "
    PING | PING x | PING x y | ECHO | ECHO x | TIME x | SELECT 0 | SELECT 16 | SELECT -1 | SELECT x
    SET k v | GET k | SET k 10 | OBJECT ENCODING k | SET k 12345678901234567890123 | OBJECT ENCODING k
    SET k aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa | OBJECT ENCODING k | OBJECT | OBJECT NOPE k | OBJECT ENCODING
    OBJECT ENCODING k x | OBJECT REFCOUNT k
    CLIENT | CLIENT ID x | CLIENT SETNAME | CLIENT GETNAME x | CLIENT KILL | CLIENT KILL ID x | CLIENT KILL ID 0
    CLIENT KILL NOPE x | CLIENT KILL ID 1 ADDR | CLIENT LIST NOPE | CLIENT LIST TYPE nope | CLIENT LIST ID x
    CLIENT REPLY x | CLIENT NO-EVICT x | CLIENT TRACKING x | CLIENT GETREDIR | CLIENT TRACKINGINFO | CLIENT UNPAUSE
    CONFIG | CONFIG GET | CONFIG GET nothing | CONFIG SET | CONFIG SET x | CONFIG SET nothing 1 | CONFIG NOPE
    CONFIG GET databases | CONFIG GET data*ases | CONFIG RESETSTAT | CONFIG RESETSTAT x
    CONFIG SET slowlog-max-len x | CONFIG SET notify-keyspace-events Q | CONFIG SET slowlog-max-len 5 slowlog-max-len 6
    COMMAND COUNT x | COMMAND GETKEYS | COMMAND GETKEYS GET | COMMAND GETKEYS GET a | COMMAND GETKEYS MSET a 1 b 2
    COMMAND GETKEYS NOPE a | COMMAND GETKEYS PING | COMMAND GETKEYS EVAL x 1 a | COMMAND NOPE | COMMAND INFO nope
    COMMAND LIST NOPE | COMMAND LIST FILTERBY PATTERN psetex
    SLOWLOG | SLOWLOG GET x | SLOWLOG GET -2 | SLOWLOG NOPE | SLOWLOG LEN x | SLOWLOG RESET
    LATENCY | LATENCY NOPE | LATENCY RESET | LATENCY HISTORY | LATENCY HISTORY x | MEMORY | MEMORY NOPE | MEMORY USAGE
    MEMORY USAGE none | MEMORY USAGE k SAMPLES x | MEMORY USAGE k NOPE 1 | MEMORY USAGE none SAMPLES 1
    PUBSUB | PUBSUB NOPE | PUBSUB CHANNELS | PUBSUB NUMSUB | PUBSUB NUMSUB a | PUBSUB NUMPAT | PUBSUB NUMPAT x
    PUBSUB SHARDCHANNELS | PUBSUB SHARDNUMSUB | PUBLISH a | PUBLISH a b
    SCRIPT | SCRIPT NOPE | SCRIPT EXISTS | SCRIPT EXISTS a b | SCRIPT FLUSH x | SCRIPT FLUSH | SCRIPT FLUSH SYNC | SCRIPT KILL
    EVALSHA | EVALSHA x 0 | EVALSHA x | CLUSTER INFO | CLUSTER NOPE | CLUSTER
    ACL | ACL WHOAMI | ACL USERS | ACL NOPE | AUTH | AUTH a b c | AUTH nobody x | AUTH default x | AUTH x
    HELLO 4 | HELLO x | HELLO 2 NOPE | HELLO 2 SETNAME | HELLO 2 AUTH a
    WAIT | WAIT x 1 | WAIT 1 x | WAIT 1 -1 | WAIT 0 0 | ROLE x | LASTSAVE x | DBSIZE x | RANDOMKEY x | FLUSHALL x | FLUSHDB ASYNC x
    MULTI x | MULTI | MULTI | WATCH a | UNWATCH | SET a 1 | GET a | EXEC | EXEC | DISCARD
    MULTI | NOPE | EXEC | MULTI | GET | PING | EXEC | MULTI | MULTI | EXEC | MULTI | WATCH k | EXEC
    MULTI | SUBSCRIBE | EXEC | MULTI | EXEC x | DISCARD | WATCH | WATCH k | SET k 1 | MULTI | GET k | EXEC | GET k
    MULTI | SELECT 99 | SELECT 1 | DBSIZE | SELECT 0 | EXEC | MULTI | HELLO 9 | CLIENT GETNAME | EXEC
    DUMP none | RESTORE a 0 x | RESTORE a -1 x | RESTORE a x x | RESTORE a 0 x NOPE | RESTORE a 0 x FREQ 300 | RESTORE a 0 x IDLETIME -1
    SCAN x | SCAN 0 MATCH | SCAN 0 COUNT x | SCAN 0 COUNT 0 | SCAN 0 NOPE x | SCAN 0 NOPE | SCAN -1 | SCAN 0 TYPE nope COUNT 10000
    KEYS | RESET x | MONITOR x | SUBSCRIBE | UNSUBSCRIBE | PUNSUBSCRIBE | UNSUBSCRIBE a b
    NOPE | NOPE a b c | '' | GET '' | nope\r\nx a";

#[test]
#[ignore = "needs redis-server: .ci/run differential"]
fn the_table_is_answered_as_redis_does() {
    for protocol in ["2", "3"] {
        let (_server, _redis, mut pair) = pairs(protocol);
        for line in TABLE.lines().flat_map(|line| line.split('|')) {
            let args: Vec<Vec<u8>> = words(line).into_iter().map(String::into_bytes).collect();
            if !args.is_empty() {
                pair.run(&args);
            }
        }
        pair.end(&format!("protocol {protocol}"));
    }
}

#[test]
#[ignore = "needs redis-server: .ci/run differential"]
fn random_commands_are_answered_as_redis_does() {
    let seed = std::env::var("EMBERKEEP_SEED").map_or(1, |text| text.parse().expect("a number"));
    for protocol in ["2", "3"] {
        let (_server, _redis, mut pair) = pairs(protocol);
        let mut generator = Generator::new(seed);
        for _ in 0..COMMANDS / 2 {
            let args = generator.command();
            pair.run(&args);
            if pair.differences.len() >= SHOWN_MAX {
                break;
            }
        }
        pair.end(&format!("EMBERKEEP_SEED={seed}, protocol {protocol}"));
    }
}
