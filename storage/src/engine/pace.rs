//! How fast background work may go: a token bucket that is filled steadily and is never full for
//! long, so that work is spread out and not done in bursts.

use std::time::Duration;

use crate::{
    engine::{Background, Core},
    error::Result,
    sync::thread,
};

/// Time that may be caught up on: about what a sleep is late.
const BURST: Duration = Duration::from_millis(5);
/// Longest sleep before it is asked whether the work is still wanted.
const SLEEP_MAX: Duration = Duration::from_millis(10);

/// Says when the next piece of work may be done.
#[derive(Debug)]
struct Bucket {
    bytes_per_sec: u64,
    /// When all that was done so far is paid for.
    paid_at: Duration,
}

impl Bucket {
    fn new(bytes_per_sec: u64, now: Duration) -> Bucket {
        Bucket { bytes_per_sec, paid_at: now }
    }

    /// So much was done; gives the time to wait until.
    fn take(&mut self, bytes: u64, now: Duration) -> Duration {
        let cost = Duration::from_secs_f64(bytes as f64 / self.bytes_per_sec as f64);
        self.paid_at = self.paid_at.max(now.saturating_sub(BURST)) + cost;
        self.paid_at
    }
}

/// Keeps a snapshot to its bytes per second, and notices that it is not wanted any more.
pub(super) struct Pace<'a> {
    core: &'a Core,
    bucket: Bucket,
}

impl<'a> Pace<'a> {
    pub(super) fn new(core: &'a Core) -> Self {
        let bucket = Bucket::new(core.settings.checkpoint_bytes_per_sec, core.timeline.monotonic());
        Pace { core, bucket }
    }

    /// Sleeps until so many bytes are paid for. No lock may be held.
    ///
    /// # Errors
    /// `Halted` or `Closed`, soon after it is.
    pub(super) fn spent(&mut self, bytes: u64) -> Result<()> {
        self.core.check_open()?;
        if bytes == 0 || self.core.background == Background::Manual {
            return Ok(());
        }
        let now = self.core.timeline.monotonic();
        // Not until the clock says so: where it stands still, as in a simulation, this ends too.
        let mut left = self.bucket.take(bytes, now).saturating_sub(now);
        while !left.is_zero() {
            let nap = left.min(SLEEP_MAX);
            thread::sleep(nap);
            self.core.check_open()?;
            left -= nap;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn work_is_spread_evenly() {
        let mut bucket = Bucket::new(1_000_000, ms(100));
        for n in 1..=10 {
            // Done in no time, each piece right when it may be.
            let now = ms(100 + 10 * (n - 1));
            assert_eq!(bucket.take(10_000, now), ms(100 + 10 * n));
        }
    }

    #[test]
    fn one_large_piece_is_paid_for_in_full() {
        let mut bucket = Bucket::new(1_000_000, ms(0));
        assert_eq!(bucket.take(16_000_000, ms(0)), ms(16_000));
    }

    #[test]
    fn time_that_was_lost_is_not_made_up_for_in_a_burst() {
        let mut bucket = Bucket::new(1_000_000, ms(0));
        // The disk was away for a minute.
        let now = ms(60_000);
        assert_eq!(bucket.take(1_000, now), now - BURST + ms(1));
        assert_eq!(bucket.take(10_000, now), now - BURST + ms(11));
    }
}
