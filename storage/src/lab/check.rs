//! One image: recovers it and says which promise is broken.
//!
//! It starts, unattended. What was acknowledged at the disk or observed is there (I1, I5). The
//! state is exactly the one after some frame of the log (I2, I3, I4, I10), batches whole. In
//! `interval` mode what is lost was acknowledged within twice the interval. The next number was
//! never handed out (I7). The index is sound (I13). Some images are opened under other settings,
//! and some are cut again inside their own recovery, and inside the recovery after that (I9).

use crate::{
    engine::{Engine, Write},
    lsn::Lsn,
    settings::{Codec, Eviction, Fsync, Level, Settings},
    sim::{
        choice::{Choice, Plan},
        crash::CrashPoint,
        disk::SimDisk,
    },
};

use super::{
    Machine,
    history::{History, State, alive, difference, state_of},
    planted::Planted,
    record::{BEGIN, Run},
};

/// What the images came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Images that were recovered, those of second and third recoveries among them.
    pub images: u64,
    /// Images that were cut again during their own recovery.
    pub deep: u64,
    /// Images with a torn tail.
    pub torn: u64,
    /// Images that were recovered from a snapshot.
    pub snapshots: u64,
}

impl Tally {
    /// Adds up.
    pub fn add(&mut self, other: Tally) {
        self.images += other.images;
        self.deep += other.deep;
        self.torn += other.torn;
        self.snapshots += other.snapshots;
    }
}

/// A run, its history, and what is checked with them.
#[derive(Debug)]
pub struct Checker<'a> {
    run: &'a Run,
    history: &'a History,
    planted: Option<Planted>,
}

/// What is expected of a recovery that begins from a recovered state.
struct Expected {
    last: Lsn,
    /// Written after the recovery: its frame, and from which operation on it is durable.
    written: Option<(Lsn, u64)>,
}

/// The key that is written after a recovery. Longer than any of the workload's.
const AGAIN: &str = "written-after-the-recovery";

impl<'a> Checker<'a> {
    /// Checks images of this run.
    pub fn new(run: &'a Run, history: &'a History, planted: Option<Planted>) -> Self {
        Checker { run, history, planted }
    }

    /// Recovers the image and, if it is `deep`, cuts its recovery again.
    ///
    /// # Errors
    /// In words: the promise that is broken.
    pub fn check(
        &self,
        point: &CrashPoint,
        choice: &Choice,
        deep: bool,
        tally: &mut Tally,
    ) -> Result<(), String> {
        tally.images += 1;
        let (k, settings) = (point.k(), self.settings_for(point, choice));
        let machine = self.machine(point.image(choice));
        let engine = machine
            .open(&settings, k)
            .map_err(|e| format!("it does not start after a cut: {e} ({:?})", e.kind()))?;
        let last = engine.recovery().last_lsn;
        tally.torn += u64::from(engine.recovery().torn_bytes > 0);
        tally.snapshots += u64::from(engine.recovery().snapshot.is_some());
        self.compare(&engine, last)?;
        self.nothing_lost(k, last)?;
        let (begun, handed_out) = (engine.stats().appended, self.run.handed_out_at(k));
        if begun <= handed_out {
            return Err(format!("lsn={begun} is used again, {handed_out} was handed out (I7)"));
        }
        engine.check();
        if deep {
            tally.deep += 1;
            self.write_and_cut_again(&machine, &settings, engine, last, tally)?;
        }
        Ok(())
    }

    fn nothing_lost(&self, k: u64, last: Lsn) -> Result<(), String> {
        let required = self.run.required_at(k, self.history);
        if last < required {
            return Err(format!(
                "lost: the log ends at lsn={last}, lsn={required} was acknowledged or observed (I1, I5)"
            ));
        }
        let (span, interval) = (self.run.lost_span(k, last), self.run.settings.fsync_interval);
        if self.run.settings.fsync == Fsync::Interval && span > 2 * interval {
            return Err(format!(
                "lost: writes that were acknowledged within {span:?}, more than twice {interval:?}"
            ));
        }
        Ok(())
    }

    /// What is served is the state after the frame `last` (I2).
    fn compare(&self, engine: &Engine, last: Lsn) -> Result<(), String> {
        let wanted = self
            .history
            .alive_at(last, engine.now())
            .ok_or_else(|| format!("lsn={last} was recovered and never written (I8)"))?;
        same(&served(engine)?, &wanted, last)
    }

    /// Writes, and cuts the power at every operation of the recovery, of the write and of the clean
    /// stop after it; and each such recovery once more.
    fn write_and_cut_again(
        &self,
        machine: &Machine,
        settings: &Settings,
        engine: Engine,
        last: Lsn,
        tally: &mut Tally,
    ) -> Result<(), String> {
        let write = Write { level: Some(Level::Disk), ..Write::new(b"x") };
        let put = engine.put(AGAIN, write).and_then(|commit| commit.wait());
        let written = put.map_err(|e| format!("a write after the recovery: {e}"))?.lsn;
        let expected = Expected { last, written: Some((written, machine.disk.op_count())) };
        engine.close().map_err(|e| format!("a clean stop after the recovery: {e}"))?;
        self.cut_recovery(machine, settings, &expected, 1, tally)?;
        let engine = machine.open(settings, 0).map_err(|e| format!("a start after a clean stop: {e}"))?;
        if !engine.recovery().clean {
            return Err("a clean stop was not found clean".into());
        }
        self.compare_again(&engine, &expected, u64::MAX)
    }

    fn cut_recovery(
        &self,
        machine: &Machine,
        settings: &Settings,
        expected: &Expected,
        depth: u64,
        tally: &mut Tally,
    ) -> Result<(), String> {
        for point in machine.disk.crash_points() {
            let (max, seed) = (if depth == 1 { 8 } else { 2 }, point.k() ^ self.run.scenario.seed);
            let plan =
                Plan { exhaustive_max: max, class_max: 1, seeded: 1, garbage: 1, unsafe_overwrite: 0, seed };
            for choice in point.choices(&plan) {
                tally.images += 1;
                let place =
                    || format!("recovery {depth} cut after operation {}, image {choice}: ", point.k());
                let second = self.machine(point.image(&choice));
                let engine = second
                    .open(settings, point.k())
                    .map_err(|e| format!("{}it does not start: {e}", place()))?;
                self.compare_again(&engine, expected, point.k()).map_err(|e| place() + &e)?;
                drop(engine);
                // The recovery of some of them is cut too.
                if depth == 1 && (point.k() + self.run.scenario.seed).is_multiple_of(12) {
                    let found = Expected { last: expected.last, written: None };
                    self.cut_recovery(&second, settings, &found, 2, tally).map_err(|e| place() + &e)?;
                }
            }
        }
        Ok(())
    }

    /// As `compare`, with the key that was written since; it must be there if it was acknowledged
    /// before the cut after operation `k`.
    fn compare_again(&self, engine: &Engine, expected: &Expected, k: u64) -> Result<(), String> {
        let mut found = served(engine)?;
        let again = found.remove(&(0, AGAIN.as_bytes().to_vec()));
        if let Some((lsn, since)) = expected.written {
            let version = again.map(|e| e.version);
            if version.is_some_and(|v| v != lsn.0) || (version.is_none() && k >= since) {
                return Err(format!("the write after the recovery is lost: found {version:?}, wanted {lsn}"));
            }
        }
        let state = self.history.state_at(expected.last).expect("it was compared with this state before");
        same(&found, &alive(state, engine.now()), expected.last)
    }

    /// Without limits, so that nothing but the past decides what is there. Every fourth image meets
    /// an operator who has changed the other settings.
    fn settings_for(&self, point: &CrashPoint, choice: &Choice) -> Settings {
        // Follows from what a replay is given, not from what was tried before.
        let n = choice
            .to_string()
            .bytes()
            .fold(point.k(), |n, byte| n.wrapping_mul(31).wrapping_add(byte.into()));
        let base = Settings { max_items: None, max_bytes: None, ..self.run.settings.clone() };
        if !n.is_multiple_of(4) {
            return base;
        }
        Settings {
            fsync: [Fsync::Always, Fsync::Interval, Fsync::Never][(n / 4 % 3) as usize],
            segment_bytes: [16 << 10, 32 << 10][(n / 4 % 2) as usize],
            stripes: Some([1, 2, 8][(n / 12 % 3) as usize]),
            eviction: [Eviction::Lru, Eviction::S3Fifo][(n / 8 % 2) as usize],
            compress: [None, Some(Codec::Gzip), Some(Codec::Zstd)][(n / 16 % 3) as usize],
            ..base
        }
    }

    /// The clock of the machine may come up anywhere; time that the log has seen does not come again.
    fn machine(&self, disk: SimDisk) -> Machine {
        Machine::new(disk, BEGIN, self.planted)
    }
}

fn served(engine: &Engine) -> Result<State, String> {
    state_of(engine).map_err(|e| format!("what was recovered cannot be read: {e}"))
}

fn same(found: &State, wanted: &State, last: Lsn) -> Result<(), String> {
    match difference(found, wanted) {
        same if same.is_empty() => Ok(()),
        differ => Err(format!("it is not the state after lsn={last}: {differ} (I2)")),
    }
}
