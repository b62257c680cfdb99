//! What the log pays for "what has left does not come back": the share of removal frames in the
//! bytes of the log at full churn, where every write makes another entry leave.
//!
//! ```text
//! cargo run --release -p emberkeep-benches --bin removals -- [--markdown] [--writes 100000]
//!     [--dir DIR]
//! ```
//!
//! Keys of 16 bytes. Limits are such that about 20,000 entries are held, half as many as written
//! before counting begins. In the rows of expiry every entry lives for a second and none is evicted.
//! Frames are counted in the files of the log.

#![expect(clippy::disallowed_methods, reason = "a measurement reads the files of the log")]

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use emberkeep_benches::{
    key, report,
    report::{Flags, circumstances},
    settings,
};
use emberkeep_storage::{
    Background, Components, Engine, Expiry, Fsync, Settings, Write,
    format::{
        frame::{self, Kind},
        segment::{SEGMENT_HEADER_LEN, SegmentHeader},
    },
    sim::clock::SimClock,
};

/// Entries that the cache holds.
const HELD: u64 = 20_000;
/// Writes between two rounds of background work, as a busy server has them.
const ROUND: u64 = 64;

#[derive(Clone, Copy, PartialEq)]
enum Leaves {
    ByBytes,
    ByItems,
    Expired,
}

/// What the log has of one kind.
#[derive(Default)]
struct Sum {
    frames: u64,
    bytes: u64,
}

fn main() {
    let mut flags = Flags::parse("removals.rs");
    let writes = flags.take("writes", 100_000u64);
    let dir: PathBuf = flags.take("dir", std::env::temp_dir());
    let markdown = flags.markdown();
    println!("{}\n", circumstances("removals", "`never` (the frames are the same in every mode)"));
    let heads = ["leaves by", "value bytes", "keys per frame", "bytes per key", "share of the log"];
    let mut lines = vec![heads.map(str::to_owned).to_vec()];
    for (name, leaves) in [
        ("limit of bytes", Leaves::ByBytes),
        ("limit of items", Leaves::ByItems),
        ("expiry", Leaves::Expired),
    ] {
        for value_len in [100, 512, 4096] {
            let (removals, all, left) = run(leaves, value_len, writes, &dir);
            lines.push(vec![
                name.to_owned(),
                value_len.to_string(),
                format!("{:.1}", left as f64 / removals.frames.max(1) as f64),
                format!("{:.1}", removals.bytes as f64 / left as f64),
                format!("{:.1} %", 100.0 * removals.bytes as f64 / all.bytes as f64),
            ]);
        }
    }
    println!("{}", report::table("Removals in the log at full churn", &lines, markdown));
}

/// Removals, all frames, and how many entries left.
fn run(leaves: Leaves, value_len: usize, writes: u64, dir: &std::path::Path) -> (Sum, Sum, u64) {
    let dir = tempfile::tempdir_in(dir).expect("a directory can be created");
    let clock = SimClock::new();
    let base = Settings { fsync: Fsync::Never, ..settings(dir.path()) };
    let settings = match leaves {
        // What an entry is charged for beside its bytes: some 70 bytes.
        Leaves::ByBytes => Settings { max_bytes: Some(HELD * (16 + value_len as u64 + 70)), ..base },
        Leaves::ByItems => Settings { max_items: Some(HELD), ..base },
        Leaves::Expired => base,
    };
    let components = Components {
        clock: Arc::new(clock.clone()),
        background: Background::Manual,
        ..Components::os().expect("the system gives random bytes")
    };
    let engine = Engine::open(settings, components).expect("the engine opens");
    let value = vec![0x5a; value_len];
    let expiry = match leaves {
        Leaves::Expired => Expiry::In(Duration::from_secs(1)),
        _ => Expiry::Never,
    };
    let write = |i: u64| {
        let put = engine.put(&key(i)[..], Write { expiry, ..Write::new(&value) });
        drop(put.expect("there is room"));
        if i.is_multiple_of(ROUND) {
            // So that some 20,000 entries are alive at a time.
            clock.advance(Duration::from_secs(1) * ROUND as u32 / HELD as u32);
            engine.step().expect("the disk works");
        }
    };
    (0..2 * HELD).for_each(write);
    let before = engine.stats();
    (2 * HELD..2 * HELD + writes).for_each(write);
    let after = engine.stats();
    engine.sync().wait().expect("the disk works");
    drop(engine);
    let (removals, all) = count(&dir.path().join("data/wal"), before.appended.0, after.appended.0);
    (removals, all, after.evictions + after.expired - before.evictions - before.expired)
}

/// The frames with numbers above `from`, up to `to`.
fn count(wal: &std::path::Path, from: u64, to: u64) -> (Sum, Sum) {
    let (mut removals, mut all) = (Sum::default(), Sum::default());
    let files = fs::read_dir(wal).expect("there is a log");
    let paths = files.map(|file| file.expect("it can be listed").path());
    for path in paths.filter(|path| path.extension().is_some_and(|ext| ext == "wal")) {
        let bytes = fs::read(&path).expect("it can be read");
        let salt = SegmentHeader::decode(&bytes).expect("a segment has a header").salt;
        let mut at = SEGMENT_HEADER_LEN;
        while let Ok(frame) = frame::decode(&bytes[at..], salt) {
            at += frame.disk_len();
            if frame.header.index <= from || frame.header.index > to {
                continue;
            }
            all.add(frame.disk_len());
            if frame.header.kind == Kind::Remove {
                removals.add(frame.disk_len());
            }
        }
    }
    (removals, all)
}

impl Sum {
    fn add(&mut self, bytes: usize) {
        self.frames += 1;
        self.bytes += bytes as u64;
    }
}
