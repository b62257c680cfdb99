//! The two codecs, from memory to memory. Contexts are kept per thread: making one costs more than
//! compressing a small value.
//!
//! A gzip stream is laid out here (RFC 1952): its header is always the same ten bytes, so that the
//! bare deflate contexts, which can be used again, are enough.
//!
//! ```text
//! [10] header     1f 8b 08 00 00 00 00 00 00 ff: deflate, no name, no time, unknown system
//! [u8] deflate stream
//! u32  CRC-32 of the value
//! u32  length of the value
//! ```

use std::cell::RefCell;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use zstd::{
    bulk::{Compressor, Decompressor},
    zstd_safe::get_frame_content_size,
};

use crate::settings::Codec;

/// Contexts grow with what they have compressed, at high levels to tens of megabytes. For larger
/// values one of its own costs little beside the work.
const KEPT_FOR_MAX: usize = 64 << 10;

const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
const GZIP_TRAILER_LEN: usize = 8;

thread_local! {
    static ZSTD_IN: RefCell<Option<(u32, Compressor<'static>)>> = const { RefCell::new(None) };
    static ZSTD_OUT: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
    static GZIP_IN: RefCell<Option<(u32, Compress)>> = const { RefCell::new(None) };
    static GZIP_OUT: RefCell<Option<Decompress>> = const { RefCell::new(None) };
}

/// The value compressed into at most `len_max` bytes; `None` if it does not fit.
pub(super) fn compress(codec: Codec, level: u32, raw: &[u8], len_max: usize) -> Option<Vec<u8>> {
    let out = match codec {
        Codec::Zstd => zstd(level, raw, len_max),
        Codec::Gzip => gzip(level, raw),
    };
    out.filter(|out| out.len() <= len_max)
}

/// The length that a stream says its value has.
pub(super) fn announced(codec: Codec, stored: &[u8]) -> Option<u32> {
    match codec {
        Codec::Zstd => get_frame_content_size(stored).ok()?.and_then(|len| u32::try_from(len).ok()),
        Codec::Gzip => stored.last_chunk().copied().map(u32::from_le_bytes),
    }
}

/// Inflates into what room `out` has and no more; `None` if the bytes are no whole stream.
pub(super) fn inflate_into(out: &mut Vec<u8>, codec: Codec, stored: &[u8]) -> Option<()> {
    match codec {
        Codec::Zstd => unzstd(out, stored),
        Codec::Gzip => ungzip(out, stored),
    }
}

/// Gives up as soon as the room is used up.
fn zstd(level: u32, raw: &[u8], len_max: usize) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(len_max);
    let fresh = || Compressor::new(level as i32).expect("the level was checked before");
    if raw.len() > KEPT_FOR_MAX {
        return fresh().compress_to_buffer(raw, &mut out).is_ok().then_some(out);
    }
    ZSTD_IN.with_borrow_mut(|kept| {
        // A context that ran out of room takes no new level, but begins a new frame.
        let (_, context) = match kept {
            Some(known) if known.0 == level => known,
            _ => kept.insert((level, fresh())),
        };
        context.compress_to_buffer(raw, &mut out).is_ok().then_some(out)
    })
}

fn unzstd(out: &mut Vec<u8>, stored: &[u8]) -> Option<()> {
    ZSTD_OUT.with_borrow_mut(|kept| {
        let context = kept.get_or_insert_with(|| Decompressor::new().expect("it needs no dictionary"));
        context.decompress_to_buffer(stored, out).ok().map(drop)
    })
}

/// There is room for whatever comes out: a context of zlib-rs 0.6.8 that ran out of it keeps bytes
/// which its reset forgets, and some values later it panics. What came out is inflated again before
/// anybody rests on it: that costs a fifth of what making it did.
fn gzip(level: u32, raw: &[u8]) -> Option<Vec<u8>> {
    // Nine bits for each byte at worst.
    let mut out = Vec::with_capacity(raw.len() + raw.len() / 8 + 128);
    out.extend_from_slice(&GZIP_HEADER);
    let ended = GZIP_IN.with_borrow_mut(|kept| {
        let (_, context) = match kept {
            Some(known) if known.0 == level => known,
            _ => kept.insert((level, Compress::new(Compression::new(level), false))),
        };
        context.reset();
        let ended =
            matches!(context.compress_vec(raw, &mut out, FlushCompress::Finish), Ok(Status::StreamEnd));
        if !ended {
            *kept = None;
        }
        ended
    });
    if !ended || out.len() >= raw.len() {
        return None;
    }
    out.extend_from_slice(&crc32fast::hash(raw).to_le_bytes());
    out.extend_from_slice(&(raw.len() as u32).to_le_bytes());
    let mut again = Vec::with_capacity(raw.len());
    (ungzip(&mut again, &out).is_some() && again == raw).then_some(out)
}

fn ungzip(out: &mut Vec<u8>, stored: &[u8]) -> Option<()> {
    let rest = stored.strip_prefix(&GZIP_HEADER)?;
    let (deflated, trailer) = rest.split_at(rest.len().checked_sub(GZIP_TRAILER_LEN)?);
    GZIP_OUT.with_borrow_mut(|kept| {
        let context = kept.get_or_insert_with(|| Decompress::new(false));
        context.reset(false);
        let ended = context.decompress_vec(deflated, out, FlushDecompress::Finish);
        let whole = matches!(ended, Ok(Status::StreamEnd)) && context.total_in() == deflated.len() as u64;
        whole.then_some(())
    })?;
    (trailer[..4] == crc32fast::hash(out).to_le_bytes()).then_some(())
}
