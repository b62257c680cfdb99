//! What every [`Vfs`] must do alike, held against the real disk and the simulated one.
//!
//! Not here: what survives a power cut, which only the simulated disk can show (`sim::tests`).

use std::{
    io::{self, IoSlice},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{DIRECT_ALIGN, File, OpenMode, Vfs, os::OsVfs, read_exact_at, write_all_at};
use crate::sim::disk::SimDisk;

/// A disk and a directory on it that is ours.
struct Fixture<'a> {
    vfs: &'a dyn Vfs,
    root: PathBuf,
}

impl Fixture<'_> {
    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        self.vfs.open(&self.path(name), mode)
    }

    fn create(&self, name: &str, content: &[u8]) -> Arc<dyn File> {
        let file = self.open(name, OpenMode::CreateNew).unwrap();
        write_all_at(&*file, 0, &mut [IoSlice::new(content)]).unwrap();
        file
    }

    fn content(&self, name: &str) -> Vec<u8> {
        content(&*self.open(name, OpenMode::Read).unwrap())
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.vfs.list(&self.root).unwrap().into_iter().map(|entry| entry.name).collect();
        names.sort();
        names
    }
}

fn content(file: &dyn File) -> Vec<u8> {
    let mut bytes = vec![0; file.len().unwrap() as usize];
    read_exact_at(file, 0, &mut bytes).unwrap();
    bytes
}

#[track_caller]
fn refused<T>(result: io::Result<T>, kind: io::ErrorKind) {
    assert_eq!(result.err().expect("refused").kind(), kind);
}

/// Runs each rule over each disk, as a test named after the rule and the disk.
macro_rules! rules {
    ($($rule:ident)*) => {
        mod real_disk {
            $(#[test]
            fn $rule() {
                let dir = tempfile::TempDir::new().unwrap();
                super::$rule(&super::Fixture { vfs: &super::OsVfs, root: dir.path().to_owned() });
            })*
        }
        mod simulated_disk {
            $(#[test]
            fn $rule() {
                let disk = super::SimDisk::new();
                super::Vfs::create_dir(&disk, super::Path::new("/data")).unwrap();
                super::$rule(&super::Fixture { vfs: &disk, root: "/data".into() });
            })*
        }
    };
}

rules! {
    create_new_refuses_an_existing_name
    what_does_not_exist_is_not_found
    a_file_is_no_directory_and_a_directory_no_file
    rename_replaces
    an_exchange_gives_each_file_the_name_of_the_other
    rename_moves_a_directory_with_what_is_in_it
    rename_into_itself_is_refused
    a_directory_is_not_replaced_while_it_holds_something
    handles_outlive_rename_and_removal
    a_read_is_short_at_the_end
    several_buffers_are_written_one_behind_the_other
    bytes_that_go_past_the_cache_are_found_like_all_others
    a_write_beyond_the_end_leaves_zeros
    set_len_cuts_and_extends_with_zeros
    allocate_extends_and_never_cuts
    a_map_equals_the_content
    a_map_outlives_handle_and_name
    list_tells_names_kinds_and_lengths
    only_an_empty_directory_is_removed
    a_lock_excludes_a_second_taker_until_it_is_dropped
    a_file_opened_for_reading_is_not_written
    syncs_succeed_and_change_nothing_to_see
    free_space_is_told
}

fn create_new_refuses_an_existing_name(t: &Fixture<'_>) {
    t.create("a", b"old");
    refused(t.open("a", OpenMode::CreateNew), io::ErrorKind::AlreadyExists);
    t.vfs.create_dir(&t.path("d")).unwrap();
    refused(t.open("d", OpenMode::CreateNew), io::ErrorKind::AlreadyExists);
    refused(t.vfs.create_dir(&t.path("a")), io::ErrorKind::AlreadyExists);
    assert_eq!(t.content("a"), b"old");
}

fn what_does_not_exist_is_not_found(t: &Fixture<'_>) {
    let (absent, below) = (t.path("absent"), t.path("absent/x"));
    refused(t.open("absent", OpenMode::Read), io::ErrorKind::NotFound);
    refused(t.open("absent", OpenMode::ReadWrite), io::ErrorKind::NotFound);
    refused(t.open("absent/x", OpenMode::CreateNew), io::ErrorKind::NotFound);
    refused(t.vfs.remove_file(&absent), io::ErrorKind::NotFound);
    refused(t.vfs.remove_dir(&absent), io::ErrorKind::NotFound);
    refused(t.vfs.rename(&absent, &t.path("b")), io::ErrorKind::NotFound);
    refused(t.vfs.list(&absent), io::ErrorKind::NotFound);
    refused(t.vfs.sync_dir(&absent), io::ErrorKind::NotFound);
    refused(t.vfs.create_dir(&below), io::ErrorKind::NotFound);
    refused(t.vfs.lock(&below), io::ErrorKind::NotFound);
    refused(t.vfs.free_space(&absent), io::ErrorKind::NotFound);
    t.create("a", b"");
    refused(t.vfs.rename(&t.path("a"), &below), io::ErrorKind::NotFound);
}

fn a_file_is_no_directory_and_a_directory_no_file(t: &Fixture<'_>) {
    t.create("a", b"");
    t.vfs.create_dir(&t.path("d")).unwrap();
    refused(t.vfs.list(&t.path("a")), io::ErrorKind::NotADirectory);
    refused(t.vfs.remove_dir(&t.path("a")), io::ErrorKind::NotADirectory);
    refused(t.open("a/x", OpenMode::CreateNew), io::ErrorKind::NotADirectory);
    refused(t.vfs.remove_file(&t.path("d")), io::ErrorKind::IsADirectory);
    refused(t.open("d", OpenMode::ReadWrite), io::ErrorKind::IsADirectory);
    refused(t.vfs.rename(&t.path("a"), &t.path("d")), io::ErrorKind::IsADirectory);
    refused(t.vfs.rename(&t.path("d"), &t.path("a")), io::ErrorKind::NotADirectory);
}

fn rename_replaces(t: &Fixture<'_>) {
    t.create("a", b"new");
    t.create("b", b"old");
    t.vfs.rename(&t.path("a"), &t.path("b")).unwrap();
    assert_eq!(t.names(), ["b"]);
    assert_eq!(t.content("b"), b"new");
    t.vfs.rename(&t.path("b"), &t.path("b")).unwrap();
    assert_eq!(t.content("b"), b"new");
}

fn an_exchange_gives_each_file_the_name_of_the_other(t: &Fixture<'_>) {
    t.create("a", b"one");
    t.vfs.create_dir(&t.path("d")).unwrap();
    t.create("d/b", b"other");
    refused(t.vfs.exchange(&t.path("a"), &t.path("absent")), io::ErrorKind::NotFound);
    refused(t.vfs.exchange(&t.path("absent"), &t.path("a")), io::ErrorKind::NotFound);
    t.vfs.exchange(&t.path("a"), &t.path("d/b")).unwrap();
    assert_eq!((t.content("a"), t.content("d/b")), (b"other".to_vec(), b"one".to_vec()));
    t.vfs.exchange(&t.path("a"), &t.path("a")).unwrap();
    assert_eq!(t.content("a"), b"other");
}

fn rename_moves_a_directory_with_what_is_in_it(t: &Fixture<'_>) {
    t.vfs.create_dir(&t.path("d")).unwrap();
    t.create("d/a", b"inside");
    t.vfs.create_dir(&t.path("e")).unwrap();
    t.vfs.rename(&t.path("d"), &t.path("e")).unwrap();
    assert_eq!(t.names(), ["e"]);
    assert_eq!(t.content("e/a"), b"inside");
    t.vfs.rename(&t.path("e/a"), &t.path("a")).unwrap();
    assert_eq!(t.names(), ["a", "e"]);
}

fn rename_into_itself_is_refused(t: &Fixture<'_>) {
    t.vfs.create_dir(&t.path("d")).unwrap();
    refused(t.vfs.rename(&t.path("d"), &t.path("d/e")), io::ErrorKind::InvalidInput);
}

fn a_directory_is_not_replaced_while_it_holds_something(t: &Fixture<'_>) {
    t.vfs.create_dir(&t.path("d")).unwrap();
    t.vfs.create_dir(&t.path("e")).unwrap();
    t.create("e/a", b"");
    refused(t.vfs.rename(&t.path("d"), &t.path("e")), io::ErrorKind::DirectoryNotEmpty);
}

fn handles_outlive_rename_and_removal(t: &Fixture<'_>) {
    let file = t.create("a", b"first");
    t.vfs.rename(&t.path("a"), &t.path("b")).unwrap();
    file.write_at(5, &[IoSlice::new(b" second")]).unwrap();
    assert_eq!(t.content("b"), b"first second");
    t.vfs.remove_file(&t.path("b")).unwrap();
    file.write_at(0, &[IoSlice::new(b"FIRST")]).unwrap();
    file.sync_data().unwrap();
    assert_eq!(content(&*file), b"FIRST second");
    assert_eq!(t.names(), [""; 0]);
    t.create("b", b"another");
    assert_eq!(content(&*file), b"FIRST second");
}

fn a_read_is_short_at_the_end(t: &Fixture<'_>) {
    let file = t.create("a", b"0123456789");
    let mut buf = [0xaa; 8];
    assert_eq!(file.read_at(6, &mut buf).unwrap(), 4);
    assert_eq!(&buf, b"6789\xaa\xaa\xaa\xaa");
    assert_eq!(file.read_at(10, &mut buf).unwrap(), 0);
    assert_eq!(file.read_at(1 << 40, &mut buf).unwrap(), 0);
    refused(read_exact_at(&*file, 6, &mut buf), io::ErrorKind::UnexpectedEof);
}

fn several_buffers_are_written_one_behind_the_other(t: &Fixture<'_>) {
    let file = t.create("a", b"");
    assert_eq!(file.write_at(0, &[]).unwrap(), 0);
    let parts: Vec<Vec<u8>> = (0..3000u32).map(|i| i.to_le_bytes().to_vec()).collect();
    let mut bufs: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
    write_all_at(&*file, 4, &mut bufs).unwrap();
    assert_eq!(t.content("a"), [vec![0; 4], parts.concat()].concat());
}

fn bytes_that_go_past_the_cache_are_found_like_all_others(t: &Fixture<'_>) {
    let memory: Vec<u8> = (0..4 * DIRECT_ALIGN).map(|i| (i % 251) as u8).collect();
    let aligned = &memory[memory.as_ptr().align_offset(DIRECT_ALIGN)..][..2 * DIRECT_ALIGN];
    let file = t.create("a", &[b'x'; 3 * DIRECT_ALIGN]);
    assert_eq!(file.write_past_cache(DIRECT_ALIGN as u64, aligned).unwrap(), aligned.len());
    assert_eq!(t.content("a"), [&[b'x'; DIRECT_ALIGN], aligned].concat());
    // Without the alignment, and without whole blocks, it works as well.
    assert_eq!(file.write_past_cache(1, &aligned[1..101]).unwrap(), 100);
    assert_eq!(t.content("a")[..101], [b"x", &aligned[1..101]].concat());
    // It is a matter of one write: what comes after may be anywhere again.
    file.write_at(7, &[IoSlice::new(b"y")]).unwrap();
    assert_eq!(t.content("a")[7], b'y');
}

fn a_write_beyond_the_end_leaves_zeros(t: &Fixture<'_>) {
    let file = t.create("a", b"ab");
    file.write_at(5, &[IoSlice::new(b"f")]).unwrap();
    assert_eq!(t.content("a"), b"ab\0\0\0f");
    file.write_at(9, &[IoSlice::new(b"")]).unwrap();
    assert_eq!(file.len().unwrap(), 6);
}

fn set_len_cuts_and_extends_with_zeros(t: &Fixture<'_>) {
    let file = t.create("a", b"abcdef");
    file.set_len(2).unwrap();
    file.set_len(4).unwrap();
    assert_eq!(t.content("a"), b"ab\0\0");
    file.set_len(0).unwrap();
    assert!(file.is_empty().unwrap());
}

fn allocate_extends_and_never_cuts(t: &Fixture<'_>) {
    let file = t.create("a", b"abc");
    file.allocate(5).unwrap();
    file.allocate(1).unwrap();
    file.allocate(0).unwrap();
    assert_eq!(t.content("a"), b"abc\0\0");
}

fn a_map_equals_the_content(t: &Fixture<'_>) {
    // Longer than one window of populating, and not a whole number of pages.
    let bytes: Vec<u8> = (0..(9 << 20) + 17u32).map(|i| (i % 251) as u8).collect();
    let file = t.create("a", &bytes);
    assert!(**file.map().unwrap() == *bytes);
    file.set_len(0).unwrap();
    assert!(file.map().unwrap().is_empty());
}

fn a_map_outlives_handle_and_name(t: &Fixture<'_>) {
    let map = t.create("a", b"mapped").map().unwrap();
    t.vfs.remove_file(&t.path("a")).unwrap();
    assert_eq!(&map[..], b"mapped");
}

fn list_tells_names_kinds_and_lengths(t: &Fixture<'_>) {
    t.create("a", b"abc");
    t.vfs.create_dir(&t.path("d")).unwrap();
    t.create("d/inner", b"");
    let mut entries = t.vfs.list(&t.root).unwrap();
    entries.sort_by(|x, y| x.name.cmp(&y.name));
    let told: Vec<_> = entries.iter().map(|e| (e.name.as_str(), e.is_dir, e.len)).collect();
    assert_eq!(told, [("a", false, 3), ("d", true, 0)]);
}

fn only_an_empty_directory_is_removed(t: &Fixture<'_>) {
    t.vfs.create_dir(&t.path("d")).unwrap();
    t.create("d/a", b"");
    refused(t.vfs.remove_dir(&t.path("d")), io::ErrorKind::DirectoryNotEmpty);
    t.vfs.remove_file(&t.path("d/a")).unwrap();
    t.vfs.remove_dir(&t.path("d")).unwrap();
    assert_eq!(t.names(), [""; 0]);
}

fn a_lock_excludes_a_second_taker_until_it_is_dropped(t: &Fixture<'_>) {
    let path = t.path("LOCK");
    let held = t.vfs.lock(&path).unwrap().expect("free");
    assert_eq!(t.names(), ["LOCK"]);
    assert!(t.vfs.lock(&path).unwrap().is_none());
    assert!(t.vfs.lock(&path).unwrap().is_none());
    drop(held);
    assert!(t.vfs.lock(&path).unwrap().is_some());
}

fn a_file_opened_for_reading_is_not_written(t: &Fixture<'_>) {
    t.create("a", b"abc");
    let file = t.open("a", OpenMode::Read).unwrap();
    assert!(file.write_at(0, &[IoSlice::new(b"x")]).is_err());
    assert!(file.set_len(0).is_err());
    assert!(file.allocate(9).is_err());
    assert_eq!(t.content("a"), b"abc");
}

fn syncs_succeed_and_change_nothing_to_see(t: &Fixture<'_>) {
    let file = t.create("a", b"abc");
    file.sync_data().unwrap();
    t.vfs.sync_dir(&t.root).unwrap();
    file.drop_cache().unwrap();
    assert_eq!(t.content("a"), b"abc");
    t.open("a", OpenMode::Read).unwrap().drop_cache().unwrap();
}

fn free_space_is_told(t: &Fixture<'_>) {
    assert!(t.vfs.free_space(&t.root).unwrap() > 0);
}

/// Only the real disk has these.
mod only_real_disk {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_is_created_is_for_the_user_alone() {
        let dir = tempfile::TempDir::new().unwrap();
        let t = Fixture { vfs: &OsVfs, root: dir.path().to_owned() };
        t.create("a", b"");
        t.vfs.create_dir(&t.path("d")).unwrap();
        let held = t.vfs.lock(&t.path("LOCK")).unwrap();
        let mode = |name: &str| t.path(name).metadata().unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode("a"), mode("d"), mode("LOCK")), (0o600, 0o700, 0o600));
        drop(held);
    }

    #[test]
    fn the_parent_of_a_relative_name_can_be_synced_and_listed() {
        OsVfs.sync_dir(Path::new("")).unwrap();
        assert!(!OsVfs.list(Path::new("")).unwrap().is_empty());
        assert!(OsVfs.free_space(Path::new("")).is_ok());
    }
}
