//! The form of a string in `DUMP` and `RESTORE`: that of redis-server's RDB version 11, so that values
//! can be moved either way.
//!
//! ```text
//! u8   type 0: a string
//! len  00xxxxxx | 01xxxxxx u8 | 80 u32 BE | 81 u64 BE, or c0 i8 | c1 i16 LE | c2 i32 LE | c3 LZF
//! [u8] the bytes
//! u16  RDB version, LE
//! u64  CRC-64/Redis of all before, LE
//! ```
//!
//! Format: <https://rdb.fnordig.de/file_format.html>.

const VERSION: u16 = 11;
const FOOTER_LEN: usize = 10;
const WRONG: &str = "ERR DUMP payload version or checksum are wrong";
const BAD: &str = "ERR Bad data format";

/// The form of a value.
pub(super) fn encode(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len() + 16);
    out.push(0);
    match value.len() {
        len @ 0..64 => out.push(len as u8),
        len @ 64..16_384 => out.extend([0x40 | (len >> 8) as u8, len as u8]),
        len => {
            out.push(0x80);
            out.extend((len as u32).to_be_bytes());
        }
    }
    out.extend_from_slice(value);
    out.extend(VERSION.to_le_bytes());
    let crc = crc64(&out);
    out.extend(crc.to_le_bytes());
    out
}

/// The value, if these bytes are the form of a string.
pub(super) fn decode(bytes: &[u8], len_max: usize) -> Result<Vec<u8>, &'static str> {
    let (body, footer) = bytes.split_at_checked(bytes.len().wrapping_sub(FOOTER_LEN)).ok_or(WRONG)?;
    let version = u16::from_le_bytes([footer[0], footer[1]]);
    let crc = u64::from_le_bytes(footer[2..].try_into().expect("eight bytes"));
    let summed = &bytes[..bytes.len() - 8];
    // A checksum of zero is none.
    if version > VERSION || (crc != 0 && crc != crc64(summed)) {
        return Err(WRONG);
    }
    let (&kind, rest) = body.split_first().ok_or(BAD)?;
    if kind != 0 {
        return Err("ERR this server keeps strings only, and the payload is of another type");
    }
    let value = string(rest, len_max).ok_or(BAD)?;
    Ok(value)
}

fn string(bytes: &[u8], len_max: usize) -> Option<Vec<u8>> {
    match *bytes {
        [0xc0, a] => Some((a as i8).to_string().into_bytes()),
        [0xc1, a, b] => Some(i16::from_le_bytes([a, b]).to_string().into_bytes()),
        [0xc2, a, b, c, d] => Some(i32::from_le_bytes([a, b, c, d]).to_string().into_bytes()),
        [0xc3, ref rest @ ..] => {
            let (stored_len, rest) = length(rest)?;
            let (raw_len, rest) = length(rest)?;
            (stored_len == rest.len() && raw_len <= len_max).then(|| lzf(rest, raw_len))?
        }
        _ => {
            let (len, rest) = length(bytes)?;
            (len == rest.len() && len <= len_max).then(|| rest.to_vec())
        }
    }
}

fn length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    match bytes {
        [a, rest @ ..] if a >> 6 == 0 => Some((usize::from(*a), rest)),
        [a, b, rest @ ..] if a >> 6 == 1 => Some((usize::from(a & 63) << 8 | usize::from(*b), rest)),
        [0x80, a, b, c, d, rest @ ..] => Some((u32::from_be_bytes([*a, *b, *c, *d]) as usize, rest)),
        [0x81, rest @ ..] => {
            let (len, rest) = rest.split_first_chunk()?;
            Some((usize::try_from(u64::from_be_bytes(*len)).ok()?, rest))
        }
        _ => None,
    }
}

/// Inflates LZF: literal runs, and copies of what came before.
fn lzf(mut bytes: &[u8], raw_len: usize) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    while let Some((&control, rest)) = bytes.split_first() {
        let control = usize::from(control);
        if control < 32 {
            let (literal, rest) = rest.split_at_checked(control + 1)?;
            out.extend_from_slice(literal);
            bytes = rest;
        } else {
            let (long, rest) = if control >> 5 == 7 { rest.split_first()? } else { (&0, rest) };
            let (&low, rest) = rest.split_first()?;
            let len = (control >> 5) + usize::from(*long) + 2;
            let back = ((control & 31) << 8 | usize::from(low)) + 1;
            let from = out.len().checked_sub(back)?;
            for at in from..from + len {
                out.push(out[at]);
            }
            bytes = rest;
        }
        if out.len() > raw_len {
            return None;
        }
    }
    (out.len() == raw_len).then_some(out)
}

/// CRC-64 with the polynomial of Jones, reflected, from zero.
fn crc64(bytes: &[u8]) -> u64 {
    const TABLE: [u64; 256] = table();
    bytes.iter().fold(0, |crc, byte| TABLE[usize::from(crc as u8 ^ byte)] ^ crc >> 8)
}

const fn table() -> [u64; 256] {
    // 0xad93d23594c935a9, bits reversed.
    const POLYNOMIAL: u64 = 0x95ac_9329_ac4b_c9b5;
    let mut table = [0; 256];
    let mut n = 0;
    while n < 256 {
        let mut crc = n as u64;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        table[n] = crc;
        n += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_checksum_is_that_of_redis() {
        assert_eq!(crc64(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
    }

    #[test]
    fn integers_and_compressed_strings_of_redis_are_read() {
        let whole = |body: &[u8]| {
            let mut out = body.to_vec();
            out.extend(VERSION.to_le_bytes());
            out.extend(crc64(&out).to_le_bytes());
            out
        };
        let table: [(&[u8], &str); 4] = [
            (&[0, 0xc0, 0xff], "-1"),
            (&[0, 0xc1, 0x39, 0x30], "12345"),
            (&[0, 0xc2, 0x15, 0xcd, 0x5b, 0x07], "123456789"),
            // "a", then a copy of 19 from one before.
            (&[0, 0xc3, 5, 20, 0, b'a', 0xe0, 10, 0], "aaaaaaaaaaaaaaaaaaaa"),
        ];
        for (body, value) in table {
            assert_eq!(decode(&whole(body), 100).unwrap(), value.as_bytes(), "{body:?}");
        }
        assert_eq!(
            decode(&whole(&[1, 0]), 100).unwrap_err(),
            "ERR this server keeps strings only, and the payload is of another type"
        );
        assert_eq!(decode(&whole(&[0, 5, b'a']), 100).unwrap_err(), BAD);
        assert_eq!(decode(b"", 100).unwrap_err(), WRONG);
    }

    proptest! {
        #[test]
        fn a_value_comes_back(len in prop_oneof![0usize..100, 16_000usize..17_000], byte: u8) {
            let value = vec![byte; len];
            prop_assert_eq!(decode(&encode(&value), 20_000).unwrap(), value);
        }

        #[test]
        fn a_flipped_bit_is_found(at in 0usize..17, bit in 0u8..8) {
            let mut bytes = encode(b"value");
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            prop_assert!(decode(&bytes, 100).is_err());
        }

        #[test]
        fn whatever_comes_nothing_panics(body in proptest::collection::vec(any::<u8>(), 0..60)) {
            let mut bytes = body;
            bytes.extend([11, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            drop(decode(&bytes, 1000));
        }
    }
}
