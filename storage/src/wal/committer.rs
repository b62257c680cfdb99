//! Group commit: many writers, one sync.
//!
//! Each turn takes whatever has gathered in the staging buffer, writes it in one call, moves
//! `written`, syncs once if anybody waits for the disk, and moves `durable`. While the sync runs
//! the next group gathers, so groups grow with the load.
//!
//! After a crash a group is whole or its torn part is cut by `recover`; nobody was told that it
//! was durable. A failed write or sync raises [`Halt`](crate::halt::Halt).
//!
//! In `interval` mode somebody else calls `OnDisk::sync` by the clock, while this goes on
//! writing; the window that a power cut may lose is enforced here, before the acknowledgement.

use std::{io::IoSlice, sync::Arc, time::Duration};

use crate::{
    error::{Error, Result},
    format::{file_name, segment::SegmentHeader},
    lsn::{LogPosition, Lsn},
    settings::Fsync,
    sync::{Mutex, MutexGuard, Ordering},
    vfs::File,
    wal::{
        Config, Shared, Tail,
        blocks::Blocks,
        preparer::Preparer,
        segment,
        settle::Active,
        staging::{Gather, Part, Staging},
    },
};

/// A group gathers for at most this share of a sync (docs/decisions/0001-gather.md) …
const GATHER_SHARE: u32 = 4;
/// … and never longer than this.
const GATHER_MAX: Duration = Duration::from_micros(500);
/// Un-synced bytes at which `interval` mode syncs before it acknowledges more.
const UNSYNCED_BYTES_MAX: u64 = 64 << 20;

/// What the operating system has, and what the disk has.
#[derive(Debug)]
pub(crate) struct OnDisk {
    state: Mutex<OnDiskState>,
    /// Held while a sync runs and until its outcome is known to all: see [`turn`](OnDisk::turn).
    turn: Mutex<()>,
}

#[derive(Debug)]
struct OnDiskState {
    file: Option<Arc<dyn File>>,
    written: Lsn,
    written_to: LogPosition,
    durable_to: LogPosition,
    unsynced_bytes: u64,
    /// When the first acknowledged byte was written that no finished or running sync covers …
    oldest: Option<Duration>,
    /// … and the first one that the running sync covers.
    oldest_in_sync: Option<Duration>,
}

impl OnDisk {
    /// The log ends at `tail`, in `active` if it goes on there.
    pub(crate) fn new(tail: Tail, active: Option<&Active>) -> OnDisk {
        let state = OnDiskState {
            file: active.map(|active| active.file.clone()),
            written: Lsn(tail.index),
            written_to: tail.end,
            durable_to: tail.end,
            unsynced_bytes: 0,
            oldest: None,
            oldest_in_sync: None,
        };
        OnDisk { state: Mutex::new(state), turn: Mutex::new(()) }
    }

    fn lock(&self) -> MutexGuard<'_, OnDiskState> {
        self.state.lock().expect("nothing panics under this lock")
    }

    /// The right to sync. One at a time, and none after a failed one: the system reports a failure
    /// to one caller only, so a sync beside it or behind it may succeed without the data being there.
    fn turn(&self, shared: &Shared) -> Result<MutexGuard<'_, ()>> {
        let turn = self.turn.lock().expect("nothing panics while it syncs");
        shared.halt.check()?;
        Ok(turn)
    }

    /// First index of the segment that is written to; its name is durable.
    pub(crate) fn segment(&self) -> u64 {
        self.lock().written_to.segment
    }

    /// Un-synced bytes that are in the hands of the operating system.
    pub(crate) fn unsynced_bytes(&self) -> u64 {
        self.lock().unsynced_bytes
    }

    /// Syncs what was written before this call, and moves `durable` to it. The lock on the state is
    /// not held while the disk works, so that the committer can go on writing.
    pub(crate) fn sync(&self, shared: &Shared) -> Result<()> {
        let _turn = self.turn(shared)?;
        let (dirty, written, from, written_to, bytes) = {
            let mut s = self.lock();
            let dirty = s.file.clone().filter(|_| s.durable_to < s.written_to);
            if dirty.is_some() {
                s.oldest_in_sync = s.oldest.take();
            }
            (dirty, s.written, s.durable_to, s.written_to, s.unsynced_bytes)
        };
        if let Some(file) = dirty {
            file.sync_data().map_err(|e| {
                shared.halt(Error::io(at_risk("cannot sync the log", from, shared, written), e))
            })?;
            shared.syncs.fetch_add(1, Ordering::Relaxed);
            let mut s = self.lock();
            s.durable_to = written_to;
            s.unsynced_bytes -= bytes;
            s.oldest_in_sync = None;
        }
        // From here on these frames survive a power cut. Also if there was nothing to do: the sync
        // before may have covered the bytes of a group whose number was noted only after it.
        shared.written.advance(written);
        shared.durable.advance(written);
        Ok(())
    }
}

/// Writes groups, one after the other.
#[derive(Debug)]
pub(crate) struct Committer {
    config: Config,
    shared: Arc<Shared>,
    blocks: Blocks,
    want: usize,
    sync_time: Duration,
}

impl Committer {
    pub(crate) fn new(config: Config, shared: Arc<Shared>, active: Option<&Active>) -> Committer {
        let blocks = Blocks::new(active.map_or(0, |active| active.capacity));
        Committer { config, shared, blocks, want: 0, sync_time: Duration::ZERO }
    }

    /// How the next group gathers: while fewer frames wait than last time, for a quarter of the
    /// usual time of a sync.
    pub(crate) fn gather(&self) -> Gather {
        Gather { frames: self.want, at_most: (self.sync_time / GATHER_SHARE).min(GATHER_MAX) }
    }

    /// One turn. True if there was something to do.
    pub(crate) fn step(&mut self, staging: &Staging, preparer: &Preparer) -> Result<bool> {
        let Some(mut group) = staging.take() else { return Ok(false) };
        for part in &mut group.parts {
            self.write(part, group.last, staging, preparer)?;
        }
        if group.frames > 0 {
            self.want = group.frames.max(self.want - self.want / 8);
        }
        self.note_written(group.last);
        if self.window_is_full() {
            self.timed_sync()?;
        }
        // A sync that somebody else ran may have failed meanwhile.
        self.shared.halt.check()?;
        // A killed process loses nothing of this group from here on.
        self.shared.written.advance(group.last);
        if group.sync {
            self.timed_sync()?;
        }
        staging.done(group);
        Ok(true)
    }

    fn write(&mut self, part: &mut Part, last: Lsn, staging: &Staging, preparer: &Preparer) -> Result<()> {
        if let Some((header, capacity)) = part.begins.take() {
            self.rotate(&header, capacity, preparer)?;
        }
        let (file, durable_to) = {
            let s = self.shared.on_disk.lock();
            (s.file.clone().expect("the first part begins a segment or goes on in one"), s.durable_to)
        };
        let mark = staging.mark_frame(part.mark, part.at.segment, durable_to);
        part.bytes[..mark.len()].copy_from_slice(&mark);
        self.blocks.append(&*file, part.at.offset, &slices(part)).map_err(|e| {
            let what = at_risk("cannot write the log", part.at, &self.shared, last);
            self.shared.halt(Error::io(what, e))
        })?;
        let mut s = self.shared.on_disk.lock();
        s.written_to = LogPosition { offset: part.at.offset + part.len, ..part.at };
        s.unsynced_bytes += part.len;
        Ok(())
    }

    /// Seals the active segment and begins the next. Un-synced bytes never span two segments: if
    /// the power fails anywhere in here, all that is in the old one is there.
    fn rotate(&mut self, header: &SegmentHeader, capacity: u64, preparer: &Preparer) -> Result<()> {
        let old = self.shared.on_disk.lock().file.clone();
        if let Some(old) = old {
            let _turn = self.shared.on_disk.turn(&self.shared)?;
            let end = LogPosition { segment: header.prev_segment, offset: header.prev_end };
            segment::seal(&*old, end).map_err(|e| self.shared.halt(e))?;
            let mut s = self.shared.on_disk.lock();
            s.durable_to = s.written_to;
            s.written = Lsn(header.prev_index);
            s.unsynced_bytes = 0;
            s.oldest = None;
            s.oldest_in_sync = None;
            drop(s);
            self.shared.written.advance(Lsn(header.prev_index));
            self.shared.durable.advance(Lsn(header.prev_index));
        }
        let spare = preparer.take(capacity);
        let file = segment::activate(&*self.config.vfs, &self.config.data_dir, spare, header)
            .map_err(|e| self.shared.halt(e))?;
        self.blocks = Blocks::new(capacity);
        let begin = LogPosition { segment: header.first_index, offset: 0 };
        let mut s = self.shared.on_disk.lock();
        s.file = Some(file);
        s.written_to = begin;
        s.durable_to = begin;
        Ok(())
    }

    fn note_written(&self, last: Lsn) {
        let mut s = self.shared.on_disk.lock();
        s.written = last;
        if s.durable_to < s.written_to && s.oldest.is_none() {
            s.oldest = Some(self.config.clock.monotonic());
        }
    }

    /// `interval` mode: acknowledging this group without a sync would stretch what a power cut
    /// can lose beyond twice the interval.
    pub(crate) fn window_is_full(&self) -> bool {
        if self.config.fsync != Fsync::Interval {
            return false;
        }
        let s = self.shared.on_disk.lock();
        let oldest = s.oldest_in_sync.or(s.oldest);
        let age = oldest.map(|at| self.config.clock.monotonic().saturating_sub(at)).unwrap_or_default();
        age >= 2 * self.config.fsync_interval || s.unsynced_bytes >= UNSYNCED_BYTES_MAX
    }

    fn timed_sync(&mut self) -> Result<()> {
        let begin = self.config.clock.monotonic();
        self.shared.on_disk.sync(&self.shared)?;
        let took = self.config.clock.monotonic().saturating_sub(begin);
        self.sync_time = if self.sync_time.is_zero() { took } else { (self.sync_time * 7 + took) / 8 };
        self.shared.sync_nanos.store(self.sync_time.as_nanos() as u64, Ordering::Relaxed);
        Ok(())
    }

    /// Cuts the active segment to its exact length and syncs it.
    pub(crate) fn seal(&mut self, end: LogPosition) -> Result<()> {
        let file = self.shared.on_disk.lock().file.clone().expect("a started log has a segment");
        let _turn = self.shared.on_disk.turn(&self.shared)?;
        segment::seal(&*file, end).map_err(|e| self.shared.halt(e))?;
        self.shared.durable.advance(self.shared.written.get());
        Ok(())
    }
}

/// What a failed write or sync says: the file, from where on, and which frames are of unknown fate.
fn at_risk(what: &str, at: LogPosition, shared: &Shared, last: Lsn) -> String {
    let (file, first) = (file_name::segment(at.segment), shared.durable.get().0 + 1);
    format!("{what} file={file} offset={} lsns={first}..={}", at.offset, last.0.max(first))
}

/// The bytes of a part in the order of the disk, large values in their places.
fn slices(part: &Part) -> Vec<IoSlice<'_>> {
    let mut out = Vec::with_capacity(1 + 2 * part.shared.len());
    let mut from = 0;
    for (at, shared) in &part.shared {
        out.push(IoSlice::new(&part.bytes[from..*at]));
        out.push(IoSlice::new((**shared).as_ref()));
        from = *at;
    }
    out.push(IoSlice::new(&part.bytes[from..]));
    out
}
