//! Replies of a Redis-compatible server (RESP2) as they come, and commands as they are sent.
//!
//! Nothing a server announces is believed: lengths and counts are checked against limits, memory is
//! taken as bytes arrive, nesting is bounded, and so is a reply as a whole. A wrong byte is an error
//! of kind `InvalidData`; the connection is of no more use then.

use std::io::{self, BufRead, Read};

/// A line: a status, an error, a number.
const LINE_MAX: u64 = 64 << 10;
/// The longest string that Redis holds.
const BULK_MAX: u64 = 512 << 20;
/// More than any page or batch that is asked for.
const COUNT_MAX: u64 = 1 << 20;
/// A page of SCAN has two levels.
const DEPTH_MAX: u32 = 4;
/// All bytes of one reply: the longest string, and a batch around it.
const REPLY_MAX: u64 = BULK_MAX + (64 << 20);

/// One reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Such as OK.
    Status(String),
    /// The command was refused, in the server's words.
    Error(String),
    /// A number.
    Integer(i64),
    /// Bytes.
    Bulk(Vec<u8>),
    /// Nothing.
    Null,
    /// Several replies.
    Array(Vec<Reply>),
}

impl Reply {
    /// Reads one reply.
    ///
    /// # Errors
    /// `InvalidData` if this is no reply, or one beyond the limits; `UnexpectedEof` if it is cut.
    pub fn read(input: &mut impl BufRead) -> io::Result<Reply> {
        Reader { input, left: REPLY_MAX }.reply(0)
    }
}

/// Appends a command, as an array of its words.
pub fn write_command(out: &mut Vec<u8>, words: &[&[u8]]) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

struct Reader<'i, I> {
    input: &'i mut I,
    /// Bytes that this reply may still have.
    left: u64,
}

impl<I: BufRead> Reader<'_, I> {
    fn reply(&mut self, depth: u32) -> io::Result<Reply> {
        let line = self.line()?;
        let (kind, rest) = line.split_at_checked(1).unwrap_or_default();
        match kind {
            "+" => Ok(Reply::Status(rest.to_owned())),
            "-" => Ok(Reply::Error(rest.to_owned())),
            ":" => Ok(Reply::Integer(number(rest)?)),
            "$" => match length(rest, BULK_MAX)? {
                Some(len) => self.bulk(len).map(Reply::Bulk),
                None => Ok(Reply::Null),
            },
            "*" if depth < DEPTH_MAX => match length(rest, COUNT_MAX)? {
                // No room is taken for what is only announced.
                Some(count) => {
                    let mut items = Vec::new();
                    for _ in 0..count {
                        items.push(self.reply(depth + 1)?);
                    }
                    Ok(Reply::Array(items))
                }
                None => Ok(Reply::Null),
            },
            "*" => Err(wrong("a reply is nested too deeply", rest)),
            _ => Err(wrong("this is no reply of a Redis-compatible server", &line)),
        }
    }

    /// A line without its end. Whatever is no text in it is replaced: it is for people only.
    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        let max = LINE_MAX.min(self.left);
        self.input.by_ref().take(max).read_until(b'\n', &mut line)?;
        self.left -= line.len() as u64;
        match line.strip_suffix(b"\r\n") {
            Some(text) => Ok(String::from_utf8_lossy(text).into_owned()),
            None if line.ends_with(b"\n") => {
                Err(wrong("a line does not end in CR LF", &String::from_utf8_lossy(&line)))
            }
            None if line.len() as u64 == max => {
                Err(wrong("a line is too long", &String::from_utf8_lossy(&line)))
            }
            None => Err(cut()),
        }
    }

    fn bulk(&mut self, len: u64) -> io::Result<Vec<u8>> {
        self.left =
            self.left.checked_sub(len + 2).ok_or_else(|| wrong("a reply is too long", &len.to_string()))?;
        let mut bytes = Vec::new();
        self.input.by_ref().take(len + 2).read_to_end(&mut bytes)?;
        if bytes.len() as u64 != len + 2 {
            return Err(cut());
        }
        if !bytes.ends_with(b"\r\n") {
            return Err(wrong("a string does not end in CR LF where it should", &len.to_string()));
        }
        bytes.truncate(bytes.len() - 2);
        Ok(bytes)
    }
}

/// A length or count: `None` for -1, which stands for nothing.
fn length(text: &str, max: u64) -> io::Result<Option<u64>> {
    match number(text)? {
        -1 => Ok(None),
        n => match u64::try_from(n) {
            Ok(n) if n <= max => Ok(Some(n)),
            _ => Err(wrong("a length or count is out of bounds", text)),
        },
    }
}

fn number(text: &str) -> io::Result<i64> {
    text.parse().map_err(|_| wrong("a number is expected", text))
}

fn wrong(what: &str, got: &str) -> io::Error {
    let got: String = got.chars().take(60).collect();
    io::Error::new(io::ErrorKind::InvalidData, format!("{what}, got={got:?}"))
}

fn cut() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the connection ended in the middle of a reply")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> io::Result<Reply> {
        Reply::read(&mut &bytes[..])
    }

    #[test]
    fn every_kind_of_reply_is_read() {
        let bulk = |bytes: &[u8]| Reply::Bulk(bytes.to_vec());
        for (bytes, expected) in [
            (&b"+OK\r\n"[..], Reply::Status("OK".into())),
            (b"-ERR no\r\n", Reply::Error("ERR no".into())),
            (b":-42\r\n", Reply::Integer(-42)),
            (b"$0\r\n\r\n", bulk(b"")),
            (b"$4\r\na\r\n\xff\r\n", bulk(b"a\r\n\xff")),
            (b"$-1\r\n", Reply::Null),
            (b"*-1\r\n", Reply::Null),
            (b"*0\r\n", Reply::Array(vec![])),
            (
                b"*2\r\n$1\r\n0\r\n*2\r\n$1\r\na\r\n:7\r\n",
                Reply::Array(vec![bulk(b"0"), Reply::Array(vec![bulk(b"a"), Reply::Integer(7)])]),
            ),
        ] {
            assert_eq!(read(bytes).unwrap(), expected);
        }
    }

    #[test]
    fn a_reply_that_is_cut_anywhere_is_told_as_cut() {
        let whole = b"*3\r\n+OK\r\n$3\r\nabc\r\n*1\r\n:12\r\n";
        assert!(read(whole).is_ok());
        for len in 0..whole.len() {
            let error = read(&whole[..len]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{len}: {error}");
        }
    }

    #[test]
    fn what_is_no_reply_is_refused_with_what_came() {
        for (bytes, words) in [
            (&b"HTTP/1.1 400 Bad Request\r\n"[..], "HTTP/1.1 400"),
            (b"\r\n", "no reply"),
            (b"+OK\n", "CR LF"),
            (b"$3\r\nabcd\r\n", "CR LF"),
            (b"$2147483648\r\n", "2147483648"),
            (b"$-2\r\n", "-2"),
            (b"$abc\r\n", "abc"),
            (b":\r\n", "number"),
            (b"$99999999999999999999\r\n", "number"),
            (b"*1048577\r\n", "1048577"),
            (b"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n", "nested"),
            ("%1\r\n+é\r\n".as_bytes(), "no reply"),
        ] {
            let error = read(bytes).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
            assert!(error.to_string().contains(words), "{words:?} is not in: {error}");
        }
    }

    #[test]
    fn a_line_without_an_end_is_refused_before_it_fills_the_memory() {
        let mut endless = io::BufReader::new(io::repeat(b'+'));
        assert_eq!(Reply::read(&mut endless).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_reply_as_a_whole_is_bounded() {
        let mut reader = Reader { input: &mut &b"*2\r\n$5\r\naaaaa\r\n$5\r\naaaaa\r\n"[..], left: 20 };
        assert_eq!(reader.reply(0).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_command_is_an_array_of_its_words() {
        let mut out = Vec::new();
        write_command(&mut out, &[b"SET", b"k", b"\r\n"]);
        assert_eq!(out, b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2\r\n\r\n\r\n");
    }
}
