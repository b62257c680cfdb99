//! Events on keys that the server removes by itself.

use super::{answers::check, fixture::Server, wire::Client};

fn listening(server: &Server, classes: &str, channel: &str) -> (Client, Client) {
    let (mut listener, mut client) = (Client::connect3(server.address), server.connect());
    listener.say(&format!("SUBSCRIBE {channel}"));
    check(&mut client, &[(&format!("CONFIG SET notify-keyspace-events {classes}"), "+OK")]);
    (listener, client)
}

#[test]
fn an_expired_key_is_told_also_if_nobody_looks_at_it() {
    let server = Server::with(&["--memory-only"]);
    let (mut listener, mut client) = listening(&server, "Ex", "__keyevent@2__:expired");
    check(&mut client, &[("SELECT 2", "+OK"), ("SET k v PX 1", "+OK"), ("SET j v", "+OK")]);
    assert_eq!(listener.next().to_string(), ">[\"message\", \"__keyevent@2__:expired\", \"k\"]");
}

#[test]
fn an_expired_key_is_told_once_if_a_write_meets_it() {
    let server = Server::with(&["--memory-only"]);
    let (mut listener, mut client) = listening(&server, "Kx", "__keyspace@0__:k");
    for _ in 0..20 {
        client.say("SET k v PX 1");
        // Either this removes it or the thread of the engine that does so; not both.
        while client.say("SET k v NX PX 1").to_string() == "nil" {}
        while client.say("EXISTS k").to_string() != ":0" {}
        client.say("DEL k");
        for _ in 0..2 {
            assert_eq!(listener.next().to_string(), ">[\"message\", \"__keyspace@0__:k\", \"expired\"]");
        }
    }
    client.say("PUBLISH __keyspace@0__:k end");
    assert_eq!(listener.next().to_string(), ">[\"message\", \"__keyspace@0__:k\", \"end\"]");
}

#[test]
fn an_evicted_key_is_told_and_is_gone() {
    let server = Server::with(&["--memory-only", "--max-items", "100"]);
    let (mut listener, mut client) = listening(&server, "Ee", "__keyevent@0__:evicted");
    for n in 0..120 {
        client.say(&format!("SET key{n} v"));
    }
    let mut gone: Vec<String> = (0..20).map(|_| listener.next().items()[2].text()).collect();
    gone.sort();
    gone.dedup();
    assert_eq!(gone.len(), 20, "{gone:?}");
    for key in gone {
        assert_eq!(client.say(&format!("EXISTS {key}")).to_string(), ":0", "{key}");
    }
}

#[test]
fn only_the_classes_that_were_asked_for_are_told() {
    let server = Server::with(&["--memory-only", "--max-items", "10"]);
    let (mut listener, mut client) = (Client::connect3(server.address), server.connect());
    listener.say("PSUBSCRIBE __key*");
    check(
        &mut client,
        &[
            ("CONFIG SET notify-keyspace-events Ee", "+OK"),
            ("CONFIG GET notify-keyspace-events", "[\"notify-keyspace-events\", \"Ee\"]"),
            ("CONFIG SET notify-keyspace-events A", "+OK"),
        ],
    );
    for n in 0..30 {
        client.say(&format!("SET a{n} v PX 100000"));
    }
    check(&mut client, &[("CONFIG SET notify-keyspace-events Ex", "+OK"), ("SET short v PX 1", "+OK")]);
    // Neither those that were evicted before nor those that are now.
    let told = listener.next().to_string();
    assert!(told.ends_with("\"__keyevent@0__:expired\", \"short\"]"), "{told}");
}
