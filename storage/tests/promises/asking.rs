//! Who waits asks the committer, and what nobody asks for is committed all the same.

use super::*;

/// The frame of a write that nobody waits for.
fn put_and_forget(engine: &Engine, key: &str) -> Lsn {
    put_unsynced(engine, key, b"v").into_parts().1
}

fn at_memory(engine: &Engine, key: &str) -> Lsn {
    let write = Write { level: Some(Level::Memory), ..Write::new(b"v") };
    engine.put(key, write).unwrap().into_parts().1
}

#[test]
fn a_commit_that_is_taken_apart_and_never_waited_for_is_committed_all_the_same() {
    for fsync in [Fsync::Always, Fsync::Interval, Fsync::Never] {
        let engine = running(fsync);
        let lsn = put_and_forget(&engine, "k");
        in_time("nobody wrote it", || engine.stats().written >= lsn);
        if fsync == Fsync::Always {
            in_time("nobody synced it", || engine.stats().durable >= lsn);
        }
    }
}

/// They were written once no more came for a while: as long as a client went on, none was.
#[test]
fn frames_that_nobody_asks_for_are_written_although_more_keep_coming() {
    for fsync in [Fsync::Always, Fsync::Never] {
        let engine = running(fsync);
        let first = at_memory(&engine, "first");
        in_time("nobody wrote it", || {
            // Many times in those fifty milliseconds.
            for _ in 0..4 {
                std::thread::sleep(Duration::from_millis(1));
                at_memory(&engine, "next");
            }
            engine.stats().written >= first
        });
    }
}

#[test]
fn an_answer_that_is_dropped_unwaited_reaches_its_level_with_the_next_group() {
    let lab = Lab::new(Settings { allow_downgrade: true, ..small(Fsync::Always) });
    let engine = lab.open().unwrap();
    // A write that changed nothing: its outcome rests on a frame that nobody syncs.
    let drop_commit = |engine: &Engine| {
        let write = Write { condition: Condition::Absent, ..Write::new(b"w") };
        drop(engine.put("k", write).unwrap());
    };
    let drop_gate = |engine: &Engine| drop(engine.get("k"));
    let drops: [fn(&Engine); 2] = [drop_commit, drop_gate];
    for drop_one in drops {
        for is_written in [false, true] {
            let lsn = at_memory(&engine, "k");
            if is_written {
                engine.step().unwrap();
            }
            assert!(engine.stats().durable < lsn);
            drop_one(&engine);
            engine.step().unwrap();
            assert!(engine.stats().durable >= lsn, "is_written={is_written}");
        }
    }
}

#[test]
fn who_commits_by_himself_finds_everything_up_to_there_on_the_disk() {
    for fsync in [Fsync::Always, Fsync::Interval, Fsync::Never] {
        let lab = Lab::new(small(fsync));
        let engine = lab.open().unwrap();
        // Also what the system has already, and the disk may not have.
        let written = put_and_forget(&engine, "written");
        engine.step().unwrap();
        engine.commit_here(written).unwrap();
        assert!(engine.stats().durable >= written, "{fsync:?}");
        let lsn = put_and_forget(&engine, "k");
        engine.commit_here(lsn).unwrap();
        let found = lab_on(cut(&lab.disk, &Choice::None), &lab.clock, &lab.settings).open().unwrap();
        assert!(found.recovery().last_lsn >= lsn, "{fsync:?}");
    }
}

#[test]
fn who_writes_by_himself_syncs_nothing_and_a_kill_takes_nothing_back() {
    for fsync in [Fsync::Interval, Fsync::Never] {
        let lab = Lab::new(small(fsync));
        let engine = lab.open().unwrap();
        put(&engine, "before", b"v");
        let syncs = engine.stats().syncs;
        let lsn = put_and_forget(&engine, "k");
        assert!(engine.write_here(lsn).unwrap(), "{fsync:?}");
        assert!(engine.write_here(lsn).unwrap(), "it is there already");
        assert_eq!(engine.stats().syncs, syncs);
        let found = lab_on(lab.disk.after_kill(), &lab.clock, &lab.settings).open().unwrap();
        assert!(found.recovery().last_lsn >= lsn, "{fsync:?}");
    }
}

#[test]
fn who_would_write_by_himself_leaves_a_sync_that_is_due_to_the_committer() {
    let lab = Lab::new(small(Fsync::Interval));
    let engine = lab.open().unwrap();
    let is_left = |why: &str| {
        let lsn = put_and_forget(&engine, "k");
        let syncs = engine.stats().syncs;
        assert!(!engine.write_here(lsn).unwrap(), "{why}");
        assert_eq!(engine.stats().syncs, syncs, "{why}");
        assert!(engine.stats().written < lsn, "{why}");
        engine.step().unwrap();
        assert!(engine.stats().written >= lsn, "{why}");
    };
    put(&engine, "k", b"v");
    lab.pass(2 * lab.settings.fsync_interval);
    is_left("the window of what a power cut may take is full");
    put(&engine, "k", b"v");
    drop(engine.sync());
    is_left("somebody waits for the disk to have what is written");
    put_and_forget(&engine, "k");
    drop(engine.sync());
    is_left("somebody waits for the disk to have what has gathered");
    let lsn = put_and_forget(&engine, "k");
    assert!(engine.write_here(lsn).unwrap(), "and then nothing is due");
}

#[test]
fn who_would_write_by_himself_leaves_the_next_segment_to_the_committer() {
    let lab = Lab::new(small(Fsync::Never));
    let engine = lab.open().unwrap();
    let segments = || lab.files("wal").iter().filter(|(name, _)| name.ends_with(".wal")).count();
    let before = segments();
    for i in 0..100 {
        let lsn = put_unsynced(&engine, "k", &vec![i; 1500]).into_parts().1;
        if !engine.write_here(lsn).unwrap() {
            assert!(engine.stats().written < lsn);
            assert_eq!(segments(), before);
            engine.step().unwrap();
            assert!(engine.stats().written >= lsn);
            assert_eq!(segments(), before + 1);
            return;
        }
    }
    panic!("it went on for more than a segment");
}

#[test]
fn who_would_write_by_himself_does_not_wait_for_somebody_who_commits() {
    let lab = Lab::new(small(Fsync::Always));
    let engine = lab.open().unwrap();
    let tried = Arc::new(AtomicUsize::new(0));
    let (worker, counted) = (engine.clone(), tried.clone());
    lab.disk.on_sync(Box::new(move || {
        // In the middle of the commit below, in its thread.
        if counted.fetch_add(1, Ordering::SeqCst) == 0 {
            let lsn = put_and_forget(&worker, "during");
            assert!(!worker.write_here(lsn).unwrap());
        }
    }));
    put(&engine, "k", b"v");
    lab.disk.on_sync(Box::new(|| {}));
    assert!(tried.load(Ordering::SeqCst) > 0);
}

/// It was told that the next step makes room, and no step does after that.
#[test]
fn who_waits_for_room_is_woken_when_the_log_has_stopped() {
    let disk = SimDisk::new();
    let wal = bare_log(&disk, 4 << 10, false);
    let woken = Arc::new(Woken::default());
    let mut permit = wal.admit(100, 0, Urgency::Write).unwrap();
    wal.append(&mut permit, Kind::Put, Body::copied(b"x"), UnixMillis(1));
    drop(permit);
    wal.commit_step().unwrap();
    wal.register_for_room(&Waker::from(woken.clone()));
    disk.arm(Fault::nth(Call::Sync, 1, Effect::Fail(Errno::IO)));
    assert_eq!(wal.sync_step().unwrap_err().kind(), ErrorKind::Halted);
    assert_eq!(wal.commit_step().unwrap_err().kind(), ErrorKind::Halted);
    assert_eq!(woken.0.load(Ordering::SeqCst), 1);
}
