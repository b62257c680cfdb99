//! The real binary under a tracer of system calls (Debian's `strace`): what it asks of the system,
//! and what it does when the system refuses.
//!
//! `faults` lets the n-th call of one kind in one thread fail, for every n, and then asks for the
//! promises: nothing acknowledged is lost, nothing deleted is back, no hang, a clear word and a
//! documented exit code. `syncs` records a whole run and holds the order of its calls against the
//! rules of `order`: what is synced, before what.
//!
//! The tests are ignored unless asked for, because they need the tracer and the permission to
//! attach it to a process. Not here: what a power cut leaves, which is `storage/tests`.

#![expect(clippy::disallowed_methods, reason = "these tests look at real files from outside, in real time")]

mod faults;
mod load;
mod order;
mod starts;
mod syncs;
mod trace;
mod tracer;
