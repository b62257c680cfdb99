//! The write-ahead log: frames in segments, one committer, three cursors.
//!
//! An appender gets its place in the order under the lock of the staging buffer and leaves its
//! bytes there. The committer takes whatever has gathered, writes it in one call, syncs once and
//! moves the cursors: appended >= written >= durable, each only forward.
//!
//! What holds after a crash: of the frames that were handed out, a prefix is there, at least as
//! long as `durable` was. A failed write or sync raises [`Halt`]; from then on no cursor moves.
//!
//! Not here: what a frame means (`engine`), its layout (`format`).

mod blocks;
pub mod committer;
pub mod prefix;
pub mod preparer;
pub mod recover;
pub mod scan;
pub mod segment;
pub mod settle;
pub mod staging;

use std::{path::PathBuf, sync::Arc, task::Waker, time::Duration};

use crate::{
    clock::{Clock, UnixMillis},
    error::{Error, ErrorKind, Result},
    format::{
        checksum::Salt,
        frame::{self, Kind},
        manifest::CleanStop,
        payload::TermStart,
    },
    halt::Halt,
    lsn::{LogPosition, Lsn},
    settings::{Fsync, Level},
    sync::{AtomicU64, Mutex, Ordering},
    vfs::Vfs,
    wal::{
        committer::{Committer, OnDisk},
        preparer::Preparer,
        settle::Active,
        staging::{Body, Permit, SPARES_SET_ASIDE, Staging, Urgency},
    },
    watermark::Watermark,
};

/// What a log is made of: where it is, whose it is, and how it syncs.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file system.
    pub vfs: Arc<dyn Vfs>,
    /// For measuring syncs.
    pub clock: Arc<dyn Clock>,
    /// The data directory; segments are in its `wal/`.
    pub data_dir: PathBuf,
    /// Which data set.
    pub dataset_id: [u8; 16],
    /// Seed of the frame checksums.
    pub salt: Salt,
    /// This run.
    pub run_id: [u8; 16],
    /// When writes are acknowledged.
    pub fsync: Fsync,
    /// Time between syncs in `interval` mode.
    pub fsync_interval: Duration,
    /// Size of a segment.
    pub segment_bytes: u64,
    /// Bytes that may wait for the committer.
    pub staging_bytes: u64,
    /// No threads: who waits drives the steps.
    pub manual: bool,
}

/// Where the log continues: what recovery found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tail {
    /// The last replicated index, 0 for none.
    pub index: u64,
    /// Its header checksum, 0 for none.
    pub crc: u32,
    /// Its term, 0 for none.
    pub term: u32,
    /// Its time.
    pub ts: UnixMillis,
    /// Where the last segment ends exactly; the default if there is none.
    pub end: LogPosition,
}

/// The log of one run.
#[derive(Debug)]
pub struct Wal {
    pub(crate) config: Config,
    staging: Staging,
    committer: Mutex<Committer>,
    preparer: Preparer,
    shared: Arc<Shared>,
}

/// What committer, syncer and waiters share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub halt: Halt,
    pub written: Watermark,
    pub durable: Watermark,
    pub on_disk: OnDisk,
    pub syncs: AtomicU64,
    /// What a sync takes, of late.
    pub sync_nanos: AtomicU64,
}

impl Shared {
    /// Stops the log and wakes everybody who waits for it.
    pub(crate) fn halt(&self, cause: Error) -> Error {
        let error = self.halt.raise(cause);
        self.written.wake_all();
        self.durable.wake_all();
        error
    }
}

impl Wal {
    /// Continues the log behind `tail`, in the segment where it ended if that is given and has
    /// room, else in a new one. Begins a term and syncs the `TermStart` alone. Afterwards the log
    /// takes frames and every frame up to `tail` counts as durable.
    ///
    /// # Errors
    /// `Full` or `Io` if no segment can be prepared or the first frame cannot be written: nobody was
    /// served yet, so no outcome is unknown.
    pub fn resume(
        config: Config,
        tail: Tail,
        active: Option<Active>,
        first_index: u64,
        term: u32,
        node_id: [u8; 16],
    ) -> Result<Wal> {
        assert!(
            first_index > tail.index && term > tail.term,
            "first_index={first_index} term={term} {tail:?}"
        );
        let shared = Arc::new(Shared {
            halt: Halt::default(),
            written: Watermark::new(Lsn(tail.index)),
            durable: Watermark::new(Lsn(tail.index)),
            on_disk: OnDisk::new(tail, active.as_ref()),
            syncs: AtomicU64::new(0),
            sync_nanos: AtomicU64::new(0),
        });
        let preparer = Preparer::adopt(&config)?;
        let staging = Staging::new(&config, tail, active.as_ref(), term, preparer.ready());
        let committer = Mutex::new(Committer::new(config.clone(), shared.clone(), active.as_ref()));
        let wal = Wal { config, staging, committer, preparer, shared };
        let begun = wal.begin_term(tail, first_index, node_id);
        begun.map_err(|e| wal.halt().cause().cloned().unwrap_or(e))?;
        Ok(wal)
    }

    fn begin_term(&self, tail: Tail, first_index: u64, node_id: [u8; 16]) -> Result<()> {
        let start = TermStart {
            run_id: self.config.run_id,
            node_id,
            prev_term: u64::from(tail.term),
            prev_index: tail.index,
            prev_crc: tail.crc,
        };
        let mut payload = Vec::new();
        start.encode(&mut payload);
        self.staging.skip_to(first_index);
        let frame_len = frame::disk_len(payload.len()) as u64;
        let mut permit = loop {
            match self.staging.admit(frame_len, 0, Urgency::Recovery) {
                Err(e) if e.kind() == ErrorKind::Overloaded && self.staging.spares() == 0 => {
                    self.prepare_step()?;
                }
                outcome => break outcome?,
            }
        };
        let lsn = self.staging.append(&mut permit, Kind::TermStart, Body::copied(&payload), tail.ts);
        drop(permit);
        self.drive_until(Level::Disk, lsn)
    }

    /// Room for one frame of up to `frame` bytes and, beside it, small ones of up to `extra`: to
    /// be taken before any stripe is locked, so that nothing blocks and nothing fails under a lock.
    ///
    /// # Errors
    /// `Overloaded` if the staging buffer or the prepared space is used up at the moment; `Full`
    /// if the disk has no room; `Halted`; `Closed`.
    pub fn admit(&self, frame: u64, extra: u64, urgency: Urgency) -> Result<Permit<'_>> {
        self.shared.halt.check()?;
        let mut outcome = self.staging.admit(frame, extra, urgency);
        if self.config.manual {
            // Nobody else would make room: in the buffer first, and then perhaps a segment of its own.
            for _ in 0..2 {
                match &outcome {
                    Err(e) if matches!(e.kind(), ErrorKind::Overloaded | ErrorKind::Full) => {}
                    _ => break,
                }
                self.commit_step()?;
                while self.prepare_step().unwrap_or(false) {}
                outcome = self.staging.admit(frame, extra, urgency);
            }
        }
        outcome
    }

    /// Puts a frame into the order of the log and gives its LSN. Never blocks on I/O; the bytes
    /// must be within the permit.
    pub fn append(&self, permit: &mut Permit<'_>, kind: Kind, body: Body<'_>, now: UnixMillis) -> Lsn {
        self.staging.append(permit, kind, body, now)
    }

    /// Asks the committer to bring everything up to `lsn` to `level`. Without that frames stay in the
    /// buffer for a while (some 50 ms, 100 at most): whoever waits, asks.
    pub fn ask(&self, lsn: Lsn, level: Level) {
        if self.reached(level) < lsn {
            self.staging.ask(lsn, level);
        }
    }

    /// The last LSN that was handed out.
    pub fn appended(&self) -> Lsn {
        self.staging.appended()
    }

    /// The last LSN that this level has reached.
    ///
    /// Without a log nothing is waited for: every level counts as reached.
    pub fn reached(&self, level: Level) -> Lsn {
        match level {
            _ if self.staging.discards() => Lsn(u64::MAX),
            Level::Memory => self.appended(),
            Level::Os => self.shared.written.get(),
            Level::Disk => self.shared.durable.get(),
        }
    }

    /// Leaves a waker for `lsn` to reach `level`; false if it has. After a halt all are woken.
    pub fn register(&self, level: Level, lsn: Lsn, waker: &Waker) -> bool {
        match level {
            Level::Memory => false,
            Level::Os => self.shared.written.register(lsn, waker),
            Level::Disk => self.shared.durable.register(lsn, waker),
        }
    }

    /// Leaves a waker for the next time that room is made.
    pub fn register_for_room(&self, waker: &Waker) {
        self.staging.register_for_room(waker);
    }

    /// The chain after the last appended frame: its index and header checksum.
    pub fn chain(&self) -> (Lsn, u32) {
        self.staging.chain()
    }

    /// The term of this run.
    pub fn term(&self) -> u32 {
        self.staging.term()
    }

    /// Why the log has stopped, if it has.
    pub fn halt(&self) -> &Halt {
        &self.shared.halt
    }

    /// Stops the log because of an error outside it (the MANIFEST).
    pub fn raise_halt(&self, cause: Error) -> Error {
        self.shared.halt(cause)
    }

    /// There is no log: nothing reaches a disk.
    pub(crate) fn discards(&self) -> bool {
        self.staging.discards()
    }

    /// Memory that the staging buffers hold.
    pub fn buffer_bytes(&self) -> u64 {
        self.staging.buffer_bytes()
    }

    /// Bytes of frames handed out in this run.
    pub fn log_bytes(&self) -> u64 {
        self.staging.log_bytes()
    }

    /// Syncs of this run.
    pub fn syncs(&self) -> u64 {
        self.shared.syncs.load(Ordering::Relaxed)
    }

    /// The disk could not take the last segment that was to be prepared.
    pub fn disk_full(&self) -> bool {
        self.staging.is_disk_full()
    }

    /// First index of the newest segment whose name is durable.
    pub fn active_segment(&self) -> u64 {
        self.shared.on_disk.segment()
    }

    /// Writes and syncs, in this thread, until `lsn` has reached `level`. For runs without
    /// threads, and for the end of a run.
    ///
    /// # Errors
    /// `Halted`.
    pub fn drive_until(&self, level: Level, lsn: Lsn) -> Result<()> {
        self.staging.claim(lsn, level);
        while self.reached(level) < lsn {
            let progress = self.commit_step()?;
            assert!(progress || self.reached(level) >= lsn || !self.config.manual, "nobody wrote lsn={lsn}");
        }
        Ok(())
    }

    /// Hands what has gathered to the operating system, in this thread, if that is one write and nobody
    /// is at it. True if everything up to `lsn` is there; else the committer is to be asked.
    ///
    /// # Errors
    /// `Halted`.
    pub fn write_here(&self, lsn: Lsn) -> Result<bool> {
        if self.reached(Level::Os) < lsn
            && let Ok(mut committer) = self.committer.try_lock()
        {
            if committer.window_is_full() || self.staging.is_more_than_a_write() {
                return Ok(false);
            }
            self.step(&mut committer)?;
        }
        Ok(self.reached(Level::Os) >= lsn)
    }

    /// About how long a sync takes, of late; zero before the first.
    pub fn sync_time(&self) -> Duration {
        Duration::from_nanos(self.shared.sync_nanos.load(Ordering::Relaxed))
    }

    /// One turn of the committer: takes what has gathered, if anything, writes it, and syncs if
    /// somebody asked. True if there was something to do.
    ///
    /// # Errors
    /// `Halted`.
    pub fn commit_step(&self) -> Result<bool> {
        self.step(&mut self.committer.lock().expect("the committer does not panic"))
    }

    fn step(&self, committer: &mut Committer) -> Result<bool> {
        // Asked under the lock: who had it before may have failed, and nothing is tried after that.
        let runs = self.shared.halt.check();
        let outcome = runs.and_then(|()| committer.step(&self.staging, &self.preparer));
        // After a halt nobody will make room any more.
        outcome.inspect_err(|_| self.staging.wake_for_room())
    }

    /// Waits until there is something to commit, gathers, and commits it. False at the end.
    ///
    /// # Errors
    /// `Halted`.
    pub(crate) fn commit_turn(&self) -> Result<bool> {
        let gather = self.committer.lock().expect("the committer does not panic").gather();
        match self.staging.wait_for_work(gather) {
            staging::Work::Group => self.commit_step().map(|_| true),
            staging::Work::Idle => self.idle_step().map(|_| true),
            staging::Work::Stop => Ok(false),
        }
    }

    /// Vouches for the last group: one more Mark, synced, once everything before it is durable.
    /// Without it a rotten last group would look like a torn one.
    ///
    /// # Errors
    /// `Halted`.
    pub fn idle_step(&self) -> Result<()> {
        match self.config.fsync {
            Fsync::Never | Fsync::Off => return Ok(()),
            // Writes that asked for less than the mode gives have waited long enough.
            Fsync::Always => self.sync_step()?,
            // Its own thread syncs, by the clock.
            Fsync::Interval => {}
        }
        if self.reached(Level::Disk) < self.reached(Level::Os) {
            return Ok(());
        }
        if self.staging.append_mark() {
            self.commit_step()?;
        }
        Ok(())
    }

    /// One sync of what was written before it began; what `interval` mode does by the clock.
    ///
    /// # Errors
    /// `Halted`.
    pub fn sync_step(&self) -> Result<()> {
        self.shared.halt.check()?;
        self.shared.on_disk.sync(&self.shared)
    }

    /// Bytes that the operating system has and the disk may not have.
    pub fn unsynced_bytes(&self) -> u64 {
        self.shared.on_disk.unsynced_bytes()
    }

    /// Prepares one segment if one is missing. True if there is more to prepare.
    ///
    /// # Errors
    /// `Full` or `Io`: nothing was harmed, try again later.
    pub fn prepare_step(&self) -> Result<bool> {
        if self.staging.discards() {
            return Ok(false);
        }
        self.preparer.step(&self.config, &self.staging)
    }

    /// Refuses frames from now on.
    pub(crate) fn close(&self) {
        self.staging.close();
    }

    /// Ends the committer's loop.
    pub(crate) fn stop(&self) {
        self.staging.stop();
    }

    /// After `close`: writes and syncs the rest and seals the segment. The log ends exactly where
    /// the answer says.
    ///
    /// `None`: everything is on the disk and nothing was sealed, because the disk is full. Sealing
    /// would give away the rest of the segment, where the next start finds room for its first
    /// frame; so to that start this stop is as any other.
    ///
    /// # Errors
    /// `Halted`.
    pub fn seal(&self) -> Result<Option<CleanStop>> {
        while self.commit_step()? {}
        // The next start takes one, and the one after it needs one too.
        while self.staging.spares() < SPARES_SET_ASIDE {
            if let Err(e) = self.prepare_step() {
                tracing::warn!(error = %e, why = e.why(), "the stop is not marked as clean");
                self.sync_step()?;
                return Ok(None);
            }
        }
        let mut committer = self.committer.lock().expect("the committer does not panic");
        let end = self.staging.position();
        committer.seal(end)?;
        let (last_index, last_crc) = self.staging.chain();
        Ok(Some(CleanStop { segment: end.segment, end: end.offset, last_index: last_index.0, last_crc }))
    }
}
