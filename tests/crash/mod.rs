//! The real binary, as a user starts it: killed, stopped, refused.
//!
//! `rounds` kills it with SIGKILL at random moments, again and again over the same directory, and
//! compares what each start serves with what was acknowledged before. A kill proves that nothing
//! acknowledged waits in the process: in every mode the operating system has it. It proves
//! nothing about fsync, because the page cache outlives the process; what a power cut leaves is
//! the matter of the simulated disk, in `storage/tests`.
//!
//! `start` holds what a start refuses, with which exit code and which words.

#![expect(clippy::disallowed_methods, reason = "these tests look at real files from outside, in real time")]

pub mod client;
mod keys;
mod load;
pub mod process;
mod random;
mod rounds;
mod start;
mod versions;
