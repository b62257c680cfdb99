//! A file system of a few MiB that belongs to one test at a time, and the file of somebody else on it.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
};

static TAKEN: Mutex<()> = Mutex::new(());

pub struct Disk {
    root: PathBuf,
    _taken: MutexGuard<'static, ()>,
}

impl Disk {
    /// The disk of `EMBERKEEP_SMALL_DISK`, with nothing on it but what its file system needs.
    pub fn taken_and_emptied() -> Disk {
        let root = std::env::var_os("EMBERKEEP_SMALL_DISK").expect("EMBERKEEP_SMALL_DISK: see .ci/run full");
        let taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        let disk = Disk { root: root.into(), _taken: taken };
        // On a disk of any size the tests would fill it.
        let size = disk.free() + disk.others();
        assert!(size < 256 << 20, "{} is no small file system", disk.root.display());
        if disk.data_dir().exists() {
            fs::remove_dir_all(disk.data_dir()).unwrap();
        }
        disk.give_back();
        disk
    }

    pub fn data_dir(&self) -> PathBuf {
        self.root.join("data")
    }

    /// Somebody else takes all that is free, to the last byte, or so many bytes.
    pub fn fill(&self, bytes: Option<u64>) {
        let mut file = OpenOptions::new().create(true).append(true).open(self.ballast()).unwrap();
        if let Some(bytes) = bytes {
            file.write_all(&vec![0xba; bytes as usize]).unwrap();
            return file.sync_all().unwrap();
        }
        // Some file systems give back late: until there was nothing twice.
        let mut nothing = 0;
        while nothing < 2 {
            let taken: u64 = [64 << 10, 512, 1].into_iter().map(|len| take(&mut file, len)).sum();
            file.sync_all().unwrap();
            nothing = if taken == 0 { nothing + 1 } else { 0 };
        }
    }

    /// Somebody else needs the space no more.
    pub fn give_back(&self) {
        File::create(self.ballast()).unwrap().sync_all().unwrap();
    }

    fn ballast(&self) -> PathBuf {
        self.root.join("ballast")
    }

    fn others(&self) -> u64 {
        fs::metadata(self.ballast()).map_or(0, |m| m.len())
    }

    fn free(&self) -> u64 {
        let vfs = emberkeep_storage::Components::os().unwrap().vfs;
        vfs.free_space(&self.root).expect("the small file system is there")
    }
}

/// Appends until not one more fits. How many bytes did.
fn take(file: &mut File, len: usize) -> u64 {
    let mut taken = 0;
    loop {
        match file.write(&vec![0xba; len]) {
            Ok(n) => taken += n as u64,
            Err(e) => {
                assert_eq!(e.kind(), std::io::ErrorKind::StorageFull, "{e}");
                return taken;
            }
        }
    }
}
