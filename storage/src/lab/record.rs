//! Runs the steps of a scenario once, and notes what its client was told at which moment.

use std::{collections::BTreeMap, ops::RangeInclusive, time::Duration};

use crate::{
    clock::{Clock, UnixMillis},
    engine::{
        Action, ActionOutcome, BatchOp, BatchOutcome, Commit, Committed, Condition, DeleteOutcome, Engine,
        Expiry, Incr, IncrOutcome, PutOutcome, TouchOutcome, Write,
    },
    error::{Error, ErrorKind, Result},
    format::op::Key,
    lsn::Lsn,
    settings::{Fsync, Level, Settings},
    sim::{disk::SimDisk, faults::Fault},
};

use super::{
    Machine,
    history::{History, Name, State, alive, difference, state_of},
    planted::Planted,
    scenario::Scenario,
    step::{Part, Step, When, Work},
};

/// The wall clock at the beginning of every run.
pub const BEGIN: UnixMillis = UnixMillis(1_700_000_000_000);

/// A recorded run.
#[derive(Debug)]
pub struct Run {
    /// What was run.
    pub scenario: Scenario,
    /// Its settings.
    pub settings: Settings,
    /// The disk with its record.
    pub disk: SimDisk,
    /// Operations of the disk until the engine was open for the first time.
    pub opened_at: u64,
    /// A failure was planned and may have hit.
    pub faulty: bool,
    end: Option<End>,
    told: Vec<Told>,
    handed_out: Vec<(u64, Lsn)>,
    acks: Vec<Ack>,
    /// Frames of batches that were applied, and how many ops each may hold.
    batches: Vec<(Lsn, RangeInclusive<usize>)>,
}

/// What the engine served at the end.
#[derive(Debug)]
struct End {
    now: UnixMillis,
    state: State,
}

/// What the client knows since an operation of the disk.
#[derive(Debug)]
struct Told {
    since: u64,
    what: What,
}

#[derive(Debug)]
enum What {
    /// This frame is on the disk.
    Durable(Lsn),
    /// The key was absent when this frame was the last one.
    Absent(Name, Lsn),
}

/// An acknowledged write: since which operation, and when.
#[derive(Debug)]
struct Ack {
    since: u64,
    at: Duration,
    lsn: Lsn,
}

impl Run {
    /// Runs the scenario.
    ///
    /// # Errors
    /// In words: an operation failed although nothing was planned to.
    pub fn record(scenario: &Scenario, planted: Option<Planted>) -> Result<Run, String> {
        let settings = scenario.settings();
        let machine = Machine::new(SimDisk::new(), BEGIN, planted);
        let engine =
            machine.open(&settings, scenario.seed).map_err(|e| format!("an empty directory: {e}"))?;
        let mut driver = Driver::new(machine, settings, scenario.clone(), engine);
        for (i, step) in scenario.steps().iter().enumerate() {
            driver.step(step).map_err(|e| format!("step {i}, {step:?}: {e}"))?;
        }
        driver.finish()
    }

    /// The frames mean what the engine did: folding them gives what it served at the end, and a
    /// batch is one frame.
    ///
    /// # Errors
    /// In words: how they differ.
    pub fn agree(&self, history: &History) -> Result<(), String> {
        for (lsn, ops) in &self.batches {
            // What a failed log never wrote is in no history.
            if history.state_at(*lsn).is_some() && !ops.contains(&history.ops_in(*lsn)) {
                return Err(format!("lsn={lsn} holds {} ops of a batch of {ops:?}", history.ops_in(*lsn)));
            }
        }
        let Some(end) = &self.end else { return Ok(()) };
        let (last, state) = history.end();
        match difference(&end.state, &alive(state, end.now)) {
            same if same.is_empty() => Ok(()),
            differ => Err(format!("the log does not mean what the engine did, lsn={last}: {differ}")),
        }
    }

    /// The frame that must be there if the power fails after operation `k` (I1, I5).
    pub fn required_at(&self, k: u64, history: &History) -> Lsn {
        let known = self.told.iter().take_while(|told| told.since <= k);
        let lsns = known.map(|told| match &told.what {
            What::Durable(lsn) => *lsn,
            What::Absent(name, appended) => history.removal_before(name, *appended),
        });
        lsns.max().unwrap_or_default()
    }

    /// The highest number that was handed out up to operation `k`.
    pub fn handed_out_at(&self, k: u64) -> Lsn {
        let before = self.handed_out.iter().take_while(|(since, _)| *since <= k);
        before.map(|(_, lsn)| *lsn).max().unwrap_or_default()
    }

    /// Between which moments the writes were acknowledged that are lost if the log ends at `last`
    /// after a cut at `k`: zero if none is.
    pub fn lost_span(&self, k: u64, last: Lsn) -> Duration {
        let lost = self.acks.iter().take_while(|ack| ack.since <= k).filter(|ack| ack.lsn > last);
        let (mut first, mut newest) = (Duration::MAX, Duration::ZERO);
        for ack in lost {
            first = first.min(ack.at);
            newest = newest.max(ack.at);
        }
        newest.saturating_sub(first)
    }
}

/// What a step needs to know of the past: the last version that the client was given for a key.
#[derive(Debug)]
struct Driver {
    machine: Machine,
    engine: Option<Engine>,
    versions: BTreeMap<u8, u64>,
    run: Run,
}

impl Driver {
    fn new(machine: Machine, settings: Settings, scenario: Scenario, engine: Engine) -> Self {
        let run = Run {
            scenario,
            settings,
            disk: machine.disk.clone(),
            opened_at: machine.disk.op_count(),
            faulty: false,
            end: None,
            told: Vec::new(),
            handed_out: Vec::new(),
            acks: Vec::new(),
            batches: Vec::new(),
        };
        Driver { machine, engine: Some(engine), versions: BTreeMap::new(), run }
    }

    fn engine(&self) -> &Engine {
        self.engine.as_ref().expect("there is an engine between steps")
    }

    fn step(&mut self, step: &Step) -> Result<()> {
        let done = self.act(step);
        self.note();
        match done {
            // After a planned failure anything may be refused, but nothing acknowledged.
            Err(e) if self.run.faulty && is_refusal(&e) => Ok(()),
            done => done,
        }
    }

    fn act(&mut self, step: &Step) -> Result<()> {
        match step {
            Step::Put { .. } => self.put(step),
            Step::Delete(key, when, level) => {
                let versions = self.known(*key);
                let name = name(*key);
                let commit = self.engine().delete(named(*key, &name), condition(*when, &versions), *level)?;
                self.settle(commit).map(|_| ())
            }
            Step::Touch(key, expiry, level) => {
                let name = name(*key);
                let commit = self.engine().touch(named(*key, &name), *expiry, Condition::Always, *level)?;
                self.settle(commit).map(|_| ())
            }
            Step::Incr(key, by, expiry) => {
                let name = name(*key);
                let options = Incr { expiry: *expiry, ..Incr::default() };
                let commit = self.engine().incr(named(*key, &name), *by, options)?;
                self.settle(commit).map(|_| ())
            }
            Step::Batch(parts, level) => self.batch(parts, *level),
            Step::Flush(namespace) => {
                let commit = self.engine().flush(*namespace, None)?;
                self.settle(commit).map(|_| ())
            }
            Step::Get(key) => self.get(*key),
            Step::Pass(span, jump) => {
                self.machine.clock.advance(*span);
                self.machine.clock.jump_wall(*jump);
                self.engine().step()
            }
            Step::Background(Work::Round) => self.engine().step(),
            Step::Background(Work::Idle) => self.engine().idle(),
            Step::Background(Work::Sync) => {
                let appended = self.engine().stats().appended;
                self.engine().sync().wait()?;
                self.durable(appended);
                Ok(())
            }
            Step::Checkpoint => self.engine().checkpoint().map(|_| ()),
            Step::Restart => self.restart(),
            Step::Kill => self.kill(),
            Step::Fault(call, nth, effect) => {
                self.machine.disk.arm(Fault::nth(*call, *nth, *effect));
                self.run.faulty = true;
                Ok(())
            }
        }
    }

    fn put(&mut self, step: &Step) -> Result<()> {
        let Step::Put { key, len, typed, condition: when, expiry, level, wait } = step else {
            unreachable!("only called for a put")
        };
        let value = value(*len);
        let versions = self.known(*key);
        let write = Write {
            content_type: typed.then_some("text/plain"),
            expiry: *expiry,
            condition: condition(*when, &versions),
            level: *level,
            ..Write::new(&value)
        };
        let name = name(*key);
        let commit = self.engine().put(named(*key, &name), write)?;
        self.versions.insert(*key, commit.lsn().0);
        if *wait {
            self.settle(commit)?;
        }
        Ok(())
    }

    fn batch(&mut self, parts: &[(u8, Part)], level: Option<Level>) -> Result<()> {
        let names: Vec<String> = parts.iter().map(|(key, _)| name(*key)).collect();
        let values: Vec<Vec<u8>> = parts
            .iter()
            .map(|(_, part)| if let Part::Put(len, _) = part { value(*len) } else { Vec::new() })
            .collect();
        let ops: Vec<BatchOp<'_>> = parts
            .iter()
            .zip(names.iter().zip(&values))
            .map(|((key, part), (name, value))| BatchOp {
                key: named(*key, name),
                action: action(*part, value),
            })
            .collect();
        let commit = self.engine().batch(&ops, level)?;
        let (outcome, lsn) = self.settle(commit)?;
        if let BatchOutcome::Applied(outcomes) = outcome {
            let keys = parts.iter().map(|(key, _)| *key).zip(&outcomes);
            // Of several steps on a key the log has the last.
            let last: BTreeMap<u8, &ActionOutcome> = keys.filter(|(_, outcome)| changed(outcome)).collect();
            // A key that the batch itself made and deleted is in no frame.
            let deleted = last.values().filter(|outcome| matches!(outcome, ActionOutcome::Delete(_))).count();
            if last.len() > deleted {
                self.run.batches.push((lsn, last.len() - deleted..=last.len()));
            }
        }
        Ok(())
    }

    fn get(&mut self, key: u8) -> Result<()> {
        let name = name(key);
        let seen = self.engine().get(named(key, &name)).wait()?;
        // In the other modes a power cut may take back what was seen.
        if self.run.settings.fsync == Fsync::Always {
            match seen {
                Some(entry) => self.durable(Lsn(entry.version())),
                None => {
                    let appended = self.engine().stats().appended;
                    let what = What::Absent((namespace(key), name.into_bytes()), appended);
                    self.run.told.push(Told { since: self.machine.disk.op_count(), what });
                }
            }
        }
        Ok(())
    }

    /// A clean stop; after a halt it is as unclean as a kill.
    fn restart(&mut self) -> Result<()> {
        if let Err(e) = self.engine().close()
            && !(self.run.faulty && is_refusal(&e))
        {
            return Err(e);
        }
        self.start()
    }

    /// The page cache survives: in every mode nothing is lost that was acknowledged.
    fn kill(&mut self) -> Result<()> {
        let disk = self.machine.disk.after_kill();
        self.engine = None;
        self.machine.disk = disk.clone();
        self.run.disk = disk;
        let acknowledged = self.run.acks.iter().map(|ack| ack.lsn).max().unwrap_or_default();
        self.start()?;
        let last = self.engine().recovery().last_lsn;
        assert!(last >= acknowledged, "a kill lost lsn={acknowledged}, the log ends at lsn={last}");
        Ok(())
    }

    fn start(&mut self) -> Result<()> {
        self.engine = None;
        // The operator has seen to the disk.
        self.machine.disk.disarm();
        let engine = self.machine.open(&self.run.settings, self.run.scenario.seed)?;
        // What a start serves is on the disk, whatever the page cache may have shown it.
        self.durable(engine.recovery().last_lsn);
        self.engine = Some(engine);
        Ok(())
    }

    fn settle<T>(&mut self, commit: Commit<T>) -> Result<(T, Lsn)> {
        let before = self.run.handed_out.last().map_or(Lsn::ZERO, |(_, appended)| *appended);
        self.note();
        let Committed { outcome, lsn, level, .. } = commit.wait()?;
        if level == Level::Disk {
            self.durable(lsn);
        }
        let since = self.machine.disk.op_count();
        // An answer that rests on an older frame acknowledges no write.
        if level >= Level::Os && lsn > before {
            self.run.acks.push(Ack { since, at: self.machine.clock.monotonic(), lsn });
        }
        Ok((outcome, lsn))
    }

    fn durable(&mut self, lsn: Lsn) {
        self.run.told.push(Told { since: self.machine.disk.op_count(), what: What::Durable(lsn) });
    }

    /// What was handed out by now may reach the disk with the next operation.
    fn note(&mut self) {
        let appended = self.engine.as_ref().map(|engine| engine.stats().appended);
        self.run.handed_out.push((self.machine.disk.op_count(), appended.unwrap_or_default()));
    }

    fn known(&self, key: u8) -> Vec<u64> {
        self.versions.get(&key).copied().into_iter().collect()
    }

    fn finish(mut self) -> Result<Run, String> {
        let engine = self.engine.take().expect("there is an engine between steps");
        let ended = state_of(&engine).map(|state| End { now: engine.now(), state });
        // The clean stop is part of what is cut.
        match ended.and_then(|end| engine.close().map(|()| end)) {
            Ok(end) if !self.run.faulty => self.run.end = Some(end),
            Ok(_) => {}
            Err(e) if self.run.faulty && is_refusal(&e) => {}
            Err(e) => return Err(format!("the end: {e}")),
        }
        Ok(self.run)
    }
}

fn is_refusal(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Halted | ErrorKind::Full | ErrorKind::Io | ErrorKind::Overloaded)
}

/// Two namespaces, so that one can be flushed without the other.
fn namespace(key: u8) -> u16 {
    u16::from(key % 2)
}

fn name(key: u8) -> String {
    format!("key-{key}")
}

fn named(key: u8, name: &str) -> Key<'_> {
    Key { namespace: namespace(key), bytes: name.as_bytes() }
}

/// Repeats, so that some runs compress it.
fn value(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i as u8 % 16).wrapping_mul(31).wrapping_add(len as u8)).collect()
}

fn condition(when: When, versions: &[u64]) -> Condition<'_> {
    match when {
        When::Always => Condition::Always,
        When::Absent => Condition::Absent,
        When::Present => Condition::Present,
        When::Unchanged => Condition::VersionIn(versions),
    }
}

fn changed(outcome: &ActionOutcome) -> bool {
    matches!(
        outcome,
        ActionOutcome::Put(PutOutcome::Created | PutOutcome::Replaced)
            | ActionOutcome::Delete(DeleteOutcome::Deleted)
            | ActionOutcome::Touch(TouchOutcome::Touched { .. })
            | ActionOutcome::Incr(IncrOutcome::Value(_))
    )
}

fn action(part: Part, value: &[u8]) -> Action<'_> {
    match part {
        Part::Put(_, expiry) => Action::Put(Write { expiry, ..Write::new(value) }),
        Part::Delete => Action::Delete(Condition::Always),
        Part::Touch(expiry) => Action::Touch(expiry, Condition::Always),
        Part::Incr(by) => Action::Incr(by, Incr { expiry: Expiry::Never, ..Incr::default() }),
    }
}
