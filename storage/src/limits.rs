//! What the file formats and the index can hold at most. Settings stay within it.

/// The longest key in bytes.
pub const KEY_LEN_MAX: usize = 16 * 1024;
/// The longest value in bytes.
pub const VALUE_LEN_MAX: usize = 512 << 20;
/// The longest content type in bytes.
pub const CONTENT_TYPE_LEN_MAX: usize = 255;
/// The largest segment that can be set.
pub const SEGMENT_LEN_MAX: u64 = 1 << 30;
/// The largest staging buffer that can be set.
pub const STAGING_LEN_MAX: u64 = 1 << 30;
/// The latest deadline, in milliseconds since 1970: 48 bits, which is the year 10889. A later one in
/// a request, a log or a snapshot counts as this.
pub const DEADLINE_MAX: u64 = (1 << 48) - 1;
