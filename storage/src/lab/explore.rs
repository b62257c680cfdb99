//! Goes over the images of a run, in order, and stops at the first that breaks a promise.

use std::{
    fmt,
    panic::{self, AssertUnwindSafe},
};

use crate::{
    settings::Fsync,
    sim::{choice::Choice, crash::CrashPoint},
};

use super::{
    check::{Checker, Tally},
    history::History,
    planted::Planted,
    record::Run,
    scenario::{Scenario, Size},
    step::Step,
};

/// One image in so many is written to, closed, opened again, and cut during its own recovery.
const DEEP_EVERY: u64 = 500;
/// The beginning of every directory is the same: one scenario in so many looks at it.
const BEGINNING_EVERY: u64 = 16;

/// A broken promise, and how to see it again.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What was run.
    pub scenario: Scenario,
    /// After which operation of the disk the power was cut, and which image was left; `None` if it
    /// went wrong before any cut.
    pub cut: Option<(u64, Choice)>,
    /// That operation, in words.
    pub operation: String,
    /// Which promise is broken.
    pub broken: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.broken)?;
        match &self.cut {
            Some((k, choice)) => {
                writeln!(f, "  the power failed after operation {k} ({}), image {choice}", self.operation)?;
                write!(f, "  replay: {} @ {k} {choice}", self.scenario)
            }
            None => write!(f, "  before any cut; replay: {}", self.scenario),
        }
    }
}

/// Runs the scenario and checks its images.
///
/// # Errors
/// The first image that breaks a promise.
pub fn explore(scenario: &Scenario, planted: Option<Planted>) -> Result<Tally, Box<Failure>> {
    let (run, history) = recorded(scenario, planted)?;
    let checker = Checker::new(&run, &history, planted);
    let mut points = run.disk.crash_points();
    if !scenario.seed.is_multiple_of(BEGINNING_EVERY) {
        points.seek(run.opened_at);
    }
    let mut tally = Tally::default();
    loop {
        // Of a small run every image is tried. What an earlier point allows is allowed at the next
        // maximal one too, and more was acknowledged by then: the earlier ones can tell nothing new.
        if scenario.size == Size::Large || points.is_maximal() {
            check_point(&checker, &run, &points.point(), &mut tally)?;
        }
        if !points.advance() {
            return Ok(tally);
        }
    }
}

fn check_point(
    checker: &Checker<'_>,
    run: &Run,
    point: &CrashPoint,
    tally: &mut Tally,
) -> Result<(), Box<Failure>> {
    for choice in point.choices(&run.scenario.plan(point.k())) {
        let deep = (tally.images + 1).is_multiple_of(DEEP_EVERY);
        guarded(|| checker.check(point, &choice, deep, tally))
            .map_err(|broken| failure(run, point, choice, broken))?;
    }
    Ok(())
}

/// Explores small scenarios with a bug planted, from this seed on, until it shows: how many scenarios it took, and
/// the failure. `None` if it does not show in so many.
pub fn find(planted: Planted, seed: u64, scenarios_max: u64) -> Option<(u64, Box<Failure>)> {
    let modes = [Fsync::Always, Fsync::Interval, Fsync::Never];
    // Not those that try thousands of images at a point: these bugs are not so well hidden.
    let seed_of = |n: u64| (seed.wrapping_add(n) << 3) | 1;
    let scenarios = (0..).map(|n: u64| Scenario::new(modes[(n % 3) as usize], Size::Small, seed_of(n)));
    let has_fault = |scenario: &Scenario| scenario.steps().iter().any(|step| matches!(step, Step::Fault(..)));
    let fitting = scenarios.filter(|scenario| !planted.needs_a_fault() || has_fault(scenario));
    let mut explored = (1..=scenarios_max).zip(fitting.map(|scenario| explore(&scenario, Some(planted))));
    explored.find_map(|(n, explored)| explored.err().map(|failure| (n, failure)))
}

/// Checks one image, with its own recovery cut again.
///
/// # Errors
/// The promise that it breaks.
///
/// # Panics
/// If the run has no such operation, or the image is not one of its.
pub fn replay(scenario: &Scenario, k: u64, choice: &Choice) -> Result<Tally, Box<Failure>> {
    let (run, history) = recorded(scenario, None)?;
    let mut points = run.disk.crash_points();
    points.seek(k);
    let (point, mut tally) = (points.point(), Tally::default());
    guarded(|| Checker::new(&run, &history, None).check(&point, choice, true, &mut tally))
        .map_err(|broken| failure(&run, &point, choice.clone(), broken))?;
    Ok(tally)
}

/// The run and its history, which must agree before anything is cut.
fn recorded(scenario: &Scenario, planted: Option<Planted>) -> Result<(Run, History), Box<Failure>> {
    let failed = |broken| {
        Box::new(Failure { scenario: scenario.clone(), cut: None, operation: String::new(), broken })
    };
    let run = guarded(|| Run::record(scenario, planted)).map_err(failed)?;
    let history = guarded(|| History::of(&run.disk)).map_err(failed)?;
    guarded(|| run.agree(&history)).map_err(failed)?;
    Ok((run, history))
}

fn failure(run: &Run, point: &CrashPoint, choice: Choice, broken: String) -> Box<Failure> {
    let operation = match point.k().checked_sub(1) {
        Some(last) => run.disk.describe_op(last),
        None => "nothing".to_owned(),
    };
    Box::new(Failure { scenario: run.scenario.clone(), cut: Some((point.k(), choice)), operation, broken })
}

/// An assertion of the engine is a finding like any other.
fn guarded<T>(check: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    panic::catch_unwind(AssertUnwindSafe(check)).unwrap_or_else(|cause| {
        let text = cause.downcast_ref::<String>().cloned();
        let text = text.or_else(|| cause.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("an assertion failed: {}", text.unwrap_or_else(|| "without words".into())))
    })
}

/// The steps of a scenario, one a line.
pub fn describe(scenario: &Scenario) -> String {
    let steps: Vec<String> = scenario.steps().iter().map(|step| format!("  {step:?}\n")).collect();
    let size = if scenario.size == Size::Small { "small" } else { "large" };
    format!("{} steps of a {size} scenario:\n{}", steps.len(), steps.concat())
}
