//! `/v1/config`, and what a cache that evicts nobody answers.

use emberkeep::node::Eviction;

use super::fixture::Server;

fn patch(server: &Server, body: &str) -> super::fixture::Reply {
    server.request("PATCH", "/v1/config", &[("Content-Type", "application/json")], body.as_bytes())
}

#[test]
fn the_settings_in_force_are_told() {
    let server = Server::with(|settings| settings.engine.max_items = Some(100));
    let config = server.get("/v1/config").is(200).json();
    let expected = serde_json::json!({
        "eviction": "s3fifo", "eviction_at_start": "s3fifo",
        "max_bytes": 1 << 30, "max_items": 100, "fsync": "always",
    });
    assert_eq!(config, expected);
}

#[test]
fn the_policy_is_switched_while_entries_stay_and_the_next_start_takes_the_flag_again() {
    let server = Server::with(|settings| settings.engine.max_items = Some(300));
    let mut client = server.connect();
    (0..300).for_each(|n| drop(client.request("PUT", &format!("/v1/keys/{n}"), &[], b"v")));
    for policy in ["lru", "lfu", "ttl", "random", "sieve", "wtinylfu", "fifo", "s3fifo", "noeviction"] {
        let reply = patch(&server, &format!("{{\"eviction\":\"{policy}\"}}"));
        assert_eq!(reply.is(200).json()["eviction"], policy);
        let stats = server.get("/stats").json();
        assert_eq!((stats["policy"].as_str(), &stats["items"]), (Some(policy), &300.into()));
    }
    server.put("/v1/keys/one-more", b"v").is_error(507, "storage-full");

    let server = Server::over(server.stop(), |settings| settings.engine.max_items = Some(300));
    assert_eq!(server.get("/v1/config").json()["eviction"], "s3fifo");
    assert_eq!(server.get("/stats").json()["items"], 300);
}

#[test]
fn what_cannot_be_changed_is_refused_by_name() {
    let server = Server::start();
    for (body, named) in [
        ("{\"eviction\":\"lru\",\"max_bytes\":1}", "max_bytes"),
        ("{\"eviction\":\"mru\"}", "noeviction"),
        ("{}", "changes nothing"),
        ("eviction=lru", "{\"eviction\":\"lru\"}"),
    ] {
        let reply = patch(&server, body);
        reply.is_error(400, "invalid-argument");
        assert!(reply.json()["detail"].as_str().unwrap().contains(named), "{}", reply.text());
    }
    assert_eq!(server.get("/v1/config").json()["eviction"], "s3fifo");
    let from_a_page = [("Sec-Fetch-Site", "cross-site"), ("Content-Type", "application/json")];
    server
        .request("PATCH", "/v1/config", &from_a_page, b"{\"eviction\":\"lru\"}")
        .is_error(403, "cross-site-write");
    server.get("/v1/config?x=1").is_error(400, "invalid-argument");
    server.put("/v1/config", b"{}").is_error(405, "method-not-allowed");
}

#[test]
fn without_eviction_a_full_cache_says_so_and_deletes_work() {
    let server = Server::with(|settings| {
        settings.engine.max_items = Some(2);
        settings.engine.eviction = Eviction::NoEviction;
    });
    server.put("/v1/keys/a", b"v").is(201);
    server.put("/v1/keys/b", b"v").is(201);
    let refused = server.put("/v1/keys/c", b"v");
    refused.is_error(507, "storage-full");
    let detail = refused.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("noeviction") && detail.contains("delete"), "{detail}");
    server.put("/v1/keys/a", b"w").is(204);
    server.request("DELETE", "/v1/keys/a", &[], b"").is(204);
    server.put("/v1/keys/c", b"v").is(201);
}
