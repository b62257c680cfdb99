//! The Redis-compatible port: RESP2 and RESP3 with the commands on strings and keys.
//!
//! It only translates: what a command means for the data is said by the operations of `node`, and what
//! a reply promises is what `node` promises. A batch of commands that a client sends at once shares
//! one sync; a reply leaves when everything that it rests on is safe.
//!
//! From the wire to the data: `serve` (threads), `connection` (bytes in and out), `parse`, `exec` (finds
//! and runs), `table` (which commands there are), `command` (what each does), `reply`.
//!
//! Not here: types other than strings. `COMPAT.md` says what is and what is not.

mod ahead;
mod buffers;
mod command;
#[cfg(test)]
mod compat;
mod connection;
mod control;
mod dump;
mod exec;
mod fail;
mod fast;
pub mod glob;
mod info;
mod keys;
mod latency;
mod listing;
mod live;
mod loading;
mod number;
mod parameters;
pub mod parse;
mod pubsub;
mod removed;
mod reply;
mod script;
mod serve;
mod session;
mod shared;
mod slowlog;
mod subcommand;
mod table;
mod turn;

pub use self::{
    loading::serve_loading,
    serve::{Port, serve},
};
