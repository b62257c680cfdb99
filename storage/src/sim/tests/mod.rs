//! The simulated disk held against its promises: `model` what a power cut may leave, one rule a
//! test; `faults` what goes wrong while the machine runs, and what tests can see and do.

mod faults;
mod model;

use std::{collections::BTreeSet, io::IoSlice, path::Path, sync::Arc};

use super::{crash::CrashPoint, disk::SimDisk};
use crate::vfs::{File, OpenMode, Vfs};

pub(super) fn create(disk: &SimDisk, path: &str) -> Arc<dyn File> {
    disk.open(Path::new(path), OpenMode::CreateNew).unwrap()
}

pub(super) fn rename(disk: &SimDisk, from: &str, to: &str) {
    disk.rename(Path::new(from), Path::new(to)).unwrap();
}

pub(super) fn remove(disk: &SimDisk, path: &str) {
    disk.remove_file(Path::new(path)).unwrap();
}

pub(super) fn mkdir(disk: &SimDisk, path: &str) {
    disk.create_dir(Path::new(path)).unwrap();
}

pub(super) fn sync_dir(disk: &SimDisk, path: &str) {
    disk.sync_dir(Path::new(path)).unwrap();
}

pub(super) fn write(file: &Arc<dyn File>, offset: u64, bytes: &[u8]) {
    assert_eq!(file.write_at(offset, &[IoSlice::new(bytes)]).unwrap(), bytes.len());
}

/// A disk with one durable file `/a`, and a handle to it.
pub(super) fn disk_with(content: &[u8]) -> (SimDisk, Arc<dyn File>) {
    let disk = SimDisk::new();
    disk.write_file("/a", content);
    let file = disk.open(Path::new("/a"), OpenMode::ReadWrite).unwrap();
    (disk, file)
}

/// The place after the last operation.
pub(super) fn end(disk: &SimDisk) -> CrashPoint {
    let mut crasher = disk.crash_points();
    crasher.seek(disk.op_count());
    crasher.point()
}

/// What all images of the last crash point show of one file.
pub(super) fn all_of(disk: &SimDisk, path: &str) -> BTreeSet<Option<Vec<u8>>> {
    let point = end(disk);
    point.exhaustive().map(|choice| point.image(&choice).read_file(path)).collect()
}

/// The sets of names that the images of the last crash point show.
pub(super) fn all_names(disk: &SimDisk) -> BTreeSet<Vec<String>> {
    let point = end(disk);
    let names = |image: SimDisk| image.tree().iter().map(|(path, _)| path.display().to_string()).collect();
    point.exhaustive().map(|choice| names(point.image(&choice))).collect()
}

pub(super) fn set(sets: &[&[&str]]) -> BTreeSet<Vec<String>> {
    sets.iter().map(|names| names.iter().map(|name| name.to_string()).collect()).collect()
}
