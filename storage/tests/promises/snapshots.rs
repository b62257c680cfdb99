//! Writes in the middle of a snapshot (I10), clocks, and terms.

use super::*;

type Hook = Box<dyn FnMut() + Send>;

/// A disk that does something between two calls.
#[derive(Clone)]
struct Meddler {
    disk: SimDisk,
    hook: Arc<Mutex<Option<Hook>>>,
}

impl Meddler {
    fn meddle(&self) {
        // Not while it meddles.
        if let Ok(mut hook) = self.hook.try_lock()
            && let Some(hook) = &mut *hook
        {
            hook();
        }
    }
}

impl std::fmt::Debug for Meddler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.disk.fmt(f)
    }
}

impl Vfs for Meddler {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        self.meddle();
        self.disk.open(path, mode)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.meddle();
        self.disk.rename(from, to)
    }
    fn exchange(&self, one: &Path, other: &Path) -> io::Result<()> {
        self.meddle();
        self.disk.exchange(one, other)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.meddle();
        self.disk.remove_file(path)
    }
    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.meddle();
        self.disk.remove_dir(path)
    }
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.meddle();
        self.disk.create_dir(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.meddle();
        self.disk.list(dir)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.meddle();
        self.disk.sync_dir(dir)
    }
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn DirLock>>> {
        self.disk.lock(path)
    }
    fn free_space(&self, path: &Path) -> io::Result<u64> {
        self.disk.free_space(path)
    }
}

#[test]
fn what_is_written_while_a_snapshot_is_taken_is_exactly_there_after_every_cut() {
    for (seed, fsync) in [(1, Fsync::Always), (2, Fsync::Always), (3, Fsync::Interval), (4, Fsync::Never)] {
        meddled_checkpoint(seed, fsync, 1);
    }
    // With values so long that the log rotates while the snapshot is taken.
    meddled_checkpoint(5, Fsync::Always, 60);
    meddled_checkpoint(6, Fsync::Never, 60);
}

fn meddled_checkpoint(seed: u8, fsync: Fsync, repeat: usize) {
    let (disk, clock, settings) = (SimDisk::new(), SimClock::new(), small(fsync));
    let meddler = Meddler { disk: disk.clone(), hook: Arc::default() };
    let components = Components {
        vfs: Arc::new(meddler.clone()),
        clock: Arc::new(clock.clone()),
        seed: [seed; 32],
        background: Background::Manual,
        policy: None,
    };
    let engine = Engine::open(settings.clone(), components).unwrap();
    let states: Arc<Mutex<BTreeMap<Lsn, State>>> = Arc::default();
    for i in 0..20 {
        put(&engine, &format!("key-{i}"), b"before");
    }
    engine.sync().wait().unwrap();
    let required = engine.stats().durable;
    states.lock().unwrap().insert(required, state(&engine));
    let begun = disk.op_count();

    let mut random = Random::from_seed([seed; 32]);
    let (worker, noted) = (engine.clone(), states.clone());
    let mut model = state(&engine);
    *meddler.hook.lock().unwrap() = Some(Box::new(move || {
        for _ in 0..3 {
            let n = random.next_u64();
            let key = format!("key-{}", n % 20);
            let lsn = match n / 20 % 6 {
                0 | 1 if model.contains_key(&key) => {
                    let lsn = delete(&worker, &key).lsn();
                    model.remove(&key);
                    lsn
                }
                2 | 3 if model.contains_key(&key) => {
                    let until = Expiry::In(Duration::from_secs(1000 + n % 1000));
                    let touch = worker.touch(key.as_str(), until, Condition::Always, None).unwrap();
                    let entry = model.get_mut(&key).unwrap();
                    entry.1 = touch.lsn().0;
                    entry.2 = Some(worker.now().after(Duration::from_secs(1000 + n % 1000)).0);
                    touch.lsn()
                }
                4 if n.is_multiple_of(7) => {
                    model.clear();
                    worker.flush(None, None).unwrap().lsn()
                }
                _ => {
                    let value = n.to_string().repeat(repeat).into_bytes();
                    let commit = put_unsynced(&worker, &key, &value);
                    model.insert(key, (value, commit.lsn().0, None));
                    commit.lsn()
                }
            };
            noted.lock().unwrap().insert(lsn, model.clone());
        }
    }));
    let report = engine.checkpoint().unwrap();
    *meddler.hook.lock().unwrap() = None;
    assert!(report.end.0 > report.begin.0 + 10, "{report:?}");
    assert!(engine.stats().durable >= report.end);
    put(&engine, "last", b"x");
    engine.sync().wait().unwrap();
    states.lock().unwrap().insert(engine.stats().appended, state(&engine));

    let states = states.lock().unwrap();
    assert_eq!(states.values().next_back(), Some(&state(&engine)));
    let mut crasher = disk.crash_points();
    crasher.seek(begun);
    let mut from_snapshot = 0;
    for point in crasher {
        for choice in point.choices(&few(point.k())) {
            let lab = lab_on(point.image(&choice), &clock, &settings);
            let engine = lab.open().unwrap_or_else(|e| panic!("cut at {} {choice}: {e}", point.k()));
            let report = engine.recovery();
            assert!(report.last_lsn >= required, "cut at {} {choice}", point.k());
            from_snapshot += usize::from(report.snapshot.is_some());
            assert_eq!(state(&engine), states[&report.last_lsn], "cut at {} {choice}", point.k());
            engine.check();
        }
    }
    assert!(from_snapshot > 10);
}

#[test]
fn a_deadline_that_was_moved_in_time_counts_however_late_the_restart_is() {
    for checkpoint in [false, true] {
        let lab = Lab::new(small(Fsync::Always));
        let engine = lab.open().unwrap();
        for key in ["kept", "longer"] {
            let soon = Write { expiry: Expiry::In(Duration::from_secs(10)), ..Write::new(b"v") };
            engine.put(key, soon).unwrap().wait().unwrap();
        }
        if checkpoint {
            engine.checkpoint().unwrap();
        }
        for (key, expiry) in [("kept", Expiry::Never), ("longer", Expiry::In(Duration::from_secs(1000)))] {
            engine.touch(key, expiry, Condition::Always, None).unwrap().wait().unwrap();
        }
        lab.pass(Duration::from_secs(60));
        let before = state(&engine);
        assert_eq!(before.len(), 2);
        let engine = lab_on(lab.disk.after_kill(), &lab.clock, &lab.settings).open().unwrap();
        assert_eq!(state(&engine), before, "checkpoint={checkpoint}");
    }
}

/// Values of 24 keys that are durable, in a log of several segments.
fn filled(lab: &Lab) -> (Engine, State) {
    let engine = lab.open().unwrap();
    for i in 0..60 {
        put(&engine, &format!("key-{}", i % 24), &[i; 800]);
    }
    let state = state(&engine);
    (engine, state)
}

/// The log that a snapshot replaces goes only when the snapshot was read back from the disk.
#[test]
fn a_snapshot_of_which_a_write_was_lost_or_went_astray_replaces_nothing() {
    let mut found_out = 0;
    for effect in [Effect::Lose, Effect::Misdirect(100)] {
        for n in 1..=8 {
            let lab = Lab::new(small(Fsync::Always));
            let (engine, before) = filled(&lab);
            lab.disk.arm(Fault::nth(Call::Write, n, effect));
            match engine.checkpoint() {
                Err(e) => assert_eq!(e.kind(), ErrorKind::Corrupt, "{effect:?} n={n}: {e}"),
                Ok(report) => panic!("{effect:?} n={n}: {report:?}"),
            }
            found_out += lab.disk.fault_hits();
            for disk in [lab.disk.after_kill(), cut(&lab.disk, &Choice::None)] {
                let engine = lab_on(disk, &lab.clock, &lab.settings).open().unwrap();
                assert_eq!(state(&engine), before);
            }
            assert_eq!(engine.checkpoint().unwrap().entries, 24);
        }
    }
    assert_eq!(found_out, 16);
}

/// A checkpoint that failed is repeated with success, or, where it is unknown what a start would
/// find, nothing is written any more.
#[test]
fn a_checkpoint_may_fail_at_every_call_and_is_repeated() {
    for (call, effect) in [
        (Call::Any, Effect::Fail(Errno::IO)),
        (Call::AnyChange, Effect::Fail(Errno::NOSPC)),
        (Call::Sync, Effect::DropDirty),
    ] {
        for n in 1.. {
            let lab = Lab::new(small(Fsync::Always));
            let (engine, before) = filled(&lab);
            let hits = lab.disk.fault_hits();
            lab.disk.arm(Fault::nth(call, n, effect));
            let mut left = Vec::new();
            let outcomes = [(); 3].map(|()| {
                let outcome = engine.checkpoint().map(|r| r.entries).map_err(|e| e.kind());
                left.extend([cut(&lab.disk, &Choice::None), lab.disk.after_kill()]);
                outcome
            });
            let what = || format!("{call:?} {effect:?} n={n} {outcomes:?}");
            let halted = engine.stats().halted.is_some();
            let right = if halted { Err(ErrorKind::Halted) } else { Ok(24) };
            assert_eq!(outcomes[2], right, "{}", what());
            assert_eq!(state(&engine), before, "{}", what());
            let was_hit = lab.disk.fault_hits() > hits;
            lab.disk.disarm();
            left.extend([Choice::All, Choice::Seeded(n), Choice::Garbage(n)].map(|c| cut(&lab.disk, &c)));
            for disk in left {
                let engine = lab_on(disk, &lab.clock, &lab.settings).open();
                let engine = engine.unwrap_or_else(|e| panic!("{}: {e}", what()));
                assert_eq!(state(&engine), before, "{}", what());
            }
            if !was_hit {
                assert!(n > 5);
                break;
            }
        }
    }
}

/// Only a frame removes an entry, so what has expired stays gone under any clock.
#[test]
fn what_the_expirer_has_removed_does_not_come_back_under_an_earlier_clock() {
    for checkpoint in [false, true] {
        let lab = Lab::new(small(Fsync::Always));
        let engine = lab.open().unwrap();
        let soon = Write { expiry: Expiry::In(Duration::from_secs(10)), ..Write::new(b"v") };
        engine.put("k", soon).unwrap().wait().unwrap();
        if checkpoint {
            engine.checkpoint().unwrap();
        }
        lab.pass(Duration::from_secs(20));
        engine.step().unwrap();
        assert_eq!((engine.stats().items, engine.stats().expired), (0, 1));
        engine.idle().unwrap();
        let earlier = SimClock::new();
        let engine = lab_on(lab.disk.after_kill(), &earlier, &lab.settings).open().unwrap();
        assert_eq!((engine.stats().items, value(&engine, "k")), (0, None), "checkpoint={checkpoint}");
    }
}

/// Time that the log, a checkpoint or a clean stop has seen does not come again.
#[test]
fn a_clock_that_was_set_back_while_nothing_ran_brings_no_entry_back() {
    for how in ["killed", "checkpoint", "closed"] {
        let lab = Lab::new(small(Fsync::Always));
        let engine = lab.open().unwrap();
        let soon = Write { expiry: Expiry::In(Duration::from_secs(10)), ..Write::new(b"v") };
        engine.put("k", soon).unwrap().wait().unwrap();
        lab.pass(Duration::from_secs(20));
        assert_eq!(value(&engine, "k"), None);
        match how {
            "killed" => drop(put(&engine, "other", b"v")),
            "checkpoint" => drop(engine.checkpoint().unwrap()),
            _ => engine.close().unwrap(),
        }
        let before = engine.now();
        let engine = lab_on(lab.disk.after_kill(), &SimClock::new(), &lab.settings).open().unwrap();
        assert!(engine.now() >= before, "{how}: {} {before}", engine.now());
        assert_eq!(value(&engine, "k"), None, "{how}");
        assert!(engine.recovery().clock_ahead >= Duration::from_secs(20));
    }
}

#[test]
fn a_term_is_durable_before_anything_is_served() {
    for fsync in [Fsync::Always, Fsync::Interval, Fsync::Never] {
        let lab = Lab::new(small(fsync));
        let (mut lab, mut last) = (lab, (0, Lsn::ZERO));
        for _ in 0..4 {
            let engine = lab.open().unwrap();
            assert_eq!(engine.stats().durable, engine.stats().appended);
            assert!(engine.recovery().term > last.0 && engine.recovery().last_lsn >= last.1);
            last = (engine.recovery().term, engine.stats().appended);
            lab = lab_on(cut(&lab.disk, &Choice::None), &lab.clock, &lab.settings);
        }
    }
}

#[test]
fn a_checkpoint_ends_in_every_mode_though_nobody_else_asks_for_a_sync() {
    for fsync in [Fsync::Always, Fsync::Interval, Fsync::Never] {
        let components = Components {
            vfs: Arc::new(SimDisk::new()),
            clock: Arc::new(SimClock::new()),
            seed: [1; 32],
            background: Background::Threads,
            policy: None,
        };
        let engine = Engine::open(small(fsync), components).unwrap();
        put(&engine, "k", b"v");
        let (done, ended) = mpsc::channel();
        let checkpointer = engine.clone();
        std::thread::spawn(move || drop(done.send(checkpointer.checkpoint().map(|r| r.entries))));
        let outcome = ended.recv_timeout(Duration::from_secs(20));
        let outcome = outcome.unwrap_or_else(|_| panic!("the checkpoint does not end, {fsync:?}"));
        assert_eq!(outcome.unwrap(), 1);
    }
}
