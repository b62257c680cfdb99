//! How much compression has saved.

use crate::{
    settings::Codec,
    sync::{AtomicU64, Ordering},
};

/// What one codec did since the engine was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CodecStats {
    /// Values compressed.
    pub values: u64,
    /// Their bytes before.
    pub raw_bytes: u64,
    /// Their bytes after.
    pub stored_bytes: u64,
}

impl CodecStats {
    /// Bytes before by bytes after; `None` if nothing was compressed.
    pub fn ratio(&self) -> Option<f64> {
        (self.stored_bytes > 0).then(|| self.raw_bytes as f64 / self.stored_bytes as f64)
    }
}

/// What became of the values that were offered to be written since the engine was opened: also of
/// those whose condition did not hold then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompressionStats {
    /// By zstd.
    pub zstd: CodecStats,
    /// By gzip.
    pub gzip: CodecStats,
    /// Values long enough that do not shrink, and were left as they came.
    pub left_raw: u64,
}

/// Counts.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    zstd: CodecTally,
    gzip: CodecTally,
    left_raw: AtomicU64,
}

#[derive(Debug, Default)]
struct CodecTally {
    values: AtomicU64,
    raw_bytes: AtomicU64,
    stored_bytes: AtomicU64,
}

impl Tally {
    pub(super) fn compressed(&self, codec: Codec, raw_len: usize, stored_len: usize) {
        let of = match codec {
            Codec::Zstd => &self.zstd,
            Codec::Gzip => &self.gzip,
        };
        of.values.fetch_add(1, Ordering::Relaxed);
        of.raw_bytes.fetch_add(raw_len as u64, Ordering::Relaxed);
        of.stored_bytes.fetch_add(stored_len as u64, Ordering::Relaxed);
    }

    pub(super) fn left_raw(&self) {
        self.left_raw.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn stats(&self) -> CompressionStats {
        CompressionStats {
            zstd: self.zstd.stats(),
            gzip: self.gzip.stats(),
            left_raw: self.left_raw.load(Ordering::Relaxed),
        }
    }
}

impl CodecTally {
    fn stats(&self) -> CodecStats {
        CodecStats {
            values: self.values.load(Ordering::Relaxed),
            raw_bytes: self.raw_bytes.load(Ordering::Relaxed),
            stored_bytes: self.stored_bytes.load(Ordering::Relaxed),
        }
    }
}
