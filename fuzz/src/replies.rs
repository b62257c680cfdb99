//! Replies of the Redis protocol as they come: each is looked at to its last byte.

use std::io::{self, BufRead, Error, ErrorKind, Read};

/// What a reply is, as far as it matters here.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// A string of bytes.
    Bulk(Vec<u8>),
    /// Anything else.
    Other,
}

/// Reads one reply. `is_new`: the forms of the third version may occur too.
///
/// # Errors
/// `InvalidData` if it is not well-formed; else what reading has met.
pub fn read(input: &mut impl BufRead, is_new: bool) -> io::Result<Found> {
    let mut line = Vec::new();
    input.read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    let bad = || Error::new(ErrorKind::InvalidData, format!("no reply: {}", line.escape_ascii()));
    let (&kind, text) = line.strip_suffix(b"\r\n").and_then(<[u8]>::split_first).ok_or_else(bad)?;
    if text.contains(&b'\r') || !is_new && b"_,#=%~>(!".contains(&kind) {
        return Err(bad());
    }
    let text = str::from_utf8(text).map_err(|_| bad())?;
    let number = || text.parse::<i64>().ok().filter(|number| number.to_string() == text).ok_or_else(bad);
    let len = || number().and_then(|len| usize::try_from(len).map_err(|_| bad()));
    match kind {
        b'+' => {}
        // A word in capitals says what kind of error it is.
        b'-' if text.starts_with(|c: char| c.is_ascii_uppercase()) => {}
        b':' => drop(number()?),
        b'_' if text.is_empty() => {}
        b'#' if text == "t" || text == "f" => {}
        b',' => drop(text.parse::<f64>().map_err(|_| bad())?),
        b'$' | b'*' if text == "-1" => {}
        b'$' => return Ok(Found::Bulk(body(input, len()?)?)),
        b'=' if body(input, len()?)?.starts_with(b"txt:") => {}
        b'*' | b'~' | b'>' => read_all(input, len()?, is_new)?,
        b'%' => read_all(input, 2 * len()?, is_new)?,
        _ => return Err(bad()),
    }
    Ok(Found::Other)
}

fn read_all(input: &mut impl BufRead, count: usize, is_new: bool) -> io::Result<()> {
    (0..count).try_for_each(|_| read(input, is_new).map(drop))
}

fn body(input: &mut impl BufRead, len: usize) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    input.take(len as u64 + 2).read_to_end(&mut body)?;
    match body.strip_suffix(b"\r\n") {
        Some(bytes) if bytes.len() == len => Ok(bytes.to_vec()),
        _ => Err(Error::new(
            ErrorKind::InvalidData,
            format!("{len} bytes were announced: {}", body.escape_ascii()),
        )),
    }
}
