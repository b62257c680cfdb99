//! The Redis-compatible port: the real binary over TCP, and what no flag can set in this process.

mod answers;
mod fixture;
mod wire;
