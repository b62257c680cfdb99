//! The emberkeep server: a cache that you can `kill -9` and trust, served over HTTP and the
//! Redis protocol.
//!
//! Three layers, each knowing only the one below: [`cli`], [`http`] and [`resp`] translate a protocol
//! and call [`node`], the one set of use cases; `node` owns the engine (`emberkeep_storage`).
//! [`config`] is data, [`observe`] is what a person reads, [`name`] is what a rename changes,
//! [`system`] is what the operating system says about memory.
//! [`tool`] is no part of the server: it looks at one, or at its data, from outside.
//!
//! Not here: how bytes reach a disk and come back. That is the engine's.

#![forbid(unsafe_code)]

pub mod cli;
pub mod config;
pub mod http;
pub mod name;
pub mod node;
pub mod observe;
pub mod resp;
pub mod system;
pub mod tool;
