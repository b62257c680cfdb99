//! Checkpoints: a snapshot of everything while readers and writers go on, then pruning.
//!
//! The stripes are walked one after the other in chunks, each in a lock hold of some tens of
//! microseconds; blocks are written without any lock. No fork, no copy on write: what changes
//! meanwhile is in the log, and an entry carries the LSN by which replay knows whether it is
//! newer. Memory: one block, one chunk of references, six bytes for each entry of one stripe.
//! Writing and reading back are paced, block by block (`engine::pace`).
//!
//! After a crash at any line: until the MANIFEST names the new snapshot, the old one and the
//! whole log behind it are there; afterwards the new one was verified by reading it back from the
//! disk, and the log holds at least everything that is in it.
//!
//! Not here: when a snapshot is due (`engine::restart`).

use std::{path::Path, time::Duration};

use crate::{
    clock::UnixMillis,
    engine::{Core, pace::Pace},
    error::{Error, ErrorKind, Result},
    format::{
        file_name::{self, SNAP_DIR, WAL_DIR},
        manifest::{Manifest, SegmentMeta, SnapshotMeta},
        segment::{SEGMENT_HEADER_LEN, SegmentHeader},
        snapshot::{SnapshotEntry, SnapshotHeader},
    },
    index::{slab::Slot, walk},
    lsn::Lsn,
    settings::Level,
    snapshot::{
        self,
        reader::{Expected, verify_group},
        writer::GroupWriter,
    },
    sync::{AtomicU64, Mutex, Ordering},
    vfs::{OpenMode, Vfs, read_exact_at},
};

/// Slots in one hold of a stripe's lock.
const CHUNK: usize = 256;
/// Files of a snapshot: so many threads can load it.
const GROUPS_MAX: usize = 8;

/// What a checkpoint did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointReport {
    /// Everything up to here is in the snapshot.
    pub begin: Lsn,
    /// Nothing after this is in it.
    pub end: Lsn,
    /// Entries in it.
    pub entries: u64,
    /// Its size in bytes.
    pub bytes: u64,
    /// Log segments that were deleted.
    pub pruned_segments: u64,
    /// How long it took.
    pub took: Duration,
}

/// When the last snapshot was, and that only one is taken at a time.
#[derive(Debug)]
pub(crate) struct Checkpointer {
    running: Mutex<()>,
    last: AtomicU64,
    /// When that was, in milliseconds since 1970.
    last_at: AtomicU64,
    pub(super) log_bytes_then: AtomicU64,
    pub(super) replayed_bytes: u64,
    pub(super) snapshot_bytes: AtomicU64,
}

impl Checkpointer {
    /// `replayed_bytes` of log lie behind the snapshot of the MANIFEST already, which is of `at`.
    pub(crate) fn new(manifest: &Manifest, at: UnixMillis, replayed_bytes: u64) -> Checkpointer {
        let snapshot = manifest.snapshot.as_ref();
        Checkpointer {
            running: Mutex::new(()),
            last: AtomicU64::new(snapshot.map_or(0, |s| s.begin)),
            last_at: AtomicU64::new(at.0),
            log_bytes_then: AtomicU64::new(0),
            replayed_bytes,
            snapshot_bytes: AtomicU64::new(snapshot.map_or(0, SnapshotMeta::bytes)),
        }
    }

    pub(crate) fn last(&self) -> Option<Lsn> {
        Some(Lsn(self.last.load(Ordering::Relaxed))).filter(|lsn| *lsn > Lsn::ZERO)
    }

    pub(crate) fn last_at(&self) -> Option<UnixMillis> {
        self.last().map(|_| UnixMillis(self.last_at.load(Ordering::Relaxed)))
    }
}

impl Core {
    pub(crate) fn checkpoint(&self) -> Result<CheckpointReport> {
        self.check_open()?;
        if self.wal.discards() {
            return Err(Error::invalid("this engine keeps nothing on a disk, so there are no snapshots"));
        }
        let Ok(_running) = self.checkpointer.running.try_lock() else {
            return Err(Error::new(ErrorKind::Overloaded, "a snapshot is being taken already"));
        };
        let begun = self.timeline.monotonic();
        let began_at = self.timeline.now();
        let log_bytes_then = self.wal.log_bytes();
        let (begin, begin_crc) = self.wal.chain();
        if self.checkpointer.last() == Some(begin) {
            self.checkpointer.last_at.store(began_at.0, Ordering::Relaxed);
            return self.nothing_new(begin);
        }
        let meta = match self.write_snapshot(begin.0, begin_crc) {
            Ok(meta) => meta,
            Err(e) => {
                self.discard(begin.0);
                return Err(e);
            }
        };
        if let Err(e) = self.adopt(&meta) {
            // Unless the MANIFEST itself failed: then it may name the snapshot.
            if self.wal.halt().cause().is_none() {
                self.discard(begin.0);
            }
            return Err(e);
        }
        let bytes = meta.bytes();
        self.checkpointer.last_at.store(began_at.0, Ordering::Relaxed);
        self.checkpointer.last.store(begin.0, Ordering::Relaxed);
        self.checkpointer.snapshot_bytes.store(bytes, Ordering::Relaxed);
        self.checkpointer.log_bytes_then.store(log_bytes_then, Ordering::Relaxed);
        self.counters.checkpoints.fetch_add(1, Ordering::Relaxed);
        let pruned_segments = self.prune();
        Ok(CheckpointReport {
            begin,
            end: Lsn(meta.end),
            entries: meta.entries(),
            bytes,
            pruned_segments,
            took: self.timeline.monotonic().saturating_sub(begun),
        })
    }

    fn nothing_new(&self, begin: Lsn) -> Result<CheckpointReport> {
        let store = self.manifest.lock().expect("no panic with the manifest");
        let meta = store.current().snapshot.as_ref();
        Ok(CheckpointReport {
            begin,
            end: begin,
            entries: meta.map_or(0, SnapshotMeta::entries),
            bytes: meta.map_or(0, SnapshotMeta::bytes),
            pruned_segments: 0,
            took: Duration::ZERO,
        })
    }

    /// Writes, verifies and names a snapshot. Nobody refers to it yet.
    fn write_snapshot(&self, begin: u64, begin_crc: u32) -> Result<SnapshotMeta> {
        let data_dir = &self.settings.data_dir;
        let dir = snapshot::unfinished_path(data_dir, begin);
        let failed = |e| Error::io(format!("cannot create a snapshot dir={}", dir.display()), e);
        snapshot::remove(&*self.vfs, &dir).map_err(failed)?;
        self.vfs.create_dir(&dir).map_err(failed)?;

        let stripes = self.index.stripe_count();
        let groups = stripes.min(GROUPS_MAX);
        let mut pace = Pace::new(self);
        let mut writers = Vec::with_capacity(groups);
        for group in 0..groups {
            let path = dir.join(file_name::snapshot_group(group));
            let header = SnapshotHeader {
                group: group as u16,
                dataset_id: self.wal.config.dataset_id,
                begin,
                begin_crc,
            };
            let mut writer = GroupWriter::create(&*self.vfs, &path, &header, self.wal.config.salt)?;
            for stripe in (group * stripes / groups)..((group + 1) * stripes / groups) {
                self.write_stripe(stripe, &mut writer, &mut pace)?;
            }
            pace.spent(writer.end_entries()?)?;
            writers.push(writer);
        }
        // What is in the snapshot now may be newer than what the disk has of the log. A snapshot
        // must never know more than the log does, or a crash would make up a past.
        let (end, end_crc) = self.wal.chain();
        self.wait_durable(end)?;
        let groups = writers.into_iter().map(|w| w.finish(end.0, end_crc)).collect::<Result<Vec<_>>>()?;
        let meta = SnapshotMeta { begin, begin_crc, end: end.0, end_crc, groups };
        self.verify(&dir, &meta, &mut pace)?;
        snapshot::publish(&*self.vfs, data_dir, begin)?;
        Ok(meta)
    }

    fn write_stripe(&self, number: usize, writer: &mut GroupWriter, pace: &mut Pace<'_>) -> Result<()> {
        let ranks = self.ranks(number);
        let mut from: Slot = 0;
        let mut entries: Vec<walk::SnapshotEntry> = Vec::with_capacity(CHUNK);
        loop {
            let next = self.index.lock(number).chunk(from, CHUNK, &mut entries);
            for entry in entries.drain(..) {
                let rank = ranks.get(entry.slot as usize).copied().unwrap_or(u16::MAX);
                let put = entry.blob.as_put(entry.deadline);
                let wrote = writer.push(&SnapshotEntry { lsn: entry.lsn.0, hint: entry.hint, rank, put })?;
                if wrote > 0 {
                    pace.spent(wrote)?;
                }
            }
            match next {
                Some(next) => from = next,
                None => return Ok(()),
            }
        }
    }

    /// The place of every slot in the order of eviction, scaled to 16 bits. Read in chunks while
    /// the order changes, so it is roughly right, which is enough for a warm start.
    fn ranks(&self, number: usize) -> Vec<u16> {
        let total = self.index.lock(number).len();
        let mut order: Vec<Slot> = Vec::with_capacity(total);
        while order.len() < total {
            let before = order.len();
            let from = order.last().copied();
            self.index.lock(number).walk(from, CHUNK.min(total - before), &mut order);
            if order.len() == before {
                break;
            }
        }
        let slots = order.iter().max().map_or(0, |max| *max as usize + 1);
        let mut ranks = vec![u16::MAX; slots];
        // Backwards, so that of a slot which moved meanwhile and was met twice the first place counts.
        for (place, slot) in order.iter().enumerate().rev() {
            ranks[*slot as usize] = (place * usize::from(u16::MAX) / total.max(1)) as u16;
        }
        ranks
    }

    fn wait_durable(&self, lsn: Lsn) -> Result<()> {
        super::commit::Ticket::new(self.wal.clone(), Level::Disk, lsn).wait()
    }

    /// Reads the snapshot back, past the page cache: the log that it replaces is about to go.
    fn verify(&self, dir: &Path, meta: &SnapshotMeta, pace: &mut Pace<'_>) -> Result<()> {
        for group in 0..meta.groups.len() {
            let path = dir.join(file_name::snapshot_group(group));
            let config = &self.wal.config;
            let expected =
                Expected { snapshot: meta, group, dataset_id: config.dataset_id, salt: config.salt };
            verify_group(&*self.vfs, &path, expected, &mut |bytes| pace.spent(bytes))?;
        }
        Ok(())
    }

    /// Names the snapshot and the segments that it needs in the MANIFEST.
    fn adopt(&self, meta: &SnapshotMeta) -> Result<()> {
        let mut store = self.manifest.lock().expect("no panic with the manifest");
        let mut manifest = store.current().clone();
        manifest.segments = self.segments_behind(meta.begin)?;
        manifest.snapshot = Some(meta.clone());
        manifest.clock_floor_ms = self.timeline.now().0;
        // Unknown which content a start would find: nothing may be deleted or written any more.
        store.commit(manifest).map_err(|e| self.wal.raise_halt(e))
    }

    /// Names a segment that has come into use since in the MANIFEST, so that the next start misses
    /// it if its file is gone. What could not be read now is read again in the next round.
    ///
    /// # Errors
    /// `Halted`: half a MANIFEST may have been written.
    pub(crate) fn note_rotation(&self) -> Result<()> {
        if self.wal.discards() {
            return Ok(());
        }
        let mut store = self.manifest.lock().expect("no panic with the manifest");
        let known = store.current().segments.last().map_or(0, |s| s.first_index);
        if known >= self.wal.active_segment() {
            return Ok(());
        }
        self.check_open()?;
        let mut manifest = store.current().clone();
        let begin = manifest.snapshot.as_ref().map_or(0, |s| s.begin);
        manifest.segments = match self.segments_behind(begin) {
            Ok(segments) => segments,
            Err(e) => {
                tracing::debug!(error = %e, "the newest segment is not in the MANIFEST yet");
                return Ok(());
            }
        };
        manifest.clock_floor_ms = self.timeline.now().0;
        store.commit(manifest).map_err(|e| self.wal.raise_halt(e))
    }

    /// The segments from the one that holds the first frame behind `begin`. One whose name may not
    /// be durable yet is left out: a cut could take it back, and it would be missed for nothing.
    fn segments_behind(&self, begin: u64) -> Result<Vec<SegmentMeta>> {
        let active = self.wal.active_segment();
        let mut headers = segment_headers(&*self.vfs, &self.settings.data_dir)?;
        headers.retain(|h| h.first_index <= active);
        let first = headers.iter().rposition(|h| h.prev_index <= begin).unwrap_or(0);
        let needed = &headers[first..];
        let end_of = |i: usize| needed.get(i + 1).map_or(0, |next: &SegmentHeader| next.prev_end);
        let meta =
            |(i, h): (usize, &SegmentHeader)| SegmentMeta { first_index: h.first_index, end: end_of(i) };
        Ok(needed.iter().enumerate().map(meta).collect())
    }

    /// Deletes the snapshots and segments that neither generation of the MANIFEST names. What
    /// cannot be deleted now is deleted at the next start.
    fn prune(&self) -> u64 {
        let store = self.manifest.lock().expect("no panic with the manifest");
        match prune(&*self.vfs, &self.settings.data_dir, store.current()) {
            Ok(segments) => segments,
            Err(e) => {
                tracing::warn!(error = %e, "old files stay behind until the next start");
                0
            }
        }
    }

    fn discard(&self, begin: u64) {
        for dir in [
            snapshot::unfinished_path(&self.settings.data_dir, begin),
            snapshot::path(&self.settings.data_dir, begin),
        ] {
            if let Err(e) = snapshot::remove(&*self.vfs, &dir) {
                tracing::warn!(dir = %dir.display(), error = %e, "an unfinished snapshot stays behind until the next start");
            }
        }
    }
}

fn segment_headers(vfs: &dyn Vfs, data_dir: &Path) -> Result<Vec<SegmentHeader>> {
    let dir = data_dir.join(WAL_DIR);
    let failed = |e| Error::io(format!("cannot list the log dir={}", dir.display()), e);
    let mut headers = Vec::new();
    for entry in vfs.list(&dir).map_err(failed)? {
        let Some(index) = file_name::parse_segment(&entry.name) else { continue };
        let path = dir.join(&entry.name);
        let mut bytes = vec![0; SEGMENT_HEADER_LEN];
        vfs.open(&path, OpenMode::Read)
            .and_then(|file| read_exact_at(&*file, 0, &mut bytes))
            .map_err(failed)?;
        headers.push(
            SegmentHeader::decode(&bytes)
                .map_err(|d| Error::corrupt(&path, 0, format!("log segment header: {d}")))
                .map_err(|e| e.with_lsns(index, u64::MAX))?,
        );
    }
    headers.sort_by_key(|h| h.first_index);
    Ok(headers)
}

/// Deletes what the MANIFEST does not name: older segments, other snapshots, unfinished files.
/// Both generations must have this content. Gives the number of segments.
pub(crate) fn prune(vfs: &dyn Vfs, data_dir: &Path, manifest: &Manifest) -> std::io::Result<u64> {
    let first = manifest.segments.first().map_or(0, |s| s.first_index);
    let wal = data_dir.join(WAL_DIR);
    let mut pruned = 0;
    for entry in vfs.list(&wal)? {
        let old = file_name::parse_segment(&entry.name).is_some_and(|index| index < first);
        if old || entry.name.ends_with(file_name::TMP) {
            vfs.remove_file(&wal.join(&entry.name))?;
            pruned += u64::from(old);
        }
    }
    let snap = data_dir.join(SNAP_DIR);
    let named = manifest.snapshot.as_ref().map(|s| s.begin);
    for entry in vfs.list(&snap)? {
        let ours = file_name::parse_snapshot(&entry.name);
        let other = ours.is_some() && ours != named;
        if other || entry.name.ends_with(file_name::TMP) {
            snapshot::remove(vfs, &snap.join(&entry.name))?;
        }
    }
    Ok(pruned)
}
