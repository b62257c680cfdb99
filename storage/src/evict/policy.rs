//! What a policy of eviction is.
//!
//! A [`Policy`] orders the live entries of one stripe. It names a victim; the stripe removes it,
//! because a removal has to be logged. A policy sees slots and what the slab tells about them,
//! neither keys nor values nor time nor randomness: the same calls give the same victims. Replay
//! does not depend on that, it is told who was evicted.
//!
//! Everything should be O(1): it happens under the lock of the stripe. State lives in the entries
//! themselves (two links, a queue number and a byte), so a policy costs no memory per entry; a
//! [`List`](crate::evict::List) over the entries is what most are made of. After a restart the
//! order comes back from the snapshot: [`Policy::hint`] and the place in [`Policy::walk`] are
//! saved, [`Policy::restore`] is called with them, coldest first. The same when the policy is
//! switched at run time, with the hint 0. What is in the log behind the snapshot comes as
//! `on_insert`, `on_hit` and `on_remove`, in the order in which it was written.

use std::fmt::Debug;

use crate::index::slab::{Slab, Slot};

/// The order in which the live entries of one stripe leave. One instance per stripe, called
/// under its lock.
pub trait Policy: Send + Debug {
    /// A live entry that is in no queue: a new key, or one that comes back.
    fn on_insert(&mut self, slab: &mut Slab, slot: Slot);

    /// The entry was read or overwritten.
    fn on_hit(&mut self, slab: &mut Slab, slot: Slot);

    /// The entry costs `new_charge` bytes from now on.
    fn on_update(&mut self, slab: &mut Slab, slot: Slot, old_charge: u64, new_charge: u64);

    /// The entry leaves its queue: `evicted` under pressure (it may be remembered), or because it
    /// was deleted or has expired. Called while the slab still has the charge that it came with.
    fn on_remove(&mut self, slab: &mut Slab, slot: Slot, evicted: bool);

    /// Who leaves next; `None` if nothing is left, or if nobody shall leave: writes that need room
    /// are then refused. The entry stays until `on_remove`.
    fn victim(&mut self, slab: &mut Slab) -> Option<Slot>;

    /// What `restore` needs to put the entry back as warm as it is.
    fn hint(&self, slab: &Slab, slot: Slot) -> u8;

    /// Like `on_insert`, after a restart: called for all entries, coldest first, each with the
    /// hint it had. A hint of another policy is harmless; 0 says nothing but the place.
    fn restore(&mut self, slab: &mut Slab, slot: Slot, hint: u8);

    /// Adds up to `max` slots to `out`, roughly coldest first, starting behind `from` (at the
    /// coldest if `None`). Adds nothing at the end. Between two calls entries may move: one may
    /// then be named twice or not at all, so the caller bounds the total.
    fn walk(&self, slab: &Slab, from: Option<Slot>, max: usize, out: &mut Vec<Slot>);

    /// Asserts that the queues hold exactly the live entries that say so, and that sums are right.
    /// Returns how many they hold.
    fn check(&self, slab: &Slab) -> usize;
}
