//! Removing what has expired, so that it stops taking up memory.
//!
//! A read hides an entry whose deadline has passed; only a frame removes it. This is where those
//! frames come from when nobody writes to the key: in small portions, so that a million keys with
//! one deadline hold no lock for long.

use crate::{
    engine::{Core, room::Need, value::version_of},
    error::{ErrorKind, Result},
    format::{frame, payload::Reason},
    settings::Level,
    sync::Ordering,
    wal::staging::Urgency,
};

/// Work in one hold of a stripe's lock: entries removed, or timers moved …
const PORTION: usize = 128;
/// … and bytes of log, so that a portion of long keys fits into any segment.
const PORTION_BYTES: usize = 4 << 10;

impl Core {
    /// One round through all stripes: removes what has expired, frees tombstones that are
    /// durable, and evicts what is above the limits. Each stripe gets a portion; true if one has
    /// more to do.
    ///
    /// # Errors
    /// `Halted`.
    pub(crate) fn expire_step(&self) -> Result<bool> {
        let mut more = false;
        for stripe in 0..self.index.stripe_count() {
            more |= match self.expire_portion(stripe) {
                Err(e) if e.kind() == ErrorKind::Halted => return Err(e),
                // No room in the log: users' writes go first, this comes again.
                Err(_) => false,
                Ok(more) => more,
            };
        }
        if self.index.budget().over(0, 0) {
            match self.evict_elsewhere(0, Need::default()) {
                Err(e) if e.kind() == ErrorKind::Halted => return Err(e),
                _ => {}
            }
        }
        Ok(more)
    }

    /// One portion of one stripe; true if it has more to do.
    pub(super) fn expire_portion(&self, number: usize) -> Result<bool> {
        let key_bytes = self.settings.max_key_bytes + 16;
        let portion = (PORTION_BYTES / key_bytes).clamp(1, PORTION);
        let bytes = portion * key_bytes + 16;
        let mut permit = self.wal.admit(0, frame::disk_len(bytes) as u64, Urgency::Write)?;
        let now = self.timeline.now();
        let mut stripe = self.index.lock(number);
        stripe.reap(self.wal.reached(Level::Disk));
        let mut due = Vec::new();
        let more = stripe.due(now, portion, &mut due);
        if due.is_empty() {
            return Ok(more);
        }
        let mut removed = Vec::with_capacity(due.len());
        for slot in due {
            let view = stripe.view(slot);
            removed.push((view.blob.clone(), version_of(view.blob, view.lsn)));
            stripe.remove(slot, false);
        }
        self.counters.expired.fetch_add(removed.len() as u64, Ordering::Relaxed);
        self.log_removal(&mut stripe, &mut permit, Reason::Expired, &removed, now);
        drop(stripe);
        drop(permit);
        Ok(more)
    }
}
