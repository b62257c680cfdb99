//! Durable puts per second of N waiters, next to the floor.
//!
//! ```text
//! cargo run --release -p emberkeep-benches --bin durable -- [--markdown] [--sync 1,5,disk]
//!     [--waiters 1,4,16,64,256] [--secs 2] [--rounds 3] [--threads 1] [--value-bytes 100]
//!     [--dir DIR: where the real disk is] [--memory /dev/shm: where slowed syncs are measured]
//! ```
//!
//! `--sync` lists settings: a number is a sync slowed to that many milliseconds on a file system
//! in memory, `disk` is the disk as it is. Mode `always`; engine and floor take turns, several
//! rounds of each; medians are shown, and beside the rate the lowest and highest round.

#![expect(clippy::disallowed_methods, reason = "a measurement reads the time")]

mod floor;
mod slow_sync;
mod waiters;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use emberkeep_benches::{key, open, settings};
use emberkeep_storage::{
    Background, Write,
    format::{frame, payload::MARK_LEN},
    vfs::{Vfs, os::OsVfs},
};

use crate::{floor::Floor, slow_sync::slowed, waiters::Outcome};

/// The first groups are small, and the engine does not know the disk yet.
const WARM_UP: Duration = Duration::from_millis(300);
/// The log's own segments and three spares are written by then.
const PREPARING: Duration = Duration::from_secs(1);

struct Options {
    syncs: Vec<Sync>,
    waiters: Vec<usize>,
    span: Duration,
    rounds: usize,
    threads: usize,
    value_len: usize,
    dir: PathBuf,
    memory: PathBuf,
    markdown: bool,
}

/// What a sync costs.
#[derive(Clone, Copy)]
enum Sync {
    Slowed(Duration),
    Disk,
}

/// One row: N waiters under one setting.
struct Row {
    waiters: usize,
    /// Of each round.
    rates: Vec<f64>,
    floors: Vec<f64>,
    ratios: Vec<f64>,
    p50: Duration,
    p99: Duration,
    sync: Duration,
    per_sync: f64,
}

/// One run of the engine.
struct Run {
    rate: f64,
    p50: Duration,
    p99: Duration,
    per_sync: f64,
}

fn main() {
    let options = Options::parse();
    println!("{}\n", options.machine());
    for sync in &options.syncs {
        let rows: Vec<Row> = options.waiters.iter().map(|n| options.row(*sync, *n)).collect();
        println!("{}", options.table(*sync, &rows));
    }
}

impl Options {
    fn row(&self, sync: Sync, waiters: usize) -> Row {
        let (base, vfs): (&Path, Arc<dyn Vfs>) = match sync {
            Sync::Slowed(span) => (&self.memory, slowed(span)),
            Sync::Disk => (&self.dir, Arc::new(OsVfs)),
        };
        let (mut runs, mut floors) = (Vec::<Run>::new(), Vec::<Floor>::new());
        for _ in 0..self.rounds {
            let dir = tempfile::tempdir_in(base).expect("a directory can be created");
            let frame_len;
            (frame_len, runs) = {
                let (len, run) = self.run(&vfs, dir.path(), waiters);
                runs.push(run);
                (len, runs)
            };
            let group_len = waiters * frame_len + frame::disk_len(MARK_LEN);
            floors.push(floor::measure(&*vfs, dir.path(), group_len, self.span));
        }
        let of_runs = |f: fn(&Run) -> f64| runs.iter().map(f).collect::<Vec<f64>>();
        let floor_rates: Vec<f64> = floors.iter().map(|f| f.groups * waiters as f64).collect();
        let rates = of_runs(|r| r.rate);
        Row {
            waiters,
            ratios: rates.iter().zip(&floor_rates).map(|(rate, floor)| rate / floor).collect(),
            rates,
            floors: floor_rates,
            p50: Duration::from_secs_f64(median(of_runs(|r| r.p50.as_secs_f64()))),
            p99: Duration::from_secs_f64(median(of_runs(|r| r.p99.as_secs_f64()))),
            sync: Duration::from_secs_f64(median(floors.iter().map(|f| f.sync.as_secs_f64()).collect())),
            per_sync: median(of_runs(|r| r.per_sync)),
        }
    }

    /// Runs the engine with so many waiters. Gives also what one put takes in the log.
    fn run(&self, vfs: &Arc<dyn Vfs>, dir: &Path, waiters: usize) -> (usize, Run) {
        let engine = open(settings(dir), vfs.clone(), Background::Threads);
        let value = vec![0x5a; self.value_len];
        let before = engine.stats().log_bytes;
        engine.put(&key(0)[..], Write::new(&value)).and_then(|c| c.wait()).expect("the disk works");
        let frame_len = (engine.stats().log_bytes - before) as usize - frame::disk_len(MARK_LEN);
        thread::sleep(PREPARING);

        let threads = self.threads.min(waiters);
        let from = Instant::now() + WARM_UP;
        let to = from + self.span;
        let (mut latencies, syncs) = thread::scope(|scope| {
            let running: Vec<_> = (0..threads)
                .map(|t| {
                    let clients = waiters / threads + usize::from(t < waiters % threads);
                    let (engine, value) = (&engine, &value);
                    scope.spawn(move || waiters::run(engine, t as u64 * 50_000, clients, value, from, to))
                })
                .collect();
            thread::sleep(from - Instant::now());
            let before = engine.stats().syncs;
            thread::sleep(to.saturating_duration_since(Instant::now()));
            let syncs = engine.stats().syncs - before;
            let outcomes = running.into_iter().map(|r| r.join().expect("clients do not panic"));
            let latencies: Vec<u32> = outcomes.flat_map(|Outcome { latencies }| latencies).collect();
            (latencies, syncs)
        });
        engine.close().expect("the disk works");
        latencies.sort_unstable();
        let at = |share: f64| {
            let last = latencies.len().saturating_sub(1);
            Duration::from_nanos(latencies.get((last as f64 * share) as usize).copied().unwrap_or(0).into())
        };
        let puts = latencies.len() as f64;
        let run = Run {
            rate: puts / self.span.as_secs_f64(),
            p50: at(0.5),
            p99: at(0.99),
            per_sync: puts / syncs.max(1) as f64,
        };
        (frame_len, run)
    }

    fn table(&self, sync: Sync, rows: &[Row]) -> String {
        let title = match sync {
            Sync::Slowed(span) => format!("A sync slowed to {} ms", span.as_secs_f64() * 1e3),
            Sync::Disk => format!("The disk as it is ({})", file_system(&self.dir)),
        };
        let heads = [
            "N",
            "puts/s",
            "lowest to highest",
            "floor/s",
            "ratio",
            "lowest to highest",
            "puts per sync",
            "T_sync us",
            "p50 us",
            "p99 us",
            "p50 / T_sync",
        ];
        let mut lines = vec![heads.map(str::to_owned).to_vec()];
        for r in rows {
            let micros = |d: Duration| format!("{:.0}", d.as_secs_f64() * 1e6);
            let spread = |values: &[f64], digits: usize| {
                let (low, high) = (
                    values.iter().copied().fold(f64::MAX, f64::min),
                    values.iter().copied().fold(0.0, f64::max),
                );
                format!("{low:.digits$} to {high:.digits$}")
            };
            lines.push(vec![
                r.waiters.to_string(),
                format!("{:.0}", median(r.rates.clone())),
                spread(&r.rates, 0),
                format!("{:.0}", median(r.floors.clone())),
                format!("{:.2}", median(r.ratios.clone())),
                spread(&r.ratios, 2),
                format!("{:.1}", r.per_sync),
                micros(r.sync),
                micros(r.p50),
                micros(r.p99),
                format!("{:.2}", r.p50.as_secs_f64() / r.sync.as_secs_f64()),
            ]);
        }
        if self.markdown { markdown(&title, &lines) } else { plain(&title, &lines) }
    }

    fn machine(&self) -> String {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let cpu = read("/proc/cpuinfo");
        let cpu = cpu.lines().find_map(|l| l.strip_prefix("model name")).unwrap_or_default();
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let load = read("/proc/loadavg");
        format!(
            "Machine: {cores} cores,{}; Linux {}; slowed syncs in {} ({}), the disk is {} ({}).\n\
             Load when it began: {}.\n\
             Command: `{}`.\n\
             Mode `always`, {} waiters' thread(s), {} s per run, {} rounds, values of {} bytes.",
            cpu.trim_start_matches([':', '\t', ' '])
                .split('@')
                .next()
                .map(|c| format!(" {c}"))
                .unwrap_or_default(),
            read("/proc/sys/kernel/osrelease").trim(),
            self.memory.display(),
            file_system(&self.memory),
            self.dir.display(),
            file_system(&self.dir),
            load.split(' ').next().unwrap_or_default(),
            command(),
            self.threads,
            self.span.as_secs_f64(),
            self.rounds,
            self.value_len,
        )
    }

    fn parse() -> Options {
        let mut given: HashMap<String, String> = HashMap::new();
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let Some(name) = argument.strip_prefix("--") else { usage(&argument) };
            let value = if name == "markdown" {
                String::new()
            } else {
                arguments.next().unwrap_or_else(|| usage(name))
            };
            given.insert(name.to_owned(), value);
        }
        let mut take = |name: &str, default: &str| given.remove(name).unwrap_or_else(|| default.to_owned());
        let number = |text: String| text.parse::<f64>().unwrap_or_else(|_| usage(&text));
        let sync = |text: &str| match text {
            "disk" => Sync::Disk,
            ms => Sync::Slowed(Duration::from_secs_f64(number(ms.to_owned()) / 1e3)),
        };
        let options = Options {
            syncs: take("sync", "1,5,disk").split(',').map(sync).collect(),
            waiters: take("waiters", "1,4,16,64,256")
                .split(',')
                .map(|n| number(n.to_owned()) as usize)
                .collect(),
            span: Duration::from_secs_f64(number(take("secs", "2"))),
            rounds: number(take("rounds", "3")) as usize,
            threads: number(take("threads", "1")) as usize,
            value_len: number(take("value-bytes", "100")) as usize,
            dir: take("dir", &std::env::temp_dir().to_string_lossy()).into(),
            memory: take("memory", "/dev/shm").into(),
            markdown: given.remove("markdown").is_some(),
        };
        if let Some(unknown) = given.keys().next() {
            usage(unknown);
        }
        options
    }
}

fn usage(wrong: &str) -> ! {
    eprintln!("not an argument: {wrong}; the head of benches/src/bin/durable/main.rs lists them");
    std::process::exit(2);
}

fn command() -> String {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    format!("cargo run --release -p emberkeep-benches --bin durable -- {}", arguments.join(" "))
        .trim_end()
        .to_owned()
}

/// The kind of the file system that a directory is on.
fn file_system(dir: &Path) -> String {
    let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    let found = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (at, kind) = (words.next()?, words.next()?);
        dir.starts_with(at).then(|| (at.len(), kind.to_owned()))
    });
    found.max_by_key(|(len, _)| *len).map_or_else(|| "unknown".to_owned(), |(_, kind)| kind)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn markdown(title: &str, lines: &[Vec<String>]) -> String {
    let row = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let mut out = format!("### {title}\n\n{}|{}\n", row(&lines[0]), " ---: |".repeat(lines[0].len()));
    lines[1..].iter().for_each(|cells| out.push_str(&row(cells)));
    out
}

fn plain(title: &str, lines: &[Vec<String>]) -> String {
    let width = |column: usize| lines.iter().map(|cells| cells[column].len()).max().unwrap_or(0);
    let mut out = format!("{title}\n");
    for cells in lines {
        let padded = cells.iter().enumerate().map(|(i, cell)| format!("{cell:>0$}", width(i)));
        out.push_str(&padded.collect::<Vec<_>>().join("  "));
        out.push('\n');
    }
    out
}
