//! `/v1/keys` and `/v1/keys64`: bytes in, bytes out, and every way to get it wrong.

use std::{thread::sleep, time::Duration};

use super::fixture::{KEY_MAX, Server, VALUE_MAX};

#[test]
fn a_value_comes_back_as_it_was_stored() {
    let server = Server::start();
    let headers = [("Content-Type", "image/jpeg"), ("Request-Id", "my-id")];
    let put = server.request("PUT", "/v1/keys/img/1", &headers, b"\xff\xd8\x00");
    put.is(201);
    assert_eq!(put.header("emberkeep-durability"), Some("disk"));
    assert_eq!(put.etag(), format!("\"{}\"", put.header("emberkeep-seq").unwrap()));
    assert_eq!(put.header("request-id"), Some("my-id"));
    assert!(put.header("server").unwrap().starts_with("emberkeep/"));

    let get = server.get("/v1/keys/img/1");
    get.is(200);
    assert_eq!(get.body, b"\xff\xd8\x00");
    assert_eq!(get.etag(), put.etag());
    for (name, value) in [
        ("content-type", "image/jpeg"),
        ("x-content-type-options", "nosniff"),
        ("content-security-policy", "sandbox; default-src 'none'"),
        ("cross-origin-resource-policy", "same-origin"),
        ("cache-control", "no-store"),
    ] {
        assert_eq!(get.header(name), Some(value), "{name}");
    }
    assert_eq!(get.header("emberkeep-ttl-ms"), None);

    server.put("/v1/keys/img/1", b"other").is(204);
    let get = server.get("/v1/keys/img/1");
    assert_eq!((&*get.body, get.header("content-type")), (&b"other"[..], Some("application/octet-stream")));
    assert_ne!(get.etag(), put.etag());
}

#[test]
fn an_empty_value_and_the_largest_one_are_values() {
    let server = Server::start();
    for value in [vec![], vec![7; VALUE_MAX]] {
        server.put("/v1/keys/k", &value);
        let get = server.get("/v1/keys/k");
        get.is(200);
        assert!(get.body == value);
    }
}

#[test]
fn head_tells_everything_but_the_bytes_and_is_no_access() {
    let server = Server::start();
    server.put("/v1/keys/k", b"value").is(201);
    let head = server.request("HEAD", "/v1/keys/k", &[], b"");
    head.is(200);
    assert_eq!(head.header("content-length"), Some("5"));
    server.request("HEAD", "/v1/keys/none", &[], b"").is(404);
    let stats = server.get("/stats").json();
    assert_eq!((&stats["hits"], &stats["misses"]), (&0.into(), &0.into()));
}

#[test]
fn a_deleted_key_is_gone() {
    let server = Server::start();
    server.put("/v1/keys/k", b"value").is(201);
    let delete = server.request("DELETE", "/v1/keys/k", &[], b"");
    delete.is(204);
    assert_eq!(delete.header("emberkeep-durability"), Some("disk"));
    assert!(delete.header("emberkeep-seq").is_some() && delete.header("content-length").is_none());
    server.request("DELETE", "/v1/keys/k", &[], b"").is_error(404, "key-not-found");
    let get = server.get("/v1/keys/k");
    get.is_error(404, "key-not-found");
    assert_eq!(get.header("content-type"), Some("application/problem+json"));
    let problem = get.json();
    assert_eq!(problem["type"], "/problems/key-not-found");
    assert_eq!(problem["status"], 404);
    assert_eq!(problem["instance"].as_str(), get.header("request-id"));
}

#[test]
fn a_key_is_bytes() {
    let server = Server::start();
    let spellings: [(&str, &str); 6] = [
        ("/v1/keys/a%2Fb", "/v1/keys/a/b"),
        ("/v1/keys/%FF%00x", "/v1/keys64/_wB4"),
        ("/v1/keys/a+b", "/v1/keys/a%2Bb"),
        ("/v1/keys//lead//", "/v1/keys64/L2xlYWQvLw"),
        ("/v1/keys/a/../b", "/v1/keys64/YS8uLi9i"),
        ("/v1/keys64/Li4", "/v1/keys64/Li4"),
    ];
    for (one, other) in spellings {
        server.put(one, one.as_bytes()).is(201);
        assert_eq!(server.get(other).body, one.as_bytes(), "{one}");
    }
}

#[test]
fn keys_that_cannot_be_are_refused() {
    let server = Server::start();
    for target in [
        "/v1/keys/",
        "/v1/keys64/",
        "/v1/keys/.",
        "/v1/keys/..",
        "/v1/keys/%2e",
        "/v1/keys/%zz",
        "/v1/keys/%f",
        "/v1/keys64/a=",
        "/v1/keys64/a+",
    ] {
        server.put(target, b"v").is_error(400, "invalid-key");
        server.get(target).is_error(400, "invalid-key");
        server.request("DELETE", target, &[], b"").is_error(400, "invalid-key");
    }
    let longest = format!("/v1/keys/{}", "%ff".repeat(KEY_MAX));
    server.put(&longest, b"v").is(201);
    let too_long = format!("{longest}x");
    server.put(&too_long, b"v").is_error(413, "key-too-large");
    server.get(&too_long).is_error(413, "key-too-large");
}

#[test]
fn an_entry_expires_when_it_was_told() {
    let server = Server::start();
    let put = server.put("/v1/keys/k?ttl=1500ms", b"v");
    put.is(201);
    let at: u64 = put.header("emberkeep-expires-at").unwrap().parse().unwrap();
    let get = server.get("/v1/keys/k");
    get.is(200);
    assert_eq!(get.header("emberkeep-expires-at").unwrap(), at.to_string());
    let left: u64 = get.header("emberkeep-ttl-ms").unwrap().parse().unwrap();
    assert!(left <= 1500, "{left}");
    sleep(Duration::from_millis(1600));
    server.get("/v1/keys/k").is_error(404, "key-not-found");
    server.put("/v1/keys/k", b"v").is(201);
}

#[test]
fn a_lifetime_may_be_absolute_or_kept() {
    let server = Server::start();
    let at = server.put("/v1/keys/k?ttl=1h", b"v").header("emberkeep-expires-at").unwrap().to_owned();
    let kept = server.put("/v1/keys/k?keepttl=true", b"w");
    kept.is(204);
    assert_eq!(kept.header("emberkeep-expires-at"), Some(&*at));
    assert_eq!(server.get("/v1/keys/k").header("emberkeep-expires-at"), Some(&*at));
    let put = server.put(&format!("/v1/keys/j?expires_at={at}"), b"v");
    assert_eq!(put.header("emberkeep-expires-at"), Some(&*at));
    server.put("/v1/keys/k", b"v").is(204);
    assert_eq!(server.get("/v1/keys/k").header("emberkeep-expires-at"), None);
}

#[test]
fn bad_lifetimes_are_refused_and_nothing_is_stored() {
    let server = Server::start();
    for ttl in [
        "0",
        "-1",
        "abc",
        "",
        "1e3",
        "99999999999999999999",
        "9007199254740991",
        "0.0001",
        "5x",
        "%FF",
        "%2B5",
    ] {
        let put = server.put(&format!("/v1/keys/k?ttl={ttl}"), b"v");
        let code = if ttl == "%FF" { "invalid-argument" } else { "invalid-ttl" };
        put.is_error(400, code);
    }
    for at in ["0", "1", "x", "-1", "9007199254740992"] {
        server.put(&format!("/v1/keys/k?expires_at={at}"), b"v").is_error(400, "invalid-ttl");
    }
    for query in [
        "ttl=1&expires_at=9999999999999",
        "ttl=1&keepttl=true",
        "keepttl=yes",
        "ttl=1&ttl=2",
        "tll=1",
        "peek=true",
    ] {
        server.put(&format!("/v1/keys/k?{query}"), b"v").is_error(400, "invalid-argument");
    }
    assert!(server.put("/v1/keys/k?tll=1", b"v").json()["detail"].as_str().unwrap().contains("tll"));
    server.get("/v1/keys/k?x=1").is_error(400, "invalid-argument");
    server.get("/v1/keys/k").is(404);
}

#[test]
fn values_over_the_limit_are_refused() {
    let server = Server::start();
    let big = vec![0; VALUE_MAX + 1];
    server.put("/v1/keys/k", &big).is_error(413, "value-too-large");
    let mut client = server.connect();
    client.send("PUT /v1/keys/k HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    let chunk = format!("{:x}\r\n{}\r\n", 1 << 15, "x".repeat(1 << 15));
    for _ in 0..=VALUE_MAX >> 15 {
        client.send(&chunk);
    }
    client.reply("PUT").is_error(413, "value-too-large");
    server.get("/v1/keys/k").is(404);
}

#[test]
fn a_chunked_body_is_a_body() {
    let server = Server::start();
    let mut client = server.connect();
    client.send("PUT /v1/keys/k HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
    client.reply("PUT").is(201);
    assert_eq!(client.request("GET", "/v1/keys/k", &[], b"").body, b"abcde");
}

#[test]
fn the_verdict_comes_before_the_body() {
    let server = Server::start();
    let mut client = server.connect();
    client.send(format!(
        "PUT /v1/keys/k HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        1 << 30
    ));
    client.reply("PUT").is_error(413, "value-too-large");
    let mut client = server.connect();
    client.send("PUT /v1/keys/k HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    client.reply("PUT").is(100);
    client.send("abcde");
    client.reply("PUT").is(201);
}

#[test]
fn what_a_put_cannot_mean_is_refused() {
    let server = Server::start();
    let refused = |headers: &[(&str, &str)], status, code| {
        server.request("PUT", "/v1/keys/k", headers, b"v").is_error(status, code);
    };
    refused(&[("Content-Encoding", "gzip")], 415, "unsupported-encoding");
    refused(&[("Content-Range", "bytes 0-0/9")], 400, "invalid-argument");
    refused(&[("Content-Type", &"x".repeat(256))], 400, "invalid-argument");
    refused(&[("Content-Type", "text/é")], 400, "invalid-argument");
    refused(&[("Content-Type", "a/b"), ("Content-Type", "c/d")], 400, "invalid-argument");
    refused(&[("Emberkeep-Durability", "platinum")], 400, "invalid-argument");
    refused(&[("Emberkeep-Durability", "os")], 400, "invalid-argument");
    refused(&[("Emberkeep-Durability", "memory")], 400, "invalid-argument");
    refused(&[("X-Consistency-Level", "MOST")], 400, "invalid-consistency-level");
    refused(&[("Origin", "http://evil.example")], 403, "cross-site-write");
    refused(&[("Sec-Fetch-Site", "cross-site")], 403, "cross-site-write");
    server.get("/v1/keys/k").is(404);
    server.request("PUT", "/v1/keys/k", &[("Content-Encoding", "identity")], b"v").is(201);
    let read = server.request(
        "GET",
        "/v1/keys/k",
        &[("Origin", "http://x"), ("X-Consistency-Level", "quorum")],
        b"",
    );
    read.is(200);
    assert_eq!(read.header("x-consistency-level"), Some("QUORUM"));
}

#[test]
fn durability_can_be_raised_and_where_allowed_lowered() {
    let server = Server::with(|settings| {
        settings.engine.fsync = emberkeep::node::Fsync::Interval;
        settings.engine.allow_downgrade = true;
    });
    assert_eq!(server.put("/v1/keys/k", b"v").header("emberkeep-durability"), Some("os"));
    for level in ["disk", "os", "memory"] {
        let put = server.request("PUT", "/v1/keys/k", &[("Emberkeep-Durability", level)], b"v");
        let reached = put.is(204).header("emberkeep-durability").unwrap();
        let order = ["memory", "os", "disk"];
        let at = |level| order.iter().position(|known| *known == level).unwrap();
        assert!(at(reached) >= at(level), "asked {level}, reached {reached}");
    }
}

#[test]
fn what_is_not_there_says_so() {
    let server = Server::start();
    server.get("/v1/nothing").is_error(404, "not-found");
    server.get("/nothing").is_error(404, "not-found");
    server.get("/v1/keys").is_error(404, "not-found");
    let patch = server.request("PATCH", "/v1/keys/k", &[], b"");
    patch.is_error(405, "method-not-allowed");
    let allow = patch.header("allow").unwrap();
    for method in ["GET", "HEAD", "PUT", "DELETE"] {
        assert!(allow.contains(method), "{allow}");
    }
    assert!(patch.header("request-id").is_some());
}

#[test]
fn a_connection_carries_many_requests() {
    let server = Server::start();
    let mut client = server.connect();
    for n in 0..20 {
        client.request("PUT", &format!("/v1/keys/{n}"), &[], b"v").is(201);
        client.request("GET", "/v1/keys/none", &[], b"").is(404);
    }
    // Pipelined: answered in order.
    client.send("GET /v1/keys/1 HTTP/1.1\r\nHost: x\r\n\r\nGET /v1/keys/none HTTP/1.1\r\nHost: x\r\n\r\n");
    client.reply("GET").is(200);
    client.reply("GET").is(404);
}

#[test]
fn an_own_request_id_is_taken_only_if_it_is_harmless() {
    let server = Server::start();
    let id = |given: &str| {
        server
            .request("GET", "/v1/keys/k", &[("Request-Id", given)], b"")
            .header("request-id")
            .unwrap()
            .to_owned()
    };
    assert_eq!(id("abc-1"), "abc-1");
    assert_ne!(id(&"x".repeat(129)), "x".repeat(129));
    assert_ne!(id("a b"), "a b");
    assert_ne!(id(""), id(""));
}
