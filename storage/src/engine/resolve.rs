//! Resolving: what a request means for the state at hand. Pure functions; what they give is what
//! is logged, so that replay needs no condition, no clock and no arithmetic.

use crate::{
    clock::UnixMillis,
    engine::value::{Expiry, version_of},
    format::op::Key,
    index::{blob::Blob, slab::Slot, stripe::Stripe},
    limits::DEADLINE_MAX,
    lsn::Lsn,
};

/// What a key is at the moment.
#[derive(Clone, Debug)]
pub(crate) enum Current {
    /// A live entry.
    Live(Live),
    /// An entry whose deadline has passed: no reader sees it, and no frame has removed it yet.
    Expired {
        /// Where it is.
        slot: Slot,
        /// The frame that gave it its deadline.
        lsn: Lsn,
    },
    /// Nothing. The frame that this rests on.
    Absent(Lsn),
}

/// A live entry.
#[derive(Clone, Debug)]
pub(crate) struct Live {
    pub slot: Slot,
    pub blob: Blob,
    pub lsn: Lsn,
    pub deadline: Option<UnixMillis>,
}

impl Current {
    /// Looks the key up.
    pub(crate) fn of(stripe: &Stripe, hash: u64, key: Key<'_>, now: UnixMillis) -> Current {
        let Some(slot) = stripe.find(hash, key) else { return Current::Absent(stripe.flushed_at()) };
        let view = stripe.view(slot);
        if view.is_tombstone {
            return Current::Absent(view.lsn);
        }
        if view.deadline.is_some_and(|deadline| deadline <= now) {
            return Current::Expired { slot, lsn: view.lsn };
        }
        Current::Live(Live { slot, blob: view.blob.clone(), lsn: view.lsn, deadline: view.deadline })
    }

    /// The frame that an answer about the key rests on.
    pub(crate) fn rests_on(&self) -> Lsn {
        match self {
            Current::Live(Live { lsn, .. }) | Current::Expired { lsn, .. } | Current::Absent(lsn) => *lsn,
        }
    }

    /// The live entry, if there is one.
    pub(crate) fn live(&self) -> Option<&Live> {
        match self {
            Current::Live(live) => Some(live),
            Current::Expired { .. } | Current::Absent(_) => None,
        }
    }

    /// The version, if the key is present.
    pub(crate) fn version(&self) -> Option<u64> {
        self.live().map(|live| version_of(&live.blob, live.lsn))
    }
}

/// The absolute deadline that a request means, at most [`DEADLINE_MAX`]: what is logged and told is
/// what the index keeps.
pub(crate) fn deadline(expiry: Expiry, now: UnixMillis, kept: Option<UnixMillis>) -> Option<UnixMillis> {
    let deadline = match expiry {
        Expiry::Never => None,
        Expiry::In(span) => Some(now.after(span)),
        Expiry::At(instant) => Some(instant),
        Expiry::Keep => kept,
    };
    deadline.map(|instant| instant.min(UnixMillis(DEADLINE_MAX)))
}

/// Reads a counter: an optional minus and digits, nothing else, as it would be written.
pub(crate) fn parse_counter(value: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(value).ok()?;
    let number: i64 = text.parse().ok()?;
    // "+1", "007" and "-0" are texts, not counters.
    (number.to_string() == text).then_some(number)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_deadline_beyond_the_latest_is_the_latest() {
        let (now, latest) = (UnixMillis(5), Some(UnixMillis(DEADLINE_MAX)));
        assert_eq!(deadline(Expiry::In(Duration::MAX), now, None), latest);
        assert_eq!(deadline(Expiry::At(UnixMillis(u64::MAX)), now, None), latest);
        assert_eq!(deadline(Expiry::At(UnixMillis(7)), now, None), Some(UnixMillis(7)));
    }

    #[test]
    fn a_counter_is_written_in_one_way_only() {
        assert_eq!(parse_counter(b"-42"), Some(-42));
        assert_eq!(parse_counter(i64::MIN.to_string().as_bytes()), Some(i64::MIN));
        for text in ["", "+1", "007", "-0", " 1", "1.0", "9223372036854775808", "x"] {
            assert_eq!(parse_counter(text.as_bytes()), None, "{text}");
        }
    }
}
