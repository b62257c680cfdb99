//! The model of [`crash`](crate::sim::crash), one rule a test.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use super::*;
use crate::sim::choice::{Choice, Plan};

// ---- data ----

#[test]
fn synced_data_is_in_every_image() {
    let (disk, file) = disk_with(b"");
    write(&file, 0, &[1; 3000]);
    file.sync_data().unwrap();
    let synced = disk.op_count();
    write(&file, 3000, &[2; 3000]);
    file.set_len(9000).unwrap();
    for k in synced..=disk.op_count() {
        let mut crasher = disk.crash_points();
        crasher.seek(k);
        let point = crasher.point();
        for choice in point.choices(&Plan { garbage: 100, ..Plan::default() }) {
            let content = point.image(&choice).read_file("/a").unwrap();
            assert_eq!(content[..3000], [1; 3000], "k={k} choice={choice}");
        }
    }
}

#[test]
fn an_unsynced_write_may_be_old_or_new_sector_by_sector() {
    let (disk, file) = disk_with(&[1; 1024]);
    write(&file, 500, &[2; 20]);
    let old_new = |first: u8, second: u8| {
        let mut content = vec![1; 1024];
        content[500..512].fill(first);
        content[512..520].fill(second);
        Some(content)
    };
    assert_eq!(all_of(&disk, "/a"), [old_new(1, 1), old_new(1, 2), old_new(2, 1), old_new(2, 2)].into());
}

#[test]
fn two_writes_to_a_sector_give_three_versions() {
    let (disk, file) = disk_with(b"....");
    write(&file, 0, b"x");
    write(&file, 2, b"y");
    let version = |text: &str| Some(text.as_bytes().to_vec());
    assert_eq!(all_of(&disk, "/a"), [version("...."), version("x..."), version("x.y.")].into());
}

#[test]
fn a_length_that_arrives_before_its_data_shows_zeros() {
    let (disk, file) = disk_with(b"");
    write(&file, 0, b"data");
    assert_eq!(all_of(&disk, "/a"), [Some(vec![]), Some(vec![0; 4]), Some(b"data".to_vec())].into());
}

#[test]
fn a_large_write_may_stop_at_a_page() {
    let (disk, file) = disk_with(b"");
    write(&file, 0, &[1; 10_000]);
    let point = end(&disk);
    let lens: BTreeSet<usize> =
        (0..500).map(|seed| point.image(&Choice::Seeded(seed)).read_file("/a").unwrap().len()).collect();
    assert_eq!(lens, [0, 4096, 8192, 10_000].into());
}

#[test]
fn an_unsynced_cut_is_done_or_not() {
    let (disk, file) = disk_with(b"abcdef");
    file.set_len(2).unwrap();
    assert_eq!(all_of(&disk, "/a"), [Some(b"abcdef".to_vec()), Some(b"ab".to_vec())].into());
    file.set_len(4).unwrap();
    let images = all_of(&disk, "/a");
    assert!(images.contains(&Some(b"ab\0\0".to_vec())));
    file.sync_data().unwrap();
    assert_eq!(all_of(&disk, "/a"), [Some(b"ab\0\0".to_vec())].into());
}

#[test]
fn an_unsynced_allocation_is_zeros_or_nothing() {
    let (disk, file) = disk_with(b"ab");
    file.allocate(4).unwrap();
    assert_eq!(all_of(&disk, "/a"), [Some(b"ab".to_vec()), Some(b"ab\0\0".to_vec())].into());
}

#[test]
fn a_sync_covers_what_was_written_before_it_began() {
    let (disk, file) = disk_with(b"..");
    write(&file, 0, b"x");
    let during = file.clone();
    let writes = AtomicU64::new(0);
    disk.on_sync(Box::new(move || {
        if writes.fetch_add(1, Ordering::SeqCst) == 0 {
            write(&during, 1, b"y");
        }
    }));
    file.sync_data().unwrap();
    assert_eq!(all_of(&disk, "/a"), [Some(b"x.".to_vec()), Some(b"xy".to_vec())].into());
    file.sync_data().unwrap();
    assert_eq!(all_of(&disk, "/a"), [Some(b"xy".to_vec())].into());
}

#[test]
fn everything_arrived_is_what_the_process_saw() {
    let disk = SimDisk::new();
    mkdir(&disk, "/d");
    let a = create(&disk, "/d/a");
    write(&a, 700, &[1; 5000]);
    a.set_len(1000).unwrap();
    a.allocate(6000).unwrap();
    write(&a, 6500, &[2; 10]);
    let b = create(&disk, "/d/b");
    write(&b, 0, b"b");
    rename(&disk, "/d/b", "/c");
    let image = disk.image(disk.op_count(), &Choice::All);
    assert_eq!(image.tree(), disk.tree());
    for (path, _) in disk.tree() {
        assert_eq!(image.read_file(&path), disk.read_file(&path));
    }
    assert!(disk.image(disk.op_count(), &Choice::None).tree().is_empty());
}

// ---- names ----

#[test]
fn the_name_of_an_unsynced_file_may_vanish_though_its_data_is_synced() {
    let disk = SimDisk::new();
    let file = create(&disk, "/a");
    write(&file, 0, b"data");
    file.sync_data().unwrap();
    assert_eq!(all_of(&disk, "/a"), [None, Some(b"data".to_vec())].into());
    sync_dir(&disk, "/");
    assert_eq!(all_of(&disk, "/a"), [Some(b"data".to_vec())].into());
}

#[test]
fn a_synced_name_does_not_make_data_durable() {
    let disk = SimDisk::new();
    let file = create(&disk, "/a");
    write(&file, 0, b"data");
    sync_dir(&disk, "/");
    assert!(all_of(&disk, "/a").contains(&Some(vec![])));
}

#[test]
fn a_rename_is_whole_or_not_there() {
    let (disk, _) = disk_with(b"");
    rename(&disk, "/a", "/b");
    assert_eq!(all_names(&disk), set(&[&["/a"], &["/b"]]));
    sync_dir(&disk, "/");
    assert_eq!(all_names(&disk), set(&[&["/b"]]));
}

#[test]
fn a_replacing_rename_shows_the_old_file_or_the_new_one() {
    let (disk, _) = disk_with(b"old");
    disk.write_file("/tmp", b"new");
    rename(&disk, "/tmp", "/a");
    assert_eq!(all_of(&disk, "/a"), [Some(b"old".to_vec()), Some(b"new".to_vec())].into());
    assert_eq!(all_names(&disk), set(&[&["/a", "/tmp"], &["/a"]]));
}

#[test]
fn an_exchange_of_names_is_whole_or_not_there() {
    let (disk, _) = disk_with(b"one");
    disk.write_file("/b", b"other");
    disk.exchange(Path::new("/a"), Path::new("/b")).unwrap();
    let seen = |image: SimDisk| ["/a", "/b"].map(|path| image.read_file(path).unwrap());
    let all = |disk: &SimDisk| -> BTreeSet<_> {
        let point = end(disk);
        point.exhaustive().map(|choice| seen(point.image(&choice))).collect()
    };
    let (old, new) = ([b"one".to_vec(), b"other".to_vec()], [b"other".to_vec(), b"one".to_vec()]);
    assert_eq!(all(&disk), [old, new.clone()].into());
    sync_dir(&disk, "/");
    assert_eq!(all(&disk), [new].into());
}

#[test]
fn an_exchange_may_arrive_without_the_rename_before_it() {
    let (disk, _) = disk_with(b"one");
    disk.write_file("/b", b"other");
    rename(&disk, "/a", "/c");
    disk.exchange(Path::new("/c"), Path::new("/b")).unwrap();
    assert_eq!(all_names(&disk), set(&[&["/a", "/b"], &["/b", "/c"]]));
}

#[test]
fn a_rename_may_arrive_without_the_creation() {
    let disk = SimDisk::new();
    write(&create(&disk, "/tmp"), 0, b"x");
    rename(&disk, "/tmp", "/a");
    assert_eq!(all_names(&disk), set(&[&[], &["/tmp"], &["/a"]]));
}

#[test]
fn a_removed_name_may_come_back_until_its_directory_is_synced() {
    let (disk, _) = disk_with(b"data");
    remove(&disk, "/a");
    assert_eq!(all_of(&disk, "/a"), [None, Some(b"data".to_vec())].into());
    sync_dir(&disk, "/");
    assert_eq!(all_of(&disk, "/a"), [None].into());
}

#[test]
fn changes_to_names_arrive_in_any_order() {
    let disk = SimDisk::new();
    create(&disk, "/a");
    create(&disk, "/b");
    assert_eq!(all_names(&disk), set(&[&[], &["/a"], &["/b"], &["/a", "/b"]]));
}

#[test]
fn a_name_is_not_created_over_a_file_that_never_left_it() {
    let (disk, _) = disk_with(b"old");
    rename(&disk, "/a", "/b");
    write(&create(&disk, "/a"), 0, b"");
    let point = end(&disk);
    for choice in point.exhaustive() {
        let image = point.image(&choice);
        let kept = ["/a", "/b"].iter().any(|path| image.read_file(path).as_deref() == Some(b"old"));
        assert!(kept, "choice={choice} tree={:?}", image.tree());
    }
}

#[test]
fn a_chain_of_renames_never_names_a_file_twice() {
    let (disk, _) = disk_with(b"");
    rename(&disk, "/a", "/b");
    rename(&disk, "/b", "/c");
    assert_eq!(all_names(&disk), set(&[&["/a"], &["/b"], &["/c"]]));
}

#[test]
fn a_directory_without_a_durable_name_takes_its_content_along() {
    let disk = SimDisk::new();
    mkdir(&disk, "/d");
    create(&disk, "/d/a").sync_data().unwrap();
    sync_dir(&disk, "/d");
    assert_eq!(all_names(&disk), set(&[&[], &["/d/a"]]));
    sync_dir(&disk, "/");
    assert_eq!(all_names(&disk), set(&[&["/d/a"]]));
}

#[test]
fn a_rename_between_directories_needs_the_sync_of_both() {
    let (disk, _) = disk_with(b"");
    mkdir(&disk, "/d");
    sync_dir(&disk, "/");
    rename(&disk, "/a", "/d/a");
    for synced in ["/d", "/"] {
        let (one, other) = (disk.after_kill(), if synced == "/" { "/d" } else { "/" });
        sync_dir(&one, synced);
        assert_eq!(all_names(&one), set(&[&["/a"], &["/d/a"]]));
        sync_dir(&one, other);
        assert_eq!(all_names(&one), set(&[&["/d/a"]]));
    }
}

#[test]
fn a_synced_change_is_not_undone_by_an_older_one_that_it_builds_upon() {
    let (disk, _) = disk_with(b"");
    mkdir(&disk, "/d");
    sync_dir(&disk, "/");
    rename(&disk, "/a", "/d/a");
    remove(&disk, "/d/a");
    sync_dir(&disk, "/d");
    assert_eq!(all_names(&disk), set(&[&[]]));
}

#[test]
fn a_removed_directory_stays_away_once_its_parent_is_synced() {
    let disk = SimDisk::new();
    disk.write_file("/d/a", b"");
    remove(&disk, "/d/a");
    disk.remove_dir(Path::new("/d")).unwrap();
    assert_eq!(all_names(&disk), set(&[&[], &["/d/a"]]));
    sync_dir(&disk, "/");
    assert_eq!(all_names(&disk), set(&[&[]]));
}

// ---- garbage ----

#[test]
fn garbage_never_touches_durable_bytes_before_the_first_touched_one() {
    let (disk, file) = disk_with(&[1; 1024]);
    write(&file, 700, &[2; 10]);
    let point = end(&disk);
    let mut spoiled = 0;
    for seed in 0..200 {
        let content = point.image(&Choice::Garbage(seed)).read_file("/a").unwrap();
        assert_eq!(content[..700], [1; 700], "seed={seed}");
        spoiled += u64::from(content[710..] != [1; 314]);
    }
    assert!(spoiled > 150, "what is behind the write in its sector is spoiled too: {spoiled}");
}

#[test]
fn garbage_starts_as_early_as_any_unsynced_write_does() {
    let (disk, file) = disk_with(&[1; 1024]);
    write(&file, 700, b"x");
    write(&file, 600, b"x");
    let point = end(&disk);
    let between = |seed| point.image(&Choice::Garbage(seed)).read_file("/a").unwrap()[601..700].to_vec();
    assert!((0..50).any(|seed| between(seed) != [1; 99]));
}

#[test]
fn without_powersafe_overwrite_the_whole_sector_is_spoiled_and_no_other() {
    let (disk, file) = disk_with(&[1; 1024]);
    write(&file, 700, &[2; 10]);
    let content = end(&disk).image(&Choice::UnsafeOverwrite(7)).read_file("/a").unwrap();
    assert_eq!(content[..512], [1; 512]);
    assert_ne!(content[512..700], [1; 188]);
}

// ---- choices ----

#[test]
fn the_exhaustive_count_is_the_product_of_the_versions() {
    let (disk, file) = disk_with(&[0; 1024]);
    write(&file, 0, &[1; 1024]); // 2 sectors
    write(&file, 0, &[2; 512]); // a third version of one
    write(&file, 1024, &[3; 100]); // length and sector
    create(&disk, "/b"); // a name
    let point = end(&disk);
    assert_eq!(point.units().iter().map(|unit| unit.versions()).collect::<Vec<_>>(), [3, 2, 2, 2, 2]);
    assert_eq!(point.combinations(), 48);
    assert_eq!(point.exhaustive().count(), 48);
    let none = Plan { garbage: 0, ..Plan::default() };
    assert_eq!(point.choices(&none).len(), 48);
    assert_eq!(point.exhaustive().map(|choice| choice.to_string()).collect::<BTreeSet<_>>().len(), 48);
}

#[test]
fn a_file_that_is_durably_removed_is_nothing_to_decide_about() {
    let (disk, file) = disk_with(b"x");
    write(&file, 0, b"y");
    remove(&disk, "/a");
    assert_eq!(end(&disk).units().len(), 2);
    sync_dir(&disk, "/");
    write(&file, 0, b"z");
    assert!(end(&disk).units().is_empty());
}

#[test]
fn a_point_with_nothing_pending_has_one_image() {
    let (disk, _) = disk_with(b"x");
    assert_eq!(end(&disk).choices(&Plan::default()).len(), 1);
    assert_eq!(SimDisk::new().crash_points().count(), 1);
}

#[test]
fn too_many_combinations_are_sampled_and_each_choice_replays() {
    let (disk, file) = disk_with(b"");
    write(&file, 0, &[1; 64 << 10]);
    let point = end(&disk);
    let plan = Plan { unsafe_overwrite: 3, ..Plan::default() };
    let choices = point.choices(&plan);
    assert_eq!(choices.len(), 2 + 4 * plan.class_max + plan.seeded + plan.garbage + 3);
    for choice in choices {
        let again: Choice = choice.to_string().parse().unwrap();
        let replayed = disk.image(disk.op_count(), &again);
        assert_eq!(point.image(&choice).read_file("/a"), replayed.read_file("/a"), "{choice}");
    }
}

#[test]
fn an_image_is_a_disk_of_its_own() {
    let (disk, file) = disk_with(b"abc");
    let held = disk.lock(Path::new("/LOCK")).unwrap();
    let image = disk.image(disk.op_count(), &Choice::All);
    assert_eq!(image.op_count(), 0);
    assert!(image.lock(Path::new("/LOCK")).unwrap().is_some());
    write(&file, 0, b"x");
    assert_eq!(image.read_file("/a").unwrap(), b"abc");
    write(&image.open(Path::new("/a"), OpenMode::ReadWrite).unwrap(), 0, b"y");
    assert_eq!(disk.read_file("/a").unwrap(), b"xbc");
    // Power cuts can follow one another.
    assert_eq!(all_of(&image, "/a"), [Some(b"abc".to_vec()), Some(b"ybc".to_vec())].into());
    drop(held);
}

#[test]
fn a_kill_keeps_the_cache_and_leaves_it_unsynced() {
    let (disk, file) = disk_with(b"abc");
    let held = disk.lock(Path::new("/LOCK")).unwrap();
    write(&file, 0, b"x");
    let next = disk.after_kill();
    assert!(next.lock(Path::new("/LOCK")).unwrap().is_some());
    write(&file, 1, b"late");
    assert_eq!(next.read_file("/a").unwrap(), b"xbc");
    assert_eq!(all_of(&next, "/a"), [Some(b"abc".to_vec()), Some(b"xbc".to_vec())].into());
    drop(held);
}

#[test]
fn a_short_run_gives_ten_thousand_images() {
    let disk = SimDisk::new();
    let files: Vec<_> = (0..10).map(|i| create(&disk, &format!("/{i}"))).collect();
    for file in &files {
        write(file, 0, &[7; 48 << 10]);
        file.sync_data().unwrap();
    }
    sync_dir(&disk, "/");
    for i in 0..100 {
        write(&files[i % 3], (i * 300) as u64, &[i as u8; 300]);
        if i % 10 == 9 {
            files[i % 3].sync_data().unwrap();
        }
    }
    let plan = Plan { exhaustive_max: 64, ..Plan::default() };
    // Within a fraction of a second: the images share what they have in common.
    let images = |point: CrashPoint| {
        point.choices(&plan).iter().filter(|choice| point.image(choice).tree().len() == 10).count()
    };
    let images: usize = disk.crash_points().map(images).sum();
    assert!(images > 10_000);
}
