//! What a workload is made of: steps as data, so that a failing list of them can be shortened and
//! printed.

use std::time::Duration;

use crate::{
    engine::Expiry,
    random::Random,
    settings::Level,
    sim::faults::{Call, Effect, Errno},
};

/// One thing that a client or the world does. Keys are small numbers, so that they meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Writes a value; some are not waited for, so that frames gather.
    Put {
        /// Which key.
        key: u8,
        /// Length of the value in bytes.
        len: usize,
        /// With a media type.
        typed: bool,
        /// What must hold.
        condition: When,
        /// When it expires.
        expiry: Expiry,
        /// The level that is asked for.
        level: Option<Level>,
        /// Whether the client waits for the answer.
        wait: bool,
    },
    /// Deletes a key.
    Delete(u8, When, Option<Level>),
    /// Changes a deadline.
    Touch(u8, Expiry, Option<Level>),
    /// Adds to a counter.
    Incr(u8, i64, Expiry),
    /// Several of the above at once, all or nothing.
    Batch(Vec<(u8, Part)>, Option<Level>),
    /// Removes all keys of a namespace, or all.
    Flush(Option<u16>),
    /// Reads a key.
    Get(u8),
    /// Time passes, and the wall clock jumps besides.
    Pass(Duration, i64),
    /// Background work: a round, a pause of writes, a sync.
    Background(Work),
    /// A snapshot.
    Checkpoint,
    /// A clean stop and a start.
    Restart,
    /// The process is killed and started again; what it wrote is in the page cache.
    Kill,
    /// From here on, the n-th such call fails.
    Fault(Call, u64, Effect),
}

/// A condition that refers to what the client last saw of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// No condition.
    Always,
    /// If absent.
    Absent,
    /// If present.
    Present,
    /// If in the version that the last write of this key was given.
    Unchanged,
}

/// A step of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Writes so many bytes.
    Put(usize, Expiry),
    /// Deletes.
    Delete,
    /// Changes the deadline.
    Touch(Expiry),
    /// Adds.
    Incr(i64),
}

/// Background work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// `Engine::step`.
    Round,
    /// `Engine::idle`.
    Idle,
    /// `Engine::sync`, waited for.
    Sync,
}

/// Draws steps. `downgrade`: requests may ask for less than the mode gives.
#[derive(Debug)]
pub(super) struct Generator {
    pub(super) random: Random,
    pub(super) keys: u64,
    pub(super) value_max: u64,
    pub(super) downgrade: bool,
}

impl Generator {
    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.random.next_u64() % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(super) fn step(&mut self) -> Step {
        let key = self.key();
        match self.below(100) {
            0..42 => self.put(key),
            42..52 => Step::Delete(key, self.condition(), self.level()),
            52..59 => Step::Touch(key, self.expiry(), self.level()),
            59..65 => Step::Incr(key, self.below(2000) as i64 - 1000, self.expiry()),
            65..73 => self.batch(),
            73..83 => Step::Get(key),
            83..88 => self.pass(),
            88..91 => Step::Background(Work::Round),
            91..93 => Step::Background(Work::Idle),
            93..95 => Step::Background(Work::Sync),
            95..97 => Step::Checkpoint,
            97 => Step::Flush([None, Some(0), Some(1)][self.below(3) as usize]),
            98 => Step::Restart,
            _ => Step::Kill,
        }
    }

    /// A call that fails, and how. Each such effect is one that real disks are known for.
    pub(super) fn fault(&mut self) -> Step {
        let (call, effect) = match self.below(6) {
            0 => (Call::Sync, Effect::DropDirty),
            1 => (Call::Sync, Effect::Fail(Errno::IO)),
            2 => (Call::Write, Effect::FailAfter(self.below(600) as usize, Errno::IO)),
            3 => (Call::Write, Effect::Short(1 + self.below(600) as usize)),
            4 => (Call::SyncDir, Effect::Fail(Errno::IO)),
            _ => (Call::AnyChange, Effect::Fail(Errno::NOSPC)),
        };
        Step::Fault(call, 1 + self.below(12), effect)
    }

    fn key(&mut self) -> u8 {
        self.below(self.keys) as u8
    }

    fn put(&mut self, key: u8) -> Step {
        Step::Put {
            key,
            len: self.len(),
            typed: self.one_in(3),
            condition: self.condition(),
            expiry: self.expiry(),
            level: self.level(),
            wait: !self.one_in(4),
        }
    }

    fn len(&mut self) -> usize {
        let max = if self.one_in(16) { self.value_max } else { 150.min(self.value_max) };
        self.below(max) as usize
    }

    fn condition(&mut self) -> When {
        [When::Absent, When::Present, When::Unchanged]
            .get(self.below(12) as usize)
            .copied()
            .unwrap_or(When::Always)
    }

    fn expiry(&mut self) -> Expiry {
        match self.below(4) {
            0 => Expiry::In(Duration::from_millis(1 + self.below(20_000))),
            1 => Expiry::Keep,
            _ => Expiry::Never,
        }
    }

    fn level(&mut self) -> Option<Level> {
        match self.below(10) {
            0 | 1 => Some(Level::Disk),
            2 if self.downgrade => Some(Level::Os),
            3 if self.downgrade => Some(Level::Memory),
            _ => None,
        }
    }

    fn batch(&mut self) -> Step {
        let parts = (0..2 + self.below(4))
            .map(|_| {
                let key = self.key();
                let part = match self.below(5) {
                    0 | 1 => Part::Put(self.len(), self.expiry()),
                    2 => Part::Delete,
                    3 => Part::Touch(self.expiry()),
                    _ => Part::Incr(self.below(100) as i64),
                };
                (key, part)
            })
            .collect();
        Step::Batch(parts, self.level())
    }

    fn pass(&mut self) -> Step {
        let span = Duration::from_millis([1, 20, 150, 1_000, 6_000][self.below(5) as usize]);
        let jump = [0, 0, 0, 3_600_000, -3_600_000, -50][self.below(6) as usize];
        Step::Pass(span, jump)
    }
}
