//! The one set of use cases, called by every protocol.
//!
//! A [`Node`] owns the engine. It adds what the engine leaves to its caller: limits on keys and
//! values with errors that name them, waiting (bounded) when the log has no room, the rule that
//! a request may raise its durability but lower it only if the operator allows, and exports.
//!
//! A reply that a write happened means that it reached the level in [`Written`]. A write that is
//! in the log when something breaks answers `outcome-unknown`, never a plain failure.
//!
//! Not here: statuses, headers, exit codes (`http`, `cli`); disks and locks (the engine).

pub mod error;
pub mod expiry;
pub mod export;
pub mod precondition;
pub mod rests;
pub mod text;
pub mod tx;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use emberkeep_storage::{
    CheckpointReport, Commit, Committed, Components, DeleteOutcome, Engine, ErrorKind,
    Expiry as EngineExpiry, OnRemoval, Prepared, Progress, PutOutcome, RecoveryReport, Restart, Stats, Write,
    clock::Clock, vfs::Vfs,
};
pub use emberkeep_storage::{
    Codec, CodecStats, CompressionStats, Entry, Eviction, Fsync, Level, Settings, UnixMillis, Value,
};

use self::{
    error::{Code, Error, Result},
    expiry::Expiry,
    export::{ExportName, Loaded, Saved},
    precondition::Precondition,
};

/// How long a write waits for room in the log before it is refused as overloaded.
pub const READY_WAIT: Duration = Duration::from_secs(5);
/// Longer values are compressed and inflated on a thread of their own, so that no connection waits
/// for another's work.
const INLINE_MAX: usize = 64 << 10;

/// A write as a protocol hands it over.
#[derive(Clone, Debug)]
pub struct Put<'a> {
    /// 1 byte up to the configured limit.
    pub key: &'a [u8],
    /// Up to the configured limit.
    pub value: Bytes,
    /// Media type, at most 255 bytes of visible ASCII.
    pub content_type: Option<&'a str>,
    /// How long it lives.
    pub expiry: Expiry,
    /// What must hold.
    pub precondition: Precondition,
    /// The level to reach before the reply; `None` for the server's own.
    pub level: Option<Level>,
}

/// What a write promised.
#[derive(Clone, Copy, Debug)]
pub struct Written {
    /// There was no entry before.
    pub created: bool,
    /// Its number in the log, which is also the version of the entry.
    pub seq: u64,
    /// How far it has come.
    pub level: Level,
    /// When the entry expires, where that is known.
    pub deadline: Option<UnixMillis>,
}

/// How well it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Everything works.
    Ok,
    /// It works, somebody should look.
    Warn,
    /// It does not do its work.
    Fail,
}

/// The state of the node in one look.
#[derive(Clone, Debug)]
pub struct Health {
    /// The worst of the checks.
    pub condition: Condition,
    /// Each check: name, condition, and a sentence.
    pub checks: Vec<(&'static str, Condition, String)>,
}

/// The engine and what its users share.
pub struct Node {
    engine: Engine,
    vfs: Arc<dyn Vfs>,
    clock: Arc<dyn Clock>,
    started: Duration,
    closing: AtomicBool,
    /// Exports and loads take turns: they write the same directory.
    export_turn: Arc<tokio::sync::Mutex<()>>,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("engine", &self.engine).finish_non_exhaustive()
    }
}

impl Node {
    /// Opens the engine; blocks until recovery is done and reports its progress.
    ///
    /// # Errors
    /// `Locked`, `Unsupported`, `CorruptRecord`, `StorageFull`, `Io`, `InvalidArgument`.
    pub fn open(settings: Settings, components: Components, progress: &dyn Fn(Progress)) -> Result<Node> {
        let (vfs, clock) = (components.vfs.clone(), components.clock.clone());
        let started = clock.monotonic();
        let engine = Engine::open_with(settings, components, progress).map_err(Error::from_engine)?;
        let export_turn = Arc::default();
        Ok(Node { engine, vfs, clock, started, closing: AtomicBool::new(false), export_turn })
    }

    /// What was found when it started.
    pub fn recovery(&self) -> &RecoveryReport {
        self.engine.recovery()
    }

    /// What the operator decided.
    pub fn settings(&self) -> &Settings {
        self.engine.settings()
    }

    /// The eviction policy in force.
    pub fn eviction(&self) -> Eviction {
        self.engine.eviction()
    }

    /// Switches to another eviction policy until the next start. Nothing is lost.
    ///
    /// # Errors
    /// `InvalidArgument` for a policy that the engine does not have.
    pub async fn set_eviction(&self, eviction: Eviction) -> Result<()> {
        let engine = self.engine.clone();
        // Some milliseconds of locks for millions of entries: not on a thread that serves.
        run_blocking(move || engine.set_eviction(eviction).map_err(Error::from_engine)).await
    }

    /// The time that deadlines are held against.
    pub fn now(&self) -> UnixMillis {
        self.engine.now()
    }

    /// Time since it was opened.
    pub fn uptime(&self) -> Duration {
        self.clock.monotonic().saturating_sub(self.started)
    }

    /// Whom to tell of entries that expire or are evicted, from now on; see
    /// [`Engine::on_removal`](emberkeep_storage::Engine::on_removal).
    pub fn on_removal(&self, listener: Option<OnRemoval>) {
        self.engine.on_removal(listener);
    }

    /// Counters of the engine.
    pub fn stats(&self) -> Stats {
        self.engine.stats()
    }

    /// What a restart would cost now.
    pub fn restart(&self) -> Restart {
        self.engine.restart()
    }

    /// Reads an entry; counts as an access.
    ///
    /// # Errors
    /// `InvalidKey`, `KeyTooLarge`; `WalWriteFailed` if the answer rests on something that the
    /// stopped log may not have kept.
    pub async fn get(&self, key: &[u8]) -> Result<Option<Entry>> {
        self.check_key(key)?;
        self.engine.get(key).await.map_err(Error::from_engine)
    }

    /// Reads an entry without counting as an access.
    ///
    /// # Errors
    /// As for [`Node::get`].
    pub async fn peek(&self, key: &[u8]) -> Result<Option<Entry>> {
        self.check_key(key)?;
        self.engine.peek(key).await.map_err(Error::from_engine)
    }

    /// The value of an entry, inflated if need be.
    ///
    /// # Errors
    /// `CorruptRecord` if it cannot be inflated, `Unsupported` if a newer release wrote it.
    pub async fn value(&self, entry: &Entry) -> Result<Value> {
        if entry.encoding().is_none() || entry.value_len() <= INLINE_MAX {
            return entry.value().map_err(Error::from_engine);
        }
        let entry = entry.clone();
        run_blocking(move || entry.value().map_err(Error::from_engine)).await
    }

    /// Stores a value. On `Ok` it has reached the level that is told.
    ///
    /// # Errors
    /// Limits, `PreconditionFailed`, `Overloaded`, `StorageFull`, `WalWriteFailed`,
    /// `ShuttingDown`; `OutcomeUnknown` if it was in the log when the log stopped.
    pub async fn put(&self, put: Put<'_>) -> Result<Written> {
        self.check(&put)?;
        let expiry = put.expiry.resolved(self.now())?;
        let bytes = put.key.len() + put.value.len();
        let prepared = self.prepare(&put).await?;
        let condition = put.precondition.for_engine();
        let done = self
            .commit(bytes, || self.engine.put_prepared(&prepared, for_engine(expiry), condition, put.level))
            .await?;
        let created = match done.outcome {
            PutOutcome::Created => true,
            PutOutcome::Replaced => false,
            PutOutcome::Refused { current } => return Err(Error::precondition_failed(current)),
        };
        let seq = done.lsn.0;
        let deadline = match expiry {
            Expiry::Keep => self.deadline_of(put.key, seq).await,
            _ => expiry.deadline(),
        };
        Ok(Written { created, seq, level: done.level, deadline })
    }

    /// Deletes an entry. `None`: there was none.
    ///
    /// # Errors
    /// As for [`Node::put`].
    pub async fn delete(
        &self,
        key: &[u8],
        precondition: &Precondition,
        level: Option<Level>,
    ) -> Result<Option<Written>> {
        self.check_key(key)?;
        self.check_level(level)?;
        let done =
            self.commit(key.len(), || self.engine.delete(key, precondition.for_engine(), level)).await?;
        match done.outcome {
            DeleteOutcome::Deleted => {
                Ok(Some(Written { created: false, seq: done.lsn.0, level: done.level, deadline: None }))
            }
            DeleteOutcome::Absent if precondition.needs_entry() => Err(Error::precondition_failed(None)),
            DeleteOutcome::Absent => Ok(None),
            DeleteOutcome::Refused { current } => Err(Error::precondition_failed(current)),
        }
    }

    /// Writes every live entry into a file of the exports directory, replacing it atomically:
    /// after a crash there is the old file or the new one.
    ///
    /// # Errors
    /// `StorageFull`, `Io`, or what a read of the engine met; the old file is then untouched.
    pub async fn save(&self, name: ExportName) -> Result<Saved> {
        let (engine, vfs) = (self.engine.clone(), self.vfs.clone());
        self.blocking(move || export::save(&engine, &*vfs, &name)).await
    }

    /// Stores every entry of an export file that has not expired, through the log.
    ///
    /// # Errors
    /// `ExportNotFound`; `CorruptExport`, and then nothing was loaded; or what a write met, and
    /// then a part was loaded.
    pub async fn load(&self, name: ExportName) -> Result<Loaded> {
        let (engine, vfs) = (self.engine.clone(), self.vfs.clone());
        self.blocking(move || export::load(&engine, &*vfs, &name)).await
    }

    /// Takes a snapshot now, and prunes the log behind it. Goes on when nobody waits any more.
    ///
    /// # Errors
    /// `SnapshotRunning`; `StorageFull`, `Io`, `CorruptRecord` (read-back failed): the snapshot is
    /// thrown away, the old one and the log stay. `WalWriteFailed`, `ShuttingDown`.
    pub async fn snapshot(&self) -> Result<CheckpointReport> {
        let engine = self.engine.clone();
        run_blocking(move || {
            engine.checkpoint().map_err(|e| match e.kind() {
                ErrorKind::Overloaded => Error::new(Code::SnapshotRunning, e.to_string()),
                _ => Error::from_engine(e),
            })
        })
        .await
    }

    /// Whether it does its work.
    pub fn health(&self) -> Health {
        let stats = self.stats();
        let log = match stats.halted {
            Some(cause) => ("log", Condition::Fail, format!("stopped, restart to recover: {cause}")),
            None => ("log", Condition::Ok, "writing".to_owned()),
        };
        let disk = match stats.disk_full {
            true => ("disk", Condition::Warn, "full: writes are refused, deletes work".to_owned()),
            false => ("disk", Condition::Ok, "has room".to_owned()),
        };
        let serving = match self.closing.load(Ordering::Relaxed) {
            true => ("serving", Condition::Fail, "shutting down".to_owned()),
            false => ("serving", Condition::Ok, "yes".to_owned()),
        };
        let restart = self.restart();
        let behind = format!("log_bytes_behind={} due_at={}", restart.log_bytes, restart.due_at_log_bytes);
        let snapshot = match restart.snapshot_overdue() {
            true => ("snapshot", Condition::Warn, format!("overdue: none could be taken, {behind}")),
            false => ("snapshot", Condition::Ok, format!("recent enough, {behind}")),
        };
        let checks = vec![log, disk, snapshot, serving];
        let condition = checks.iter().map(|check| check.1).max_by_key(|c| *c as u8).unwrap_or(Condition::Ok);
        Health { condition, checks }
    }

    /// Resolves when the log has stopped for good and `grace`, in which reads of durable entries
    /// went on, is over; tells the cause. Never without a stop, and never with `None`.
    pub async fn halted(&self, grace: Option<Duration>) -> Error {
        let cause = self.engine.halted().await;
        match grace {
            Some(grace) => {
                tracing::error!(?grace, "reads of what is durable go on for a while, then it ends");
                tokio::time::sleep(grace).await;
            }
            None => {
                tracing::error!("reads of what is durable go on until it is told to stop");
                std::future::pending().await
            }
        }
        Error::from_commit(cause)
    }

    /// Says in [`Node::health`] that it is about to stop.
    pub fn announce_shutdown(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    /// Drains the log, syncs it and leaves the mark of a clean stop. Later writes are refused.
    ///
    /// # Errors
    /// What the last sync met; the next start then recovers as after a crash.
    pub async fn close(&self) -> Result<()> {
        self.announce_shutdown();
        let engine = self.engine.clone();
        run_blocking(move || engine.close().map_err(Error::from_engine)).await
    }

    /// The longest value in bytes.
    pub fn value_len_max(&self) -> u64 {
        self.settings().max_value_bytes as u64
    }

    /// Refuses what can be refused about a write before anything is done, also before its value
    /// has arrived.
    ///
    /// # Errors
    /// `InvalidKey`, `KeyTooLarge`, `ValueTooLarge`, `InvalidArgument`.
    pub fn check(&self, put: &Put<'_>) -> Result<()> {
        self.check_key(put.key)?;
        self.check_value_len(put.value.len())?;
        self.check_level(put.level)?;
        match put.content_type {
            Some(text) if !valid_content_type(text) => {
                Err(Error::invalid("the content type must be 1 to 255 bytes of visible ASCII"))
            }
            _ => Ok(()),
        }
    }

    fn check_key(&self, key: &[u8]) -> Result<()> {
        let max = self.settings().max_key_bytes;
        match key.len() {
            0 => Err(Error::new(Code::InvalidKey, "the key is empty, it needs at least one byte")),
            len if len > max => Err(Error::new(
                Code::KeyTooLarge,
                format!("the key is longer than the limit, len={len} max={max}"),
            )),
            _ => Ok(()),
        }
    }

    fn check_value_len(&self, len: usize) -> Result<()> {
        let max = self.settings().max_value_bytes;
        if len > max {
            return Err(Error::new(
                Code::ValueTooLarge,
                format!("the value is longer than the limit, len={len} max={max}"),
            ));
        }
        Ok(())
    }

    fn check_level(&self, level: Option<Level>) -> Result<()> {
        let own = self.settings().fsync.level();
        match level {
            Some(asked) if asked < own && !self.settings().allow_downgrade => Err(Error::invalid(format!(
                "durability may be raised but not lowered here, asked={} least={}",
                level_name(asked),
                level_name(own)
            ))),
            _ => Ok(()),
        }
    }

    /// Compresses a value, once, however often its write has to wait for room.
    async fn prepare(&self, put: &Put<'_>) -> Result<Prepared> {
        fn prepare(
            engine: &Engine,
            key: &[u8],
            value: &[u8],
            content_type: Option<&str>,
        ) -> Result<Prepared> {
            engine.prepare(key, &Write { content_type, ..Write::new(value) }).map_err(Error::from_engine)
        }
        if put.value.len() <= INLINE_MAX {
            return prepare(&self.engine, put.key, &put.value, put.content_type);
        }
        let (engine, key, value) = (self.engine.clone(), put.key.to_owned(), put.value.clone());
        let content_type = put.content_type.map(str::to_owned);
        run_blocking(move || prepare(&engine, &key, &value, content_type.as_deref())).await
    }

    /// Hands an op to the engine, waiting for room if need be, and waits for its level.
    async fn commit<T: Unpin>(
        &self,
        bytes: usize,
        mut op: impl FnMut() -> emberkeep_storage::Result<Commit<T>>,
    ) -> Result<Committed<T>> {
        let give_up = tokio::time::Instant::now() + READY_WAIT;
        loop {
            match op() {
                Ok(commit) => return commit.await.map_err(Error::from_commit),
                Err(error)
                    if error.kind() == ErrorKind::Overloaded && tokio::time::Instant::now() < give_up =>
                {
                    match tokio::time::timeout_at(give_up, self.engine.ready(bytes)).await {
                        // What is missing may be room in the cache, which a sync brings: let it run.
                        Ok(room) => {
                            room.map_err(Error::from_engine)?;
                            tokio::task::yield_now().await;
                        }
                        Err(_) => return Err(Error::from_engine(error)),
                    }
                }
                Err(error) => return Err(Error::from_engine(error)),
            }
        }
    }

    /// The deadline that a write has kept, unless another write has replaced it meanwhile.
    async fn deadline_of(&self, key: &[u8], version: u64) -> Option<UnixMillis> {
        let entry = self.engine.peek(key).await.ok()??;
        if entry.version() == version { entry.deadline() } else { None }
    }

    /// Runs a long job on a thread of its own; jobs take turns, also those nobody waits for.
    async fn blocking<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let turn = self.export_turn.clone().lock_owned().await;
        run_blocking(move || {
            let _turn = turn;
            job()
        })
        .await
    }

    /// Where exports live.
    pub fn exports_dir(&self) -> PathBuf {
        export::dir(&self.engine)
    }
}

async fn run_blocking<T: Send + 'static>(job: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(job).await {
        Ok(result) => result,
        Err(panic) => Err(Error::new(Code::Io, format!("a background job failed: {panic}"))),
    }
}

/// Whether a content type can be stored: 1 to 255 bytes of visible ASCII.
pub fn valid_content_type(text: &str) -> bool {
    (1..=255).contains(&text.len()) && text.bytes().all(|b| (0x20..0x7f).contains(&b))
}

/// The name of a level in every protocol.
pub fn level_name(level: Level) -> &'static str {
    match level {
        Level::Memory => "memory",
        Level::Os => "os",
        Level::Disk => "disk",
    }
}

fn for_engine(expiry: Expiry) -> EngineExpiry {
    match expiry {
        Expiry::Never => EngineExpiry::Never,
        Expiry::In(span) => EngineExpiry::In(span),
        Expiry::At(at) => EngineExpiry::At(at),
        Expiry::Keep => EngineExpiry::Keep,
    }
}

/// The name of an eviction policy in every protocol.
pub fn policy_name(eviction: Eviction) -> &'static str {
    match eviction {
        Eviction::S3Fifo => "s3fifo",
        Eviction::Lru => "lru",
        Eviction::Lfu => "lfu",
        Eviction::Ttl => "ttl",
        Eviction::Random => "random",
        Eviction::Sieve => "sieve",
        Eviction::WTinyLfu => "wtinylfu",
        Eviction::Fifo => "fifo",
        Eviction::NoEviction => "noeviction",
        Eviction::Custom => "custom",
    }
}

/// The policy of a name, of those that come with the engine.
pub fn policy_by_name(name: &str) -> Option<Eviction> {
    Eviction::ALL.into_iter().find(|&eviction| policy_name(eviction) == name)
}

/// Their names, for an error.
pub fn policy_names() -> String {
    Eviction::ALL.map(policy_name).join(" ")
}

#[cfg(test)]
impl Node {
    /// For unit tests above: over a simulated disk, and nothing is committed but by who asks for it here.
    pub(crate) fn simulated() -> Node {
        use emberkeep_storage::{
            Background,
            sim::{clock::SimClock, disk::SimDisk},
        };

        let components = Components {
            vfs: Arc::new(SimDisk::new()),
            clock: Arc::new(SimClock::new()),
            seed: [1; 32],
            background: Background::Manual,
            policy: None,
        };
        Node::open(Settings::new("/data"), components, &|_| ()).unwrap()
    }
}
