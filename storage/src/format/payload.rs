//! What the payload of each frame kind holds.
//!
//! ```text
//! Put, Delete, Touch   one op (format::op) of that kind
//! Txn                  varint count (>= 1), then the ops; at most one op per key
//! Remove               u8 reason (1 expired, 2 evicted), varint count (>= 1), then per entry:
//!                      varint namespace, varint key length, key, varint version
//! Flush                u8 scope (0 all, 1 one namespace), varint namespace (0 for all)
//! TermStart            [16] run id, [16] node id, u64 previous term, u64 previous index,
//!                      u32 previous header_crc
//! Mark                 [16] run id, u64 segment, u64 offset, u64 wall ms: every byte of the log
//!                      before (segment, offset) was durable when this was written
//! ```

use super::{
    Defect,
    frame::{Frame, Kind},
    op::{Key, Op, decode_key},
    reader::{Reader, put_varint},
};
use crate::{clock::UnixMillis, lsn::LogPosition};

/// Length of a Mark's payload.
pub const MARK_LEN: usize = 40;

/// Why an entry left without anybody asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Its deadline passed.
    Expired,
    /// The cache was full.
    Evicted,
}

/// The proof that bytes were durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The run that began its segment, whoever writes it.
    pub run_id: [u8; 16],
    /// Everything before this place was durable.
    pub durable: LogPosition,
    /// The engine's clock.
    pub wall: UnixMillis,
}

/// The beginning of a term: who writes from here on, and after what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TermStart {
    /// Random; two runs with one term and different ids are a fork.
    pub run_id: [u8; 16],
    /// Who.
    pub node_id: [u8; 16],
    /// The term before.
    pub prev_term: u64,
    /// The last index before; the gap up to this frame's own index was never anybody's.
    pub prev_index: u64,
    /// The header checksum of that frame.
    pub prev_crc: u32,
}

/// A decoded payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload<'a> {
    /// One op.
    Op(Op<'a>),
    /// Several ops, all or nothing.
    Txn(Ops<'a>),
    /// Entries that left without anybody asking.
    Remove(Reason, Removals<'a>),
    /// All entries of one namespace, or of all.
    Flush(Option<u16>),
    /// The beginning of a term.
    TermStart(TermStart),
    /// A durability proof.
    Mark(Mark),
}

/// The ops of a transaction; every one was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ops<'a>(&'a [u8]);

/// The entries of a removal; every one was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Removals<'a>(&'a [u8]);

impl<'a> Ops<'a> {
    /// The ops in order.
    pub fn iter(self) -> impl Iterator<Item = Op<'a>> {
        let mut r = Reader::new(self.0);
        std::iter::from_fn(move || {
            (r.remaining() > 0).then(|| Op::decode(&mut r).expect("checked by decode"))
        })
    }
}

impl<'a> Removals<'a> {
    /// The keys, each with the version that was removed.
    pub fn iter(self) -> impl Iterator<Item = (Key<'a>, u64)> {
        let mut r = Reader::new(self.0);
        std::iter::from_fn(move || {
            (r.remaining() > 0).then(|| decode_removal(&mut r).expect("checked by decode"))
        })
    }
}

/// Reads the payload of a frame that verified.
///
/// # Errors
/// The [`Defect`] of the first byte that no encoder writes: the checksums were right, so this is
/// a newer format or a defect of the writer, never a torn write.
pub fn decode<'a>(frame: &Frame<'a>) -> Result<Payload<'a>, Defect> {
    let mut r = Reader::new(frame.payload);
    let payload = match frame.header.kind {
        kind @ (Kind::Put | Kind::Delete | Kind::Touch) => {
            let op = Op::decode(&mut r)?;
            if op_kind(&op) != kind {
                return Err(Defect::Malformed);
            }
            Payload::Op(op)
        }
        Kind::Txn => Payload::Txn(Ops(checked(&mut r, |r| Op::decode(r).map(drop))?)),
        Kind::Remove => {
            let reason = match r.u8()? {
                1 => Reason::Expired,
                2 => Reason::Evicted,
                _ => return Err(Defect::Unknown),
            };
            Payload::Remove(reason, Removals(checked(&mut r, |r| decode_removal(r).map(drop))?))
        }
        Kind::Flush => Payload::Flush(decode_flush(&mut r)?),
        Kind::TermStart => Payload::TermStart(TermStart {
            run_id: r.array()?,
            node_id: r.array()?,
            prev_term: r.u64()?,
            prev_index: r.u64()?,
            prev_crc: r.u32()?,
        }),
        Kind::Mark => Payload::Mark(Mark {
            run_id: r.array()?,
            durable: LogPosition { segment: r.u64()?, offset: r.u64()? },
            wall: UnixMillis(r.u64()?),
        }),
    };
    r.finish()?;
    Ok(payload)
}

/// The frame kind of a single op.
pub fn op_kind(op: &Op<'_>) -> Kind {
    match op {
        Op::Put(_) => Kind::Put,
        Op::Delete(_) => Kind::Delete,
        Op::Touch { .. } => Kind::Touch,
    }
}

/// Appends the payload of a transaction.
pub fn encode_txn(ops: &[Op<'_>], out: &mut Vec<u8>) {
    put_varint(out, ops.len() as u64);
    for op in ops {
        op.encode(out);
    }
}

/// Appends the payload of a removal.
pub fn encode_remove<'k>(
    reason: Reason,
    entries: impl ExactSizeIterator<Item = (Key<'k>, u64)>,
    out: &mut Vec<u8>,
) {
    out.push(match reason {
        Reason::Expired => 1,
        Reason::Evicted => 2,
    });
    put_varint(out, entries.len() as u64);
    for (key, version) in entries {
        put_varint(out, u64::from(key.namespace));
        put_varint(out, key.bytes.len() as u64);
        out.extend_from_slice(key.bytes);
        put_varint(out, version);
    }
}

/// The payload of a flush.
pub fn encode_flush(namespace: Option<u16>, out: &mut Vec<u8>) {
    out.push(u8::from(namespace.is_some()));
    put_varint(out, u64::from(namespace.unwrap_or(0)));
}

impl TermStart {
    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.run_id);
        out.extend_from_slice(&self.node_id);
        out.extend_from_slice(&self.prev_term.to_le_bytes());
        out.extend_from_slice(&self.prev_index.to_le_bytes());
        out.extend_from_slice(&self.prev_crc.to_le_bytes());
    }
}

impl Mark {
    /// The payload.
    pub fn encode(&self) -> [u8; MARK_LEN] {
        let mut out = [0; MARK_LEN];
        out[0..16].copy_from_slice(&self.run_id);
        out[16..24].copy_from_slice(&self.durable.segment.to_le_bytes());
        out[24..32].copy_from_slice(&self.durable.offset.to_le_bytes());
        out[32..40].copy_from_slice(&self.wall.0.to_le_bytes());
        out
    }
}

/// Reads a count and as many items as it says, and gives the bytes of the items.
fn checked<'a>(
    r: &mut Reader<'a>,
    item: impl Fn(&mut Reader<'a>) -> Result<(), Defect>,
) -> Result<&'a [u8], Defect> {
    let count = r.length(r.remaining())?;
    if count == 0 {
        return Err(Defect::Length);
    }
    let mut ahead = *r;
    for _ in 0..count {
        item(&mut ahead)?;
    }
    r.bytes(r.remaining() - ahead.remaining())
}

fn decode_removal<'a>(r: &mut Reader<'a>) -> Result<(Key<'a>, u64), Defect> {
    let namespace = u16::try_from(r.varint()?).map_err(|_| Defect::Length)?;
    let key = Key { namespace, bytes: decode_key(r)? };
    Ok((key, r.varint()?))
}

fn decode_flush(r: &mut Reader<'_>) -> Result<Option<u16>, Defect> {
    let scope = r.u8()?;
    let namespace = u16::try_from(r.varint()?).map_err(|_| Defect::Length)?;
    match (scope, namespace) {
        (0, 0) => Ok(None),
        (1, namespace) => Ok(Some(namespace)),
        _ => Err(Defect::Unknown),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::format::frame::Header;

    fn frame(kind: Kind, payload: &[u8]) -> Frame<'_> {
        let header = Header { kind, index: 1, term: 1, prev: 0, ts: UnixMillis(0) };
        Frame { header, header_crc: 0, payload }
    }

    const KINDS: [Kind; 8] = [
        Kind::Put,
        Kind::Delete,
        Kind::Touch,
        Kind::Txn,
        Kind::Remove,
        Kind::Flush,
        Kind::TermStart,
        Kind::Mark,
    ];

    proptest! {
        #[test]
        fn arbitrary_payloads_never_panic(
            kind in 0usize..KINDS.len(),
            bytes in proptest::collection::vec(any::<u8>(), 0..120),
        ) {
            match decode(&frame(KINDS[kind], &bytes)) {
                Ok(Payload::Txn(ops)) => prop_assert!(ops.iter().count() > 0),
                Ok(Payload::Remove(_, entries)) => prop_assert!(entries.iter().count() > 0),
                _ => {}
            }
        }
    }

    #[test]
    fn transactions_and_removals_survive_the_round_trip() {
        let ops = [Op::Delete(b"a".into()), Op::Touch { key: b"b".into(), deadline: None }];
        let mut bytes = Vec::new();
        encode_txn(&ops, &mut bytes);
        let Ok(Payload::Txn(decoded)) = decode(&frame(Kind::Txn, &bytes)) else { panic!() };
        assert!(decoded.iter().eq(ops));

        let entries = [(Key::from(b"a"), 9), (Key { namespace: 4, bytes: b"bb" }, 10)];
        let mut bytes = Vec::new();
        encode_remove(Reason::Evicted, entries.into_iter(), &mut bytes);
        let Ok(Payload::Remove(Reason::Evicted, decoded)) = decode(&frame(Kind::Remove, &bytes)) else {
            panic!()
        };
        assert!(decoded.iter().eq(entries));
    }

    #[test]
    fn marks_term_starts_and_flushes_survive_the_round_trip() {
        let durable = LogPosition { segment: 3, offset: 4096 };
        let mark = Mark { run_id: [1; 16], durable, wall: UnixMillis(5) };
        assert_eq!(decode(&frame(Kind::Mark, &mark.encode())), Ok(Payload::Mark(mark)));

        let start = TermStart { run_id: [1; 16], node_id: [2; 16], prev_term: 3, prev_index: 4, prev_crc: 5 };
        let mut bytes = Vec::new();
        start.encode(&mut bytes);
        assert_eq!(decode(&frame(Kind::TermStart, &bytes)), Ok(Payload::TermStart(start)));

        for scope in [None, Some(0), Some(7)] {
            let mut bytes = Vec::new();
            encode_flush(scope, &mut bytes);
            assert_eq!(decode(&frame(Kind::Flush, &bytes)), Ok(Payload::Flush(scope)));
        }
    }

    #[test]
    fn a_count_above_what_the_input_can_hold_is_refused() {
        let mut bytes = Vec::new();
        put_varint(&mut bytes, u64::MAX);
        assert_eq!(decode(&frame(Kind::Txn, &bytes)), Err(Defect::Length));
        assert_eq!(decode(&frame(Kind::Txn, &[0])), Err(Defect::Length));
    }
}
