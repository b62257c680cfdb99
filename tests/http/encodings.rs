//! Which form of a value a client gets, and that nobody but the engine stores compressed bytes.

use emberkeep::node::Codec;
use emberkeep_storage::{compress::inflate, format::op::Encoding};
use serde_json::json;

use super::fixture::{Reply, Server, VALUE_MAX};

fn text(len: usize) -> Vec<u8> {
    (0..).flat_map(|n| format!("{{\"id\":{n},\"at\":{}}}\n", n * 7919).into_bytes()).take(len).collect()
}

/// A server that compresses like this.
fn server(codec: Option<Codec>) -> Server {
    Server::with(|settings| settings.engine.compress = codec)
}

/// The body as the client would understand it.
fn understood(reply: &Reply, raw_len: usize) -> Vec<u8> {
    let codec = match reply.header("content-encoding") {
        None => return reply.body.clone(),
        Some("zstd") => 1,
        Some("gzip") => 2,
        Some(other) => panic!("{other}"),
    };
    inflate(&reply.body, Encoding { codec, raw_len: raw_len as u32 }).unwrap()
}

const NAMES: [(Option<Codec>, Option<&str>); 3] =
    [(None, None), (Some(Codec::Zstd), Some("zstd")), (Some(Codec::Gzip), Some("gzip"))];

/// GET and HEAD, every codec, every way to ask for a coding, every condition: one form is chosen,
/// and status, headers and body agree with it.
#[test]
fn every_reply_agrees_with_the_form_that_is_chosen() {
    let value = text(6000);
    for (codec, stored) in NAMES {
        let server = server(codec);
        let version = server.put("/v1/keys/k", &value).is(201).etag().trim_matches('"').to_owned();
        // What is asked for, and whether the stored form and the plain form will do.
        for (accept, takes_zstd, takes_gzip, takes_plain) in [
            (None, false, false, true),
            (Some(""), false, false, true),
            (Some("gzip"), false, true, true),
            (Some("zstd"), true, false, true),
            (Some("gzip, deflate, br, zstd"), true, true, true),
            (Some("*"), true, true, true),
            (Some("gzip;q=0.3, zstd;q=0.2, identity;q=0.1"), true, true, true),
            (Some("gzip;q=0.3, zstd;q=0.2, identity"), false, false, true),
            (Some("gzip, identity;q=0"), false, true, false),
            (Some("zstd, *;q=0"), true, false, false),
            (Some("identity;q=0"), false, false, false),
        ] {
            let form = match stored {
                Some("zstd") if takes_zstd => stored,
                Some("gzip") if takes_gzip => stored,
                _ => None,
            };
            let tag = form.map_or(format!("\"{version}\""), |form| format!("\"{version}-{form}\""));
            for (if_none_match, has_it) in [
                (None, false),
                (Some(format!("\"{version}\"")), true),
                (Some(format!("\"{version}-zstd\"")), true),
                (Some(format!("W/\"{version}-gzip\"")), true),
                (Some("\"1234567\", \"1234567-zstd\"".to_owned()), false),
            ] {
                let mut headers = Vec::new();
                headers.extend(accept.map(|accept| ("Accept-Encoding", accept)));
                headers.extend(if_none_match.as_deref().map(|tag| ("If-None-Match", tag)));
                let what = format!("{stored:?} {headers:?}");
                let get = server.request("GET", "/v1/keys/k", &headers, b"");
                let head = server.request("HEAD", "/v1/keys/k", &headers, b"");
                assert_eq!(head.status, get.status, "{what}");
                if form.is_none() && !takes_plain {
                    get.is_error(406, "not-acceptable");
                    continue;
                }
                for name in ["etag", "vary", "content-length", "content-encoding", "content-type"] {
                    assert_eq!(head.header(name), get.header(name), "{name} {what}");
                }
                assert_eq!(get.etag(), tag, "{what}");
                assert_eq!(get.header("vary"), Some("accept-encoding"), "{what}");
                if has_it {
                    get.is(304);
                    assert!(
                        get.header("content-encoding").is_none() && get.header("content-length").is_none()
                    );
                    continue;
                }
                get.is(200);
                assert_eq!(get.header("content-encoding"), form, "{what}");
                assert_eq!(get.header("content-length").unwrap(), get.body.len().to_string());
                assert!(form.is_none() || get.body.len() < value.len() / 2, "{what}");
                assert!(understood(&get, value.len()) == value, "{what}");
            }
        }
    }
}

#[test]
fn a_write_may_name_any_form_of_the_version_that_it_replaces() {
    let server = server(Some(Codec::Gzip));
    let mut tag = server.put("/v1/keys/k", &text(3000)).etag();
    for form in ["", "-zstd", "-gzip"] {
        let named = format!("{}{form}\"", tag.trim_end_matches('"'));
        server.request("PUT", "/v1/keys/k", &[("If-None-Match", &named)], &text(3000)).is(412);
        server.request("PUT", "/v1/keys/k", &[("If-Match", "\"1-gzip\"")], &text(3000)).is(412);
        let put = server.request("PUT", "/v1/keys/k", &[("If-Match", &named)], &text(3000));
        tag = put.is(204).etag();
    }
    let read = server.request("GET", "/v1/keys/k", &[("Accept-Encoding", "gzip")], b"");
    assert_eq!(read.etag(), format!("{}-gzip\"", tag.trim_end_matches('"')));
    server.request("DELETE", "/v1/keys/k", &[("If-Match", &read.etag())], b"").is(204);
}

/// Above 64 KiB the work is done elsewhere and room is taken for what is inflated.
#[test]
fn large_values_come_back_whole_also_many_at_once() {
    for (codec, stored) in NAMES {
        let server = server(codec);
        for len in [65_536, 65_537, VALUE_MAX] {
            server.put("/v1/keys/k", &text(len));
            let coded = server.request("GET", "/v1/keys/k", &[("Accept-Encoding", "zstd, gzip")], b"");
            assert_eq!(coded.header("content-encoding"), stored, "{len}");
            assert!(understood(&coded, len) == text(len));
        }
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| assert!(server.get("/v1/keys/k").is(200).body == text(VALUE_MAX)));
            }
        });
        server.put("/v1/keys/k", &text(VALUE_MAX + 1)).is_error(413, "value-too-large");
    }
}

#[test]
fn the_compatible_endpoints_give_the_value_as_it_was_set() {
    let server = server(Some(Codec::Zstd));
    let value = String::from_utf8(text(4000)).unwrap();
    server.post("/set", &json!({"key": "k", "value": value}).to_string()).is(200);
    let plain = server.get("/get?key=k");
    assert_eq!((plain.text(), plain.header("content-encoding")), (&*value, None));
    let coded = server.request("GET", "/get?key=k", &[("Accept-Encoding", "zstd")], b"");
    assert_eq!(coded.header("content-encoding"), Some("zstd"));
    assert!(understood(&coded, 4000) == value.as_bytes());
    let json = server.request(
        "GET",
        "/get?key=k",
        &[("Accept", "application/json"), ("Accept-Encoding", "zstd")],
        b"",
    );
    assert_eq!((json.json()["value"].as_str(), json.header("content-encoding")), (Some(&*value), None));
}

/// A stream that inflates to a thousand times its length, handed in by every door: refused as such,
/// or stored as the bytes that it is.
#[test]
fn a_bomb_cannot_be_stored_as_compressed() {
    let bomb = {
        let server = server(Some(Codec::Zstd));
        server.put("/v1/keys/k", &vec![0; VALUE_MAX]).is(201);
        server.request("GET", "/v1/keys/k", &[("Accept-Encoding", "zstd")], b"").body
    };
    assert!(bomb.len() < VALUE_MAX / 1000);
    let server = server(Some(Codec::Zstd));
    for coding in ["zstd", "gzip", "identity, zstd", "zstd, identity", "x-unknown"] {
        let headers = [("Content-Encoding", coding)];
        server.request("PUT", "/v1/keys/k", &headers, &bomb).is_error(415, "unsupported-encoding");
        let set = [("Content-Encoding", coding), ("Content-Type", "application/json")];
        server
            .request("POST", "/set", &set, br#"{"key":"k","value":"v"}"#)
            .is_error(415, "unsupported-encoding");
    }
    server.get("/v1/keys/k").is(404);
    let is_plain = |key: &str| {
        let read = server.request("GET", key, &[("Accept-Encoding", "zstd, gzip")], b"");
        assert_eq!((read.header("content-encoding"), read.body == bomb), (None, true), "{key}");
        assert_eq!(read.header("content-length"), Some(&*bomb.len().to_string()));
    };
    // As a value.
    server.put("/v1/keys/raw", &bomb).is(201);
    is_plain("/v1/keys/raw");
    // Through JSON, with fields that do not exist.
    let value64 = base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, &bomb);
    for field in ["codec", "encoding", "raw_len"] {
        let body = json!({"key": "json", "value64": value64, field: 1});
        server.post("/set", &body.to_string()).is_error(400, "invalid-argument");
    }
    server.post("/set", &json!({"key": "json", "value64": value64}).to_string()).is(200);
    is_plain("/v1/keys/json");
    // Through both export formats, neither of which has a field for it.
    for file in ["bomb.json", "bomb.hfs"] {
        server.get(&format!("/save?file={file}")).is(200);
        server.request("DELETE", "/v1/keys/raw", &[], b"").is(204);
        server.get(&format!("/load?file={file}")).is(200);
        is_plain("/v1/keys/raw");
    }
}

#[test]
fn exports_hold_values_as_they_were_put() {
    let value = text(5000);
    for file in ["a.json", "a.hfs"] {
        let one = server(Some(Codec::Gzip));
        one.put("/v1/keys/k", &value).is(201);
        let saved = one.get(&format!("/save?file={file}")).json();
        assert!(saved["bytes"].as_u64().unwrap() > 5000, "{saved}");
        let path = one.dir.path().join("data/exports").join(file);
        let bytes = contents(&path);
        let other = server(None);
        other.get(&format!("/save?file={file}")).is(200);
        put_contents(&other.dir.path().join("data/exports").join(file), &bytes);
        other.get(&format!("/load?file={file}")).is(200);
        assert!(other.get("/v1/keys/k").body == value, "{file}");
    }
}

#[expect(clippy::disallowed_methods, reason = "a test plays the user who takes a file")]
fn contents(path: &std::path::Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "a test plays the user who brings a file")]
fn put_contents(path: &std::path::Path, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn another_codec_leaves_what_is_stored_readable() {
    let dir = server(Some(Codec::Gzip));
    dir.put("/v1/keys/k", &text(3000)).is(201);
    let dir = dir.stop();
    let again = Server::over(dir, |settings| settings.engine.compress = None);
    let coded = again.request("GET", "/v1/keys/k", &[("Accept-Encoding", "gzip")], b"");
    assert_eq!(coded.header("content-encoding"), Some("gzip"));
    assert!(again.get("/v1/keys/k").body == text(3000));
}

#[test]
fn the_statistics_tell_what_compression_saves() {
    let server = server(Some(Codec::Zstd));
    let idle = server.get("/stats").json()["compression"].clone();
    assert_eq!(
        idle,
        json!({
            "codec": "zstd", "level": 1, "threshold_bytes": 1024,
            "zstd": {"values": 0, "raw_bytes": 0, "stored_bytes": 0, "ratio": null},
            "gzip": {"values": 0, "raw_bytes": 0, "stored_bytes": 0, "ratio": null},
            "left_raw": 0,
        })
    );
    server.put("/v1/keys/a", &text(5000)).is(201);
    server.put("/v1/keys/b", &[&b"\x89PNG\r\n\x1a\n"[..], &text(2000)].concat()).is(201);
    server.put("/v1/keys/c", b"short").is(201);
    let told = server.get("/stats").json()["compression"].clone();
    assert_eq!((&told["zstd"]["values"], &told["zstd"]["raw_bytes"]), (&json!(1), &json!(5000)));
    assert_eq!(told["left_raw"], 1);
    let stored = told["zstd"]["stored_bytes"].as_f64().unwrap();
    assert_eq!(told["zstd"]["ratio"].as_f64(), Some(5000.0 / stored));
}
