//! Runs the crash laboratory of the engine for as long as asked, on all cores: simulated disks, so
//! a power cut after every operation, with every image that a disk may then hold.
//!
//! What it looks for and how is in [`emberkeep_storage::lab`]; here are threads, time and the end.
//! The scenarios of a seed are always the same; how many of them a run reaches depends on the time.

#![expect(clippy::disallowed_methods, reason = "it decides when to stop, in real time")]

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use emberkeep_storage::lab::{
    check::Tally,
    explore::{self, Failure, describe},
    planted::Planted,
    scenario::Scenario,
    shrink::shrink,
};

/// A planted bug shows within so many scenarios, or the laboratory is blind to it.
const SCENARIOS_MAX: u64 = 300;

/// How long.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Decides the scenarios.
    pub seed: u64,
    /// No scenario begins after this time.
    pub stop_after: Option<Duration>,
    /// No scenario begins after so many images.
    pub images: Option<u64>,
    /// Threads that explore.
    pub threads: usize,
}

/// What was seen.
#[derive(Clone, Debug, Default)]
pub struct Explored {
    /// Scenarios that were gone over.
    pub scenarios: u64,
    /// The images of all of them.
    pub tally: Tally,
    /// The time that it took.
    pub took: Duration,
    /// The first scenario, by its number, that broke a promise.
    pub found: Option<Finding>,
}

/// A broken promise.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The number of the scenario.
    pub scenario: u64,
    /// As it was found.
    pub failure: Box<Failure>,
    /// With as few steps as were found to be enough.
    pub short: Box<Failure>,
}

impl Finding {
    fn of(scenario: u64, failure: Box<Failure>) -> Finding {
        let short = shrink(failure.clone(), None);
        Finding { scenario, failure, short }
    }

    /// The failure, the short one, and its steps.
    pub fn text(&self) -> String {
        let steps = describe(&self.short.scenario);
        format!("BROKEN: {}\nmade short: {}\n{steps}", self.failure, self.short)
    }
}

/// Explores until time or images are used up, or a promise is broken. `progress` is told of each
/// scenario that is done.
pub fn run(options: Options, progress: &(dyn Fn(&Explored) + Sync)) -> Explored {
    let begun = Instant::now();
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let sum = Mutex::new(Explored::default());
    let work = || {
        while !stop.load(Ordering::SeqCst) {
            let n = next.fetch_add(1, Ordering::SeqCst);
            let explored = explore::explore(&Scenario::nth(options.seed, n), None);
            let mut sum = sum.lock().expect("no panic with the sum");
            sum.took = begun.elapsed();
            match explored {
                Ok(tally) => {
                    sum.scenarios += 1;
                    sum.tally.add(tally);
                    progress(&sum);
                }
                Err(failure) if sum.found.as_ref().is_none_or(|found| n < found.scenario) => {
                    sum.found = Some(Finding { scenario: n, short: failure.clone(), failure });
                }
                Err(_) => {}
            }
            let enough = options.images.is_some_and(|images| sum.tally.images >= images)
                || options.stop_after.is_some_and(|span| sum.took >= span);
            if enough || sum.found.is_some() {
                stop.store(true, Ordering::SeqCst);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..options.threads.max(1) {
            scope.spawn(|| silently(work));
        }
    });
    let mut sum = sum.into_inner().expect("no panic with the sum");
    sum.found = sum.found.map(|found| silently(|| Finding::of(found.scenario, found.failure)));
    sum
}

/// Repeats one cut.
///
/// # Errors
/// The promise that it breaks, or that the text is not one of ours.
pub fn replay(text: &str) -> Result<Tally, String> {
    let wrong = || {
        format!("not what a failure prints after `replay:`, as: always small 17 @ 31 prefix:2; got: {text}")
    };
    let (scenario, cut) = match text.split_once(" @ ") {
        Some((scenario, cut)) => (scenario, Some(cut)),
        None => (text, None),
    };
    let scenario: Scenario = scenario.parse()?;
    let outcome = match cut {
        None => silently(|| explore::explore(&scenario, None)),
        Some(cut) => {
            let (k, choice) = cut.split_once(' ').ok_or_else(wrong)?;
            let (k, choice) = (k.parse().map_err(|_| wrong())?, choice.parse()?);
            silently(|| explore::replay(&scenario, k, &choice))
        }
    };
    outcome.map_err(|failure| format!("BROKEN: {failure}\n{}", describe(&scenario)))
}

/// Whether the laboratory finds a bug that is planted for it.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The bug.
    pub planted: Planted,
    /// In which scenario it showed, counted from 1, and how; `None`: it was not found.
    pub found: Option<(u64, Box<Failure>)>,
}

/// Plants each bug and looks for it. The scenarios in which they show are sound without them.
///
/// # Errors
/// The failure of a scenario that breaks a promise although nothing is planted.
pub fn self_check(seed: u64, progress: &dyn Fn(&Checked)) -> Result<Vec<Checked>, Box<Failure>> {
    let mut all = Vec::new();
    for planted in Planted::ALL {
        let found = silently(|| explore::find(planted, seed, SCENARIOS_MAX));
        if let Some((_, failure)) = &found {
            silently(|| explore::explore(&failure.scenario, None))?;
        }
        let checked = Checked { planted, found };
        progress(&checked);
        all.push(checked);
    }
    Ok(all)
}

/// A simulated disk is torn and full all the time: what the engine says about it is no news.
fn silently<T>(work: impl FnOnce() -> T) -> T {
    tracing::subscriber::with_default(tracing::subscriber::NoSubscriber::default(), work)
}
