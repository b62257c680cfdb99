//! How warm a cache is after `kill -9`: recorded requests against real servers, killed half way.
//!
//! ```text
//! cargo build --release && cargo run --release -p emberkeep-benches --bin warm -- [--markdown]
//!     [--traces DIR: where the recorded traces are] [--only NAME]
//! ```
//!
//! Each request is a GET, and a SET when it misses. Two runs of the same server: one goes through,
//! one is killed with SIGKILL after half of the requests and started again. Both count hits over
//! the tenth that follows; the figure is the second hit ratio as a share of the first.
//!
//! emberkeep holds so many items; redis-server so many bytes that it holds about as many, with its
//! policy of exact counts nearest to ours. Both in the mode that syncs every second.

#![expect(clippy::disallowed_methods, reason = "a measurement waits for a snapshot")]

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use emberkeep_benches::{
    key,
    peer::{Client, Kind, Server, is_there},
};

/// Trace, and how many entries the cache holds: about a twentieth of the ids.
const TRACES: [(&str, usize); 3] = [("arc-oltp", 10_000), ("scarab-recs", 12_918), ("synth-dev", 9_234)];
/// Requests in one round trip: the hits of a round are not known before its end.
const ROUND: usize = 16;
const VALUE: &[u8] = &[b'v'; 100];
/// What redis-server takes for an entry with keys and values of these lengths, and without any.
const REDIS_ENTRY: usize = 16 + 100 + 76;
const REDIS_EMPTY: usize = 1_100_000;

/// What a server has on its disk when it is killed.
#[derive(Clone, Copy, PartialEq)]
enum Saved {
    /// The log alone.
    Log,
    /// A snapshot after four tenths of the requests, and the log behind it.
    SnapshotAndLog,
    /// A snapshot after four tenths of the requests, nothing else.
    Snapshot,
}

#[derive(Clone, Copy)]
struct Row {
    name: &'static str,
    kind: Kind,
    flags: &'static [&'static str],
    saved: Saved,
}

const EMBERKEEP: &[&str] = &["--fsync", "interval", "--fsync-interval", "1s"];
const AOF: &[&str] = &["--appendonly", "yes", "--save", "", "--maxmemory-policy", "allkeys-lru"];
const AOF_LFU: &[&str] = &["--appendonly", "yes", "--save", "", "--maxmemory-policy", "allkeys-lfu"];
const RDB: &[&str] = &["--appendonly", "no", "--save", "", "--maxmemory-policy", "allkeys-lru"];

const ROWS: [Row; 6] = [
    Row { name: "emberkeep s3fifo, log", kind: Kind::Emberkeep, flags: EMBERKEEP, saved: Saved::Log },
    Row {
        name: "emberkeep s3fifo, snapshot and log",
        kind: Kind::Emberkeep,
        flags: EMBERKEEP,
        saved: Saved::SnapshotAndLog,
    },
    Row { name: "redis-server lru, AOF", kind: Kind::Redis, flags: AOF, saved: Saved::Log },
    Row {
        name: "redis-server lru, rewritten AOF",
        kind: Kind::Redis,
        flags: AOF,
        saved: Saved::SnapshotAndLog,
    },
    Row {
        name: "redis-server lfu, rewritten AOF",
        kind: Kind::Redis,
        flags: AOF_LFU,
        saved: Saved::SnapshotAndLog,
    },
    Row { name: "redis-server lru, RDB", kind: Kind::Redis, flags: RDB, saved: Saved::Snapshot },
];

fn main() {
    let mut traces = PathBuf::from("../shared/traces");
    let mut only = None;
    let mut args = std::env::args().skip(1);
    while let Some(flag) = args.next() {
        match flag.as_str() {
            "--markdown" => {}
            "--traces" => traces = args.next().expect("--traces DIR").into(),
            "--only" => only = args.next(),
            _ => panic!("no such flag: {flag}"),
        }
    }
    println!("| trace, entries | server | hits without a kill | with a kill | share |");
    println!("| --- | --- | ---: | ---: | ---: |");
    for (name, capacity) in TRACES.into_iter().filter(|t| only.as_deref().is_none_or(|o| o == t.0)) {
        let ids = read(&traces.join(format!("{name}.ids.zst")));
        for row in ROWS.into_iter().filter(|row| is_there(row.kind)) {
            let [whole, killed] = [false, true].map(|kill| run(&row, capacity, &ids, kill));
            let share = 100.0 * killed / whole;
            println!("| {name}, {capacity} | {} | {whole:.2} % | {killed:.2} % | {share:.1} % |", row.name);
        }
    }
}

/// The hit ratio in per cent over the tenth behind the first half.
fn run(row: &Row, capacity: usize, ids: &[u32], kill: bool) -> f64 {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (tenth, half) = (ids.len() / 10, ids.len() / 2);
    let mut server = start(row, dir.path(), capacity);
    let mut client = server.client();
    replay(&mut client, &ids[..4 * tenth]);
    if row.saved != Saved::Log {
        snapshot(row, &mut client);
    }
    replay(&mut client, &ids[4 * tenth..half]);
    if kill {
        server.kill();
        server = start(row, dir.path(), capacity);
        client = server.client();
        // redis-server listens before it has loaded.
        while row.kind == Kind::Redis && client.command(&["PING"]).is_none() {
            thread::sleep(Duration::from_millis(10));
        }
    }
    let hits = replay(&mut client, &ids[half..half + tenth]);
    100.0 * hits as f64 / tenth as f64
}

fn start(row: &Row, dir: &Path, capacity: usize) -> Server {
    let limit = match row.kind {
        Kind::Emberkeep => ["--max-items".to_owned(), capacity.to_string()],
        Kind::Redis | Kind::Valkey => {
            ["--maxmemory".to_owned(), (REDIS_EMPTY + REDIS_ENTRY * capacity).to_string()]
        }
    };
    let flags: Vec<&str> = row.flags.iter().copied().chain(limit.iter().map(String::as_str)).collect();
    Server::start(row.kind, dir, &flags)
}

fn replay(client: &mut Client, ids: &[u32]) -> usize {
    let mut hits = 0;
    for round in ids.chunks(ROUND) {
        let keys: Vec<_> = round.iter().map(|id| key(u64::from(*id))).collect();
        let found = client.get_all(keys.iter().map(|k| &k[..]));
        hits += found.iter().filter(|found| **found).count();
        let missed = keys.iter().zip(&found).filter(|(_, found)| !**found);
        client.set_all(missed.map(|(k, _)| (&k[..], VALUE)));
    }
    hits
}

/// Takes a snapshot and waits for its end.
fn snapshot(row: &Row, client: &mut Client) {
    match (row.kind, row.saved) {
        (Kind::Emberkeep, _) => {
            client.request("POST /v1/snapshots?wait=true").expect("a snapshot is taken");
        }
        (_, Saved::Snapshot) => {
            client.command(&["SAVE"]).expect("a snapshot is taken");
        }
        _ => {
            client.command(&["BGREWRITEAOF"]).expect("a rewrite begins");
            let rewriting = |client: &mut Client| {
                let info = client.command(&["INFO", "persistence"]).expect("it tells");
                !String::from_utf8_lossy(&info).contains("aof_rewrite_in_progress:0")
            };
            while rewriting(client) {
                thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

fn read(path: &Path) -> Vec<u32> {
    let packed = fs::read(path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()));
    let bytes = zstd::decode_all(&packed[..]).expect("the trace is whole");
    bytes.chunks_exact(4).map(|id| u32::from_le_bytes([id[0], id[1], id[2], id[3]])).collect()
}
