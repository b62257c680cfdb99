//! Writes the seed corpora from real encodings: `cargo run --example seeds` in `fuzz/`.
//!
//! Files are named after what is in them and stay below 1 KiB. What a fuzzer finds on its own is
//! not committed.

use std::{fs, io, path::Path};

use emberkeep_fuzz::{SALT, fix_checksums, frame};
use emberkeep_storage::{
    Codec, Settings, UnixMillis,
    compress::pack,
    format::{
        frame::{Header, Kind},
        manifest::{CleanStop, GroupMeta, Manifest, SegmentMeta, SnapshotMeta},
        op::{Encoding, Key, Op, Put},
        payload::{Mark, Reason, TermStart, encode_flush, encode_remove, encode_txn},
        snapshot::{BlockEncoder, SnapshotEntry, SnapshotHeader},
    },
    lsn::LogPosition,
};

fn main() -> io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for (target, name, bytes) in seeds() {
        assert!(bytes.len() < 1024, "{target}/{name}");
        let dir = corpus.join(target);
        fs::create_dir_all(&dir)?;
        fs::write(dir.join(name), bytes)?;
    }
    Ok(())
}

type Seed = (&'static str, String, Vec<u8>);

fn seeds() -> Vec<Seed> {
    let mut seeds = Vec::new();
    let mut add = |target, name: &str, mode: Option<u8>, bytes: &[u8]| {
        seeds.push((target, name.to_owned(), mode.into_iter().chain(bytes.iter().copied()).collect()));
    };
    for (name, kind, payload) in payloads() {
        let header = Header { kind: Kind::Put, index: 7, term: 2, prev: 9, ts: UnixMillis(1234) };
        let bytes = frame(header, kind as u8, &payload);
        add("frame", &format!("{name}-whole"), Some(0), &bytes);
        add("frame", &format!("{name}-fixed"), Some(2), &bytes);
    }
    for (name, op) in ops() {
        let mut bytes = Vec::new();
        op.encode(&mut bytes);
        add("op", name, Some(0), &bytes);
        add("op", &format!("{name}-made"), Some(1), &[&bytes[..], &[7; 300]].concat());
    }
    for (name, codec) in [("zstd", Codec::Zstd), ("gzip", Codec::Gzip)] {
        let value = b"{\"name\":\"value\",\"list\":[1,2,3,1,2,3]}".repeat(9);
        let settings = Settings { compress: Some(codec), compress_threshold: 64, ..Settings::new("unused") };
        let packed = pack(&settings, &value);
        let Encoding { codec: number, raw_len } = packed.encoding.expect("it repeats");
        let stored = |number: u8, len: u32| [&[number], &len.to_le_bytes()[..], &packed.stored].concat();
        add("compress", name, Some(0), &stored(number, raw_len));
        add("compress", &format!("{name}-shorter"), Some(0), &stored(number, raw_len - 1));
        add("compress", &format!("{name}-longest"), Some(0), &stored(number, u32::MAX));
        add("compress", &format!("{name}-newer"), Some(0), &stored(9, raw_len));
        add("compress", &format!("{name}-made"), Some(1), &[&[number, 3], &value[..]].concat());
        add("compress", &format!("{name}-flipped"), Some(2), &[&[number, 3, 7, 20], &value[..]].concat());
    }
    let whole = segment();
    // What else is there: each bit of the second byte, and pairs that mean something together.
    for around in [0, 1, 4, 5, 8, 9, 16, 32, 64, 65, 68, 72, 76, 77, 128, 129] {
        add("segment", &format!("whole-{around:03}"), Some(0), &[&[around], &whole[..]].concat());
    }
    // Behind the end, in the middle, in front of a Mark that knows better, of a newer version.
    let damaged = |at: usize| {
        let mut bytes = [&[0], &whole[..]].concat();
        bytes[1 + at] ^= 1;
        bytes
    };
    add("segment", "torn", Some(0), &damaged(whole.len() - 9));
    add("segment", "vouched", Some(0), &damaged(9));
    add("segment", "zeros", Some(0), &[&[0], &whole[..], &[0; 80]].concat());
    for (name, around) in [("sealed-bad", 3), ("sealed-length", 19), ("ended-behind", 16), ("snapshot", 32)] {
        add("segment", name, Some(0), &[&[around], &whole[..], &[0; 80]].concat());
    }
    let mut newer = [&[0], &whole[..]].concat();
    let at = newer.len() - 88;
    newer[at + 12] = 0x85;
    fix_checksums(&mut newer[at..]);
    add("segment", "newer", Some(0), &newer);
    // Made frames: a term, ten of all kinds, some odd.
    add("segment", "made", Some(1), &[0, 7, 0x80, 9, 1, 2, 3, 6, 0x46, 0, 0, 0x80 | 7, 5, 9, 0, 0, 0, 5]);
    add("segment", "made-torn", Some(1), &[0, 7, 0x80, 9, 1, 2, 3, 0xc1, 0x18, 4, 1, 0, 0, 0]);
    add("snapshot", "header", Some(0), &snapshot_header());
    add("snapshot", "block", Some(0), BlockEncoder::default().encode(&entries(), 2, SALT));
    add("snapshot", "block-fixed", Some(1), BlockEncoder::default().encode(&entries(), 2, SALT));
    add("snapshot", "entries", Some(3), &entries());
    for (name, manifest) in [("full", manifest()), ("fresh", Manifest::default())] {
        let bytes = manifest.encode(17);
        add("manifest", name, Some(0), &bytes);
        add("manifest", &format!("{name}-body"), Some(1), &bytes[28..]);
    }
    for text in ["none", "3600", "1.5", "250ms", "30s", "2h", "7d", "0.0001", "-1", "9007199254740992"] {
        add("ttl", text, None, text.as_bytes());
    }
    for path in ["user:1", "a/b//c", "a%2Fb%00%ff", "a+b", "%", "%4", "%zz", ".", "%2e%2E", "../x"] {
        add("http_key", &format!("path-{}", path.replace('/', "_")), Some(0), path.as_bytes());
    }
    for text in ["_wA", "Li4", "a=", "+/", "_wB"] {
        add("http_key", &format!("base64-{}", text.replace('/', "_")), Some(1), text.as_bytes());
    }
    for (name, key) in [("text", &b"user:1"[..]), ("bytes", b"\0\xff/%+ ?#"), ("dots", b"..")] {
        add("http_key", &format!("key-{name}"), Some(2), key);
    }
    for (name, wire) in wires() {
        add("resp_request", name, Some(0), wire);
        add("resp_request", &format!("{name}-cut"), Some(2 * 3 + 1), &[&[0, 7, 2], wire].concat());
    }
    for (pattern, text) in [
        ("h[^a-e\\]]l*o", "hello"),
        ("*a*b*?", "xxaxxbx"),
        ("\\*[b-a]", "*a"),
        ("[a-", "a-"),
        ("[", "["),
        ("a\\", "a\\"),
        ("a*a*a*b", "aaaaaaaaaaaaaaaa"),
    ] {
        let name: String = pattern.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        let len = pattern.len() as u8;
        for (name, len) in [(name.clone(), len), (format!("{name}-long"), 0x80 | len)] {
            add("resp_glob", &name, Some(len), &[pattern, text].concat().into_bytes());
        }
    }
    // Names and words are numbers there; any bytes are commands.
    for seed in 0..12u64 {
        add("resp_command", &format!("commands-{seed:02}"), None, &noise(seed, 20 + 40 * seed as usize));
    }
    // A history is what its bytes are taken for; any bytes are one.
    for seed in 0..12u64 {
        add("engine", &format!("history-{seed:02}"), None, &noise(seed, 100 + 70 * seed as usize));
    }
    seeds
}

/// Requests of the Redis protocol, and what is none.
fn wires() -> [(&'static str, &'static [u8]); 9] {
    [
        ("array", b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n*1\r\n$4\r\nPING\r\n"),
        ("line", b"SET k \"a\\x41\\n\" 'it\\'s'\r\n\r\nPING\n"),
        ("both", b"PING\r\n*0\r\n*-1\r\n*1\r\n$4\r\nPING\r\nPING\r\n"),
        ("announced", b"*1048576\r\n$3\r\nSET\r\n$536870912\r\nx"),
        ("too-long", b"*2\r\n$4\r\nECHO\r\n$99999999999999999999\r\n"),
        ("no-end", b"*1\r\n$4\r\nPINGxx"),
        ("long-number", b"*0000000000000000000000000000000000001\r\n"),
        ("open-quote", b"SET k \"open\r\n"),
        ("http", b"GET / HTTP/1.1\r\n\r\n"),
    ]
}

fn key(bytes: &'static [u8]) -> Key<'static> {
    Key { namespace: 515, bytes }
}

fn put() -> Put<'static> {
    Put {
        key: key(b"key"),
        type_tag: 0,
        deadline: Some(UnixMillis(9)),
        version: Some(5),
        encoding: Some(Encoding { codec: 2, raw_len: 70_000 }),
        content_type: b"text/plain",
        value: b"value",
    }
}

fn ops() -> [(&'static str, Op<'static>); 4] {
    let plain = Put { deadline: None, version: None, encoding: None, content_type: b"", ..put() };
    let touch = Op::Touch { key: key(b"k"), deadline: Some(UnixMillis(17)) };
    [
        ("put", Op::Put(put())),
        ("put-plain", Op::Put(plain)),
        ("delete", Op::Delete(key(b"k"))),
        ("touch", touch),
    ]
}

fn start() -> TermStart {
    TermStart { run_id: emberkeep_fuzz::RUN, node_id: [2; 16], prev_term: 0, prev_index: 0, prev_crc: 0 }
}

fn mark() -> Mark {
    let durable = LogPosition { segment: 1, offset: 4184 };
    Mark { run_id: emberkeep_fuzz::RUN, durable, wall: UnixMillis(5) }
}

fn payloads() -> Vec<(&'static str, Kind, Vec<u8>)> {
    let made = |make: &dyn Fn(&mut Vec<u8>)| {
        let mut out = Vec::new();
        make(&mut out);
        out
    };
    let list = ops();
    let list: Vec<_> = list.iter().map(|(_, op)| *op).collect();
    vec![
        ("put", Kind::Put, made(&|out| list[0].encode(out))),
        ("delete", Kind::Delete, made(&|out| list[2].encode(out))),
        ("touch", Kind::Touch, made(&|out| list[3].encode(out))),
        ("txn", Kind::Txn, made(&|out| encode_txn(&list, out))),
        (
            "remove",
            Kind::Remove,
            made(&|out| {
                encode_remove(Reason::Expired, [(key(b"a"), 1), (key(b"b"), u64::MAX)].into_iter(), out)
            }),
        ),
        ("flush", Kind::Flush, made(&|out| encode_flush(Some(3), out))),
        ("start", Kind::TermStart, made(&|out| start().encode(out))),
        ("mark", Kind::Mark, mark().encode().to_vec()),
    ]
}

/// A Mark, the start of a term, a put, a Mark.
fn segment() -> Vec<u8> {
    let mut out = Vec::new();
    let mut header = Header { kind: Kind::Mark, index: 0, term: 0, prev: 0, ts: UnixMillis(5) };
    let mut push = |kind: Kind, payload: &[u8]| {
        if kind.is_replicated() {
            header.index += 1;
        }
        if kind == Kind::TermStart {
            header.term += 1;
        }
        let bytes = frame(header, kind as u8, payload);
        if kind.is_replicated() {
            header.prev = u32::from_le_bytes(bytes[..4].try_into().expect("four bytes"));
        }
        out.extend(bytes);
    };
    for i in [7, 6, 0, 7] {
        let all = payloads();
        let (_, kind, payload) = &all[if i == 7 { all.len() - 1 } else { i }];
        push(*kind, payload);
    }
    out
}

fn snapshot_header() -> Vec<u8> {
    SnapshotHeader { group: 1, dataset_id: [2; 16], begin: 3, begin_crc: 4 }.encode(SALT)
}

fn entries() -> Vec<u8> {
    let mut raw = Vec::new();
    for lsn in [5, 6] {
        SnapshotEntry { lsn, hint: 3, rank: 700, put: put() }.encode(&mut raw);
    }
    raw
}

fn manifest() -> Manifest {
    Manifest {
        dataset_id: [1; 16],
        node_id: [2; 16],
        salt: 3,
        features: 0,
        term: 4,
        snapshot: Some(SnapshotMeta {
            begin: 5,
            begin_crc: 6,
            end: 7,
            end_crc: 8,
            groups: vec![GroupMeta { len: 9, entries: 10 }],
        }),
        segments: vec![SegmentMeta { first_index: 1, end: 4242 }, SegmentMeta { first_index: 6, end: 0 }],
        clean: Some(CleanStop { segment: 6, end: 5000, last_index: 8, last_crc: 11 }),
        clock_floor_ms: 12,
    }
}

/// SplitMix64.
fn noise(mut seed: u64, len: usize) -> Vec<u8> {
    let mut next = || {
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) as u8
    };
    (0..len).map(|_| next()).collect()
}
