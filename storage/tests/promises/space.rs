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
        // Killed again, with nothing left that was set aside: refused or not, nothing is lost.
        let again = lab_on(lab.disk.after_kill(), &lab.clock, &settings);
        again.disk.set_capacity(full);
        if let Err(e) = again.open() {
            assert_eq!(e.kind(), ErrorKind::Full, "{e}");
        }
        again.disk.set_capacity(None);
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
    disk.write_file(Path::new(DIR).join("wal/x"), b"");
    let config = wal::Config {
        vfs: Arc::new(disk),
        clock: Arc::new(SimClock::new()),
        data_dir: DIR.into(),
        dataset_id: [1; 16],
        salt: Salt(1),
        run_id: [2; 16],
        fsync: Fsync::Never,
        fsync_interval: Duration::from_millis(100),
        segment_bytes: 16 << 10,
        staging_bytes: 1 << 20,
        manual: true,
    };
    let nothing = Tail { index: 0, crc: 0, term: 0, ts: UnixMillis(0), end: LogPosition::default() };
    let wal = Wal::start(config, nothing, 1, 1, [3; 16]).unwrap();
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
