//! How the allocator of the system is to serve a cache.
//!
//! Entries of all sizes come and go in no order, and between those that stay the heap of glibc
//! keeps pieces which fit nobody: a third on top of what is in use after a long churn of mixed
//! sizes. Large values, which are most of the bytes, therefore get mappings of their own, which go
//! back to the system whole.
//!
//! Only a program may decide this, for it holds for the whole process: call [`tune`] first of all.
//! `index::blob::allocated_bytes` reckons with it.

#![cfg_attr(
    all(target_os = "linux", target_env = "gnu"),
    expect(unsafe_code, reason = "mallopt has no safe wrapper")
)]

/// From this size on, in bytes, an allocation is a mapping of its own, in whole pages. Smaller ones
/// would waste too much of a page, larger ones leave too much to the heap.
pub const MAPPED_MIN: usize = 16 << 10;

/// So many mappings at most; what comes then is in the heap again. Half of what Linux grants a
/// process unless told otherwise, for threads and files need some too.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MAPPINGS_MAX: i32 = 32 << 10;

/// Tells the allocator, for the whole process. Not to be called by a library. Does nothing where
/// the C library is not glibc.
pub fn tune() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // SAFETY: mallopt takes two numbers, keeps no pointer, and locks the heap itself. It may
        // refuse (it returns 0 then), which changes nothing.
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_MIN as i32);
            libc::mallopt(libc::M_MMAP_MAX, MAPPINGS_MAX);
        }
    }
}
