//! Waiting for the log, once for all connections of a thread.
//!
//! Connections that have run their batches join; when everybody who was ready has, the thread's
//! settler waits for all of them at once. Where nobody can be kept waiting by it the settler writes
//! and syncs by itself, which saves two changes of threads; else the log's own thread does, and this
//! one goes on serving.
//!
//! Not here: what the replies rest on, and what becomes of them (`connection`).

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    task::{Poll, Waker},
    time::Duration,
};

use tokio::time::Instant;

use crate::node::{Node, error::Result, rests::Rests};

/// A thread whose connections have read nothing for so long serves writers only.
const NO_READS_FOR: Duration = Duration::from_secs(1);

/// The connections of one thread that wait.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// Connections of the thread, waiting or not.
    pub(super) active: Cell<usize>,
    waiting: RefCell<Waiting>,
    last_read: Cell<Option<Instant>>,
}

#[derive(Debug, Default)]
struct Waiting {
    rests: Rests,
    wakers: Vec<Waker>,
    settler: Option<Waker>,
}

impl Turn {
    /// Waits until what the replies rest on is safe.
    ///
    /// # Errors
    /// `OutcomeUnknown`: the log has stopped.
    pub(super) async fn settle(&self, node: &Node, rests: Rests) -> Result<()> {
        if rests.has_read() {
            self.last_read.set(Some(Instant::now()));
        }
        while !node.is_settled(rests) {
            self.join(rests).await;
        }
        node.settle(rests).await
    }

    /// Waits until the settler has waited for these.
    async fn join(&self, rests: Rests) {
        let mut has_joined = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut has_joined, true) {
                return Poll::Ready(());
            }
            let mut waiting = self.waiting.borrow_mut();
            waiting.rests.and(rests);
            waiting.wakers.push(cx.waker().clone());
            if let Some(settler) = waiting.settler.take() {
                settler.wake();
            }
            Poll::Pending
        })
        .await;
    }

    /// The thread's settler. It ends with the thread.
    pub(super) async fn run(&self, node: &Node) {
        loop {
            let Waiting { rests, wakers, .. } = self.next().await;
            // If it fails the connections learn that by themselves.
            let is_settled = node.settle_here(rests, self.may_block(node)).is_ok_and(|settled| settled);
            if !is_settled {
                node.settle(rests).await.ok();
            }
            wakers.into_iter().for_each(Waker::wake);
        }
    }

    /// Everybody who has joined, once somebody has.
    async fn next(&self) -> Waiting {
        poll_fn(|cx| {
            let mut waiting = self.waiting.borrow_mut();
            if waiting.wakers.is_empty() {
                waiting.settler = Some(cx.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready(std::mem::take(&mut *waiting))
        })
        .await
    }

    /// Whether this thread may wait for the disk: its connections wait all the same, unless one of them
    /// reads, and reads do not wait for the writes of others.
    fn may_block(&self, node: &Node) -> bool {
        let reads = self.last_read.get().is_some_and(|last| last.elapsed() < NO_READS_FOR);
        self.active.get() == 1 || !reads && node.syncs_are_short()
    }
}
