//! Is the data directory sound? The answer of a start, without starting.
//!
//! The MANIFEST, every byte of the snapshot that it names and every byte of the log behind it are
//! read and judged by the code that a start uses, so a start is refused exactly where this says
//! `Bad`, and nothing is changed.
//!
//! While a server holds the directory, the frames of the last segment are left out: they are
//! being written, and what is half written is not damage. If a snapshot or a rotation comes in
//! between, everything is read again, some times; then the caller is told to try later.

use crate::{
    error::{Error, ErrorKind, Result},
    format::{checksum::Salt, file_name},
    offline::{Directory, Progress},
    snapshot::{
        self,
        reader::{Expected, read_group},
    },
    wal::recover::{self, Torn, recover},
};

/// So often a directory may change while it is read.
const ROUNDS: usize = 4;

/// What a start would say.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Everything verifies up to the end.
    Clean,
    /// Everything verifies, and behind the end there is what a crash has left unfinished. A start
    /// cuts it off and keeps a copy.
    Torn(Torn),
    /// A start is refused with this error.
    Bad(Error),
}

/// What was checked, and what came out.
#[derive(Clone, Debug)]
pub struct Check {
    /// What a start would say.
    pub verdict: Verdict,
    /// Somebody has the directory open, so the frames of the last segment were not judged.
    pub in_use: bool,
    /// The last stop was clean. Unknown while the directory is in use.
    pub clean_stop: Option<bool>,
    /// Entries of the snapshot that verified.
    pub snapshot_entries: u64,
    /// Segments that are needed.
    pub segments: u64,
    /// Frames behind the snapshot.
    pub frames: u64,
    /// Bytes of log that were read.
    pub bytes: u64,
    /// The last frame; none if there is none, or if it was not looked for.
    pub last_lsn: Option<u64>,
    /// What was wrong with one generation of the MANIFEST while the other one is whole.
    pub warning: Option<String>,
}

/// Judges the directory; `with_snapshot` leaves out or takes in the snapshot's files.
///
/// # Errors
/// `Unsupported` for what is from a newer version, `Overloaded` if a server changes the directory
/// faster than it can be read, `Io`. Damage is no error but a verdict.
pub fn verify(directory: Directory, with_snapshot: bool, progress: Progress<'_>) -> Result<Check> {
    let mut directory = directory;
    for _ in 0..ROUNDS {
        let outcome = once(&directory, with_snapshot, progress);
        if directory.unchanged()? {
            return outcome;
        }
        directory = Directory::open(directory.vfs.clone(), &directory.path)?;
    }
    Err(Error::new(ErrorKind::Overloaded, "the directory changes faster than it can be read; try again"))
}

fn once(directory: &Directory, with_snapshot: bool, progress: Progress<'_>) -> Result<Check> {
    let mut check = Check {
        verdict: Verdict::Clean,
        in_use: directory.in_use,
        clean_stop: None,
        snapshot_entries: 0,
        segments: 0,
        frames: 0,
        bytes: 0,
        last_lsn: None,
        warning: directory.warning.clone(),
    };
    match judge(directory, with_snapshot, progress, &mut check) {
        Err(e) if e.kind() == ErrorKind::Corrupt => check.verdict = Verdict::Bad(e),
        outcome => outcome?,
    }
    Ok(check)
}

fn judge(
    directory: &Directory,
    with_snapshot: bool,
    progress: Progress<'_>,
    check: &mut Check,
) -> Result<()> {
    if with_snapshot {
        check.snapshot_entries = read_snapshot(directory, &|_, _| {})?;
    }
    if directory.in_use {
        (check.segments, check.frames, check.bytes) = recover::check_sealed(directory.source(), progress)?;
        return Ok(());
    }
    let found = recover(directory.source(), &mut |_, _| {}, progress)?;
    check.segments = found.segments.len() as u64;
    check.clean_stop = Some(found.clean);
    (check.frames, check.bytes) = (found.frames, found.bytes);
    check.last_lsn = Some(found.tail.index).filter(|index| *index > 0);
    check.verdict = found.torn.map_or(Verdict::Clean, Verdict::Torn);
    Ok(())
}

/// Reads every byte of the snapshot that the MANIFEST names; gives the number of its entries.
///
/// # Errors
/// As `snapshot::reader::read_group`.
pub(super) fn read_snapshot(directory: &Directory, progress: Progress<'_>) -> Result<u64> {
    let manifest = &directory.manifest;
    let Some(meta) = &manifest.snapshot else { return Ok(0) };
    let dir = snapshot::path(&directory.path, meta.begin);
    let total = meta.bytes();
    let (mut entries, mut done) = (0, 0);
    for (group, file) in meta.groups.iter().enumerate() {
        let path = dir.join(file_name::snapshot_group(group));
        let (dataset_id, salt) = (manifest.dataset_id, Salt(manifest.salt));
        let expected = Expected { snapshot: meta, group, dataset_id, salt };
        read_group(directory.vfs(), &path, expected, &mut |_| entries += 1)?;
        done += file.len;
        progress(done, total);
    }
    Ok(entries)
}
