//! The Redis-compatible port: the real binary over TCP, and what no flag can set in this process.

mod answers;
mod connections;
mod differential;
mod durability;
mod fixture;
mod hostile;
mod idle;
mod latency;
mod loading;
mod many_keys;
mod messages;
mod model;
mod removed;
mod scripts;
mod told;
mod transactions;
mod wire;
