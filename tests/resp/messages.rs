//! Publishing and listening, events on keys, and `MONITOR`.

use super::{
    answers::check,
    fixture::Server,
    wire::{Client, Value},
};

#[track_caller]
fn hears(client: &mut Client, expected: &[&str]) {
    for text in expected {
        assert_eq!(client.next().to_string(), *text);
    }
}

#[test]
fn a_message_reaches_those_who_listen_by_name_and_by_pattern() {
    let server = Server::with(&["--memory-only"]);
    let (mut by_name, mut by_pattern, mut sender) =
        (server.connect(), Client::connect3(server.address), server.connect());
    assert_eq!(by_name.say("SUBSCRIBE news other").to_string(), "[\"subscribe\", \"news\", :1]");
    hears(&mut by_name, &["[\"subscribe\", \"other\", :2]"]);
    assert_eq!(by_pattern.say("PSUBSCRIBE n?ws").to_string(), ">[\"psubscribe\", \"n?ws\", :1]");
    check(
        &mut sender,
        &[
            ("PUBLISH news hello", ":2"),
            ("PUBLISH nobody hello", ":0"),
            ("PUBSUB NUMSUB news nobody", "[\"news\", :1, \"nobody\", :0]"),
            ("PUBSUB NUMPAT", ":1"),
            ("PUBSUB CHANNELS n*", "[\"news\"]"),
        ],
    );
    hears(&mut by_name, &["[\"message\", \"news\", \"hello\"]"]);
    hears(&mut by_pattern, &[">[\"pmessage\", \"n?ws\", \"news\", \"hello\"]"]);
    // In the old protocol who listens does little else, in the new one everything.
    check(
        &mut by_name,
        &[
            (
                "GET k",
                "-ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context",
            ),
            ("PING", "[\"pong\", \"\"]"),
            ("PING x", "[\"pong\", \"x\"]"),
            ("UNSUBSCRIBE news", "[\"unsubscribe\", \"news\", :1]"),
            ("UNSUBSCRIBE", "[\"unsubscribe\", \"other\", :0]"),
            ("UNSUBSCRIBE", "[\"unsubscribe\", nil, :0]"),
            ("GET k", "nil"),
        ],
    );
    check(&mut by_pattern, &[("GET k", "nil"), ("PUNSUBSCRIBE", ">[\"punsubscribe\", \"n?ws\", :0]")]);
    check(&mut sender, &[("PUBLISH news hello", ":0")]);
}

#[test]
fn a_connection_that_goes_listens_no_more() {
    let server = Server::with(&["--memory-only"]);
    let mut listener = server.connect();
    listener.say("SUBSCRIBE c");
    let mut sender = server.connect();
    check(&mut sender, &[("PUBLISH c 1", ":1")]);
    listener.say("QUIT");
    drop(listener);
    while sender.say("PUBLISH c 1") != Value::Int(0) {}
}

#[test]
fn changes_of_keys_are_told_to_those_who_asked() {
    let server = Server::with(&["--memory-only"]);
    let (mut listener, mut client) = (Client::connect3(server.address), server.connect());
    check(
        &mut client,
        &[
            ("CONFIG SET notify-keyspace-events KEA", "+OK"),
            ("CONFIG GET notify-keyspace-events", "[\"notify-keyspace-events\", \"AKE\"]"),
        ],
    );
    listener.say("PSUBSCRIBE __key*@0__:*");
    let mut told = |command: &str, events: &[(&str, &str)]| {
        client.say(command);
        for (key, event) in events {
            let space = format!(">[\"pmessage\", \"__key*@0__:*\", \"__keyspace@0__:{key}\", \"{event}\"]");
            let named = format!(">[\"pmessage\", \"__key*@0__:*\", \"__keyevent@0__:{event}\", \"{key}\"]");
            hears(&mut listener, &[&space, &named]);
        }
    };
    told("SET k v", &[("k", "set")]);
    told("SETEX k 100 v", &[("k", "set"), ("k", "expire")]);
    told("PERSIST k", &[("k", "persist")]);
    told("APPEND k x", &[("k", "append")]);
    told("SETRANGE k 0 y", &[("k", "setrange")]);
    told("RENAME k j", &[("k", "rename_from"), ("j", "rename_to")]);
    told("COPY j c", &[("c", "copy_to")]);
    told("INCR n", &[("n", "incrby")]);
    told("INCRBYFLOAT n 1", &[("n", "incrbyfloat")]);
    told("DEL none n", &[("n", "del")]);
    told("GETDEL j", &[("j", "del")]);
    told("EXPIRE c 0", &[("c", "del")]);
    told("MSET a 1 b 2", &[("a", "set"), ("b", "set")]);
}

#[test]
fn monitor_shows_what_others_send() {
    let server = Server::with(&["--memory-only"]);
    let (mut monitor, mut client) = (server.connect(), server.connect());
    assert_eq!(monitor.say("MONITOR").to_string(), "+OK");
    client.run(&[&b"SET"[..], b"k", b"a\"b\xff"]);
    let peer = client.stream.local_addr().unwrap();
    let line = monitor.next().text();
    assert!(line.ends_with(&format!("[0 {peer}] \"SET\" \"k\" \"a\\\"b\\xff\"")), "{line}");
    // Counts of commands, names and secrets of the administration are not shown.
    client.say("CONFIG GET port");
    client.say("PING");
    assert!(monitor.next().text().ends_with("\"PING\""));
}
