//! What clients asked and what they were told, as data.

use std::time::Duration;

use super::clock::Moment;

/// The number of a key in a run.
pub(super) type KeyId = u32;
/// The number of a write in a run. No two writes have the same, so it stands for the value.
pub(super) type WriteId = u64;

/// One operation of one client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub(super) key: KeyId,
    pub(super) ask: Ask,
    /// Sent not before.
    pub(super) asked: Moment,
    /// Answered not after; if there was no answer, the end of that server's run.
    pub(super) answered: Moment,
    pub(super) outcome: Outcome,
}

/// What was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ask {
    Get,
    Put { write: WriteId, condition: Condition, lifetime: Lifetime },
    Delete { condition: Condition },
}

/// When a write is to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    Always,
    /// `If-None-Match: *`
    Absent,
    /// `If-Match: "…"`
    Is(u64),
}

/// How long an entry lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lifetime {
    Forever,
    Ttl(Duration),
    /// As long as the one that it replaces.
    Keep,
}

/// What a client was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// A read found this write; with its version and its deadline in milliseconds of Unix time.
    Found { write: WriteId, version: u64, expires_at: Option<u64> },
    /// There is no entry.
    Absent,
    /// A write is acknowledged. `created`: whether there was none before, if that was told.
    Done { version: u64, created: Option<bool>, expires_at: Option<u64> },
    /// The condition does not hold; this version stands, or none.
    Refused { current: Option<u64> },
    /// No answer came, or one that says that the outcome is unknown.
    Unknown,
}

impl Call {
    /// A write of unknown outcome that may have happened, at any time until the server's end.
    pub(super) fn is_open(&self) -> bool {
        self.outcome == Outcome::Unknown
    }

    pub(super) fn is_acknowledged_write(&self) -> bool {
        matches!(self.outcome, Outcome::Done { .. })
    }
}
