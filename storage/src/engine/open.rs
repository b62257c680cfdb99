//! Opening a data directory: whose is it, what is in it, and where does its log go on.
//!
//! Order, and what a crash at each point leaves: lock; MANIFEST read (nothing changed so far);
//! snapshot loaded, log replayed and judged (still nothing changed); torn tail copied to `lost/`,
//! last segment rewritten (a crash repeats it); first frame of the new term, synced; MANIFEST;
//! only then are old files deleted and requests served.
//!
//! A directory that cannot be read is never overwritten and never treated as empty.

use std::{
    hash::Hasher as _,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use siphasher::sip128::{Hasher128 as _, SipHasher13};

use crate::{
    clock::{Timeline, UnixMillis},
    engine::{
        Background, Components, Core,
        checkpoint::{self, Checkpointer},
        load::load,
        removal::Removals,
        replay::replay,
        stats::Counters,
    },
    error::{Error, ErrorKind, Result},
    format::{
        checksum::Salt,
        file_name::{self, EXPORT_DIR, LOCK, LOST_DIR, MANIFESTS, SNAP_DIR, TMP, WAL_DIR},
        manifest::{Manifest, SegmentMeta, SnapshotMeta},
    },
    index::Index,
    lsn::Lsn,
    manifest::ManifestStore,
    random::Random,
    settings::{Eviction, Settings},
    sync::{AtomicBool, Mutex},
    vfs::{DirLock, Vfs},
    wal::{
        self, Wal,
        recover::{Found, Source, recover},
    },
};

/// A clock this far behind what the log has seen is worth a warning.
const CLOCK_AHEAD_WARNING: Duration = Duration::from_secs(3600);

/// How far recovery has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Files of the snapshot that were loaded, of how many.
    Snapshot {
        /// Loaded.
        done: u64,
        /// Of how many.
        total: u64,
    },
    /// Bytes of log that were replayed, of how many.
    Log {
        /// Replayed.
        done: u64,
        /// Of how many.
        total: u64,
    },
}

/// What opening a data directory has found and done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveryReport {
    /// There was nothing: the directory was set up.
    pub created: bool,
    /// The last stop was clean.
    pub clean: bool,
    /// The term that began with this start.
    pub term: u64,
    /// The last frame that was recovered.
    pub last_lsn: Lsn,
    /// The snapshot that recovery started from.
    pub snapshot: Option<Lsn>,
    /// Entries in it.
    pub snapshot_entries: u64,
    /// Its size in bytes.
    pub snapshot_bytes: u64,
    /// How long it took to load it.
    pub snapshot_took: Duration,
    /// Frames replayed behind it.
    pub replayed_frames: u64,
    /// Bytes of log that were read.
    pub replayed_bytes: u64,
    /// How long it took to read, judge and apply the log, and to rewrite the last segment.
    pub replay_took: Duration,
    /// Bytes behind the end of the log that were cut off: what a crash has left unfinished.
    pub torn_bytes: u64,
    /// Where a copy of them is.
    pub lost_copy: Option<PathBuf>,
    /// Entries that are there now; some may have expired.
    pub items: u64,
    /// How long it took.
    pub took: Duration,
    /// How far the log's time is ahead of the system clock. Deadlines are held against the later.
    pub clock_ahead: Duration,
    /// What an operator should know.
    pub warnings: Vec<String>,
}

pub(super) fn open(settings: Settings, components: Components, progress: &dyn Fn(Progress)) -> Result<Core> {
    settings.validate()?;
    check_policy(settings.eviction, components.policy.is_some())?;
    let Components { vfs, clock, seed, background, policy } = components;
    let mut random = Random::from_seed(seed);
    let begun = clock.monotonic();
    let data_dir = &settings.data_dir;
    let lock = lock_directory(&*vfs, data_dir)?;
    let (mut store, created, mut warnings) = load_or_create(&vfs, data_dir, &mut random)?;
    let manifest = store.current().clone();

    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let index = Index::new(&settings, &hash_key(&manifest), cores, policy);
    let threads = if background == Background::Manual { 1 } else { cores };
    let source = Source { vfs: &*vfs, data_dir, manifest: &manifest };
    let snapshot_entries = load(source, &index, threads, progress)?;
    let loaded_at = clock.monotonic();
    let (found, active) = replay(&index, threads, |replay| {
        let mut found = recover(source, &mut |lsn, payload| replay.frame(lsn, payload), &|done, total| {
            progress(Progress::Log { done, total })
        })?;
        // Everything was read and judged: only from here on is anything changed. Other threads may
        // still be applying, which nothing on the disk depends on.
        make_directories(&*vfs, data_dir)?;
        let active = found.settle(&*vfs, data_dir)?;
        Ok((found, active))
    })?;
    let replayed_at = clock.monotonic();

    let floor = found.clock.max(UnixMillis(manifest.clock_floor_ms));
    let clock_ahead = floor.since(clock.wall());
    if clock_ahead > CLOCK_AHEAD_WARNING {
        let ahead = clock_ahead.as_secs();
        warnings.push(format!(
            "the log has seen a time that the system clock has not reached, ahead_secs={ahead}"
        ));
    }
    let timeline = Timeline::start(clock.clone(), floor);

    let term = u64::from(found.tail.term).max(manifest.term) + 1;
    let config = wal::Config {
        vfs: vfs.clone(),
        clock,
        data_dir: data_dir.clone(),
        dataset_id: manifest.dataset_id,
        salt: Salt(manifest.salt),
        run_id: random.next_id(),
        fsync: settings.fsync,
        fsync_interval: settings.fsync_interval,
        segment_bytes: settings.segment_bytes,
        staging_bytes: settings.staging_bytes,
        manual: background == Background::Manual,
    };
    let term32 =
        u32::try_from(term).map_err(|_| Error::new(ErrorKind::Unsupported, "all terms are used up"))?;
    let wal = Wal::resume(config, found.tail, active, found.next_index, term32, manifest.node_id)?;
    if !wal.discards() {
        record_start(&mut store, &found, term, wal.active_segment(), timeline.now())?;
        if let Err(e) = checkpoint::prune(&*vfs, data_dir, store.current()) {
            warnings.push(format!("old files stay behind: {e}"));
        }
    }

    // A log without frames: then the MANIFEST was written with the snapshot, or not much later.
    let snapshot_at = found.snapshot_at.unwrap_or(UnixMillis(manifest.clock_floor_ms));
    let report = RecoveryReport {
        created,
        clean: found.clean,
        term,
        last_lsn: Lsn(found.tail.index),
        snapshot: manifest.snapshot.as_ref().map(|s| Lsn(s.begin)),
        snapshot_entries,
        snapshot_bytes: manifest.snapshot.as_ref().map_or(0, SnapshotMeta::bytes),
        snapshot_took: loaded_at.saturating_sub(begun),
        replayed_frames: found.frames,
        replayed_bytes: found.bytes,
        replay_took: replayed_at.saturating_sub(loaded_at),
        torn_bytes: found.torn.as_ref().map_or(0, |t| t.bytes),
        lost_copy: found.torn.as_ref().and_then(|t| t.copy.clone()),
        items: index.budget().used().items,
        took: timeline.monotonic().saturating_sub(begun),
        clock_ahead,
        warnings,
    };
    Ok(Core {
        eviction: Mutex::new(settings.eviction),
        checkpointer: Checkpointer::new(store.current(), snapshot_at, found.bytes),
        settings,
        vfs,
        index,
        wal: Arc::new(wal),
        timeline,
        manifest: Mutex::new(store),
        counters: Counters::default(),
        removals: Removals::default(),
        report,
        closed: AtomicBool::new(false),
        background,
        lock: Mutex::new(Some(lock)),
    })
}

/// A custom policy is code that the program must have brought.
pub(super) fn check_policy(eviction: Eviction, has_custom: bool) -> Result<()> {
    if eviction == Eviction::Custom && !has_custom {
        return Err(Error::invalid("the eviction policy custom needs a factory in the components"));
    }
    Ok(())
}

/// Makes sure that the directory is ours and that nobody else has it open.
fn lock_directory(vfs: &dyn Vfs, data_dir: &Path) -> Result<Box<dyn DirLock>> {
    let failed =
        |what: &str, e| Error::io(format!("cannot {what} the data directory dir={}", data_dir.display()), e);
    match vfs.list(data_dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            vfs.create_dir(data_dir).map_err(|e| failed("create", e))?;
            // The name of the directory is durable only by its parent.
            let parent = data_dir.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
            vfs.sync_dir(parent).map_err(|e| failed("create", e))?;
        }
        Err(e) => return Err(failed("read", e)),
        Ok(entries) => refuse_foreign(data_dir, entries.iter().map(|e| e.name.as_str()))?,
    }
    let lock = vfs.lock(&data_dir.join(LOCK)).map_err(|e| failed("lock", e))?;
    lock.ok_or_else(|| {
        let what = format!("another process has the data directory open dir={}", data_dir.display());
        Error::new(ErrorKind::Locked, what)
    })
}

/// Without a MANIFEST, a directory that holds anything but the beginnings of a set-up is not ours
/// to write to.
fn refuse_foreign<'n>(data_dir: &Path, names: impl Iterator<Item = &'n str> + Clone) -> Result<()> {
    if names.clone().any(|name| MANIFESTS.contains(&name)) {
        return Ok(());
    }
    let ours =
        |name: &str| [LOCK, WAL_DIR, SNAP_DIR, LOST_DIR, EXPORT_DIR].contains(&name) || name.ends_with(TMP);
    match names.clone().find(|name| !ours(name)) {
        None => Ok(()),
        Some(name) => {
            let what = format!(
                "the directory is not empty and has no MANIFEST, so it belongs to something else dir={} holds={name}",
                data_dir.display()
            );
            Err(Error::new(ErrorKind::Unsupported, what))
        }
    }
}

/// The key of the hashes: secret, and the same for the life of the data set, so that the entries
/// of one stripe lie together in a snapshot.
fn hash_key(manifest: &Manifest) -> [u8; 16] {
    let mut hasher = SipHasher13::new_with_key(&manifest.dataset_id);
    hasher.write(b"hash key");
    hasher.write(&manifest.salt.to_le_bytes());
    hasher.finish128().as_bytes()
}

fn load_or_create(
    vfs: &Arc<dyn Vfs>,
    data_dir: &Path,
    random: &mut Random,
) -> Result<(ManifestStore, bool, Vec<String>)> {
    if let Some((store, wrong)) = ManifestStore::load(vfs, data_dir)? {
        let warning =
            wrong.map(|w| format!("one generation of the MANIFEST was not whole, the other is used: {w}"));
        return Ok((store, false, warning.into_iter().collect()));
    }
    refuse_orphans(&**vfs, data_dir)?;
    make_directories(&**vfs, data_dir)?;
    let manifest = Manifest {
        dataset_id: random.next_id(),
        node_id: random.next_id(),
        salt: random.next_u64(),
        ..Manifest::default()
    };
    Ok((ManifestStore::create(vfs, data_dir, manifest)?, true, Vec::new()))
}

fn make_directories(vfs: &dyn Vfs, data_dir: &Path) -> Result<()> {
    for dir in [WAL_DIR, SNAP_DIR, LOST_DIR, EXPORT_DIR] {
        match vfs.create_dir(&data_dir.join(dir)) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
                return Err(Error::io(format!("cannot create dir={}", data_dir.join(dir).display()), e));
            }
            _ => {}
        }
    }
    vfs.sync_dir(data_dir).map_err(|e| Error::io(format!("cannot sync dir={}", data_dir.display()), e))
}

/// Data without a MANIFEST is damage, not an empty directory.
fn refuse_orphans(vfs: &dyn Vfs, data_dir: &Path) -> Result<()> {
    for (dir, is_data) in [
        (WAL_DIR, (|name| file_name::parse_segment(name).is_some()) as fn(&str) -> bool),
        (SNAP_DIR, |name| file_name::parse_snapshot(name).is_some()),
    ] {
        let dir = data_dir.join(dir);
        let entries = match vfs.list(&dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            entries => entries.map_err(|e| Error::io(format!("cannot read dir={}", dir.display()), e))?,
        };
        if let Some(entry) = entries.iter().find(|e| is_data(&e.name)) {
            let what = format!(
                "the MANIFEST is missing and there is data holds={}",
                dir.join(&entry.name).display()
            );
            return Err(Error::corrupt(data_dir.join(MANIFESTS[0]), 0, what).with_lsns(1, u64::MAX));
        }
    }
    Ok(())
}

/// Names the segments that exist from now on; the one of this run may still grow. If the power
/// fails before this is durable, the next start finds the new segment by the chain.
fn record_start(
    store: &mut ManifestStore,
    found: &Found,
    term: u64,
    active: u64,
    now: UnixMillis,
) -> Result<()> {
    let mut manifest = store.current().clone();
    manifest.term = term;
    manifest.clean = None;
    manifest.clock_floor_ms = now.0;
    manifest.segments.clone_from(&found.segments);
    if active == found.tail.end.segment {
        // The log goes on in the last one.
        manifest.segments.last_mut().expect("the one where the log ends").end = 0;
    } else {
        manifest.segments.push(SegmentMeta { first_index: active, end: 0 });
    }
    store.commit(manifest)
}
