//! The real binary, as a user starts it: killed, stopped, refused.
//!
//! `rounds` kills it with SIGKILL at random moments, again and again over the same directory, and
//! holds what clients were told against what they were promised: the harness is that of
//! `emberkeep crash-test`, with more rounds, all modes, and limits that make the cache evict. A
//! kill proves that nothing acknowledged waits in the process: in every mode the operating system
//! has it. It proves nothing about fsync, because the page cache outlives the process; what a
//! power cut leaves is the matter of the simulated disk, in `storage/tests`.
//!
//! `command` is the command itself, as a user calls it. `start` holds what a start refuses, with
//! which exit code and which words.

#![expect(clippy::disallowed_methods, reason = "these tests look at real files from outside")]

mod command;
mod rounds;
mod start;
