//! Hill climbing: finds how large the window of W-TinyLFU should be by trying.
//!
//! Einziger, Eytan, Friedman, Manes, "Adaptive software cache management", Middleware 2018. Every
//! so many requests it compares the hit ratio with the one before: if that has risen it goes on in
//! the same direction, else it turns round. Steps become smaller, and large again when the hit
//! ratio has jumped: then the load is another one.

/// Everything is in parts of this.
pub(crate) const WHOLE: i64 = 1_000_000;
/// The window at the beginning, and the least: 1 %.
const WINDOW_MIN: i64 = WHOLE / 100;
/// The largest window: 80 %.
const WINDOW_MAX: i64 = WHOLE / 100 * 80;
/// The first step, and the one after a jump: 6.25 %.
const STEP: i64 = WHOLE / 16;
/// A jump of the hit ratio: five points.
const JUMP: i64 = WHOLE / 20;
/// Requests between two looks, for each entry.
const SAMPLE: u64 = 5;
/// With fewer as if there were so many: the hit ratio would be mostly noise.
const ENTRIES_MIN: usize = 100;

/// The size of the window, and what is needed to change it.
#[derive(Debug)]
pub(crate) struct Climber {
    window: i64,
    step: i64,
    hits: u64,
    requests: u64,
    ratio_before: i64,
}

impl Climber {
    pub(crate) fn new() -> Climber {
        Climber { window: WINDOW_MIN, step: STEP, hits: 0, requests: 0, ratio_before: 0 }
    }

    /// The part of the cache that the window may have, of [`WHOLE`].
    pub(crate) fn window(&self) -> u64 {
        self.window.unsigned_abs()
    }

    /// A request was answered from a cache of so many entries, or not.
    pub(crate) fn record(&mut self, hit: bool, entries: usize) {
        self.hits += u64::from(hit);
        self.requests += 1;
        if self.requests >= SAMPLE * entries.max(ENTRIES_MIN) as u64 {
            self.climb();
            (self.hits, self.requests) = (0, 0);
        }
    }

    fn climb(&mut self) {
        let ratio = (self.hits as i64 * WHOLE) / self.requests as i64;
        let change = ratio - self.ratio_before;
        self.ratio_before = ratio;
        if change < 0 {
            self.step = -self.step;
        }
        self.window = (self.window + self.step).clamp(WINDOW_MIN, WINDOW_MAX);
        self.step = if change.abs() >= JUMP { self.step.signum() * STEP } else { self.step * 98 / 100 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs against a load whose hit ratio is best with this window.
    fn settles(best: i64) -> i64 {
        let mut climber = Climber::new();
        for _ in 0..200 {
            let ratio = WHOLE / 2 - (climber.window - best).abs() / 4;
            let requests = 1000 * SAMPLE as i64;
            for request in 0..requests {
                climber.record(request * WHOLE < ratio * requests, 1000);
            }
        }
        climber.window
    }

    #[test]
    fn the_window_comes_close_to_the_best_one() {
        for percent in [1, 20, 50, 80] {
            let best = WHOLE / 100 * percent;
            let window = settles(best);
            assert!((window - best).abs() < WHOLE / 20, "best={best} window={window}");
        }
    }

    #[test]
    fn a_tiny_cache_looks_at_as_many_requests_as_a_small_one() {
        let mut climber = Climber::new();
        (1..SAMPLE * ENTRIES_MIN as u64).for_each(|_| climber.record(true, 3));
        assert_eq!(climber.window, WINDOW_MIN);
        climber.record(true, 3);
        assert_eq!(climber.window, WINDOW_MIN + STEP);
    }
}
