//! Keeps segments prepared, so that a group never waits for one and never meets a full disk.
//!
//! How many, and who may use which: `wal::staging::room`.

use std::collections::VecDeque;

use crate::{
    error::{Error, Result},
    format::file_name::{self, WAL_DIR},
    sync::{AtomicU64, Mutex, Ordering},
    vfs::OpenMode,
    wal::{
        Config,
        segment::{Spare, create_spare},
        staging::{SPARES, Staging},
    },
};

/// The prepared segments.
#[derive(Debug)]
pub(crate) struct Preparer {
    ready: Mutex<VecDeque<Spare>>,
    next_number: AtomicU64,
}

impl Preparer {
    /// Takes over what an earlier run prepared and did not use; removes what is not of full size.
    pub(crate) fn adopt(config: &Config) -> Result<Preparer> {
        let dir = config.data_dir.join(WAL_DIR);
        let failed = |what: &str, e| Error::io(format!("cannot {what} dir={}", dir.display()), e);
        let mut ready = VecDeque::new();
        let mut next_number = 0;
        for entry in config.vfs.list(&dir).map_err(|e| failed("list the log", e))? {
            if !file_name::is_spare(&entry.name) {
                continue;
            }
            let path = dir.join(&entry.name);
            if let Some(number) = entry.name.strip_suffix(".spare").and_then(|n| n.parse::<u64>().ok()) {
                next_number = next_number.max(number.saturating_add(1));
            }
            if entry.len == config.segment_bytes && ready.len() < SPARES {
                let file = config
                    .vfs
                    .open(&path, OpenMode::ReadWrite)
                    .map_err(|e| failed("open a spare segment", e))?;
                ready.push_back(Spare { path, file, capacity: entry.len });
            } else {
                config.vfs.remove_file(&path).map_err(|e| failed("remove a spare segment", e))?;
            }
        }
        Ok(Preparer { ready: Mutex::new(ready), next_number: AtomicU64::new(next_number) })
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

    /// Prepares one segment if one is missing; true if it did.
    pub(crate) fn step(&self, config: &Config, staging: &Staging) -> Result<bool> {
        let Some(capacity) = staging.wanted_spare() else { return Ok(false) };
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        let path = config.data_dir.join(WAL_DIR).join(file_name::spare(number));
        match create_spare(&*config.vfs, path, capacity, !config.manual) {
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
