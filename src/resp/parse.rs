//! Requests as they come from the wire: RESP arrays of bulk strings, and inline commands.
//!
//! The parser looks at a buffer that begins where a request begins, and says how many bytes the
//! request has, or that more are needed. It goes on where it stopped, so a request that comes in
//! small pieces is read once. Nothing is allocated for lengths that were announced: arguments are
//! ranges of the buffer, which holds only bytes that have arrived.
//!
//! Format: <https://redis.io/docs/latest/develop/reference/protocol-spec/>. Stricter than
//! redis-server in one place: what ends a line or an argument must be CR LF.

use std::fmt;

/// The most arguments of a request.
const ARGS_MAX: usize = 1 << 20;
/// Places of arguments that a connection keeps memory for: 1 KiB.
const RANGES_KEPT: usize = 64;
/// The longest line that announces a length.
const HEADER_MAX: usize = 32;
/// The longest inline command.
const INLINE_MAX: usize = 64 << 10;

/// What is wrong with the bytes; the connection cannot go on after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    /// Not a request. The text as redis-server would put it, where it has one.
    Protocol(String),
    /// A request of HTTP.
    Http,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Broken::Protocol(what) => write!(f, "Protocol error: {what}"),
            Broken::Http => f.write_str("this port speaks the Redis protocol, HTTP has a port of its own"),
        }
    }
}

/// Reads one request after the other.
#[derive(Debug)]
pub struct Parser {
    arg_len_max: usize,
    /// Arguments found so far, in the buffer or, of an inline command, in `inline`.
    ranges: Vec<(usize, usize)>,
    inline: Option<Vec<u8>>,
    /// Arguments that were announced and did not come yet; `None` before the announcement.
    missing: Option<usize>,
    /// Where to go on.
    at: usize,
    done: bool,
}

/// The arguments of a request, the name of the command first.
#[derive(Clone, Copy, Debug)]
pub struct Args<'a> {
    bytes: &'a [u8],
    ranges: &'a [(usize, usize)],
}

impl<'a> Args<'a> {
    pub(super) fn len(&self) -> usize {
        self.ranges.len()
    }

    pub(super) fn get(&self, n: usize) -> Option<&'a [u8]> {
        self.ranges.get(n).map(|&(from, to)| &self.bytes[from..to])
    }

    /// From the `n`th on.
    pub(super) fn from(self, n: usize) -> Args<'a> {
        Args { ranges: self.ranges.get(n..).unwrap_or_default(), ..self }
    }

    /// From the `from`th up to before the `to`th; both must be there.
    pub(super) fn range(self, from: usize, to: usize) -> Args<'a> {
        Args { ranges: &self.ranges[from..to], ..self }
    }

    /// In the order that they came in.
    pub fn iter(self) -> impl ExactSizeIterator<Item = &'a [u8]> + Clone {
        self.ranges.iter().map(move |&(from, to)| &self.bytes[from..to])
    }

    /// Bytes of all of them.
    pub(super) fn bytes(&self) -> usize {
        self.ranges.iter().map(|&(from, to)| to - from).sum()
    }
}

impl std::ops::Index<usize> for Args<'_> {
    type Output = [u8];

    fn index(&self, n: usize) -> &[u8] {
        let (from, to) = self.ranges[n];
        &self.bytes[from..to]
    }
}

/// Arguments that outlive the buffer they came in.
#[derive(Clone, Debug, Default)]
pub(super) struct OwnedArgs {
    bytes: Vec<u8>,
    ranges: Vec<(usize, usize)>,
}

impl OwnedArgs {
    pub(super) fn of(args: Args<'_>) -> OwnedArgs {
        let mut owned = OwnedArgs::default();
        for arg in args.iter() {
            let from = owned.bytes.len();
            owned.bytes.extend_from_slice(arg);
            owned.ranges.push((from, owned.bytes.len()));
        }
        owned
    }

    pub(super) fn args(&self) -> Args<'_> {
        Args { bytes: &self.bytes, ranges: &self.ranges }
    }
}

impl Parser {
    /// An argument may have so many bytes.
    pub fn new(arg_len_max: usize) -> Parser {
        Parser { arg_len_max, ranges: Vec::new(), inline: None, missing: None, at: 0, done: false }
    }

    /// Looks for a whole request at the start of `buf` and gives its length. `None`: more bytes are
    /// needed; the next call must bring the same ones again, and more. A request of no arguments is
    /// one too, to be skipped.
    ///
    /// # Errors
    /// What the bytes are if they are no request, whatever may follow them.
    pub fn next(&mut self, buf: &[u8]) -> Result<Option<usize>, Broken> {
        if std::mem::take(&mut self.done) {
            self.reset();
        }
        let found = match (buf.first(), self.missing) {
            (None, _) => None,
            (Some(b'*'), _) | (_, Some(_)) => self.array(buf)?,
            (Some(_), None) => self.line(buf)?,
        };
        self.done = found.is_some();
        Ok(found)
    }

    /// The arguments of the request that was found in `buf`.
    pub fn args<'a>(&'a self, buf: &'a [u8]) -> Args<'a> {
        Args { bytes: self.inline.as_deref().unwrap_or(buf), ranges: &self.ranges }
    }

    /// Where the first argument behind the name of the command is, of a request that is no line.
    pub(super) fn key_range(&self) -> Option<(usize, usize)> {
        if self.inline.is_some() { None } else { self.ranges.get(1).copied() }
    }

    /// Begins with another request, whatever there was of the last one.
    pub(super) fn forget(&mut self) {
        self.done = false;
        self.reset();
    }

    fn reset(&mut self) {
        self.ranges.clear();
        // What one huge request needed is not kept.
        self.ranges.shrink_to(RANGES_KEPT);
        self.inline = None;
        self.missing = None;
        self.at = 0;
    }

    fn array(&mut self, buf: &[u8]) -> Result<Option<usize>, Broken> {
        let mut missing = match self.missing {
            Some(missing) => missing,
            None => {
                let Some((count, end)) = header(buf, 0, "too big mbulk count string")? else {
                    return Ok(None);
                };
                let count = count.filter(|count| *count <= ARGS_MAX as i64);
                let count = count.ok_or_else(|| protocol("invalid multibulk length"))?;
                self.at = end;
                count.max(0) as usize
            }
        };
        while missing > 0 {
            self.missing = Some(missing);
            let Some(next) = self.argument(buf)? else { return Ok(None) };
            self.ranges.push(next);
            self.at = next.1 + 2;
            missing -= 1;
        }
        Ok(Some(self.at))
    }

    /// The next argument, if all of it is there.
    fn argument(&self, buf: &[u8]) -> Result<Option<(usize, usize)>, Broken> {
        match buf.get(self.at) {
            None => return Ok(None),
            Some(b'$') => {}
            Some(other) => {
                return Err(protocol(format!("expected '$', got '{}'", char::from(*other).escape_default())));
            }
        }
        let Some((len, from)) = header(buf, self.at, "too big bulk count string")? else { return Ok(None) };
        let len = len.and_then(|len| usize::try_from(len).ok()).filter(|len| *len <= self.arg_len_max);
        let len = len.ok_or_else(|| protocol("invalid bulk length"))?;
        match buf.get(from + len..from + len + 2) {
            None => Ok(None),
            Some(b"\r\n") => Ok(Some((from, from + len))),
            Some(_) => Err(protocol("an argument must end with CR LF")),
        }
    }

    fn line(&mut self, buf: &[u8]) -> Result<Option<usize>, Broken> {
        let searched = &buf[..buf.len().min(INLINE_MAX)];
        let Some(end) = searched[self.at..].iter().position(|b| *b == b'\n').map(|n| self.at + n) else {
            if searched.len() == INLINE_MAX {
                return Err(protocol("too big inline request"));
            }
            self.at = searched.len();
            return Ok(None);
        };
        let line = buf[..end].strip_suffix(b"\r").unwrap_or(&buf[..end]);
        if is_http(line) {
            return Err(Broken::Http);
        }
        let mut words = Vec::new();
        split_line(line, &mut words, &mut self.ranges)
            .ok_or_else(|| protocol("unbalanced quotes in request"))?;
        self.inline = Some(words);
        Ok(Some(end + 1))
    }
}

fn protocol(what: impl Into<String>) -> Broken {
    Broken::Protocol(what.into())
}

/// The number behind the byte at `at`, and where its line ends. The number is `None` if it is none.
fn header(buf: &[u8], at: usize, too_long: &str) -> Result<Option<(Option<i64>, usize)>, Broken> {
    let rest = &buf[at + 1..];
    let searched = &rest[..rest.len().min(HEADER_MAX)];
    let Some(len) = searched.iter().position(|b| *b == b'\n') else {
        return if searched.len() == HEADER_MAX { Err(protocol(too_long)) } else { Ok(None) };
    };
    let number = searched[..len].strip_suffix(b"\r").and_then(number);
    Ok(Some((number, at + 1 + len + 1)))
}

/// A number in decimal. Nearly all have few digits and no sign.
fn number(digits: &[u8]) -> Option<i64> {
    if (1..=9).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit) {
        return Some(digits.iter().fold(0, |n, digit| n * 10 + i64::from(digit - b'0')));
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// What browsers and HTTP clients send first.
fn is_http(line: &[u8]) -> bool {
    let version = line.rsplit(|b| *b == b' ').next().unwrap_or_default();
    version.starts_with(b"HTTP/") || line.get(..5).is_some_and(|head| head.eq_ignore_ascii_case(b"host:"))
}

/// Splits a line at white space, with the quotes and escapes of redis-cli. `None` if a quote does
/// not end, or something follows it at once.
fn split_line(line: &[u8], words: &mut Vec<u8>, ranges: &mut Vec<(usize, usize)>) -> Option<()> {
    let mut rest = line;
    loop {
        let blanks = rest.iter().take_while(|byte| is_blank(**byte)).count();
        rest = &rest[blanks..];
        if rest.is_empty() {
            return Some(());
        }
        let from = words.len();
        while let Some((&first, after)) = rest.split_first() {
            rest = match first {
                blank if is_blank(blank) => break,
                b'"' => double_quoted(after, words)?,
                b'\'' => single_quoted(after, words)?,
                byte => {
                    words.push(byte);
                    after
                }
            };
        }
        ranges.push((from, words.len()));
    }
}

/// What separates words; a NUL does, as with redis-server.
fn is_blank(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0
}

/// The rest behind the closing quote, which must end the word.
fn ends_word(rest: &[u8]) -> Option<&[u8]> {
    rest.first().is_none_or(|byte| is_blank(*byte)).then_some(rest)
}

fn double_quoted<'a>(mut rest: &'a [u8], words: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        let (&first, after) = rest.split_first()?;
        rest = match (first, after) {
            (b'"', after) => return ends_word(after),
            (b'\\', [b'x', a, b, after @ ..]) if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => {
                let hex = |digit: u8| char::from(digit).to_digit(16).expect("a hexadecimal digit") as u8;
                words.push(hex(*a) << 4 | hex(*b));
                after
            }
            (b'\\', [escaped, after @ ..]) => {
                words.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => *other,
                });
                after
            }
            (byte, after) => {
                words.push(byte);
                after
            }
        };
    }
}

fn single_quoted<'a>(mut rest: &'a [u8], words: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        rest = match rest {
            [] => return None,
            [b'\'', after @ ..] => return ends_word(after),
            [b'\\', b'\'', after @ ..] => {
                words.push(b'\'');
                after
            }
            [byte, after @ ..] => {
                words.push(*byte);
                after
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The arguments, and the length of the request.
    type Found = Option<(Vec<Vec<u8>>, usize)>;

    fn parse(buf: &[u8]) -> Result<Found, Broken> {
        let mut parser = Parser::new(1000);
        let found = parser.next(buf)?;
        Ok(found.map(|len| (parser.args(buf).iter().map(<[u8]>::to_vec).collect(), len)))
    }

    fn words(buf: &str) -> Vec<String> {
        let (words, len) = parse(buf.as_bytes()).unwrap().unwrap();
        assert_eq!(len, buf.len());
        words.into_iter().map(|word| String::from_utf8(word).unwrap()).collect()
    }

    fn broken(buf: &[u8]) -> String {
        parse(buf).unwrap_err().to_string()
    }

    proptest! {
        #[test]
        fn a_request_is_read_whole_however_it_was_cut(
            args in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 1..8),
            cuts in proptest::collection::vec(1usize..20, 1..100),
        ) {
            let mut buf = format!("*{}\r\n", args.len()).into_bytes();
            for arg in &args {
                buf.extend(format!("${}\r\n", arg.len()).bytes().chain(arg.iter().copied()).chain(*b"\r\n"));
            }
            let mut parser = Parser::new(50);
            let mut end = 0;
            for cut in cuts.iter().cycle() {
                end = (end + cut).min(buf.len());
                let found = parser.next(&buf[..end]).unwrap();
                prop_assert_eq!(found.is_some(), end == buf.len());
                if found.is_some() {
                    break;
                }
            }
            let found: Vec<Vec<u8>> = parser.args(&buf).iter().map(<[u8]>::to_vec).collect();
            prop_assert_eq!(found, args);
        }

        #[test]
        fn whatever_comes_nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            drop(parse(&bytes));
            drop(parse(&[b"*2\r\n$1\r\n", &bytes[..]].concat()));
        }
    }

    #[test]
    fn an_inline_command_has_words_and_quotes() {
        assert_eq!(words("PING\r\n"), ["PING"]);
        assert_eq!(words("  SET  k \"a b\\n\\x41\" 'it\\'s'\n"), ["SET", "k", "a b\nA", "it's"]);
        assert_eq!(words("SET k \"\"\r\n"), ["SET", "k", ""]);
        assert!(words("\r\n").is_empty());
        assert!(words("\0 \0\r\n").is_empty());
        assert_eq!(words("a\0b\n"), ["a", "b"]);
    }

    #[test]
    fn two_requests_in_a_buffer_are_read_one_after_the_other() {
        let buf = b"*1\r\n$4\r\nPING\r\nPING x\r\n";
        let mut parser = Parser::new(10);
        let first = parser.next(buf).unwrap().unwrap();
        assert_eq!(parser.args(buf).len(), 1);
        assert_eq!(parser.next(&buf[first..]).unwrap(), Some(8));
        assert_eq!(&parser.args(&buf[first..])[1], b"x");
        assert_eq!(parser.next(b"").unwrap(), None);
    }

    #[test]
    fn what_is_no_request_is_told_in_words() {
        let table: [(&[u8], &str); 12] = [
            (b"*2\r\n+OK\r\n", "Protocol error: expected '$', got '+'"),
            (b"*x\r\n", "Protocol error: invalid multibulk length"),
            (b"*1048577\r\n", "Protocol error: invalid multibulk length"),
            (b"*1\n", "Protocol error: invalid multibulk length"),
            (b"*1\r\n$-1\r\n", "Protocol error: invalid bulk length"),
            (b"*1\r\n$1001\r\n", "Protocol error: invalid bulk length"),
            (b"*1\r\n$99999999999999999999\r\n", "Protocol error: invalid bulk length"),
            (b"*1\r\n$1\r\nabc", "Protocol error: an argument must end with CR LF"),
            (b"*000000000000000000000000000000001", "Protocol error: too big mbulk count string"),
            (b"SET k \"open\r\n", "Protocol error: unbalanced quotes in request"),
            (b"SET k \"a\"b\r\n", "Protocol error: unbalanced quotes in request"),
            (b"GET / HTTP/1.1\r\n", "this port speaks the Redis protocol, HTTP has a port of its own"),
        ];
        for (bytes, text) in table {
            assert_eq!(broken(bytes), text, "{}", bytes.escape_ascii());
        }
        assert_eq!(broken(&vec![b'a'; INLINE_MAX]), "Protocol error: too big inline request");
    }

    #[test]
    fn nothing_is_kept_for_what_was_only_announced() {
        let mut parser = Parser::new(512 << 20);
        assert_eq!(parser.next(b"*1048576\r\n$536870912\r\n").unwrap(), None);
        assert_eq!(parser.ranges.capacity(), 0);
    }

    #[test]
    fn an_array_of_nothing_is_skipped() {
        for buf in [&b"*0\r\n"[..], b"*-1\r\n"] {
            assert_eq!(parse(buf).unwrap(), Some((Vec::new(), buf.len())));
        }
    }
}
