//! A history: operations on an engine, power cuts, kills, faults and restarts, as the input says,
//! next to a plain map of what must be there.
//!
//! The model is the log itself: every change with its LSN. After any stop, what is recovered must
//! be the state after exactly the changes up to the recovered LSN (I2), and that LSN is not below
//! what was acknowledged at the disk before the cut (I1). Where the cache may evict, an entry may
//! be absent, but never wrong, and never back after its absence was observed (I4, I5).
//!
//! The engine runs by hand, in one thread: the same input is the same history, to the byte.
//! `EMBERKEEP_FUZZ_TRACE=1` prints it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    sync::OnceLock,
    time::Duration,
};

use arbitrary::{Result, Unstructured};
use emberkeep_storage::{
    Action, ActionOutcome, Background, BatchOp, BatchOutcome, Codec, Commit, Components, Condition, Cursor,
    DeleteOutcome, Engine, Entry, ErrorKind, Eviction, Expiry, Fsync, Incr, IncrOutcome, Key, Level,
    PutOutcome, Settings, TouchOutcome, UnixMillis, Write,
    sim::{
        choice::Choice,
        clock::SimClock,
        disk::SimDisk,
        faults::{Call, Effect, Errno, Fault},
    },
};

/// Keys are few, so that they meet.
const KEYS: u8 = 12;
/// A history is cut off here, so that one input does not take seconds.
const STEPS_MAX: usize = 200;

macro_rules! trace {
    ($($arg:tt)*) => {
        if tracing() {
            eprintln!($($arg)*);
        }
    };
}

fn tracing() -> bool {
    static ON: OnceLock<bool> = OnceLock::new();
    *ON.get_or_init(|| std::env::var_os("EMBERKEEP_FUZZ_TRACE").is_some())
}

/// What a key is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Value {
    bytes: Vec<u8>,
    deadline: Option<UnixMillis>,
    version: u64,
}

impl Value {
    fn is_live(&self, now: UnixMillis) -> bool {
        self.deadline.is_none_or(|deadline| deadline > now)
    }
}

/// What one frame did.
#[derive(Clone, Debug)]
enum Change {
    Keys(Vec<(u8, Option<Value>)>),
    Flush(Option<u16>),
}

type State = BTreeMap<u8, Value>;

/// An engine, its disk, and what is known about both.
struct World {
    disk: SimDisk,
    clock: SimClock,
    settings: Settings,
    engine: Option<Engine>,
    /// Starts so far; each has its own randomness.
    starts: u64,
    changes: Vec<(u64, Change)>,
    /// After so many operations of the disk, this LSN was acknowledged at that level.
    disk_acked: Vec<(u64, u64)>,
    os_acked: Vec<(u64, u64)>,
    /// After so many operations, this LSN had been given to somebody.
    given: Vec<(u64, u64)>,
    /// After so many operations, this key was seen to be gone, in this version or an older one.
    gone: Vec<(u64, u8, u64)>,
    /// Keys about which no answer came while entries may be evicted: what a write has done to them
    /// only the next start can tell.
    unsure: BTreeSet<u8>,
    /// Operations of the disk when the engine last gave out a frame.
    asked_at: u64,
    /// A planned failure may have hit something.
    faulty: bool,
    /// From here on the power may be cut: before lies what an earlier life of the disk did.
    cut_from: u64,
}

/// Lives the history that `data` describes.
///
/// # Panics
/// If the engine broke a promise.
pub fn run(data: &[u8]) {
    let mut u = Unstructured::new(data);
    // The end of the input is the end of the history.
    let Ok(mut world) = World::new(&mut u) else { return };
    for _ in 0..STEPS_MAX {
        if u.is_empty() || world.step(&mut u).is_err() {
            break;
        }
    }
    world.kill();
    world.close_and_reopen();
}

impl World {
    fn new(u: &mut Unstructured<'_>) -> Result<World> {
        let what: u8 = u.arbitrary()?;
        let fsync = [Fsync::Always, Fsync::Always, Fsync::Interval, Fsync::Never][usize::from(what % 4)];
        let bounded = what & 0x0c == 0x0c;
        let settings = Settings {
            fsync,
            allow_downgrade: what & 0x10 != 0,
            segment_bytes: 16 << 10,
            staging_bytes: if what & 0x20 != 0 { 4 << 10 } else { 16 << 10 },
            checkpoint_bytes: 1 << 20,
            max_key_bytes: 64,
            max_value_bytes: 64 << 10,
            max_bytes: bounded.then_some(64 << 10),
            max_items: bounded.then_some(5),
            eviction: if what & 0x40 != 0 { Eviction::Lru } else { Eviction::S3Fifo },
            stripes: Some(4),
            compress: (what & 0x80 != 0).then_some(if what & 1 != 0 { Codec::Gzip } else { Codec::Zstd }),
            compress_threshold: 64,
            ..Settings::new("/data")
        };
        trace!(
            "settings: {fsync:?} bounded={bounded} downgrade={} {:?}",
            what & 0x10 != 0,
            settings.eviction
        );
        let mut world = World {
            disk: SimDisk::new(),
            clock: SimClock::at(UnixMillis(1_700_000_000_000)),
            settings,
            engine: None,
            starts: 0,
            changes: Vec::new(),
            disk_acked: Vec::new(),
            os_acked: Vec::new(),
            given: Vec::new(),
            gone: Vec::new(),
            unsure: BTreeSet::new(),
            asked_at: 0,
            faulty: false,
            cut_from: 0,
        };
        world.start(0, u64::MAX);
        Ok(world)
    }

    fn evicts(&self) -> bool {
        self.settings.max_items.is_some()
    }

    fn engine(&self) -> &Engine {
        self.engine.as_ref().expect("a world has an engine between steps")
    }

    fn now(&self) -> UnixMillis {
        self.engine().now()
    }

    fn state_at(&self, lsn: u64) -> State {
        let mut state = State::new();
        for (_, change) in self.changes.iter().filter(|(at, _)| *at <= lsn) {
            match change {
                Change::Keys(keys) => {
                    for (key, value) in keys {
                        match value {
                            Some(value) => drop(state.insert(*key, value.clone())),
                            None => drop(state.remove(key)),
                        }
                    }
                }
                Change::Flush(namespace) => {
                    state.retain(|key, _| namespace.is_some_and(|n| n != namespace_of(*key)));
                }
            }
        }
        state
    }

    /// The key as it is now, if a reader can see it.
    fn current(&self, key: u8) -> Option<Value> {
        let now = self.now();
        self.state_at(u64::MAX).remove(&key).filter(|value| value.is_live(now))
    }

    // ---- one step ----

    fn step(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let what: u8 = u.arbitrary()?;
        match what % 20 {
            0..=5 => self.put(u),
            6 => self.delete(u),
            7 => self.touch(u),
            8 => self.incr(u),
            9 | 10 => self.batch(u),
            11 => self.flush(u),
            12 => self.look(u),
            13 => self.pass(u),
            14 => self.background(u),
            15 => self.checkpoint(),
            16 => self.power_cut(u),
            17 => {
                self.kill();
                Ok(())
            }
            18 => {
                self.close_and_reopen();
                Ok(())
            }
            _ => self.fault(u),
        }
    }

    fn put(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let key = key(u)?;
        let bytes = value_bytes(u)?;
        let expiry = self.expiry(u)?;
        let current = self.current(key);
        let versions = [current.as_ref().map_or(1, |v| v.version)];
        let condition = condition(u, &versions)?;
        let (level, wait) = self.level(u)?;
        trace!("put {key} len={} {expiry:?} {condition:?} level={level:?} wait={wait}", bytes.len());
        let write = Write { expiry, condition, level, ..Write::new(&bytes) };
        let mut deadline = self.deadline(expiry, current.as_ref());
        let name = name(key);
        let Some(commit) = self.ask(|e| e.put(named(key, &name), write)) else { return Ok(()) };
        let lsn = commit.lsn().0;
        let outcome = self.outcome(commit, wait, lsn);
        if outcome.is_none() && self.is_unsure([key], lsn) {
            return Ok(());
        }
        let holds = condition.holds(current.as_ref().map(|v| v.version));
        let done = outcome.map_or(holds, |o| !matches!(o, PutOutcome::Refused { .. }));
        self.agree(holds == done, "put", key);
        if done {
            if let (Some(PutOutcome::Created), Some(old)) = (outcome, &current) {
                self.agree(false, "created what is there", key);
                if self.disk_acked.last().is_some_and(|(_, acked)| *acked == lsn) {
                    self.note_gone(key, old.version);
                }
                // What it had was evicted with it.
                if expiry == Expiry::Keep {
                    deadline = None;
                }
            }
            self.change(lsn, Change::Keys(vec![(key, Some(Value { bytes, deadline, version: lsn }))]));
        }
        Ok(())
    }

    fn delete(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let key = key(u)?;
        let (level, wait) = self.level(u)?;
        let current = self.current(key);
        trace!("delete {key} wait={wait}");
        let name = name(key);
        let Some(commit) = self.ask(|e| e.delete(named(key, &name), Condition::Always, level)) else {
            return Ok(());
        };
        let lsn = commit.lsn().0;
        let outcome = self.outcome(commit, wait, lsn);
        if outcome.is_none() && self.is_unsure([key], lsn) {
            return Ok(());
        }
        let deleted = outcome.map_or(current.is_some(), |o| o == DeleteOutcome::Deleted);
        self.agree(deleted == current.is_some(), "delete", key);
        if deleted {
            self.change(lsn, Change::Keys(vec![(key, None)]));
        }
        Ok(())
    }

    fn touch(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let key = key(u)?;
        let expiry = self.expiry(u)?;
        let (level, _) = self.level(u)?;
        let current = self.current(key);
        trace!("touch {key} {expiry:?}");
        let name = name(key);
        let Some(commit) = self.ask(|e| e.touch(named(key, &name), expiry, Condition::Always, level)) else {
            return Ok(());
        };
        let lsn = commit.lsn().0;
        let expected = self.deadline(expiry, current.as_ref());
        let outcome = self.outcome(commit, true, lsn);
        if outcome.is_none() && self.is_unsure([key], lsn) {
            return Ok(());
        }
        let touched = match outcome {
            Some(TouchOutcome::Touched { deadline }) => {
                assert_eq!(deadline, expected, "touch of {key}");
                true
            }
            Some(_) => false,
            None => current.is_some(),
        };
        self.agree(touched == current.is_some(), "touch", key);
        if let (true, Some(value)) = (touched, current) {
            let value = Value { deadline: expected, version: lsn, ..value };
            self.change(lsn, Change::Keys(vec![(key, Some(value))]));
        }
        Ok(())
    }

    fn incr(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let key = key(u)?;
        let by: i64 = if u.arbitrary()? { i64::from(u.arbitrary::<i8>()?) } else { u.arbitrary()? };
        let (level, wait) = self.level(u)?;
        let options = Incr { initial: 3, expiry: self.expiry(u)?, level };
        let current = self.current(key);
        trace!("incr {key} by={by} wait={wait}");
        let name = name(key);
        let Some(commit) = self.ask(|e| e.incr(named(key, &name), by, options)) else { return Ok(()) };
        let lsn = commit.lsn().0;
        let before = current.as_ref().map_or(Some(3), |v| counter(&v.bytes));
        let after = before.and_then(|b| b.checked_add(by));
        let outcome = self.outcome(commit, wait, lsn);
        if outcome.is_none() && self.is_unsure([key], lsn) {
            return Ok(());
        }
        match outcome {
            Some(IncrOutcome::Value(value)) => {
                self.agree(after == Some(value), "incr", key);
                self.counted(key, current, value, options.expiry, lsn);
            }
            Some(_) => self.agree(after.is_none(), "incr refused", key),
            None => {
                if let Some(value) = after {
                    self.counted(key, current, value, options.expiry, lsn);
                }
            }
        }
        Ok(())
    }

    fn counted(&mut self, key: u8, current: Option<Value>, value: i64, expiry: Expiry, lsn: u64) {
        let made = self.deadline(expiry, None);
        let mut deadline = current.map_or(made, |v| v.deadline);
        if self.evicts() {
            // Created anew or not: only the engine knows.
            let name = name(key);
            match self.engine().peek(named(key, &name)).wait() {
                Ok(found) => deadline = found.map_or(deadline, |e| e.deadline()),
                Err(e) => {
                    assert!(self.faulty, "peek {key}: {e}");
                    self.is_unsure([key], lsn);
                    return;
                }
            }
        }
        let value = Value { bytes: value.to_string().into_bytes(), deadline, version: lsn };
        self.change(lsn, Change::Keys(vec![(key, Some(value))]));
    }

    fn batch(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let mut steps = Vec::new();
        for _ in 0..u.int_in_range(1..=5)? {
            let expiry = self.expiry(u)?;
            steps.push((key(u)?, u.int_in_range(0..=4u8)?, value_bytes(u)?, expiry, u.arbitrary::<i8>()?));
        }
        let (level, _) = self.level(u)?;
        let names: Vec<_> = steps.iter().map(|step| name(step.0)).collect();
        let ops: Vec<_> = steps
            .iter()
            .zip(&names)
            .map(|((key, kind, bytes, expiry, by), name)| BatchOp {
                key: named(*key, name),
                action: match kind {
                    0 => Action::Put(Write { expiry: *expiry, ..Write::new(bytes) }),
                    1 => Action::Put(Write {
                        expiry: *expiry,
                        condition: Condition::Absent,
                        ..Write::new(bytes)
                    }),
                    2 => Action::Delete(Condition::Always),
                    3 => Action::Touch(*expiry, Condition::Always),
                    _ => Action::Incr(i64::from(*by), Incr { initial: 3, expiry: *expiry, level: None }),
                },
            })
            .collect();
        trace!("batch {:?}", steps.iter().map(|s| (s.0, s.1, s.2.len(), s.3, s.4)).collect::<Vec<_>>());
        let now = self.now();
        let mut state = self.state_at(u64::MAX);
        state.retain(|_, value| value.is_live(now));
        let appended = self.engine().stats().appended.0;
        let Some(commit) = self.ask(|e| e.batch(&ops, level)) else { return Ok(()) };
        let lsn = commit.lsn().0;
        let outcome = self.outcome(commit, true, lsn);
        let expected = expect_batch(&steps, &state, lsn, now);
        trace!("  lsn={lsn} {outcome:?}");
        let outcomes = match outcome {
            Some(BatchOutcome::Applied(outcomes)) => outcomes,
            Some(BatchOutcome::Refused { .. }) => {
                self.agree(expected.is_none(), "batch refused", steps[0].0);
                return Ok(());
            }
            None => Vec::new(),
        };
        if outcomes.is_empty() && self.is_unsure(steps.iter().map(|step| step.0), lsn) {
            return Ok(());
        }
        // A batch that undid itself has no frame: its answer rests on an older one.
        if self.evicts() && lsn > appended {
            // What its steps met only the engine knows; so look.
            let gone = |outcome: &ActionOutcome| *outcome == ActionOutcome::Delete(DeleteOutcome::Deleted);
            let deleted =
                steps.iter().zip(&outcomes).filter(|(_, outcome)| gone(outcome)).map(|(step, _)| step.0);
            self.adopt(steps.iter().map(|step| step.0), &deleted.collect::<Vec<_>>(), lsn);
        }
        if self.evicts() {
            return Ok(());
        }
        let Some((changes, expected)) = expected else {
            assert!(outcomes.is_empty(), "a batch that had to be refused was applied: {outcomes:?}");
            return Ok(());
        };
        assert!(outcomes.is_empty() || outcomes == expected, "batch: {outcomes:?}, expected {expected:?}");
        if !changes.is_empty() {
            self.change(lsn, Change::Keys(changes));
        }
        Ok(())
    }

    /// Takes over what the engine shows of these keys, as what the frame `lsn` has made of them.
    fn adopt(&mut self, keys: impl IntoIterator<Item = u8>, deleted: &[u8], lsn: u64) {
        let mut changes = Vec::new();
        for key in keys {
            let name = name(key);
            match self.engine().peek(named(key, &name)).wait() {
                Ok(Some(entry)) => changes.push((key, Some(value_of(&entry)))),
                Ok(None) if deleted.contains(&key) => changes.push((key, None)),
                // Evicted, who knows when: an absent entry is no surprise later on.
                Ok(None) => {}
                Err(e) => {
                    assert!(self.faulty, "peek {key}: {e}");
                    self.unsure.insert(key);
                }
            }
        }
        changes.retain(|(_, value)| value.as_ref().is_none_or(|value| value.version == lsn));
        if !changes.is_empty() {
            self.changes.push((lsn, Change::Keys(changes)));
            self.give(lsn.max(self.last_given()));
        }
    }

    fn flush(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let namespace = [None, Some(0), Some(1)][u.choose_index(3)?];
        let (level, wait) = self.level(u)?;
        trace!("flush {namespace:?} wait={wait}");
        let Some(commit) = self.ask(|e| e.flush(namespace, level)) else { return Ok(()) };
        let lsn = commit.lsn().0;
        self.outcome(commit, wait, lsn);
        self.change(lsn, Change::Flush(namespace));
        Ok(())
    }

    /// A read: right, or refused because the log has stopped.
    fn look(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let key = key(u)?;
        let expected = self.current(key);
        let name = name(key);
        let found = match self.engine().get(named(key, &name)).wait() {
            Ok(found) => found,
            Err(e) => {
                assert!(e.kind() == ErrorKind::Halted && self.faulty, "get {key}: {e}");
                return Ok(());
            }
        };
        trace!("get {key}: {found:?}");
        if self.unsure.contains(&key) {
            return Ok(());
        }
        match (&found, &expected) {
            (Some(found), Some(expected)) => same(key, found, expected),
            (None, Some(expected)) => {
                self.agree(false, "get: absent", key);
                // Under `always` an answer leaves only when what it rests on is on the disk.
                if self.settings.fsync == Fsync::Always {
                    self.note_gone(key, expected.version);
                }
            }
            (Some(found), None) => panic!("key {key} is not there, but read: {found:?}"),
            (None, None) => {}
        }
        Ok(())
    }

    fn pass(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let span = [1, 50, 1_000, 20_000, 3_600_000][u.choose_index(5)?];
        let jump = [0, 0, 0, -3_000, 5_000, -7_200_000][u.choose_index(6)?];
        trace!("pass {span} ms, wall clock jumps {jump} ms");
        self.clock.advance(Duration::from_millis(span));
        self.clock.jump_wall(jump);
        Ok(())
    }

    fn background(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let what = u.choose_index(3)?;
        trace!("background {what}");
        let done = match what {
            0 => self.engine().step(),
            1 => self.engine().idle(),
            _ => self.engine().sync().wait(),
        };
        match done {
            Ok(()) if what == 2 => self.note_acked(Level::Disk, self.last_given()),
            Ok(()) => {}
            Err(e) => assert!(self.faulty && e.kind() == ErrorKind::Halted, "background {what}: {e}"),
        }
        Ok(())
    }

    fn checkpoint(&mut self) -> Result<()> {
        trace!("checkpoint");
        if let Err(e) = self.engine().checkpoint() {
            assert!(self.faulty, "checkpoint: {e}");
        }
        Ok(())
    }

    fn fault(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let calls = [
            Call::Sync,
            Call::Write,
            Call::AnyChange,
            Call::Any,
            Call::SyncDir,
            Call::Rename,
            Call::Create,
            Call::Read,
        ];
        let call = calls[u.choose_index(calls.len())?];
        let effects = [
            Effect::Fail(Errno::IO),
            Effect::Fail(Errno::NOSPC),
            Effect::DropDirty,
            Effect::Short(7),
            Effect::FailAfter(100, Errno::IO),
            Effect::Fail(Errno::INTR),
        ];
        let effect = effects[u.choose_index(effects.len())?];
        let nth = u.int_in_range(1..=12)?;
        trace!("fault {call:?} {effect:?} nth={nth}");
        self.disk.arm(Fault::nth(call, nth, effect));
        self.faulty = true;
        Ok(())
    }

    // ---- what is known ----

    /// Asks for something that may be refused.
    fn ask<T>(&mut self, ask: impl Fn(&Engine) -> emberkeep_storage::Result<Commit<T>>) -> Option<Commit<T>> {
        for attempt in 0..4 {
            match ask(self.engine()) {
                Ok(commit) => {
                    self.asked_at = self.disk.op_count();
                    return Some(commit);
                }
                Err(e) if e.kind() == ErrorKind::Overloaded && attempt < 3 => {
                    // Room comes with the next turn of the committer and the preparer.
                    if self.engine().sync().wait().and_then(|()| self.engine().step()).is_err() {
                        assert!(self.faulty);
                    }
                }
                Err(e) => {
                    trace!("refused: {e}");
                    let usual = match e.kind() {
                        ErrorKind::Halted | ErrorKind::Io => self.faulty,
                        ErrorKind::Full => self.faulty || self.evicts(),
                        ErrorKind::Overloaded => self.faulty,
                        _ => false,
                    };
                    assert!(usual, "refused: {e}");
                    return None;
                }
            }
        }
        None
    }

    /// Waits for the answer, or leaves it: then it follows from the model, unless entries are
    /// evicted; and then there is no leaving.
    fn outcome<T>(&mut self, commit: Commit<T>, wait: bool, lsn: u64) -> Option<T> {
        if !wait && !self.evicts() {
            return None;
        }
        match commit.wait() {
            Ok(committed) => {
                assert_eq!(committed.lsn.0, lsn);
                self.note_acked(committed.level, lsn);
                Some(committed.outcome)
            }
            Err(e) => {
                assert!(self.faulty && e.kind() == ErrorKind::Halted, "{e}");
                None
            }
        }
    }

    fn note_acked(&mut self, level: Level, lsn: u64) {
        let at = self.disk.op_count();
        if level >= Level::Disk {
            self.disk_acked.push((at, lsn));
        }
        if level >= Level::Os {
            self.os_acked.push((at, lsn));
        }
    }

    fn note_gone(&mut self, key: u8, version: u64) {
        self.gone.push((self.disk.op_count(), key, version));
    }

    fn last_given(&self) -> u64 {
        self.given.last().map_or(0, |(_, lsn)| *lsn)
    }

    /// A change got this frame: never one that anybody had before.
    fn change(&mut self, lsn: u64, change: Change) {
        assert!(lsn > self.last_given(), "LSN {lsn} was given before, last={}", self.last_given());
        self.changes.push((lsn, change));
        self.give(lsn);
    }

    fn give(&mut self, lsn: u64) {
        self.given.push((self.asked_at, lsn));
    }

    /// No answer came, and what these keys were only the engine knew.
    fn is_unsure(&mut self, keys: impl IntoIterator<Item = u8>, lsn: u64) -> bool {
        if self.evicts() {
            self.unsure.extend(keys);
            self.give(lsn.max(self.last_given()));
        }
        self.evicts()
    }

    /// Engine and model agree; where entries are evicted, they need not.
    fn agree(&self, agreed: bool, what: &str, key: u8) {
        assert!(agreed || self.evicts(), "{what}: engine and model disagree about key {key}");
    }

    // ---- ends and beginnings ----

    /// The process is gone; the operating system and the disk are not.
    fn kill(&mut self) {
        let acked = last_before(&self.os_acked, u64::MAX);
        let next = self.disk.after_kill();
        trace!("kill, acked={acked}");
        self.replace_disk(next);
        self.start(acked, u64::MAX);
    }

    /// The power fails after some operation of the disk since the last start, and the disk holds
    /// what it may.
    fn power_cut(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let ops = self.disk.op_count();
        let k = if u.ratio(1, 2)? { ops } else { u.int_in_range(self.cut_from..=ops)? };
        let seed: u16 = u.arbitrary()?;
        let choice = match u.choose_index(5)? {
            0 => Choice::None,
            1 => Choice::All,
            2 => Choice::Garbage(seed.into()),
            _ => Choice::Seeded(seed.into()),
        };
        let acked = last_before(&self.disk_acked, k);
        let given = last_before(&self.given, k);
        trace!(
            "power cut after {k} of {ops} operations ({}), {choice}, acked={acked}",
            self.disk.describe_op(k)
        );
        let image = self.disk.image(k, &choice);
        self.replace_disk(image);
        // What was given out after the cut never happened.
        self.given.retain(|(at, _)| *at <= k);
        self.gone.retain(|(at, ..)| *at <= k);
        self.cut_from = 0;
        for list in [&mut self.disk_acked, &mut self.os_acked, &mut self.given] {
            list.clear();
        }
        self.gone.iter_mut().for_each(|(at, ..)| *at = 0);
        self.given.push((0, given));
        self.start(acked, given);
        Ok(())
    }

    fn close_and_reopen(&mut self) {
        trace!("close");
        match self.engine().close() {
            Ok(()) => {
                let (state, faulty) = (self.state_at(u64::MAX), self.faulty);
                self.engine = None;
                self.disk.disarm();
                let last = self.last_given();
                self.start(last, u64::MAX);
                // A stop that cannot leave two segments ready for later starts does not seal.
                assert!(faulty || self.engine().recovery().clean, "{:?}", self.engine().recovery());
                assert!(self.evicts() || state == self.state_at(u64::MAX));
            }
            Err(e) => {
                assert!(self.faulty, "close: {e}");
                self.kill();
            }
        }
    }

    fn replace_disk(&mut self, next: SimDisk) {
        // The old engine goes on for a moment, on the old disk.
        self.disk.disarm();
        self.engine = None;
        self.disk = next;
    }

    /// Starts an engine: at least `acked` is there, nothing of what is after `given`.
    fn start(&mut self, acked: u64, given: u64) {
        self.faulty = false;
        self.starts += 1;
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.starts.to_le_bytes());
        let components = Components {
            vfs: Arc::new(self.disk.clone()),
            clock: Arc::new(self.clock.clone()),
            seed,
            background: Background::Manual,
            policy: None,
        };
        let engine = Engine::open(self.settings.clone(), components)
            .unwrap_or_else(|e| panic!("the engine does not start after a legal stop: {e}"));
        let report = engine.recovery().clone();
        trace!("start: {report:?}");
        let last = report.last_lsn.0;
        assert!(last >= acked, "acknowledged up to {acked}, recovered up to {last}");
        self.changes.retain(|(lsn, _)| *lsn <= last);
        assert!(
            self.changes.last().is_none_or(|(lsn, _)| *lsn <= given),
            "recovered what was never given out"
        );
        self.engine = Some(engine);
        let at = self.disk.op_count();
        self.disk_acked.push((at, last));
        self.os_acked.push((at, last));
        // The end of the log may be behind the last change: removals and starts are frames too.
        let given = self.last_given().max(last);
        self.given.push((at, given));
        self.compare(last);
        let unsure = std::mem::take(&mut self.unsure);
        if !unsure.is_empty() {
            self.take_over(unsure);
        }
    }

    /// A start has shown what these keys are.
    fn take_over(&mut self, keys: BTreeSet<u8>) {
        for key in keys {
            let name = name(key);
            let found = self.engine().peek(named(key, &name)).wait().expect("what is recovered is durable");
            if let Some(entry) = found {
                self.changes.push((entry.version(), Change::Keys(vec![(key, Some(value_of(&entry)))])));
            }
        }
        self.changes.sort_by_key(|(lsn, _)| *lsn);
    }

    /// What is served is the state after `last`.
    fn compare(&self, last: u64) {
        let now = self.now();
        let mut state = self.state_at(last);
        state.retain(|_, value| value.is_live(now));
        let engine = self.engine();
        engine.check();
        let mut count = 0;
        for key in 0..KEYS {
            let name = name(key);
            let found = engine.peek(named(key, &name)).wait().expect("what is recovered is durable");
            match (&found, state.get(&key)) {
                _ if self.unsure.contains(&key) => {}
                (Some(found), Some(expected)) => same(key, found, expected),
                (None, Some(expected)) => {
                    assert!(self.evicts(), "key {key} is lost: {expected:?}");
                }
                (Some(found), None) => panic!("key {key} came back: {found:?}"),
                (None, None) => {}
            }
            if let Some(found) = found {
                count += 1;
                let back = self.gone.iter().find(|(_, k, version)| *k == key && found.version() <= *version);
                assert!(back.is_none(), "key {key} was seen to be gone and came back: {found:?}");
            }
        }
        let mut scanned = 0;
        for namespace in [0, 1] {
            let mut cursor = Some(Cursor::START);
            while let Some(at) = cursor {
                let page = engine.scan(at, Key { namespace, bytes: b"" }, 100).wait().expect("as above");
                scanned += page.entries.len();
                cursor = page.next;
            }
        }
        assert_eq!(scanned, count, "a scan and the reads disagree");
    }

    // ---- choices ----

    fn expiry(&self, u: &mut Unstructured<'_>) -> Result<Expiry> {
        Ok(match u.int_in_range(0..=9u8)? {
            0 | 1 => Expiry::In(Duration::from_millis(500)),
            2 => Expiry::In(Duration::from_secs(10)),
            3 => Expiry::In(Duration::from_secs(100_000)),
            4 => Expiry::Keep,
            5 => Expiry::At(UnixMillis(1)),
            6 => Expiry::At(self.now()),
            _ => Expiry::Never,
        })
    }

    fn deadline(&self, expiry: Expiry, current: Option<&Value>) -> Option<UnixMillis> {
        match expiry {
            Expiry::Never => None,
            Expiry::In(span) => Some(self.now().after(span)),
            Expiry::At(at) => Some(at),
            Expiry::Keep => current.and_then(|v| v.deadline),
        }
    }

    fn level(&self, u: &mut Unstructured<'_>) -> Result<(Option<Level>, bool)> {
        let level = match u.int_in_range(0..=7u8)? {
            0 => Some(Level::Disk),
            1 if self.settings.allow_downgrade => Some(Level::Memory),
            2 if self.settings.allow_downgrade => Some(Level::Os),
            _ => None,
        };
        Ok((level, u.ratio(2, 3)?))
    }
}

/// What a batch is to come to: the changes and the outcomes, or `None` if it is to be refused.
type Expected = Option<(Vec<(u8, Option<Value>)>, Vec<ActionOutcome>)>;

fn expect_batch(
    steps: &[(u8, u8, Vec<u8>, Expiry, i8)],
    before: &State,
    lsn: u64,
    now: UnixMillis,
) -> Expected {
    let mut state = before.clone();
    let mut outcomes = Vec::new();
    let deadline = |expiry: Expiry, current: Option<&Value>| match expiry {
        Expiry::Never => None,
        Expiry::In(span) => Some(now.after(span)),
        Expiry::At(at) => Some(at),
        Expiry::Keep => current.and_then(|v| v.deadline),
    };
    for (key, kind, bytes, expiry, by) in steps {
        let current = state.get(key).filter(|v| v.is_live(now)).cloned();
        let put = |bytes: Vec<u8>, deadline| Value { bytes, deadline, version: lsn };
        outcomes.push(match kind {
            0 | 1 => {
                if *kind == 1 && current.is_some() {
                    return None;
                }
                state.insert(*key, put(bytes.clone(), deadline(*expiry, current.as_ref())));
                let outcome = if current.is_some() { PutOutcome::Replaced } else { PutOutcome::Created };
                ActionOutcome::Put(outcome)
            }
            2 => {
                if current.is_some() {
                    state.remove(key);
                }
                ActionOutcome::Delete(if current.is_some() {
                    DeleteOutcome::Deleted
                } else {
                    DeleteOutcome::Absent
                })
            }
            3 => match current {
                None => ActionOutcome::Touch(TouchOutcome::Absent),
                Some(value) => {
                    let deadline = deadline(*expiry, Some(&value));
                    state.insert(*key, put(value.bytes, deadline));
                    ActionOutcome::Touch(TouchOutcome::Touched { deadline })
                }
            },
            _ => {
                let old = match &current {
                    None => 3,
                    Some(v) => counter(&v.bytes)?,
                };
                let new = old.checked_add(i64::from(*by))?;
                let kept = current.map_or_else(|| deadline(*expiry, None), |v| v.deadline);
                state.insert(*key, put(new.to_string().into_bytes(), kept));
                ActionOutcome::Incr(IncrOutcome::Value(new))
            }
        });
    }
    let keys: BTreeSet<u8> = steps.iter().map(|step| step.0).collect();
    let changed = keys.into_iter().filter(|key| state.get(key) != before.get(key));
    Some((changed.map(|key| (key, state.get(&key).cloned())).collect(), outcomes))
}

fn value_of(entry: &Entry) -> Value {
    Value { bytes: bytes_of(entry), deadline: entry.deadline(), version: entry.version() }
}

fn bytes_of(entry: &Entry) -> Vec<u8> {
    entry.value().expect("what the engine wrote inflates").to_vec()
}

/// A counter is a decimal number as it would be written: no plus, no leading zeros.
fn counter(bytes: &[u8]) -> Option<i64> {
    let number: i64 = std::str::from_utf8(bytes).ok()?.parse().ok()?;
    (number.to_string().as_bytes() == bytes).then_some(number)
}

fn same(key: u8, found: &Entry, expected: &Value) {
    assert!(
        bytes_of(found) == expected.bytes
            && found.deadline() == expected.deadline
            && found.version() == expected.version,
        "key {key} is wrong: {found:?}, expected version={} deadline={:?} len={}",
        expected.version,
        expected.deadline,
        expected.bytes.len()
    );
}

fn last_before(list: &[(u64, u64)], k: u64) -> u64 {
    list.iter().filter(|(at, _)| *at <= k).map(|(_, lsn)| *lsn).max().unwrap_or(0)
}

fn key(u: &mut Unstructured<'_>) -> Result<u8> {
    u.int_in_range(0..=KEYS - 1)
}

fn namespace_of(key: u8) -> u16 {
    u16::from(key % 4 == 3)
}

fn name(key: u8) -> String {
    format!("key/{key}")
}

fn named(key: u8, name: &str) -> Key<'_> {
    Key { namespace: namespace_of(key), bytes: name.as_bytes() }
}

/// Numbers, texts, and a few that fill segments.
fn value_bytes(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let fill: u8 = u.arbitrary()?;
    Ok(match u.int_in_range(0..=15u8)? {
        0..=3 => i64::from(fill).to_string().into_bytes(),
        4 => Vec::new(),
        5 => vec![fill; 2_000],
        6 => vec![fill; 5_000],
        7 if fill < 64 => vec![fill; 20_000],
        8 => i64::MAX.to_string().into_bytes(),
        _ => vec![fill; 30],
    })
}

fn condition<'a>(u: &mut Unstructured<'_>, versions: &'a [u64]) -> Result<Condition<'a>> {
    Ok(match u.int_in_range(0..=7u8)? {
        0 => Condition::Absent,
        1 => Condition::Present,
        2 => Condition::VersionIn(versions),
        3 => Condition::VersionNotIn(versions),
        _ => Condition::Always,
    })
}
