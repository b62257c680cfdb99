//! The HTTP server in this process, on a port of its own, over a real data directory.
//!
//! Requests are written byte by byte where that matters, so that hostile ones can be too.

mod compat;
mod conditions;
mod config;
mod durability;
mod encodings;
mod exports;
mod faults;
mod fixture;
mod hostile;
mod shutdown;
mod values;
