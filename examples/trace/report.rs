//! The results as a table for people, and a chart beside it.

use std::{fmt::Write, fs, path::Path};

use emberkeep::node::policy_name;
use emberkeep_storage::Eviction;

use crate::{
    chart,
    reference::{COMPARED, Cell, LOOP, Table},
};

const BEGIN: &str = "<!-- results: written by examples/trace -->\n";
const END: &str = "<!-- end of results -->";
/// A policy against the others, over all traces but the loop.
pub struct Summary {
    pub name: String,
    /// Misses that it avoids, compared with FIFO; mean over the cells, in percent.
    pub avoided: f64,
    /// Against LRU, in points.
    mean: f64,
    worst: f64,
    below: usize,
}

/// Replaces the results in the document, and the chart.
///
/// # Errors
/// What cannot be read or written.
#[expect(clippy::disallowed_methods, reason = "an example writes its output as any program does")]
pub fn write(document: &Path, table: &Table, cells: &[Cell]) -> Result<(), String> {
    let failed = |e: std::io::Error| format!("cannot write {}: {e}", document.display());
    let text = fs::read_to_string(document).map_err(failed)?;
    let parts = text.split_once(BEGIN).and_then(|(head, rest)| Some((head, rest.split_once(END)?.1)));
    let (head, tail) = parts.ok_or_else(|| format!("{} has no place for results", document.display()))?;
    let summaries = summaries(table, cells);
    let results = format!("{}\n{}", summary_table(&summaries), full_table(table, cells));
    fs::write(document, format!("{head}{BEGIN}{results}{END}{tail}")).map_err(failed)?;
    fs::write(document.with_extension("svg"), chart::chart(&summaries)).map_err(failed)
}

fn summaries(table: &Table, cells: &[Cell]) -> Vec<Summary> {
    let of = |name: &str, percent: &dyn Fn(&Cell) -> f64, policy: Eviction| {
        let (mut avoided, mut against_lru) = (Vec::new(), Vec::new());
        for cell in cells.iter().filter(|cell| cell.policy == policy && cell.trace != LOOP) {
            let known = |row| table.percent(&cell.trace, cell.capacity, row).expect("the row was replayed");
            avoided.push(100.0 * (percent(cell) - known("fifo")) / (100.0 - known("fifo")));
            against_lru.push(percent(cell) - known("lru"));
        }
        Summary {
            name: name.to_owned(),
            avoided: mean(&avoided),
            mean: mean(&against_lru),
            worst: against_lru.iter().copied().fold(0.0, f64::min),
            below: against_lru.iter().filter(|&&points| points < -1.0).count(),
        }
    };
    let best = |cell: &Cell| table.percent(&cell.trace, cell.capacity, "belady").unwrap_or(cell.one_stripe);
    let mut all = vec![of("Belady (knows the future)", &best, COMPARED[0].0)];
    all.extend(COMPARED.map(|(policy, ..)| of(policy_name(policy), &|cell| cell.one_stripe, policy)));
    all.sort_by(|a, b| b.avoided.total_cmp(&a.avoided));
    all
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

fn summary_table(summaries: &[Summary]) -> String {
    let mut out = "| policy | misses avoided against `fifo` | mean against `lru`, points | worst | cells more than 1 point below `lru` |\n| --- | ---: | ---: | ---: | ---: |\n".to_owned();
    for Summary { name, avoided, mean, worst, below } in summaries {
        let worst = worst + 0.0;
        writeln!(out, "| {name} | {avoided:.1} % | {mean:+.1} | {worst:.1} | {below} |").expect("a string");
    }
    out
}

fn full_table(table: &Table, cells: &[Cell]) -> String {
    let names = COMPARED.map(|(policy, ..)| format!("`{}`", policy_name(policy)));
    let mut out = format!("| trace | items | Belady | {} |\n", names.join(" | "));
    out += &format!("| --- | ---: | ---: |{}\n", " ---: |".repeat(names.len()));
    for trace in table.traces.keys() {
        for capacity in table.capacities(trace) {
            out += &row(table, cells, trace, capacity);
        }
    }
    out
}

/// One trace and capacity, the best of ours in bold.
fn row(table: &Table, cells: &[Cell], trace: &str, capacity: u64) -> String {
    let percents: Vec<f64> = COMPARED
        .iter()
        .filter_map(|(policy, ..)| {
            cells.iter().find(|c| c.trace == trace && c.capacity == capacity && c.policy == *policy)
        })
        .map(|cell| cell.one_stripe)
        .collect();
    let best = percents.iter().copied().fold(0.0, f64::max);
    let shown = percents.iter().map(|&percent| {
        if percent > 0.0 && percent >= best - 0.05 {
            format!("**{percent:.1}**")
        } else {
            format!("{percent:.1}")
        }
    });
    let belady = table.percent(trace, capacity, "belady").map_or(String::new(), |p| format!("{p:.1}"));
    format!("| {trace} | {capacity} | {belady} | {} |\n", shown.collect::<Vec<_>>().join(" | "))
}
