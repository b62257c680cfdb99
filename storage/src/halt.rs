//! A failed write or sync of the log is final.
//!
//! After it nobody knows what the disk holds: the system may have marked the pages clean, and a
//! second sync may report success without the data being there. So the first cause is kept, all
//! writing stops, nothing is retried on the same file, and a restart recovers from what is
//! really there. Reads of what was durable go on.
//!
//! Not here: what a program does about it. It can wait for a halt ([`Halted`]) and end itself.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, Waker},
};

use crate::{
    error::{Error, Result},
    sync::{AtomicBool, AtomicU64, Mutex, MutexGuard, Ordering},
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
    /// By the number of who waits: the wakers of one task cannot be told apart.
    watching: Mutex<Vec<(u64, Waker)>>,
    waited: AtomicU64,
}

impl Default for State {
    fn default() -> State {
        State {
            stopped: AtomicBool::new(false),
            cause: OnceLock::new(),
            watching: Mutex::new(Vec::new()),
            waited: AtomicU64::new(0),
        }
    }
}

impl Halt {
    /// Stops the log. The first cause stays. Whoever calls this wakes the waiters afterwards.
    pub fn raise(&self, cause: Error) -> Error {
        let first = self.state.cause.get_or_init(|| {
            tracing::error!(error = %cause, why = cause.why(), "the log has stopped, writes are refused until a restart");
            cause
        });
        self.state.stopped.store(true, Ordering::SeqCst);
        let watching = std::mem::take(&mut *self.watching());
        // Outside the lock: a waker may run anything.
        watching.into_iter().for_each(|(_, waker)| waker.wake());
        Error::halted(first)
    }

    /// Resolves with the first cause when the log stops for good; at once if it has. An engine that
    /// is closed in order never stops in this sense.
    pub fn raised(&self) -> Halted {
        Halted { halt: self.clone(), number: self.state.waited.fetch_add(1, Ordering::Relaxed) }
    }

    fn watching(&self) -> MutexGuard<'_, Vec<(u64, Waker)>> {
        self.state.watching.lock().expect("nothing panics under this lock")
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

/// Resolves when the log has stopped. See [`Engine::halted`](crate::Engine::halted).
#[derive(Debug)]
#[must_use = "this is how one waits for the log to stop"]
pub struct Halted {
    halt: Halt,
    number: u64,
}

impl Future for Halted {
    type Output = Error;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Error> {
        let mut watching = self.halt.watching();
        match watching.iter_mut().find(|(number, _)| *number == self.number) {
            Some((_, waker)) => waker.clone_from(cx.waker()),
            None => watching.push((self.number, cx.waker().clone())),
        }
        drop(watching);
        // Asked last: a halt before this line is seen here, a later one finds the waker.
        self.halt.cause().map_or(Poll::Pending, |cause| Poll::Ready(cause.clone()))
    }
}

impl Drop for Halted {
    fn drop(&mut self) {
        self.halt.watching().retain(|(number, _)| *number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl std::task::Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn cause(what: &str) -> Error {
        Error::io(what, io::Error::other("broken"))
    }

    #[test]
    fn who_waits_for_a_halt_is_woken_once_and_told_the_first_cause() {
        let halt = Halt::default();
        let count = Arc::new(Count::default());
        let waker = Waker::from(count.clone());
        let mut cx = Context::from_waker(&waker);
        let mut halted = halt.raised();
        for _ in 0..2 {
            assert!(Pin::new(&mut halted).poll(&mut cx).is_pending());
        }
        halt.raise(cause("first"));
        halt.raise(cause("second"));
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        let Poll::Ready(error) = Pin::new(&mut halted).poll(&mut cx) else { panic!("it has stopped") };
        assert_eq!(error.to_string(), "first");
        let Poll::Ready(late) = Pin::new(&mut halt.raised()).poll(&mut cx) else { panic!("it has stopped") };
        assert_eq!(late.to_string(), "first");
    }

    #[test]
    fn who_no_longer_waits_leaves_nothing_behind() {
        let halt = Halt::default();
        let mut halted = halt.raised();
        // A future may be polled by another task each time.
        for waker in [Waker::from(Arc::new(Count::default())), Waker::from(Arc::new(Count::default()))] {
            assert!(Pin::new(&mut halted).poll(&mut Context::from_waker(&waker)).is_pending());
        }
        drop(halted);
        assert!(halt.watching().is_empty());
    }

    /// The one that went away took the waker of the other along, and the halt woke nobody.
    #[test]
    fn of_two_that_wait_in_one_task_the_one_that_stays_is_woken() {
        let halt = Halt::default();
        let count = Arc::new(Count::default());
        let waker = Waker::from(count.clone());
        let [mut stays, mut goes] = [halt.raised(), halt.raised()];
        for halted in [&mut stays, &mut goes] {
            assert!(Pin::new(halted).poll(&mut Context::from_waker(&waker)).is_pending());
        }
        drop(goes);
        halt.raise(cause("first"));
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
    }
}
