//! The offline tools on the simulated disk.
//!
//! `agreement` damages directories at random and compares what the tools say with what a start
//! does. `repair` mends damaged ones, cuts the power at every step of that, and compares what is
//! there afterwards with the history. `looking` is about what the reading tools tell.

mod agreement;
mod looking;
mod repair;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use emberkeep_storage::{
    Condition, Cursor, Engine, Fsync, Key, Result, Write,
    offline::{
        Directory,
        verify::{Check, verify},
    },
    sim::{clock::SimClock, disk::SimDisk},
    vfs::Vfs,
};

use crate::lab::{DIR, Lab, small};

/// What was written, in the order of the log: key, and its value or none.
#[derive(Clone, Default)]
struct History {
    ops: Vec<(u64, String, Option<Vec<u8>>)>,
}

type State = BTreeMap<String, Vec<u8>>;

impl History {
    fn put(&mut self, engine: &Engine, n: u32, len: usize) {
        let (key, value) = (format!("key-{:03}", n % 70), format!("value-{n}-").repeat(len).into_bytes());
        let lsn = engine.put(key.as_str(), Write::new(&value)).unwrap().wait().unwrap().lsn.0;
        self.ops.push((lsn, key, Some(value)));
    }

    fn delete(&mut self, engine: &Engine, n: u32) {
        let key = format!("key-{:03}", n % 70);
        let done = engine.delete(key.as_str(), Condition::Always, None).unwrap().wait().unwrap();
        self.ops.push((done.lsn.0, key, None));
    }

    fn run(&mut self, engine: &Engine, range: std::ops::Range<u32>) {
        for n in range {
            self.put(engine, n, 40);
            if n % 5 == 3 {
                self.delete(engine, n.wrapping_sub(2));
            }
        }
    }

    /// What the cache held after this frame.
    fn at(&self, lsn: u64) -> State {
        let mut state = State::new();
        for (_, key, value) in self.ops.iter().filter(|op| op.0 <= lsn) {
            match value {
                Some(value) => state.insert(key.clone(), value.clone()),
                None => state.remove(key),
            };
        }
        state
    }

    /// The highest number that was handed out.
    fn last(&self) -> u64 {
        self.ops.iter().map(|op| op.0).max().unwrap_or(0)
    }
}

/// A data directory at rest.
#[derive(Clone)]
struct Rest {
    disk: SimDisk,
    clock: SimClock,
    history: History,
}

impl Rest {
    /// Two runs: the first killed, the second killed with everything vouched for.
    fn killed() -> Rest {
        Self::after(|lab, history| {
            let engine = lab.open().unwrap();
            history.run(&engine, 0..60);
            drop(engine);
            let lab = Lab { disk: lab.disk.after_kill(), clock: lab.clock, settings: lab.settings };
            let engine = lab.open_seeded(8).unwrap();
            history.run(&engine, 60..150);
            engine.idle().unwrap();
            (lab, engine)
        })
    }

    /// Killed right after the last acknowledgement; a snapshot in the middle.
    fn killed_behind_a_snapshot() -> Rest {
        Self::after(|lab, history| {
            let engine = lab.open().unwrap();
            history.run(&engine, 0..90);
            engine.checkpoint().unwrap();
            history.run(&engine, 90..200);
            (lab, engine)
        })
    }

    /// Closed.
    fn closed() -> Rest {
        Self::after(|lab, history| {
            let engine = lab.open().unwrap();
            history.run(&engine, 0..120);
            engine.close().unwrap();
            (lab, engine)
        })
    }

    fn all() -> [Rest; 3] {
        [Rest::killed(), Rest::killed_behind_a_snapshot(), Rest::closed()]
    }

    fn after(work: impl FnOnce(Lab, &mut History) -> (Lab, Engine)) -> Rest {
        let mut history = History::default();
        let (lab, engine) = work(Lab::new(small(Fsync::Always)), &mut history);
        let disk = at_rest(&lab.disk);
        drop(engine);
        Rest { disk, clock: lab.clock, history }
    }

    /// The same on a disk of its own, whose record begins now.
    fn copy(&self) -> Rest {
        Rest { disk: at_rest(&self.disk), ..self.clone() }
    }

    fn vfs(&self) -> Arc<dyn Vfs> {
        Arc::new(self.disk.clone())
    }

    fn directory(&self) -> Result<Directory> {
        Directory::open(self.vfs(), Path::new(DIR))
    }

    fn verify(&self) -> Result<Check> {
        verify(self.directory()?, true, &|_, _| {})
    }

    fn lab(&self) -> Lab {
        Lab { disk: self.disk.clone(), clock: self.clock.clone(), settings: small(Fsync::Always) }
    }

    /// The segments with frames in them, the oldest first.
    fn segments(&self) -> Vec<PathBuf> {
        let is_segment = |path: &PathBuf| path.extension().is_some_and(|e| e == "wal");
        let in_log = |path: &PathBuf| path.starts_with(Path::new(DIR).join("wal"));
        self.disk.tree().into_iter().map(|(path, _)| path).filter(|p| is_segment(p) && in_log(p)).collect()
    }

    fn edit(&self, path: &Path, edit: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = self.disk.read_file(path).unwrap();
        edit(&mut bytes);
        self.disk.write_file(path, &bytes);
    }
}

/// Everything that is there, as after a long time without power.
fn at_rest(disk: &SimDisk) -> SimDisk {
    use emberkeep_storage::sim::choice::Choice;
    disk.image(disk.op_count(), &Choice::All)
}

fn state_of(engine: &Engine) -> State {
    let mut found = State::new();
    let mut cursor = Some(Cursor::START);
    while let Some(at) = cursor {
        let page = engine.scan(at, Key { namespace: 0, bytes: b"" }, 1000).wait().unwrap();
        for e in &page.entries {
            found.insert(String::from_utf8(e.key().bytes.to_vec()).unwrap(), e.value().unwrap().to_vec());
        }
        cursor = page.next;
    }
    engine.check();
    found
}

/// The file that a start would name.
#[track_caller]
fn bad_place(rest: &Rest) -> PathBuf {
    use emberkeep_storage::offline::verify::Verdict;
    match rest.verify().unwrap().verdict {
        Verdict::Bad(e) => e.place().unwrap().file.clone(),
        other => panic!("{other:?}"),
    }
}
