//! The dangerous crossings, on the real engine, under a scheduler that chooses who runs next.
//!
//! With the feature `shuttle` every lock, atomic and condition variable of the engine
//! (`storage/src/sync.rs`) is a place where the scheduler may switch. Threads append, apply, read
//! through gates, delete, expire and evict the same few keys while groups are committed and a
//! snapshot is taken. Afterwards the log itself says what happened, in which order, and every
//! answer that a thread got is held against it; then the power is cut at some of those moments
//! and what recovery finds is held against it too.
//!
//! ```text
//! cargo test -p emberkeep-storage --features shuttle --test shuttle
//! ```
//!
//! A failure prints a schedule and a seed. `SHUTTLE_SCHEDULE=<file with the schedule>` replays the
//! one, `SHUTTLE_RANDOM_SEED=<seed>` the other; name the one test that failed. More iterations:
//! `SHUTTLE_ITERATIONS=<factor>`.
//!
//! Not here: weak memory (shuttle runs one thread at a time, so every atomic is sequentially
//! consistent), time (a wait under shuttle never times out), and what the disk may hold after a
//! cut in all its variety (the crash laboratory).

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use emberkeep_storage::{
    Background, Commit, Components, Condition, DeleteOutcome, Engine, ErrorKind, Expiry, Fsync, Gate, Level,
    Lsn, PutOutcome, Result, Settings, TouchOutcome, UnixMillis, Write,
    format::{
        frame,
        op::Op,
        payload::{self, Payload},
        segment::{SEGMENT_HEADER_LEN, SegmentHeader},
    },
    sim::{
        choice::Choice,
        clock::SimClock,
        disk::SimDisk,
        faults::{Call, Effect, Errno, Fault},
    },
    watermark::Watermark,
};
use shuttle::{
    Config, MaxSteps, Runner,
    future::block_on,
    rand::{Rng, thread_rng},
    scheduler::{PctScheduler, RandomScheduler, ReplayScheduler},
    thread,
};

// ---- the scenarios ----

/// Few keys, so that the threads meet.
const KEYS: [&str; 4] = ["a", "b", "c", "d"];
/// Fewer entries than keys, so that every other put evicts.
const ITEMS_MAX: u64 = 3;

/// Writers, readers, a committer and a checkpoint at once; every second waiter commits inline, the
/// others sleep until they are woken.
fn crossing() {
    let world = World::open();
    let mut threads: Vec<_> = (0..2).map(|_| world.spawn(5, World::write)).collect();
    threads.extend((0..2).map(|_| world.spawn(5, World::read)));
    threads.push(world.spawn(1, World::checkpoint));
    let committer = world.spawn_committer();
    threads.into_iter().for_each(|t| t.join().unwrap());
    world.done();
    committer.join().unwrap();
    world.settle_and_check();
}

/// A key is deleted, evicted, expired and written again, again and again, while readers ask for
/// it: is an absence let out before its removal is durable, is a tombstone freed too early?
fn absence() {
    let world = World::open();
    let mut threads: Vec<_> = (0..2).map(|_| world.spawn(4, World::come_and_go)).collect();
    threads.extend((0..2).map(|_| world.spawn(6, World::read)));
    let committer = world.spawn_committer();
    threads.into_iter().for_each(|t| t.join().unwrap());
    world.done();
    committer.join().unwrap();
    world.settle_and_check();
}

/// A sync fails at some moment. Nobody may be told that something above `durable` is safe, and
/// everybody who waits must be woken.
fn halt() {
    let world = World::open();
    let effect = if thread_rng().gen_bool(0.5) { Effect::DropDirty } else { Effect::Fail(Errno::IO) };
    let fault = Fault::nth(Call::Sync, thread_rng().gen_range(1..6), effect);
    // The worst disk fails once, loses what it had, and then says that all is well.
    world.disk.arm(if thread_rng().gen_bool(0.5) { fault } else { fault.from_then_on() });
    let mut threads: Vec<_> = (0..3).map(|_| world.spawn(4, World::write)).collect();
    threads.extend((0..2).map(|_| world.spawn(3, World::read)));
    let committer = world.spawn_committer();
    threads.into_iter().for_each(|t| t.join().unwrap());
    world.done();
    committer.join().unwrap();

    let stats = world.engine.stats();
    if stats.halted.is_some() {
        for seen in world.seen.lock().unwrap().iter() {
            let rests_on = seen.answer.lsn().unwrap_or_default();
            assert!(rests_on <= stats.durable, "told after a halt: {seen:?} durable={}", stats.durable);
        }
        let refused = world.engine.put("a", Write::new(b"late")).map(drop).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Halted);
    }
    world.check_history();
    world.engine.check();
}

/// The threads of the engine itself: its committer sleeps until there is work, writers sleep until
/// they are woken. A wake-up that is lost leaves everybody asleep, which shuttle reports.
fn threads() {
    let world = World::open_with(Background::Threads);
    let mut threads: Vec<_> = (0..3).map(|_| world.spawn(3, World::write)).collect();
    threads.extend((0..2).map(|_| world.spawn(3, World::read)));
    threads.into_iter().for_each(|t| t.join().unwrap());
    world.check_history();
    world.engine.close().unwrap();
    let stats = world.engine.stats();
    assert_eq!(stats.durable, stats.appended);
    world.engine.check();
}

/// Beside the committer's thread others take their commits apart and commit by themselves, or wait
/// for both, or forget about it. Nobody is told too early, and nobody sleeps for ever.
fn by_themselves() {
    let world = World::open_with(Background::Threads);
    let mut threads: Vec<_> = (0..3).map(|_| world.spawn(3, World::write_apart)).collect();
    threads.push(world.spawn(3, World::write));
    threads.push(world.spawn(3, World::read));
    threads.into_iter().for_each(|t| t.join().unwrap());
    world.check_history();
    world.engine.close().unwrap();
    let stats = world.engine.stats();
    assert_eq!(stats.durable, stats.appended);
    world.engine.check();
}

/// The same where the system is enough: who cannot write by himself waits for the committer.
fn written_by_themselves() {
    let world = World::open_as(Fsync::Never, Background::Threads);
    let mut threads: Vec<_> = (0..4).map(|_| world.spawn(3, World::write_here)).collect();
    // A sync is due now and then.
    threads.push(world.spawn(2, |world| world.engine.sync().wait().unwrap()));
    threads.into_iter().for_each(|t| t.join().unwrap());
    world.engine.close().unwrap();
    world.engine.check();
}

/// Who waits for a cursor is woken when it gets there, whoever moves it.
fn cursor() {
    let mark = Arc::new(Watermark::new(Lsn(0)));
    let waiting = [1, 2, 3, 5, 6].map(|lsn| {
        let reach = Reach { mark: mark.clone(), lsn: Lsn(lsn) };
        thread::spawn(move || assert!(block_on(reach) >= Lsn(lsn)))
    });
    let moving = [[1, 3, 5], [2, 4, 6]].map(|steps| {
        let mark = mark.clone();
        thread::spawn(move || steps.into_iter().for_each(|lsn| mark.advance(Lsn(lsn))))
    });
    moving.into_iter().for_each(|t| t.join().unwrap());
    waiting.into_iter().for_each(|t| t.join().unwrap());
    assert_eq!(mark.get(), Lsn(6));
}

struct Reach {
    mark: Arc<Watermark>,
    lsn: Lsn,
}

impl Future for Reach {
    type Output = Lsn;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Lsn> {
        if self.mark.get() >= self.lsn || !self.mark.register(self.lsn, cx.waker()) {
            return Poll::Ready(self.mark.get());
        }
        Poll::Pending
    }
}

// ---- how often, and in which order ----

#[test]
fn no_answer_is_lost_at_any_crossing_random() {
    explore_random(3000, crossing);
}

#[test]
fn no_answer_is_lost_at_any_crossing_pct() {
    explore_pct(3000, crossing);
}

#[test]
fn an_absence_is_durable_before_it_is_told_random() {
    explore_random(3000, absence);
}

#[test]
fn an_absence_is_durable_before_it_is_told_pct() {
    explore_pct(3000, absence);
}

#[test]
fn after_a_failed_sync_nothing_above_durable_is_acknowledged_and_all_waiters_wake_random() {
    explore_random(3000, halt);
}

#[test]
fn after_a_failed_sync_nothing_above_durable_is_acknowledged_and_all_waiters_wake_pct() {
    explore_pct(3000, halt);
}

#[test]
fn no_wake_up_is_lost_between_writers_and_the_committers_thread_random() {
    explore_random(3000, threads);
}

#[test]
fn no_wake_up_is_lost_between_writers_and_the_committers_thread_pct() {
    explore_pct(3000, threads);
}

#[test]
fn nobody_hangs_or_is_told_too_early_where_threads_commit_by_themselves_random() {
    explore_random(3000, by_themselves);
}

#[test]
fn nobody_hangs_or_is_told_too_early_where_threads_commit_by_themselves_pct() {
    explore_pct(3000, by_themselves);
}

#[test]
fn nobody_hangs_or_is_told_too_early_where_threads_write_by_themselves_random() {
    explore_random(3000, written_by_themselves);
}

#[test]
fn nobody_hangs_or_is_told_too_early_where_threads_write_by_themselves_pct() {
    explore_pct(3000, written_by_themselves);
}

#[test]
fn no_wake_up_is_lost_at_a_cursor_random() {
    explore_random(5000, cursor);
}

#[test]
fn no_wake_up_is_lost_at_a_cursor_pct() {
    explore_pct(5000, cursor);
}

fn explore_random(iterations: usize, scenario: fn()) {
    match schedule_to_replay() {
        Some(schedule) => replay(&schedule, scenario),
        None => drop(Runner::new(RandomScheduler::new(scaled(iterations)), config()).run(scenario)),
    }
}

/// Few forced switches per run, at places chosen well: finds what needs one thread to be very slow.
fn explore_pct(iterations: usize, scenario: fn()) {
    const SWITCHES: usize = 4;
    match schedule_to_replay() {
        Some(schedule) => replay(&schedule, scenario),
        None => drop(Runner::new(PctScheduler::new(SWITCHES, scaled(iterations)), config()).run(scenario)),
    }
}

fn replay(schedule: &str, scenario: fn()) {
    Runner::new(ReplayScheduler::new_from_encoded(schedule), config()).run(scenario);
}

fn config() -> Config {
    let mut config = Config::new();
    // Recovery runs on these stacks too.
    config.stack_size = 256 << 10;
    // Nobody who makes progress takes so many.
    config.max_steps = MaxSteps::FailAfter(200_000);
    config
}

fn scaled(iterations: usize) -> usize {
    let factor = std::env::var("SHUTTLE_ITERATIONS").ok().and_then(|f| f.parse().ok()).unwrap_or(1.0);
    ((iterations as f64 * factor) as usize).max(1)
}

fn schedule_to_replay() -> Option<String> {
    let path = std::env::var_os("SHUTTLE_SCHEDULE")?;
    Some(std::fs::read_to_string(path).expect("the file with the schedule can be read"))
}

// ---- the fixture ----

/// The engine, and what its users were told. The notes are kept under locks of the standard
/// library, held for a moment only: no place where the scheduler can switch.
struct World {
    disk: SimDisk,
    clock: SimClock,
    engine: Engine,
    /// Operations of the disk before the first thread.
    first_op: u64,
    seen: Mutex<Vec<Seen>>,
    ticks: std::sync::atomic::AtomicU64,
    done: std::sync::atomic::AtomicBool,
    writes: std::sync::atomic::AtomicU64,
}

/// One answer.
#[derive(Clone, Debug)]
struct Seen {
    /// In the order of real time: the call began …
    begun: u64,
    /// … and the answer was there.
    ended: u64,
    /// The time when the call began and when the answer was there.
    now: (UnixMillis, UnixMillis),
    /// What the disk had been told by then, and what the engine claimed.
    ops: u64,
    durable: Lsn,
    key: &'static str,
    answer: Answer,
}

#[derive(Clone, Debug)]
enum Answer {
    /// A put or a touch, at this frame.
    Wrote(Lsn),
    /// A delete, at this frame.
    Deleted(Lsn),
    /// A write found nothing, and says which frame that rests on.
    FoundNothing(Lsn),
    Value(Lsn, Vec<u8>),
    /// A read found nothing.
    Nothing,
}

impl Answer {
    fn lsn(&self) -> Option<Lsn> {
        match self {
            Answer::Wrote(lsn) | Answer::Deleted(lsn) | Answer::FoundNothing(lsn) | Answer::Value(lsn, _) => {
                Some(*lsn)
            }
            Answer::Nothing => None,
        }
    }
}

impl World {
    fn open() -> Arc<World> {
        Self::open_with(Background::Manual)
    }

    fn open_with(background: Background) -> Arc<World> {
        Self::open_as(Fsync::Always, background)
    }

    fn open_as(fsync: Fsync, background: Background) -> Arc<World> {
        let (disk, clock) = (SimDisk::new(), SimClock::new());
        let engine = open(&disk, &clock, fsync, background).unwrap();
        // A sync takes long: others run meanwhile.
        disk.on_sync(Box::new(|| (0..3).for_each(|_| let_others_run())));
        Arc::new(World {
            first_op: disk.op_count(),
            disk,
            clock,
            engine,
            seen: Mutex::default(),
            ticks: Default::default(),
            done: Default::default(),
            writes: Default::default(),
        })
    }

    fn spawn(self: &Arc<World>, times: usize, act: fn(&World)) -> thread::JoinHandle<()> {
        let world = self.clone();
        thread::spawn(move || (0..times).for_each(|_| act(&world)))
    }

    /// Takes rounds until everybody else is done, and lets time pass.
    fn spawn_committer(self: &Arc<World>) -> thread::JoinHandle<()> {
        let world = self.clone();
        thread::spawn(move || {
            while !world.done.load(std::sync::atomic::Ordering::SeqCst) {
                match thread_rng().gen_range(0..8) {
                    0 => drop(world.engine.idle()),
                    1 => world.clock.advance(Duration::from_millis(400)),
                    _ => drop(world.engine.step()),
                }
                thread::yield_now();
            }
        })
    }

    fn done(&self) {
        self.done.store(true, std::sync::atomic::Ordering::SeqCst);
    }

    // ---- what threads do ----

    fn write(&self) {
        let key = KEYS[thread_rng().gen_range(0..KEYS.len())];
        match thread_rng().gen_range(0..10) {
            0..=4 => self.put(key, Expiry::Never),
            5 => self.put(key, Expiry::In(Duration::from_millis(300))),
            6 => self.touch(key),
            7 => self.flush(),
            8 => self.put_lightly(key),
            _ => self.delete(key),
        }
    }

    fn come_and_go(&self) {
        let key = KEYS[thread_rng().gen_range(0..2)];
        match thread_rng().gen_range(0..6) {
            0..=1 => self.put(key, Expiry::Never),
            2 => self.put(key, Expiry::In(Duration::from_millis(300))),
            3 => self.put(KEYS[thread_rng().gen_range(2..4)], Expiry::Never),
            _ => self.delete(key),
        }
    }

    fn read(&self) {
        let key = KEYS[thread_rng().gen_range(0..KEYS.len())];
        self.note(key, || {
            let entry = opened(self.engine.get(key))?;
            Ok(entry
                .map_or(Answer::Nothing, |e| Answer::Value(Lsn(e.version()), e.value().unwrap().to_vec())))
        });
    }

    fn checkpoint(&self) {
        match self.engine.checkpoint() {
            Ok(report) => assert!(report.begin <= report.end && report.end <= self.engine.stats().durable),
            Err(e) => assert_eq!(e.kind(), ErrorKind::Halted, "{e}"),
        }
    }

    fn put(&self, key: &'static str, expiry: Expiry) {
        let number = self.writes.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        // Some are long, so that the log rotates and the staging buffer fills.
        let value = vec![number as u8; if thread_rng().gen_bool(0.2) { 1500 } else { 8 }];
        self.note(key, || {
            let committed = acknowledged(self.engine.put(key, Write { expiry, ..Write::new(&value) })?)?;
            assert!(matches!(committed.outcome, PutOutcome::Created | PutOutcome::Replaced));
            Ok(Answer::Wrote(committed.lsn))
        });
    }

    /// A put that is acknowledged before it is written: nothing that history could hold to, but a
    /// reader who sees it asks for a sync.
    fn put_lightly(&self, key: &'static str) {
        let write = Write { level: Some(Level::Memory), ..Write::new(b"light") };
        let refused = self.engine.put(key, write).and_then(acknowledged).err().map(|e| e.kind());
        assert!(matches!(refused, None | Some(ErrorKind::Overloaded | ErrorKind::Halted)), "{refused:?}");
    }

    /// As the threads of a protocol do whose clients send many requests at once.
    fn write_apart(&self) {
        let key = KEYS[thread_rng().gen_range(0..KEYS.len())];
        if thread_rng().gen_bool(0.25) {
            // Nobody is told. It becomes durable with what comes behind it, or at the end.
            drop(self.engine.put(key, Write::new(b"apart")).map(Commit::into_parts));
            return;
        }
        self.note(key, || {
            let (_, lsn, level) = self.engine.put(key, Write::new(b"apart"))?.into_parts();
            assert_eq!(level, Level::Disk);
            if thread_rng().gen_bool(0.5) {
                self.engine.commit_here(lsn)?;
            } else {
                opened(self.engine.reached(lsn, level))?;
            }
            Ok(Answer::Wrote(lsn))
        });
    }

    fn write_here(&self) {
        let key = KEYS[thread_rng().gen_range(0..KEYS.len())];
        let long = vec![7; if thread_rng().gen_bool(0.3) { 1500 } else { 8 }];
        let lsn = match self.engine.put(key, Write::new(&long)) {
            Ok(commit) => commit.into_parts().1,
            Err(e) => {
                assert_eq!(e.kind(), ErrorKind::Overloaded);
                return let_others_run();
            }
        };
        if !self.engine.write_here(lsn).unwrap() {
            opened(self.engine.reached(lsn, Level::Os)).unwrap();
        }
        let found = open(&self.disk.after_kill(), &self.clock, Fsync::Never, Background::Manual).unwrap();
        assert!(found.recovery().last_lsn >= lsn, "a kill takes back lsn={lsn}");
    }

    fn delete(&self, key: &'static str) {
        self.note(key, || {
            let committed = acknowledged(self.engine.delete(key, Condition::Always, None)?)?;
            Ok(match committed.outcome {
                DeleteOutcome::Deleted => Answer::Deleted(committed.lsn),
                _ => Answer::FoundNothing(committed.lsn),
            })
        });
    }

    fn touch(&self, key: &'static str) {
        self.note(key, || {
            let expiry = Expiry::In(Duration::from_millis(700));
            let committed = acknowledged(self.engine.touch(key, expiry, Condition::Always, None)?)?;
            Ok(match committed.outcome {
                TouchOutcome::Touched { .. } => Answer::Wrote(committed.lsn),
                _ => Answer::FoundNothing(committed.lsn),
            })
        });
    }

    fn flush(&self) {
        // It ends every key; noting it for one is enough.
        self.note(KEYS[0], || Ok(Answer::Deleted(acknowledged(self.engine.flush(None, None)?)?.lsn)));
    }

    /// Notes an answer with the moments before and after. A call that was refused told nothing.
    fn note(&self, key: &'static str, call: impl FnOnce() -> Result<Answer>) {
        let (begun, now) = (self.tick(), self.engine.now());
        match call() {
            Ok(answer) => {
                // Nobody else runs between the answer and these two.
                let (ended, ops) = (self.tick(), self.disk.op_count());
                let now = (now, self.engine.now());
                let durable = self.engine.stats().durable;
                self.seen.lock().unwrap().push(Seen { begun, ended, now, ops, durable, key, answer });
            }
            // Room comes with the next group.
            Err(e) if e.kind() == ErrorKind::Overloaded => let_others_run(),
            Err(e) => assert_eq!(e.kind(), ErrorKind::Halted, "{e}"),
        }
    }

    fn tick(&self) -> u64 {
        self.ticks.fetch_add(1, std::sync::atomic::Ordering::SeqCst)
    }

    // ---- what must hold ----

    fn settle_and_check(&self) {
        self.engine.sync().wait().unwrap();
        let stats = self.engine.stats();
        assert_eq!(stats.durable, stats.appended, "everything is durable after a sync");
        self.engine.check();
        self.check_history();
    }

    /// Every answer fits the log, and no power cut takes back what an answer rests on.
    fn check_history(&self) {
        let seen = std::mem::take(&mut *self.seen.lock().unwrap());
        let log = Log::read(&self.disk);
        let rests_on = log.check(&seen);
        let told = |k: u64| {
            let told = seen.iter().zip(&rests_on).filter(|(s, _)| s.ops <= k);
            told.map(|(_, lsn)| *lsn).max().unwrap_or_default()
        };
        let last = self.disk.op_count();
        self.cut(&log, last, &Choice::None, told(last));
        // At the moment of an answer, and anywhere: in a rotation, in a checkpoint.
        if !seen.is_empty() {
            let k = seen[thread_rng().gen_range(0..seen.len())].ops;
            self.cut(&log, k, &Choice::None, told(k));
        }
        let k = thread_rng().gen_range(self.first_op..=last);
        let choice =
            if thread_rng().gen_bool(0.5) { Choice::None } else { Choice::Seeded(thread_rng().r#gen()) };
        self.cut(&log, k, &choice, told(k));
    }

    /// After a power cut the state is that of the log up to some frame, which is not before `told`.
    fn cut(&self, log: &Log, k: u64, choice: &Choice, told: Lsn) {
        let image = self.disk.image(k, choice);
        let engine = open(&image, &self.clock, Fsync::Always, Background::Manual)
            .unwrap_or_else(|e| panic!("no recovery after op {k} with {choice}: {e}"));
        let last = engine.recovery().last_lsn;
        assert!(last >= told, "lost: recovered={last} told={told} after op {k} with {choice}");
        for key in KEYS {
            let found =
                engine.peek(key).wait().unwrap().map(|e| (Lsn(e.version()), e.value().unwrap().to_vec()));
            assert_eq!(
                found,
                log.at(key, last, engine.now()),
                "key={key} lsn={last} after op {k} with {choice}"
            );
        }
        engine.check();
    }
}

/// Everything is small, so that rotation, eviction and waiting for room happen soon.
fn open(disk: &SimDisk, clock: &SimClock, fsync: Fsync, background: Background) -> Result<Engine> {
    let settings = Settings {
        fsync,
        segment_bytes: 16 << 10,
        staging_bytes: 4 << 10,
        checkpoint_bytes: 1 << 20,
        max_key_bytes: 16,
        max_value_bytes: 4 << 10,
        max_bytes: None,
        max_items: Some(ITEMS_MAX),
        allow_downgrade: true,
        stripes: Some(2),
        // What the log holds is compared with what is read.
        compress: None,
        ..Settings::new("/data")
    };
    // Every run has its own randomness; all runs together are repeatable.
    let mut seed = [7; 32];
    seed[..8].copy_from_slice(&disk.op_count().to_le_bytes());
    let (vfs, clock) = (Arc::new(disk.clone()), Arc::new(clock.clone()));
    Engine::open(settings, Components { vfs, clock, seed, background, policy: None })
}

/// A place where the scheduler may switch. `yield_now` would be one too, but it leaves a wake-up
/// behind for the calling thread, which then survives one that is lost.
fn let_others_run() {
    shuttle::sync::atomic::AtomicBool::new(false).load(std::sync::atomic::Ordering::SeqCst);
}

/// Every second time the waiter commits inline, else it sleeps until the committer wakes it.
fn acknowledged<T: Unpin>(commit: Commit<T>) -> Result<emberkeep_storage::Committed<T>> {
    if thread_rng().gen_bool(0.5) { commit.wait() } else { block_on(commit) }
}

fn opened<T: Unpin>(gate: Gate<T>) -> Result<T> {
    if thread_rng().gen_bool(0.5) { gate.wait() } else { block_on(gate) }
}

// ---- what happened: the log itself ----

/// What each key became, by the frame that said so.
#[derive(Debug, Default)]
struct Log {
    keys: BTreeMap<String, BTreeMap<Lsn, State>>,
}

#[derive(Clone, Debug)]
enum State {
    Live { value: Vec<u8>, deadline: Option<UnixMillis> },
    Gone,
}

impl State {
    fn is_absent(&self, now: UnixMillis) -> bool {
        match self {
            State::Live { deadline, .. } => deadline.is_some_and(|deadline| deadline <= now),
            State::Gone => true,
        }
    }
}

impl Log {
    /// Reads every segment that there ever was, pruned ones included.
    fn read(disk: &SimDisk) -> Log {
        let mut log = Log::default();
        let mut segments = BTreeMap::new();
        for (_, bytes) in disk.all_contents_ever(".wal") {
            let header = SegmentHeader::decode(&bytes).unwrap();
            segments.insert(header.first_index, (header, bytes));
        }
        for (header, bytes) in segments.values() {
            let mut at = SEGMENT_HEADER_LEN;
            while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty())
                && let Ok(frame) = frame::decode(rest, header.salt)
            {
                if frame.header.kind.is_replicated() {
                    log.apply(Lsn(frame.header.index), &payload::decode(&frame).unwrap());
                }
                at += frame.disk_len();
            }
        }
        log
    }

    fn apply(&mut self, lsn: Lsn, payload: &Payload<'_>) {
        match payload {
            Payload::Op(Op::Put(put)) => {
                let state = State::Live { value: put.value.to_vec(), deadline: put.deadline };
                self.set(put.key.bytes, lsn, state);
            }
            Payload::Op(Op::Touch { key, deadline }) => {
                let before = self.state(std::str::from_utf8(key.bytes).unwrap(), lsn);
                let Some((_, State::Live { value, .. })) = before else {
                    panic!("a touch of what is not there lsn={lsn}")
                };
                let state = State::Live { value: value.clone(), deadline: *deadline };
                self.set(key.bytes, lsn, state);
            }
            Payload::Op(Op::Delete(key)) => self.set(key.bytes, lsn, State::Gone),
            Payload::Remove(_, entries) => {
                for (key, version) in entries.iter() {
                    let (at, _) = self.state(std::str::from_utf8(key.bytes).unwrap(), lsn).unwrap();
                    assert_eq!(at.0, version, "a removal takes the entry that it names, lsn={lsn}");
                    self.set(key.bytes, lsn, State::Gone);
                }
            }
            Payload::Flush(_) => KEYS.iter().for_each(|key| self.set(key.as_bytes(), lsn, State::Gone)),
            Payload::TermStart(_) | Payload::Mark(_) => {}
            Payload::Txn(_) => unreachable!("no scenario writes one"),
        }
    }

    fn set(&mut self, key: &[u8], lsn: Lsn, state: State) {
        let key = String::from_utf8(key.to_vec()).unwrap();
        let before = self.keys.entry(key).or_default().insert(lsn, state);
        assert!(before.is_none(), "one frame, one state");
    }

    /// What the key is once the log has come to `lsn`, and since when.
    fn state(&self, key: &str, lsn: Lsn) -> Option<(Lsn, &State)> {
        self.keys.get(key)?.range(..=lsn).next_back().map(|(lsn, state)| (*lsn, state))
    }

    /// What a reader sees of it.
    fn at(&self, key: &str, lsn: Lsn, now: UnixMillis) -> Option<(Lsn, Vec<u8>)> {
        match self.state(key, lsn)? {
            (_, state) if state.is_absent(now) => None,
            (since, State::Live { value, .. }) => Some((since, value.clone())),
            (_, State::Gone) => None,
        }
    }

    /// Holds every answer against the log. Gives the frame that each rests on, at least.
    fn check(&self, seen: &[Seen]) -> Vec<Lsn> {
        let mut order: Vec<usize> = (0..seen.len()).collect();
        order.sort_by_key(|&i| seen[i].ended);
        let mut rests_on = vec![Lsn::ZERO; seen.len()];
        let mut judged = BTreeSet::new();
        for i in order {
            let answer = &seen[i];
            // What was answered before this call began has happened for it.
            let before = judged
                .iter()
                .filter(|&&j: &&usize| seen[j].key == answer.key && seen[j].ended < answer.begun);
            let floor = before.map(|&j| rests_on[j]).max().unwrap_or_default();
            rests_on[i] = self.check_one(answer, floor);
            assert!(rests_on[i] >= floor, "back in time: floor={floor} {answer:?}");
            assert!(rests_on[i] <= answer.durable, "told before it was durable: {answer:?}");
            judged.insert(i);
        }
        rests_on
    }

    fn check_one(&self, seen: &Seen, floor: Lsn) -> Lsn {
        let states = self.keys.get(seen.key);
        let exactly = |lsn: &Lsn| {
            states.and_then(|s| s.get(lsn)).unwrap_or_else(|| panic!("no such frame in the log: {seen:?}"))
        };
        match &seen.answer {
            Answer::Wrote(lsn) => {
                assert!(matches!(exactly(lsn), State::Live { .. }), "{seen:?}");
                *lsn
            }
            Answer::Deleted(lsn) => {
                assert!(matches!(exactly(lsn), State::Gone), "{seen:?}");
                *lsn
            }
            Answer::Value(lsn, value) => {
                let state = exactly(lsn);
                assert!(matches!(state, State::Live { value: logged, .. } if logged == value), "{seen:?}");
                assert!(!state.is_absent(seen.now.0), "an expired value was served: {seen:?}");
                *lsn
            }
            Answer::FoundNothing(lsn) => {
                let absent = self.state(seen.key, *lsn).is_none_or(|(_, state)| state.is_absent(seen.now.1));
                assert!(absent, "{seen:?}");
                // A tombstone that was freed is durable and older than the absence that is seen.
                floor.max(*lsn)
            }
            Answer::Nothing => self.absent_since(seen, floor),
        }
    }

    /// The first frame from `floor` on by which the key is absent.
    fn absent_since(&self, seen: &Seen, floor: Lsn) -> Lsn {
        let Some((since, state)) = self.state(seen.key, floor) else { return Lsn::ZERO };
        if state.is_absent(seen.now.1) {
            return since.max(floor);
        }
        let later = self.keys[seen.key].range(since..).find(|(_, state)| state.is_absent(seen.now.1));
        *later.unwrap_or_else(|| panic!("absent without a removal, floor={floor}: {seen:?}")).0
    }
}
