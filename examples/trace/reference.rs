//! Hit ratios that others have found, and ours beside them.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use emberkeep::node::policy_name;
use emberkeep_storage::Eviction;

use crate::{
    kept::Kept,
    replay::{Cache, replay},
    requests::{self, Request},
};

/// Ours, the row of the table that it is held against, and how many points it may be away with one
/// stripe.
pub const COMPARED: [(Eviction, &str, f64); 7] = [
    (Eviction::S3Fifo, "s3fifo-1", 0.5),
    (Eviction::WTinyLfu, "wtinylfu-a", 2.0),
    (Eviction::Lfu, "lfuring63", 0.01),
    (Eviction::Lru, "lru", 0.01),
    (Eviction::Sieve, "sieve", 0.01),
    (Eviction::Fifo, "fifo", 0.01),
    (Eviction::Random, "random", 0.7),
];

/// A loop longer than the cache. What approximates the policy of the table (a fingerprint taken for
/// another, a search that is bounded) makes the same mistake in each round, so only exact policies
/// are held against the table here.
pub const LOOP: &str = "lirs-loop";

/// Where the default number of stripes is known to cost more than is allowed.
const KNOWN: [(&str, u64, Eviction); 2] = [
    // Each stripe has a hand of its own, and some lose sight of the keys that come back.
    ("synth-dev", 1846, Eviction::Sieve),
    // Keys come back once, after a time that is close to their stay.
    ("cloudphysics-io", 9794, Eviction::Fifo),
];

/// What the choice of the number of stripes may cost, in points …
const STRIPES_COST_MAX: f64 = 0.3;
/// … where a stripe has at least so many entries.
const PER_STRIPE_MIN: u64 = 100;

/// The rows of the table, and the traces that they are about.
pub struct Table {
    /// By trace, capacity and policy.
    percents: BTreeMap<(String, u64, String), f64>,
    pub traces: BTreeMap<String, Vec<Request>>,
}

/// One cell of ours.
#[derive(Clone, Debug)]
pub struct Cell {
    pub trace: String,
    pub capacity: u64,
    pub policy: Eviction,
    pub reference: f64,
    tolerance: f64,
    /// In percent, with one stripe.
    pub one_stripe: f64,
    /// With as many as the engine chooses.
    pub default_stripes: f64,
}

impl Table {
    /// Reads the table and the traces beside it; of those only some, if `only` names any, and of
    /// each the first `capacities`.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn read(path: &Path, only: &[String], capacities: usize) -> Result<Table, String> {
        let text = fs::read_to_string(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
        let mut table = Table { percents: BTreeMap::new(), traces: BTreeMap::new() };
        for line in text.lines().skip(1) {
            let wrong = || format!("not a row of trace,capacity,policy,percent: {line}");
            let &[trace, capacity, policy, percent] = &*line.split(',').collect::<Vec<_>>() else {
                return Err(wrong());
            };
            let capacity = capacity.parse().map_err(|_| wrong())?;
            let percent = percent.parse().map_err(|_| wrong())?;
            if only.is_empty() || only.iter().any(|name| name == trace) {
                table.percents.insert((trace.to_owned(), capacity, policy.to_owned()), percent);
            }
        }
        for name in only {
            if !table.percents.keys().any(|(trace, ..)| trace == name) {
                return Err(format!("the table has no trace {name}"));
            }
        }
        table.load_traces(path.parent().unwrap_or(Path::new(".")))?;
        let kept: Vec<_> =
            table.traces.keys().map(|trace| (trace.clone(), table.capacities(trace))).collect();
        table.percents.retain(|(trace, capacity, _), _| {
            let of_trace = &kept.iter().find(|(name, _)| name == trace).expect("it was loaded").1;
            of_trace.iter().take(capacities).any(|kept| kept == capacity)
        });
        Ok(table)
    }

    fn load_traces(&mut self, dir: &Path) -> Result<(), String> {
        for (trace, ..) in self.percents.keys() {
            if self.traces.contains_key(trace) {
                continue;
            }
            let plain = dir.join(format!("{trace}.ids.zst"));
            let path = if plain.exists() { plain } else { dir.join(format!("{trace}.idsz.zst")) };
            self.traces.insert(trace.clone(), requests::read(&path)?);
        }
        Ok(())
    }

    /// The hit ratio of a row, in percent.
    pub fn percent(&self, trace: &str, capacity: u64, policy: &str) -> Option<f64> {
        self.percents.get(&(trace.to_owned(), capacity, policy.to_owned())).copied()
    }

    /// The capacities that the table has for a trace, ascending.
    pub fn capacities(&self, trace: &str) -> Vec<u64> {
        let mut all: Vec<u64> = self
            .percents
            .keys()
            .filter(|(name, ..)| name == trace)
            .map(|&(_, capacity, _)| capacity)
            .collect();
        all.dedup();
        all
    }
}

impl Cell {
    /// What is out of tolerance, in words.
    pub fn wrong(&self) -> Option<String> {
        let name = format!("{} {} {}", self.trace, self.capacity, policy_name(self.policy));
        let (off, exact) = (self.one_stripe - self.reference, self.tolerance <= 0.01);
        // What is not exact may be better.
        let too_low = off < -self.tolerance - 0.0005 && (exact || self.trace != LOOP);
        if too_low || (exact && off > self.tolerance + 0.0005) {
            return Some(format!(
                "{name}: {:.3} %, the table has {:.3} %, allowed are {} points",
                self.one_stripe, self.reference, self.tolerance
            ));
        }
        let lost = self.one_stripe - self.default_stripes;
        let known = KNOWN.contains(&(self.trace.as_str(), self.capacity, self.policy));
        // The climber goes its own way in each stripe.
        let allowed = if self.policy == Eviction::WTinyLfu { self.tolerance } else { STRIPES_COST_MAX };
        (self.capacity >= PER_STRIPE_MIN && lost > allowed && !known && self.trace != LOOP)
            .then(|| format!("{name}: the default number of stripes costs {lost:.3} points"))
    }
}

/// Replays every row that ours are compared with, some at once; not those that `keep` has.
///
/// # Errors
/// What a replay met, or that the results cannot be kept.
pub fn run(table: &Table, threads: usize, keep: Option<&Path>) -> Result<Vec<Cell>, String> {
    let kept = keep.map_or(Ok(Kept::default()), Kept::open)?;
    let mut cells = rows(table)?;
    cells.iter_mut().for_each(|cell| kept.fill(cell));
    let rows: Vec<Cell> = cells.extract_if(.., |cell| cell.one_stripe.is_nan()).collect();
    let (next, done) = (AtomicUsize::new(0), Mutex::new((cells, kept)));
    std::thread::scope(|scope| {
        let work = || -> Result<(), String> {
            while let Some(row) = rows.get(next.fetch_add(1, Ordering::Relaxed)) {
                let cell = filled(row, &table.traces[&row.trace])?;
                let mut done = done.lock().expect("no panic with the results");
                done.1.add(&cell)?;
                done.0.push(cell);
            }
            Ok(())
        };
        let running: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        running.into_iter().try_for_each(|thread| thread.join().expect("a replay does not panic"))
    })?;
    let (mut cells, _) = done.into_inner().expect("no panic with the results");
    cells.sort_by(|a, b| (&a.trace, a.capacity).cmp(&(&b.trace, b.capacity)));
    Ok(cells)
}

/// What is to be replayed; ratios that are not known are NaN.
fn rows(table: &Table) -> Result<Vec<Cell>, String> {
    let mut rows = Vec::new();
    for trace in table.traces.keys() {
        for capacity in table.capacities(trace) {
            for (policy, row, tolerance) in COMPARED {
                let reference = table.percent(trace, capacity, row);
                let reference = reference.ok_or(format!("no row {trace},{capacity},{row}"))?;
                let (one_stripe, default_stripes) = (f64::NAN, f64::NAN);
                let trace = trace.clone();
                rows.push(Cell {
                    trace,
                    capacity,
                    policy,
                    reference,
                    tolerance,
                    one_stripe,
                    default_stripes,
                });
            }
        }
    }
    Ok(rows)
}

fn filled(row: &Cell, requests: &[Request]) -> Result<Cell, String> {
    let percent = |stripes| {
        let cache = Cache { policy: row.policy, max_items: Some(row.capacity), max_bytes: None, stripes };
        replay(requests, cache).map(|counts| counts.hit_percent())
    };
    Ok(Cell { one_stripe: percent(Some(1))?, default_stripes: percent(None)?, ..row.clone() })
}
