//! A failed write or sync is final (I11), and any call may fail.

use super::*;

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
            let seen = entry.map(|e| e.value().unwrap().to_vec());
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
