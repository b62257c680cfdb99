//! An op. First byte even: the rest is decoded. Odd: an op is made from the rest, and must survive
//! the round trip.
#![no_main]

use arbitrary::Unstructured;
use emberkeep_storage::{
    UnixMillis,
    format::{
        op::{Encoding, Key, Op, Put},
        reader::Reader,
    },
};
use libfuzzer_sys::fuzz_target;

/// The longest value that the format holds.
const VALUE_LEN_MAX: u32 = 512 << 20;

fuzz_target!(|data: &[u8]| {
    let Some((mode, bytes)) = data.split_first() else { return };
    if mode % 2 == 0 {
        let mut r = Reader::new(bytes);
        while let Ok(op) = Op::decode(&mut r.clone()) {
            let before = r.remaining();
            assert_eq!(Op::decode(&mut r), Ok(op));
            let used = &bytes[bytes.len() - before..bytes.len() - r.remaining()];
            assert_eq!(encoded(&op), used, "what decodes is what we write");
        }
    } else if let Ok(op) = made(&mut Unstructured::new(bytes)) {
        let bytes = encoded(&op);
        let mut r = Reader::new(&bytes);
        assert_eq!(Op::decode(&mut r), Ok(op));
        assert_eq!(r.finish(), Ok(()));
    }
});

fn encoded(op: &Op<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    op.encode(&mut out);
    out
}

fn made<'a>(u: &mut Unstructured<'a>) -> arbitrary::Result<Op<'a>> {
    let kind = u.int_in_range(0..=2)?;
    let len = u.int_in_range(1..=300)?;
    let key = Key { namespace: u.arbitrary()?, bytes: u.bytes(len)? };
    let deadline = u.arbitrary::<Option<u64>>()?.map(UnixMillis);
    if kind < 2 {
        return Ok(if kind == 0 { Op::Delete(key) } else { Op::Touch { key, deadline } });
    }
    let encoding = if u.arbitrary()? {
        let raw_len = u.int_in_range(0..=VALUE_LEN_MAX)?;
        Some(Encoding { codec: u.int_in_range(1..=255)?, raw_len })
    } else {
        None
    };
    let version = u.arbitrary()?;
    let len = u.int_in_range(0..=255)?;
    let content_type = u.bytes(len)?;
    let visible = content_type.iter().all(|b| (0x20..0x7f).contains(b));
    let content_type = if visible { content_type } else { &b""[..] };
    let len = u.len();
    Ok(Op::Put(Put { key, type_tag: 0, deadline, version, encoding, content_type, value: u.bytes(len)? }))
}
