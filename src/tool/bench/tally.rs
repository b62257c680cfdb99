//! What is counted: every answer with its latency, and every request that got none.

use std::{collections::BTreeMap, time::Duration};

use hdrhistogram::Histogram;

use super::{connection::Waiting, wire::Answer};

/// The longest latency that is told apart, in nanoseconds: an hour.
const LATENCY_MAX: u64 = 3_600_000_000_000;
/// Latencies are told to a thousandth of themselves.
const DIGITS: u8 = 3;

/// Counts of a run. A refusal is an error, has no latency and is no answer.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Latencies of reads in nanoseconds.
    pub reads: Histogram<u64>,
    /// Latencies of writes in nanoseconds.
    pub writes: Histogram<u64>,
    /// Reads that found something.
    pub found: u64,
    /// Reads that found nothing.
    pub missing: u64,
    /// Requests without an answer, by kind.
    pub errors: BTreeMap<String, u64>,
    /// Requests that were due (with a rate) and could not be sent until seconds after the end, because
    /// the earlier ones of their connection were not answered. Their latencies would be the longest.
    pub unsent: u64,
    /// From the first request to the last answer.
    pub took: Duration,
}

impl Tally {
    pub(super) fn new() -> Tally {
        let histogram =
            || Histogram::new_with_bounds(1, LATENCY_MAX, DIGITS).expect("the bounds are in order");
        Tally {
            reads: histogram(),
            writes: histogram(),
            found: 0,
            missing: 0,
            errors: BTreeMap::new(),
            unsent: 0,
            took: Duration::ZERO,
        }
    }

    /// Requests that were answered.
    pub fn answered(&self) -> u64 {
        self.reads.len() + self.writes.len()
    }

    /// Requests that were not.
    pub fn failed(&self) -> u64 {
        self.errors.values().sum()
    }

    /// Answers in a second.
    pub fn rate(&self) -> f64 {
        match self.took {
            Duration::ZERO => 0.0,
            took => self.answered() as f64 / took.as_secs_f64(),
        }
    }

    /// Latencies of all answers in nanoseconds.
    pub fn all(&self) -> Histogram<u64> {
        let mut all = self.reads.clone();
        all.add(&self.writes).expect("the bounds are the same");
        all
    }

    pub(super) fn answer(&mut self, waiting: Waiting, answer: Answer, latency: u64) {
        match answer {
            Answer::Found => self.found += 1,
            Answer::Missing => self.missing += 1,
            Answer::Stored => {}
            Answer::Refused(kind) => return self.fail(&kind, 1),
        }
        let latencies = if waiting.is_read { &mut self.reads } else { &mut self.writes };
        latencies.saturating_record(latency);
    }

    pub(super) fn fail(&mut self, kind: &str, requests: u64) {
        if requests == 0 {
            return;
        }
        match self.errors.get_mut(kind) {
            Some(count) => *count += requests,
            None => drop(self.errors.insert(kind.to_owned(), requests)),
        }
    }

    /// What another thread has counted at the same time.
    pub(super) fn add_beside(&mut self, other: &Tally) {
        let took = self.took.max(other.took);
        self.add_after(other);
        self.took = took;
    }

    /// What was counted at another time.
    pub(super) fn add_after(&mut self, other: &Tally) {
        self.reads.add(&other.reads).expect("the bounds are the same");
        self.writes.add(&other.writes).expect("the bounds are the same");
        self.found += other.found;
        self.missing += other.missing;
        other.errors.iter().for_each(|(kind, &count)| self.fail(kind, count));
        self.unsent += other.unsent;
        self.took += other.took;
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const READ: Waiting = Waiting { since: 0, is_read: true };
    const WRITE: Waiting = Waiting { since: 0, is_read: false };

    /// Latencies of 1 to 1000 us, every tenth of them a write, in a second.
    pub(in crate::tool::bench) fn tally() -> Tally {
        let mut tally = Tally::new();
        for us in 1..=1000 {
            let (waiting, answer) =
                if us % 10 == 0 { (WRITE, Answer::Stored) } else { (READ, Answer::Found) };
            tally.answer(waiting, answer, us * 1000);
        }
        tally.took = Duration::from_secs(1);
        tally
    }

    #[test]
    fn percentiles_are_those_of_what_was_recorded() {
        let all = tally().all();
        for (quantile, us) in [(0.5, 500), (0.9, 900), (0.99, 990), (0.999, 999), (1.0, 1000)] {
            let got = all.value_at_quantile(quantile) as f64 / 1000.0;
            assert!((got / f64::from(us) - 1.0).abs() < 0.002, "{quantile}: {got}");
        }
        assert_eq!((tally().reads.len(), tally().writes.len(), tally().answered()), (900, 100, 1000));
        assert_eq!(tally().rate(), 1000.0);
    }

    #[test]
    fn a_refusal_is_counted_by_its_kind_and_has_no_latency() {
        let mut tally = Tally::new();
        tally.answer(WRITE, Answer::Refused("HTTP 507".into()), 5);
        tally.answer(WRITE, Answer::Refused("HTTP 507".into()), 5);
        tally.answer(READ, Answer::Missing, 5);
        tally.fail("connection closed", 3);
        tally.fail("connection reset", 0);
        let kinds: Vec<_> = tally.errors.iter().map(|(kind, count)| (kind.as_str(), *count)).collect();
        assert_eq!(kinds, [("HTTP 507", 2), ("connection closed", 3)]);
        assert_eq!((tally.answered(), tally.failed(), tally.missing), (1, 5, 1));
    }

    #[test]
    fn threads_share_their_time_and_turns_do_not() {
        let (mut beside, mut after) = (tally(), tally());
        beside.add_beside(&tally());
        after.add_after(&tally());
        assert_eq!((beside.took, beside.rate()), (Duration::from_secs(1), 2000.0));
        assert_eq!((after.took, after.rate()), (Duration::from_secs(2), 1000.0));
        assert_eq!((beside.answered(), after.found), (2000, 1800));
    }

    #[test]
    fn what_takes_longer_than_an_hour_is_not_lost() {
        let mut tally = Tally::new();
        tally.answer(READ, Answer::Found, 2 * LATENCY_MAX);
        assert_eq!(tally.answered(), 1);
        assert!(tally.reads.max() >= LATENCY_MAX);
    }
}
