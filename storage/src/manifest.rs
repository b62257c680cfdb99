//! The MANIFEST on disk: two preallocated files with the same content, overwritten in place one
//! after the other.
//!
//! A power cut can spoil at most the one that is being written; the other is whole. Nothing is
//! deleted while either of them names it, because both are written before anything is pruned.
//! Overwriting in place needs no free space, so a full disk never stops a start.

use std::{
    io::IoSlice,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    error::{Error, ErrorKind, Result},
    format::{
        Defect,
        file_name::{MANIFESTS, TMP},
        manifest::{MANIFEST_BODY_MAX, Manifest},
    },
    vfs::{OpenMode, Vfs, read_exact_at, write_all_at},
};

/// Both files begin with this length: room for over a thousand segments.
const FILE_LEN: u64 = 64 << 10;

/// The MANIFEST of an open data directory.
#[derive(Debug)]
pub struct ManifestStore {
    vfs: Arc<dyn Vfs>,
    data_dir: PathBuf,
    /// Which of the files is whole on the disk: the one that was written last.
    newest: usize,
    generation: u64,
    current: Manifest,
}

impl ManifestStore {
    /// Reads the newest whole generation, and says what was wrong with the other one, if
    /// anything. `None` if no MANIFEST was ever finished here. Changes nothing.
    ///
    /// # Errors
    /// `Corrupt` if there are files and none is whole; `Unsupported` for a newer format; `Io`.
    pub fn load(vfs: &Arc<dyn Vfs>, data_dir: &Path) -> Result<Option<(ManifestStore, Option<String>)>> {
        let mut best: Option<(usize, (u64, Manifest))> = None;
        let mut wrong = None;
        let (mut present, mut whole, mut newer) = (0, 0, false);
        for (slot, name) in MANIFESTS.into_iter().enumerate() {
            let path = data_dir.join(name);
            match read(&**vfs, &path)? {
                None => wrong = Some(format!("{name} is missing")),
                Some(Err(defect)) => {
                    present += 1;
                    // A torn file can claim any version. Only where no generation is whole, what
                    // one claims is all that there is to say.
                    newer |= matches!(defect, Defect::Version(_) | Defect::Features(_));
                    wrong = Some(format!("{name}: {defect}"));
                }
                Some(Ok(found)) => {
                    present += 1;
                    whole += 1;
                    if best.as_ref().is_none_or(|(_, (generation, _))| *generation < found.0) {
                        best = Some((slot, found));
                    }
                }
            }
        }
        match (best, present) {
            (Some((newest, (generation, current))), _) => {
                // Of two whole ones only the older is surely on the disk: a process that was killed
                // before its sync leaves the newer one in the page cache. So that is written first.
                let newest = if whole == 2 { 1 - newest } else { newest };
                let (vfs, data_dir) = (vfs.clone(), data_dir.to_owned());
                Ok(Some((ManifestStore { vfs, data_dir, newest, generation, current }, wrong)))
            }
            (None, 0) => Ok(None),
            (None, _) if newer => {
                let what =
                    format!("{}; the data directory belongs to a newer version", wrong.unwrap_or_default());
                Err(Error::new(ErrorKind::Unsupported, what))
            }
            (None, _) => {
                let what = wrong.unwrap_or_default();
                Err(Error::corrupt(
                    data_dir.join(MANIFESTS[0]),
                    0,
                    format!("no generation of the MANIFEST is whole: {what}"),
                )
                .with_lsns(1, u64::MAX))
            }
        }
    }

    /// Creates both files with this content. Durable when it returns; a power cut before leaves
    /// nothing, or one of them, under its name.
    ///
    /// # Errors
    /// `Io` or `Full`.
    pub fn create(vfs: &Arc<dyn Vfs>, data_dir: &Path, manifest: Manifest) -> Result<ManifestStore> {
        let current = Manifest::default();
        let mut store = ManifestStore {
            vfs: vfs.clone(),
            data_dir: data_dir.to_owned(),
            newest: 0,
            generation: 0,
            current,
        };
        store.commit(manifest)?;
        Ok(store)
    }

    /// What the data directory is.
    pub fn current(&self) -> &Manifest {
        &self.current
    }

    /// Writes the content to both files. When it returns, both are durable, and what neither of
    /// them names may be deleted. If the power fails in between, the newer whole one counts.
    ///
    /// # Errors
    /// `Io`: it is unknown which content a start would find. The caller must stop.
    pub fn commit(&mut self, manifest: Manifest) -> Result<()> {
        // The one that may be torn goes first, so that a whole one is always there.
        for slot in [1 - self.newest, self.newest] {
            self.generation += 1;
            self.write(MANIFESTS[slot], &manifest.encode(self.generation)).map_err(|e| {
                Error::io(format!("cannot write the MANIFEST dir={}", self.data_dir.display()), e)
            })?;
        }
        self.current = manifest;
        Ok(())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> std::io::Result<()> {
        let path = self.data_dir.join(name);
        match self.vfs.open(&path, OpenMode::ReadWrite) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                create_one(&*self.vfs, &self.data_dir, &path, bytes)
            }
            file => {
                let file = file?;
                write_all_at(&*file, 0, &mut [IoSlice::new(bytes)])?;
                file.sync_data()
            }
        }
    }
}

fn read(vfs: &dyn Vfs, path: &Path) -> Result<Option<Result<(u64, Manifest), Defect>>> {
    let failed = |e| Error::io(format!("cannot read the MANIFEST file={}", path.display()), e);
    let file = match vfs.open(path, OpenMode::Read) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        outcome => outcome.map_err(failed)?,
    };
    let len = file.len().map_err(failed)?.min(MANIFEST_BODY_MAX as u64 + 4096);
    let mut bytes = vec![0; len as usize];
    read_exact_at(&*file, 0, &mut bytes).map_err(failed)?;
    Ok(Some(Manifest::decode(&bytes)))
}

/// A file gets its name only when it is whole: a torn MANIFEST at birth would look like rot.
fn create_one(vfs: &dyn Vfs, data_dir: &Path, path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let unfinished = path.with_extension(&TMP[1..]);
    match vfs.remove_file(&unfinished) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let file = vfs.open(&unfinished, OpenMode::CreateNew)?;
    let mut whole = bytes.to_vec();
    whole.resize(FILE_LEN.max(bytes.len() as u64) as usize, 0);
    write_all_at(&*file, 0, &mut [IoSlice::new(&whole)])?;
    file.sync_data()?;
    vfs.rename(&unfinished, path)?;
    vfs.sync_dir(data_dir)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::disk::SimDisk;

    /// Found by a cut that left garbage in the version field of the file that was being written:
    /// the directory was refused as belonging to a newer version.
    #[test]
    fn a_torn_generation_that_claims_a_newer_version_does_not_hide_the_whole_one() {
        let disk = SimDisk::new();
        let vfs: Arc<dyn Vfs> = Arc::new(disk.clone());
        let dir = Path::new("/data");
        disk.create_dir(dir).unwrap();
        let manifest = Manifest { term: 7, ..Manifest::default() };
        ManifestStore::create(&vfs, dir, manifest.clone()).unwrap();
        for name in MANIFESTS {
            let path = dir.join(name);
            let whole = disk.read_file(&path).unwrap();
            let mut torn = whole.clone();
            torn[8..10].copy_from_slice(&999u16.to_le_bytes());
            disk.write_file(&path, &torn);
            let (store, wrong) = ManifestStore::load(&vfs, dir).unwrap().unwrap();
            assert_eq!(store.current(), &manifest);
            assert!(wrong.is_some());
            disk.write_file(&path, &whole);
        }
    }
}
