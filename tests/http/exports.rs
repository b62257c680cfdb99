//! `/save` and `/load`: what comes out goes back in, and nothing else does.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::fixture::{Server, VALUE_MAX};

fn file(server: &Server, name: &str) -> PathBuf {
    server.dir.path().join("data/exports").join(name)
}

#[expect(clippy::disallowed_methods, reason = "a test plays the user who looks at the file")]
fn read(server: &Server, name: &str) -> Vec<u8> {
    std::fs::read(file(server, name)).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "a test plays the user who brings a file")]
fn write(server: &Server, name: &str, bytes: &[u8]) {
    std::fs::create_dir_all(file(server, "")).unwrap();
    std::fs::write(file(server, name), bytes).unwrap();
}

/// Text, bytes, an empty value, a large one, one that expires later and one that expires now.
fn fill(server: &Server) {
    server
        .request("PUT", "/v1/keys/text", &[("Content-Type", "text/plain")], "héllo \"x\"\n".as_bytes())
        .is(201);
    server.put("/v1/keys/%FF%00", b"\x00\xfe").is(201);
    server.put("/v1/keys/empty?ttl=1h", b"").is(201);
    server.put("/v1/keys/large", &vec![b'x'; VALUE_MAX]).is(201);
    server.put("/v1/keys/short?ttl=1ms", b"gone").is(201);
    std::thread::sleep(std::time::Duration::from_millis(20));
}

fn holds_everything(server: &Server, expires_at: &str) {
    let text = server.get("/v1/keys/text");
    assert_eq!((text.text(), text.header("content-type")), ("héllo \"x\"\n", Some("text/plain")));
    assert_eq!(server.get("/v1/keys/%FF%00").is(200).body, b"\x00\xfe");
    let empty = server.get("/v1/keys/empty");
    assert_eq!(empty.is(200).header("emberkeep-expires-at"), Some(expires_at));
    assert_eq!(server.get("/v1/keys/large").is(200).body.len(), VALUE_MAX);
    server.get("/v1/keys/short").is(404);
}

#[test]
fn what_was_saved_is_loaded_into_another_server() {
    for name in ["backup.json", "backup.hfs"] {
        let one = Server::start();
        fill(&one);
        let expires_at = one.get("/v1/keys/empty").header("emberkeep-expires-at").unwrap().to_owned();
        let saved = one.get(&format!("/save?file={name}")).json();
        assert_eq!(
            (&saved["status"], &saved["message"], &saved["file"], &saved["keys"]),
            (&json!("ok"), &json!("saved"), &json!(name), &json!(4))
        );
        assert_eq!(saved["bytes"], read(&one, name).len());

        let other = Server::start();
        other.put("/v1/keys/own", b"stays").is(201);
        write(&other, name, &read(&one, name));
        let loaded = other.post("/load", &json!({ "file": name }).to_string()).json();
        assert_eq!(loaded, json!({"status":"ok","message":"loaded","keys":4,"expired_skipped":0}), "{name}");
        holds_everything(&other, &expires_at);
        other.get("/v1/keys/own").is(200);
        // What was loaded went through the log.
        let again = Server::over(other.stop(), |_| ());
        holds_everything(&again, &expires_at);
    }
}

#[test]
fn the_default_is_readable() {
    let server = Server::start();
    server.put("/v1/keys/a", b"1").is(201);
    assert_eq!(server.post("/save", "").json()["file"], "cache.json");
    assert_eq!(server.get("/save").is(200).json()["keys"], 1);
    let entries: Value = serde_json::from_slice(&read(&server, "cache.json")).unwrap();
    assert_eq!(entries, json!([{"key":"a","value":"1"}]));
    assert_eq!(server.get("/load").json()["keys"], 1);
}

#[test]
fn an_empty_cache_is_saved_and_loaded() {
    let server = Server::start();
    for name in ["e.json", "e.hfs"] {
        assert_eq!(server.get(&format!("/save?file={name}")).json()["keys"], 0);
        assert_eq!(server.get(&format!("/load?file={name}")).is(200).json()["keys"], 0);
    }
}

#[test]
fn a_json_file_may_be_written_by_others() {
    let server = Server::start();
    let text = "\n[ {\n \"value\" : \"1\" , \"key\" : \"a\" } ,{\"key64\":\"Yg\",\"value64\":\"Mg\",\"expires_at\":1},{\"key\":\"c\",\"value\":\"3\",\"content_type\":null}\n]";
    write(&server, "own.json", text.as_bytes());
    let loaded = server.get("/load?file=own.json").json();
    assert_eq!(loaded, json!({"status":"ok","message":"loaded","keys":2,"expired_skipped":1}));
    assert_eq!(server.get("/v1/keys/a").body, b"1");
    server.get("/v1/keys/b").is(404);
}

/// The bytes of version 1; every later release must read them.
#[test]
fn an_export_of_version_1_is_loaded() {
    let files: [(&str, &[u8]); 2] = [
        ("v1.hfs", include_bytes!("../golden/v1/export.hfs")),
        ("v1.json", include_bytes!("../golden/v1/export.json")),
    ];
    for (name, bytes) in files {
        let server = Server::start();
        write(&server, name, bytes);
        let loaded = server.get(&format!("/load?file={name}"));
        assert_eq!(loaded.is(200).json()["keys"], 2, "{name}");
        let plain = server.get("/v1/keys/plain");
        assert_eq!((plain.text(), plain.header("content-type")), ("value", Some("text/plain")));
        assert_eq!(plain.header("emberkeep-expires-at"), Some("4102444800000"), "{name}");
        assert_eq!(server.get("/v1/keys/%FF%00").is(200).body, [0xfe, 1, 2], "{name}");
    }
}

#[test]
fn a_file_is_a_bare_name_inside_exports() {
    let server = Server::start();
    for name in [
        "../cache.json",
        "..%2Fcache.json",
        "%2Fetc%2Fpasswd",
        "a%2Fb.json",
        "a%5Cb.json",
        ".hidden.json",
        "a%00.json",
        "..json",
        "",
        ".",
        "..",
        "cache",
        "MANIFEST",
        "x.txt",
        "%FF.json",
    ] {
        server.get(&format!("/save?file={name}")).is_error(400, "invalid-argument");
        server.get(&format!("/load?file={name}")).is_error(400, "invalid-argument");
    }
    server.get(&format!("/save?file={}.json", "x".repeat(130))).is_error(400, "invalid-argument");
    server.get("/save?path=x.json").is_error(400, "invalid-argument");
    server.post("/save", r#"{"file":"../x.json"}"#).is_error(400, "invalid-argument");
    server.post("/save", r#"{"path":"x.json"}"#).is_error(400, "invalid-argument");
    server.get("/load?file=none.json").is_error(404, "export-not-found");
    server.get("/load?file=none.hfs").is_error(404, "export-not-found");
}

#[test]
fn a_damaged_binary_export_loads_nothing() {
    let server = Server::start();
    for n in 0..20 {
        server.put(&format!("/v1/keys/{n}?ttl=1h"), format!("value {n}").as_bytes()).is(201);
    }
    server.get("/save?file=good.hfs").is(200);
    let good = read(&server, "good.hfs");
    let other = Server::start();
    let loads_nothing = |bytes: &[u8], what: &str| {
        write(&other, "bad.hfs", bytes);
        let reply = other.get("/load?file=bad.hfs");
        assert_eq!((reply.status, &reply.json()["code"]), (422, &json!("corrupt-export")), "{what}");
    };
    for at in (0..good.len()).step_by(7) {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        loads_nothing(&bad, &format!("bit flipped in byte {at}"));
    }
    for len in (0..good.len()).step_by(61) {
        loads_nothing(&good[..len], &format!("cut at {len}"));
    }
    loads_nothing(&[&good[..], b"x"].concat(), "something behind");
    assert_eq!(other.get("/stats").json()["items"], 0);
    write(&other, "good.hfs", &good);
    assert_eq!(other.get("/load?file=good.hfs").json()["keys"], 20);
}

#[test]
fn a_damaged_json_export_loads_nothing() {
    let server = Server::start();
    for text in [
        "",
        "[",
        "{}",
        "[{\"key\":\"a\",\"value\":\"1\"}",
        "[{\"key\":\"a\",\"value\":\"1\"},]",
        "[{\"key\":\"a\",\"value\":\"1\"}] x",
        "[{\"key\":\"a\",\"value\":\"1\"},{\"key\":\"\",\"value\":\"1\"}]",
        "[{\"key\":\"a\",\"value\":\"1\"},{\"key\":\"b\"}]",
        "[{\"key\":\"a\",\"value\":\"1\"},{\"key\":\"b\",\"value\":\"1\",\"ttl\":5}]",
        "[{\"key\":\"a\",\"value64\":\"=\"}]",
        "[{\"key\":\"a\",\"value\":\"1\",\"content_type\":\"\\u0000\"}]",
        "[{\"key\":\"a\",\"value\":\"1\",\"expires_at\":-1}]",
    ] {
        write(&server, "bad.json", text.as_bytes());
        server.get("/load?file=bad.json").is_error(422, "corrupt-export");
    }
    let large = json!([{"key": "a", "value": "x"}, {"key": "b", "value": "x".repeat(VALUE_MAX + 1)}]);
    write(&server, "bad.json", large.to_string().as_bytes());
    server.get("/load?file=bad.json").is_error(422, "corrupt-export");
    assert_eq!(server.get("/stats").json()["items"], 0);
}

#[test]
fn a_save_replaces_the_file_and_leaves_no_other() {
    let server = Server::start();
    server.put("/v1/keys/a", b"1").is(201);
    server.get("/save").is(200);
    // What a crash in the middle of a save leaves behind.
    write(&server, ".cache.json.tmp", b"half");
    server.put("/v1/keys/b", b"2").is(201);
    assert_eq!(server.get("/save").json()["keys"], 2);
    #[expect(clippy::disallowed_methods, reason = "a test plays the user who looks at the directory")]
    let names: Vec<_> =
        std::fs::read_dir(file(&server, "")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["cache.json"]);
}
