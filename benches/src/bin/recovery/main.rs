//! How fast a start is: the engine by itself, and our binary beside redis-server.
//!
//! ```text
//! cargo build --release && cargo run --release -p emberkeep-benches --bin recovery --
//!     [--markdown] [--rounds 3] [--entries 1000000] [--dir DIR: where the data is]
//! ```
//!
//! Each start is a process of its own over files that are in the page cache. The engine's table
//! tells what `Engine::open` took, and entries per second and core (rate divided by the cores).
//! "Killed": the process that wrote the data was killed, so the last segment (up to 64 MiB) is
//! rewritten, synced and read back. The servers' table tells the time from the start of the
//! process to the first right answer; all of them were killed before.

#![expect(clippy::disallowed_methods, reason = "a measurement reads the time")]

mod fill;
mod servers;

use std::{path::PathBuf, process::Command, thread, time::Duration};

use emberkeep_benches::{
    peer::{Kind, is_there},
    report::{self, Flags},
    settings,
};
use emberkeep_storage::{Components, Engine};

use crate::fill::Data;

/// The argument that makes this program one that opens and tells.
const OPEN: &str = "open-and-tell";

struct Options {
    rounds: usize,
    entries: u64,
    dir: PathBuf,
    markdown: bool,
}

/// One start of the engine: all of it, loading the snapshot, reading and applying the log.
#[derive(Clone, Copy)]
struct Start {
    all: f64,
    load: f64,
    replay: f64,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some(fill::ARGUMENT) => fill::run(&arguments[1..]),
        Some(OPEN) => open_and_tell(&arguments[1]),
        _ => {}
    }
    let options = Options::parse();
    println!("{}\n", options.machine());
    println!("{}", report::table("The engine", &options.engine(), options.markdown));
    if is_there(Kind::Redis) && is_there(Kind::Emberkeep) {
        println!("{}", report::table("To the first answer", &options.servers(), options.markdown));
    } else {
        println!("No servers: redis-server or target/release/emberkeep is missing.");
    }
}

impl Options {
    fn engine(&self) -> Vec<Vec<String>> {
        let heads = [
            "value bytes",
            "from",
            "stopped",
            "entries",
            "open ms",
            "snapshot ms",
            "log ms",
            "M entries/s/core",
        ];
        let mut lines = vec![heads.map(str::to_owned).to_vec()];
        for (value_len, entries) in self.sizes(&[32, 64, 100, 1024]) {
            for (snapshot, killed) in [(true, false), (true, true), (false, false), (false, true)] {
                let data = Data { entries, value_len, snapshot, killed };
                let starts: Vec<Start> = (0..self.rounds).map(|_| self.start(data)).collect();
                let of = |f: fn(&Start) -> f64| median(starts.iter().map(f).collect());
                // What the part in question took.
                let part = of(if snapshot { |s| s.load } else { |s| s.replay });
                lines.push(vec![
                    value_len.to_string(),
                    (if snapshot { "snapshot" } else { "log" }).to_owned(),
                    (if killed { "killed" } else { "clean" }).to_owned(),
                    entries.to_string(),
                    format!("{:.0}", of(|s| s.all)),
                    format!("{:.0}", of(|s| s.load)),
                    format!("{:.0}", of(|s| s.replay)),
                    format!("{:.2}", entries as f64 / part / 1e3 / cores() as f64),
                ]);
            }
        }
        lines
    }

    fn start(&self, data: Data) -> Start {
        let dir = tempfile::tempdir_in(&self.dir).expect("a directory can be created");
        fill::fill(dir.path(), data);
        let program = std::env::current_exe().expect("this program has a path");
        let told = Command::new(program).arg(OPEN).arg(dir.path()).output().expect("it can be started again");
        let told = String::from_utf8(told.stdout).expect("it tells numbers");
        let numbers: Vec<f64> = told.split_whitespace().map(|n| n.parse().expect("a number")).collect();
        let [items, all, load, replay] = numbers[..] else { panic!("not opened: {told}") };
        assert_eq!(items as u64, data.entries, "everything is there");
        Start { all, load, replay }
    }

    fn servers(&self) -> Vec<Vec<String>> {
        let heads = ["value bytes", "entries", "from", "emberkeep ms", "redis ms", "ratio"];
        let mut lines = vec![heads.map(str::to_owned).to_vec()];
        for (value_len, entries) in self.sizes(&[100, 1024]) {
            for snapshot in [true, false] {
                let data = Data { entries, value_len, snapshot, killed: true };
                let [ours, theirs] = [Kind::Emberkeep, Kind::Redis].map(|kind| self.first_answer(kind, data));
                lines.push(vec![
                    value_len.to_string(),
                    entries.to_string(),
                    (if snapshot { "snapshot / RDB" } else { "log / AOF" }).to_owned(),
                    format!("{:.0}", ours * 1e3),
                    format!("{:.0}", theirs * 1e3),
                    format!("{:.2}", ours / theirs),
                ]);
            }
        }
        lines
    }

    /// The same directory again and again: each start is killed.
    fn first_answer(&self, kind: Kind, data: Data) -> f64 {
        let dir = tempfile::tempdir_in(&self.dir).expect("a directory can be created");
        servers::prepare(kind, dir.path(), data);
        let once = |_| servers::first_answer(kind, dir.path(), data).as_secs_f64();
        median((0..self.rounds).map(once).collect())
    }

    /// Fewer of the large ones.
    fn sizes(&self, value_lens: &[usize]) -> Vec<(usize, u64)> {
        let entries = |len| if len < 1000 { self.entries } else { self.entries / 5 };
        value_lens.iter().map(|&len| (len, entries(len))).collect()
    }

    fn machine(&self) -> String {
        format!(
            "{}\nData in {}, in the page cache. Medians of {} starts; values do not compress. Redis without \
             fsync, its log never rewritten.",
            report::machine("recovery"),
            self.dir.display(),
            self.rounds,
        )
    }

    fn parse() -> Options {
        let mut flags = Flags::parse("recovery/main.rs");
        Options {
            rounds: flags.take("rounds", 3).max(1),
            entries: flags.take("entries", 1_000_000).max(5),
            dir: flags.take("dir", std::env::temp_dir()),
            markdown: flags.markdown(),
        }
    }
}

/// The child: opens, tells in milliseconds, and is gone.
fn open_and_tell(dir: &str) -> ! {
    let components = Components::os().expect("random bytes");
    let engine = Engine::open(settings(dir.as_ref()), components).expect("the engine opens");
    let found = engine.recovery();
    let ms = |span: Duration| span.as_secs_f64() * 1e3;
    println!("{} {} {} {}", found.items, ms(found.took), ms(found.snapshot_took), ms(found.replay_took));
    std::process::exit(0)
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
