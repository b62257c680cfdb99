//! Compression of single values: what is worth it, and back again within bounds.
//!
//! [`pack`] decides and compresses; it is called by the writer's own thread before any lock is
//! taken. [`inflate`] gives back exactly as many bytes as were recorded, or an error: whatever the
//! stored bytes say, it never holds more. The log, the index and the snapshots carry stored bytes
//! as they are, each with its codec, so that values outlive a change of the settings.
//!
//! Only what is written here carries a codec: no client can hand in compressed bytes as such.
//!
//! Not here: the blocks of a snapshot (`format::snapshot`), which form a client gets (`http`).

mod codec;
mod sniff;
mod tally;

use std::borrow::Cow;

pub(crate) use self::tally::Tally;
pub use self::tally::{CodecStats, CompressionStats};
use crate::{
    error::{Error, ErrorKind, Result},
    format::op::Encoding,
    limits::VALUE_LEN_MAX,
    settings::{Codec, Settings},
};

/// What is larger than this many hundredths of the value is not worth inflating it at every read.
const KEPT_MAX_PERCENT: usize = 92;
/// From here on a piece of the value is tried first: it costs a tenth of the whole.
const PROBED_MIN: usize = 32 << 10;
/// How much is tried.
const PROBE_LEN: usize = 4 << 10;

/// The numbers in the format, see `format::op`.
const ZSTD: u8 = 1;
const GZIP: u8 = 2;

/// A value as it is to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed<'a> {
    /// The bytes.
    pub stored: Cow<'a, [u8]>,
    /// How they were compressed; `None`: they are the value.
    pub encoding: Option<Encoding>,
}

/// Compresses a value as the settings say, if that makes it smaller by 8 % at least.
pub fn pack<'a>(settings: &Settings, value: &'a [u8]) -> Packed<'a> {
    pack_counted(settings, &Tally::default(), value)
}

/// As [`pack`], and counts what came of it.
pub(crate) fn pack_counted<'a>(settings: &Settings, tally: &Tally, value: &'a [u8]) -> Packed<'a> {
    let as_it_is = Packed { stored: Cow::Borrowed(value), encoding: None };
    let Some(codec) = settings.compress.filter(|_| value.len() >= settings.compress_threshold) else {
        return as_it_is;
    };
    let level = settings.compress_level.unwrap_or(codec.level_default());
    match smaller(codec, level, value) {
        Some(stored) => {
            tally.compressed(codec, value.len(), stored.len());
            let raw_len = u32::try_from(value.len()).expect("checked before: at most 512 MiB");
            let encoding = Encoding { codec: number_of(codec), raw_len };
            Packed { stored: Cow::Owned(stored), encoding: Some(encoding) }
        }
        None => {
            tally.left_raw();
            as_it_is
        }
    }
}

/// The value that was stored: exactly `encoding.raw_len` bytes.
///
/// Memory: that many bytes, taken only if the stream itself announces the same number.
///
/// # Errors
/// `Corrupt` if the stored bytes are no such stream or give another number of bytes;
/// `Unsupported` for a codec of a newer release; `Overloaded` if there is no memory.
pub fn inflate(stored: &[u8], encoding: Encoding) -> Result<Vec<u8>> {
    let Some(codec) = codec_of(encoding) else {
        let what = format!("the codec of a value is not known to this release, codec={}", encoding.codec);
        return Err(Error::new(ErrorKind::Unsupported, what));
    };
    let raw_len = encoding.raw_len as usize;
    let announced = if raw_len <= VALUE_LEN_MAX { codec::announced(codec, stored) } else { None };
    if announced != Some(encoding.raw_len) {
        return Err(damaged(codec, stored, encoding));
    }
    let mut raw = Vec::new();
    if raw.try_reserve_exact(raw_len).is_err() {
        let what = format!("there is no memory to inflate a value, bytes={raw_len}");
        return Err(Error::new(ErrorKind::Overloaded, what));
    }
    let inflated = codec::inflate_into(&mut raw, codec, stored);
    if inflated.is_none() || raw.len() != raw_len {
        return Err(damaged(codec, stored, encoding));
    }
    Ok(raw)
}

/// The codec of stored bytes; `None` for one of a newer release.
pub fn codec_of(encoding: Encoding) -> Option<Codec> {
    match encoding.codec {
        ZSTD => Some(Codec::Zstd),
        GZIP => Some(Codec::Gzip),
        _ => None,
    }
}

fn number_of(codec: Codec) -> u8 {
    match codec {
        Codec::Zstd => ZSTD,
        Codec::Gzip => GZIP,
    }
}

/// The value compressed, if that is worth it.
fn smaller(codec: Codec, level: u32, value: &[u8]) -> Option<Vec<u8>> {
    if sniff::is_compressed(value) {
        return None;
    }
    if value.len() < PROBED_MIN && sniff::is_noise(value) {
        return None;
    }
    if value.len() >= PROBED_MIN {
        // From the middle: what stands in front of media is often text, and shrinks.
        let middle = value.len() / 2;
        let probe = &value[middle..middle + PROBE_LEN];
        // Not a level below 1: those leave out the entropy coding that hex or base64 shrinks by.
        codec::compress(Codec::Zstd, 1, probe, kept_max(PROBE_LEN))?;
    }
    codec::compress(codec, level, value, kept_max(value.len()))
}

fn kept_max(raw_len: usize) -> usize {
    raw_len * KEPT_MAX_PERCENT / 100
}

fn damaged(codec: Codec, stored: &[u8], encoding: Encoding) -> Error {
    let what = format!(
        "a stored value cannot be inflated, codec={} stored_bytes={} raw_bytes={}",
        codec.as_str(),
        stored.len(),
        encoding.raw_len
    );
    Error::new(ErrorKind::Corrupt, what)
}

#[cfg(test)]
mod tests;
