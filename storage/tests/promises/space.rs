//! A full disk, and room that was promised.

use super::*;

fn used(disk: &SimDisk) -> u64 {
    disk.tree().into_iter().map(|(_, len)| len).sum()
}

#[test]
fn on_a_full_disk_writes_are_refused_deletes_and_reads_go_on_and_space_brings_writes_back() {
    let settings = Settings { max_value_bytes: 4000, ..small(Fsync::Always) };
    let lab = Lab::new(settings.clone());
    let engine = lab.open().unwrap();
    let mut book = Book::default();
    for i in 0..400 {
        let key = format!("small-{i}");
        let outcome = engine.put(key.as_str(), Write::new(b"v"));
        book.wrote(&key, Some(b"v".to_vec()), outcome);
    }
    engine.checkpoint().unwrap();
    while !matches!(engine.stats(), s if s.unsynced_bytes == 0) {
        engine.step().unwrap();
    }
    engine.step().unwrap();
    lab.disk.set_capacity(Some(used(&lab.disk) + 20_000));
    let mut refused = 0;
    for i in 0..30 {
        let (key, value) = (format!("large-{}", i % 7), vec![i; 3000]);
        let outcome = engine.put(key.as_str(), Write::new(&value));
        if let Err(e) = &outcome {
            assert_eq!(e.kind(), ErrorKind::Full, "{e}");
            refused += 1;
        }
        book.wrote(&key, Some(value), outcome);
    }
    assert!((10..30).contains(&refused), "refused={refused}");
    // What is left of the active segment takes some small ones.
    let refused =
        (0..1000).find_map(|_| engine.put("small-0", Write::new(b"v")).and_then(Commit::wait).err());
    assert_eq!(refused.expect("the disk is full").kind(), ErrorKind::Full);
    book.holds(&engine, &|| "full".into());

    // The emergency segment takes at least half of itself.
    let mut deleted = 0;
    for i in 0..400 {
        let key = format!("small-{i}");
        let outcome = engine.delete(key.as_str(), Condition::Always, None);
        deleted += usize::from(outcome.is_ok());
        book.wrote(&key, None, outcome);
    }
    assert!((55..400).contains(&deleted), "deleted={deleted}");
    book.holds(&engine, &|| "deleted".into());

    // A restart needs no space, not even when nothing was left for deletes.
    let full = Some(used(&lab.disk));
    for disk in [lab.disk.after_kill(), cut(&lab.disk, &Choice::None), cut(&lab.disk, &Choice::Seeded(1))] {
        disk.set_capacity(full);
        let lab = lab_on(disk, &lab.clock, &settings);
        let engine = lab.open().unwrap();
        book.holds(&engine, &|| "restarted on a full disk".into());
        let again = lab_on(lab.disk.after_kill(), &lab.clock, &settings);
        again.disk.set_capacity(full);
        book.holds(&again.open().unwrap(), &|| "restarted twice".into());
    }

    lab.disk.set_capacity(None);
    for _ in 0..4 {
        engine.step().unwrap();
    }
    for i in 0..30 {
        put(&engine, &format!("late-{i}"), &vec![i; 3000]);
    }
    book.holds(&engine, &|| "space is back".into());
    engine.close().unwrap();
    assert!(lab.open().unwrap().recovery().clean);
}

/// A start needs no free space, and neither does the one after it: somebody else has always taken
/// what was free. Found by a second stop on a full disk, which was refused because the first start
/// had used up the file that was set aside for it.
#[test]
fn every_restart_on_a_full_disk_works_not_only_the_first() {
    for fsync in [Fsync::Always, Fsync::Interval, Fsync::Never] {
        let settings = Settings { max_value_bytes: 4000, ..small(fsync) };
        // Killed: what was written is there, whether it was synced or not.
        let (first, _engine, mut book) = full_lab(&settings);
        let mut disk = first.disk.after_kill();
        for start in 1..=12 {
            let what = || format!("{fsync:?}, start {start} after a kill");
            disk.set_capacity(Some(used(&disk)));
            let lab = lab_on(disk, &first.clock, &settings);
            let engine = lab.open().unwrap_or_else(|e| panic!("{}: {e}", what()));
            book.holds(&engine, &what);
            delete_one(&engine, &mut book, start);
            refuses_writes(&engine);
            disk = lab.disk.after_kill();
        }
        // Cut: what was synced is there, under whatever the disk holds beside it.
        let (first, engine, book) = full_lab(&settings);
        engine.sync().wait().unwrap();
        for choice in [Choice::None, Choice::All, Choice::Seeded(1), Choice::Seeded(2)] {
            let mut disk = cut(&first.disk, &choice);
            for start in 1..=6 {
                let what = || format!("{fsync:?}, start {start} after a cut, choice={choice}");
                disk.set_capacity(Some(used(&disk)));
                let lab = lab_on(disk, &first.clock, &settings);
                let engine = lab.open().unwrap_or_else(|e| panic!("{}: {e}", what()));
                book.holds(&engine, &what);
                refuses_writes(&engine);
                disk = cut(&lab.disk, &choice);
            }
        }
    }
}

/// Cuts a start on a full disk at each of its operations, and the start after that works as well.
#[test]
fn a_start_on_a_full_disk_may_be_cut_anywhere() {
    let settings = Settings { max_value_bytes: 4000, ..small(Fsync::Always) };
    let (first, _engine, book) = full_lab(&settings);
    let lab = lab_on(first.disk.after_kill(), &first.clock, &settings);
    lab.disk.set_capacity(Some(used(&lab.disk)));
    let before = lab.disk.op_count();
    let engine = lab.open().unwrap();
    // What the start has used is prepared again in the background, or that is tried.
    for _ in 0..4 {
        engine.step().unwrap();
    }
    let mut points = lab.disk.crash_points();
    points.seek(before);
    let mut images = 0;
    loop {
        let point = points.point();
        for choice in point.choices(&few(point.k())) {
            let mut disk = point.image(&choice);
            for start in 1..=3 {
                let what = || format!("k={} choice={choice} start={start}", point.k());
                disk.set_capacity(Some(used(&disk)));
                let lab = lab_on(disk, &first.clock, &settings);
                let engine = lab.open().unwrap_or_else(|e| panic!("{}: {e}", what()));
                book.holds(&engine, &what);
                disk = lab.disk.after_kill();
            }
            images += 1;
        }
        if !points.advance() {
            break;
        }
    }
    assert!(images > 100, "images={images}");
}

/// Killed while it fills the disk, at each operation. Found by a kill between the cut of the old
/// segment and the first frame of the new one: the file that was cut was thrown away as too short to
/// be a spare, and the second start had nothing to write to.
#[test]
fn who_fills_a_disk_may_be_killed_anywhere_and_every_start_after_that_works() {
    let settings = Settings { max_value_bytes: 4000, ..small(Fsync::Never) };
    let first = Lab::new(settings.clone());
    let engine = first.open().unwrap();
    for _ in 0..4 {
        engine.step().unwrap();
    }
    // From here on two files are set aside.
    let before = first.disk.op_count();
    fill_until_refused(&first, &engine, &mut Book::default());
    let mut points = first.disk.crash_points();
    points.seek(before);
    let mut kills = 0;
    loop {
        let point = points.point();
        let mut disk = point.image(&Choice::All);
        for start in 1..=4 {
            disk.set_capacity(Some(used(&disk)));
            let lab = lab_on(disk, &first.clock, &settings);
            let _running = lab.open().unwrap_or_else(|e| panic!("k={} start={start}: {e}", point.k()));
            disk = lab.disk.after_kill();
        }
        kills += 1;
        if !points.advance() {
            break;
        }
    }
    assert!(kills > 100, "kills={kills}");
}

#[test]
fn stops_in_order_and_kills_on_a_full_disk_come_in_any_order() {
    let settings = Settings { max_value_bytes: 4000, ..small(Fsync::Always) };
    for order in 0..16_u32 {
        let (first, engine, book) = full_lab(&settings);
        let (mut disk, mut running) = (first.disk.clone(), Some(engine));
        for turn in 0..4 {
            let what = || format!("order={order:04b} turn={turn}");
            if order >> turn & 1 == 1 {
                running.take().expect("one runs").close().unwrap();
            }
            disk = disk.after_kill();
            disk.set_capacity(Some(used(&disk)));
            let engine = lab_on(disk.clone(), &first.clock, &settings).open();
            let engine = engine.unwrap_or_else(|e| panic!("{}: {e}", what()));
            book.holds(&engine, &what);
            // Not a write in between: a stop may come before anybody has noticed that it is full.
            running = Some(engine);
        }
    }
}

#[test]
fn where_names_cannot_be_exchanged_the_old_file_is_replaced() {
    let lab = Lab::new(small(Fsync::Always));
    let engine = lab.open().unwrap();
    put(&engine, "a", b"1");
    for _ in 0..4 {
        engine.step().unwrap();
    }
    let killed = lab_on(lab.disk.after_kill(), &lab.clock, &lab.settings);
    // The name of a spare is taken away, names are exchanged, and if that fails one is given.
    killed.disk.arm(Fault::nth(Call::Rename, 2, Effect::Fail(Errno::NOSYS)));
    let engine = killed.open().unwrap();
    assert_eq!(killed.disk.fault_hits(), 1);
    assert_eq!(value(&engine, "a").as_deref(), Some(&b"1"[..]));
    let again = lab_on(killed.disk.after_kill(), &lab.clock, &lab.settings);
    assert_eq!(value(&again.open().unwrap(), "a").as_deref(), Some(&b"1"[..]));
}

/// A start that is stopped after the exchange leaves a file with frames in it.
#[test]
fn what_an_earlier_start_left_in_a_used_file_is_not_taken_for_the_end_of_the_log() {
    let lab = Lab::new(small(Fsync::Always));
    let engine = lab.open().unwrap();
    put(&engine, "a", b"1");
    for _ in 0..4 {
        engine.step().unwrap();
    }
    let mut disk = lab.disk.after_kill();
    for (name, len) in lab.files("wal").into_iter().filter(|(name, _)| name.ends_with(".spare")) {
        disk.remove(Path::new(DIR).join("wal").join(name));
        disk.write_file(Path::new(DIR).join("wal/7.used"), &vec![0xee; len as usize]);
    }
    for start in 1..=3 {
        let lab = lab_on(disk, &lab.clock, &lab.settings);
        lab.disk.set_capacity(Some(used(&lab.disk)));
        let engine = lab.open().unwrap();
        assert_eq!(engine.recovery().torn_bytes, 0, "start={start}");
        assert_eq!(value(&engine, "a").as_deref(), Some(&b"1"[..]));
        // It is a spare again, and a segment begins in it.
        engine.step().unwrap();
        disk = lab.disk.after_kill();
        let files = lab_on(disk.clone(), &lab.clock, &lab.settings).files("wal");
        for (name, len) in files.iter().filter(|(name, _)| name.ends_with(".spare")) {
            let content = disk.read_file(Path::new(DIR).join("wal").join(name)).unwrap();
            assert!(content == vec![0; *len as usize], "{name} is not all zeros");
        }
        assert!(files.iter().any(|(name, _)| name.ends_with(".spare")), "{files:?}");
    }
}

/// A disk on which nothing more fits, not even a delete.
fn full_lab(settings: &Settings) -> (Lab, Engine, Book) {
    let lab = Lab::new(settings.clone());
    let mut book = Book::default();
    let engine = lab.open().unwrap();
    fill_until_refused(&lab, &engine, &mut book);
    (lab, engine, book)
}

/// Writes until nothing more fits, then deletes until not even that does.
fn fill_until_refused(lab: &Lab, engine: &Engine, book: &mut Book) {
    for i in 0..400 {
        let key = format!("small-{i}");
        let outcome = engine.put(key.as_str(), Write::new(b"v"));
        book.wrote(&key, Some(b"v".to_vec()), outcome);
    }
    for _ in 0..4 {
        engine.step().unwrap();
    }
    lab.disk.set_capacity(Some(used(&lab.disk)));
    let refused = (0..2000).find(|i| {
        let outcome = engine.put(format!("large-{}", i % 7).as_str(), Write::new(&[*i as u8; 100]));
        let refused = matches!(&outcome, Err(e) if e.kind() == ErrorKind::Full);
        book.wrote(&format!("large-{}", i % 7), Some(vec![*i as u8; 100]), outcome);
        refused
    });
    assert!(refused.is_some(), "the disk never was full");
    let refused = (0..400).find(|i| {
        let key = format!("small-{i}");
        let outcome = engine.delete(key.as_str(), Condition::Always, None);
        let refused = outcome.is_err();
        book.wrote(&key, None, outcome);
        refused
    });
    assert!(refused.is_some(), "deletes never were refused");
}

fn delete_one(engine: &Engine, book: &mut Book, start: usize) {
    let key = format!("small-{}", 399 - start);
    let outcome = engine.delete(key.as_str(), Condition::Always, None);
    book.wrote(&key, None, outcome);
}

fn refuses_writes(engine: &Engine) {
    let refused = (0..400).find_map(|_| engine.put("large-0", Write::new(&[0; 3000])).err());
    assert_eq!(refused.expect("the disk is full").kind(), ErrorKind::Full);
}

#[test]
fn room_that_was_promised_is_there_for_frames_of_every_size() {
    let settings = Settings { staging_bytes: 256 << 10, ..small(Fsync::Never) };
    let mut random = Random::from_seed([3; 32]);
    for round in 0..40 {
        let lab = Lab::new(settings.clone());
        let engine = lab.open().unwrap();
        // Whatever the packing of the frames, no group needs more segments than are prepared.
        for i in 0..200 {
            let len = match random.next_u64() % 4 {
                0 => random.next_u64() % 100,
                1 => 5_500 + random.next_u64() % 600,
                2 => 4_000 + random.next_u64() % 2_500,
                _ => random.next_u64() % 6_000,
            };
            match engine.put(format!("{i}").as_str(), Write::new(&vec![7; len as usize])) {
                Ok(commit) => drop(commit),
                Err(e) => assert_eq!(e.kind(), ErrorKind::Overloaded, "{e}"),
            }
            if random.next_u64().is_multiple_of(40) {
                engine.step().unwrap();
            }
        }
        let before = state(&engine);
        engine.close().unwrap_or_else(|e| panic!("round {round}: {e}"));
        assert_eq!(state(&lab.open().unwrap()), before);
    }
}

#[test]
fn room_that_was_promised_to_one_is_not_promised_to_another() {
    let disk = SimDisk::new();
    let wal = bare_log(&disk, 1 << 20, true);
    for len in [100, 3_000, 5_000, 5_700] {
        let body = || Body::copied(&[7; 5_700][..len]);
        let admit = || wal.admit(body().frame_len(), 0, Urgency::Write);
        // As many as are let in hold their room at the same time.
        let permits: Vec<_> = std::iter::from_fn(|| admit().ok()).take(2000).collect();
        assert!(!permits.is_empty(), "len={len}");
        for mut permit in permits {
            wal.append(&mut permit, Kind::Put, body(), UnixMillis(1));
        }
        wal.commit_step().unwrap();
    }
    wal.drive_until(Level::Disk, wal.appended()).unwrap();
}
