//! Where a run lives on disk: a directory of its own in a parent that holds nothing else.
//!
//! The parent is made if it is missing, or must be empty, or must carry our mark: a directory
//! of somebody else's is never written to. What a run leaves is removed if it held, and kept with
//! what is needed to understand it if it did not.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::node::error::{Code, Error, Result};

/// Says that a directory is ours.
const MARK: &str = "EMBERKEEP-CRASH-TEST";
const MARK_TEXT: &str = "This directory belongs to emberkeep crash-test. What is in it may be removed.\n";

/// The directory of one run.
#[derive(Debug)]
pub(super) struct Scratch {
    parent: PathBuf,
    run: PathBuf,
}

impl Scratch {
    /// Makes the directory of a run in `parent`.
    ///
    /// # Errors
    /// `Unsupported` if the parent is not empty and not ours, `Io` if the system refuses.
    pub(super) fn create(parent: &Path, seed: u64) -> Result<Scratch> {
        if !parent.exists() {
            fs::create_dir(parent).map_err(|e| failed("cannot create the scratch directory", parent, &e))?;
        }
        claim(parent)?;
        for attempt in 1.. {
            let run = match attempt {
                1 => parent.join(format!("run-{seed:016x}")),
                _ => parent.join(format!("run-{seed:016x}-{attempt}")),
            };
            match fs::create_dir(&run) {
                Ok(()) => return Ok(Scratch { parent: parent.to_owned(), run }),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(failed("cannot create a directory", &run, &e)),
            }
        }
        unreachable!("one of all names is free")
    }

    /// The data directory of the server.
    pub(super) fn data_dir(&self) -> PathBuf {
        self.run.join("data")
    }

    /// Keeps everything, with these texts beside the data; gives the directory.
    pub(super) fn keep(self, texts: &[(&str, &str)]) -> Result<PathBuf> {
        for (name, text) in texts {
            let path = self.run.join(name);
            fs::write(&path, text).map_err(|e| failed("cannot write", &path, &e))?;
        }
        Ok(self.run)
    }

    /// Removes it, and the parent too if nothing else is in it.
    pub(super) fn remove(self) -> Result<()> {
        fs::remove_dir_all(&self.run).map_err(|e| failed("cannot remove", &self.run, &e))?;
        if names(&self.parent)? == [MARK] {
            let mark = self.parent.join(MARK);
            fs::remove_file(&mark).map_err(|e| failed("cannot remove", &mark, &e))?;
            match fs::remove_dir(&self.parent) {
                // Another run has begun in it, or it is the user's and cannot be removed.
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }
}

/// Marks the directory as ours, if it may be.
fn claim(parent: &Path) -> Result<()> {
    let names = names(parent)?;
    if names.iter().any(|name| name == MARK) {
        return Ok(());
    }
    if let Some(name) = names.first() {
        let text = format!(
            "the scratch directory is not empty and not of an earlier crash test, path={} contains={name}",
            parent.display()
        );
        return Err(Error::new(Code::Unsupported, text));
    }
    let mark = parent.join(MARK);
    fs::write(&mark, MARK_TEXT).map_err(|e| failed("cannot write", &mark, &e))
}

fn names(dir: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(dir).and_then(|entries| entries.collect::<io::Result<Vec<_>>>());
    let entries = entries.map_err(|e| failed("cannot read the scratch directory", dir, &e))?;
    Ok(entries.iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
}

fn failed(what: &str, path: &Path, error: &io::Error) -> Error {
    Error::new(Code::Io, format!("{what}: {error}, path={}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_of_something_else_is_refused_and_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("thesis.tex"), "do not touch").unwrap();
        let error = Scratch::create(dir.path(), 1).unwrap_err();
        assert!(error.detail().contains("thesis.tex"), "{error}");
        assert_eq!(names(dir.path()).unwrap(), ["thesis.tex"]);
    }

    #[test]
    fn a_run_that_held_leaves_nothing_and_one_that_failed_everything() {
        let dir = tempfile::tempdir().unwrap();
        let parent = dir.path().join("scratch");
        let failed = Scratch::create(&parent, 1).unwrap();
        let kept = failed.keep(&[("why.txt", "because")]).unwrap();
        // The same seed again, beside it.
        Scratch::create(&parent, 1).unwrap().remove().unwrap();
        assert_eq!(fs::read_to_string(kept.join("why.txt")).unwrap(), "because");
        fs::remove_dir_all(&kept).unwrap();
        Scratch::create(&parent, 2).unwrap().remove().unwrap();
        assert!(!parent.exists());
    }
}
