//! What the crash laboratory does not reach, each found by breaking the engine on purpose and
//! seeing every other test pass: faults of the disk at every call, answers that must wait, writes in
//! the middle of a snapshot, kills in the middle of a sync.

mod asking;
mod faults;
mod gates;
mod learned;
mod order;
mod removals;
mod restarts;
mod snapshots;
mod space;
mod syncs;
mod time;

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
    ErrorKind, Eviction, Expiry, Fsync, Gate, Incr, IncrOutcome, Key, Level, Lsn, PutOutcome, Settings,
    UnixMillis, Write,
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
    engine.peek(key).wait().unwrap().map(|e| e.value().unwrap().to_vec())
}

fn state(engine: &Engine) -> State {
    let mut state = State::new();
    let mut cursor = Some(Cursor::START);
    while let Some(at) = cursor {
        let page = engine.scan(at, Key::from(""), 1000).wait().unwrap();
        for e in page.entries {
            let key = String::from_utf8(e.key().bytes.to_vec()).unwrap();
            state.insert(key, (e.value().unwrap().to_vec(), e.version(), e.deadline().map(|d| d.0)));
        }
        cursor = page.next;
    }
    state
}

fn ready<F: Future + Unpin>(answer: &mut F) -> bool {
    Pin::new(answer).poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

/// An engine with its own threads, on a simulated disk.
fn running(fsync: Fsync) -> Engine {
    let components = Components {
        vfs: Arc::new(SimDisk::new()),
        clock: Arc::new(SimClock::new()),
        seed: [1; 32],
        background: Background::Threads,
        policy: None,
    };
    let settings = Settings { allow_downgrade: true, staging_bytes: 1 << 20, ..small(fsync) };
    Engine::open(settings, components).unwrap()
}

/// Waits generously, and lets others run meanwhile.
fn in_time(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..3000 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{what}");
}

/// A log without an engine, on an empty disk. `manual`: no threads of its own are expected.
fn bare_log(disk: &SimDisk, staging_bytes: u64, manual: bool) -> Wal {
    disk.write_file(Path::new(DIR).join("wal/x"), b"");
    let config = wal::Config {
        vfs: Arc::new(disk.clone()),
        clock: Arc::new(SimClock::new()),
        data_dir: DIR.into(),
        dataset_id: [1; 16],
        salt: Salt(1),
        run_id: [2; 16],
        fsync: Fsync::Never,
        fsync_interval: Duration::from_millis(100),
        segment_bytes: 16 << 10,
        staging_bytes,
        manual,
    };
    let nothing = Tail { index: 0, crc: 0, term: 0, ts: UnixMillis(0), end: LogPosition::default() };
    Wal::resume(config, nothing, None, 1, 1, [3; 16]).unwrap()
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

/// Counts how often somebody was woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// What a client may find after what it was told: per key, the values that are possible.
#[derive(Clone, Default)]
pub struct Book(BTreeMap<String, Vec<Option<Vec<u8>>>>);

impl Book {
    pub fn possible(&mut self, key: &str) -> &mut Vec<Option<Vec<u8>>> {
        self.0.entry(key.to_owned()).or_insert_with(|| vec![None])
    }

    /// What came of a write: refused, acknowledged or unknown.
    pub fn wrote<T>(
        &mut self,
        key: &str,
        value: Option<Vec<u8>>,
        outcome: emberkeep_storage::Result<Commit<T>>,
    ) {
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

    pub fn holds(&self, engine: &Engine, what: &dyn Fn() -> String) {
        for (key, possible) in &self.0 {
            let found = value(engine, key);
            assert!(possible.contains(&found), "{}: {key} is {found:?}, not of {possible:?}", what());
        }
    }
}
