//! What the crash laboratory does not reach, each found by breaking the engine on purpose and
//! seeing every other test pass: faults of the disk at every call, answers that must wait, writes in
//! the middle of a snapshot, kills in the middle of a sync.

use std::{
    collections::BTreeMap,
    future::Future,
    io,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use emberkeep_storage::{
    Action, Background, BatchOp, BatchOutcome, Commit, Components, Condition, Cursor, DeleteOutcome, Engine,
    ErrorKind, Expiry, Fsync, Gate, Incr, IncrOutcome, Key, Level, Lsn, PutOutcome, Settings, UnixMillis,
    Write,
    format::{
        checksum::Salt,
        frame::{self, Kind},
        op::Op,
        payload::{self, Payload},
        segment::{SEGMENT_HEADER_LEN, SegmentHeader},
    },
    lsn::LogPosition,
    random::Random,
    sim::{
        choice::{Choice, Plan},
        clock::SimClock,
        disk::SimDisk,
        faults::{Call, Effect, Errno, Fault},
    },
    vfs::{DirEntry, DirLock, File, OpenMode, Vfs},
    wal::{
        self, Tail, Wal,
        staging::{Body, Urgency},
    },
};

use crate::lab::{DIR, Lab, small};

/// Key to value, version and deadline.
type State = BTreeMap<String, (Vec<u8>, u64, Option<u64>)>;

fn put(engine: &Engine, key: &str, value: &[u8]) -> Lsn {
    engine.put(key, Write::new(value)).unwrap().wait().unwrap().lsn
}

/// Appended and not waited for.
fn put_unsynced(engine: &Engine, key: &str, value: &[u8]) -> Commit<PutOutcome> {
    engine.put(key, Write::new(value)).unwrap()
}

fn delete(engine: &Engine, key: &str) -> Commit<DeleteOutcome> {
    engine.delete(key, Condition::Always, None).unwrap()
}

fn value(engine: &Engine, key: &str) -> Option<Vec<u8>> {
    engine.peek(key).wait().unwrap().map(|e| e.value().to_vec())
}

fn state(engine: &Engine) -> State {
    let mut state = State::new();
    let mut cursor = Some(Cursor::START);
    while let Some(at) = cursor {
        let page = engine.scan(at, Key::from(""), 1000).wait().unwrap();
        for e in page.entries {
            let key = String::from_utf8(e.key().bytes.to_vec()).unwrap();
            state.insert(key, (e.value().to_vec(), e.version(), e.deadline().map(|d| d.0)));
        }
        cursor = page.next;
    }
    state
}

fn ready<F: Future + Unpin>(answer: &mut F) -> bool {
    Pin::new(answer).poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

fn lab_on(disk: SimDisk, clock: &SimClock, settings: &Settings) -> Lab {
    Lab { disk, clock: clock.clone(), settings: settings.clone() }
}

/// What is there if the power fails now.
fn cut(disk: &SimDisk, choice: &Choice) -> SimDisk {
    disk.image(disk.op_count(), choice)
}

fn few(seed: u64) -> Plan {
    Plan { exhaustive_max: 4, class_max: 1, seeded: 2, garbage: 2, unsafe_overwrite: 0, seed }
}

// ---- what may not leave yet ----

/// The answer waits as long as a power cut could take back what it rests on, and no longer.
fn waits<T: Unpin + std::fmt::Debug>(
    what: &str,
    engine: &Engine,
    mut answer: impl Future<Output = T> + Unpin,
) {
    assert!(!ready(&mut answer), "{what}: the answer left before it was durable");
    let before = engine.stats();
    assert!(before.durable < before.appended, "{what}: there was nothing to wait for");
    engine.step().unwrap();
    assert!(ready(&mut answer), "{what}: the answer did not leave when it was durable");
}

#[test]
fn an_entry_is_not_shown_before_it_is_durable() {
    let engine = Lab::new(small(Fsync::Always)).open().unwrap();
    put(&engine, "k", b"old");
    let write = put_unsynced(&engine, "k", b"new");
    waits("get", &engine, engine.get("k"));
    assert_eq!(write.wait().unwrap().level, Level::Disk);
    drop(put_unsynced(&engine, "k", b"newer"));
    waits("peek", &engine, engine.peek("k"));
    drop(put_unsynced(&engine, "k", b"newest"));
    waits("scan", &engine, engine.scan(Cursor::START, Key::from("k"), 10));
    assert!(ready(&mut engine.get("k")) && ready(&mut engine.get("never there")));
}

#[test]
fn that_a_key_was_deleted_is_not_shown_before_it_is_durable() {
    let engine = Lab::new(small(Fsync::Always)).open().unwrap();
    let gone = |engine: &Engine| {
        put(engine, "k", b"v");
        drop(delete(engine, "k"));
    };
    gone(&engine);
    waits("get", &engine, engine.get("k"));
    gone(&engine);
    waits("scan", &engine, engine.scan(Cursor::START, Key::from(""), 10));
    gone(&engine);
    // A round of the expirer frees no tombstone that somebody may still have to wait for.
    let (expirer, answer) = (&engine, engine.get("k"));
    let mut write = put_unsynced(expirer, "other", b"v");
    assert!(!ready(&mut write));
    waits("get", &engine, answer);
    gone(&engine);
    waits("delete again", &engine, delete(&engine, "k"));
    gone(&engine);
    let present = Write { condition: Condition::Present, ..Write::new(b"v") };
    waits("put if present", &engine, engine.put("k", present).unwrap());
    gone(&engine);
    waits("touch", &engine, engine.touch("k", Expiry::Never, Condition::Always, None).unwrap());
    gone(&engine);
    let refused = [BatchOp { key: Key::from("k"), action: Action::Put(present) }];
    waits("batch", &engine, engine.batch(&refused, None).unwrap());
    engine.check();
}

#[test]
fn a_tombstone_stays_until_its_removal_is_durable_whoever_writes_beside_it() {
    let settings = Settings { stripes: Some(1), ..small(Fsync::Always) };
    let engine = Lab::new(settings).open().unwrap();
    put(&engine, "k", b"v");
    drop(delete(&engine, "k"));
    // Every write begins by freeing the tombstones that nobody has to wait for any more.
    drop(put_unsynced(&engine, "other", b"v"));
    waits("get", &engine, engine.get("k"));
}

#[test]
fn that_a_key_was_flushed_is_not_shown_before_it_is_durable() {
    let engine = Lab::new(small(Fsync::Always)).open().unwrap();
    put(&engine, "k", b"v");
    drop(engine.flush(None, None).unwrap());
    waits("get", &engine, engine.get("k"));
    put(&engine, "k", b"v");
    drop(engine.flush(Some(0), None).unwrap());
    waits("scan", &engine, engine.scan(Cursor::START, Key::from(""), 10));
    drop(engine.flush(None, None).unwrap());
    waits("delete", &engine, delete(&engine, "k"));
}

#[test]
fn that_a_key_was_evicted_is_not_shown_before_it_is_durable() {
    let settings = Settings { max_items: Some(3), stripes: Some(1), ..small(Fsync::Always) };
    let engine = Lab::new(settings).open().unwrap();
    let keys = ["a", "b", "c"];
    for key in keys {
        put(&engine, key, b"v");
    }
    let newer = put_unsynced(&engine, "d", b"v").lsn();
    let evicted: Vec<_> = keys.into_iter().filter(|key| !ready(&mut engine.peek(*key))).collect();
    assert_eq!(evicted.len(), 1, "{evicted:?}");
    assert!(engine.stats().durable < newer);
    waits("get", &engine, engine.get(evicted[0]));
    assert_eq!(value(&engine, evicted[0]), None);
}

#[test]
fn that_a_key_has_expired_is_not_shown_before_its_deadline_is_durable() {
    let lab = Lab::new(small(Fsync::Always));
    let engine = lab.open().unwrap();
    put(&engine, "k", b"v");
    drop(engine.touch("k", Expiry::In(Duration::from_secs(1)), Condition::Always, None).unwrap());
    lab.pass(Duration::from_secs(2));
    let (mut get, mut scan) = (engine.get("k"), engine.scan(Cursor::START, Key::from(""), 10));
    assert!(!ready(&mut get) && !ready(&mut scan), "without that deadline the key would be there");
    engine.sync().wait().unwrap();
    assert!(ready(&mut get) && ready(&mut scan));
    // Removed by whoever writes to the key: the answer rests on the removal.
    waits("delete", &engine, delete(&engine, "k"));
    let soon = Write { expiry: Expiry::In(Duration::from_secs(1)), ..Write::new(b"v") };
    engine.put("k", soon).unwrap().wait().unwrap();
    lab.pass(Duration::from_secs(2));
    let present = Write { condition: Condition::Present, ..Write::new(b"v") };
    waits("put if present", &engine, engine.put("k", present).unwrap());
}

#[test]
fn a_refusal_is_not_told_before_what_it_rests_on_is_durable() {
    let engine = Lab::new(small(Fsync::Always)).open().unwrap();
    let written = |engine: &Engine| put_unsynced(engine, "k", b"text").lsn();
    let absent = Write { condition: Condition::Absent, ..Write::new(b"v") };
    written(&engine);
    waits("put if absent", &engine, engine.put("k", absent).unwrap());
    let version = written(&engine).0;
    let other = Condition::VersionIn(&[1]);
    waits("put if version", &engine, engine.put("k", Write { condition: other, ..absent }).unwrap());
    assert_ne!(version, 1);
    written(&engine);
    waits("delete if version", &engine, engine.delete("k", other, None).unwrap());
    written(&engine);
    waits("touch if version", &engine, engine.touch("k", Expiry::Never, other, None).unwrap());
    written(&engine);
    let incr = engine.incr("k", 1, Incr::default()).unwrap();
    waits("incr", &engine, incr);
    written(&engine);
    let refused = [BatchOp { key: Key::from("k"), action: Action::Put(absent) }];
    waits("batch", &engine, engine.batch(&refused, None).unwrap());
    written(&engine);
    let incr = engine.incr("k", 1, Incr::default()).unwrap().wait().unwrap();
    assert_eq!(incr.outcome, IncrOutcome::NotAnInteger);
}

// ---- a failed write or sync is final (I11) ----

/// Counts how often somebody was woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn halting_faults() -> Vec<Fault> {
    vec![
        Fault::next(Call::Sync, Effect::Fail(Errno::IO)),
        Fault::next(Call::Sync, Effect::DropDirty),
        Fault::next(Call::Write, Effect::Fail(Errno::IO)),
        Fault::next(Call::Write, Effect::Fail(Errno::NOSPC)),
        Fault::next(Call::Write, Effect::FailAfter(100, Errno::IO)),
        Fault::next(Call::Write, Effect::FailAfter(0, Errno::NOSPC)),
    ]
}

fn halted<T: std::fmt::Debug>(what: &str, outcome: emberkeep_storage::Result<T>) {
    match outcome {
        Err(e) => assert_eq!(e.kind(), ErrorKind::Halted, "{what}: {e}"),
        Ok(answer) => panic!("{what}: answered after the log had stopped: {answer:?}"),
    }
}

#[test]
fn after_a_failed_write_or_sync_nothing_is_acknowledged_and_what_was_durable_is_read() {
    for fsync in [Fsync::Always, Fsync::Interval, Fsync::Never] {
        for fault in halting_faults() {
            one_halt(fsync, fault);
        }
    }
}

fn one_halt(fsync: Fsync, fault: Fault) {
    let lab = Lab::new(small(fsync));
    let engine = lab.open().unwrap();
    for key in ["safe", "replaced", "deleted"] {
        put(&engine, key, b"old");
    }
    engine.sync().wait().unwrap();
    let durable = engine.stats().durable;

    let at_disk = Write { level: Some(Level::Disk), ..Write::new(b"new") };
    let mut waiting = [engine.put("replaced", at_disk).unwrap(), engine.put("fresh", at_disk).unwrap()];
    let mut deleted = engine.delete("deleted", Condition::Always, Some(Level::Disk)).unwrap();
    let at_os = Write { level: Some(Level::Os), ..at_disk };
    let handed_over = (fsync != Fsync::Always).then(|| engine.put("handed over", at_os).unwrap());
    let (woken, mut read) = (Arc::new(Woken::default()), engine.get("safe"));
    assert!(ready(&mut read));
    let waker = Waker::from(woken.clone());
    let mut cx = Context::from_waker(&waker);
    for commit in &mut waiting {
        assert!(Pin::new(commit).poll(&mut cx).is_pending());
    }
    assert!(Pin::new(&mut deleted).poll(&mut cx).is_pending());

    let syncs = lab.disk.calls(Call::Sync);
    lab.disk.arm(fault);
    halted("step", engine.step());
    assert_eq!(lab.disk.fault_hits(), 1, "{fault:?}");
    let wakes = woken.0.load(Ordering::SeqCst);
    assert_eq!(wakes, 3, "whoever waits is woken, {fsync:?} {fault:?}");
    for commit in waiting {
        halted("a waiting put", commit.wait());
    }
    halted("a waiting delete", deleted.wait());
    let before_sync = lab.disk.calls(Call::Sync) == syncs;
    if let Some(commit) = handed_over.filter(|_| before_sync) {
        halted("a write that the system never got", commit.wait());
    }
    // The disk is well again, and still nothing is tried.
    let calls = lab.disk.calls(Call::AnyChange);
    for round in 0..3 {
        halted("put", engine.put("late", Write::new(b"v")).and_then(Commit::wait));
        halted("delete", engine.delete("safe", Condition::Always, None).and_then(Commit::wait));
        halted("incr", engine.incr("n", 1, Incr::default()).and_then(Commit::wait));
        halted("flush", engine.flush(None, None).and_then(Commit::wait));
        halted("sync", engine.sync().wait());
        halted("step", engine.step());
        halted("idle", engine.idle());
        halted("checkpoint", engine.checkpoint());
        halted("ready", engine.ready(10).wait());
        assert_eq!(value(&engine, "safe").as_deref(), Some(&b"old"[..]), "{round}");
        halted("an entry that is not durable", engine.get("replaced").wait());
        halted("an entry that is not durable", engine.get("fresh").wait());
        if fsync == Fsync::Always {
            halted("a removal that is not durable", engine.get("deleted").wait());
            halted("a scan over them", engine.scan(Cursor::START, Key::from(""), 100).wait());
        }
        assert_eq!(engine.stats().durable, durable, "{fsync:?} {fault:?}");
        assert!(engine.stats().halted.is_some());
    }
    halted("close", engine.close());
    assert_eq!(lab.disk.calls(Call::AnyChange), calls, "the disk was written to after a failure");

    for disk in [lab.disk.after_kill(), cut(&lab.disk, &Choice::None), cut(&lab.disk, &Choice::All)] {
        let engine = lab_on(disk, &lab.clock, &lab.settings).open().unwrap();
        assert!(!engine.recovery().clean);
        assert_eq!(value(&engine, "safe").as_deref(), Some(&b"old"[..]));
        assert!(engine.recovery().last_lsn >= durable);
        put(&engine, "late", b"v");
    }
}

/// What a client may find after what it was told: per key, the values that are possible.
#[derive(Default)]
struct Book(BTreeMap<String, Vec<Option<Vec<u8>>>>);

impl Book {
    fn possible(&mut self, key: &str) -> &mut Vec<Option<Vec<u8>>> {
        self.0.entry(key.to_owned()).or_insert_with(|| vec![None])
    }

    /// What came of a write: refused, acknowledged or unknown.
    fn wrote<T>(&mut self, key: &str, value: Option<Vec<u8>>, outcome: emberkeep_storage::Result<Commit<T>>) {
        match outcome.map(Commit::wait) {
            Err(refused) => {
                let kind = refused.kind();
                let told = matches!(kind, ErrorKind::Full | ErrorKind::Overloaded | ErrorKind::Halted);
                assert!(told, "{key}: {refused}");
            }
            Ok(Ok(_)) => *self.possible(key) = vec![value],
            Ok(Err(unknown)) => {
                assert_eq!(unknown.kind(), ErrorKind::Halted, "{unknown}");
                self.possible(key).push(value);
            }
        }
    }

    fn holds(&self, engine: &Engine, what: &dyn Fn() -> String) {
        for (key, possible) in &self.0 {
            let found = value(engine, key);
            assert!(possible.contains(&found), "{}: {key} is {found:?}, not of {possible:?}", what());
        }
    }
}

/// A session with everything in it. `book` knows what was there before.
fn session(lab: &Lab, book: &mut Book) {
    let Ok(engine) = lab.open() else { return };
    let open = || "in the session".to_owned();
    book.holds(&engine, &open);
    for i in 0..24 {
        let key = format!("key-{}", i % 10);
        let value = format!("{i}-").repeat(150 + i * 5).into_bytes();
        let outcome = engine.put(key.as_str(), Write::new(&value));
        book.wrote(&key, Some(value), outcome);
        if i % 5 == 0 {
            let key = format!("key-{}", (i + 3) % 10);
            let outcome = engine.delete(key.as_str(), Condition::Present, None);
            book.wrote(&key, None, outcome);
        }
        if i % 4 == 0
            && let Ok(entry) = engine.get(key.as_str()).wait()
        {
            // What was observed stays.
            let seen = entry.map(|e| e.value().to_vec());
            assert!(book.possible(&key).contains(&seen));
            *book.possible(&key) = vec![seen];
        }
        if i == 16 {
            drop(engine.checkpoint());
        }
        if i % 6 == 0 {
            drop(engine.step());
        }
    }
    drop(engine.idle());
    drop(engine.close());
}

/// Every call of a whole session fails once, in every way, from an empty disk and from a killed
/// one: nothing panics, nothing is acknowledged that is not there, and without the fault the
/// directory opens.
fn every_call_fails(call: Call, effects: &[Effect], from_then_on: bool) {
    let settings = small(Fsync::Always);
    let empty = Lab::new(settings.clone());
    let (killed, killed_book) = {
        let lab = Lab::new(settings.clone());
        let engine = lab.open().unwrap();
        let mut book = Book::default();
        for i in 0..30 {
            let (key, value) = (format!("key-{}", i % 10), vec![i as u8; 700]);
            let outcome = engine.put(key.as_str(), Write::new(&value));
            book.wrote(&key, Some(value), outcome);
        }
        engine.checkpoint().unwrap();
        put(&engine, "more", b"x");
        drop(put_unsynced(&engine, "unknown", b"x"));
        (lab.disk.after_kill(), book)
    };
    for (start, known) in [(&empty.disk, &Book::default()), (&killed, &killed_book)] {
        for effect in effects {
            for n in 1.. {
                let lab = lab_on(start.after_kill(), &empty.clock, &settings);
                let fault = Fault::nth(call, n, *effect);
                lab.disk.arm(if from_then_on { fault.from_then_on() } else { fault });
                let mut book = Book(known.0.clone());
                session(&lab, &mut book);
                let was_hit = lab.disk.fault_hits() > 0;
                lab.disk.disarm();
                let seed = n + lab.disk.op_count();
                let rests = [
                    lab.disk.after_kill(),
                    cut(&lab.disk, &Choice::None),
                    cut(&lab.disk, &Choice::Seeded(seed)),
                    cut(&lab.disk, &Choice::Garbage(seed)),
                ];
                for (i, disk) in rests.into_iter().enumerate() {
                    let what = || format!("{call:?} {effect:?} n={n} rest={i}");
                    let lab = lab_on(disk, &lab.clock, &settings);
                    let engine = lab.open().unwrap_or_else(|e| panic!("{}: {e}", what()));
                    book.holds(&engine, &what);
                    engine.check();
                }
                if !was_hit {
                    assert!(n > 3, "{call:?} is hardly ever called");
                    break;
                }
            }
        }
    }
}

#[test]
fn any_one_call_may_fail_with_eio() {
    every_call_fails(Call::Any, &[Effect::Fail(Errno::IO)], false);
}

#[test]
fn any_one_change_may_fail_with_enospc() {
    every_call_fails(Call::AnyChange, &[Effect::Fail(Errno::NOSPC)], false);
}

#[test]
fn any_sync_may_fail_and_drop_what_it_was_to_write() {
    every_call_fails(Call::Sync, &[Effect::DropDirty], false);
}

#[test]
fn any_write_may_be_cut_short_with_or_without_an_error() {
    let effects =
        [Effect::Short(60), Effect::FailAfter(1000, Errno::NOSPC), Effect::FailAfter(90, Errno::IO)];
    every_call_fails(Call::Write, &effects, false);
}

#[test]
fn a_disk_may_fail_for_good_at_any_change() {
    every_call_fails(Call::AnyChange, &[Effect::Fail(Errno::IO), Effect::Fail(Errno::NOSPC)], true);
}

// ---- a full disk ----

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

// ---- writes in the middle of a snapshot (I10) ----

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
        meddled_checkpoint(seed, fsync);
    }
}

fn meddled_checkpoint(seed: u8, fsync: Fsync) {
    let (disk, clock, settings) = (SimDisk::new(), SimClock::new(), small(fsync));
    let meddler = Meddler { disk: disk.clone(), hook: Arc::default() };
    let components = Components {
        vfs: Arc::new(meddler.clone()),
        clock: Arc::new(clock.clone()),
        seed: [seed; 32],
        background: Background::Manual,
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
                    let value = n.to_string().into_bytes();
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

// ---- atomicity, limits, numbers ----

#[test]
fn a_batch_is_there_whole_or_not_at_all_after_every_cut() {
    for fsync in [Fsync::Always, Fsync::Never] {
        let lab = Lab::new(small(fsync));
        let engine = lab.open().unwrap();
        put(&engine, "c", b"old");
        engine.sync().wait().unwrap();
        let begun = lab.disk.op_count();
        for round in 0..4u8 {
            let value = vec![round; 1500];
            let step = |key: &'static str, action| BatchOp { key: Key::from(key), action };
            let ops = [
                step("a", Action::Put(Write::new(&value))),
                step("b", Action::Put(Write::new(&value))),
                if round % 2 == 0 {
                    step("c", Action::Delete(Condition::Always))
                } else {
                    step("c", Action::Put(Write::new(&value)))
                },
            ];
            let committed = engine.batch(&ops, Some(Level::Disk)).unwrap().wait().unwrap();
            assert!(matches!(committed.outcome, BatchOutcome::Applied(_)));
        }
        let mut crasher = lab.disk.crash_points();
        crasher.seek(begun);
        for point in crasher {
            let plan = Plan { exhaustive_max: 64, class_max: 3, ..few(point.k()) };
            for choice in point.choices(&plan) {
                let engine = lab_on(point.image(&choice), &lab.clock, &lab.settings).open().unwrap();
                let [a, b, c] = ["a", "b", "c"].map(|key| value(&engine, key).map(|v| v[0]));
                let whole = match a {
                    None => b.is_none() && c == Some(b'o'),
                    Some(round) => b == Some(round) && c == (round % 2 == 1).then_some(round),
                };
                assert!(whole, "{a:?} {b:?} {c:?}, cut at {} {choice}", point.k());
            }
        }
    }
}

/// At no frame of the log does it hold more entries than the limit: who makes room is logged
/// before who takes it, so a cut between the two brings nobody back.
#[test]
fn who_leaves_is_logged_before_who_comes() {
    let settings = Settings { max_items: Some(10), ..small(Fsync::Always) };
    let lab = Lab::new(settings);
    let engine = lab.open().unwrap();
    for i in 0..300 {
        drop(put_unsynced(&engine, &format!("key-{i}"), b"v"));
        if i % 9 == 0 {
            let steps = ["x", "y", "z"]
                .map(|key| BatchOp { key: Key::from(key), action: Action::Put(Write::new(b"v")) });
            drop(engine.batch(&steps, None).unwrap());
            drop(delete(&engine, "y"));
        }
    }
    engine.sync().wait().unwrap();
    let mut live = std::collections::BTreeSet::new();
    let segments: BTreeMap<PathBuf, _> = lab.disk.all_contents_ever(".wal").into_iter().collect();
    for bytes in segments.values() {
        let salt = SegmentHeader::decode(bytes).unwrap().salt;
        let mut at = SEGMENT_HEADER_LEN;
        while let Ok(frame) = frame::decode(&bytes[at..], salt) {
            at += frame.disk_len();
            let mut apply = |op: &Op<'_>| {
                _ = match op {
                    Op::Delete(key) => live.remove(key.bytes),
                    op => live.insert(op.key().bytes.to_vec()),
                }
            };
            match payload::decode(&frame).unwrap() {
                Payload::Op(op) => apply(&op),
                Payload::Txn(ops) => ops.iter().for_each(|op| apply(&op)),
                Payload::Remove(_, keys) => keys.iter().for_each(|(key, _)| assert!(live.remove(key.bytes))),
                _ => {}
            }
            assert!(live.len() <= 10, "lsn={}: {} entries", frame.header.index, live.len());
        }
    }
    let expected: Vec<_> = state(&engine).into_keys().map(String::into_bytes).collect();
    assert_eq!(live.into_iter().collect::<Vec<_>>(), expected);
}

/// I7. A start that is cut itself does not forget how much the run before it may have lost.
#[test]
fn no_number_is_used_twice_when_a_restart_is_cut_too() {
    let settings = Settings { segment_bytes: 64 << 10, staging_bytes: 4 << 10, ..small(Fsync::Never) };
    let lab = Lab::new(Settings { checkpoint_bytes: 1 << 20, ..settings });
    let engine = lab.open().unwrap();
    put(&engine, "k", b"v");
    engine.sync().wait().unwrap();
    let mut handed_out = Lsn::ZERO;
    for i in 0..400 {
        handed_out = put(&engine, "k", format!("{i}").as_bytes());
    }
    let first = lab_on(cut(&lab.disk, &Choice::None), &lab.clock, &lab.settings);
    drop(first.open().unwrap());
    for point in first.disk.crash_points() {
        for choice in [Choice::None, Choice::All] {
            let second = lab_on(point.image(&choice), &lab.clock, &lab.settings);
            let engine = second.open().unwrap();
            let next = put(&engine, "other", b"v");
            assert!(next > handed_out, "lsn={next} is used again, cut at {} {choice}", point.k());
        }
    }
}

// ---- a kill in the middle of a sync, then a cut ----

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

// ---- the window of interval mode ----

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
    let components = Components {
        vfs: Arc::new(SimDisk::new()),
        clock: Arc::new(SimClock::new()),
        seed: [1; 32],
        background: Background::Threads,
    };
    let engine =
        Engine::open(Settings { allow_downgrade: true, ..small(Fsync::Always) }, components).unwrap();
    let at_os = Write { level: Some(Level::Os), ..Write::new(b"v") };
    let lsn = engine.put("k", at_os).unwrap().wait().unwrap().lsn;
    for _ in 0..500 {
        if engine.stats().durable >= lsn {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("nobody synced it");
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
