//! Reads: one million entries, keys drawn as requests to a cache come.

use std::{hint::black_box, sync::Arc};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use emberkeep_benches::{Zipf, key, open, settings};
use emberkeep_storage::{Background, Engine, Fsync, Level, Settings, Write, sim::disk::SimDisk};

const ENTRIES: u64 = 1_000_000;
/// The keys are drawn beforehand, so that drawing is not measured.
const DRAWN: usize = 1 << 20;

fn get(c: &mut Criterion) {
    for (name, len) in [("100B", 100), ("4KiB", 4 << 10)] {
        let engine = filled(len);
        let mut group = c.benchmark_group(format!("get/{name}"));
        group.throughput(Throughput::Elements(1));
        for (case, first) in [("hit", 0), ("miss", ENTRIES)] {
            let mut zipf = Zipf::new(ENTRIES, 0.99);
            // Spread, so that popular entries are not neighbours in memory.
            let spread = |n: u64| first + n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % ENTRIES;
            let keys: Vec<_> = (0..DRAWN).map(|_| key(spread(zipf.draw()))).collect();
            let mut at = 0;
            group.bench_function(case, |b| {
                b.iter(|| {
                    at = (at + 1) % DRAWN;
                    let found = engine.get(&keys[at][..]).wait().expect("reads work");
                    assert_eq!(found.is_some(), first == 0);
                    black_box(found)
                });
            });
        }
        group.finish();
    }
}

fn filled(value_len: usize) -> Engine {
    let disk = SimDisk::new();
    disk.stop_recording();
    // The log is not what is measured: it is written to memory and pruned now and then.
    let settings = Settings { fsync: Fsync::Never, allow_downgrade: true, ..settings("/".as_ref()) };
    let engine = open(settings, Arc::new(disk), Background::Manual);
    let value = vec![0x5a; value_len];
    let per_checkpoint = (1 << 30) / value_len as u64;
    for number in 0..ENTRIES {
        let write = Write { level: Some(Level::Memory), ..Write::new(&value) };
        drop(engine.put(&key(number)[..], write).expect("there is room"));
        if number % per_checkpoint == per_checkpoint - 1 {
            engine.checkpoint().expect("the disk works");
        }
    }
    engine
}

criterion_group!(benches, get);
criterion_main!(benches);
