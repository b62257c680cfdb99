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

use std::{collections::HashMap, path::PathBuf, process::Command, thread, time::Duration};

use emberkeep_benches::{
    peer::{Kind, is_there},
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
    let options = Options::parse(arguments);
    println!("{}\n", options.machine());
    options.print("The engine", options.engine());
    if is_there(Kind::Redis) && is_there(Kind::Emberkeep) {
        options.print("To the first answer", options.servers());
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

    fn print(&self, title: &str, lines: Vec<Vec<String>>) {
        println!("### {title}\n");
        for (n, cells) in lines.iter().enumerate() {
            println!(
                "{}",
                if self.markdown { format!("| {} |", cells.join(" | ")) } else { cells.join("\t") }
            );
            if n == 0 && self.markdown {
                println!("|{}", " ---: |".repeat(cells.len()));
            }
        }
        println!();
    }

    fn machine(&self) -> String {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let cpu = read("/proc/cpuinfo");
        let cpu = cpu.lines().find_map(|l| l.strip_prefix("model name")).unwrap_or_default();
        let load = read("/proc/loadavg");
        format!(
            "Machine: {} cores, {}; Linux {}; data in {}, in the page cache.\nLoad when it began: {}.\n\
             Command: `cargo run --release -p emberkeep-benches --bin recovery -- {}`.\n\
             Medians of {} starts; values do not compress. Redis without fsync, its log never rewritten.",
            cores(),
            cpu.trim_start_matches([':', '\t', ' ']),
            read("/proc/sys/kernel/osrelease").trim(),
            self.dir.display(),
            load.split(' ').next().unwrap_or_default(),
            std::env::args().skip(1).collect::<Vec<_>>().join(" "),
            self.rounds,
        )
    }

    fn parse(arguments: Vec<String>) -> Options {
        let mut given = HashMap::new();
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let Some(name) = argument.strip_prefix("--") else { usage(&argument) };
            let value = if name == "markdown" { Some(String::new()) } else { arguments.next() };
            given.insert(name.to_owned(), value.unwrap_or_else(|| usage(name)));
        }
        let mut take = |name: &str, default: &str| given.remove(name).unwrap_or_else(|| default.to_owned());
        let number = |text: String| text.parse::<u64>().unwrap_or_else(|_| usage(&text));
        let options = Options {
            rounds: number(take("rounds", "3")).max(1) as usize,
            entries: number(take("entries", "1000000")).max(5),
            dir: take("dir", &std::env::temp_dir().to_string_lossy()).into(),
            markdown: given.remove("markdown").is_some(),
        };
        if let Some(unknown) = given.keys().next() {
            usage(unknown);
        }
        options
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

fn usage(wrong: &str) -> ! {
    eprintln!("not an argument: {wrong}; the head of benches/src/bin/recovery/main.rs lists them");
    std::process::exit(2)
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
