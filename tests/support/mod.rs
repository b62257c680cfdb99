//! What tests of the real binary share: the process, and a client that waits.

pub mod client;
pub mod place;
pub mod process;
