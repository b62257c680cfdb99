//! The engine: a map in memory that is as durable as its log.
//!
//! A write is *resolved* (its condition decided, its value final), *appended* to the log and
//! *applied* to the index in one hold of its stripe's lock, so that the order of the log is the
//! order of every key. It is *acknowledged* when its [`Commit`] resolves. A read answers through
//! a [`Gate`]: what a power cut could take back does not leave in `always` mode.
//!
//! After a crash, [`Engine::open`] finds exactly the state after some frame of the log, at least
//! as late as everything that was acknowledged or observed at the level `disk`.
//!
//! Lock order: checkpoint, the eviction policy, stripes in ascending order, staging, waiters. No
//! I/O and no waiting under a stripe or below.

mod background;
mod batch;
mod checkpoint;
mod commit;
mod expiry;
mod load;
mod open;
mod pace;
mod prepare;
mod read;
mod removal;
mod replay;
mod resolve;
mod restart;
mod room;
mod stats;
mod value;
mod write;

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use self::{
    background::Threads,
    checkpoint::Checkpointer,
    commit::{Ticket, block_on},
    removal::Removals,
    stats::Counters,
};
pub use self::{
    checkpoint::CheckpointReport,
    commit::{Commit, Committed, Gate},
    open::{Progress, RecoveryReport},
    prepare::Prepared,
    read::About,
    removal::OnRemoval,
    restart::Restart,
    stats::Stats,
    value::{
        Action, ActionOutcome, BatchOp, BatchOutcome, Condition, Cursor, DeleteOutcome, Entry, Expiry, Incr,
        IncrOutcome, PutOutcome, ScanPage, TouchOutcome, Value, Write,
    },
};
use crate::{
    clock::{Clock, SystemClock, Timeline, UnixMillis},
    error::{Error, ErrorKind, Result},
    evict::PolicyFactory,
    format::op::Key,
    halt::Halted,
    index::Index,
    lsn::Lsn,
    manifest::ManifestStore,
    settings::{Eviction, Fsync, Level, Settings},
    sync::{AtomicBool, Mutex, Ordering},
    vfs::{DirLock, Vfs, os::OsVfs},
    wal::{Wal, staging::Urgency},
};

/// Who does the work that no caller waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Background {
    /// Threads of the engine.
    Threads,
    /// Nobody: the caller drives [`Engine::step`], and whoever waits commits inline. For tests
    /// that must be repeatable.
    Manual,
}

/// What a program brings along: the seams to the world.
#[derive(Clone, Debug)]
pub struct Components {
    /// The file system.
    pub vfs: Arc<dyn Vfs>,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// Randomness. Secret: hash keys and salts come from it.
    pub seed: [u8; 32],
    /// Who does the background work.
    pub background: Background,
    /// Makes the policy that `Eviction::Custom` means. Without it that is refused.
    pub policy: Option<PolicyFactory>,
}

impl Components {
    /// The operating system: its files, its clocks, its random numbers, and threads.
    ///
    /// # Errors
    /// `Io` if the system gives no random bytes.
    pub fn os() -> Result<Components> {
        let mut seed = [0; 32];
        let got = rustix::rand::getrandom(&mut seed, rustix::rand::GetRandomFlags::empty())
            .map_err(|e| Error::io("cannot get random bytes", e.into()))?;
        // Up to 256 bytes come whole.
        assert_eq!(got, seed.len());
        Ok(Components {
            vfs: Arc::new(OsVfs),
            clock: Arc::new(SystemClock),
            seed,
            background: Background::Threads,
            policy: None,
        })
    }
}

/// An open data directory. Cheap to clone; all clones are the same engine.
///
/// ```
/// use emberkeep_storage::{Components, Engine, Settings, Write};
///
/// let dir = tempfile::tempdir()?;
/// let settings = Settings { segment_bytes: 1 << 20, ..Settings::new(dir.path().join("data")) };
/// let engine = Engine::open(settings.clone(), Components::os()?)?;
///
/// let put = engine.put("user:123", Write::new(b"John Doe"))?.wait()?;
/// assert_eq!(engine.get("user:123").wait()?.unwrap().version(), put.lsn.0);
/// engine.close()?;
///
/// // Closed or killed: what was acknowledged is there.
/// let engine = Engine::open(settings, Components::os()?)?;
/// assert_eq!(engine.get("user:123").wait()?.unwrap().value()?[..], *b"John Doe");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Engine {
    core: Arc<Core>,
    running: Arc<Running>,
}

/// Closes the engine when its last clone goes. The threads hold the core, so it cannot be the
/// core that notices.
#[derive(Debug)]
struct Running {
    core: Arc<Core>,
    threads: Threads,
}

/// What the use cases and the threads share.
pub(crate) struct Core {
    settings: Settings,
    /// The policy in force; held while it is switched.
    eviction: Mutex<Eviction>,
    vfs: Arc<dyn Vfs>,
    index: Index,
    wal: Arc<Wal>,
    timeline: Timeline,
    manifest: Mutex<ManifestStore>,
    checkpointer: Checkpointer,
    counters: Counters,
    removals: Removals,
    report: RecoveryReport,
    closed: AtomicBool,
    background: Background,
    lock: Mutex<Option<Box<dyn DirLock>>>,
}

impl Engine {
    /// Opens the data directory, creating it if there is none, and recovers what is in it.
    ///
    /// # Errors
    /// `Invalid` settings; `Locked` by another process; `Unsupported` if the directory is of a
    /// newer version or of another program; `Corrupt` if durable data is damaged; `Io` or `Full`.
    /// Whatever the error, nothing that was in the directory is lost.
    pub fn open(settings: Settings, components: Components) -> Result<Engine> {
        Self::open_with(settings, components, &|_| {})
    }

    /// As [`open`](Self::open), telling how far recovery has come.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(
        settings: Settings,
        components: Components,
        progress: &dyn Fn(Progress),
    ) -> Result<Engine> {
        let core = Arc::new(open::open(settings, components, progress)?);
        let threads = Threads::start(&core)?;
        let running = Arc::new(Running { core: core.clone(), threads });
        Ok(Engine { core, running })
    }

    /// What opening has found.
    pub fn recovery(&self) -> &RecoveryReport {
        &self.core.report
    }

    /// The eviction policy in force: that of the settings, or the last that was switched to.
    pub fn eviction(&self) -> Eviction {
        *self.core.eviction.lock().expect("no panic while the policy is switched")
    }

    /// Switches to another eviction policy, until the engine is closed. Nothing is lost: the order
    /// of who leaves is carried over, what the old policy knew besides is not. One stripe after the
    /// other is locked for some 0.1 us per entry in it.
    ///
    /// # Errors
    /// `Invalid` for `Custom` if the components brought no policy.
    pub fn set_eviction(&self, eviction: Eviction) -> Result<()> {
        open::check_policy(eviction, self.core.index.has_custom())?;
        let mut current = self.core.eviction.lock().expect("no panic while the policy is switched");
        if *current != eviction {
            self.core.index.set_eviction(eviction);
            *current = eviction;
        }
        Ok(())
    }

    /// The settings that it was opened with.
    pub fn settings(&self) -> &Settings {
        &self.core.settings
    }

    /// The engine's time: that of the wall clock at its start, going on steadily.
    pub fn now(&self) -> UnixMillis {
        self.core.timeline.now()
    }

    /// Resolves when there is room for a write of this many bytes of key and value, after a write
    /// was refused as overloaded.
    pub fn ready(&self, bytes: usize) -> Ready {
        Ready { core: self.core.clone(), bytes: bytes as u64 }
    }

    /// Resolves when everything that was appended before this call is on the disk.
    pub fn sync(&self) -> Gate<()> {
        let lsn = self.core.wal.appended();
        Gate::closed((), Ticket::new(self.core.wal.clone(), Level::Disk, lsn))
    }

    /// Resolves when everything up to `lsn` has reached `level`: then all outcomes that rest on it may
    /// be told.
    pub fn reached(&self, lsn: Lsn, level: Level) -> Gate<()> {
        if self.core.wal.reached(level) >= lsn {
            return Gate::open(());
        }
        Gate::closed((), Ticket::new(self.core.wal.clone(), level, lsn))
    }

    /// Whether [`reached`](Self::reached) would be ready at once, with an error or without.
    pub fn has_reached(&self, lsn: Lsn, level: Level) -> bool {
        self.core.wal.reached(level) >= lsn || self.core.wal.halt().cause().is_some()
    }

    /// Writes and syncs in this thread what waits, until everything up to `lsn` is on the disk. Saves
    /// two changes of threads, for a caller that has nothing else to do meanwhile.
    ///
    /// # Errors
    /// `Halted`: the outcome of what waits is unknown.
    pub fn commit_here(&self, lsn: Lsn) -> Result<()> {
        self.core.wal.drive_until(Level::Disk, lsn)
    }

    /// Hands what waits to the operating system, in this thread, if that takes one write, no sync, and
    /// nobody is at it. True if everything up to `lsn` is there: then a killed process does not lose it.
    ///
    /// # Errors
    /// `Halted`: the outcome of what waits is unknown.
    pub fn write_here(&self, lsn: Lsn) -> Result<bool> {
        self.core.wal.write_here(lsn)
    }

    /// About how long a sync takes, of late; zero before the first.
    pub fn sync_time(&self) -> Duration {
        self.core.wal.sync_time()
    }

    /// Takes a snapshot and prunes the log behind it. Blocks this thread, no reader and no writer.
    ///
    /// # Errors
    /// `Overloaded` if one is being taken; `Full`, `Io` or `Corrupt` (read-back failed): the
    /// snapshot is thrown away, the old one and the log stay. `Halted`, `Closed`.
    pub fn checkpoint(&self) -> Result<CheckpointReport> {
        self.core.checkpoint()
    }

    /// As [`checkpoint`](Self::checkpoint), but only if one is due; else `None`. What a thread of
    /// the engine does twice a second; with [`Background::Manual`] the caller.
    ///
    /// # Errors
    /// As [`checkpoint`](Self::checkpoint).
    pub fn checkpoint_if_due(&self) -> Result<Option<CheckpointReport>> {
        self.core.checkpoint_if_due()
    }

    /// What a restart would read if the process ended now, and about how long that would take.
    pub fn restart(&self) -> Restart {
        self.core.restart()
    }

    /// Resolves with the cause when the log stops for good: a write or a sync of it has failed.
    /// From then on writes are refused and what was durable can still be read; only opening the
    /// directory again brings writes back.
    pub fn halted(&self) -> Halted {
        self.core.wal.halt().raised()
    }

    /// Whom to tell of entries that expire or are evicted, from now on; `None`: nobody, as after opening.
    pub fn on_removal(&self, listener: Option<OnRemoval>) {
        self.core.removals.set(listener);
    }

    /// Numbers about the engine, each read by itself.
    pub fn stats(&self) -> Stats {
        self.core.stats()
    }

    /// One round of background work in this thread: commits, prepares a segment, removes expired
    /// entries. With [`Background::Manual`] this is what makes time pass.
    ///
    /// # Errors
    /// `Halted`. A segment that cannot be prepared is not an error here: writes will say so.
    pub fn step(&self) -> Result<()> {
        self.core.wal.commit_step()?;
        if let Err(e) = self.core.wal.prepare_step() {
            tracing::debug!(error = %e, "no segment prepared");
        }
        self.core.expire_step()?;
        self.core.wal.commit_step()?;
        self.core.note_rotation()
    }

    /// What a pause of writes brings about: everything is synced, and a Mark vouches for it.
    ///
    /// # Errors
    /// `Halted`.
    pub fn idle(&self) -> Result<()> {
        self.core.wal.sync_step()?;
        self.core.wal.idle_step()?;
        self.core.note_rotation()
    }

    /// Ends the engine: refuses writes, syncs the log, seals it, and marks the stop as clean (not
    /// on a full disk: there the rest of the last segment is kept for the next start).
    /// Afterwards the directory can be opened again. Does nothing the second time.
    ///
    /// # Errors
    /// `Halted` if the log stopped before: the stop is not clean, the next start recovers.
    pub fn close(&self) -> Result<()> {
        self.core.close(&self.running.threads)
    }

    /// Asserts that the index is sound (I13): every entry in exactly one queue, every deadline with
    /// one timer, sums equal to a recount. Walks all entries, one stripe at a time.
    ///
    /// # Panics
    /// If it is not.
    pub fn check(&self) {
        for stripe in 0..self.core.index.stripe_count() {
            self.core.index.lock(stripe).check();
        }
    }
}

/// Without what is secret: salts and hash keys.
impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core")
            .field("settings", &self.settings)
            .field("report", &self.report)
            .finish_non_exhaustive()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Err(e) = self.core.close(&self.threads) {
            tracing::warn!(error = %e, "the engine was not closed cleanly");
        }
    }
}

impl Core {
    fn close(&self, threads: &Threads) -> Result<()> {
        if self.closed.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        self.wal.close();
        threads.stop(&self.wal);
        let outcome = self.close_cleanly();
        // Only now may somebody else open the directory.
        self.lock.lock().expect("no panic with the lock").take();
        outcome
    }

    fn close_cleanly(&self) -> Result<()> {
        self.wal.halt().check()?;
        if self.wal.discards() {
            return Ok(());
        }
        let Some(end) = self.wal.seal()? else { return Ok(()) };
        let mut store = self.manifest.lock().expect("no panic with the manifest");
        let mut manifest = store.current().clone();
        manifest.clock_floor_ms = self.timeline.now().0;
        let known = manifest.segments.iter_mut().find(|s| s.first_index == end.segment);
        if let Some(active) = known {
            active.end = end.end;
        }
        manifest.clean = Some(end);
        store.commit(manifest)
    }

    fn check_open(&self) -> Result<()> {
        self.wal.halt().check()?;
        if self.closed.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Closed, "the engine is closed"));
        }
        Ok(())
    }

    fn check_key(&self, key: Key<'_>) -> Result<()> {
        let max = self.settings.max_key_bytes;
        match key.bytes.len() {
            0 => Err(Error::invalid("the key is empty")),
            len if len > max => Err(Error::invalid(format!("the key is too long, len={len} max={max}"))),
            _ => Ok(()),
        }
    }

    /// The level at which to acknowledge.
    fn level(&self, asked: Option<Level>) -> Result<Level> {
        let usual = self.settings.fsync.level();
        match asked {
            Some(level) if level > usual && self.settings.fsync == Fsync::Off => {
                Err(Error::invalid("this engine keeps nothing on a disk, so no write can reach one"))
            }
            Some(level) if level < usual && !self.settings.allow_downgrade => {
                let what = format!(
                    "this engine acknowledges at level {usual:?} and allows no less, asked={level:?}"
                );
                Err(Error::invalid(what.to_lowercase()))
            }
            level => Ok(level.unwrap_or(usual)),
        }
    }

    /// An answer that rests on `lsn`, held back as long as a power cut could take that back.
    fn gate<T>(self: &Arc<Self>, seen: T, lsn: Lsn) -> Gate<T> {
        if lsn <= self.wal.reached(Level::Disk) {
            return Gate::open(seen);
        }
        let gated = self.settings.fsync == Fsync::Always || self.wal.halt().cause().is_some();
        if !gated {
            return Gate::open(seen);
        }
        Gate::closed(seen, Ticket::new(self.wal.clone(), Level::Disk, lsn))
    }

    /// The outcome of a write that rests on `lsn`.
    fn commit<T>(&self, outcome: T, lsn: Lsn, level: Level) -> Commit<T> {
        Commit::new(outcome, Ticket::new(self.wal.clone(), level, lsn))
    }
}

/// Resolves when there is room for a write. See [`Engine::ready`].
#[derive(Debug)]
#[must_use = "room is there only when this resolves"]
pub struct Ready {
    core: Arc<Core>,
    bytes: u64,
}

impl Ready {
    /// Blocks this thread until there is room.
    ///
    /// # Errors
    /// `Full` if the disk is; `Halted`; `Closed`.
    pub fn wait(mut self) -> Result<()> {
        block_on(|cx| Pin::new(&mut self).poll(cx))
    }

    fn try_now(&self) -> Result<bool> {
        let frame = write::frame_len_max(self.bytes);
        match self.core.wal.admit(frame, self.core.removal_allowance(), Urgency::Write) {
            Ok(_room) => Ok(true),
            Err(e) if e.kind() == ErrorKind::Overloaded => Ok(false),
            Err(e) => Err(e),
        }
    }
}

impl Future for Ready {
    type Output = Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if self.try_now()? {
            return Poll::Ready(Ok(()));
        }
        self.core.wal.register_for_room(cx.waker());
        // Room that was made before this line has woken nobody here.
        if self.try_now()? { Poll::Ready(Ok(())) } else { Poll::Pending }
    }
}
