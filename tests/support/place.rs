//! Where a server lives, and is started again and again. Each group of tests adds what it does there.

use std::path::PathBuf;

use tempfile::TempDir;

use super::process::Process;

/// A directory that goes with the test.
pub struct Place {
    pub dir: TempDir,
}

impl Place {
    pub fn new() -> Place {
        Place { dir: tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap() }
    }

    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// A server that serves.
    #[track_caller]
    pub fn serve(&self) -> Process {
        let mut server = Process::serve(&self.data_dir(), &[]);
        server.address().unwrap();
        server
    }
}
