//! Clients that are slow, half gone, or up to something.

use std::time::{Duration, Instant};

use super::fixture::{Client, Server, VALUE_MAX};

/// A server whose patience is short.
fn impatient() -> Server {
    Server::with(|settings| {
        settings.http.header_deadline = Duration::from_secs(1);
        settings.http.body_deadline = Duration::from_secs(1);
        settings.http.stall_deadline = Duration::from_secs(1);
    })
}

#[expect(clippy::disallowed_methods, reason = "a test measures how long the server waits")]
fn timed<T>(job: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    (job(), start.elapsed())
}

#[test]
fn a_connection_that_says_nothing_is_closed() {
    let server = impatient();
    let mut client = server.connect();
    let (closed, took) = timed(|| client.is_closed());
    assert!(closed && took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn half_sent_headers_are_cut_even_if_they_trickle() {
    let server = impatient();
    let mut client = server.connect();
    client.send("GET /v1/keys/k HTTP/1.1\r\n");
    for _ in 0..10 {
        std::thread::sleep(Duration::from_millis(150));
        client.send("X: y\r\n");
    }
    let (closed, took) = timed(|| client.is_closed());
    assert!(closed && took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn a_slow_body_gets_408_and_stores_nothing() {
    let server = impatient();
    for head in ["Content-Length: 100", "Transfer-Encoding: chunked"] {
        let mut client = server.connect();
        client.send(format!("PUT /v1/keys/k HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n"));
        for _ in 0..4 {
            std::thread::sleep(Duration::from_millis(60));
            client.send("1\r\n1\r\n");
        }
        let reply = client.reply("PUT");
        reply.is_error(408, "request-timeout");
        assert_eq!(reply.header("connection"), Some("close"));
        assert!(client.is_closed());
    }
    server.get("/v1/keys/k").is(404);
}

#[test]
fn a_truncated_body_stores_nothing() {
    let server = Server::start();
    for request in [
        "PUT /v1/keys/k HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc",
        "PUT /v1/keys/k HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        "POST /set HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{\"key\":\"k\",\"value\":\"v\"}",
    ] {
        let mut client = server.connect();
        client.send(request);
        drop(client);
    }
    std::thread::sleep(Duration::from_millis(200));
    server.get("/v1/keys/k").is(404);
    assert_eq!(server.get("/stats").json()["items"], 0);
}

#[test]
fn a_request_cannot_hide_behind_another() {
    let server = Server::start();
    let hidden = "PUT /v1/keys/hidden HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx";
    // Both lengths: the body is the chunked one, and the connection ends with it.
    for head in
        ["Content-Length: 4\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 4"]
    {
        let mut client = server.connect();
        client.send(format!("PUT /v1/keys/k HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n0\r\n\r\n{hidden}"));
        assert!(client.reply("PUT").status < 500);
        assert!(client.is_closed(), "{head}");
    }
    for head in [
        "Content-Length: 0\r\nContent-Length: 5",
        "Content-Length: +5",
        "Content-Length: 5, 6",
        "Content-Length: 99999999999999999999999",
        "Transfer-Encoding: chunked, gzip",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding : chunked",
        "Bad Name: x",
        "X: a\r\n folded: b",
    ] {
        let mut client = server.connect();
        client.send(format!("PUT /v1/keys/k HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n{hidden}"));
        if let Some(reply) = client.try_reply("PUT") {
            reply.is(400);
        }
        assert!(client.is_closed(), "{head}");
    }
    let mut client = server.connect();
    client.send(format!("PUT /v1/keys/k HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"));
    client.try_reply("PUT");
    assert!(client.is_closed());
    server.get("/v1/keys/hidden").is(404);
}

#[test]
fn bad_chunks_are_refused() {
    let server = Server::start();
    for chunk in [
        "zz\r\nabc\r\n0\r\n\r\n",
        "-1\r\na\r\n0\r\n\r\n",
        "ffffffffffffffffff\r\na",
        "3\r\nabcd\r\n0\r\n\r\n",
    ] {
        let mut client = server.connect();
        client
            .send(format!("PUT /v1/keys/k HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}"));
        client.reply("PUT").is_error(400, "invalid-argument");
        assert!(client.is_closed(), "{chunk}");
    }
    server.get("/v1/keys/k").is(404);
}

#[test]
fn a_huge_header_block_is_refused() {
    let server = Server::start();
    let mut client = server.connect();
    client.send(format!("GET /v1/keys/k HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "y".repeat(70 << 10)));
    client.reply("GET").is(431);
    let mut client = server.connect();
    client.send(format!("GET /v1/keys/{} HTTP/1.1\r\nHost: x\r\n\r\n", "y".repeat(66 << 10)));
    let status = client.reply("GET").status;
    assert!(status == 414 || status == 431, "{status}");
}

#[test]
fn noise_is_not_http() {
    let server = Server::start();
    for noise in [
        "\0\0\0\0\r\n\r\n",
        "*1\r\n$4\r\nPING\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
        "GET\r\n\r\n",
    ] {
        let mut client = server.connect();
        client.send(noise);
        if let Some(reply) = client.try_reply("GET") {
            reply.is(400);
        }
        assert!(client.is_closed(), "{noise:?}");
    }
    server.get("/health").is(200);
}

#[test]
fn a_reply_to_a_client_that_still_sends_arrives() {
    let server = Server::start();
    // Far more than the socket buffers hold: the refusal must not be lost in a reset.
    let body = vec![0; 4 << 20];
    server.put("/v1/keys/k", &body).is_error(413, "value-too-large");
}

#[test]
fn a_client_that_takes_nothing_does_not_hold_its_connection() {
    let server = Server::with(|settings| {
        settings.http.stall_deadline = Duration::from_millis(300);
        settings.http.connections_max = 1;
    });
    server.put("/v1/keys/k", &vec![1; VALUE_MAX]).is(201);
    let mut stuck = server.connect();
    // Replies of many megabytes are asked for, and never read.
    for _ in 0..100 {
        stuck.send("GET /v1/keys/k HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    let (reply, took) = timed(|| server.get("/health"));
    reply.is(200);
    assert!(took < Duration::from_secs(10), "{took:?}");
    drop(stuck);
}

#[test]
fn connections_beyond_the_limit_wait() {
    let server = Server::with(|settings| settings.http.connections_max = 2);
    let mut first = server.connect();
    let mut second = server.connect();
    first.request("GET", "/health", &[], b"").is(200);
    second.request("GET", "/health", &[], b"").is(200);
    let mut third = Client::connect(server.address);
    third.send("GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
    std::thread::sleep(Duration::from_millis(100));
    drop(first);
    third.reply("GET").is(200);
}

#[test]
fn large_bodies_take_turns_in_memory() {
    let server = Server::with(|settings| {
        settings.http.body_bytes_max = 1;
        settings.http.body_deadline = Duration::from_millis(500);
    });
    // There is always room for four of the largest, here a little more: nine announce one and
    // send nothing, then nothing large is taken until they are given up.
    let head = format!("PUT /v1/keys/k HTTP/1.1\r\nHost: x\r\nContent-Length: {VALUE_MAX}\r\n\r\n");
    let mut clients: Vec<_> = (0..9).map(|_| server.connect()).collect();
    clients.iter_mut().for_each(|client| client.send(&head));
    std::thread::sleep(Duration::from_millis(100));
    let mut last = server.connect();
    last.send(&head);
    let reply = last.reply("PUT");
    assert!(matches!(reply.status, 503 | 408), "{}", reply.text());
    for mut client in clients {
        let reply = client.reply("PUT");
        assert!(matches!(reply.status, 503 | 408), "{}", reply.text());
    }
    server.put("/v1/keys/k", &vec![1; VALUE_MAX]).is(201);
}
