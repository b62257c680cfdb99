//! The one clock of a run: microseconds of Unix time that never go back.
//!
//! It starts at the system's time and runs on steadily. The server starts from the system's time
//! too, at each start; what lies between the two is measured by [`Clock::drift`].

use std::time::{Duration, Instant, SystemTime};

/// Microseconds of Unix time.
pub(super) type Moment = u64;

/// A steady clock that shows Unix time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    start: Instant,
    base: Moment,
}

impl Clock {
    pub(super) fn start() -> Clock {
        Clock { start: Instant::now(), base: system_time() }
    }

    pub(super) fn now(self) -> Moment {
        self.base + self.start.elapsed().as_micros() as u64
    }

    /// How far the system's time has moved away from this clock.
    pub(super) fn drift(self) -> Duration {
        Duration::from_micros(self.now().abs_diff(system_time()))
    }
}

/// Zero if the system's time is before 1970: then the drift says so.
fn system_time() -> Moment {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_micros() as u64
}
