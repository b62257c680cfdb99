//! A failed write or sync of the log is final.
//!
//! After it nobody knows what the disk holds: the system may have marked the pages clean, and a
//! second sync may report success without the data being there. So the first cause is kept, all
//! writing stops, nothing is retried on the same file, and a restart recovers from what is
//! really there. Reads of what was durable go on.

use std::sync::{Arc, OnceLock};

use crate::{
    error::{Error, Result},
    sync::{AtomicBool, Ordering},
};

/// Whether the log has stopped for good in this process, and why. Cheap to clone and to ask.
#[derive(Clone, Debug, Default)]
pub struct Halt {
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    /// Set after the cause. An atomic of its own, so that the concurrency tests see it.
    stopped: AtomicBool,
    cause: OnceLock<Error>,
}

impl Default for State {
    fn default() -> State {
        State { stopped: AtomicBool::new(false), cause: OnceLock::new() }
    }
}

impl Halt {
    /// Stops the log. The first cause stays. Whoever calls this wakes the waiters afterwards.
    pub fn raise(&self, cause: Error) -> Error {
        let first = self.state.cause.get_or_init(|| {
            tracing::error!(error = %cause, "the log has stopped, writes are refused until a restart");
            cause
        });
        self.state.stopped.store(true, Ordering::SeqCst);
        Error::halted(first)
    }

    /// Why the log has stopped, if it has.
    pub fn cause(&self) -> Option<&Error> {
        if self.state.stopped.load(Ordering::SeqCst) { self.state.cause.get() } else { None }
    }

    /// Goes on if the log runs.
    ///
    /// # Errors
    /// `Halted` with the first cause if it has stopped.
    pub fn check(&self) -> Result<()> {
        self.cause().map_or(Ok(()), |cause| Err(Error::halted(cause)))
    }
}
