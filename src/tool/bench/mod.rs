//! Load on a server from outside, over HTTP or RESP, and how long it took to answer.
//!
//! [`run`] opens all connections, lets a few threads ask over them for a time or a number of
//! requests, and tells what came back. Every request counts, errors too; nothing is sampled.
//!
//! Without a rate the loop is closed: a connection asks again when it was answered. A server that
//! stalls is then asked less, so its stall is found in few latencies. With a rate the loop is open:
//! a request is due at its time, whatever became of those before, and its latency counts from when
//! it was due, not from when a slow server at last let it be sent.
//!
//! | file | holds |
//! |---|---|
//! | `target`, `subject` | an address; what stands behind it, and how durable its writes are |
//! | `wire`, `http`, `resp` | bytes of requests and of replies |
//! | `draw`, `zipf` | which request comes next |
//! | `worker`, `connection`, `events` | a thread's loop, one connection, waiting |
//! | `tally` | what is counted |
//! | `report`, `compare`, `chart` | words, JSON, a table of two, a picture |
//!
//! Not here: flags (`cli::bench`), and starting servers (the package `benches`).

#![expect(clippy::disallowed_methods, reason = "it looks at a real server from outside, in real time")]

mod chart;
mod compare;
mod connection;
mod draw;
mod events;
mod http;
mod report;
mod resp;
mod run;
mod subject;
mod tally;
mod target;
mod wire;
mod worker;
mod zipf;

use std::time::Duration;

pub use self::{
    chart::latencies,
    compare::{Comparison, compare},
    draw::key,
    report::Report,
    run::{Progress, run},
    subject::{Durability, Subject},
    tally::Tally,
    target::{Protocol, Target},
    wire::KEY_LEN,
};

/// What is asked, by how many, for how long.
#[derive(Clone, Debug, PartialEq)]
pub struct Load {
    /// Connections, at least 1.
    pub connections: u32,
    /// Threads that drive them, at least 1; more than connections are not started.
    pub threads: u32,
    /// How long it is measured; `None`: until `requests` are answered.
    pub span: Option<Duration>,
    /// Requests in all; `None`: as many as the time allows. One of the two must be given.
    pub requests: Option<u64>,
    /// Asked like everything else before it is measured, and not counted.
    pub warmup: Duration,
    /// Keys are drawn from so many, at least 1.
    pub keys: u64,
    /// How uneven: key `i` is asked for `1 / (i + 1)^theta` as often as the first. `None`: all alike.
    pub zipf: Option<f64>,
    /// Bytes of a value. They are random, so that they do not compress.
    pub value_len: usize,
    /// Which share of the requests are reads, from 0 to 1; the others store.
    pub read_share: f64,
    /// Requests under way at once on a connection, at least 1.
    pub pipeline: u32,
    /// Requests that are due in a second, over all connections; `None`: a closed loop.
    pub rate: Option<f64>,
    /// How long what is stored lives; `None`: for ever.
    pub ttl: Option<Duration>,
    /// Stores every key once before anything is measured.
    pub fill: bool,
}

/// Why there is no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The server cannot be reached, does not answer, or is another kind of server.
    Unreachable(String),
    /// Two servers that promise different things are not compared.
    NotComparable(String),
}
