//! Moments that took long, by what took long: `LATENCY`.
//!
//! Of each second in which an event took at least the threshold, the longest time is kept, of the last 160
//! such seconds. The threshold is 0 at the start, which means that nothing is watched.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use emberkeep_storage::UnixMillis;

/// Seconds of each event that are kept.
const SAMPLES_MAX: usize = 160;

/// What took long.
#[derive(Debug, Default)]
pub(super) struct Latency {
    threshold_millis: AtomicU64,
    events: Mutex<BTreeMap<&'static str, Series>>,
}

/// The longest time in a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    /// Seconds since 1970.
    pub(super) at_secs: u64,
    pub(super) millis: u64,
}

/// The samples of an event, the oldest first, and the longest time of all since it was reset.
#[derive(Clone, Debug, Default)]
pub(super) struct Series {
    pub(super) samples: VecDeque<Sample>,
    pub(super) max_millis: u64,
}

impl Latency {
    pub(super) fn threshold_millis(&self) -> u64 {
        self.threshold_millis.load(Ordering::Relaxed)
    }

    pub(super) fn set_threshold_millis(&self, millis: u64) {
        self.threshold_millis.store(millis, Ordering::Relaxed);
    }

    /// Whether anything is watched.
    pub(super) fn is_on(&self) -> bool {
        self.threshold_millis() > 0
    }

    /// Something took so long; kept if that is as long as the threshold.
    pub(super) fn note(&self, event: &'static str, took: Duration, now: UnixMillis) {
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        if !self.is_on() || millis < self.threshold_millis() {
            return;
        }
        let at_secs = now.0 / 1000;
        let mut events = self.lock();
        let series = events.entry(event).or_default();
        series.max_millis = series.max_millis.max(millis);
        match series.samples.back_mut() {
            Some(last) if last.at_secs == at_secs => last.millis = last.millis.max(millis),
            _ => {
                if series.samples.len() == SAMPLES_MAX {
                    series.samples.pop_front();
                }
                series.samples.push_back(Sample { at_secs, millis });
            }
        }
    }

    /// Every event that was noted, with its samples.
    pub(super) fn events(&self) -> Vec<(&'static str, Series)> {
        self.lock().iter().map(|(event, series)| (*event, series.clone())).collect()
    }

    /// Forgets those events; all if none is named. How many were there.
    pub(super) fn reset(&self, is_named: impl Fn(&str) -> bool) -> usize {
        let mut events = self.lock();
        let before = events.len();
        events.retain(|event, _| !is_named(event));
        before - events.len()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, Series>> {
        self.events.lock().expect("nothing panics under this lock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(times: &[(u64, u64)]) -> Latency {
        let latency = Latency::default();
        latency.set_threshold_millis(10);
        for &(at_secs, millis) in times {
            latency.note("command", Duration::from_millis(millis), UnixMillis(at_secs * 1000 + 5));
        }
        latency
    }

    #[test]
    fn a_second_keeps_its_longest_time_and_what_is_short_is_not_kept() {
        let (event, series) = noted(&[(1, 10), (1, 30), (1, 20), (2, 9), (3, 15)]).events().remove(0);
        assert_eq!((event, series.max_millis), ("command", 30));
        let expected = [Sample { at_secs: 1, millis: 30 }, Sample { at_secs: 3, millis: 15 }];
        assert_eq!(series.samples, expected);
    }

    #[test]
    fn the_last_samples_are_kept_and_the_longest_of_all() {
        let times: Vec<(u64, u64)> = (0..200).map(|n| (n, 500 - n)).collect();
        let (_, series) = noted(&times).events().remove(0);
        assert_eq!((series.samples.len(), series.max_millis), (160, 500));
        assert_eq!(series.samples[0], Sample { at_secs: 40, millis: 460 });
    }

    #[test]
    fn nothing_is_kept_while_nothing_is_watched() {
        let latency = Latency::default();
        latency.note("command", Duration::from_secs(9), UnixMillis(1));
        assert!(latency.events().is_empty());
    }

    #[test]
    fn events_are_forgotten_by_name() {
        let latency = noted(&[(1, 10)]);
        assert_eq!(latency.reset(|event| event == "other"), 0);
        assert_eq!(latency.reset(|event| event == "command"), 1);
        assert!(latency.events().is_empty());
    }
}
