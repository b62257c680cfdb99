//! What both ports answer while the server reads its data, and that they go on with it.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::Command,
};

use emberkeep_storage::vfs::{Vfs, os::OsVfs};

use super::{answers::check, fixture::field_of, wire::Client};
use crate::support::{place::Place, process::Process};

/// Two ports that were free a moment ago.
fn ports() -> (SocketAddr, SocketAddr) {
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [http, redis] = listeners.map(|listener| listener.local_addr().unwrap());
    (http, redis)
}

fn start(place: &Place, (http, redis): (SocketAddr, SocketAddr)) -> Process {
    let data_dir = place.data_dir();
    let (http, redis) = (http.port().to_string(), redis.port().to_string());
    let data_dir = data_dir.to_str().unwrap();
    Process::run(&["--port", &http, "--resp-port", &redis, "--data-dir", data_dir])
}

/// A connection as soon as somebody listens.
fn connect(address: SocketAddr) -> Client {
    loop {
        if let Ok(client) = Client::try_connect(address) {
            return client;
        }
        std::thread::yield_now();
    }
}

/// A directory with a key, whose log cannot be opened before somebody writes to it: the start waits.
fn stuck() -> Place {
    let place = Place::new();
    let mut process = Process::serve(&place.data_dir(), &[]);
    assert_eq!(process.request(hyper::Method::PUT, "/v1/keys/k", b"v").status, 201);
    process.kill();
    let log = place.data_dir().join("wal");
    let segment = log.join(&OsVfs.list(&log).unwrap()[0].name);
    OsVfs.remove_file(&segment).unwrap();
    assert!(Command::new("mkfifo").arg(&segment).status().unwrap().success());
    place
}

fn said(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn while_the_data_is_read_both_ports_say_so() {
    let place = stuck();
    let (http, redis) = ports();
    let mut process = start(&place, (http, redis));
    let mut client = connect(redis);
    let loading = "-LOADING Emberkeep is loading the dataset in memory";
    check(
        &mut client,
        &[
            ("PING", loading),
            ("GET k", loading),
            ("SET k w", loading),
            ("HELLO 3", "{\"server\": \"redis\"…"),
            ("HELLO 4", "-NOPROTO unsupported protocol version"),
        ],
    );
    let info = client.say("INFO persistence").text();
    assert_eq!(field_of(&info, "loading"), "1");
    // All that comes at once is answered, and what is no short request ends the connection.
    client.send("PING\r\n".repeat(1000));
    (0..1000).for_each(|_| assert_eq!(client.next().to_string(), loading));
    assert_eq!(client.say("QUIT").to_string(), "+OK");
    assert!(client.is_closed());
    let mut long = Client::connect(redis);
    long.send(format!("*2\r\n$3\r\nGET\r\n$70000\r\n{}", "x".repeat(70_000)));
    assert!(long.next().is_error());

    for (target, kind) in [("/readyz", "application/problem+json"), ("/health", "application/json")] {
        let reply = said(http, &format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n"));
        assert!(reply.starts_with("HTTP/1.1 503 "), "{reply}");
        let lower = reply.to_lowercase();
        assert!(lower.contains(&format!("content-type: {kind}\r\n")), "{reply}");
        assert!(lower.contains("retry-after: 1\r\n") && lower.contains("connection: close\r\n"), "{reply}");
        assert!(reply.contains("\"code\":\"recovering\""), "{reply}");
    }
    let write = said(http, "PUT /v1/keys/k HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nw");
    assert!(write.starts_with("HTTP/1.1 503 "), "{write}");
    assert!(said(redis, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").contains("HTTP has a port of its own"));
    process.kill();
}

/// Writes so much that reading it takes a moment.
fn filled() -> Place {
    let place = Place::new();
    let ports = ports();
    let mut process = start(&place, ports);
    process.address().unwrap();
    let mut client = Client::connect(ports.1);
    for from in (0..100_000).step_by(1000) {
        let pairs = (from..from + 1000).flat_map(|n| [format!("key{n}"), n.to_string()]);
        let words: Vec<String> = std::iter::once("MSET".into()).chain(pairs).collect();
        assert_eq!(client.run(&words).to_string(), "+OK");
    }
    process.kill();
    place
}

#[test]
fn whoever_asks_all_the_while_gets_loading_and_then_the_value_and_nothing_else() {
    let place = filled();
    let ports = ports();
    let mut process = start(&place, ports);
    let mut client = connect(ports.1);
    loop {
        match client.try_run(&["GET", "key99999"]).map(|value| value.to_string()) {
            Ok(text) if text == "\"99999\"" => break,
            Ok(text) => assert!(text.starts_with("-LOADING "), "{text}"),
            // The end of the loading ends its connections.
            Err(_) => client = connect(ports.1),
        }
    }
    assert_eq!(process.address().unwrap(), ports.0);
    assert_eq!(client.say("DBSIZE").to_string(), ":100000");
}
