//! Append and commit inline, in one thread: the cost of a durable put without the waiting.
//!
//! On the simulated disk, which does not record, a sync is free: what is left is our own work. In
//! a temporary directory the sync of that file system is in it.

use std::{hint::black_box, sync::Arc};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use emberkeep_benches::{key, open, settings};
use emberkeep_storage::{
    Background, Engine, Settings, Write,
    sim::disk::SimDisk,
    vfs::{Vfs, os::OsVfs},
};

/// Puts per group.
const GROUPS: [u64; 2] = [1, 64];
const KEYS: u64 = 100_000;

fn append_commit(c: &mut Criterion) {
    let disk = SimDisk::new();
    disk.stop_recording();
    on(c, "sim", Arc::new(disk), settings("/".as_ref()));

    let dir = tempfile::tempdir().expect("a temporary directory");
    on(c, "temp_dir", Arc::new(OsVfs), settings(dir.path()));
}

fn on(c: &mut Criterion, disk: &str, vfs: Arc<dyn Vfs>, settings: Settings) {
    // The log of a run that goes on for long is pruned behind snapshots; they are part of it.
    let settings = Settings { checkpoint_bytes: 256 << 20, ..settings };
    let engine = open(settings, vfs, Background::Manual);
    let mut group = c.benchmark_group(format!("append_commit/{disk}"));
    for puts in GROUPS {
        let (mut next, value) = (0, [0x5a; 100]);
        group.throughput(Throughput::Elements(puts));
        group.bench_function(format!("{puts}_x_100B"), |b| {
            b.iter(|| {
                for _ in 1..puts {
                    drop(put(&engine, &mut next, &value));
                }
                black_box(put(&engine, &mut next, &value).wait().expect("the disk works"));
                prune(&engine, next);
            });
        });
    }
    group.finish();
}

fn put(
    engine: &Engine,
    next: &mut u64,
    value: &[u8],
) -> emberkeep_storage::Commit<emberkeep_storage::PutOutcome> {
    *next += 1;
    engine.put(&key(*next % KEYS)[..], Write::new(value)).expect("there is room")
}

/// Nobody else does it in an engine that is driven by hand.
fn prune(engine: &Engine, puts: u64) {
    if puts.is_multiple_of(1 << 20) {
        engine.checkpoint().expect("the disk works");
    }
}

criterion_group!(benches, append_commit);
criterion_main!(benches);
