//! Clocks that stand still until a test moves them.
//!
//! The wall clock and the monotonic clock are apart: [`SimClock::advance`] is time passing and
//! moves both, [`SimClock::jump_wall`] is somebody setting the wall clock.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::clock::{Clock, UnixMillis};

/// Simulated clocks. A clone is a handle to the same clocks.
#[derive(Clone, Debug)]
pub struct SimClock(Arc<Mutex<Hands>>);

#[derive(Debug)]
struct Hands {
    /// Since 1970. Finer than what is shown, so that many small steps add up.
    wall: Duration,
    monotonic: Duration,
}

impl SimClock {
    /// Some day in 2023, and a machine that has just been started.
    pub fn new() -> Self {
        Self::at(UnixMillis(1_700_000_000_000))
    }

    /// Starts with this wall clock.
    pub fn at(wall: UnixMillis) -> Self {
        let hands = Hands { wall: Duration::from_millis(wall.0), monotonic: Duration::ZERO };
        SimClock(Arc::new(Mutex::new(hands)))
    }

    /// Lets time pass on both clocks.
    pub fn advance(&self, span: Duration) {
        let mut hands = self.hands();
        hands.wall = hands.wall.saturating_add(span);
        hands.monotonic = hands.monotonic.saturating_add(span);
    }

    /// Sets the wall clock forward or back by `ms` milliseconds; not below 1970. No time passes.
    pub fn jump_wall(&self, ms: i64) {
        let span = Duration::from_millis(ms.unsigned_abs());
        let mut hands = self.hands();
        hands.wall = if ms < 0 { hands.wall.saturating_sub(span) } else { hands.wall.saturating_add(span) };
    }

    /// Sets the wall clock. No time passes.
    pub fn set_wall(&self, wall: UnixMillis) {
        self.hands().wall = Duration::from_millis(wall.0);
    }

    /// Sets the monotonic clock, as the start of another machine does.
    pub fn set_monotonic(&self, since_start: Duration) {
        self.hands().monotonic = since_start;
    }

    // A mutex of the standard library, held for a few instructions: no point where threads meet,
    // so the concurrency tests need not see it.
    fn hands(&self) -> MutexGuard<'_, Hands> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for SimClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SimClock {
    fn wall(&self) -> UnixMillis {
        UnixMillis::default().after(self.hands().wall)
    }

    fn monotonic(&self) -> Duration {
        self.hands().monotonic
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timeline;

    #[test]
    fn a_timeline_does_not_see_the_wall_clock_jump() {
        let clock = SimClock::new();
        let timeline = Timeline::start(Arc::new(clock.clone()), UnixMillis(0));
        let start = timeline.now();
        clock.jump_wall(-3_600_000);
        clock.advance(Duration::from_secs(2));
        assert_eq!(timeline.now(), start.after(Duration::from_secs(2)));
        assert_eq!(clock.wall().since(start), Duration::ZERO);
    }
}
