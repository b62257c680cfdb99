//! Removing what has expired, so that it stops taking up memory.
//!
//! A read hides an entry whose deadline has passed; only a frame removes it. This is where those
//! frames come from when nobody writes to the key: in portions, each in one hold of a stripe's
//! lock and in one frame, so that a million keys with one deadline hold no lock for long and take
//! little of the log.
//!
//! Not here: how fast the rounds follow each other (`background`).

use crate::{
    engine::{
        Core,
        room::{Need, REMOVAL_KEY_OVERHEAD},
        value::version_of,
    },
    error::{ErrorKind, Result},
    format::{
        frame::{self, Kind},
        payload::{Reason, encode_remove},
    },
    index::{slab::Slot, stripe::Stripe},
    settings::{Fsync, Level},
    sync::Ordering,
    wal::staging::{Body, Urgency},
};

/// Work in one hold of a stripe's lock: entries removed, or timers moved. Some 50 microseconds …
const PORTION: usize = 128;
/// … and bytes of log, so that a portion of long keys is no longer hold …
const PORTION_BYTES: usize = 8 << 10;
/// … and takes no more than one part in this many of a segment or of the staging buffer.
const PORTION_PART: u64 = 16;

/// What a round has left to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// Nothing that is due.
    Nothing,
    /// A stripe has more, or the log had no room.
    More,
}

impl Core {
    /// One round through all stripes: removes what has expired, frees tombstones that are
    /// durable, and evicts what is above the limits. Each stripe gets a portion.
    ///
    /// # Errors
    /// `Halted`.
    pub(crate) fn expire_step(&self) -> Result<Left> {
        let mut left = Left::Nothing;
        for stripe in 0..self.index.stripe_count() {
            match self.expire_portion(stripe) {
                Ok(Left::Nothing) => {}
                Ok(Left::More) => left = Left::More,
                Err(e) if e.kind() == ErrorKind::Halted => return Err(e),
                // No room in the log: users' writes go first, this comes again.
                Err(e) if e.kind() == ErrorKind::Overloaded => {
                    left = Left::More;
                    break;
                }
                Err(_) => break,
            }
        }
        if self.index.budget().over(0, 0) {
            match self.evict_elsewhere(0, Need::default()) {
                Err(e) if e.kind() == ErrorKind::Halted => return Err(e),
                _ => {}
            }
        }
        Ok(left)
    }

    /// One portion of one stripe.
    pub(super) fn expire_portion(&self, number: usize) -> Result<Left> {
        let bytes_max = self.portion_bytes();
        let mut permit = self.wal.admit(0, frame::disk_len(bytes_max) as u64, Urgency::Write)?;
        let now = self.timeline.now();
        let mut stripe = self.index.lock(number);
        stripe.reap(self.wal.reached(Level::Disk));
        let mut due = Vec::new();
        let more = stripe.due(now, PORTION, &mut due);
        // Those that do not fit are named again by the next call.
        let fits = fitting(&stripe, &due, bytes_max);
        let left = if more || fits < due.len() { Left::More } else { Left::Nothing };
        due.truncate(fits);
        if due.is_empty() {
            return Ok(left);
        }
        let mut payload = Vec::with_capacity(bytes_max);
        let ended = due.iter().map(|&slot| {
            let view = stripe.view(slot);
            (view.blob.key(), version_of(view.blob, view.lsn))
        });
        encode_remove(Reason::Expired, ended, &mut payload);
        let lsn = self.wal.append(&mut permit, Kind::Remove, Body::copied(&payload), now);
        self.removals.tell(Reason::Expired, due.iter().map(|&slot| stripe.view(slot).blob.key()));
        let entombs = self.settings.fsync == Fsync::Always;
        let bury = |&slot: &Slot| {
            if entombs { stripe.bury(slot, lsn, false) } else { stripe.remove(slot, false) }
        };
        // Collected, because values are freed outside the lock.
        let values: Vec<_> = due.iter().map(bury).collect();
        self.counters.expired.fetch_add(values.len() as u64, Ordering::Relaxed);
        drop(stripe);
        drop(permit);
        drop(values);
        // Nobody waits for it.
        self.wal.ask(lsn, Level::Os);
        Ok(left)
    }

    /// The longest payload of a portion. The longest key always fits.
    fn portion_bytes(&self) -> usize {
        let part = self.settings.segment_bytes.min(self.settings.staging_bytes) / PORTION_PART;
        let one = self.settings.max_key_bytes + 2 * REMOVAL_KEY_OVERHEAD;
        PORTION_BYTES.min(part as usize).max(one)
    }
}

/// How many of these entries one removal of at most `bytes_max` bytes can name.
fn fitting(stripe: &Stripe, due: &[Slot], bytes_max: usize) -> usize {
    let mut bytes = REMOVAL_KEY_OVERHEAD;
    let fits = |&&slot: &&Slot| {
        bytes += stripe.view(slot).blob.key().bytes.len() + REMOVAL_KEY_OVERHEAD;
        bytes <= bytes_max
    };
    due.iter().take_while(fits).count()
}
