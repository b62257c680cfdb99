//! Making room: evicting entries, each removal logged in the lock hold that takes them out.
//!
//! Why logged: without it an evicted key would come back from the log after a restart, with a
//! value that its owner may have replaced elsewhere meanwhile.
//!
//! A removal of one key is a frame of which two thirds are header. Under a limit of bytes a write
//! that finds the cache full therefore takes out a few victims at once, and the next writes find
//! room. A limit of items is exact: as many leave as come.

use crate::{
    clock::UnixMillis,
    engine::{Core, expiry::Left, value::version_of},
    error::{Error, ErrorKind, Result},
    format::{
        frame::{self, Kind},
        payload::{Reason, encode_remove},
    },
    index::{blob::Blob, stripe::Stripe},
    lsn::Lsn,
    settings::{Fsync, Level},
    sync::Ordering,
    wal::staging::{Body, Permit, Urgency},
};

/// Bytes of keys in one removal frame, beyond the first key.
const REMOVAL_KEYS_MAX: usize = 512;
/// What a removal needs per key besides it: namespace, length, version.
pub(super) const REMOVAL_KEY_OVERHEAD: usize = 16;
/// Victims that leave before they have to, so that they share a frame.
const VICTIMS_AHEAD_MAX: usize = 8;
/// A stripe that holds less than its share by more than one part in this many gives up nothing
/// ahead. Without this the fill of the stripes would drift apart without end.
const SHARE_TOLERANCE: u64 = 16;

/// What a write adds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Need {
    pub bytes: u64,
    pub items: u64,
}

impl Core {
    /// Log bytes of the removals that a write may cause in its own lock hold: of one expired
    /// entry and of one batch of victims.
    pub(crate) fn removal_allowance(&self) -> u64 {
        let one = self.settings.max_key_bytes + REMOVAL_KEYS_MAX + 2 * REMOVAL_KEY_OVERHEAD;
        2 * frame::disk_len(one) as u64
    }

    /// Evicts from this stripe until there is room, or one batch of victims is gone, or nothing
    /// is left. True if there is room.
    pub(crate) fn evict_here(
        &self,
        stripe: &mut Stripe,
        permit: &mut Permit<'_>,
        need: Need,
        now: UnixMillis,
    ) -> bool {
        let budget = self.index.budget();
        let ahead = self.ahead(stripe, need);
        let mut victims: Vec<(Blob, u64)> = Vec::new();
        let mut key_bytes = 0;
        while key_bytes < REMOVAL_KEYS_MAX {
            let must = budget.over(need.bytes, need.items);
            let may = victims.len() < VICTIMS_AHEAD_MAX
                && ahead > 0
                && budget.over_bytes(need.bytes.saturating_add(ahead));
            if !must && !may {
                break;
            }
            let Some(slot) = stripe.victim() else { break };
            let view = stripe.view(slot);
            victims.push((view.blob.clone(), version_of(view.blob, view.lsn)));
            key_bytes += view.blob.key().bytes.len() + REMOVAL_KEY_OVERHEAD;
            stripe.remove(slot, true);
        }
        if !victims.is_empty() {
            self.counters.evictions.fetch_add(victims.len() as u64, Ordering::Relaxed);
            self.log_removal(stripe, permit, Reason::Evicted, &victims, now);
        }
        !budget.over(need.bytes, need.items)
    }

    /// How many bytes this stripe makes room for beyond what a write needs: none unless it is the
    /// limit of bytes that is exceeded.
    fn ahead(&self, stripe: &Stripe, need: Need) -> u64 {
        let budget = self.index.budget();
        if !budget.over_bytes(need.bytes) {
            return 0;
        }
        let share = budget.used().bytes / self.index.stripe_count() as u64;
        if stripe.used().bytes < share - share / SHARE_TOLERANCE { 0 } else { budget.ahead(need.bytes) }
    }

    /// Logs what was just taken out of the stripe, and leaves tombstones where an answer may have
    /// to wait for it.
    pub(crate) fn log_removal(
        &self,
        stripe: &mut Stripe,
        permit: &mut Permit<'_>,
        reason: Reason,
        removed: &[(Blob, u64)],
        now: UnixMillis,
    ) -> Lsn {
        let mut payload = Vec::new();
        encode_remove(reason, removed.iter().map(|(blob, version)| (blob.key(), *version)), &mut payload);
        let lsn = self.wal.append(permit, Kind::Remove, Body::copied(&payload), now);
        self.removals.tell(reason, removed.iter().map(|(blob, _)| blob.key()));
        if self.settings.fsync == Fsync::Always {
            for (blob, _) in removed {
                stripe.entomb(self.index.hash(blob.key()), Blob::bare(blob.key()), lsn);
            }
        }
        lsn
    }

    /// Evicts from the other stripes, one after the other, until there is room. No stripe may be
    /// locked. With the policy `noeviction` only what has expired makes room.
    ///
    /// # Errors
    /// `Full` if the write does not fit into an empty cache, or with `noeviction` not beside what is
    /// there; else `Overloaded`, and a sync is under way that makes room.
    pub(crate) fn evict_elsewhere(&self, own: usize, need: Need) -> Result<()> {
        let count = self.index.stripe_count();
        let mut evicted = true;
        // A batch from each in turn, so that a large entry does not empty whole stripes.
        while std::mem::take(&mut evicted) {
            for other in (1..=count).map(|i| (own + i) % count) {
                if self.index.lock(other).never_evicts() {
                    return self.expire_for_room(need);
                }
                let mut permit = self.wal.admit(0, self.removal_allowance(), Urgency::Write)?;
                let mut stripe = self.index.lock(other);
                stripe.reap(self.durable());
                let before = stripe.len();
                if self.evict_here(&mut stripe, &mut permit, need, self.timeline.now()) {
                    return Ok(());
                }
                evicted |= stripe.len() < before;
            }
        }
        if !self.index.budget().holds(need.bytes, need.items) {
            let what = format!("the entry is larger than the cache, bytes={}", need.bytes);
            return Err(Error::new(ErrorKind::Full, what));
        }
        // Removals that are not durable yet take up room, or other writers took what was made.
        self.wal.ask(self.wal.appended(), Level::Disk);
        Err(Error::new(ErrorKind::Overloaded, "the cache has no room until the next sync"))
    }

    /// Removes what has expired until there is room, since nobody else may go.
    fn expire_for_room(&self, need: Need) -> Result<()> {
        let budget = self.index.budget();
        for stripe in 0..self.index.stripe_count() {
            while budget.over(need.bytes, need.items) && self.expire_portion(stripe)? == Left::More {}
        }
        if !budget.over(need.bytes, need.items) {
            return Ok(());
        }
        if budget.over_without_tombstones(need.bytes, need.items) {
            let what = "the cache is full and its eviction policy is noeviction: delete entries, raise its \
                        limits, or choose a policy that evicts";
            return Err(Error::new(ErrorKind::Full, what));
        }
        self.wal.ask(self.wal.appended(), Level::Disk);
        Err(Error::new(ErrorKind::Overloaded, "the cache has no room until the next sync"))
    }

    /// What a power cut cannot take back any more.
    pub(crate) fn durable(&self) -> Lsn {
        self.wal.reached(Level::Disk)
    }
}
