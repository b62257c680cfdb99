//! What a snapshot costs those who are served meanwhile: our binary beside redis-server.
//!
//! ```text
//! cargo build --release && cargo run --release -p emberkeep-benches --bin stall --
//!     [--markdown] [--keys 2000000] [--sets 20000] [--gets 2000] [--secs 8] [--dir DIR]
//!     [--rate 64MiB: of emberkeep's snapshot, in a second]
//! ```
//!
//! Each server holds the keys (100-byte values) and takes writes and reads in an open loop over 16
//! connections with pipelining: HTTP/1.1 keep-alive for emberkeep, RESP for redis. A latency counts
//! from when the request was due. Both sync once a second. Memory is the proportional set size of
//! the process and its children, sampled five times a second.

#![expect(clippy::disallowed_methods, reason = "a measurement reads the time")]

mod load;

use std::{
    path::PathBuf,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use emberkeep_benches::{
    fill_engine, fill_redis, open,
    peer::{Client, Kind, Server, is_there},
    report::{self, Flags},
    settings,
};
use emberkeep_storage::{Background, Fsync, Settings, vfs::os::OsVfs};

use crate::load::{Load, Sample};

/// Before anything is measured.
const WARM_UP: Duration = Duration::from_secs(2);
/// Between two samples of memory.
const MEMORY_EVERY: Duration = Duration::from_millis(200);
/// Between two looks at whether redis is done.
const POLL: Duration = Duration::from_millis(10);

/// What is done while the load runs.
#[derive(Clone, Copy)]
enum Job {
    Snapshot,
    BgSave,
    BgRewriteAof,
}

struct Options {
    load: Load,
    span: Duration,
    dir: PathBuf,
    rate: String,
    markdown: bool,
}

/// Ends the load.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// One job under load.
struct Outcome {
    job: Job,
    took: Duration,
    before: Vec<Sample>,
    during: Vec<Sample>,
    memory_before: u64,
    memory_peak: u64,
}

fn main() {
    let options = Options::parse();
    println!("{}\n", options.machine());
    let mut jobs = vec![Job::Snapshot];
    if is_there(Kind::Redis) {
        jobs.extend([Job::BgSave, Job::BgRewriteAof]);
    } else {
        println!("No peer: redis-server is missing.");
    }
    let outcomes: Vec<Outcome> = jobs.into_iter().map(|job| options.run(job)).collect();
    println!("{}", report::table("Latencies", &latencies(&outcomes), options.markdown));
    println!("{}", report::table("What it costs", &costs(&outcomes), options.markdown));
}

impl Job {
    fn name(self) -> &'static str {
        match self {
            Job::Snapshot => "emberkeep, snapshot",
            Job::BgSave => "redis, BGSAVE",
            Job::BgRewriteAof => "redis, BGREWRITEAOF",
        }
    }

    /// Does it, and returns when it is done.
    fn run(self, client: &mut Client) {
        let (command, running) = match self {
            Job::Snapshot => {
                let done = client.request("POST /v1/snapshots?wait=true");
                return drop(done.expect("a snapshot is taken"));
            }
            Job::BgSave => ("BGSAVE", "rdb_bgsave_in_progress:1"),
            Job::BgRewriteAof => ("BGREWRITEAOF", "aof_rewrite_in_progress:1"),
        };
        client.command(&[command]).expect("redis begins");
        let mut is_running = || {
            let info = client.command(&["INFO", "persistence"]).expect("redis tells");
            String::from_utf8_lossy(&info).contains(running)
        };
        while is_running() {
            thread::sleep(POLL);
        }
    }
}

impl Options {
    fn run(&self, job: Job) -> Outcome {
        let dir = tempfile::tempdir_in(&self.dir).expect("a directory can be created");
        let Load { keys, value_len, .. } = self.load;
        let server = match job {
            Job::Snapshot => {
                let settings = Settings { fsync: Fsync::Never, ..settings(dir.path()) };
                let engine = open(settings, std::sync::Arc::new(OsVfs), Background::Threads);
                fill_engine(&engine, keys, value_len);
                engine.close().expect("the disk works");
                let flags = ["--fsync", "interval", "--fsync-interval", "1s", "--max-memory", "none"];
                let no_other = ["--checkpoint-size", "1TiB", "--checkpoint-rate", &self.rate];
                Server::start(Kind::Emberkeep, dir.path(), &[&flags[..], &no_other].concat())
            }
            Job::BgSave | Job::BgRewriteAof => {
                let flags = ["--save", "", "--appendonly", "yes", "--appendfsync", "everysec"];
                let no_other = ["--auto-aof-rewrite-percentage", "0"];
                let server = Server::start(Kind::Redis, dir.path(), &[&flags[..], &no_other].concat());
                fill_redis(&mut server.client(), keys, value_len);
                server
            }
        };
        self.under_load(job, &server)
    }

    fn under_load(&self, job: Job, server: &Server) -> Outcome {
        let (stop, peak) = (AtomicBool::new(false), AtomicU64::new(0));
        thread::scope(|scope| {
            // Also when this thread panics, or the others would go on for ever.
            let ended_anyhow = StopOnDrop(&stop);
            let loading = scope.spawn(|| load::run(server, self.load, &stop));
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    peak.fetch_max(server.pss(), Ordering::Relaxed);
                    thread::sleep(MEMORY_EVERY);
                }
            });
            thread::sleep(WARM_UP);
            let from = Instant::now();
            thread::sleep(self.span);
            let memory_before = server.pss();
            peak.store(memory_before, Ordering::Relaxed);
            // Now and not before: a connection without requests is closed by the server.
            let mut client = server.client();
            let begun = Instant::now();
            job.run(&mut client);
            let ended = Instant::now();
            let memory_peak = peak.load(Ordering::Relaxed);
            drop(ended_anyhow);
            let samples = loading.join().expect("the load does not panic");
            let between = |from: Instant, to: Instant| {
                samples.iter().copied().filter(|s| (from..to).contains(&s.due)).collect::<Vec<Sample>>()
            };
            let (before, during) = (between(from, begun), between(begun, ended));
            Outcome { job, took: ended - begun, before, during, memory_before, memory_peak }
        })
    }

    fn machine(&self) -> String {
        format!(
            "{}\nData in {}. {} keys, values of {} bytes, {} SET/s and {} GET/s due; both sync once a second.",
            report::machine("stall"),
            self.dir.display(),
            self.load.keys,
            self.load.value_len,
            self.load.sets_per_sec,
            self.load.gets_per_sec,
        )
    }

    fn parse() -> Options {
        let mut flags = Flags::parse("stall/main.rs");
        let load = Load {
            keys: flags.take("keys", 2_000_000).max(1),
            value_len: 100,
            sets_per_sec: flags.take("sets", 20_000).max(1),
            gets_per_sec: flags.take("gets", 2_000).max(1),
        };
        Options {
            load,
            span: Duration::from_secs(flags.take("secs", 8).max(1)),
            dir: flags.take("dir", std::env::temp_dir()),
            rate: flags.take("rate", "64MiB".to_owned()),
            markdown: flags.markdown(),
        }
    }
}

fn latencies(outcomes: &[Outcome]) -> Vec<Vec<String>> {
    let heads = ["", "request", "when", "requests", "p50 ms", "p99 ms", "p99.9 ms", "longest ms"];
    let mut lines = vec![heads.map(str::to_owned).to_vec()];
    for outcome in outcomes {
        for (request, is_set) in [("SET", true), ("GET", false)] {
            for (when, samples) in [("before", &outcome.before), ("during", &outcome.during)] {
                let sorted = sorted(samples, is_set);
                let mut line = [outcome.job.name(), request, when].map(str::to_owned).to_vec();
                line.push(sorted.len().to_string());
                line.extend([0.5, 0.99, 0.999, 1.0].map(|share| format!("{:.2}", at(&sorted, share))));
                lines.push(line);
            }
        }
    }
    lines
}

fn costs(outcomes: &[Outcome]) -> Vec<Vec<String>> {
    let heads =
        ["", "took s", "MiB before", "MiB at most", "memory", "SET p99 during / before", "longest SET ms"];
    let mut lines = vec![heads.map(str::to_owned).to_vec()];
    for outcome in outcomes {
        let (before, during) = (sorted(&outcome.before, true), sorted(&outcome.during, true));
        lines.push(vec![
            outcome.job.name().to_owned(),
            format!("{:.1}", outcome.took.as_secs_f64()),
            format!("{}", outcome.memory_before >> 20),
            format!("{}", outcome.memory_peak >> 20),
            format!("{:.2}x", outcome.memory_peak as f64 / outcome.memory_before as f64),
            format!("{:.2}x", at(&during, 0.99) / at(&before, 0.99)),
            format!("{:.1}", at(&during, 1.0)),
        ]);
    }
    lines
}

/// Latencies in milliseconds.
fn sorted(samples: &[Sample], is_set: bool) -> Vec<f64> {
    let of_kind = samples.iter().filter(|s| s.is_set == is_set);
    let mut ms: Vec<f64> = of_kind.map(|s| s.latency.as_secs_f64() * 1e3).collect();
    ms.sort_by(f64::total_cmp);
    ms
}

fn at(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * share) as usize).copied().unwrap_or(f64::NAN)
}
