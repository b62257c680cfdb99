//! From the start of the process to the first right answer: our binary and redis-server.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use emberkeep_benches::{
    draw, fill_redis, key,
    peer::{Client, Kind, Server},
};

use crate::fill::{Data, fill};

/// Between two tries.
const POLL: Duration = Duration::from_micros(500);

/// Fills a directory for a server of this kind. Everything is in the page cache afterwards.
pub fn prepare(kind: Kind, dir: &Path, data: Data) {
    match kind {
        Kind::Emberkeep => fill(dir, data),
        Kind::Redis | Kind::Valkey => prepare_redis(kind, dir, data),
    }
}

fn prepare_redis(kind: Kind, dir: &Path, data: Data) {
    let server = Server::start(kind, dir, &redis_flags(data));
    let mut client = server.client();
    fill_redis(&mut client, data.entries, data.value_len);
    if data.snapshot {
        assert!(client.command(&["SAVE"]).is_some(), "redis saves");
    }
    server.kill();
}

/// Starts the server and asks for the entry that was written last.
pub fn first_answer(kind: Kind, dir: &Path, data: Data) -> Duration {
    let key = key(data.entries - 1);
    let mut value = vec![0; data.value_len];
    draw(data.entries - 1, &mut value);
    let begun = Instant::now();
    let server = match kind {
        Kind::Emberkeep => Server::start(kind, dir, &[]),
        Kind::Redis | Kind::Valkey => Server::start(kind, dir, &redis_flags(data)),
    };
    loop {
        let answered = Client::try_connect(kind, server.port()).is_some_and(|mut c| c.has(&key, &value));
        if answered {
            let took = begun.elapsed();
            server.kill();
            return took;
        }
        thread::sleep(POLL);
    }
}

/// The log is never rewritten, and snapshots are taken when asked for.
fn redis_flags(data: Data) -> [&'static str; 8] {
    let appendonly = if data.snapshot { "no" } else { "yes" };
    ["--save", "", "--appendonly", appendonly, "--appendfsync", "no", "--auto-aof-rewrite-percentage", "0"]
}
