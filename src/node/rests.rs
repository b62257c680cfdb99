//! Doing first and waiting later: for protocols whose clients send many requests at once.
//!
//! An operation here is done when the call returns, and nobody may be told of it before what it
//! rests on is safe. [`Rests`] gathers that over many operations; one [`Node::settle`] then waits
//! for all of them, so that a whole batch of a connection shares a sync.

use std::time::Duration;

use emberkeep_storage::{
    About, Commit, Condition, Cursor, Entry, Error as EngineError, Expiry, Fsync, Gate, Incr, IncrOutcome,
    Key, Level, Lsn, PutOutcome, ScanPage, Write,
};

use super::{
    Node,
    error::{Error, Result},
};

/// Syncs up to this long hold up nobody who could notice.
const SHORT_SYNC: Duration = Duration::from_millis(1);

/// What must have reached the disk, or the operating system, before replies may leave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use = "a reply may leave only when this is settled"]
pub struct Rests {
    disk: Lsn,
    os: Lsn,
    read: bool,
}

impl Rests {
    /// Both.
    pub fn and(&mut self, other: Rests) {
        self.disk = self.disk.max(other.disk);
        self.os = self.os.max(other.os);
        self.read |= other.read;
    }

    /// Whether a read is among what was done.
    pub fn has_read(self) -> bool {
        self.read
    }

    /// Up to here everything must be on the disk, whatever the mode.
    pub fn on_disk(lsn: Lsn) -> Rests {
        Rests { disk: lsn, ..Rests::default() }
    }

    /// Takes the outcome out of a commit.
    pub(super) fn of<T>(&mut self, commit: Commit<T>) -> T {
        let (outcome, lsn, level) = commit.into_parts();
        match level {
            Level::Memory => {}
            Level::Os => self.os = self.os.max(lsn),
            Level::Disk => self.disk = self.disk.max(lsn),
        }
        outcome
    }

    /// Takes what was seen out of a gate.
    pub(super) fn seen<T>(&mut self, gate: Gate<T>) -> T {
        let (seen, lsn) = gate.into_parts();
        self.disk = self.disk.max(lsn.unwrap_or_default());
        self.read = true;
        seen
    }
}

impl Node {
    /// Waits until everything that the replies rest on is safe.
    ///
    /// # Errors
    /// `OutcomeUnknown`: the log has stopped, and nothing may be told of what was done.
    pub async fn settle(&self, rests: Rests) -> Result<()> {
        self.engine.reached(rests.os, Level::Os).await.map_err(Error::from_commit)?;
        self.engine.reached(rests.disk, Level::Disk).await.map_err(Error::from_commit)
    }

    /// Whether [`Node::settle`] would return at once, with an error or without.
    pub fn is_settled(&self, rests: Rests) -> bool {
        self.engine.has_reached(rests.os, Level::Os) && self.engine.has_reached(rests.disk, Level::Disk)
    }

    /// As [`Node::settle`], in this thread, as far as that goes: it hands the log to the operating
    /// system, and syncs if it may block for that and the mode syncs each group anyway. True if
    /// everything is safe; else it is to be waited for.
    ///
    /// # Errors
    /// As [`Node::settle`].
    pub fn settle_here(&self, rests: Rests, may_block: bool) -> Result<bool> {
        let done = match self.settings().fsync {
            Fsync::Always if may_block => self.engine.commit_here(rests.disk).map(|()| true),
            Fsync::Always | Fsync::Off => Ok(false),
            Fsync::Interval | Fsync::Never => self.engine.write_here(rests.os),
        };
        Ok(done.map_err(Error::from_commit)? && self.is_settled(rests))
    }

    /// Whether a thread may sync by itself although others wait for it.
    pub fn syncs_are_short(&self) -> bool {
        self.engine.sync_time() <= SHORT_SYNC
    }

    /// Nobody is told of what was done, but it is to become safe all the same.
    pub fn let_go(&self, rests: Rests) {
        drop(self.engine.reached(rests.os, Level::Os));
        drop(self.engine.reached(rests.disk, Level::Disk));
    }

    /// Waits for room for a write of so many bytes, after one was refused as overloaded.
    ///
    /// # Errors
    /// `StorageFull`, `WalWriteFailed`, `ShuttingDown`; `Overloaded` if none comes for long.
    pub async fn room(&self, bytes: usize) -> Result<()> {
        match tokio::time::timeout(super::READY_WAIT, self.engine.ready(bytes)).await {
            Ok(room) => room.map_err(Error::from_engine)?,
            Err(_) => {
                return Err(Error::new(super::error::Code::Overloaded, "the log has had no room for long"));
            }
        }
        // What is missing may be room in the cache, which a sync brings: let it run.
        tokio::task::yield_now().await;
        Ok(())
    }

    /// Everything that was written until now, to be on the disk.
    pub fn everything(&self) -> Rests {
        Rests::on_disk(self.engine.stats().appended)
    }

    /// Reads an entry now. Whether it counts as an access is for the caller to say.
    pub fn read(&self, key: Key<'_>, counts: bool, rests: &mut Rests) -> Option<Entry> {
        rests.seen(if counts { self.engine.get(key) } else { self.engine.peek(key) })
    }

    /// Fetches the entries of keys that are about to be used.
    pub fn prefetch<'k>(&self, keys: impl IntoIterator<Item = Key<'k>>) {
        self.engine.prefetch(keys);
    }

    /// What the index says about an entry, without counting as an access.
    pub fn about(&self, key: Key<'_>) -> Option<About> {
        self.engine.about(key)
    }

    /// About `limit` entries of a namespace whose keys begin as the prefix, from `cursor` on.
    pub fn scan(&self, cursor: Cursor, prefix: Key<'_>, limit: usize, rests: &mut Rests) -> ScanPage {
        rests.seen(self.engine.scan(cursor, prefix, limit))
    }

    /// Any entry of a namespace.
    pub fn any_of(&self, namespace: u16, rests: &mut Rests) -> Option<Entry> {
        // The clock is all the randomness that this needs.
        let seed = self.clock.monotonic().as_nanos() as u64;
        rests.seen(self.engine.any_of(namespace, seed))
    }

    /// Entries of a namespace below 16; some may have expired and wait to be removed.
    ///
    /// # Errors
    /// `InvalidArgument` for another namespace.
    pub fn count(&self, namespace: u16) -> Result<u64> {
        self.engine.count(namespace).map_err(Error::from_engine)
    }

    /// Those of them that have a deadline.
    ///
    /// # Errors
    /// As [`Node::count`].
    pub fn count_timed(&self, namespace: u16) -> Result<u64> {
        self.engine.count_timed(namespace).map_err(Error::from_engine)
    }

    /// Writes a value now.
    ///
    /// # Errors
    /// Those of [`Engine::put`](emberkeep_storage::Engine::put); nothing was written then.
    pub fn write(
        &self,
        key: Key<'_>,
        value: &[u8],
        expiry: Expiry,
        condition: Condition<'_>,
        rests: &mut Rests,
    ) -> Result<PutOutcome, EngineError> {
        let write = Write { expiry, condition, ..Write::new(value) };
        Ok(rests.of(self.engine.put(key, write)?))
    }

    /// Adds to a counter now.
    ///
    /// # Errors
    /// As [`Node::write`].
    pub fn add(&self, key: Key<'_>, by: i64, rests: &mut Rests) -> Result<IncrOutcome, EngineError> {
        Ok(rests.of(self.engine.incr(key, by, Incr::default())?))
    }
}
