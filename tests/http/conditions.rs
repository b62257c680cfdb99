//! ETags: create only, replace only what was read, and 304.

use super::fixture::Server;

fn put(server: &Server, headers: &[(&str, &str)], value: &[u8]) -> super::fixture::Reply {
    server.request("PUT", "/v1/keys/k", headers, value)
}

#[test]
fn create_only() {
    let server = Server::start();
    let first = put(&server, &[("If-None-Match", "*")], b"1");
    first.is(201);
    let second = put(&server, &[("If-None-Match", "*")], b"2");
    second.is_error(412, "precondition-failed");
    assert_eq!(second.etag(), first.etag());
    assert_eq!(server.get("/v1/keys/k").body, b"1");
}

#[test]
fn replace_only_what_was_read() {
    let server = Server::start();
    put(&server, &[("If-Match", "*")], b"0").is_error(412, "precondition-failed");
    let first = put(&server, &[], b"1").etag();
    let second = put(&server, &[("If-Match", &first)], b"2");
    second.is(204);
    put(&server, &[("If-Match", &first)], b"3").is_error(412, "precondition-failed");
    put(&server, &[("If-Match", &format!("W/{}", second.etag()))], b"3").is(412);
    put(&server, &[("If-Match", &format!("\"x\", {}", second.etag()))], b"3").is(204);
    put(&server, &[("If-Match", "*")], b"4").is(204);
    assert_eq!(server.get("/v1/keys/k").body, b"4");
}

#[test]
fn replace_only_if_it_changed() {
    let server = Server::start();
    put(&server, &[("If-None-Match", "\"7\"")], b"0").is(201);
    let tag = put(&server, &[], b"1").etag();
    put(&server, &[("If-None-Match", &tag)], b"2").is(412);
    put(&server, &[("If-None-Match", "\"99999\"")], b"2").is(204);
}

#[test]
fn delete_only_what_was_read() {
    let server = Server::start();
    let delete = |headers: &[(&str, &str)]| server.request("DELETE", "/v1/keys/k", headers, b"");
    delete(&[("If-Match", "*")]).is_error(412, "precondition-failed");
    let tag = put(&server, &[], b"1").etag();
    let refused = delete(&[("If-Match", "\"99999\"")]);
    refused.is(412);
    assert_eq!(refused.etag(), tag);
    delete(&[("If-None-Match", "*")]).is(412);
    delete(&[("If-Match", &tag)]).is(204);
}

#[test]
fn a_reader_that_has_it_gets_304() {
    let server = Server::start();
    let tag = put(&server, &[], b"1").etag();
    let get = |headers: &[(&str, &str)]| server.request("GET", "/v1/keys/k", headers, b"");
    for headers in
        [("If-None-Match", &*tag), ("If-None-Match", "*"), ("If-None-Match", &format!("\"x\", W/{tag}"))]
    {
        let reply = get(&[headers]);
        reply.is(304);
        assert_eq!(reply.etag(), tag);
        assert!(reply.body.is_empty() && reply.header("content-length").is_none());
        server.request("HEAD", "/v1/keys/k", &[headers], b"").is(304);
    }
    get(&[("If-None-Match", "\"99999\"")]).is(200);
    get(&[("If-Match", "\"99999\"")]).is_error(412, "precondition-failed");
    get(&[("If-Match", &tag), ("If-None-Match", &tag)]).is(304);
    get(&[("If-Match", "\"99999\""), ("If-None-Match", &tag)]).is(412);
    server.request("GET", "/v1/keys/none", &[("If-Match", "*")], b"").is(412);
    server.request("GET", "/v1/keys/none", &[("If-None-Match", "*")], b"").is(404);
}

#[test]
fn what_cannot_be_decided_in_one_step_is_refused() {
    let server = Server::start();
    let tag = put(&server, &[], b"1").etag();
    put(&server, &[("If-Match", "*"), ("If-None-Match", &tag)], b"2").is_error(400, "invalid-argument");
    put(&server, &[("If-Match", &tag), ("If-None-Match", "*")], b"2").is(412);
    put(&server, &[("If-Match", &tag), ("If-None-Match", "\"99999\"")], b"2").is(204);
    for broken in ["7", "\"7", "*, *", ""] {
        put(&server, &[("If-Match", broken)], b"2").is_error(400, "invalid-argument");
        server
            .request("GET", "/v1/keys/k", &[("If-None-Match", broken)], b"")
            .is_error(400, "invalid-argument");
    }
}
