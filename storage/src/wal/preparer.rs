//! Keeps segments prepared, so that a group never waits for one and never meets a full disk.
//!
//! How many, and who may use which: `wal::staging::room`.

use std::{collections::VecDeque, path::PathBuf};

use crate::{
    error::{Error, ErrorKind, Result},
    format::file_name::{self, WAL_DIR},
    sync::{AtomicU64, Mutex, MutexGuard, Ordering},
    vfs::OpenMode,
    wal::{
        Config,
        segment::{Haste, Spare, create_spare, renew},
        staging::{SPARES, SPARES_SET_ASIDE, Staging},
    },
};

/// The prepared segments.
#[derive(Debug)]
pub(crate) struct Preparer {
    ready: Mutex<VecDeque<Spare>>,
    /// Files of full size that are to be spares again.
    used: Mutex<Vec<PathBuf>>,
    next_number: AtomicU64,
}

impl Preparer {
    /// Takes over what an earlier run prepared and did not use; removes what is not of full size.
    ///
    /// Not a used file that a rotation had cut just before a kill, if fewer than two others are set
    /// aside: on a full disk its blocks would be gone. It is no spare, but long enough for the next
    /// start to write a segment to, which leaves it one of full size.
    pub(crate) fn adopt(config: &Config) -> Result<Preparer> {
        let dir = config.data_dir.join(WAL_DIR);
        let failed = |what: &str, e| Error::io(format!("cannot {what} dir={}", dir.display()), e);
        let (mut ready, mut used) = (VecDeque::new(), Vec::new());
        let mut next_number = 0;
        let mut entries = config.vfs.list(&dir).map_err(|e| failed("list the log", e))?;
        entries.retain(|e| file_name::is_spare(&e.name) || file_name::is_used(&e.name));
        // What is ready comes before what is to be made ready.
        entries.sort_by_key(|e| file_name::is_used(&e.name));
        for entry in entries {
            let path = dir.join(&entry.name);
            let number = path.file_stem().and_then(|stem| stem.to_str()).and_then(|n| n.parse::<u64>().ok());
            next_number = next_number.max(number.map_or(0, |n| n.saturating_add(1)));
            let few = ready.len() + used.len() < SPARES_SET_ASIDE;
            if few && file_name::is_used(&entry.name) && entry.len < config.segment_bytes {
                continue;
            }
            if entry.len != config.segment_bytes || ready.len() + used.len() == SPARES {
                config.vfs.remove_file(&path).map_err(|e| failed("remove a spare segment", e))?;
            } else if file_name::is_used(&entry.name) {
                used.push(path);
            } else {
                let file = config.vfs.open(&path, OpenMode::ReadWrite);
                let file = file.map_err(|e| failed("open a spare segment", e))?;
                ready.push_back(Spare { path, file, capacity: entry.len });
            }
        }
        let next_number = AtomicU64::new(next_number);
        Ok(Preparer { ready: Mutex::new(ready), used: Mutex::new(used), next_number })
    }

    /// How many spares of full size are ready.
    pub(crate) fn ready(&self) -> usize {
        self.ready.lock().expect("no panic with spares").len()
    }

    /// Gives the spare that staging has planned with: one of this capacity.
    pub(crate) fn take(&self, capacity: u64) -> Spare {
        let mut ready = self.ready.lock().expect("no panic with spares");
        let at = ready.iter().position(|s| s.capacity == capacity);
        // Staging counts what is here; a rotation that it planned without a spare is our mistake.
        at.and_then(|at| ready.remove(at)).expect("staging rotates only to a spare that is ready")
    }

    fn discard(&self, config: &Config, capacity: u64) {
        let spare = self.take(capacity);
        if let Err(e) = config.vfs.remove_file(&spare.path) {
            tracing::warn!(file = %spare.path.display(), error = %e, "an unneeded log segment stays behind");
        }
    }

    /// A used file where there is one, else a new one.
    fn prepare(&self, config: &Config, staging: &Staging, capacity: u64) -> Result<Spare> {
        let vfs = &*config.vfs;
        let is_pressing = || staging.is_filling();
        let in_haste: Haste<'_> = if config.manual { None } else { Some(&is_pressing) };
        let used = (capacity == config.segment_bytes).then(|| self.lock_used().pop()).flatten();
        let Some(used) = used else {
            let number = self.next_number.fetch_add(1, Ordering::Relaxed);
            let path = config.data_dir.join(WAL_DIR).join(file_name::spare(number));
            return create_spare(vfs, path, capacity, in_haste);
        };
        renew(vfs, &used, capacity, in_haste).inspect_err(|e| {
            // Where overwriting takes space it is tried again later. What is ill is given up.
            if e.kind() == ErrorKind::Full {
                self.lock_used().push(used);
            } else if let Err(e) = vfs.remove_file(&used) {
                tracing::warn!(file = %used.display(), error = %e, "an unneeded log segment stays behind");
            }
        })
    }

    fn lock_used(&self) -> MutexGuard<'_, Vec<PathBuf>> {
        self.used.lock().expect("no panic with used files")
    }

    /// Prepares one segment if one is missing; true if it did.
    pub(crate) fn step(&self, config: &Config, staging: &Staging) -> Result<bool> {
        let Some(capacity) = staging.wanted_spare() else { return Ok(false) };
        match self.prepare(config, staging, capacity) {
            Ok(spare) => {
                self.ready.lock().expect("no panic with spares").push_back(spare);
                if let Some(unneeded) = staging.spare_ready(capacity) {
                    self.discard(config, unneeded);
                }
                Ok(true)
            }
            Err(e) => {
                staging.spare_failed();
                Err(e)
            }
        }
    }
}
