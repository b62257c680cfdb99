//! What a run has found: counts, and words for them.

use std::{fmt::Write, path::PathBuf, time::Duration};

use serde::Serialize;

use super::judge::{Broken, Finding};
use crate::config::units::show_span;

/// What happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Rounds that are complete.
    pub rounds: u64,
    /// Kills while clients wrote and read.
    pub kills_under_load: u64,
    /// Those of them that hit while a snapshot was being written.
    pub kills_in_checkpoint: u64,
    /// Kills of a server that had been asked to stop and had not stopped yet.
    pub kills_in_shutdown: u64,
    /// Kills of a server that did not serve yet, or had just begun to.
    pub kills_in_recovery: u64,
    /// Stops in order, under load or not.
    pub clean_stops: u64,
    /// Operations sent.
    pub operations: u64,
    /// Writes that were acknowledged.
    pub acknowledged: u64,
    /// Operations without an answer.
    pub unknown: u64,
    /// Reads after a restart that were held against what was acknowledged.
    pub verified: u64,
    /// Entries missing after a restart, as a cache may that evicts.
    pub evicted: u64,
    /// Starts from a snapshot.
    pub snapshots_loaded: u64,
    /// The longest time from a start until it served, in milliseconds.
    pub longest_restart_ms: u64,
}

/// The end of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// Every promise held.
    pub held: bool,
    /// What repeats the run. A string: it may not fit a double.
    pub seed: String,
    /// The counts.
    #[serde(flatten)]
    pub counts: Counts,
    /// Keys with an acknowledged write missing.
    pub lost: u64,
    /// Keys with a value that was gone.
    pub resurrected: u64,
    /// Keys whose answers fit no order.
    pub not_linearizable: u64,
    /// Wrong bytes, wrong versions, servers that did not start or stop.
    pub other: u64,
    /// Each broken promise.
    pub broken: Vec<Finding>,
    /// Where the data and the history of a run are kept that broke one.
    pub kept: Option<PathBuf>,
    /// What this does not show.
    pub note: &'static str,
}

const NOTE: &str =
    "SIGKILL ends the process, not the machine: this says nothing about what a power cut leaves";

impl Verdict {
    pub(super) fn new(seed: u64, counts: Counts, broken: Vec<Finding>, kept: Option<PathBuf>) -> Verdict {
        let number = |kind| broken.iter().filter(|finding| finding.kind == kind).count() as u64;
        let (lost, resurrected) = (number(Broken::Lost), number(Broken::Resurrected));
        let not_linearizable = number(Broken::NotLinearizable);
        Verdict {
            held: broken.is_empty(),
            seed: seed.to_string(),
            counts,
            lost,
            resurrected,
            not_linearizable,
            other: broken.len() as u64 - lost - resurrected - not_linearizable,
            broken,
            kept,
            note: NOTE,
        }
    }

    /// In plain words, lines ended.
    pub fn text(&self) -> String {
        let Counts { rounds, operations, acknowledged, unknown, verified, .. } = self.counts;
        let c = &self.counts;
        let mut out = String::new();
        let head = match (self.held, acknowledged) {
            (false, _) => "BROKEN: at least one promise did not hold",
            (true, 0) => "nothing was acknowledged, so nothing was tested",
            (true, _) => "every acknowledged write was kept",
        };
        line(&mut out, head);
        line(
            &mut out,
            &format!(
                "  {rounds} rounds; killed {} times under load ({} while a snapshot was written), {} while starting, {} while \
             stopping; {} clean stops",
                c.kills_under_load,
                c.kills_in_checkpoint,
                c.kills_in_recovery,
                c.kills_in_shutdown,
                c.clean_stops
            ),
        );
        line(
            &mut out,
            &format!(
                "  {operations} operations, {acknowledged} writes acknowledged, {unknown} without an answer"
            ),
        );
        line(
            &mut out,
            &format!(
                "  {verified} reads after restarts verified: {} keys lost, {} resurrected; {} keys not linearizable; {} other",
                self.lost, self.resurrected, self.not_linearizable, self.other
            ),
        );
        if c.evicted > 0 {
            line(
                &mut out,
                &format!(
                    "  {} entries were evicted: with these limits a missing key proves nothing",
                    c.evicted
                ),
            );
        }
        line(
            &mut out,
            &format!(
                "  longest restart {}, {} starts from a snapshot",
                show_span(Duration::from_millis(c.longest_restart_ms)),
                c.snapshots_loaded
            ),
        );
        line(&mut out, &format!("  seed {}", self.seed));
        line(&mut out, &format!("  {NOTE}"));
        for finding in self.broken.iter().take(20) {
            let key = finding.key.map_or(String::new(), |key| format!(" key {key}"));
            line(&mut out, &format!("  {:?}{key}: {}", finding.kind, finding.text));
        }
        if let Some(kept) = &self.kept {
            line(
                &mut out,
                &format!("  the data, the history and what the server said are kept in {}", kept.display()),
            );
        }
        out
    }
}

fn line(out: &mut String, text: &str) {
    writeln!(out, "{text}").expect("writing to a string does not fail");
}
