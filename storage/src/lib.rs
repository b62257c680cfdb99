//! The storage engine of emberkeep: a cache in memory that is as durable as its log.
//!
//! [`Engine`] is the whole of it: open a directory, get, put, scan, close. Every write is
//! appended to a checksummed write-ahead log and acknowledged when it has reached the level that
//! was asked for; a restart, after whatever kind of stop, finds exactly a prefix of that log, at
//! least as long as what was acknowledged on the disk.
//!
//! It knows nothing of HTTP, of protocols or of async runtimes: a [`Commit`] is a plain future
//! and can be waited for by a thread. Imports point down:
//!
//! ```text
//! engine  offline                       the public handle; tools for a directory at rest
//! wal  snapshot  manifest | index  evict   the two halves do not know each other
//! compress                              values, smaller and back
//! format                                bytes in, values out
//! vfs  clock  random  watermark  halt   the seams
//! lsn  error  settings  allocator
//! ```

pub mod allocator;
pub mod clock;
pub mod compress;
pub mod engine;
pub mod error;
pub mod evict;
pub mod format;
pub mod halt;
pub mod index;
#[cfg(any(test, feature = "sim"))]
pub mod lab;
pub mod limits;
pub mod lsn;
pub mod manifest;
pub mod offline;
pub mod random;
pub mod settings;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
pub mod snapshot;
mod sync;
pub mod vfs;
pub mod wal;
pub mod watermark;

pub use crate::{
    clock::{Clock, SystemClock, UnixMillis},
    compress::{CodecStats, CompressionStats},
    engine::{
        About, Action, ActionOutcome, Background, BatchOp, BatchOutcome, CheckpointReport, Commit, Committed,
        Components, Condition, Cursor, DeleteOutcome, Engine, Entry, Expiry, Gate, Incr, IncrOutcome,
        OnRemoval, Prepared, Progress, PutOutcome, Ready, RecoveryReport, Restart, ScanPage, Stats,
        TouchOutcome, Value, Write,
    },
    error::{Error, ErrorKind, Result},
    evict::PolicyFactory,
    format::{op::Key, payload::Reason},
    lsn::Lsn,
    settings::{Codec, Eviction, Fsync, Level, Settings},
};
