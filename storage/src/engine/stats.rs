//! Numbers about a running engine.

use crate::{
    clock::UnixMillis,
    compress::{CompressionStats, Tally},
    engine::Core,
    lsn::Lsn,
    settings::Level,
    sync::{AtomicU64, Ordering},
};

/// What the engine counts.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub hits: AtomicU64,
    pub misses: AtomicU64,
    pub evictions: AtomicU64,
    pub expired: AtomicU64,
    pub checkpoints: AtomicU64,
    pub compression: Tally,
}

/// Numbers about a running engine, since it was opened. Each was read by itself, so they need
/// not fit together to the last one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Entries; some may have expired and wait to be removed.
    pub items: u64,
    /// Bytes charged for entries and tombstones.
    pub bytes: u64,
    /// Bytes of that which removed entries take up until their removal is durable.
    pub tombstone_bytes: u64,
    /// The limit of entries.
    pub max_items: Option<u64>,
    /// The limit of bytes.
    pub max_bytes: Option<u64>,
    /// Reads that found their key.
    pub hits: u64,
    /// Reads that did not.
    pub misses: u64,
    /// Entries removed to make room.
    pub evictions: u64,
    /// Entries removed because their deadline had passed.
    pub expired: u64,
    /// The last LSN handed out.
    pub appended: Lsn,
    /// Up to here the operating system has the log.
    pub written: Lsn,
    /// Up to here the disk has it.
    pub durable: Lsn,
    /// Bytes that the operating system has and the disk may not have.
    pub unsynced_bytes: u64,
    /// The term of this run.
    pub term: u64,
    /// Syncs of the log.
    pub syncs: u64,
    /// Bytes appended to the log.
    pub log_bytes: u64,
    /// Memory of the buffers in which frames wait for the disk.
    pub log_buffer_bytes: u64,
    /// Snapshots taken.
    pub checkpoints: u64,
    /// The begin of the snapshot that a restart would start from.
    pub last_checkpoint: Option<Lsn>,
    /// When that snapshot was found to hold everything there was; of one that was loaded, the time of
    /// the last write that it surely holds.
    pub last_checkpoint_at: Option<UnixMillis>,
    /// Why the log has stopped, if it has.
    pub halted: Option<String>,
    /// No log segment could be prepared for lack of space; writes are refused or soon will be.
    pub disk_full: bool,
    /// What compression did to values.
    pub compression: CompressionStats,
}

impl Core {
    pub(crate) fn stats(&self) -> Stats {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let used = self.index.budget().used();
        // In this order, so that durable <= written <= appended also in the answer.
        let durable = self.wal.reached(Level::Disk);
        let written = self.wal.reached(Level::Os);
        Stats {
            items: used.items,
            bytes: used.bytes,
            tombstone_bytes: used.tombstone_bytes,
            max_items: self.settings.max_items,
            max_bytes: self.settings.max_bytes,
            hits: count(&self.counters.hits),
            misses: count(&self.counters.misses),
            evictions: count(&self.counters.evictions),
            expired: count(&self.counters.expired),
            appended: self.wal.appended(),
            written,
            durable,
            unsynced_bytes: self.wal.unsynced_bytes(),
            term: u64::from(self.wal.term()),
            syncs: self.wal.syncs(),
            log_bytes: self.wal.log_bytes(),
            log_buffer_bytes: self.wal.buffer_bytes(),
            checkpoints: count(&self.counters.checkpoints),
            last_checkpoint: self.checkpointer.last(),
            last_checkpoint_at: self.checkpointer.last_at(),
            halted: self.wal.halt().cause().map(ToString::to_string),
            disk_full: self.wal.disk_full(),
            compression: self.counters.compression.stats(),
        }
    }
}
