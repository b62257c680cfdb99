//! Telling somebody which entries the engine removes by itself.
//!
//! Nobody is told unless a program asks, and until then a removal costs one load more. Told is what has
//! just been appended to the log: a power cut can take the removal back, and with it the entry comes
//! back. What a client deletes, what a flush ends and what replay removes is not told.

use std::{fmt, sync::Arc};

use crate::{
    format::{op::Key, payload::Reason},
    sync::{AtomicBool, Mutex, Ordering},
};

/// Is called for each entry that the engine removes by itself.
///
/// It runs in the middle of a write, under a lock of the index: it must be short, must not wait, and
/// must not call the engine.
pub type OnRemoval = Arc<dyn Fn(Reason, Key<'_>) + Send + Sync>;

/// Who is told, if anybody.
#[derive(Default)]
pub(crate) struct Removals {
    is_on: AtomicBool,
    listener: Mutex<Option<OnRemoval>>,
}

impl Removals {
    /// From now on this one is told, or nobody. A call that has begun may still end after this.
    pub(crate) fn set(&self, listener: Option<OnRemoval>) {
        let is_on = listener.is_some();
        *self.lock() = listener;
        self.is_on.store(is_on, Ordering::Relaxed);
    }

    /// Tells of entries whose removal has been appended.
    pub(crate) fn tell<'k>(&self, reason: Reason, keys: impl Iterator<Item = Key<'k>>) {
        if !self.is_on.load(Ordering::Relaxed) {
            return;
        }
        let listener = self.lock().clone();
        if let Some(listener) = listener {
            keys.for_each(|key| listener(reason, key));
        }
    }

    fn lock(&self) -> crate::sync::MutexGuard<'_, Option<OnRemoval>> {
        self.listener.lock().expect("nothing panics under this lock")
    }
}

impl fmt::Debug for Removals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Removals").field("is_on", &self.is_on).finish_non_exhaustive()
    }
}
