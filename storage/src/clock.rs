//! Time. Only this file reads a clock.
//!
//! Deadlines are absolute (milliseconds since 1970), because they outlive the process. While the
//! process runs they are held against a clock that nobody sets: a [`Timeline`] takes the wall
//! clock once and goes on with the monotonic one, so that a wall clock that jumps an hour either
//! way expires nothing early and nothing late.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustix::time::{ClockId, clock_gettime};

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMillis(pub u64);

impl UnixMillis {
    /// Later by `span`; saturates at the end of time.
    pub fn after(self, span: Duration) -> UnixMillis {
        UnixMillis(self.0.saturating_add(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)))
    }

    /// The span from `now` until this instant; zero if it has passed.
    pub fn since(self, now: UnixMillis) -> Duration {
        Duration::from_millis(self.0.saturating_sub(now.0))
    }
}

impl fmt::Display for UnixMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where time comes from.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The wall clock. May jump.
    fn wall(&self) -> UnixMillis;
    /// Time since some fixed point; never jumps, runs on in suspend.
    fn monotonic(&self) -> Duration;
}

/// The clocks of the operating system: `CLOCK_REALTIME` and `CLOCK_BOOTTIME`.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the time")]
    fn wall(&self) -> UnixMillis {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixMillis::default().after(since_epoch)
    }

    fn monotonic(&self) -> Duration {
        let t = clock_gettime(ClockId::Boottime);
        // Both fields are never negative for this clock.
        Duration::new(t.tv_sec.unsigned_abs(), t.tv_nsec.unsigned_abs() as u32)
    }
}

/// The time of one run: the wall clock at its start, advanced by the monotonic clock.
#[derive(Clone, Debug)]
pub struct Timeline {
    clock: Arc<dyn Clock>,
    start_wall: UnixMillis,
    start_monotonic: Duration,
}

impl Timeline {
    /// Starts at the wall clock, or at `floor` if that is later: time that the log has seen does
    /// not come again.
    pub fn start(clock: Arc<dyn Clock>, floor: UnixMillis) -> Self {
        let start_wall = clock.wall().max(floor);
        let start_monotonic = clock.monotonic();
        Timeline { clock, start_wall, start_monotonic }
    }

    /// Now. Never goes back within a run.
    pub fn now(&self) -> UnixMillis {
        self.start_wall.after(self.monotonic().saturating_sub(self.start_monotonic))
    }

    /// The monotonic clock itself, for measuring spans.
    pub fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }
}
