//! What the server tells about snapshots and about keys with a deadline.

use super::fixture::{Server, field_of};

fn seconds(text: &str) -> u64 {
    text.parse().unwrap()
}

#[test]
fn the_last_save_is_the_last_snapshot_whoever_asked_for_it() {
    let mut server = Server::start();
    let mut client = server.connect();
    let started = client.say("LASTSAVE").int();
    client.say("SET k v");
    // Time passes until the clock of seconds moves on.
    while client.say("TIME").items()[0].text() == started.to_string() {}
    let before = client.say("TIME").items()[0].text();
    // No client of this port asked for it.
    let reply = server.process.request(hyper::Method::POST, "/v1/snapshots?wait=true", b"");
    assert!((200..300).contains(&reply.status), "{}", reply.status);
    let saved = client.say("LASTSAVE").int() as u64;
    assert!(saved >= seconds(&before), "saved={saved} before={before}");
    assert_eq!(seconds(&server.info("rdb_last_save_time")), saved);

    server.kill_and_restart();
    let mut client = server.connect();
    let loaded = client.say("LASTSAVE").int() as u64;
    // It is told by the log, whose last write before the snapshot was the SET.
    assert!((started as u64..=saved).contains(&loaded), "started={started} loaded={loaded} saved={saved}");
    let info = client.say("INFO server").text();
    let now = seconds(&field_of(&info, "server_time_usec")) / 1_000_000;
    while seconds(&client.say("TIME").items()[0].text()) <= now {}
    assert_eq!(client.say("LASTSAVE").int() as u64, loaded, "it does not move with the time");
}

#[test]
fn keys_with_a_deadline_are_counted_whatever_happens_to_them() {
    let mut server = Server::start();
    let keyspace = |server: &Server| server.connect().say("INFO keyspace").text();
    let mut client = server.connect();
    for line in [
        "MSET a 1 b 2 c 3",
        "EXPIRE a 1000",
        "SET d 4 EX 1000",
        "SET e 5 EX 1000",
        "PERSIST d",
        "DEL e",
        "SET f 6 EX 1000",
        "SET f 6",
        "SELECT 3",
        "SET a 1 PX 1000000",
        "SET b 1 PX 1000000",
        "INCR b",
    ] {
        assert!(!client.say(line).is_error(), "{line}");
    }
    let expected = ["db0:keys=5,expires=1,avg_ttl=0", "db3:keys=2,expires=2,avg_ttl=0"];
    for _ in 0..2 {
        let told = keyspace(&server);
        assert!(expected.iter().all(|line| told.contains(line)), "{told}");
        server.kill_and_restart();
    }
    server.connect().say("FLUSHALL");
    server.connect().say("SET a 1");
    assert!(keyspace(&server).contains("db0:keys=1,expires=0,avg_ttl=0"));
}
