//! The crash laboratory: cuts the power after every operation of a generated workload, over the
//! images that a disk may then legally hold, and holds every start against the log that was
//! written.
//!
//! A [`Scenario`](scenario::Scenario) is a seed and gives settings and [`Step`](step::Step)s;
//! [`Run`](record::Run) records them on a simulated disk, with what the client was told and when;
//! [`History`](history::History) folds the log without the engine; [`check`] recovers one image
//! and says which promise is broken; [`explore`] goes over all images of a run; [`shrink`] leaves
//! out steps while a failure stays; [`planted`] are bugs on purpose, to see that they are found.
//!
//! The engine is driven by hand, in one thread: a scenario, an operation and an image are the same
//! failure on every machine. Not here: threads (that is `shuttle`'s) and the real disk.

pub mod check;
pub mod explore;
pub mod history;
pub mod planted;
pub mod record;
pub mod scenario;
pub mod shrink;
pub mod step;

use std::sync::Arc;

use crate::{
    clock::UnixMillis,
    engine::{Background, Components, Engine},
    error::Result,
    settings::Settings,
    sim::{clock::SimClock, disk::SimDisk},
    vfs::Vfs,
};

use self::planted::Planted;

/// A machine: a disk, a clock, and perhaps a planted bug between the disk and the engine.
#[derive(Clone, Debug)]
pub struct Machine {
    /// What the engine writes to.
    pub disk: SimDisk,
    /// What it reads the time from.
    pub clock: SimClock,
    /// What lies between.
    pub planted: Option<Planted>,
}

impl Machine {
    /// A machine with this disk, whose clock starts at `wall`.
    pub fn new(disk: SimDisk, wall: UnixMillis, planted: Option<Planted>) -> Machine {
        Machine { disk, clock: SimClock::at(wall), planted }
    }

    /// Opens the engine. Every run of a real engine has its own randomness; here it comes from the
    /// seed and from what the disk has been through.
    ///
    /// # Errors
    /// As [`Engine::open`].
    pub fn open(&self, settings: &Settings, seed: u64) -> Result<Engine> {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.disk.op_count().to_le_bytes());
        let disk: Arc<dyn Vfs> = Arc::new(self.disk.clone());
        let components = Components {
            vfs: self.planted.map_or(disk.clone(), |bug| bug.around(disk)),
            clock: Arc::new(self.clock.clone()),
            seed: bytes,
            background: Background::Manual,
            policy: None,
        };
        Engine::open(settings.clone(), components)
    }
}
