//! Faults, and what tests can see and do besides.

use std::{
    io::{self, IoSlice},
    path::Path,
    time::Duration,
};

use super::*;
use crate::{
    clock::Clock,
    sim::{
        clock::SimClock,
        faults::{Call, Effect, Errno, Fault},
    },
};

fn errno(result: io::Result<impl Sized>) -> Option<i32> {
    result.err().expect("refused").raw_os_error()
}

#[test]
fn the_nth_call_of_a_kind_fails_once_or_from_then_on() {
    let (disk, file) = disk_with(b"");
    disk.arm(Fault::nth(Call::Write, 2, Effect::Fail(Errno::IO)));
    write(&file, 0, b"a");
    file.sync_data().unwrap();
    assert_eq!(errno(file.write_at(1, &[IoSlice::new(b"b")])), Some(5));
    write(&file, 1, b"c");
    disk.arm(Fault::next(Call::AnyChange, Effect::Fail(Errno::NOSPC)).from_then_on());
    assert_eq!(file.len().unwrap(), 2);
    let full = file.write_at(1, &[IoSlice::new(b"d")]).unwrap_err();
    assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    assert_eq!(errno(disk.sync_dir(Path::new("/"))), Some(28));
    disk.disarm();
    disk.sync_dir(Path::new("/")).unwrap();
    assert_eq!(disk.read_file("/a").unwrap(), b"ac");
    assert_eq!((disk.fault_hits(), disk.calls(Call::Write)), (3, 4));
}

#[test]
fn a_failed_write_can_leave_a_part() {
    let (disk, file) = disk_with(b"....");
    disk.arm(Fault::next(Call::Write, Effect::FailAfter(2, Errno::IO)));
    assert!(file.write_at(0, &[IoSlice::new(b"xyz")]).is_err());
    assert_eq!(disk.read_file("/a").unwrap(), b"xy..");
}

#[test]
fn reads_and_writes_can_be_short() {
    let (disk, file) = disk_with(b"....");
    disk.arm(Fault::next(Call::Write, Effect::Short(1)));
    disk.arm(Fault::next(Call::Read, Effect::Short(3)));
    assert_eq!(file.write_at(0, &[IoSlice::new(b"x"), IoSlice::new(b"y")]).unwrap(), 1);
    assert_eq!(file.read_at(0, &mut [0; 4]).unwrap(), 3);
    assert_eq!(disk.read_file("/a").unwrap(), b"x...");
}

#[test]
fn what_a_failed_sync_dropped_is_in_no_image() {
    let (disk, file) = disk_with(b"....");
    write(&file, 0, b"xxxxx");
    disk.arm(Fault::next(Call::Sync, Effect::DropDirty));
    assert_eq!(errno(file.sync_data()), Some(5));
    assert_eq!(disk.read_file("/a").unwrap(), b"xxxxx", "the cache goes on showing it");
    file.sync_data().unwrap();
    assert_eq!(all_of(&disk, "/a"), [Some(b"....".to_vec())].into());
    write(&file, 1, b"y");
    file.sync_data().unwrap();
    assert_eq!(all_of(&disk, "/a"), [Some(b".y..".to_vec())].into());
    assert_eq!(disk.after_kill().read_file("/a").unwrap(), b"xyxxx");
    file.drop_cache().unwrap();
    assert_eq!(disk.read_file("/a").unwrap(), b".y..");
}

#[test]
fn a_sync_that_merely_fails_can_succeed_later() {
    let (disk, file) = disk_with(b".");
    write(&file, 0, b"x");
    disk.arm(Fault::next(Call::Sync, Effect::Fail(Errno::IO)));
    assert!(file.sync_data().is_err());
    assert_eq!(all_of(&disk, "/a").len(), 2);
    file.sync_data().unwrap();
    assert_eq!(all_of(&disk, "/a"), [Some(b"x".to_vec())].into());
}

#[test]
fn writes_can_be_lost_or_go_astray() {
    let (disk, file) = disk_with(b"....");
    disk.arm(Fault::nth(Call::Write, 1, Effect::Lose));
    disk.arm(Fault::nth(Call::Write, 2, Effect::Misdirect(3)));
    write(&file, 0, b"x");
    write(&file, 1, b"y");
    assert_eq!(disk.read_file("/a").unwrap(), b"...y");
}

#[test]
fn during_a_call_that_stalls_time_passes_and_the_call_is_done() {
    let (disk, file) = disk_with(b"....");
    let clock = SimClock::new();
    disk.set_clock(&clock);
    disk.arm(Fault::next(Call::Write, Effect::Stall(Duration::from_secs(3))));
    write(&file, 0, b"x");
    write(&file, 1, b"y");
    assert_eq!(disk.read_file("/a").unwrap(), b"xy..");
    assert_eq!(clock.monotonic(), Duration::from_secs(3));
}

#[test]
fn bits_flip_on_a_read_or_at_rest() {
    let (disk, file) = disk_with(b"\0\0\0\0");
    disk.arm(Fault::next(Call::Read, Effect::FlipBit { offset: 9, bit: 7 }));
    disk.arm(Fault::nth(Call::Read, 2, Effect::FlipBit { offset: 0, bit: 0 }));
    let mut buf = [0; 4];
    file.read_at(0, &mut buf).unwrap();
    assert_eq!(buf, [0, 128, 0, 0]);
    assert_eq!(**file.map().unwrap(), [1, 0, 0, 0]);
    assert_eq!(**file.map().unwrap(), [0; 4]);
    write(&file, 2, b"\x10");
    disk.flip_bit("/a", 2, 0);
    disk.flip_bit("/a", 3, 1);
    assert_eq!(disk.read_file("/a").unwrap(), [0, 0, 0x11, 2]);
    assert_eq!(all_of(&disk, "/a"), [Some(vec![0, 0, 1, 2]), Some(vec![0, 0, 0x11, 2])].into());
}

#[test]
fn a_full_disk_refuses_growth_until_there_is_room_again() {
    let (disk, file) = disk_with(&[0; 100]);
    disk.set_capacity(Some(150));
    assert_eq!(disk.free_space(Path::new("/")).unwrap(), 50);
    write(&file, 0, &[1; 100]);
    assert_eq!(file.write_at(90, &[IoSlice::new(&[2; 100])]).unwrap(), 60);
    assert_eq!(file.write_at(150, &[IoSlice::new(b"x")]).unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(file.allocate(151).unwrap_err().kind(), io::ErrorKind::StorageFull);
    remove(&disk, "/a");
    assert_eq!(disk.free_space(Path::new("/")).unwrap(), 0, "the handle holds the space");
    drop(file);
    assert_eq!(disk.free_space(Path::new("/")).unwrap(), 150);
    let file = create(&disk, "/b");
    write(&file, 0, &[3; 150]);
    disk.set_capacity(Some(200));
    file.allocate(200).unwrap();
}

#[test]
fn a_read_only_disk_changes_nothing_and_can_be_read() {
    let (disk, file) = disk_with(b"abc");
    disk.set_read_only(true);
    let refused = |result: io::Result<()>| {
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::ReadOnlyFilesystem);
    };
    refused(file.write_at(0, &[IoSlice::new(b"x")]).map(drop));
    refused(file.set_len(0));
    refused(disk.open(Path::new("/a"), OpenMode::ReadWrite).map(drop));
    refused(disk.open(Path::new("/b"), OpenMode::CreateNew).map(drop));
    refused(disk.rename(Path::new("/a"), Path::new("/b")));
    refused(disk.remove_file(Path::new("/a")));
    refused(disk.lock(Path::new("/LOCK")).map(drop));
    assert_eq!(disk.open(Path::new("/a"), OpenMode::Read).unwrap().len().unwrap(), 3);
}

#[test]
fn the_newest_content_of_removed_and_replaced_files_stays_readable() {
    let disk = SimDisk::new();
    write(&create(&disk, "/1.wal"), 0, b"one");
    write(&create(&disk, "/tmp"), 0, b"two");
    rename(&disk, "/tmp", "/2.wal");
    write(&create(&disk, "/other"), 0, b"");
    remove(&disk, "/1.wal");
    rename(&disk, "/2.wal", "/lost");
    let ever = disk.all_contents_ever(".wal");
    let ever: Vec<_> = ever.iter().map(|(path, content)| (path.to_str().unwrap(), &content[..])).collect();
    assert_eq!(ever, [("/1.wal", &b"one"[..]), ("/2.wal", &b"two"[..])]);
}

/// The history of a run was read from a file that had been a segment before its name was exchanged
/// away, because it was created later: a sound engine was said to have broken its promises.
#[test]
fn of_files_that_exchanged_a_name_the_one_that_has_it_counts() {
    let disk = SimDisk::new();
    write(&create(&disk, "/a"), 0, b"now");
    write(&create(&disk, "/1.wal"), 0, b"then");
    disk.exchange(Path::new("/a"), Path::new("/1.wal")).unwrap();
    rename(&disk, "/a", "/b");
    remove(&disk, "/1.wal");
    let ever = disk.all_contents_ever(".wal");
    let ever: Vec<_> = ever.iter().map(|(path, content)| (path.to_str().unwrap(), &content[..])).collect();
    assert_eq!(ever, [("/1.wal", &b"now"[..])]);
}

#[test]
fn a_disk_that_does_not_record_keeps_no_removed_file() {
    let disk = SimDisk::new();
    disk.stop_recording();
    let file = create(&disk, "/a");
    write(&file, 0, b"x");
    remove(&disk, "/a");
    file.sync_data().unwrap();
    drop(file);
    assert_eq!(disk.op_count(), 0);
    assert!(disk.all_contents_ever("a").is_empty());
}
