//! `emberkeep bench` as a user calls it: over HTTP against the real server, over RESP against one
//! that does what the test says.

mod scripted;

use std::{fs, process::Command, time::Duration};

use serde_json::Value;

use self::scripted::Scripted;
use crate::support::{
    place::Place,
    process::{Process, binary},
};

/// What a run said, and how it ended.
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Said {
    #[track_caller]
    fn json(&self) -> Value {
        let json = serde_json::from_str(&self.out);
        json.unwrap_or_else(|e| panic!("{e}: {:?} {} {}", self.code, self.out, self.err))
    }
}

fn bench(flags: &[&str]) -> Said {
    let output = Command::new(binary()).arg("bench").args(flags).output().expect("the binary starts");
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

fn url(server: &mut Process) -> String {
    format!("http://{}", server.address().unwrap())
}

#[test]
fn a_run_over_http_answers_every_request_and_tells_the_mode_of_the_server() {
    let place = Place::new();
    let mut server = place.serve();
    let flags = [
        "--requests",
        "2000",
        "-c",
        "7",
        "-keys",
        "100",
        "-size",
        "33",
        "--fill",
        "--json",
        "--threads",
        "2",
    ];
    let said = bench(&[&["-url", &url(&mut server)], &flags[..]].concat());
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
    let json = said.json();
    assert_eq!(json["server"]["durability"], "always");
    assert!(json["server"]["product"].as_str().unwrap().starts_with("emberkeep "), "{json}");
    assert_eq!((&json["requests"], &json["failed"], &json["unsent"]), (&2000.into(), &0.into(), &0.into()));
    assert_eq!(json["errors"], serde_json::json!({}));
    let count = |kind: &str| json["latency_us"][kind]["count"].as_u64().unwrap();
    assert_eq!(count("reads") + count("writes"), 2000);
    // Every key was stored before.
    assert_eq!((&json["reads"]["found"], &json["reads"]["missing"]), (&count("reads").into(), &0.into()));
    let stored = server.request(hyper::Method::GET, "/v1/keys/key:000000000099", b"");
    assert_eq!((stored.status, stored.body.len()), (200, 33));
    assert_eq!(said.err, "", "no progress where nobody watches");
}

#[test]
fn a_run_over_resp_in_pipelines_is_answered_by_the_real_server_too() {
    let place = Place::new();
    let mut server = Process::serve(&place.data_dir(), &["--fsync", "never"]);
    server.address().unwrap();
    let said = server.output();
    let port = said.lines().find_map(|line| line.strip_prefix("  redis       on 127.0.0.1:")).expect(&said);
    let flags = ["--requests", "2000", "-c", "3", "-keys", "100", "--fill", "--pipeline", "16", "--json"];
    let said = bench(&[&["-url", &format!("redis://127.0.0.1:{port}"), "--ttl", "60s"], &flags[..]].concat());
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
    let json = said.json();
    assert_eq!((&json["requests"], &json["reads"]["missing"]), (&2000.into(), &0.into()));
    assert_eq!(json["server"]["durability"], "never");
    assert!(json["server"]["product"].as_str().unwrap().starts_with("emberkeep "), "{json}");
    let stored = server.request(hyper::Method::GET, "/v1/keys/key:000000000099", b"");
    assert_eq!((stored.status, stored.body.len()), (200, 100));
    assert!(stored.number("emberkeep-ttl-ms").is_some_and(|ms| ms <= 60_000), "{stored:?}");
}

#[test]
fn a_run_over_resp_counts_refusals_by_kind_and_ends_with_1() {
    let server = Scripted::serve("always", |n, command| match command {
        "SET" if n % 10 == 9 => b"-OOM command not allowed\r\n".to_vec(),
        "SET" => b"+OK\r\n".to_vec(),
        _ => b"$-1\r\n".to_vec(),
    });
    let said = bench(&[
        "-url",
        &server.url(),
        "--requests",
        "1000",
        "-c",
        "1",
        "--pipeline",
        "16",
        "-read",
        "0",
        "--json",
    ]);
    assert_eq!(said.code, Some(1), "{}{}", said.out, said.err);
    let json = said.json();
    assert_eq!((&json["requests"], &json["failed"]), (&900.into(), &100.into()));
    assert_eq!(json["errors"], serde_json::json!({ "OOM": 100 }));
    assert_eq!(json["server"]["product"], "redis 7.2.0");
    let text = bench(&["-url", &server.url(), "--requests", "10", "-c", "1", "-read", "1"]).out;
    assert!(text.contains("durability: always") && text.contains("0.0 % of the reads found"), "{text}");
}

#[test]
fn a_connection_that_is_closed_is_counted_and_opened_again() {
    let server = Scripted::serve("always", |n, _| match n {
        5 => Vec::new(),
        _ => b"+OK\r\n".to_vec(),
    });
    let said = bench(&["-url", &server.url(), "--requests", "10", "-c", "1", "-read", "0", "--json"]);
    assert_eq!(said.code, Some(1), "{}{}", said.out, said.err);
    let json = said.json();
    assert_eq!((&json["requests"], &json["errors"]["connection closed"]), (&9.into(), &1.into()));
}

/// The failure that this guards: a stall is counted once, because nothing was asked meanwhile.
#[test]
fn with_a_rate_everything_that_was_due_while_the_server_stalled_was_slow() {
    const STALL: Duration = Duration::from_millis(600);
    let server = Scripted::serve("always", |n, _| {
        if n == 0 {
            std::thread::sleep(STALL);
        }
        b"+OK\r\n".to_vec()
    });
    let load = ["--rate", "1000", "--requests", "400", "-c", "1", "-read", "0", "--json"];
    let said = bench(&[&["-url", &server.url()], &load[..]].concat());
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
    let json = said.json();
    // Request 200 was due after 200 ms, and nothing was answered before 600 ms.
    let p50 = json["latency_us"]["writes"]["p50"].as_f64().unwrap();
    assert!(p50 >= 390_000.0, "{json:#}");
}

#[test]
fn two_servers_that_promise_different_things_are_not_compared_and_not_touched() {
    let place = Place::new();
    let mut durable = place.serve();
    let other = Scripted::serve("no", |_, _| b"+OK\r\n".to_vec());
    let said = bench(&["-url", &url(&mut durable), "--compare", &other.url(), "--requests", "10", "--fill"]);
    assert_eq!((said.code, said.out.as_str()), (Some(2), ""), "{}", said.err);
    for words in ["has durability always", "has never", &url(&mut durable), &other.url()] {
        assert!(said.err.contains(words), "{words:?} is not in: {}", said.err);
    }
    assert_eq!(durable.request(hyper::Method::GET, "/v1/keys/key:000000000000", b"").status, 404);
    assert_eq!(other.commands(), 0);
}

#[test]
fn two_servers_that_promise_the_same_get_one_table() {
    let place = Place::new();
    let mut ours = place.serve();
    let other = Scripted::serve("always", |_, command| match command {
        "SET" => b"+OK\r\n".to_vec(),
        _ => b"$1\r\nv\r\n".to_vec(),
    });
    let picture = place.dir.path().join("latency.svg");
    let flags = ["--requests", "400", "-c", "2", "--fill", "-keys", "20", "--svg", picture.to_str().unwrap()];
    let said = bench(&[&["-url", &url(&mut ours), "--compare", &other.url()], &flags[..]].concat());
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
    for words in ["A  http://", "B  redis://", "A / B", "requests/s", "reads p99.9 us", "writes max us"] {
        assert!(said.out.contains(words), "{words:?} is not in: {}", said.out);
    }
    // Every key once, and the requests.
    assert_eq!(other.commands(), 420);
    assert!(fs::read_to_string(&picture).unwrap().contains("durability: always"));
}

#[test]
fn nobody_there_and_a_server_of_another_kind_end_with_3() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let said = bench(&["-url", &format!("http://{free}"), "--requests", "1"]);
    assert_eq!(said.code, Some(3), "{}", said.err);
    assert!(said.err.contains(&format!("cannot connect to http://{free}")), "{}", said.err);

    let place = Place::new();
    let mut server = place.serve();
    let address = url(&mut server).replace("http", "redis");
    let said = bench(&["-url", &address, "--requests", "1"]);
    assert_eq!(said.code, Some(3), "{}", said.err);
    assert!(said.err.contains(&address), "{}", said.err);
}
