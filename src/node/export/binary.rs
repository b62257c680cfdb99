//! The binary export, version 1. All integers are little-endian.
//!
//! ```text
//! header                                   record                          trailer
//!  0 [8] magic "EMBKHFS\0"                  0 u32 crc of bytes 4..          0 u32 crc of bytes 4..24
//!  8 u32 version, 1                         4 u32 length of the body        4 u32 0xFFFF_FFFF
//! 12 u32 crc of bytes 0..12                 8 u64 deadline in ms, 0 = none  8 u64 number of records
//!                                          16 u32 length of the key        16 u32 crc of all before the trailer
//!                                          20 u32 length of content type   20 u32 zero
//!                                          24 key, content type, value
//! ```
//!
//! CRC-32/IEEE. The body of a record is everything from byte 8. A file without its trailer, or
//! with anything behind it, is damaged: a shortened copy never passes for a whole one.

use std::{
    borrow::Cow,
    io::{self, Read, Write},
    path::Path,
};

use crc32fast::Hasher;
use emberkeep_storage::UnixMillis;

use super::{Record, Visit, damaged, failed, file::Source};
use crate::{
    name::EXPORT_MAGIC,
    node::error::{Error, Result},
};

const VERSION: u32 = 1;
const TRAILER: u32 = u32::MAX;
/// Deadline and the two lengths.
const BODY_FIXED: usize = 16;

/// Writes what `entries` hands out; returns how many there were.
pub(super) fn write(out: &mut impl Write, entries: impl FnOnce(&mut Visit<'_>) -> Result<()>) -> Result<u64> {
    let mut out = Hashing { inner: out, hasher: Hasher::new() };
    out.write_all(&header()).map_err(unwritten)?;
    let mut count = 0u64;
    entries(&mut |record| {
        count += 1;
        write_record(&mut out, &record).map_err(unwritten)
    })?;
    let whole = out.hasher.clone().finalize();
    out.write_all(&trailer(count, whole)).map_err(unwritten)?;
    Ok(count)
}

/// Hands every record to `visit`, each verified; the trailer is verified at the end.
pub(super) fn read(source: &mut Source, visit: &mut Visit<'_>) -> Result<()> {
    let mut whole = Hasher::new();
    let head: [u8; 16] = take(source)?;
    check_header(&head)?;
    whole.update(&head);
    let (mut count, mut body) = (0u64, Vec::new());
    loop {
        let start: [u8; 8] = take(source)?;
        let (crc, len) = (u32_at(&start, 0), u32_at(&start, 4));
        if len == TRAILER {
            return check_trailer(source, crc, count, whole.finalize());
        }
        if u64::from(len) > source.remaining() {
            return Err(damaged(format!("a record ends behind the end of the file, record={}", count + 1)));
        }
        body.resize(len as usize, 0);
        source.read_exact(&mut body).map_err(unread)?;
        whole.update(&start);
        whole.update(&body);
        count += 1;
        if crc != crc_of(&[&start[4..], &body]) {
            return Err(damaged(format!("a checksum is wrong, record={count}")));
        }
        visit(
            parse(&body)
                .ok_or_else(|| damaged(format!("a record has impossible lengths, record={count}")))?,
        )?;
    }
}

fn header() -> [u8; 16] {
    let mut head = [0; 16];
    head[..8].copy_from_slice(EXPORT_MAGIC);
    head[8..12].copy_from_slice(&VERSION.to_le_bytes());
    let crc = crc_of(&[&head[..12]]);
    head[12..].copy_from_slice(&crc.to_le_bytes());
    head
}

fn check_header(head: &[u8; 16]) -> Result<()> {
    if head[..8] != *EXPORT_MAGIC {
        return Err(damaged("this is not a binary export"));
    }
    if u32_at(head, 12) != crc_of(&[&head[..12]]) {
        return Err(damaged("the checksum of the header is wrong"));
    }
    match u32_at(head, 8) {
        VERSION => Ok(()),
        version => Err(damaged(format!("its version is not known to this release, version={version}"))),
    }
}

fn write_record(out: &mut impl Write, record: &Record<'_>) -> io::Result<()> {
    let content_type = record.content_type.as_deref().unwrap_or("").as_bytes();
    let len = BODY_FIXED + record.key.len() + content_type.len() + record.value.len();
    // Keys and values are bounded far below 4 GiB by the engine's own format.
    let len = u32::try_from(len).map_err(io::Error::other)?;
    let mut fixed = [0; 20];
    fixed[..4].copy_from_slice(&len.to_le_bytes());
    fixed[4..12].copy_from_slice(&record.deadline.map_or(0, |at| at.0).to_le_bytes());
    fixed[12..16].copy_from_slice(&(record.key.len() as u32).to_le_bytes());
    fixed[16..20].copy_from_slice(&(content_type.len() as u32).to_le_bytes());
    let crc = crc_of(&[&fixed, &record.key, content_type, &record.value]);
    for part in [&crc.to_le_bytes()[..], &fixed, &record.key, content_type, &record.value] {
        out.write_all(part)?;
    }
    Ok(())
}

fn parse(body: &[u8]) -> Option<Record<'_>> {
    let (fixed, rest) = body.split_at_checked(BODY_FIXED)?;
    let deadline = u64::from_le_bytes(fixed[..8].try_into().ok()?);
    let (key, rest) = rest.split_at_checked(u32_at(fixed, 8) as usize)?;
    let (content_type, value) = rest.split_at_checked(u32_at(fixed, 12) as usize)?;
    let content_type = std::str::from_utf8(content_type).ok()?;
    Some(Record {
        key: Cow::Borrowed(key),
        value: Cow::Borrowed(value),
        content_type: (!content_type.is_empty()).then_some(Cow::Borrowed(content_type)),
        deadline: (deadline != 0).then_some(UnixMillis(deadline)),
    })
}

fn trailer(count: u64, whole: u32) -> [u8; 24] {
    let mut bytes = [0; 24];
    bytes[4..8].copy_from_slice(&TRAILER.to_le_bytes());
    bytes[8..16].copy_from_slice(&count.to_le_bytes());
    bytes[16..20].copy_from_slice(&whole.to_le_bytes());
    let crc = crc_of(&[&bytes[4..]]);
    bytes[..4].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn check_trailer(source: &mut Source, crc: u32, count: u64, whole: u32) -> Result<()> {
    let rest: [u8; 16] = take(source)?;
    let expected = trailer(count, whole);
    if crc.to_le_bytes() != expected[..4] || rest != expected[8..] {
        return Err(damaged("the trailer does not match what comes before it"));
    }
    if source.remaining() != 0 {
        return Err(damaged("there is something behind the trailer"));
    }
    Ok(())
}

fn take<const N: usize>(source: &mut Source) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    source.read_exact(&mut bytes).map_err(unread)?;
    Ok(bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn crc_of(parts: &[&[u8]]) -> u32 {
    let mut hasher = Hasher::new();
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize()
}

fn unwritten(error: io::Error) -> Error {
    failed("write", Path::new(""), error)
}

fn unread(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => damaged("it ends too early"),
        _ => failed("read", Path::new(""), error),
    }
}

/// Passes bytes on and keeps the checksum of all of them.
struct Hashing<'w, W> {
    inner: &'w mut W,
    hasher: Hasher,
}

impl<W: Write> Write for Hashing<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_version_1_never_change() {
        let mut out = Vec::new();
        let count = write(&mut out, |each| {
            each(Record {
                key: Cow::Borrowed(b"k"),
                value: Cow::Borrowed(b"value"),
                content_type: Some(Cow::Borrowed("t/x")),
                deadline: Some(UnixMillis(258)),
            })
        })
        .unwrap();
        assert_eq!(count, 1);
        assert_eq!(&out[..12], b"EMBKHFS\0\x01\0\0\0");
        assert_eq!(&out[20..49], b"\x19\0\0\0\x02\x01\0\0\0\0\0\0\x01\0\0\0\x03\0\0\0kt/xvalue");
        assert_eq!(&out[53..65], b"\xff\xff\xff\xff\x01\0\0\0\0\0\0\0");
        let crcs = [12, 16, 49, 65].map(|at| u32_at(&out, at));
        assert_eq!((out.len(), crcs), (73, GOLDEN_CRCS));
    }

    /// Of the header, the record, the trailer, and all before the trailer.
    const GOLDEN_CRCS: [u32; 4] = [0xe744_9c07, 0x9895_59b1, 0x3f07_659b, 0x8efe_ee61];
}
