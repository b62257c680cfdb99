//! Bytes in, values out. Everything that rests on a disk or crosses a network is laid out here,
//! each layout above its `encode` and `decode`. No disk, no clock, no locks; decoding never
//! panics and never allocates more than its input justifies.
//!
//! All integers are little-endian. `varint` is LEB128, at most ten bytes, in its shortest form.
//! Files of version 1 are pinned byte by byte in `storage/tests/golden/v1/`.

pub mod checksum;
pub mod file_name;
pub mod frame;
pub mod manifest;
pub mod op;
pub mod payload;
pub mod reader;
pub mod segment;
pub mod snapshot;

use std::fmt;

/// The version of all file formats of this release.
pub const FORMAT_VERSION: u16 = 1;

/// Why bytes are not what they should be. What follows from it is decided elsewhere: a torn tail
/// and a rotten sector look the same from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// The input ends before the thing does.
    Truncated,
    /// All zeros where a header should be: space that was prepared and never written.
    Unwritten,
    /// A magic number is not ours.
    Magic,
    /// Written by a newer format.
    Version(u16),
    /// The checksum of a header does not match.
    HeaderChecksum,
    /// The checksum of a payload or body does not match.
    PayloadChecksum,
    /// A length is above its limit, or a count is more than the input can hold.
    Length,
    /// Feature bits that this version does not know.
    Features(u32),
    /// A kind, flag or tag that this version does not know.
    Unknown,
    /// Bytes that must be zero are not.
    Reserved,
    /// An encoding that we never write: an overlong varint, bytes left over, text that is no text.
    Malformed,
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Defect::Truncated => f.write_str("ends too early"),
            Defect::Unwritten => f.write_str("never written"),
            Defect::Magic => f.write_str("wrong magic number"),
            Defect::Version(v) => write!(f, "format version {v} is newer than {FORMAT_VERSION}"),
            Defect::Features(bits) => {
                write!(f, "feature bits {bits:#x} are not known to format version {FORMAT_VERSION}")
            }
            Defect::HeaderChecksum => f.write_str("header checksum mismatch"),
            Defect::PayloadChecksum => f.write_str("payload checksum mismatch"),
            Defect::Length => f.write_str("impossible length"),
            Defect::Unknown => f.write_str("unknown kind or flag"),
            Defect::Reserved => f.write_str("reserved bytes are not zero"),
            Defect::Malformed => f.write_str("malformed encoding"),
        }
    }
}
