//! Answers that must not leave before the log has reached a point.
//!
//! Every answer of the engine rests on a place in the log: the frame that a write appended, or
//! the one that wrote (or removed) what a read saw. A [`Commit`] or [`Gate`] holds the answer
//! until that place is safe enough. It can be waited for by a thread or awaited by a task of any
//! runtime. Dropping it changes nothing: the op is in the order of the log already.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
};

use crate::{error::Result, lsn::Lsn, settings::Level, sync::thread, wal::Wal};

/// Waits for the log to reach a place at a level.
#[derive(Debug)]
pub(crate) struct Ticket {
    wal: Arc<Wal>,
    level: Level,
    lsn: Lsn,
    left: Option<Waker>,
    /// Nobody has asked the committer yet, and it must be.
    owes: bool,
}

impl Ticket {
    pub(crate) fn new(wal: Arc<Wal>, level: Level, lsn: Lsn) -> Ticket {
        Ticket { wal, level, lsn, left: None, owes: true }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if self.wal.reached(self.level) >= self.lsn {
            return Poll::Ready(Ok(()));
        }
        self.wal.halt().check()?;
        let waiting = self.left.as_ref().is_some_and(|left| left.will_wake(cx.waker()));
        if !waiting {
            if !self.wal.register(self.level, self.lsn, cx.waker()) {
                return Poll::Ready(Ok(()));
            }
            self.left = Some(cx.waker().clone());
            self.ask();
            // A halt between the check above and this line has woken nobody here.
            self.wal.halt().check()?;
        }
        Poll::Pending
    }

    /// Asks the committer, once.
    fn ask(&mut self) {
        if std::mem::take(&mut self.owes) {
            // What may be told from memory is handed to the operating system all the same, and soon.
            let level = if self.level == Level::Memory { Level::Os } else { self.level };
            self.wal.ask(self.lsn, level);
        }
    }

    /// Blocks this thread until the place is reached.
    pub(crate) fn wait(mut self) -> Result<()> {
        if self.wal.config.manual {
            return self.wal.drive_until(self.level, self.lsn);
        }
        block_on(|cx| self.poll(cx))
    }
}

/// Nobody waits, but what was done is to reach its level all the same.
impl Drop for Ticket {
    fn drop(&mut self) {
        self.ask();
    }
}

/// Polls in this thread until ready.
pub(crate) fn block_on<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
    struct Unpark(thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut cx = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(value) = poll(&mut cx) {
            return value;
        }
        thread::park();
    }
}

/// The outcome of a write, and how safe it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed<T> {
    /// What the write did.
    pub outcome: T,
    /// The frame that it wrote, which is the entry's version; of a write that changed nothing,
    /// the frame that its outcome rests on.
    pub lsn: Lsn,
    /// The term of this run of the log.
    pub term: u64,
    /// How far that frame has come; at least what was asked for.
    pub level: Level,
}

/// A write that is in the order of the log and in the index, and not yet acknowledged.
///
/// Resolves when its level is reached. An error means that the outcome is unknown: the log has
/// stopped, and a restart will find the write or not.
#[derive(Debug)]
#[must_use = "a write is acknowledged only when its commit resolves"]
pub struct Commit<T> {
    outcome: Option<T>,
    ticket: Ticket,
}

impl<T> Commit<T> {
    pub(crate) fn new(outcome: T, ticket: Ticket) -> Commit<T> {
        Commit { outcome: Some(outcome), ticket }
    }

    /// The frame that the outcome rests on.
    pub fn lsn(&self) -> Lsn {
        self.ticket.lsn
    }

    /// The term of this run of the log.
    pub fn term(&self) -> u64 {
        u64::from(self.ticket.wal.term())
    }

    /// The outcome, and what must have reached which level before anybody may be told of it. For
    /// callers that wait once for many writes, with [`Engine::reached`](crate::Engine::reached) or
    /// [`Engine::commit_here`](crate::Engine::commit_here): until they do, nobody commits in a hurry.
    pub fn into_parts(mut self) -> (T, Lsn, Level) {
        let outcome = self.outcome.take().expect("not polled to the end before");
        self.ticket.owes = false;
        (outcome, self.ticket.lsn, self.ticket.level)
    }

    /// Blocks this thread until the level is reached.
    ///
    /// # Errors
    /// `Halted`: the outcome is unknown.
    pub fn wait(mut self) -> Result<Committed<T>> {
        let outcome = self.outcome.take().expect("not polled to the end before");
        let (lsn, wal) = (self.ticket.lsn, self.ticket.wal.clone());
        self.ticket.wait()?;
        Ok(committed(outcome, lsn, &wal))
    }
}

impl<T: Unpin> Future for Commit<T> {
    type Output = Result<Committed<T>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.ticket.poll(cx).map(|reached| {
            reached?;
            let outcome = self.outcome.take().expect("not polled after it was ready");
            Ok(committed(outcome, self.ticket.lsn, &self.ticket.wal))
        })
    }
}

fn committed<T>(outcome: T, lsn: Lsn, wal: &Wal) -> Committed<T> {
    let levels = if wal.discards() { &[][..] } else { &[Level::Disk, Level::Os] };
    let level = levels.iter().copied().find(|level| wal.reached(*level) >= lsn);
    Committed { outcome, lsn, term: u64::from(wal.term()), level: level.unwrap_or(Level::Memory) }
}

/// What a read saw. Mostly ready at once; in `always` mode it waits for the disk if it saw
/// something that a power cut could still take back.
#[derive(Debug)]
#[must_use = "a read gives its answer when its gate opens"]
pub struct Gate<T> {
    seen: Option<T>,
    ticket: Option<Ticket>,
}

impl<T> Gate<T> {
    pub(crate) fn open(seen: T) -> Gate<T> {
        Gate { seen: Some(seen), ticket: None }
    }

    pub(crate) fn closed(seen: T, ticket: Ticket) -> Gate<T> {
        Gate { seen: Some(seen), ticket: Some(ticket) }
    }

    /// What was seen, and what must be on the disk before anybody may be told of it, if anything.
    pub fn into_parts(mut self) -> (T, Option<Lsn>) {
        let seen = self.seen.take().expect("not polled to the end before");
        let lsn = self.ticket.take().map(|mut ticket| {
            ticket.owes = false;
            ticket.lsn
        });
        (seen, lsn)
    }

    /// Blocks this thread until the answer may leave.
    ///
    /// # Errors
    /// `Halted`: the log stopped before what was seen was durable.
    pub fn wait(mut self) -> Result<T> {
        if let Some(ticket) = self.ticket.take() {
            ticket.wait()?;
        }
        Ok(self.seen.take().expect("not polled to the end before"))
    }
}

impl<T: Unpin> Future for Gate<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let opened = self.ticket.as_mut().map_or(Poll::Ready(Ok(())), |ticket| ticket.poll(cx));
        opened.map(|opened| {
            opened?;
            Ok(self.seen.take().expect("not polled after it was ready"))
        })
    }
}
