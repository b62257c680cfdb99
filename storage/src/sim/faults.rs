//! Calls that fail: which one, how, and how often.
//!
//! A [`Fault`] is armed on a [`SimDisk`](super::disk::SimDisk) and counts the calls that it is
//! about from then on. When several faults hit one call, the one that was armed first decides.
//! Faults belong to the disk in the machine: an image taken after a crash has none.
//!
//! What an effect means is done in `disk`, call by call; an effect that makes no sense for a call
//! (a short sync) is ignored there.

use std::time::Duration;

pub use rustix::io::Errno;

/// What a call does, for counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// Every call.
    Any,
    /// Every call that changes something or makes it durable.
    AnyChange,
    /// `Vfs::open` of an existing file.
    Open,
    /// `Vfs::open` with `CreateNew`.
    Create,
    /// `File::read_at` and `File::map`.
    Read,
    /// `File::write_at`.
    Write,
    /// `File::sync_data`, and the sync in `File::drop_cache`.
    Sync,
    /// `File::allocate`.
    Allocate,
    /// `File::set_len`.
    SetLen,
    /// `File::len`.
    Len,
    /// `Vfs::rename`.
    Rename,
    /// `Vfs::remove_file`.
    Remove,
    /// `Vfs::remove_dir`.
    RemoveDir,
    /// `Vfs::create_dir`.
    CreateDir,
    /// `Vfs::list`.
    List,
    /// `Vfs::sync_dir`.
    SyncDir,
    /// `Vfs::lock`.
    Lock,
    /// `Vfs::free_space`.
    FreeSpace,
}

impl Call {
    /// Every single kind, for tests that try each.
    pub const KINDS: [Call; 16] = [
        Call::Open,
        Call::Create,
        Call::Read,
        Call::Write,
        Call::Sync,
        Call::Allocate,
        Call::SetLen,
        Call::Len,
        Call::Rename,
        Call::Remove,
        Call::RemoveDir,
        Call::CreateDir,
        Call::List,
        Call::SyncDir,
        Call::Lock,
        Call::FreeSpace,
    ];

    /// Changes something, or makes it durable.
    pub fn is_change(self) -> bool {
        !matches!(
            self,
            Call::Any | Call::Open | Call::Read | Call::Len | Call::List | Call::Lock | Call::FreeSpace
        )
    }

    fn includes(self, call: Call) -> bool {
        self == Call::Any || self == call || (self == Call::AnyChange && call.is_change())
    }
}

/// What happens instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Fails before anything is done. After such a sync the data is still on its way and the next
    /// sync can succeed; see `DropDirty` for the worse one.
    Fail(Errno),
    /// Read or write: handles only the first bytes, as many as this, and says so.
    Short(usize),
    /// Write: writes the first bytes, as many as this, and then fails.
    FailAfter(usize, Errno),
    /// Sync: fails with EIO, and what was written since the last sync will never reach the disk.
    /// The cache goes on showing it, and the next sync succeeds.
    DropDirty,
    /// Write: goes to this offset of the same file, and reports success.
    Misdirect(u64),
    /// Write: is not done, and reports success.
    Lose,
    /// Any call: takes this long, by the clock that [`SimDisk::set_clock`] gave the disk, and is
    /// done as if nothing were.
    ///
    /// [`SimDisk::set_clock`]: super::disk::SimDisk::set_clock
    Stall(Duration),
    /// Read: one bit of what is handed over is turned (offset within it, modulo its length). What
    /// rests on the disk stays as it is.
    FlipBit {
        /// Byte within what was read.
        offset: usize,
        /// Bit of that byte, 0 to 7.
        bit: u8,
    },
}

/// One planned failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    call: Call,
    nth: u64,
    from_then_on: bool,
    effect: Effect,
}

impl Fault {
    /// Hits the `n`-th such call after arming (1 is the next one), once.
    pub fn nth(call: Call, n: u64, effect: Effect) -> Self {
        assert!(n > 0, "calls are counted from 1");
        Fault { call, nth: n, from_then_on: false, effect }
    }

    /// Hits the next such call, once.
    pub fn next(call: Call, effect: Effect) -> Self {
        Self::nth(call, 1, effect)
    }

    /// Hits every later such call too.
    pub fn from_then_on(mut self) -> Self {
        self.from_then_on = true;
        self
    }
}

/// The faults of a disk and the number of calls that each has seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Armed {
    faults: Vec<(Fault, u64)>,
    hits: u64,
}

impl Armed {
    pub(super) fn arm(&mut self, fault: Fault) {
        self.faults.push((fault, 0));
    }

    pub(super) fn disarm(&mut self) {
        self.faults.clear();
    }

    /// How many calls were hit so far.
    pub(super) fn hits(&self) -> u64 {
        self.hits
    }

    /// Counts a call and says what happens to it.
    pub(super) fn on(&mut self, call: Call) -> Option<Effect> {
        let mut effect = None;
        for (fault, seen) in self.faults.iter_mut().filter(|(fault, _)| fault.call.includes(call)) {
            *seen += 1;
            let hit = if fault.from_then_on { *seen >= fault.nth } else { *seen == fault.nth };
            if hit {
                effect = effect.or(Some(fault.effect));
            }
        }
        self.hits += u64::from(effect.is_some());
        effect
    }
}
