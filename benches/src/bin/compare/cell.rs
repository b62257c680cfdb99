//! One cell of the tables: a command, clients, pipeline and length of values, in one mode.

use std::process::Command;

use emberkeep_benches::peer::{Kind, Server, emberkeep};

use crate::{
    Options,
    load::{self, Figures},
    mode::Mode,
};

/// What is asked before a cell is measured, in seconds.
const WARM_UP: &str = "500ms";

#[derive(Clone, Copy, PartialEq)]
pub struct Cell {
    pub is_get: bool,
    pub clients: u32,
    pub pipeline: u32,
    pub value_len: usize,
}

/// A run of one server.
#[derive(Clone, Copy)]
pub struct Run {
    pub figures: Figures,
    /// CPU seconds of the server for a million requests.
    pub cpu: f64,
    /// MiB of the server, afterwards.
    pub rss: f64,
}

/// The runs of all servers.
pub struct Measured {
    pub cell: Cell,
    /// By server, then by round.
    pub runs: Vec<Vec<Run>>,
}

/// The cells of all tables, or of quick ones.
pub fn all(quick: bool) -> Vec<Cell> {
    let (clients, lens): (&[u32], &[usize]) =
        if quick { (&[1, 50], &[100]) } else { (&[1, 16, 50, 256], &[100, 1024]) };
    let mut cells = Vec::new();
    for is_get in [false, true] {
        for &value_len in lens {
            for pipeline in [1, 16] {
                cells.extend(clients.iter().map(|&clients| Cell { is_get, clients, pipeline, value_len }));
            }
        }
    }
    cells
}

impl Cell {
    /// For people: `SET 50x16, 100 B`.
    pub fn text(self) -> String {
        format!("{} {}x{}, {} B", self.command(), self.clients, self.pipeline, self.value_len)
    }

    pub fn command(self) -> &'static str {
        if self.is_get { "GET" } else { "SET" }
    }

    /// Whether a list of `set-50x16-100` names it.
    pub fn is_in(self, list: &str) -> bool {
        let Cell { clients, pipeline, value_len, .. } = self;
        let name = format!("{}-{clients}x{pipeline}-{value_len}", self.command().to_lowercase());
        list.split(',').any(|listed| listed == name)
    }

    /// Of `emberkeep bench`.
    fn flags(self, span: &str, threads: u32) -> Vec<String> {
        let read = if self.is_get { "1" } else { "0" };
        let Cell { clients, pipeline, value_len, .. } = self;
        let flags = [
            ("-c", clients.to_string()),
            ("--pipeline", pipeline.to_string()),
            ("--size", value_len.to_string()),
            ("--read", read.to_owned()),
            ("-d", span.to_owned()),
            ("--threads", threads.to_string()),
        ];
        flags.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect()
    }

    /// Asks this server for so long.
    fn run(self, server: &Server, mode: Mode, span: &str, threads: u32) -> Run {
        let flags = self.flags(span, threads);
        let before = server.cpu();
        let figures =
            load::start(server, mode, &flags.iter().map(String::as_str).collect::<Vec<_>>()).figures();
        let used = server.cpu().saturating_sub(before).as_secs_f64();
        Run {
            figures,
            cpu: used / (figures.answered / 1e6),
            rss: server.rss(false) as f64 / f64::from(1 << 20),
        }
    }
}

/// Starts all servers, fills them, and lets them take turns.
pub fn measure(options: &Options, mode: Mode, cell: Cell) -> Measured {
    let dirs: Vec<_> = options
        .servers
        .iter()
        .map(|_| tempfile::tempdir_in(&options.dir).expect("a directory can be created"))
        .collect();
    let servers: Vec<Server> = options
        .servers
        .iter()
        .zip(&dirs)
        .map(|(&kind, dir)| Server::start(kind, dir.path(), &mode.flags(kind)))
        .collect();
    for server in &servers {
        load::fill(server, mode, cell.value_len);
        cell.run(server, mode, WARM_UP, options.threads);
    }
    let mut runs = vec![Vec::new(); servers.len()];
    for round in 0..options.rounds {
        let mut order: Vec<usize> = (0..servers.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for at in order {
            runs[at].push(cell.run(&servers[at], mode, &format!("{}s", options.secs), options.threads));
        }
    }
    Measured { cell, runs }
}

/// As the tables name it.
pub fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Emberkeep => "emberkeep",
        Kind::Redis => "redis",
        Kind::Valkey => "valkey",
    }
}

/// What the program says of its version.
pub fn version(kind: Kind) -> String {
    let program = match kind {
        Kind::Emberkeep => emberkeep(),
        Kind::Redis => "redis-server".into(),
        Kind::Valkey => "valkey-server".into(),
    };
    let said = Command::new(program).arg("--version").output().expect("it was there before");
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    // Theirs goes on with hashes of the build.
    said.split(" sha=").next().unwrap_or_default().trim().to_owned()
}
