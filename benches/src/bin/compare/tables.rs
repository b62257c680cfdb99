//! Cells as tables: medians, what lies around them, and ratios.

use crate::cell::{Measured, Run};

/// A figure of a run.
type Figure = fn(&Run) -> f64;

/// Requests in a second of the first server and of this peer.
pub fn throughput(cells: &[Measured], peer: usize, names: [&str; 2]) -> Vec<Vec<String>> {
    let heads =
        ["", names[0], "lowest to highest", names[1], "lowest to highest", "ratio", "lowest to highest"];
    let mut lines = vec![heads.map(str::to_owned).to_vec()];
    for measured in cells {
        let mut line = vec![measured.cell.text()];
        for at in [0, peer] {
            let rates = measured.figures(at, |run| run.figures.per_sec);
            line.extend([format!("{:.0}", median(&rates)), spread(&rates, 0)]);
        }
        let ratios = measured.ratios(peer, |run| run.figures.per_sec);
        line.extend([format!("{:.2}x", median(&ratios)), spread(&ratios, 2)]);
        lines.push(line);
    }
    lines
}

/// Latencies of both in microseconds.
pub fn latency(cells: &[Measured], peer: usize, names: [&str; 2]) -> Vec<Vec<String>> {
    let figures: [(&str, Figure); 3] =
        [("p50", |run| run.figures.p50), ("p99", |run| run.figures.p99), ("p99.9", |run| run.figures.p999)];
    pairs(cells, peer, names, &figures, " us", 0)
}

/// What the servers take.
pub fn cost(cells: &[Measured], peer: usize, names: [&str; 2]) -> Vec<Vec<String>> {
    let figures: [(&str, Figure); 2] = [("CPU s per million", |run| run.cpu), ("RSS MiB", |run| run.rss)];
    pairs(cells, peer, names, &figures, "", 2)
}

/// For each figure: both, and the ratio.
fn pairs(
    cells: &[Measured],
    peer: usize,
    names: [&str; 2],
    figures: &[(&str, Figure)],
    unit: &str,
    digits: usize,
) -> Vec<Vec<String>> {
    let mut heads = vec![String::new()];
    for (figure, _) in figures {
        heads.extend(names.map(|name| format!("{name} {figure}{unit}")));
        heads.push("ratio".to_owned());
    }
    let mut lines = vec![heads];
    for measured in cells {
        let mut line = vec![measured.cell.text()];
        for &(_, figure) in figures {
            line.extend([0, peer].map(|at| format!("{:.digits$}", median(&measured.figures(at, figure)))));
            line.push(format!("{:.2}x", median(&measured.ratios(peer, figure))));
        }
        lines.push(line);
    }
    lines
}

impl Measured {
    /// Of one server, by round.
    pub fn figures(&self, at: usize, figure: Figure) -> Vec<f64> {
        self.runs[at].iter().map(figure).collect()
    }

    /// Of the first server to this peer, round by round.
    pub fn ratios(&self, peer: usize, figure: Figure) -> Vec<f64> {
        self.runs[0]
            .iter()
            .zip(&self.runs[peer])
            .map(|(ours, theirs)| figure(ours) / figure(theirs))
            .collect()
    }
}

pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// The lowest and the highest.
pub fn spread(values: &[f64], digits: usize) -> String {
    let (low, high) = values.iter().fold((f64::MAX, f64::MIN), |(low, high), &v| (low.min(v), high.max(v)));
    format!("{low:.digits$} to {high:.digits$}")
}
