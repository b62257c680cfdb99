//! Ratios of throughput as bars, a picture for each mode and command.

use std::path::Path;

use emberkeep::tool::svg::{BESIDE, Bar, Head, OURS, bars};

use crate::{cell::Measured, mode::Mode, tables::median};

/// Writes `compare-<peer>-<mode>-<command>.svg`.
///
/// # Panics
/// If it cannot be written.
pub fn write(dir: &Path, mode: Mode, names: [&str; 2], cells: &[Measured], peer: usize) {
    std::fs::create_dir_all(dir).expect("the directory can be created");
    for command in ["SET", "GET"] {
        let cells: Vec<&Measured> = cells.iter().filter(|m| m.cell.command() == command).collect();
        if cells.is_empty() {
            continue;
        }
        let path = dir.join(format!("compare-{}-{}-{}.svg", names[1], mode.name(), command.to_lowercase()));
        std::fs::write(&path, picture(command, mode, names, &cells, peer)).expect("the chart can be written");
    }
}

fn picture(command: &str, mode: Mode, [ours, theirs]: [&str; 2], cells: &[&Measured], peer: usize) -> String {
    let head = format!("{command}/s of {ours}, compared with {theirs}");
    let under = format!("clients x pipeline, bytes of a value; durability {}; longer is better", mode.name());
    let bar = |measured: &&Measured| {
        let ratio = median(&measured.ratios(peer, |run| run.figures.per_sec));
        Bar {
            name: measured.cell.text(),
            value: ratio,
            label: format!("{ratio:.2}x"),
            fill: if ratio < 1.0 { BESIDE } else { OURS },
        }
    };
    bars(
        Head { title: &head, head: &head, under: &under },
        &cells.iter().map(bar).collect::<Vec<_>>(),
        Some(1.0),
    )
}
