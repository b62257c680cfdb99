//! Settings are data: what an operator can decide, each with its unit, default and consequence.
//! What a program brings along (disk, clock, randomness) are [`Components`](crate::Components).

use std::{ops::RangeInclusive, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    limits::{KEY_LEN_MAX, SEGMENT_LEN_MAX, STAGING_LEN_MAX, VALUE_LEN_MAX},
};

/// When a write is acknowledged, unless the request asks for another [`Level`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fsync {
    /// After its bytes are on the disk. Nothing acknowledged or observed is lost, whatever stops.
    #[default]
    Always,
    /// After the operating system has its bytes; a sync follows within `fsync_interval`. A killed
    /// process loses nothing; a power cut loses at most two intervals of acknowledged writes.
    Interval,
    /// After the operating system has its bytes; it decides when they reach the disk. A killed
    /// process loses nothing.
    Never,
    /// At once: nothing is logged, no snapshot is taken, and nothing survives the process. Only for a
    /// data directory that is new and that nobody else will open, best on a file system in memory.
    Off,
}

/// How far a write has come. Each level includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// In the order of the log and in the index of this process.
    Memory,
    /// Handed to the operating system: survives a kill of the process.
    Os,
    /// On the disk: survives a power cut.
    Disk,
}

impl Fsync {
    /// The level at which this mode acknowledges.
    pub fn level(self) -> Level {
        match self {
            Fsync::Always => Level::Disk,
            Fsync::Interval | Fsync::Never => Level::Os,
            Fsync::Off => Level::Memory,
        }
    }

    /// Its name everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Fsync::Always => "always",
            Fsync::Interval => "interval",
            Fsync::Never => "never",
            Fsync::Off => "off",
        }
    }
}

/// Who leaves when the cache is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Eviction {
    /// S3-FIFO (Yang et al., SOSP 2023): a small and a main FIFO queue and a ghost queue.
    #[default]
    S3Fifo,
    /// The least recently used.
    Lru,
    /// The least frequently used, with dynamic ageing (LFU-DA), hits counted up to 63.
    Lfu,
    /// The earliest deadline, about; keys without one only when nobody else is left, the least
    /// recently used first.
    Ttl,
    /// Anybody.
    Random,
    /// SIEVE (Zhang et al., NSDI 2024): one queue and a hand.
    Sieve,
    /// W-TinyLFU (Einziger et al., 2017): admission by frequency, with an adaptive window.
    WTinyLfu,
    /// The oldest.
    Fifo,
    /// Nobody: what needs room is refused as [`Full`](crate::ErrorKind::Full). What has expired
    /// still makes room.
    NoEviction,
    /// The policy of [`Components::policy`](crate::Components::policy).
    Custom,
}

impl Eviction {
    /// Those that come with the engine.
    pub const ALL: [Eviction; 9] = [
        Eviction::S3Fifo,
        Eviction::Lru,
        Eviction::Lfu,
        Eviction::Ttl,
        Eviction::Random,
        Eviction::Sieve,
        Eviction::WTinyLfu,
        Eviction::Fifo,
        Eviction::NoEviction,
    ];
}

/// How values are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// Zstandard (RFC 8878): several times faster both ways. Levels 1 to 19, 1 unless told.
    Zstd,
    /// gzip (RFC 1952): understood by every client. Levels 1 to 9, 6 unless told.
    Gzip,
}

impl Codec {
    /// Its name everywhere: in HTTP, flags and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Codec::Zstd => "zstd",
            Codec::Gzip => "gzip",
        }
    }

    /// From the fastest to the smallest.
    pub fn levels(self) -> RangeInclusive<u32> {
        match self {
            Codec::Zstd => 1..=19,
            Codec::Gzip => 1..=9,
        }
    }

    /// The level unless told otherwise.
    pub fn level_default(self) -> u32 {
        match self {
            Codec::Zstd => 1,
            Codec::Gzip => 6,
        }
    }
}

/// What an operator can decide. [`Settings::new`] gives the defaults.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Where the data lives. Created if it does not exist (its parent must).
    pub data_dir: PathBuf,
    /// When a write is acknowledged. Default `always`.
    pub fsync: Fsync,
    /// Time between syncs in `interval` mode. Default 100 ms; 1 ms to 60 s.
    pub fsync_interval: Duration,
    /// Whether a request may ask for less than `fsync` gives. Default no.
    pub allow_downgrade: bool,
    /// Bytes that entries may occupy, overhead included; above, entries are evicted.
    /// `None`: no limit. Default 1 GiB; at least 64 KiB.
    pub max_bytes: Option<u64>,
    /// Number of entries; above, entries are evicted. `None` (the default): no limit. At least 1.
    pub max_items: Option<u64>,
    /// Who leaves when the cache is full. Default `s3fifo`.
    pub eviction: Eviction,
    /// Longest key in bytes. Default 4,096; 1 to 16,384.
    pub max_key_bytes: usize,
    /// Longest value in bytes. Default 16 MiB; at most 512 MiB.
    pub max_value_bytes: usize,
    /// Size of a log file. One is in use and three are kept prepared, so this is real disk space.
    /// Default 64 MiB; 16 KiB to 1 GiB, and at least 16 times the longest key: beside a write there
    /// must be room for the removals that it may cause.
    pub segment_bytes: u64,
    /// Log bytes that may wait for the disk; above, writes are refused as overloaded.
    /// Default 16 MiB; at least 4 KiB.
    pub staging_bytes: u64,
    /// A snapshot is taken after this many bytes of log, or after as many as the last snapshot
    /// had if that is more: so snapshots of data that has stopped growing write no more than the
    /// log does. Default 256 MiB; at least one segment.
    pub checkpoint_bytes: u64,
    /// A snapshot is taken after this many bytes of log at the latest, however large the last one
    /// was. Bounds the log that a restart replays; below the size of the data it costs writing.
    /// Default 2 GiB; at least one segment.
    pub max_replay_bytes: u64,
    /// Bytes per second that a snapshot may write, and then read back. Default 64 MiB; at least 1 MiB.
    pub checkpoint_bytes_per_sec: u64,
    /// Lock partitions of the index, a power of two. `None` (the default): 256 or eight per core,
    /// fewer where each would have less than 256 of `max_items` or 1 MiB of `max_bytes`.
    pub stripes: Option<usize>,
    /// How values are compressed that are written from now on; what is stored stays as it is and
    /// can be read whatever this says. `None`: not at all. Default `zstd`.
    pub compress: Option<Codec>,
    /// How hard. `None` (the default): 1 for `zstd` (1 to 19), 6 for `gzip` (1 to 9).
    pub compress_level: Option<u32>,
    /// Values of fewer bytes are not compressed. Default 1 KiB; 64 B to 512 MiB.
    pub compress_threshold: usize,
}

impl Settings {
    /// The defaults, with the data in `data_dir`.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Settings {
            data_dir: data_dir.into(),
            fsync: Fsync::Always,
            fsync_interval: Duration::from_millis(100),
            allow_downgrade: false,
            max_bytes: Some(1 << 30),
            max_items: None,
            eviction: Eviction::S3Fifo,
            max_key_bytes: 4096,
            max_value_bytes: 16 << 20,
            segment_bytes: 64 << 20,
            staging_bytes: 16 << 20,
            checkpoint_bytes: 256 << 20,
            max_replay_bytes: 2 << 30,
            checkpoint_bytes_per_sec: 64 << 20,
            stripes: None,
            compress: Some(Codec::Zstd),
            compress_level: None,
            compress_threshold: 1 << 10,
        }
    }

    /// Checks every field against its range. [`Engine::open`](crate::Engine::open) does it too.
    ///
    /// # Errors
    /// `Invalid`, naming the first field that is out of range and what would be right.
    pub fn validate(&self) -> Result<()> {
        within("fsync_interval_ms", self.fsync_interval.as_millis() as u64, 1, 60_000)?;
        within("max_bytes", self.max_bytes.unwrap_or(u64::MAX), 64 << 10, u64::MAX)?;
        within("max_items", self.max_items.unwrap_or(u64::MAX), 1, u64::MAX)?;
        within("max_key_bytes", self.max_key_bytes as u64, 1, KEY_LEN_MAX as u64)?;
        within("max_value_bytes", self.max_value_bytes as u64, 1, VALUE_LEN_MAX as u64)?;
        let segment_min = (16 << 10).max(16 * self.max_key_bytes as u64);
        within("segment_bytes", self.segment_bytes, segment_min, SEGMENT_LEN_MAX)?;
        within("staging_bytes", self.staging_bytes, 4 << 10, STAGING_LEN_MAX)?;
        within("checkpoint_bytes", self.checkpoint_bytes, self.segment_bytes, u64::MAX)?;
        within("max_replay_bytes", self.max_replay_bytes, self.segment_bytes, u64::MAX)?;
        within("checkpoint_bytes_per_sec", self.checkpoint_bytes_per_sec, 1 << 20, u64::MAX)?;
        // Counters stay below it.
        within("compress_threshold", self.compress_threshold as u64, 64, VALUE_LEN_MAX as u64)?;
        if let (Some(codec), Some(level)) = (self.compress, self.compress_level) {
            let (min, max) = codec.levels().into_inner();
            let name = format!("compress_level of {}", codec.as_str());
            within(&name, level.into(), min.into(), max.into())?;
        }
        match self.stripes {
            Some(n) if !n.is_power_of_two() || n > 1 << 16 => {
                Err(Error::invalid(format!("stripes must be a power of two up to 65536, got={n}")))
            }
            _ => Ok(()),
        }
    }
}

fn within(name: &str, value: u64, min: u64, max: u64) -> Result<()> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    let range = if max == u64::MAX { format!("at least {min}") } else { format!("from {min} to {max}") };
    Err(Error::invalid(format!("{name} must be {range}, got={value}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn the_defaults_are_valid() {
        Settings::new("x").validate().unwrap();
    }

    #[test]
    fn an_error_names_the_field_and_what_would_be_right() {
        let settings = Settings { segment_bytes: 1, ..Settings::new("x") };
        let error = settings.validate().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert_eq!(error.to_string(), "segment_bytes must be from 65536 to 1073741824, got=1");
        let long_keys = Settings { max_key_bytes: 16 << 10, segment_bytes: 128 << 10, ..Settings::new("x") };
        let gzip = Settings { compress: Some(Codec::Gzip), compress_level: Some(10), ..Settings::new("x") };
        let error = gzip.validate().unwrap_err();
        assert_eq!(error.to_string(), "compress_level of gzip must be from 1 to 9, got=10");
        Settings { compress: Some(Codec::Zstd), ..gzip }.validate().unwrap();
        assert!(long_keys.validate().unwrap_err().to_string().contains("from 262144"));
    }
}
