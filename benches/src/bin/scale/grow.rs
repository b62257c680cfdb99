//! Filling a cache, every SET timed.

use std::{
    io,
    time::{Duration, Instant},
};

use emberkeep_benches::{KEY_LEN, key, report::rss};
use rustix::time::{ClockId, clock_gettime};

use crate::subject::{Subject, VALUE};

/// SETs between two looks at the CPU time, which is a system call.
const STEP: u64 = 64;

/// What it took.
pub struct Grown {
    times: Histogram,
    /// The most CPU time of `STEP` SETs in a row.
    cpu_max: Duration,
    took: Duration,
    /// Bytes per key above key and value.
    bytes_per_key: f64,
}

impl Grown {
    pub const HEADS: [&str; 7] =
        ["memory B/key", "thousand SETs/s", "p50 us", "p99 us", "p99.99 us", "max us", "CPU of 64, max us"];

    pub fn cells(&self) -> Vec<String> {
        let micros = |span: Duration| format!("{:.1}", span.as_secs_f64() * 1e6);
        let at = |share| micros(self.times.quantile(share));
        vec![
            format!("{:.1}", self.bytes_per_key),
            format!("{:.0}", self.times.count as f64 / self.took.as_secs_f64() / 1e3),
            at(0.5),
            at(0.99),
            at(0.9999),
            micros(Duration::from_nanos(self.times.max)),
            micros(self.cpu_max),
        ]
    }
}

/// Makes a subject and sets so many keys.
pub fn grow(make: impl FnOnce() -> Box<dyn Subject>, keys: u64) -> (Box<dyn Subject>, Grown) {
    let subject = make();
    let (before, begin) = (rss(), Instant::now());
    let (mut times, mut cpu_max, mut cpu) = (Histogram::new(), Duration::ZERO, cpu_time());
    for number in 0..keys {
        let key = key(number);
        let set = Instant::now();
        subject.set(&key);
        times.add(set.elapsed());
        if number % STEP == STEP - 1 {
            let now = cpu_time();
            cpu_max = cpu_max.max(now - cpu);
            cpu = now;
        }
    }
    let took = begin.elapsed();
    let bytes = rss().saturating_sub(before) as f64;
    let bytes_per_key = bytes / keys as f64 - (KEY_LEN + VALUE.len()) as f64;
    (subject, Grown { times, cpu_max, took, bytes_per_key })
}

/// The CPU time of this thread.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let parts = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    match parts {
        (Ok(secs), Ok(nanos)) => Duration::new(secs, nanos),
        _ => panic!("{}", io::Error::other("a thread has not run for less than no time")),
    }
}

/// Counts of spans, each to within a thirty-second part of itself.
struct Histogram {
    counts: Vec<u64>,
    count: u64,
    max: u64,
}

const PARTS_BITS: u32 = 5;

impl Histogram {
    fn new() -> Histogram {
        Histogram { counts: vec![0; 64 << PARTS_BITS], count: 0, max: 0 }
    }

    fn add(&mut self, span: Duration) {
        let nanos = (span.as_nanos() as u64).max(1 << PARTS_BITS);
        let shift = nanos.ilog2() - PARTS_BITS;
        self.counts[((shift as usize) << PARTS_BITS) + (nanos >> shift) as usize] += 1;
        self.count += 1;
        self.max = self.max.max(nanos);
    }

    /// The lower end of the part in which this share of the spans is reached.
    fn quantile(&self, share: f64) -> Duration {
        let wanted = (self.count as f64 * share) as u64;
        let mut seen = 0;
        let at = self.counts.iter().position(|n| {
            seen += n;
            seen > wanted
        });
        let at = at.unwrap_or(0);
        let (shift, part) = ((at >> PARTS_BITS).saturating_sub(1), at & ((1 << PARTS_BITS) - 1));
        Duration::from_nanos((((1 << PARTS_BITS) + part) as u64) << shift)
    }
}
