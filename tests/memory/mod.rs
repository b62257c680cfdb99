//! What the real binary says about its memory, held against what it has.

use hyper::Method;
use serde_json::Value;

use crate::support::{client::Client, place::Place, process::Process};

/// Enough for what does not grow with the data (threads, buffers, the runtime) to be a small part.
const DATA_BYTES: usize = 200 << 20;
const VALUE_LEN: usize = 8 << 10;

/// The lines of the report add up by construction; this is about the one without a name. Were a
/// part of the entries not charged, or charged twice, it would be large.
#[test]
fn of_a_filled_cache_less_than_a_twentieth_is_unaccounted_for() {
    let place = Place::new();
    // The value is one byte over and over.
    let flags = ["--fsync", "never", "--max-memory", "1GiB", "--compress", "none"];
    let mut server = Process::serve(&place.data_dir(), &flags);
    let mut client = Client::connect(server.address().unwrap()).unwrap();
    let value = vec![0x5a; VALUE_LEN];
    for i in 0..DATA_BYTES / VALUE_LEN {
        let reply = client.request("PUT", &format!("/v1/keys/key-{i}"), &[], &value).unwrap();
        assert_eq!(reply.status, 201);
    }
    let reply = server.request(Method::GET, "/v1/stats", b"");
    let stats: Value = serde_json::from_slice(&reply.body).unwrap();
    let memory = &stats["memory"];
    let resident = memory["resident_bytes"].as_i64().unwrap();
    let lines = memory["lines"].as_object().unwrap();
    assert_eq!(lines.values().map(|line| line.as_i64().unwrap()).sum::<i64>(), resident);
    let unaccounted = lines["unaccounted_bytes"].as_i64().unwrap();
    assert!(unaccounted.abs() * 20 <= resident, "{memory:#}");
    assert!(lines["entries_bytes"].as_u64().unwrap() > DATA_BYTES as u64, "{memory:#}");
    assert_eq!(stats["entries"]["items"].as_u64(), Some((DATA_BYTES / VALUE_LEN) as u64));
    server.kill();
}

#[test]
fn the_start_up_block_tells_where_the_limit_comes_from_and_warns_of_one_out_of_reach() {
    let place = Place::new();
    let mut share = Process::serve(&place.data_dir(), &["--max-memory", "10%"]);
    share.address().unwrap();
    let said = share.output();
    assert!(said.contains(", 10 % of ") && !said.contains("would be killed"), "{said}");
    share.kill();
    let mut greedy = Process::serve(&place.data_dir(), &["--max-memory", "1000TiB"]);
    greedy.address().unwrap();
    assert!(greedy.output().contains("more than this process may use"), "{}", greedy.output());
    greedy.kill();
}
