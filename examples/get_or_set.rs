//! Replays a recorded sequence of requests against a running server, the way an application uses
//! a cache: get; if it is not there, make it and set it.
//!
//! ```text
//! cargo run --release --example get_or_set -- --trace web12.ids --url http://127.0.0.1:8080
//! ```
//!
//! The trace is an array of little-endian `u32`, one id per request. The value of an id is 4 KiB
//! made from the id, so every hit is checked byte by byte: a wrong one ends the run with exit
//! code 1. `--from` and `--to` choose a range of requests, so that a run can be split and the
//! server killed in between.
//!
//! `--verify` reads every id of the range once and sets nothing: what it hits is what the cache
//! holds.
//!
//! Request `n` is sent on connection `n mod connections`; the connections go on independently, so
//! with more than one the order is nearly that of the trace, not exactly.

use std::{
    collections::BTreeSet,
    fs, io,
    net::{SocketAddr, ToSocketAddrs},
    path::PathBuf,
    process::ExitCode,
};

use clap::Parser;
use emberkeep::tool::crash_test::client::{Client, Reply};
use hyper::Method;

const VALUE_LEN: usize = 4096;

/// Replays a trace of ids as get-or-set with values of 4 KiB, checking every hit.
#[derive(Parser)]
struct Flags {
    /// The trace: an array of little-endian u32
    #[arg(long)]
    trace: PathBuf,
    /// Where the server listens
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    url: String,
    /// The first request, counted from 0
    #[arg(long, default_value_t = 0)]
    from: usize,
    /// The request to stop before [default: the end]
    #[arg(long)]
    to: Option<usize>,
    /// How many connections
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// Read every id once, in order, and set nothing
    #[arg(long)]
    verify: bool,
}

#[derive(Clone, Copy, Default)]
struct Counts {
    hits: u64,
    misses: u64,
}

/// A connection that is waited for, one request at a time.
struct Connection {
    runtime: tokio::runtime::Runtime,
    client: Client,
}

impl Connection {
    fn open(address: SocketAddr) -> Result<Connection, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| e.to_string())?;
        let client = runtime.block_on(Client::connect(address))?;
        Ok(Connection { runtime, client })
    }

    fn request(&mut self, method: Method, target: &str, body: Vec<u8>) -> Result<Reply, String> {
        self.runtime.block_on(self.client.request(method, target, &[], body))
    }
}

fn main() -> ExitCode {
    match run(&Flags::parse()) {
        Ok(Counts { hits, misses }) => {
            let ratio = 100.0 * hits as f64 / (hits + misses).max(1) as f64;
            println!("requests={} hits={hits} misses={misses} hit_percent={ratio:.3}", hits + misses);
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("get_or_set: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run(flags: &Flags) -> Result<Counts, String> {
    let ids = read_trace(&flags.trace).map_err(|e| format!("cannot read {}: {e}", flags.trace.display()))?;
    let to = flags.to.unwrap_or(ids.len());
    let range = ids.get(flags.from..to).ok_or(format!("the trace has {} requests", ids.len()))?;
    let ids = if flags.verify {
        &*BTreeSet::from_iter(range).into_iter().copied().collect::<Vec<_>>()
    } else {
        range
    };
    let host = flags.url.trim_start_matches("http://").trim_end_matches('/');
    let address = host.to_socket_addrs().ok().and_then(|mut addresses| addresses.next());
    let address =
        address.ok_or(format!("not a url of this form: http://127.0.0.1:8080, got={}", flags.url))?;
    let connections = flags.connections.max(1);
    let replay = |first: usize| {
        let mut client =
            Connection::open(address).map_err(|e| format!("cannot connect to {address}: {e}"))?;
        let mut counts = Counts::default();
        for id in ids.iter().skip(first).step_by(connections) {
            match request(&mut client, *id, flags.verify).map_err(|why| format!("id {id}: {why}"))? {
                true => counts.hits += 1,
                false => counts.misses += 1,
            }
        }
        Ok(counts)
    };
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..connections).map(|first| scope.spawn(move || replay(first))).collect();
        running.into_iter().try_fold(Counts::default(), |sum, replay| {
            let counts: Result<Counts, String> = replay.join().expect("replaying does not panic");
            counts
                .map(|Counts { hits, misses }| Counts { hits: sum.hits + hits, misses: sum.misses + misses })
        })
    })
}

#[expect(clippy::disallowed_methods, reason = "an example reads its input as any program does")]
fn read_trace(path: &PathBuf) -> io::Result<Vec<u32>> {
    let bytes = fs::read(path)?;
    let (ids, rest) = bytes.as_chunks();
    match rest {
        [] => Ok(ids.iter().map(|id| u32::from_le_bytes(*id)).collect()),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "its length is no multiple of 4")),
    }
}

/// Gets, and sets unless told not to; whether it was a hit.
fn request(client: &mut Connection, id: u32, only_read: bool) -> Result<bool, String> {
    let lost = |e: String| format!("the connection is lost: {e}");
    let target = format!("/v1/keys/object/{id}");
    let found = client.request(Method::GET, &target, Vec::new()).map_err(lost)?;
    match found.status {
        200 if found.body == value(id) => return Ok(true),
        200 => return Err(format!("a hit has other bytes, etag={:?}", found.header("etag"))),
        404 if only_read => return Ok(false),
        404 => {}
        status => return Err(format!("a get was answered with status {status}")),
    }
    match client.request(Method::PUT, &target, value(id)).map_err(lost)?.status {
        201 | 204 => Ok(false),
        status => Err(format!("a set was answered with status {status}")),
    }
}

/// Bytes that no other id has.
fn value(id: u32) -> Vec<u8> {
    let words = (0..VALUE_LEN as u64 / 8).map(|n| {
        let word = (u64::from(id) << 32 | n).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        word ^ (word >> 29)
    });
    words.flat_map(u64::to_le_bytes).collect()
}
