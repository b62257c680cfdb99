//! A number that only grows, and those who wait for it.
//!
//! One [`advance`](Watermark::advance) wakes everybody whom it concerns. Waiters bring a
//! [`Waker`], so that threads and tasks wait in the same way.

use std::task::Waker;

use crate::{
    lsn::Lsn,
    sync::{AtomicU64, Mutex, Ordering},
};

/// A cursor of the log: how far something has come.
#[derive(Debug)]
pub struct Watermark {
    reached: AtomicU64,
    waiting: Mutex<Vec<(Lsn, Waker)>>,
}

impl Watermark {
    /// Starts at `reached`.
    pub fn new(reached: Lsn) -> Self {
        Watermark { reached: AtomicU64::new(reached.0), waiting: Mutex::new(Vec::new()) }
    }

    /// How far it has come. What was done before the matching `advance` is visible to the caller.
    pub fn get(&self) -> Lsn {
        Lsn(self.reached.load(Ordering::Acquire))
    }

    /// Moves to `lsn`, unless it is there already, and wakes those who waited for it.
    pub fn advance(&self, lsn: Lsn) {
        let before = self.reached.fetch_max(lsn.0, Ordering::AcqRel);
        if before < lsn.0 {
            self.wake_where(|wanted| wanted <= lsn);
        }
    }

    /// Leaves `waker` to be woken when `lsn` is reached. False if it is reached already: then
    /// nothing was left.
    pub fn register(&self, lsn: Lsn, waker: &Waker) -> bool {
        let mut waiting = self.waiting.lock().expect("no panic while waiting");
        // Asked again under the lock: an `advance` after this point finds the waker in the list.
        if self.get() >= lsn {
            return false;
        }
        waiting.push((lsn, waker.clone()));
        true
    }

    /// Wakes everybody, because what they wait for may never come.
    pub fn wake_all(&self) {
        self.wake_where(|_| true);
    }

    fn wake_where(&self, concerned: impl Fn(Lsn) -> bool) {
        let woken: Vec<(Lsn, Waker)> = {
            let mut waiting = self.waiting.lock().expect("no panic while waiting");
            if waiting.iter().all(|(lsn, _)| concerned(*lsn)) {
                std::mem::take(&mut waiting)
            } else {
                waiting.extract_if(.., |(lsn, _)| concerned(*lsn)).collect()
            }
        };
        // Outside the lock: a waker may run anything.
        for (_, waker) in woken {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl std::task::Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn advancing_wakes_those_it_concerns_and_no_others() {
        let mark = Watermark::new(Lsn(5));
        let (near, far) = (Arc::new(Count::default()), Arc::new(Count::default()));
        assert!(!mark.register(Lsn(5), &near.clone().into()));
        assert!(mark.register(Lsn(7), &near.clone().into()));
        assert!(mark.register(Lsn(9), &far.clone().into()));
        mark.advance(Lsn(8));
        assert_eq!((near.0.load(Ordering::SeqCst), far.0.load(Ordering::SeqCst)), (1, 0));
        mark.wake_all();
        assert_eq!(far.0.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn it_never_goes_back() {
        let mark = Watermark::new(Lsn(5));
        mark.advance(Lsn(3));
        assert_eq!(mark.get(), Lsn(5));
    }
}
