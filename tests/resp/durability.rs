//! What an acknowledgement means on this port, and that both ports serve the same keys.

use hyper::Method;

use super::{
    answers::check,
    fixture::{Server, redis_line},
    wire::{Client, Value, request},
};
use crate::support::{place::Place, process::Process};

/// The system keeps what a killed process has handed to it, so this holds in every mode.
#[test]
fn what_was_acknowledged_survives_a_kill_in_every_mode() {
    for mode in ["always", "interval", "never"] {
        let mut server = Server::with(&["--fsync", mode]);
        let mut client = server.connect();
        check(
            &mut client,
            &[("SET a 1", "+OK"), ("SETEX b 1000 2", "+OK"), ("DEL a", ":1"), ("SET c 3", "+OK")],
        );
        client.send((0..200).flat_map(|n| request(&["SET", &format!("p{n}"), "v"])).collect::<Vec<u8>>());
        (0..200).for_each(|_| assert_eq!(client.next().to_string(), "+OK", "{mode}"));
        server.kill_and_restart();
        let mut client = server.connect();
        assert_eq!(client.say("MGET a b c").to_string(), "[nil, \"2\", \"3\"]", "{mode}");
        assert_eq!(client.say("DBSIZE"), Value::Int(202), "{mode}");
        assert!((990..=1000).contains(&client.say("TTL b").int()), "{mode}");
    }
}

/// One connection has the thread to itself or shares it with others that do nothing, or that read.
#[test]
fn a_batch_beside_other_connections_is_answered_in_every_mode() {
    for flags in
        [&["--fsync", "always"][..], &["--fsync", "interval"], &["--fsync", "never"], &["--memory-only"]]
    {
        let server = Server::with(flags);
        let mut others: Vec<Client> = (0..8).map(|_| server.connect()).collect();
        let mut client = server.connect();
        for others_read in [false, true] {
            client.send((0..200).flat_map(|n| request(&["SET", &format!("k{n}"), "v"])).collect::<Vec<u8>>());
            if others_read {
                others.iter_mut().for_each(|other| other.send(request(&["GET", "k7"])));
            }
            (0..200).for_each(|_| assert_eq!(client.next().to_string(), "+OK", "{flags:?}"));
            if others_read {
                others
                    .iter_mut()
                    .for_each(|other| assert_eq!(other.next().to_string(), "\"v\"", "{flags:?}"));
            }
            assert_eq!(client.say("SET last 1").to_string(), "+OK", "{flags:?}");
        }
    }
}

#[test]
fn in_memory_only_nothing_survives_and_the_server_says_so() {
    let mut server = Server::with(&["--memory-only"]);
    check(
        &mut server.connect(),
        &[
            ("SET a 1", "+OK"),
            ("WAITAOF 1 0 0", "-ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled."),
        ],
    );
    assert_eq!(server.info("aof_enabled"), "0");
    assert_eq!(server.info("emberkeep_syncs"), "0");
    server.kill_and_restart();
    check(&mut server.connect(), &[("DBSIZE", ":0")]);
}

#[test]
fn waitaof_answers_once_this_disk_has_everything() {
    let server = Server::with(&["--fsync", "interval", "--fsync-interval", "60s"]);
    let mut client = server.connect();
    client.say("SET a 1");
    assert_eq!(client.say("WAITAOF 1 0 0").to_string(), "[:1, :0]");
    let info = client.say("INFO persistence").text();
    let field = |name| super::fixture::field_of(&info, name);
    assert_eq!(field("emberkeep_appended_seq"), field("emberkeep_durable_seq"));
    assert_eq!(client.say("SAVE").to_string(), "+OK");
}

#[test]
fn http_and_the_redis_port_see_the_same_keys() {
    let mut server = Server::start();
    let mut client = server.connect();
    client.say("SETEX shared 100 from-redis");
    let reply = server.process.request(Method::GET, "/v1/keys/shared", b"");
    assert_eq!((reply.status, &reply.body[..]), (200, &b"from-redis"[..]));
    assert_eq!(server.process.request(Method::PUT, "/v1/keys/shared", b"from-http").status, 204);
    check(&mut client, &[("GET shared", "\"from-http\""), ("TTL shared", ":-1")]);
    check(&mut client, &[("WATCH shared", "+OK"), ("MULTI", "+OK"), ("GET shared", "+QUEUED")]);
    server.process.request(Method::DELETE, "/v1/keys/shared", b"");
    check(&mut client, &[("EXEC", "nil-array")]);
    // Other namespaces are this port's alone.
    check(&mut client, &[("SELECT 1", "+OK"), ("SET hidden 1", "+OK")]);
    assert_eq!(server.process.request(Method::GET, "/v1/keys/hidden", b"").status, 404);
}

#[test]
fn the_port_can_be_off_and_a_taken_one_that_was_asked_for_is_an_error() {
    let place = Place::new();
    let dir = place.data_dir();
    let dir = dir.to_str().unwrap();
    let mut off = Process::run(&["--port", "0", "--resp-port", "off", "--data-dir", dir]);
    assert_eq!(redis_line(&mut off), "off");
    off.kill();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let mut refused = Process::run(&["--port", "0", "--resp-port", &port, "--data-dir", dir]);
    assert_eq!(refused.wait().code(), Some(3));
    let said = refused.output();
    assert!(said.contains("cannot listen") && said.contains(&port), "{said}");
}

/// Who has not asked for the port gets HTTP all the same, and is told what to do.
#[test]
fn a_taken_default_port_does_not_stop_http() {
    // Somebody may have it already.
    let _taken = std::net::TcpListener::bind("127.0.0.1:6379");
    let place = Place::new();
    let mut process = Process::run(&["--port", "0", "--data-dir", place.data_dir().to_str().unwrap()]);
    let line = redis_line(&mut process);
    assert!(
        line.starts_with("not served: cannot listen")
            && line.ends_with("give another with --resp-port, or off"),
        "{line}"
    );
    assert_eq!(process.request(Method::GET, "/health", b"").status, 200);
}

#[test]
fn a_stop_in_order_answers_what_runs_and_closes() {
    let mut server = Server::start();
    let mut client: Client = server.connect();
    client.say("SET k v");
    server.process.signal("TERM");
    assert!(client.is_closed());
    assert!(server.process.wait().success());
}
