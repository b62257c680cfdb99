//! The commands of redis, answered by our binary, by redis-server and by valkey-server, in turns.
//!
//! ```text
//! cargo build --release && cargo run --release -p emberkeep-benches --bin compare --
//!     [--markdown] [--rounds 3] [--only always|interval|never|memory] [--quick]
//!     [--svg DIR: charts of the ratios] [--dir DIR: where the data is] [--secs 2: of one run]
//!     [--servers emberkeep,redis,valkey: the first is compared with each of the others]
//!     [--cells set-50x16-100,get-50x16-100: these only]
//!     [--threads 1: of the load] [--get-rate 5000: in the mixed case]
//! ```
//!
//! For each cell all servers are started over empty directories on the same disk and filled with
//! the same keys; then they take turns, and who begins changes from round to round. The load is
//! `emberkeep bench` in a process of its own, so it is the same for all and its CPU time is not
//! counted. Neither compacts its log meanwhile. Ratios are taken within a round; of all figures the
//! median of the rounds is told, with the lowest and the highest beside it where it says so.
//!
//! The mixed case: 50 connections store as fast as the server answers, each write durable, while 50
//! others read at a fixed rate; a read's latency counts from when it was due.
//!
//! redis-benchmark is a second opinion for a few cells. `--servers redis,redis` shows the noise.

#![expect(clippy::disallowed_methods, reason = "a measurement reads the time and writes its charts")]

mod cell;
mod charts;
mod load;
mod mixed;
mod mode;
mod second;
mod tables;

use std::{
    io::{self, IsTerminal},
    path::PathBuf,
};

use emberkeep_benches::{
    peer::{Kind, is_there},
    report::{self, Flags},
};

use crate::{
    cell::{Cell, Measured},
    mode::Mode,
};

/// Keys that there are, and that are asked for.
pub const KEYS: u64 = 100_000;

/// What is to be done.
struct Options {
    rounds: usize,
    /// Of one run.
    secs: f64,
    dir: PathBuf,
    /// Of the load.
    threads: u32,
    /// Reads in a second, in the mixed case.
    get_rate: u32,
    /// The first is compared with the others.
    servers: Vec<Kind>,
    modes: Vec<Mode>,
    cells: Vec<Cell>,
    svg: Option<PathBuf>,
    markdown: bool,
}

fn main() {
    let options = Options::parse();
    for &mode in &options.modes {
        println!("{}\n{}\n", report::circumstances("compare", mode.name()), options.conditions());
        let cells = options.measure_cells(mode);
        for (peer, &kind) in options.servers.iter().enumerate().skip(1) {
            let names = [cell::name(options.servers[0]), cell::name(kind)];
            println!("{}", options.table("Throughput", mode, &tables::throughput(&cells, peer, names)));
            println!("{}", options.table("Latency", mode, &tables::latency(&cells, peer, names)));
            println!("{}", options.table("Cost", mode, &tables::cost(&cells, peer, names)));
            if let Some(dir) = &options.svg {
                charts::write(dir, mode, names, &cells, peer);
            }
        }
        println!(
            "{}",
            options.table("Second opinion: redis-benchmark", mode, &second::table(&options, mode, &cells))
        );
        if mode == Mode::Always {
            println!(
                "{}",
                options.table("Reads while writes saturate the disk", mode, &mixed::table(&options))
            );
        }
    }
}

impl Options {
    fn measure_cells(&self, mode: Mode) -> Vec<Measured> {
        let shown = io::stderr().is_terminal();
        let cells = self.cells.iter().enumerate().map(|(done, &cell)| {
            if shown {
                eprint!("\r{}: {done} of {} cells, {}\x1b[K", mode.name(), self.cells.len(), cell.text());
            }
            cell::measure(self, mode, cell)
        });
        let cells = cells.collect();
        if shown {
            eprintln!();
        }
        cells
    }

    fn table(&self, title: &str, mode: Mode, lines: &[Vec<String>]) -> String {
        report::table(&format!("{title}, `{}`", mode.name()), lines, self.markdown)
    }

    fn conditions(&self) -> String {
        format!(
            "{} rounds of {} s, {KEYS} keys of 16 bytes, data in {}; the load has {} thread(s). {}.",
            self.rounds,
            self.secs,
            self.dir.display(),
            self.threads,
            self.servers.iter().map(|&kind| cell::version(kind)).collect::<Vec<_>>().join("; "),
        )
    }

    fn parse() -> Options {
        let mut flags = Flags::parse("compare/main.rs");
        let quick = flags.switch("quick");
        let only = flags.take("only", String::new());
        let given = flags.take("servers", "emberkeep,redis,valkey".to_owned());
        let cells = flags.take("cells", String::new());
        let svg = flags.take("svg", String::new());
        let options = Options {
            rounds: flags.take("rounds", if quick { 1 } else { 3 }).max(1),
            secs: flags.take("secs", if quick { 1.0 } else { 2.0 }),
            dir: flags.take("dir", std::env::temp_dir()),
            threads: flags.take("threads", 1),
            get_rate: flags.take("get-rate", 5_000),
            servers: servers(&given),
            modes: Mode::ALL.into_iter().filter(|mode| only.is_empty() || mode.name() == only).collect(),
            cells: cell::all(quick).into_iter().filter(|c| cells.is_empty() || c.is_in(&cells)).collect(),
            svg: (!svg.is_empty()).then(|| svg.into()),
            markdown: flags.markdown(),
        };
        if options.modes.is_empty() || options.cells.is_empty() || options.servers.is_empty() {
            eprintln!(
                "nothing to measure: --only takes always, interval, never or memory, --cells what the head of \
                       benches/src/bin/compare/main.rs shows, --servers emberkeep, redis and valkey"
            );
            std::process::exit(2);
        }
        options
    }
}

/// Those of the list that are installed. Said on stderr which are not.
fn servers(given: &str) -> Vec<Kind> {
    let known = [("emberkeep", Kind::Emberkeep), ("redis", Kind::Redis), ("valkey", Kind::Valkey)];
    let named = given.split(',').filter_map(|name| known.iter().find(|(known, _)| *known == name));
    named
        .filter(|(name, kind)| {
            let there = is_there(*kind);
            if !there {
                eprintln!("left out: {name} is not installed");
            }
            there
        })
        .map(|(_, kind)| *kind)
        .collect()
}
