//! RESP2: commands out, replies in. A reply is parsed where it lies, without a copy.

use std::io::Write;

/// A status, an error or a length is never longer.
const LINE_MAX: usize = 64 << 10;
/// As redis has it by default.
const BULK_MAX: usize = 512 << 20;

/// A reply. What belongs to an array follows as replies of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reply<'a> {
    Simple(&'a [u8]),
    Error(&'a [u8]),
    Integer(i64),
    Bulk(&'a [u8]),
    Nil,
    Array(usize),
}

/// Writes a command.
pub(super) fn stage(out: &mut Vec<u8>, words: &[&[u8]]) {
    write!(out, "*{}\r\n", words.len()).expect("memory takes it");
    for word in words {
        write!(out, "${}\r\n", word.len()).expect("memory takes it");
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

/// The first reply and how many bytes it takes; `None` if it is not whole yet.
///
/// # Errors
/// In words, if this is no reply and will not become one.
pub(super) fn parse(input: &[u8]) -> Result<Option<(Reply<'_>, usize)>, String> {
    let Some((&kind, rest)) = input.split_first() else { return Ok(None) };
    if !b"+-:$*_".contains(&kind) {
        return Err(format!("a reply does not begin with {:?}", char::from(kind)));
    }
    let Some(line) = line(rest)? else { return Ok(None) };
    let used = 1 + line.len() + 2;
    let reply = match kind {
        b'+' => Reply::Simple(line),
        b'-' => Reply::Error(line),
        b':' => Reply::Integer(number(line)?),
        b'_' => Reply::Nil,
        b'*' => match number(line)? {
            -1 => Reply::Nil,
            len => Reply::Array(len_within(len)?),
        },
        _ => match number(line)? {
            -1 => Reply::Nil,
            len => return bulk(input, used, len_within(len)?),
        },
    };
    Ok(Some((reply, used)))
}

fn bulk(input: &[u8], at: usize, len: usize) -> Result<Option<(Reply<'_>, usize)>, String> {
    let end = at + len;
    match input.get(end..end + 2) {
        None => Ok(None),
        Some(b"\r\n") => Ok(Some((Reply::Bulk(&input[at..end]), end + 2))),
        Some(_) => Err(format!("a bulk reply of {len} bytes is not followed by CRLF")),
    }
}

/// Up to CRLF.
fn line(input: &[u8]) -> Result<Option<&[u8]>, String> {
    match input.iter().position(|&byte| byte == b'\n') {
        Some(at) if at > 0 && input[at - 1] == b'\r' => Ok(Some(&input[..at - 1])),
        Some(_) => Err("a line of a reply does not end with CRLF".to_owned()),
        None if input.len() > LINE_MAX => Err("a line of a reply does not end".to_owned()),
        None => Ok(None),
    }
}

fn number(line: &[u8]) -> Result<i64, String> {
    let text = std::str::from_utf8(line).ok().filter(|text| !text.starts_with('+'));
    text.and_then(|text| text.parse().ok()).ok_or_else(|| {
        format!("a reply has no number where one belongs, got={:?}", String::from_utf8_lossy(line))
    })
}

fn len_within(len: i64) -> Result<usize, String> {
    let len = usize::try_from(len).ok().filter(|&len| len <= BULK_MAX);
    len.ok_or_else(|| format!("a reply has a length that is not from 0 to {BULK_MAX}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_arrays_of_bulk_strings() {
        let mut out = Vec::new();
        stage(&mut out, &[b"SET", b"k", b"a\r\nb"]);
        assert_eq!(out, b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\na\r\nb\r\n");
    }

    #[test]
    fn each_kind_of_reply_is_told_and_its_end_found() {
        for (text, reply) in [
            (&b"+OK\r\n"[..], Reply::Simple(b"OK")),
            (b"+\r\n", Reply::Simple(b"")),
            (b"-OOM command not allowed\r\n", Reply::Error(b"OOM command not allowed")),
            (b":-12\r\n", Reply::Integer(-12)),
            (b"$5\r\na\r\nbc\r\n", Reply::Bulk(b"a\r\nbc")),
            (b"$0\r\n\r\n", Reply::Bulk(b"")),
            (b"$-1\r\n", Reply::Nil),
            (b"*-1\r\n", Reply::Nil),
            (b"_\r\n", Reply::Nil),
            (b"*2\r\n", Reply::Array(2)),
        ] {
            let followed = [text, b"+next"].concat();
            assert_eq!(parse(&followed).unwrap(), Some((reply, text.len())));
            for end in 0..text.len() {
                assert_eq!(parse(&text[..end]).unwrap(), None, "{:?}", &text[..end]);
            }
        }
    }

    #[test]
    fn what_is_no_reply_is_refused_in_words() {
        for (text, named) in [
            (&b"HTTP/1.1 400 Bad Request\r\n"[..], "begin with 'H'"),
            (b"+OK\n", "CRLF"),
            (b":12a\r\n", "no number"),
            (b":+1\r\n", "no number"),
            (b":\r\n", "no number"),
            (b"$\xff\r\n", "no number"),
            (b"$-2\r\n", "from 0 to"),
            (b"$99999999999999999999\r\n", "no number"),
            (b"$9223372036854775807\r\n", "from 0 to"),
            (b"*-7\r\n", "from 0 to"),
            (b"$2\r\nabcd", "not followed by CRLF"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(named), "{:?}: {error}", String::from_utf8_lossy(text));
        }
        let endless = vec![b'+'; LINE_MAX + 2];
        assert!(parse(&endless).unwrap_err().contains("does not end"));
    }
}
