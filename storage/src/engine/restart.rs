//! What a restart would cost now, and when a snapshot is due so that it stays cheap.
//!
//! A restart reads the last snapshot and the log behind it. A snapshot is due after
//! `checkpoint_bytes` of log, or after as many bytes as the last one had if that is more: then
//! snapshots of data that has stopped growing write no more than the log does, a write
//! amplification of at most two. It is due after `max_replay_bytes` in any case; where that is less
//! than the last snapshot had, a bounded restart is paid for with more writing.

use std::time::Duration;

use crate::{
    engine::{CheckpointReport, Core, RecoveryReport},
    error::Result,
    sync::Ordering,
};

/// Bytes per second, where nothing was measured: a slow core with a slow disk.
const RATE_DEFAULT: f64 = (100 << 20) as f64;
/// Below this a measurement tells more about the rest of the start.
const MEASURED_MIN: u64 = 1 << 20;

/// What a restart would read if the process ended now, and how long that would take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restart {
    /// Bytes of the snapshot that it would start from.
    pub snapshot_bytes: u64,
    /// Bytes of log behind that.
    pub log_bytes: u64,
    /// Bytes of log at which the next snapshot is due.
    pub due_at_log_bytes: u64,
    /// An estimate.
    pub took: Duration,
    /// Whether the estimate rests on the rates of this process's own start only, or also on the
    /// default of 100 MiB/s because next to nothing was read then.
    pub measured: bool,
}

impl Restart {
    /// Bytes in all.
    pub fn bytes(&self) -> u64 {
        self.snapshot_bytes + self.log_bytes
    }

    /// A snapshot should have been taken long ago: something keeps it from being taken.
    pub fn snapshot_overdue(&self) -> bool {
        self.log_bytes >= self.due_at_log_bytes.saturating_mul(2)
    }
}

impl Core {
    pub(crate) fn restart(&self) -> Restart {
        let snapshot_bytes = self.checkpointer.snapshot_bytes.load(Ordering::Relaxed);
        let log_bytes = self.log_bytes_behind();
        let settings = &self.settings;
        let due_at_log_bytes = settings.checkpoint_bytes.max(snapshot_bytes).min(settings.max_replay_bytes);
        let (took, measured) = estimate(&self.report, snapshot_bytes, log_bytes);
        Restart { snapshot_bytes, log_bytes, due_at_log_bytes, took, measured }
    }

    /// A snapshot is due: so much log has gathered that replaying it would take long.
    pub(crate) fn checkpoint_due(&self) -> bool {
        let restart = self.restart();
        restart.log_bytes >= restart.due_at_log_bytes
    }

    /// So little space is left that a snapshot and two segments hardly fit, and there is a log to
    /// prune: better now than when it is too late.
    pub(crate) fn disk_low(&self) -> bool {
        let snapshot =
            self.checkpointer.snapshot_bytes.load(Ordering::Relaxed).max(self.index.budget().used().bytes);
        let wanted = snapshot + snapshot / 10 + 2 * self.settings.segment_bytes;
        let to_prune = self.wal.log_bytes() - self.checkpointer.log_bytes_then.load(Ordering::Relaxed);
        // A file system that does not tell is not full: a write that finds no room says so itself.
        let free = self.vfs.free_space(&self.settings.data_dir).unwrap_or(u64::MAX);
        free < wanted && to_prune > self.settings.segment_bytes
    }

    pub(crate) fn checkpoint_if_due(&self) -> Result<Option<CheckpointReport>> {
        if self.checkpoint_due() { self.checkpoint().map(Some) } else { Ok(None) }
    }

    /// Bytes of log behind the begin of the last snapshot.
    fn log_bytes_behind(&self) -> u64 {
        let c = &self.checkpointer;
        let then = c.log_bytes_then.load(Ordering::Relaxed);
        let before = if then == 0 { c.replayed_bytes } else { 0 };
        before + self.wal.log_bytes().saturating_sub(then)
    }
}

/// How long it takes to read so much, at the rates of the last start.
fn estimate(start: &RecoveryReport, snapshot_bytes: u64, log_bytes: u64) -> (Duration, bool) {
    let rate = |bytes: u64, took: Duration| {
        let is_measured = bytes >= MEASURED_MIN && !took.is_zero();
        is_measured.then(|| bytes as f64 / took.as_secs_f64())
    };
    let snapshot_rate = rate(start.snapshot_bytes, start.snapshot_took);
    let log_rate = rate(start.replayed_bytes, start.replay_took);
    let seconds = snapshot_bytes as f64 / snapshot_rate.unwrap_or(RATE_DEFAULT)
        + log_bytes as f64 / log_rate.unwrap_or(RATE_DEFAULT);
    let measured = (snapshot_bytes == 0 || snapshot_rate.is_some()) && log_rate.is_some();
    (Duration::from_secs_f64(seconds), measured)
}
