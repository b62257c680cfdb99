//! What a disk can do to us, fault by fault, each in every place: survived with nothing lost, or
//! refused with an error that names the file, the offset and the LSNs at risk.
//!
//! `calls`: every call fails, is cut short, lies or reads wrong bits. `stalls`: every call takes
//! long. `flips`: every bit of a directory at rest turns over. `files`: whole files are missing,
//! cut, foreign, old or in each other's place.
//!
//! Not here: power cuts (`crash`), and what a halted engine answers (`promises::faults`). The
//! table of all faults is in `DESIGN.md`.

mod calls;
mod files;
mod flips;
mod stalls;

use std::path::{Path, PathBuf};

use emberkeep_storage::{
    Commit, Condition, Engine, Error, ErrorKind, Fsync, RecoveryReport, Write,
    random::Random,
    sim::{choice::Choice, crash::CrashPoint},
};

use crate::lab::{DIR, Lab, Tree, Values, same_tree, small, tree, values};

/// A data directory that nobody has open, and what is in it.
struct Rest {
    lab: Lab,
    values: Values,
    image: CrashPoint,
}

/// What a start makes of a damaged directory.
enum Start {
    /// It says what is wrong and has changed nothing.
    Refused(Error),
    /// It goes on with these values.
    Served(Values, RecoveryReport),
}

impl Rest {
    fn new(lab: &Lab, values: Values) -> Rest {
        let lab = on(lab.disk.after_kill(), lab);
        let mut crasher = lab.disk.crash_points();
        crasher.seek(lab.disk.op_count());
        Rest { image: crasher.point(), lab, values }
    }

    /// The same directory on a disk of its own.
    fn copy(&self) -> Lab {
        let lab = on(self.image.image(&Choice::All), &self.lab);
        lab.disk.stop_recording();
        lab
    }

    /// Every file, with its content.
    fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let content = |(path, _): (PathBuf, u64)| {
            let content = self.lab.disk.read_file(&path).unwrap();
            (path, content)
        };
        self.lab.disk.tree().into_iter().map(content).collect()
    }

    fn last_segment(&self) -> PathBuf {
        let is_segment = |path: &PathBuf| path.extension().is_some_and(|e| e == "wal");
        self.lab.disk.tree().into_iter().map(|(path, _)| path).rfind(is_segment).unwrap()
    }
}

/// The same clock and settings on another disk.
fn on(disk: emberkeep_storage::sim::disk::SimDisk, lab: &Lab) -> Lab {
    Lab { disk, clock: lab.clock.clone(), settings: lab.settings.clone() }
}

impl Start {
    /// Opens. What a refusal must say is checked here, and that it is of these kinds only.
    fn of(lab: &Lab, what: &dyn Fn() -> String) -> Start {
        match lab.open() {
            Ok(engine) => Start::Served(values(&engine), engine.recovery().clone()),
            Err(error) => {
                names_the_damage(&error, what);
                Start::Refused(error)
            }
        }
    }
}

/// File, offset and LSNs; or, of a newer version, the file.
fn names_the_damage(error: &Error, what: &dyn Fn() -> String) {
    match error.kind() {
        ErrorKind::Corrupt => {
            let place = error.place().unwrap_or_else(|| panic!("{}: no place: {error}", what()));
            assert!(place.file.starts_with(DIR), "{}: {error}", what());
            assert!(place.lsns.is_some_and(|(first, last)| first <= last), "{}: {error}", what());
        }
        ErrorKind::Unsupported => {
            let message = error.to_string();
            assert!(message.contains(DIR) || message.contains("MANIFEST"), "{}: {error}", what());
        }
        _ => panic!("{}: {error}", what()),
    }
}

/// Bytes that do not compress, so that a bit of a snapshot means something.
fn noise(random: &mut Random, len: usize) -> Vec<u8> {
    (0..len).map(|_| random.next_u64() as u8 | 1).collect()
}

fn put(engine: &Engine, key: &str, value: &[u8]) -> Commit<emberkeep_storage::PutOutcome> {
    engine.put(key, Write::new(value)).unwrap()
}

fn fill(engine: &Engine, known: &mut Values, random: &mut Random, range: std::ops::Range<u32>, len: usize) {
    for i in range {
        let (key, value) = (format!("key-{i:03}"), noise(random, len));
        put(engine, &key, &value).wait().unwrap();
        known.insert(key, value);
    }
}

fn remove(engine: &Engine, known: &mut Values, key: &str) {
    engine.delete(key, Condition::Always, None).unwrap().wait().unwrap();
    known.remove(key);
}

/// After a clean stop: a snapshot, a sealed segment and the last one of the run that took it, and
/// the segment of a second run.
fn closed(keys: u32, len: usize) -> Rest {
    let lab = Lab::new(small(Fsync::Always));
    let (mut known, mut random) = (Values::new(), Random::from_seed([1; 32]));
    let engine = lab.open().unwrap();
    fill(&engine, &mut known, &mut random, 0..keys, len);
    engine.checkpoint().unwrap();
    fill(&engine, &mut known, &mut random, keys / 2..2 * keys, len);
    remove(&engine, &mut known, "key-000");
    engine.close().unwrap();
    let engine = lab.open().unwrap();
    fill(&engine, &mut known, &mut random, 2 * keys - 3..2 * keys + 3, len);
    remove(&engine, &mut known, "key-001");
    engine.close().unwrap();
    Rest::new(&lab, known)
}

/// Killed in a pause: a Mark vouches for everything.
fn paused(keys: u32, len: usize) -> Rest {
    let lab = Lab::new(small(Fsync::Always));
    let (mut known, mut random) = (Values::new(), Random::from_seed([2; 32]));
    let engine = lab.open().unwrap();
    fill(&engine, &mut known, &mut random, 0..keys, len);
    engine.checkpoint().unwrap();
    fill(&engine, &mut known, &mut random, keys / 2..2 * keys, len);
    remove(&engine, &mut known, "key-000");
    engine.idle().unwrap();
    Rest::new(&lab, known)
}
