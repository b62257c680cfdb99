//! Reads of some while others saturate the disk.

use emberkeep_benches::peer::{Kind, Server};

use crate::{
    Options, cell,
    load::{self, Figures},
    mode::Mode,
    tables::{median, spread},
};

const VALUE_LEN: usize = 100;
/// Reads begin when writes are under way, and end before them.
const AROUND_SECS: f64 = 1.0;

/// A line for each server.
pub fn table(options: &Options) -> Vec<Vec<String>> {
    let heads =
        ["", "SET/s", "GET/s", "GET p50 us", "GET p99 us", "GET p99.9 us", "lowest to highest", "longest us"];
    let mut lines = vec![heads.map(str::to_owned).to_vec()];
    let mut runs: Vec<Vec<(Figures, Figures)>> = vec![Vec::new(); options.servers.len()];
    for _ in 0..options.rounds {
        for (at, &kind) in options.servers.iter().enumerate() {
            runs[at].push(run(options, kind));
        }
    }
    for (&kind, runs) in options.servers.iter().zip(&runs) {
        let of = |figure: fn(&(Figures, Figures)) -> f64| runs.iter().map(figure).collect::<Vec<f64>>();
        let p999 = of(|(_, gets)| gets.p999);
        let mut line = vec![cell::name(kind).to_owned()];
        let shown = [
            of(|(sets, _)| sets.per_sec),
            of(|(_, gets)| gets.per_sec),
            of(|(_, gets)| gets.p50),
            of(|(_, gets)| gets.p99),
            p999.clone(),
        ];
        line.extend(shown.iter().map(|figures| format!("{:.0}", median(figures))));
        line.extend([spread(&p999, 0), format!("{:.0}", median(&of(|(_, gets)| gets.max)))]);
        lines.push(line);
    }
    lines
}

/// What the writes and the reads measured.
fn run(options: &Options, kind: Kind) -> (Figures, Figures) {
    let dir = tempfile::tempdir_in(&options.dir).expect("a directory can be created");
    let server = Server::start(kind, dir.path(), &Mode::Always.flags(kind));
    load::fill(&server, Mode::Always, VALUE_LEN);
    let (writing, reading) = (format!("{}s", options.secs + 2.0 * AROUND_SECS), format!("{}s", options.secs));
    let (around, rate, size) =
        (format!("{AROUND_SECS}s"), options.get_rate.to_string(), VALUE_LEN.to_string());
    let common = ["--threads", "1", "-c", "50", "--size", &size];
    let sets = load::start(&server, Mode::Always, &[&common[..], &["--read", "0", "-d", &writing]].concat());
    let gets = load::start(
        &server,
        Mode::Always,
        &[&common[..], &["--read", "1", "-d", &reading, "--warmup", &around, "--rate", &rate]].concat(),
    );
    let gets = gets.figures();
    (sets.figures(), gets)
}
