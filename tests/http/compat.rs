//! The wire-compatible endpoints.

use serde_json::json;

use super::fixture::{Server, VALUE_MAX};

#[test]
fn set_and_get_as_everybody_writes_them() {
    let server = Server::start();
    let set = server.post("/set", r#"{"key":"user:123","value":"John Doe","ttl":3600}"#);
    set.is(200);
    let seq = set.header("emberkeep-seq").unwrap().to_owned();
    assert_eq!(
        set.json(),
        json!({"status":"ok","message":"stored","key":"user:123","version":seq,"ttl":3600,"durability":"disk"})
    );
    assert_eq!(set.etag(), format!("\"{seq}\""));
    assert!(set.header("emberkeep-expires-at").is_some());
    let get = server.get("/get?key=user:123");
    assert_eq!((get.status, get.text()), (200, "John Doe"));
    assert_eq!(get.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(get.header("x-content-type-options"), Some("nosniff"));

    let json = server.request("GET", "/get?key=user:123", &[("Accept", "application/json")], b"").json();
    assert_eq!(
        (&json["status"], &json["key"], &json["value"]),
        (&json!("ok"), &json!("user:123"), &json!("John Doe"))
    );
    assert_eq!(json["version"], seq);
    assert!(json["ttl"].as_f64().unwrap() > 3590.0);
}

#[test]
fn set_by_get() {
    let server = Server::start();
    let set = server.get("/set?key=a%20b&value=hello+there&ttl=60");
    assert_eq!(set.json()["ttl"], 60);
    assert_eq!(set.header("allow"), Some("POST"));
    assert_eq!(server.get("/get?key=a+b").text(), "hello there");
    assert_eq!(server.get("/set?key=k&value=").json()["ttl"], json!(null));
    assert_eq!(server.get("/get?key=k").is(200).body, b"");
}

#[test]
fn a_json_value_is_stored_as_it_was_written() {
    let server = Server::start();
    server.post("/set", r#"{"key":"k","value":{"b":1.0,"a":[null]}}"#).is(200);
    let get = server.get("/get?key=k");
    assert_eq!(
        (get.text(), get.header("content-type")),
        (r#"{"b":1.0,"a":[null]}"#, Some("application/json"))
    );
}

#[test]
fn bytes_travel_as_base64() {
    let server = Server::start();
    let set = server.post("/set", r#"{"key64":"_wA","value64":"AP8"}"#).json();
    assert_eq!((&set["key64"], &set["key"]), (&json!("_wA"), &json!(null)));
    assert_eq!(server.get("/get?key64=_wA").body, b"\0\xff");
    assert_eq!(server.get("/get?key=%FF%00").body, b"\0\xff");
    let json = server
        .request("GET", "/get?key64=_wA", &[("Accept", "text/html, application/json;q=0.9")], b"")
        .json();
    assert_eq!((&json["key64"], &json["value64"]), (&json!("_wA"), &json!("AP8")));
}

#[test]
fn delete_tells_whether_there_was_something() {
    let server = Server::start();
    let delete =
        |method: &str, target: &str, body: &str| server.request(method, target, &[], body.as_bytes()).json();
    server.put("/v1/keys/k", b"v").is(201);
    assert_eq!(delete("POST", "/delete", r#"{"key":"k"}"#), json!({"status":"ok","deleted":true}));
    assert_eq!(delete("DELETE", "/delete?key=k", ""), json!({"status":"ok","deleted":false}));
    server.put("/v1/keys/k", b"v").is(201);
    assert_eq!(delete("DELETE", "/delete?key64=aw", ""), json!({"status":"ok","deleted":true}));
}

#[test]
fn errors_have_the_compatible_form() {
    let server = Server::start();
    let missing = server.get("/get?key=none");
    missing.is(404);
    assert_eq!(missing.json(), json!({"status":"error","message":"key not found","code":"key-not-found"}));
    assert_eq!(missing.header("content-type"), Some("application/json"));
    server
        .request("GET", "/get?key=none", &[("Accept", "application/json")], b"")
        .is_error(404, "key-not-found");
    server.request("PUT", "/set", &[], b"").is_error(405, "method-not-allowed");
}

#[test]
fn bad_input_is_refused_and_nothing_is_stored() {
    let server = Server::start();
    let table = [
        ("", "invalid-argument"),
        ("{", "invalid-argument"),
        ("[1]", "invalid-argument"),
        ("\u{feff}{}", "invalid-argument"),
        (r#"{"key":"k"}"#, "invalid-argument"),
        (r#"{"key":"k","value":"v","extra":1}"#, "invalid-argument"),
        (r#"{"key":"k","value":"v","value":"w"}"#, "invalid-argument"),
        (r#"{"key":"","value":"v"}"#, "invalid-key"),
        (r#"{"key64":"a=","value":"v"}"#, "invalid-key"),
        (r#"{"key":"k","value":"v","ttl":0}"#, "invalid-ttl"),
        (r#"{"key":"k","value":"v","ttl":-5}"#, "invalid-ttl"),
        (r#"{"key":"k","value":"v","ttl":1e400}"#, "invalid-ttl"),
        (r#"{"key":"k","value":"v","ttl":"soon"}"#, "invalid-ttl"),
    ];
    for (json, code) in table {
        server.post("/set", json).is_error(400, code);
    }
    server
        .request("POST", "/set", &[], b"{\"key\":\"k\",\"value\":\"\xff\"}")
        .is_error(400, "invalid-argument");
    for target in [
        "/set",
        "/set?key=k",
        "/set?value=v",
        "/set?key=k&value=v&x=1",
        "/set?key=k&key=k&value=v",
        "/get",
        "/get?kye=k",
    ] {
        server.get(target).is_error(400, "invalid-argument");
    }
    server.get("/set?key=&value=v").is_error(400, "invalid-key");
    server.get("/set?key=k&value=v&ttl=0").is_error(400, "invalid-ttl");
    let long = "k".repeat(2000);
    server.post("/set", &json!({"key": long, "value": "v"}).to_string()).is_error(413, "key-too-large");
    server.get(&format!("/get?key={long}")).is_error(413, "key-too-large");
    let big = "v".repeat(VALUE_MAX + 1);
    server.post("/set", &json!({"key": "k", "value": big}).to_string()).is_error(413, "value-too-large");
    server.post("/set", &" ".repeat(3 * VALUE_MAX)).is_error(413, "value-too-large");
    server.post("/set?x=1", r#"{"key":"k","value":"v"}"#).is_error(400, "invalid-argument");
    server.post("/delete", "{}").is_error(400, "invalid-argument");
    assert_eq!(server.get("/stats").json()["items"], 0);
}

#[test]
fn a_page_in_a_browser_cannot_write() {
    let server = Server::start();
    let fences: [(&str, &str); 2] = [("Sec-Fetch-Site", "cross-site"), ("Origin", "null")];
    for fence in fences {
        for target in ["/set?key=k&value=v", "/save", "/load"] {
            server.request("GET", target, &[fence], b"").is_error(403, "cross-site-write");
        }
        server
            .request("POST", "/set", &[fence], br#"{"key":"k","value":"v"}"#)
            .is_error(403, "cross-site-write");
        server.request("DELETE", "/delete?key=k", &[fence], b"").is_error(403, "cross-site-write");
        server.request("GET", "/health", &[fence], b"").is(200);
    }
    server.request("GET", "/set?key=k&value=v", &[("Sec-Fetch-Site", "none")], b"").is(200);
}

#[test]
fn the_consistency_level_is_checked_and_echoed() {
    let server = Server::start();
    let get = server.request("GET", "/set?key=k&value=v", &[("X-Consistency-Level", "all")], b"");
    assert_eq!(get.is(200).header("x-consistency-level"), Some("ALL"));
    server
        .request("GET", "/get?key=k", &[("X-Consistency-Level", "2")], b"")
        .is_error(400, "invalid-consistency-level");
}

#[test]
fn the_server_says_how_it_is() {
    let server = Server::start();
    let root = server.get("/");
    assert!(root.is(200).text().starts_with("emberkeep "), "{}", root.text());
    server.put("/v1/keys/k", b"v").is(201);
    server.get("/get?key=k").is(200);
    server.get("/get?key=none").is(404);
    let health = server.get("/health").json();
    assert_eq!((&health["status"], &health["role"]), (&json!("ok"), &json!("standalone")));
    let stats = server.get("/stats").json();
    for (name, value) in [
        ("hits", json!(1)),
        ("misses", json!(1)),
        ("hit_ratio", json!(0.5)),
        ("items", json!(1)),
        ("policy", json!("s3fifo")),
    ] {
        assert_eq!(stats[name], value, "{name}");
    }
}
