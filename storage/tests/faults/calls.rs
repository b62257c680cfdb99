//! The n-th call of a kind meets an effect, for every n until a whole session meets none.
//!
//! A session opens, writes over several segments, takes a snapshot, prunes, pauses, closes, and
//! does all that once more. Afterwards the disk is well again, and the directory is opened as a
//! kill and as a power cut have left it.

use emberkeep_storage::{
    Engine,
    sim::{
        disk::SimDisk,
        faults::{Call, Effect, Errno, Fault},
    },
};

use super::*;
use crate::promises::Book;

/// What may come of a fault.
#[derive(Clone, Copy, PartialEq)]
enum Disk {
    /// It does all that it is asked to, in pieces: nobody may notice.
    Slow,
    /// It says that it has failed, or only its reads are wrong: nothing may be lost.
    Honest,
    /// It says that it has written what it has not: found out at the next start.
    Lying,
}

/// Returns what the engine told of the fault. Each pause is also the moment of a kill.
fn session(lab: &Lab, book: &mut Book, disk: Disk, what: &dyn Fn() -> String) -> Vec<Error> {
    let mut told = Vec::new();
    for round in 0..2 {
        let engine = match lab.open() {
            Ok(engine) => engine,
            Err(error) => {
                told.push(error);
                break;
            }
        };
        book.holds(&engine, &|| format!("opened in round {round}"));
        write(&engine, book, round * 20..round * 20 + 12);
        told.extend(engine.checkpoint().err());
        told.extend(engine.step().err());
        write(&engine, book, round * 20 + 12..round * 20 + 18);
        match engine.idle() {
            Ok(_) => restart(&on(lab.disk.after_kill(), lab), book, disk, what),
            Err(error) => told.push(error),
        }
        told.extend(engine.close().err());
    }
    told
}

fn write(engine: &Engine, book: &mut Book, range: std::ops::Range<usize>) {
    for i in range {
        let key = format!("key-{}", i % 10);
        let value = format!("{i}-").repeat(200 + i * 7).into_bytes();
        let outcome = engine.put(key.as_str(), Write::new(&value));
        book.wrote(&key, Some(value), outcome);
        if i % 5 == 0 {
            let key = format!("key-{}", (i + 3) % 10);
            let outcome = engine.delete(key.as_str(), Condition::Present, None);
            book.wrote(&key, None, outcome);
        }
    }
}

/// Where a session begins: on an empty disk, and after a kill in a pause.
fn starts() -> [(Lab, Book); 2] {
    let empty = Lab::new(small(Fsync::Always));
    let rest = paused(8, 300);
    let mut book = Book::default();
    for (key, value) in &rest.values {
        *book.possible(key) = vec![Some(value.clone())];
    }
    [(empty, Book::default()), (rest.lab, book)]
}

/// How many sessions met the fault.
fn every(call: Call, effect: Effect, disk: Disk) -> u64 {
    let mut met = 0;
    for (start, known) in starts() {
        for n in 1.. {
            let what = || format!("{call:?} {effect:?} n={n}");
            let lab = on(start.disk.after_kill(), &start);
            lab.disk.arm(Fault::nth(call, n, effect));
            let mut book = known.clone();
            for error in session(&lab, &mut book, disk, &what) {
                assert!(disk != Disk::Slow, "{}: {error}", what());
                names_its_file(&error, &what);
            }
            let hits = lab.disk.fault_hits();
            lab.disk.disarm();
            for rest in rests(&lab.disk, n, disk) {
                restart(&on(rest, &lab), &book, disk, &what);
            }
            if hits == 0 {
                assert!(n > 3, "{call:?} is hardly ever called");
                break;
            }
            met += hits;
        }
    }
    met
}

/// What the next start may find. A disk that lies is not cut as well: that would be two faults.
fn rests(disk: &SimDisk, seed: u64, kind: Disk) -> Vec<SimDisk> {
    let cut = |choice: &Choice| disk.image(disk.op_count(), choice);
    match kind {
        Disk::Slow | Disk::Honest => vec![disk.after_kill(), cut(&Choice::None), cut(&Choice::Seeded(seed))],
        Disk::Lying => vec![disk.after_kill(), cut(&Choice::None)],
    }
}

fn restart(lab: &Lab, book: &Book, disk: Disk, what: &dyn Fn() -> String) {
    let before = tree(&lab.disk);
    match lab.open() {
        Ok(engine) => {
            book.holds(&engine, what);
            engine.check();
            write(&engine, &mut book.clone(), 0..3);
        }
        Err(error) => {
            assert!(disk == Disk::Lying, "{}: {error}", what());
            names_the_damage(&error, what);
            same_tree(&before, &tree(&lab.disk), &error);
        }
    }
}

/// Whatever the engine tells of a fault says where it was.
fn names_its_file(error: &Error, what: &dyn Fn() -> String) {
    match error.kind() {
        ErrorKind::Corrupt | ErrorKind::Unsupported => names_the_damage(error, what),
        ErrorKind::Io | ErrorKind::Full | ErrorKind::Halted => {
            let message = error.to_string();
            assert!(message.contains("file=") || message.contains("dir="), "{}: {error}", what());
            let log = ["cannot write the log", "cannot sync the log"].iter().any(|m| message.contains(m));
            let located = message.contains("offset=") && message.contains("lsns=");
            assert!(!log || located, "{}: {error}", what());
        }
        _ => panic!("{}: {error}", what()),
    }
}

#[test]
fn every_call_may_fail_with_eio_and_the_error_names_the_file() {
    assert!(every(Call::Any, Effect::Fail(Errno::IO), Disk::Honest) > 300);
}

#[test]
fn every_preparation_and_every_write_may_find_the_disk_full() {
    for call in [Call::Create, Call::Allocate, Call::Write, Call::SetLen, Call::CreateDir, Call::Rename] {
        every(call, Effect::Fail(Errno::NOSPC), Disk::Honest);
    }
    every(Call::Write, Effect::FailAfter(700, Errno::NOSPC), Disk::Honest);
}

#[test]
fn every_sync_may_fail_drop_what_it_was_to_write_and_succeed_the_next_time() {
    every(Call::Sync, Effect::DropDirty, Disk::Honest);
    every(Call::Sync, Effect::Fail(Errno::IO), Disk::Honest);
    every(Call::SyncDir, Effect::Fail(Errno::IO), Disk::Honest);
}

#[test]
fn every_read_and_every_write_may_be_short() {
    for len in [1, 13, 4096] {
        every(Call::Read, Effect::Short(len), Disk::Slow);
        every(Call::Write, Effect::Short(len), Disk::Slow);
    }
}

/// Reading wrong bits is no reason to lose them: whatever the engine made of it, the next start
/// on a healthy disk finds everything.
#[test]
fn every_read_may_turn_a_bit_over() {
    for (offset, bit) in [(0, 0), (9, 7), (45, 3), (100, 1), (4101, 5), (4300, 2), (7001, 6), (9973, 4)] {
        every(Call::Read, Effect::FlipBit { offset, bit }, Disk::Honest);
    }
}

#[test]
fn every_write_may_be_lost_and_what_was_acknowledged_is_there_or_missed() {
    every(Call::Write, Effect::Lose, Disk::Lying);
}

#[test]
fn every_write_may_go_astray_and_what_was_acknowledged_is_there_or_missed() {
    for to in [0, 64, 4096, 5000, 40_000] {
        every(Call::Write, Effect::Misdirect(to), Disk::Lying);
    }
}

/// Not survived, and stated as such: a lost write of the last group before any pause. It takes
/// that group and nothing else; a pause later it is missed, unless the write after it brought all
/// of it back, because it was in the same block.
#[test]
fn a_lost_write_of_the_last_group_takes_that_group_alone_and_is_missed_after_a_pause() {
    for (value_len, pause) in [(4, false), (4, true), (4200, false), (4200, true)] {
        let lab = Lab::new(small(Fsync::Always));
        let (mut known, mut random) = (Values::new(), Random::from_seed([6; 32]));
        let engine = lab.open().unwrap();
        fill(&engine, &mut known, &mut random, 0..4, 100);
        lab.disk.arm(Fault::next(Call::Write, Effect::Lose));
        let value = vec![b'l'; value_len];
        put(&engine, "last", &value).wait().unwrap();
        assert_eq!(lab.disk.fault_hits(), 1);
        if pause {
            engine.idle().unwrap();
        }
        let what = format!("value_len={value_len} pause={pause}");
        let comes_back = pause && value_len < 4096;
        if comes_back {
            known.insert("last".into(), value);
        }
        match Start::of(&on(lab.disk.after_kill(), &lab), &|| what.clone()) {
            Start::Refused(error) => assert!(pause && !comes_back, "{what} {error}"),
            Start::Served(found, _) => assert!((!pause || comes_back) && found == known, "{what}"),
        }
    }
}

/// The start rewrites the last segment. If a write of that is lost, the only other copy must not
/// have been replaced: found by every write of a start being lost.
#[test]
fn a_lost_write_of_the_start_itself_leaves_a_directory_that_starts() {
    let rest = paused(8, 300);
    let mut found_out = 0;
    for n in 1..4 {
        let lab = on(rest.lab.disk.after_kill(), &rest.lab);
        lab.disk.arm(Fault::nth(Call::Write, n, Effect::Lose));
        match lab.open() {
            Ok(_) => continue,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Io, "{error}"),
        }
        found_out += 1;
        let engine = on(lab.disk.after_kill(), &rest.lab).open().unwrap();
        assert!(values(&engine) == rest.values);
    }
    assert!(found_out > 0);
}
