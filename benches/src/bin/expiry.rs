//! A million keys that expire in the same second: how fast they are reclaimed, and what readers of
//! other keys notice of it.
//!
//! ```text
//! cargo run --release -p emberkeep-benches --bin expiry -- [--markdown] [--keys 1000000]
//!     [--fsync always|never] [--value-bytes 100] [--dir DIR]
//! ```
//!
//! One thread reads a hundred thousand other keys in a closed loop, for two seconds before the
//! deadline and until all is reclaimed. A third phase extends deadlines as fast as it can: memory
//! stays where it is.

#![expect(clippy::disallowed_methods, reason = "a measurement reads the time")]

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use emberkeep_benches::{
    key, open,
    report::{self, Flags, anonymous_bytes, circumstances},
    settings,
};
use emberkeep_storage::{
    Background, Condition, Engine, ErrorKind, Expiry, Fsync, Settings, UnixMillis, Write, vfs::os::OsVfs,
};

/// Keys that stay, and are read.
const READ: u64 = 100_000;
/// From the end of the fill to the deadline.
const QUIET: Duration = Duration::from_secs(3);
/// Reads before this time before the deadline are not counted.
const BEFORE: Duration = Duration::from_secs(2);
const EXTENDED: u64 = 1000;

const WARMING: u8 = 0;
const QUIETLY: u8 = 1;
const EXPIRING: u8 = 2;
const OVER: u8 = 3;

fn main() {
    let mut flags = Flags::parse("expiry.rs");
    let keys = flags.take("keys", 1_000_000u64);
    let value_len = flags.take("value-bytes", 100usize);
    let fsync = match flags.take("fsync", "always".to_owned()).as_str() {
        "always" => Fsync::Always,
        "never" => Fsync::Never,
        other => panic!("no such mode: {other}"),
    };
    let dir: PathBuf = flags.take("dir", std::env::temp_dir());
    let markdown = flags.markdown();
    println!("{}\n", circumstances("expiry", &format!("`{fsync:?}`").to_lowercase()));

    let dir = tempfile::tempdir_in(dir).expect("a directory can be created");
    let settings = Settings { fsync, ..settings(dir.path()) };
    let engine = open(settings, Arc::new(OsVfs), Background::Threads);
    let value = vec![0x5a; value_len];
    fill(&engine, 0..READ, Expiry::Never, &value);
    // They are given their deadline when all are there, so that it is the same for all.
    let start = Instant::now();
    fill(&engine, READ..READ + keys, Expiry::Never, &value);
    // To extend them takes no longer than to write them did.
    let deadline = engine.now().after(QUIET + 2 * start.elapsed());
    extend(&engine, READ..READ + keys, deadline);
    engine.sync().wait().expect("the disk works");
    let left = deadline.since(engine.now());
    assert!(left > BEFORE, "the machine is too slow for so many keys: {left:?} left");

    let phase = AtomicU8::new(WARMING);
    let (took, frames, [before, during]) = thread::scope(|scope| {
        let reader = scope.spawn(|| read(&engine, &phase));
        sleep_until(&engine, deadline, BEFORE);
        phase.store(QUIETLY, Ordering::Relaxed);
        sleep_until(&engine, deadline, Duration::ZERO);
        let (start, appended) = (Instant::now(), engine.stats().appended.0);
        phase.store(EXPIRING, Ordering::Relaxed);
        while engine.stats().items > READ {
            thread::sleep(Duration::from_millis(5));
        }
        let took = start.elapsed();
        phase.store(OVER, Ordering::Relaxed);
        let frames = engine.stats().appended.0 - appended;
        (took, frames, reader.join().expect("the reader does not panic"))
    });

    let row = |name: &str, latencies: &[u32]| {
        let us = |share| format!("{:.2}", f64::from(at(latencies, share)) / 1e3);
        vec![name.to_owned(), latencies.len().to_string(), us(0.5), us(0.99), us(0.999), us(1.0)]
    };
    let heads = ["reads", "count", "p50 us", "p99 us", "p99.9 us", "max us"].map(str::to_owned).to_vec();
    let lines = [heads, row("before", &before), row("while a million expire", &during)];
    println!("{}", report::table(&format!("{keys} keys with one deadline"), &lines, markdown));
    println!(
        "Reclaimed {:.2} s after the deadline, {:.0} keys in one frame and hold of a lock; p99 x {:.2}.\n",
        took.as_secs_f64(),
        keys as f64 / frames as f64,
        f64::from(at(&during, 0.99)) / f64::from(at(&before, 0.99)).max(1.0),
    );
    extending(&engine, &value);
}

/// Deadlines are extended for two seconds, each a thousand times a second or more.
fn extending(engine: &Engine, value: &[u8]) {
    fill(engine, 0..EXTENDED, Expiry::In(Duration::from_secs(30)), value);
    let (charged, resident, start) = (charged(engine), resident(engine), Instant::now());
    let mut times = 0;
    while start.elapsed() < Duration::from_secs(2) {
        extend(engine, 0..EXTENDED, engine.now().after(Duration::from_secs(30)));
        // Else it is the buffers of the log that grow.
        engine.sync().wait().expect("the disk works");
        times += EXTENDED;
    }
    let rate = times as f64 / start.elapsed().as_secs_f64();
    println!(
        "Extended deadlines of {EXTENDED} keys {rate:.0} times a second: {:+} bytes charged, {:+} KiB resident.",
        self::charged(engine) - charged,
        (self::resident(engine) - resident) / 1024,
    );
}

/// Live entries, as charged.
fn charged(engine: &Engine) -> i64 {
    let stats = engine.stats();
    (stats.bytes - stats.tombstone_bytes) as i64
}

/// The heap without the buffers of the log, which grow with the rate of writes.
fn resident(engine: &Engine) -> i64 {
    engine.sync().wait().expect("the disk works");
    anonymous_bytes() as i64 - engine.stats().log_buffer_bytes as i64
}

fn fill(engine: &Engine, numbers: std::ops::Range<u64>, expiry: Expiry, value: &[u8]) {
    for number in numbers {
        let write = Write { expiry, ..Write::new(value) };
        when_there_is_room(engine, || engine.put(&key(number)[..], write).map(drop));
    }
    engine.sync().wait().expect("the disk works");
}

fn extend(engine: &Engine, numbers: std::ops::Range<u64>, deadline: UnixMillis) {
    for number in numbers {
        when_there_is_room(engine, || {
            engine.touch(&key(number)[..], Expiry::At(deadline), Condition::Always, None).map(drop)
        });
    }
}

/// Writes are not waited for, so the log may be full of them.
fn when_there_is_room(engine: &Engine, write: impl Fn() -> emberkeep_storage::Result<()>) {
    while let Err(e) = write() {
        assert_eq!(e.kind(), ErrorKind::Overloaded, "{e}");
        engine.ready(1024).wait().expect("the disk works");
    }
}

/// Reads until it is over; the latencies of the two phases in nanoseconds, sorted.
fn read(engine: &Engine, phase: &AtomicU8) -> [Vec<u32>; 2] {
    let mut latencies = [Vec::new(), Vec::new()];
    let mut number = 1u64;
    loop {
        let into = match phase.load(Ordering::Relaxed) {
            QUIETLY => Some(0),
            EXPIRING => Some(1),
            OVER => break,
            _ => None,
        };
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let key = key((number >> 33) % READ);
        let start = Instant::now();
        let found = engine.get(&key[..]).wait().expect("the disk works");
        let took = start.elapsed();
        assert!(found.is_some(), "it never expires");
        if let Some(phase) = into {
            latencies[phase].push(took.as_nanos() as u32);
        }
    }
    latencies.each_mut().map(|latencies| {
        latencies.sort_unstable();
        std::mem::take(latencies)
    })
}

fn sleep_until(engine: &Engine, deadline: UnixMillis, before: Duration) {
    thread::sleep(deadline.since(engine.now()).saturating_sub(before));
}

fn at(sorted: &[u32], share: f64) -> u32 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * share) as usize).copied().unwrap_or(0)
}
