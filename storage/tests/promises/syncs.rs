//! Kills in the middle of a sync, and what a sync vouches for.

use super::*;

/// What a restart finds in the page cache may never have reached the disk: the log, a MANIFEST, a
/// directory. Whatever it then does, and wherever it is cut, the next start finds all that was
/// acknowledged.
#[test]
fn a_kill_in_the_middle_of_any_sync_and_a_cut_of_the_restart_lose_nothing() {
    let lab = Lab::new(small(Fsync::Always));
    let kills: Arc<Mutex<Vec<(SimDisk, Lsn)>>> = Arc::default();
    let acknowledged = Arc::new(Mutex::new(Lsn::ZERO));
    let (disk, seen, known) = (lab.disk.clone(), kills.clone(), acknowledged.clone());
    lab.disk.on_sync(Box::new(move || {
        seen.lock().unwrap().push((disk.after_kill(), *known.lock().unwrap()));
    }));
    let engine = lab.open().unwrap();
    for i in 0..8 {
        *acknowledged.lock().unwrap() = put(&engine, &format!("key-{i}"), &vec![7; 2500]);
    }
    engine.checkpoint().unwrap();
    *acknowledged.lock().unwrap() = put(&engine, "last", b"x");
    engine.close().unwrap();
    lab.disk.on_sync(Box::new(|| {}));

    let kills = std::mem::take(&mut *kills.lock().unwrap());
    assert!(kills.len() > 20);
    for (number, (disk, required)) in kills.into_iter().enumerate() {
        let killed_at = disk.op_count();
        let second = lab_on(disk, &lab.clock, &lab.settings);
        let engine = second.open().unwrap_or_else(|e| panic!("kill {number}: {e}"));
        assert!(engine.recovery().last_lsn >= required, "kill {number}");
        let served = state(&engine);
        drop(engine);
        let mut crasher = second.disk.crash_points();
        crasher.seek(killed_at);
        for point in crasher {
            for choice in point.choices(&few(point.k())) {
                let what = || format!("kill {number}, cut at {} {choice}", point.k());
                let third = lab_on(point.image(&choice), &lab.clock, &lab.settings);
                let engine = third.open().unwrap_or_else(|e| panic!("{}: {e}", what()));
                assert!(engine.recovery().last_lsn >= required, "{}", what());
                assert!(state(&engine).len() <= served.len(), "{}", what());
            }
        }
    }
}

#[test]
fn an_acknowledgement_never_leaves_an_older_one_unsynced_for_longer_than_two_intervals() {
    let lab = Lab::new(small(Fsync::Interval));
    let engine = lab.open().unwrap();
    let interval = lab.settings.fsync_interval;
    let mut written = Vec::new();
    for i in 0..60u32 {
        let lsn = put(&engine, &format!("key-{i}"), b"v");
        let now = engine.now();
        written.push((now, lsn));
        let durable = engine.stats().durable;
        let too_old = |(at, lsn): &&(_, Lsn)| *lsn > durable && now.since(*at) >= 2 * interval;
        assert_eq!(written.iter().find(too_old), None, "durable={durable}");
        lab.pass(interval * (i % 5) / 2 + Duration::from_millis(1));
    }
    assert!(engine.stats().syncs < 50, "it does not sync each write");
}

#[test]
fn a_sync_vouches_only_for_what_was_written_before_it_began() {
    let lab = Lab::new(small(Fsync::Interval));
    let engine = lab.open().unwrap();
    put(&engine, "before", b"v");
    let vouched: Arc<Mutex<Vec<(Lsn, SimDisk)>>> = Arc::default();
    let (worker, noted, disk, first) =
        (engine.clone(), vouched.clone(), lab.disk.clone(), AtomicUsize::new(0));
    lab.disk.on_sync(Box::new(move || {
        if first.fetch_add(1, Ordering::SeqCst) == 0 {
            put(&worker, "during", b"v");
        }
        noted.lock().unwrap().push((worker.stats().durable, cut(&disk, &Choice::None)));
    }));
    engine.idle().unwrap();
    vouched.lock().unwrap().push((engine.stats().durable, cut(&lab.disk, &Choice::None)));
    lab.disk.on_sync(Box::new(|| {}));
    assert!(engine.stats().syncs > 0 && engine.stats().appended > Lsn(2));
    for (durable, disk) in vouched.lock().unwrap().drain(..) {
        let found = lab_on(disk, &lab.clock, &lab.settings).open().unwrap();
        assert!(found.recovery().last_lsn >= durable, "durable={durable}");
    }
}

/// The group is written, its sync is running: the system has it, the disk does not.
#[test]
fn no_answer_leaves_while_the_sync_that_it_waits_for_runs() {
    let lab = Lab::new(small(Fsync::Always));
    let engine = lab.open().unwrap();
    put(&engine, "deleted", b"v");
    let waiting = Mutex::new((put_unsynced(&engine, "k", b"v"), delete(&engine, "deleted")));
    let reads = Mutex::new((engine.get("k"), engine.get("deleted")));
    let (early, looked) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counted, asked, worker) = (early.clone(), looked.clone(), engine.clone());
    lab.disk.on_sync(Box::new(move || {
        let (mut writes, mut reads) = (waiting.lock().unwrap(), reads.lock().unwrap());
        let answers = [ready(&mut writes.0), ready(&mut writes.1), ready(&mut reads.0), ready(&mut reads.1)];
        counted.fetch_add(answers.into_iter().filter(|left| *left).count(), Ordering::SeqCst);
        counted.fetch_add(usize::from(ready(&mut worker.peek("k"))), Ordering::SeqCst);
        asked.fetch_add(1, Ordering::SeqCst);
    }));
    engine.sync().wait().unwrap();
    lab.disk.on_sync(Box::new(|| {}));
    assert_eq!((looked.load(Ordering::SeqCst), early.load(Ordering::SeqCst)), (1, 0));
    assert!(ready(&mut engine.get("k")));
}

/// Also what asked for less than the mode gives reaches the disk when a pause comes.
#[test]
fn in_always_mode_a_pause_brings_everything_to_the_disk() {
    let engine = running(Fsync::Always);
    let at_os = Write { level: Some(Level::Os), ..Write::new(b"v") };
    let lsn = engine.put("k", at_os).unwrap().wait().unwrap().lsn;
    in_time("nobody synced it", || engine.stats().durable >= lsn);
}

#[test]
fn a_level_is_told_only_when_it_was_reached() {
    for fsync in [Fsync::Always, Fsync::Interval, Fsync::Never] {
        let lab = Lab::new(Settings { allow_downgrade: true, ..small(fsync) });
        let engine = lab.open().unwrap();
        for (i, level) in [Level::Memory, Level::Os, Level::Disk].into_iter().cycle().take(30).enumerate() {
            let write = Write { level: Some(level), ..Write::new(b"v") };
            let committed = engine.put(format!("{i}").as_str(), write).unwrap().wait().unwrap();
            assert!(committed.level >= level);
            let rest = match committed.level {
                Level::Memory => continue,
                Level::Os => lab.disk.after_kill(),
                Level::Disk => cut(&lab.disk, &Choice::None),
            };
            let found = lab_on(rest, &lab.clock, &lab.settings).open().unwrap();
            assert!(found.recovery().last_lsn >= committed.lsn, "{fsync:?} {committed:?}");
        }
    }
}

/// A gate is a plain future: whoever polls it first without a thread behind it gets it later.
#[test]
fn a_waiter_is_woken_once_its_group_is_durable_and_not_before() {
    let engine = Lab::new(small(Fsync::Always)).open().unwrap();
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(woken.clone());
    let mut cx = Context::from_waker(&waker);
    let mut commit = put_unsynced(&engine, "k", b"v");
    let mut read: Gate<_> = engine.get("k");
    assert!(Pin::new(&mut commit).poll(&mut cx).is_pending());
    assert!(Pin::new(&mut read).poll(&mut cx).is_pending());
    assert_eq!(woken.0.load(Ordering::SeqCst), 0);
    engine.step().unwrap();
    assert_eq!(woken.0.load(Ordering::SeqCst), 2);
    assert!(matches!(Pin::new(&mut commit).poll(&mut cx), Poll::Ready(Ok(_))));
    assert!(matches!(Pin::new(&mut read).poll(&mut cx), Poll::Ready(Ok(Some(_)))));
}

/// Spares of another size are of other settings: they are not used.
#[test]
fn segments_that_were_prepared_for_another_size_are_not_used() {
    let lab = Lab::new(small(Fsync::Always));
    let engine = lab.open().unwrap();
    put(&engine, "k", b"v");
    for _ in 0..4 {
        engine.step().unwrap();
    }
    let killed = lab.disk.after_kill();
    for segment_bytes in [32 << 10, 64 << 10] {
        let settings = Settings { segment_bytes, ..lab.settings.clone() };
        let lab = lab_on(killed.after_kill(), &lab.clock, &settings);
        lab.disk.write_file(Path::new(DIR).join("wal/00000000000000000077.spare"), &[0; 700]);
        let engine = lab.open().unwrap();
        let spares = lab.files("wal").into_iter().filter(|(name, _)| name.ends_with(".spare"));
        assert!(spares.clone().all(|(_, len)| len == segment_bytes), "{:?}", spares.collect::<Vec<_>>());
        for i in 0..60 {
            put(&engine, &format!("key-{i}"), &[7; 3000]);
        }
        assert_eq!(state(&engine).len(), 61);
    }
}
