//! Inflating. First byte: 0 stored bytes are taken as they are, with a codec and a length; 1 a value
//! is packed and must come back; 2 the same with one byte of the stream changed.
//!
//! Whatever is stored, as many bytes come out as were recorded, or an error; and no more than those
//! are ever allocated.
#![no_main]

use emberkeep_storage::{
    Codec, ErrorKind, Settings,
    compress::{codec_of, inflate, pack},
    format::op::Encoding,
};
use libfuzzer_sys::fuzz_target;

/// The longest value that the format holds.
const VALUE_LEN_MAX: u32 = 512 << 20;

fuzz_target!(|data: &[u8]| {
    let Some((mode, bytes)) = data.split_first() else { return };
    match mode % 3 {
        0 => taken_as_it_is(bytes),
        1 => {
            let Some(([codec, level], value)) = bytes.split_first_chunk() else { return };
            packed(*codec, *level, value, None);
        }
        _ => {
            let Some(([codec, level, at, change], value)) = bytes.split_first_chunk() else { return };
            packed(*codec, *level, value, Some((*at, *change)));
        }
    }
});

fn taken_as_it_is(bytes: &[u8]) {
    let Some(([codec, len @ ..], stored)) = bytes.split_first_chunk::<5>() else { return };
    let encoding = Encoding { codec: *codec, raw_len: u32::from_le_bytes(*len) };
    check(stored, encoding);
    // With a length that the stream itself may tell, so that more than the length is looked at.
    check(stored, Encoding { raw_len: encoding.raw_len % 4096, ..encoding });
}

fn check(stored: &[u8], encoding: Encoding) {
    match inflate(stored, encoding) {
        Ok(raw) => {
            assert!(encoding.raw_len <= VALUE_LEN_MAX);
            assert_eq!(raw.len(), encoding.raw_len as usize);
            assert!(raw.capacity() <= raw.len().max(64) * 2, "more room than was recorded");
        }
        Err(e) if codec_of(encoding).is_none() => assert_eq!(e.kind(), ErrorKind::Unsupported),
        // A stream may truly say that it is longer than there is memory.
        Err(e) => assert!(matches!(e.kind(), ErrorKind::Corrupt | ErrorKind::Overloaded), "{e}"),
    }
}

fn packed(codec: u8, level: u8, value: &[u8], change: Option<(u8, u8)>) {
    let codec = if codec % 2 == 0 { Codec::Gzip } else { Codec::Zstd };
    let settings = Settings {
        compress: Some(codec),
        compress_level: Some(1 + u32::from(level) % 9),
        compress_threshold: 64,
        ..Settings::new("unused")
    };
    let packed = pack(&settings, value);
    let Some(encoding) = packed.encoding else {
        assert_eq!(*packed.stored, *value);
        return;
    };
    assert!(packed.stored.len() < value.len());
    let mut stored = packed.stored.into_owned();
    let Some((at, change)) = change else {
        assert_eq!(inflate(&stored, encoding).unwrap(), value);
        return;
    };
    let at = usize::from(at) % stored.len();
    stored[at] ^= change;
    check(&stored, encoding);
}
