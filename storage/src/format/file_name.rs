//! Names in a data directory, built and parsed.
//!
//! ```text
//! LOCK                      held while the directory is in use
//! MANIFEST-0  MANIFEST-1    two generations
//! wal/<20 digits>.wal       a segment, by its first index
//! wal/<anything>.spare      a prepared segment: zeros
//! wal/<anything>.used       a file of the size of a segment whose bytes mean nothing any more
//! snap/<20 digits>/<3 digits>.snap   the files of a snapshot, by its begin
//! lost/                     copies of what recovery cut off
//! exports/                  what users saved by name
//! *.tmp                     unfinished; removed at start
//! ```

use std::path::{Path, PathBuf};

/// The lock file.
pub const LOCK: &str = "LOCK";
/// The two generations of the MANIFEST.
pub const MANIFESTS: [&str; 2] = ["MANIFEST-0", "MANIFEST-1"];
/// The directory of the log.
pub const WAL_DIR: &str = "wal";
/// The directory of the snapshots.
pub const SNAP_DIR: &str = "snap";
/// The directory of what recovery cut off.
pub const LOST_DIR: &str = "lost";
/// The directory of exports.
pub const EXPORT_DIR: &str = "exports";
/// The end of the name of an unfinished file or directory.
pub const TMP: &str = ".tmp";

/// `<20 digits>.wal`
pub fn segment(first_index: u64) -> String {
    format!("{first_index:020}.wal")
}

/// The first index of a segment, from its name.
pub fn parse_segment(name: &str) -> Option<u64> {
    parse_number(name.strip_suffix(".wal")?, 20)
}

/// `<n>.spare`
pub fn spare(number: u64) -> String {
    format!("{number}.spare")
}

/// The name is that of a prepared segment.
pub fn is_spare(name: &str) -> bool {
    name.ends_with(".spare")
}

/// The path of a spare, or of a segment that was one, once its bytes mean nothing any more.
pub fn used(spare: &Path) -> PathBuf {
    spare.with_extension("used")
}

/// The name is that of a file whose bytes mean nothing any more.
pub fn is_used(name: &str) -> bool {
    name.ends_with(".used")
}

/// The path under which a used file is a spare again.
pub fn renewed(used: &Path) -> PathBuf {
    used.with_extension("spare")
}

/// `<20 digits>`
pub fn snapshot(begin: u64) -> String {
    format!("{begin:020}")
}

/// The begin of a snapshot, from its name.
pub fn parse_snapshot(name: &str) -> Option<u64> {
    parse_number(name, 20)
}

/// `<3 digits>.snap`
pub fn snapshot_group(group: usize) -> String {
    format!("{group:03}.snap")
}

/// The path of a segment.
pub fn segment_path(data_dir: &Path, first_index: u64) -> PathBuf {
    data_dir.join(WAL_DIR).join(segment(first_index))
}

fn parse_number(digits: &str, len: usize) -> Option<u64> {
    let plain = digits.len() == len && digits.bytes().all(|b| b.is_ascii_digit());
    if plain { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_back() {
        for n in [0, 1, 42, u64::MAX] {
            assert_eq!(parse_segment(&segment(n)), Some(n));
            assert_eq!(parse_snapshot(&snapshot(n)), Some(n));
        }
    }

    #[test]
    fn what_we_never_write_is_not_ours() {
        for name in
            ["1.wal", "+0000000000000000001.wal", "99999999999999999999.wal", "00000000000000000001.wal.tmp"]
        {
            assert_eq!(parse_segment(name), None, "{name}");
        }
        assert_eq!(parse_snapshot("00000000000000000001.tmp"), None);
    }

    #[test]
    fn names_sort_as_their_numbers() {
        assert!(segment(9) < segment(10));
        assert!(segment(10) < segment(u64::MAX));
    }
}
