//! Memory per key above key and value, beside other caches.
//!
//! ```text
//! cargo run --release -p emberkeep-benches --bin memory -- [--markdown] [--keys 4000000]
//!     [--only NAME: one row]
//! ```
//!
//! Each cell is a process of its own: resident memory after the keys are in, less what it was
//! before the first, divided by the keys that are in, less key and value. Keys have 16 bytes.
//! *Full* is a cache limited to that many keys into which twice as many were written, so what a
//! policy remembers of evicted keys is included. The rows of 1 KiB have a quarter of the keys (the
//! load of every hash table is then the same; four million is one of the worst for powers of two).
//!
//! The engine runs in mode `never` with a log that is forgotten when it is written (the memory is
//! the same); its buffers are kept small and have their size before the first key. *accounted* is
//! what it believes to take. redis-server is filled by a script, without persistence.

mod fill;

use std::process::Command;

use emberkeep_benches::{
    KEY_LEN,
    peer::{Kind, is_there},
    report::{machine, table},
};

use crate::fill::{Fill, Subject};

/// Length of the values, whether each key has a deadline, and the goal in bytes per key.
const KINDS: [(usize, bool, u64); 4] = [(32, false, 64), (32, true, 76), (100, false, 58), (1024, false, 80)];
/// From here on values are so long that a quarter of the keys is enough.
const LONG: usize = 1024;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "--one") {
        let (bytes, accounted) = Fill::parse(&arguments[1..]).measure();
        println!("{bytes} {accounted}");
        return;
    }
    let (mut markdown, mut keys, mut only) = (false, 4_000_000, None);
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let mut value = || rest.next().unwrap_or_else(|| usage(argument)).as_str();
        match argument.as_str() {
            "--markdown" => markdown = true,
            "--keys" => keys = value().parse().unwrap_or_else(|_| usage(argument)),
            "--only" => only = Some(Subject::parse(value()).unwrap_or_else(|| usage(argument))),
            _ => usage(argument),
        }
    }
    println!("{}\n", machine("memory"));
    let heads = ["bytes per key", "32 B", "32 B, TTL", "100 B", "1 KiB"].map(str::to_owned).to_vec();
    let goals = KINDS.map(|(_, _, goal)| format!("<= {goal}"));
    let mut lines = vec![heads, ["goal".to_owned()].into_iter().chain(goals).collect()];
    for subject in Subject::ALL.into_iter().filter(|s| only.is_none_or(|only| only == *s)) {
        lines.extend(rows(subject, keys));
    }
    println!("{}", table("Memory per key above key and value", &lines, markdown));
}

/// The cells of a subject, and what it accounts for if it does.
fn rows(subject: Subject, keys: u64) -> Vec<Vec<String>> {
    let cells = KINDS.map(|(value_len, timed, _)| {
        let keys = if value_len >= LONG { keys / 4 } else { keys };
        cell(&Fill { subject, keys, value_len, timed })
    });
    let missing = if subject == Subject::Redis { "missing" } else { "" };
    let line = |name: &str, pick: fn(&(f64, f64)) -> f64| {
        let figures =
            cells.iter().map(|cell| cell.as_ref().map_or(missing.into(), |c| format!("{:.1}", pick(c))));
        [name.to_owned()].into_iter().chain(figures).collect::<Vec<_>>()
    };
    let mut rows = vec![line(subject.name(), |cell| cell.0)];
    if subject.is_engine() {
        rows.push(line(&format!("{}, accounted", subject.name()), |cell| cell.1));
    }
    rows
}

/// One fill in a process of its own: real and accounted bytes per key above key and value.
fn cell(fill: &Fill) -> Option<(f64, f64)> {
    if !fill.is_possible() || (fill.subject == Subject::Redis && !is_there(Kind::Redis)) {
        return None;
    }
    let program = std::env::current_exe().expect("the running program has a path");
    let output = Command::new(program).arg("--one").args(fill.arguments()).output().expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    let mut figures = text.split_whitespace().map(|n| n.parse::<f64>().expect("a number"));
    let mut next =
        || figures.next().expect("two numbers") / fill.keys as f64 - (KEY_LEN + fill.value_len) as f64;
    Some((next(), next()))
}

fn usage(wrong: &str) -> ! {
    eprintln!("not an argument: {wrong}; the head of benches/src/bin/memory/main.rs lists them");
    std::process::exit(2);
}
