//! Kills a real server again and again, and holds what it serves against what it promised.
//!
//! [`run`] starts the given program over a scratch directory, lets several clients work on the
//! same few keys at once, ends the server with SIGKILL at moments drawn from a seed (under load,
//! while a snapshot is written, while it recovers, while it shuts down), starts it again and
//! reads everything back, for as many rounds as asked. What the clients were told must fit one
//! order per key, over all rounds: then no acknowledged write is missing, nothing that was
//! deleted or has expired is back, and nobody has read what was never so.
//!
//! | file | holds |
//! |---|---|
//! | `rounds` | starts, moments, ends; nothing else knows processes and time |
//! | `server`, `client` | one process, one connection |
//! | `load`, `draw`, `value` | what clients do; values that say who wrote them |
//! | `history`, `model`, `linear` | what was told; what a key may do; whether there is an order |
//! | `judge`, `versions` | the same over all keys and rounds |
//! | `verdict` | counts, and words for them |
//! | `scratch` | the directory, kept if something was broken |
//!
//! A SIGKILL ends the process, not the machine: the page cache survives, so this says nothing
//! about fsync. What a power cut leaves is the matter of the simulated disk, in `storage/tests`.
//!
//! A seed repeats the operations and the moments, not the machine's scheduling: a failure may
//! need a few runs to come back.

#![expect(clippy::disallowed_methods, reason = "it looks at a real server from outside, in real time")]

pub mod client;
mod clock;
mod draw;
mod end;
mod history;
mod judge;
mod linear;
mod load;
mod model;
pub mod random;
mod rounds;
mod scratch;
pub mod server;
mod value;
mod verdict;
mod versions;

use std::{ffi::OsString, path::PathBuf, time::Duration};

pub use self::{
    judge::{Broken, Finding},
    rounds::run,
    verdict::{Counts, Verdict},
};
use crate::node::Fsync;

/// What to test, and how long.
#[derive(Clone, Debug)]
pub struct Options {
    /// The binary of the server; `serve` is its first argument.
    pub program: PathBuf,
    /// Flags for the server, besides the port, the data directory, `--compress` and `--fsync`.
    pub server_flags: Vec<OsString>,
    /// The modes, one after another, a round each. At least one.
    pub modes: Vec<Fsync>,
    /// With these flags the cache may evict what the clients write: then a key that is missing
    /// proves nothing, and only stale, foreign and resurrected values are found.
    pub evicts: bool,
    /// Rounds of start, load and end.
    pub rounds: u64,
    /// No round begins after this time.
    pub stop_after: Option<Duration>,
    /// Connections that work at once; at least 1, at most [`CLIENTS_MAX`].
    pub clients: u32,
    /// Keys that they share, at least 1. Few keys mean much contention.
    pub keys: u32,
    /// Loads last up to this long.
    pub load_max: Duration,
    /// Each so many rounds one writes so much that the log rotates and snapshots come due; 0: none.
    pub heavy_every: u64,
    /// Decides operations and moments.
    pub seed: u64,
    /// Where the run gets a directory of its own; made if it is missing.
    pub scratch: PathBuf,
}

/// More clients could leave more writes of unknown outcome than can be followed.
pub const CLIENTS_MAX: u32 = 16;

/// A seed that nobody has chosen.
pub fn fresh_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0)
}
