//! A workload from a seed, and what its client was told at which moment.

use std::time::Duration;

use emberkeep_storage::{
    Action, BatchOp, Commit, Committed, Condition, Engine, Expiry, Fsync, Incr, Key, Level, Lsn, Settings,
    UnixMillis, Write, random::Random, sim::disk::SimDisk,
};

use crate::{
    crash::history::{History, State, state_of},
    lab::{Lab, small},
};

/// What makes a workload.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    pub fsync: Fsync,
    pub seed: u64,
    pub steps: usize,
}

/// A recorded run.
pub struct Run {
    pub spec: Spec,
    pub settings: Settings,
    pub disk: SimDisk,
    pub begin: UnixMillis,
    pub end: End,
    pub kills: Vec<Kill>,
    told: Vec<Told>,
    handed_out: Vec<(u64, Lsn)>,
}

/// How it ended, by the engine itself.
pub struct End {
    pub now: UnixMillis,
    pub state: State,
}

/// A moment at which the process might have been killed.
pub struct Kill {
    pub disk: SimDisk,
    pub acknowledged: Lsn,
}

/// What the client knows since an operation of the disk.
struct Told {
    since: u64,
    what: What,
}

enum What {
    /// This frame is on the disk.
    Durable(Lsn),
    /// The key was absent when this frame was the last one.
    Absent(Vec<u8>, Lsn),
}

impl Run {
    pub fn record(spec: Spec) -> Run {
        let settings = Settings { max_items: Some(40), allow_downgrade: false, ..small(spec.fsync) };
        let lab = Lab::new(settings.clone());
        let begin = lab.clock_wall();
        let engine = lab.open_seeded(spec.seed).unwrap();
        let mut driver = Driver::new(&lab, engine, spec);
        for step in 0..spec.steps {
            driver.step(step);
        }
        let end = End { now: driver.engine.now(), state: state_of(&driver.engine) };
        let Driver { engine, told, handed_out, kills, .. } = driver;
        // The clean stop is part of what is cut.
        engine.close().unwrap();
        Run { spec, settings, disk: lab.disk, begin, end, kills, told, handed_out }
    }

    /// What must be there if the power fails after operation `k`.
    pub fn required_at(&self, k: u64, history: &History) -> Lsn {
        let known = self.told.iter().take_while(|told| told.since <= k);
        let lsns = known.map(|told| match &told.what {
            What::Durable(lsn) => *lsn,
            What::Absent(key, appended) => history.removal_before(key, *appended),
        });
        lsns.max().unwrap_or_default()
    }

    /// The highest number that was handed out up to operation `k`.
    pub fn handed_out_at(&self, k: u64) -> Lsn {
        let before = self.handed_out.iter().take_while(|(since, _)| *since <= k);
        before.map(|(_, lsn)| *lsn).max().unwrap_or_default()
    }
}

struct Driver<'a> {
    lab: &'a Lab,
    engine: Engine,
    spec: Spec,
    random: Random,
    told: Vec<Told>,
    handed_out: Vec<(u64, Lsn)>,
    acknowledged: Lsn,
    kills: Vec<Kill>,
}

impl<'a> Driver<'a> {
    fn new(lab: &'a Lab, engine: Engine, spec: Spec) -> Self {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&spec.seed.to_le_bytes());
        Driver {
            lab,
            engine,
            spec,
            random: Random::from_seed(seed),
            told: Vec::new(),
            handed_out: Vec::new(),
            acknowledged: Lsn::ZERO,
            kills: Vec::new(),
        }
    }

    fn below(&mut self, n: u64) -> u64 {
        self.random.next_u64() % n
    }

    fn key(&mut self) -> String {
        format!("key-{}", self.below(60))
    }

    fn value(&mut self) -> Vec<u8> {
        let len = if self.below(20) == 0 { self.below(3000) } else { self.below(150) };
        (0..len).map(|i| (i as u8).wrapping_mul(31).wrapping_add(len as u8)).collect()
    }

    fn expiry(&mut self) -> Expiry {
        match self.below(4) {
            0 => Expiry::In(Duration::from_millis(1 + self.below(20_000))),
            1 => Expiry::Keep,
            _ => Expiry::Never,
        }
    }

    fn level(&mut self) -> Option<Level> {
        (self.below(5) == 0).then_some(Level::Disk)
    }

    fn step(&mut self, step: usize) {
        // A snapshot in the middle of whatever goes on, and one near the end.
        if step == self.spec.steps / 2 || step == self.spec.steps * 9 / 10 {
            self.engine.checkpoint().unwrap();
            self.note();
        }
        let key = self.key();
        match self.below(100) {
            0..45 => self.put(&key),
            45..58 => {
                let condition = if self.below(3) == 0 { Condition::Present } else { Condition::Always };
                let level = self.level();
                let commit = self.engine.delete(key.as_str(), condition, level).unwrap();
                self.settle(commit);
            }
            58..66 => {
                let (expiry, level) = (self.expiry(), self.level());
                let commit = self.engine.touch(key.as_str(), expiry, Condition::Always, level).unwrap();
                self.settle(commit);
            }
            66..72 => {
                let commit = self.engine.incr("counter", 1, Incr::default()).unwrap();
                self.settle(commit);
            }
            72..80 => self.batch(),
            80..90 => self.get(&key),
            90..93 => {
                self.lab.pass(Duration::from_millis(500 + self.random.next_u64() % 5000));
                self.engine.step().unwrap();
            }
            93..95 => self.engine.idle().unwrap(),
            95..97 => {
                self.engine.sync().wait().unwrap();
                self.durable(self.engine.stats().appended);
            }
            97 if self.below(4) == 0 => {
                let commit = self.engine.flush(None, None).unwrap();
                self.settle(commit);
            }
            _ => self.engine.step().unwrap(),
        }
        self.note();
        if step % 40 == 39 {
            self.kills.push(Kill { disk: self.lab.disk.after_kill(), acknowledged: self.acknowledged });
        }
    }

    fn put(&mut self, key: &str) {
        let value = self.value();
        let condition = if self.below(6) == 0 { Condition::Absent } else { Condition::Always };
        let content_type = (self.below(3) == 0).then_some("text/plain");
        let (expiry, level) = (self.expiry(), self.level());
        let write = Write { content_type, expiry, condition, level, ..Write::new(&value) };
        // Some writes are not waited for: their frames gather with the next ones.
        let commit = self.engine.put(key, write).unwrap();
        if self.below(4) == 0 {
            self.note();
            drop(commit);
        } else {
            self.settle(commit);
        }
    }

    fn batch(&mut self) {
        let keys: Vec<String> = (0..2 + self.below(4)).map(|_| self.key()).collect();
        let value = self.value();
        let expiry = self.expiry();
        let ops: Vec<BatchOp<'_>> = keys
            .iter()
            .enumerate()
            .map(|(i, key)| {
                let action = match i % 4 {
                    0 | 1 => Action::Put(Write { expiry, ..Write::new(&value) }),
                    2 => Action::Delete(Condition::Always),
                    _ => Action::Touch(expiry, Condition::Always),
                };
                BatchOp { key: Key::from(key.as_str()), action }
            })
            .collect();
        let level = self.level();
        let commit = self.engine.batch(&ops, level).unwrap();
        self.settle(commit);
    }

    fn get(&mut self, key: &str) {
        let seen = self.engine.get(key).wait().unwrap();
        if self.spec.fsync != Fsync::Always {
            return;
        }
        match seen {
            Some(entry) => self.durable(Lsn(entry.version())),
            None => {
                let appended = self.engine.stats().appended;
                let what = What::Absent(key.as_bytes().to_vec(), appended);
                self.told.push(Told { since: self.lab.disk.op_count(), what });
            }
        }
    }

    fn settle<T>(&mut self, commit: Commit<T>) {
        self.note();
        let Committed { lsn, level, .. } = commit.wait().unwrap();
        self.acknowledged = self.acknowledged.max(lsn);
        if level == Level::Disk {
            self.durable(lsn);
        }
    }

    fn durable(&mut self, lsn: Lsn) {
        self.told.push(Told { since: self.lab.disk.op_count(), what: What::Durable(lsn) });
    }

    /// What was handed out by now may reach the disk with the next operation.
    fn note(&mut self) {
        let appended = self.engine.stats().appended;
        self.handed_out.push((self.lab.disk.op_count(), appended));
    }
}
