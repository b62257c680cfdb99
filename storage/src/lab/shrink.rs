//! Leaves out steps while a failure stays: what is left is short enough to think about.
//!
//! Delta debugging (Zeller and Hildebrandt, "Simplifying and isolating failure-inducing input",
//! 2002), in its simplest form: halves, quarters, and so on down to single steps. Any failure
//! counts, not only the same one: a shorter list that breaks another promise is as good.

use super::{
    explore::{Failure, explore},
    planted::Planted,
    scenario::Scenario,
};

/// Explorations that are spent at most.
const TRIES_MAX: usize = 200;

/// The shortest failing scenario that was found; `failure` itself if nothing can be left out.
pub fn shrink(failure: Box<Failure>, planted: Option<Planted>) -> Box<Failure> {
    let mut best = failure;
    let mut kept = places(&best.scenario);
    let mut chunk = kept.len().div_ceil(2);
    let mut tries = 0;
    while chunk > 0 {
        let mut from = 0;
        while from < kept.len() && tries < TRIES_MAX {
            tries += 1;
            let mut fewer = kept.clone();
            fewer.drain(from..(from + chunk).min(kept.len()));
            let scenario = Scenario { kept: Some(fewer.clone()), ..best.scenario.clone() };
            match explore(&scenario, planted) {
                Err(failure) => (best, kept) = (failure, fewer),
                Ok(_) => from += chunk,
            }
        }
        chunk /= 2;
    }
    best
}

fn places(scenario: &Scenario) -> Vec<usize> {
    match &scenario.kept {
        Some(kept) => kept.clone(),
        None => (0..scenario.steps().len()).collect(),
    }
}
