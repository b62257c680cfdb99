//! A disk in memory that records what is done to it.
//!
//! [`SimDisk`] behaves as a POSIX file system does while the machine runs: a write is visible at
//! once, an open handle outlives the name, a rename replaces. What is left of it after a power cut
//! is another matter: [`SimDisk::image`], and [`crash`](super::crash) for the model.
//!
//! It never blocks but for its own short mutex, which is one of the standard library and no point
//! where threads meet; so it can stand below the concurrency tests.
//!
//! Paths are taken from `/`, relative ones too. `..` is refused.

use std::{
    collections::{HashMap, HashSet},
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rustix::io::Errno;

use super::{
    choice::Choice,
    clock::SimClock,
    crash::Crasher,
    faults::{Call, Effect, Fault},
    file::{SimFile, SimLock},
    op::{Change, Ino, Op},
    state::{Inode, State, Tree},
};
use crate::vfs::{DirEntry, DirLock, File, OpenMode, Vfs};

/// A simulated disk. A clone is a handle to the same disk.
#[derive(Clone)]
pub struct SimDisk {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    calls: Mutex<Counts>,
    on_sync: Mutex<Option<Hook>>,
    clock: Mutex<Option<SimClock>>,
}

type Hook = Arc<dyn Fn() + Send + Sync>;

/// How often each kind of call was made.
type Counts = HashMap<Call, u64>;

impl SimDisk {
    /// An empty disk.
    pub fn new() -> Self {
        Self::with(State::new(Tree::default()))
    }

    /// A disk on which all of `tree` is durable.
    pub(super) fn holding(tree: Tree) -> Self {
        Self::with(State::new(tree))
    }

    fn with(state: State) -> Self {
        let shared = Shared {
            state: Mutex::new(state),
            calls: Mutex::default(),
            on_sync: Mutex::default(),
            clock: Mutex::default(),
        };
        SimDisk { shared: Arc::new(shared) }
    }

    /// Records nothing from here on: for benches, which would otherwise keep every byte that they
    /// ever wrote. Only a disk that records can build images.
    pub fn stop_recording(&self) {
        let mut state = self.state();
        state.recording = false;
        state.ops = Vec::new();
        state.start = Tree::default();
    }

    /// What a restart of the process (not of the machine) finds: all that was written, durable or
    /// not, no locks and no faults. A disk of its own: threads of the old process change nothing
    /// here. The record goes on, so a later power cut can still take what was not synced.
    pub fn after_kill(&self) -> SimDisk {
        Self::with(self.state().for_next_process())
    }

    // ---- power cuts ----

    /// Number of recorded operations.
    pub fn op_count(&self) -> u64 {
        self.state().ops.len() as u64
    }

    /// Operation `k` (counted from 1) in words, for the report of a failing crash test.
    pub fn describe_op(&self, k: u64) -> String {
        let state = self.state();
        let Some(op) = k.checked_sub(1).and_then(|k| state.ops.get(k as usize)) else {
            return "nothing yet".to_owned();
        };
        let path = |ino: &Ino| match state.files.get(ino).and_then(|f| f.paths.last()) {
            Some(path) => path.display().to_string(),
            None => format!("#{ino}"),
        };
        match op {
            Op::Change(ino, Change::Write { offset, data }) => {
                format!("write {} offset={offset} len={}", path(ino), data.len())
            }
            Op::Change(ino, Change::SetLen(len)) => format!("set_len {} len={len}", path(ino)),
            Op::Change(ino, Change::Allocate(len)) => format!("allocate {} len={len}", path(ino)),
            Op::SyncData { ino, .. } => format!("sync_data {}", path(ino)),
            Op::DropDirty { ino, .. } => format!("failed sync_data {}", path(ino)),
            op => format!("{op:?}"),
        }
    }

    /// A cursor over all crash points, from before the first operation on.
    ///
    /// # Panics
    /// If the disk does not record.
    pub fn crash_points(&self) -> Crasher {
        let state = self.state();
        assert!(state.recording, "this disk does not record");
        Crasher::new(&state.start, state.ops.clone())
    }

    /// What the disk may hold if the power fails right after operation `k`: 0 is the initial state.
    /// A fresh disk with all of it durable, no locks, no faults. For many images of one run use
    /// [`crash_points`](Self::crash_points), which does not start over each time.
    ///
    /// # Panics
    /// If there are fewer than `k` operations, or the choice does not fit that point.
    pub fn image(&self, k: u64, choice: &Choice) -> SimDisk {
        let mut crasher = self.crash_points();
        crasher.seek(k);
        crasher.point().image(choice)
    }

    // ---- faults ----

    /// Plans a failure.
    pub fn arm(&self, fault: Fault) {
        self.state().armed.arm(fault);
    }

    /// Forgets all planned failures.
    pub fn disarm(&self) {
        self.state().armed.disarm();
    }

    /// How many calls a planned failure has hit so far.
    pub fn fault_hits(&self) -> u64 {
        self.state().armed.hits()
    }

    /// How many calls of this kind were made, failed ones included.
    pub fn calls(&self, call: Call) -> u64 {
        let counts = self.shared.calls.lock().unwrap_or_else(PoisonError::into_inner);
        match call {
            Call::Any => counts.values().sum(),
            Call::AnyChange => counts.iter().filter(|(c, _)| c.is_change()).map(|(_, n)| n).sum(),
            call => counts.get(&call).copied().unwrap_or(0),
        }
    }

    /// Limits the sum of all file lengths; `None` (the start) is no limit. Above it writes are cut
    /// short and then refused with ENOSPC, until files are removed or the limit is raised.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state().capacity = bytes;
    }

    /// As after a remount by the kernel: every change fails with EROFS.
    pub fn set_read_only(&self, read_only: bool) {
        self.state().read_only = read_only;
    }

    /// Runs `hook` at the start of each sync, in the thread that syncs and under no lock: it may
    /// sleep. The sync covers what was written before the hook was called, no more.
    pub fn on_sync(&self, hook: Box<dyn Fn() + Send + Sync>) {
        *self.shared.on_sync.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::from(hook));
    }

    /// The clock on which time passes during a call that stalls ([`Effect::Stall`]).
    pub fn set_clock(&self, clock: &SimClock) {
        *self.shared.clock.lock().unwrap_or_else(PoisonError::into_inner) = Some(clock.clone());
    }

    /// Turns a bit over at rest, wherever that byte lies: cache and disk.
    ///
    /// # Panics
    /// If there is no such byte.
    pub fn flip_bit(&self, path: impl AsRef<Path>, offset: u64, bit: u8) {
        let mut state = self.state();
        let ino = state.lookup(path.as_ref()).expect("the file exists");
        assert!(offset < state.file(ino).content.len() as u64, "the file ends before");
        state.rot(ino, offset, bit);
    }

    // ---- inspection: no faults, not counted as calls ----

    /// What a reader sees now.
    pub fn read_file(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        let state = self.state();
        let ino = state.lookup(path.as_ref()).ok()?;
        Some(state.files.get(&ino)?.content.to_vec())
    }

    /// Puts a file there with this content, and the directories that it needs; all of it durable
    /// (with whatever else waits in those directories).
    ///
    /// # Panics
    /// If a directory is in the way.
    pub fn write_file(&self, path: impl AsRef<Path>, content: &[u8]) {
        self.state().plant(path.as_ref(), content).expect("no directory is in the way");
    }

    /// Removes a file, or a directory with all that is in it; durable at once. Whether it was there.
    pub fn remove(&self, path: impl AsRef<Path>) -> bool {
        self.state().uproot(path.as_ref()).is_ok()
    }

    /// Every file that has a name, with its length, sorted.
    pub fn tree(&self) -> Vec<(PathBuf, u64)> {
        let state = self.state();
        let len = |ino| state.files[&ino].content.len() as u64;
        state.walk().into_iter().map(|(path, ino)| (path, len(ino))).collect()
    }

    /// The newest content of every file that ever had a name ending in `name_suffix` (removed and
    /// replaced ones too), under the last such path, in order of creation. A file that has given
    /// its name to another one, and then got a third name, is left out: its content may be anything.
    pub fn all_contents_ever(&self, name_suffix: &str) -> Vec<(PathBuf, Arc<Vec<u8>>)> {
        let ends = |path: &&PathBuf| path.to_string_lossy().ends_with(name_suffix);
        let state = self.state();
        let ended_as: HashSet<&PathBuf> = state.files.values().filter_map(|file| file.paths.last()).collect();
        let named = |file: &Inode| {
            let path = file.paths.iter().rev().find(ends)?;
            let its_own = file.paths.last() == Some(path) || !ended_as.contains(path);
            its_own.then(|| (path.clone(), file.content.clone()))
        };
        state.files.values().filter_map(named).collect()
    }

    // ---- the machinery of a call ----

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs the hook of a sync, under no lock.
    pub(super) fn stall(&self) {
        let hook = self.shared.on_sync.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(hook) = hook {
            hook();
        }
    }

    /// Counts a call. An error if it is to fail, else what else is to happen to it.
    pub(super) fn begin(&self, call: Call) -> io::Result<(MutexGuard<'_, State>, Option<Effect>)> {
        *self.shared.calls.lock().unwrap_or_else(PoisonError::into_inner).entry(call).or_default() += 1;
        let mut state = self.state();
        let effect = state.armed.on(call);
        if let Some(Effect::Fail(errno)) = effect {
            return Err(errno.into());
        }
        if let Some(Effect::Stall(span)) = effect {
            let clock = self.shared.clock.lock().unwrap_or_else(PoisonError::into_inner);
            clock.as_ref().expect("a disk that stalls has a clock").advance(span);
        }
        // A sync is no change: what was written before still reaches the disk.
        if state.read_only && call.is_change() && !matches!(call, Call::Sync | Call::SyncDir) {
            return Err(Errno::ROFS.into());
        }
        Ok((state, effect))
    }
}

impl Default for SimDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        write!(f, "SimDisk({} files, {} operations)", state.files.len(), state.ops.len())
    }
}

impl Vfs for SimDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let call = if mode == OpenMode::CreateNew { Call::Create } else { Call::Open };
        let (mut state, _) = self.begin(call)?;
        if mode == OpenMode::ReadWrite && state.read_only {
            return Err(Errno::ROFS.into());
        }
        let ino = state.open(path, mode)?;
        Ok(Arc::new(SimFile { disk: self.clone(), ino, writable: mode != OpenMode::Read }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.begin(Call::Rename)?.0.rename(from, to)
    }

    fn exchange(&self, one: &Path, other: &Path) -> io::Result<()> {
        self.begin(Call::Rename)?.0.exchange(one, other)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.begin(Call::Remove)?.0.remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.begin(Call::RemoveDir)?.0.remove_dir(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.begin(Call::CreateDir)?.0.create_dir(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.begin(Call::List)?.0.list(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.begin(Call::SyncDir)?.0.sync_dir(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn DirLock>>> {
        let taken = self.begin(Call::Lock)?.0.lock(path)?;
        Ok(taken.map(|ino| Box::new(SimLock { disk: self.clone(), ino }) as Box<dyn DirLock>))
    }

    fn free_space(&self, path: &Path) -> io::Result<u64> {
        let (state, _) = self.begin(Call::FreeSpace)?;
        state.lookup(path)?;
        Ok(state.room())
    }
}
