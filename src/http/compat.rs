//! The wire-compatible endpoints: `/set`, `/get`, `/delete`, `/save`, `/load`.
//!
//! Their shape is fixed by clients that exist: GET writes, JSON in, `{"status":"ok",…}` out, raw
//! values from `/get` unless JSON is asked for. A GET that writes is fenced from browsers in
//! `service`. Bytes that are not UTF-8 go as `key64` and `value64`.

use std::borrow::Cow;

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderValue, Method, StatusCode, header},
    response::Response,
};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json, value::RawValue};
use tokio::time::Instant;

use super::{App, Shared, error::Result, headers, query::Query, values};
use crate::node::{
    Entry, Node, Put, UnixMillis,
    error::{Code, Error, Result as NodeResult},
    expiry::Expiry,
    export::{ExportName, NAME_DEFAULT},
    level_name,
    precondition::Precondition,
    text::{Text, decode64},
};

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
/// Room for names and numbers around a key and a value.
const JSON_OVERHEAD: u64 = 64 << 10;

/// The body of `POST /set`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetBody<'a> {
    #[serde(borrow, default)]
    key: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    key64: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "present")]
    value: Option<&'a RawValue>,
    #[serde(borrow, default)]
    value64: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    ttl: Option<&'a RawValue>,
}

/// The body of `POST /delete`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyBody<'a> {
    #[serde(borrow, default)]
    key: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    key64: Option<Cow<'a, str>>,
}

/// The body of `POST /save` and `POST /load`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileBody<'a> {
    #[serde(borrow, default)]
    file: Option<Cow<'a, str>>,
}

/// `null` is a value like any other; only a missing field is none.
fn present<'de, D: Deserializer<'de>>(json: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(json).map(Some)
}

/// What is to be stored.
struct Set {
    key: Vec<u8>,
    value: Vec<u8>,
    content_type: &'static str,
    expiry: Expiry,
}

pub(super) async fn set_by_query(State(app): Shared, request: Request) -> Result<Response> {
    let query = Query::parse(request.uri().query(), &["key", "key64", "value", "value64", "ttl"])?;
    let (value, content_type) = query_value(&query)?;
    let entry = Set {
        key: query_key(&query)?,
        value,
        content_type,
        expiry: query.text("ttl")?.map_or(Ok(Expiry::Never), Expiry::parse_ttl)?,
    };
    let mut response = store(&app, request.headers(), entry).await?;
    // Says which method is meant for it.
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
    Ok(response)
}

pub(super) async fn set_by_body(State(app): Shared, request: Request) -> Result<Response> {
    Query::parse(request.uri().query(), &[])?;
    let (parts, body) = request.into_parts();
    let limit = body_len_max(&app.node);
    let received = app.bodies.read(&parts.headers, body, limit, app.settings.body_deadline).await?;
    let set = parse_set(&received.bytes)?;
    store(&app, &parts.headers, set).await
}

pub(super) async fn get(State(app): Shared, request: Request) -> Result<Response> {
    let query = Query::parse(request.uri().query(), &["key", "key64"])?;
    let key = query_key(&query)?;
    let found = app.node.get(&key).await?;
    if !headers::wants_json(request.headers()) {
        return values::answer(&app, request.headers(), found).await;
    }
    let entry = found.ok_or_else(Error::key_not_found)?;
    let value = app.node.value(&entry).await?;
    let now = app.node.now();
    let mut response = json_reply(described(&entry, &value, now));
    headers::put_version(response.headers_mut(), &entry, now);
    Ok(response)
}

pub(super) async fn delete(State(app): Shared, request: Request) -> Result<Response> {
    let (parts, body) = request.into_parts();
    let query = Query::parse(parts.uri.query(), &["key", "key64"])?;
    let key = if parts.uri.query().is_some_and(|query| !query.is_empty()) {
        query_key(&query)?
    } else {
        let received =
            app.bodies.read(&parts.headers, body, JSON_OVERHEAD, app.settings.body_deadline).await?;
        let body: KeyBody<'_> = object(&received.bytes)?;
        body_key(body.key, body.key64)?
    };
    let level = headers::durability(&parts.headers)?;
    let deleted = app.node.delete(&key, &Precondition::Always, level).await?;
    let mut response = json_reply(json!({ "status": "ok", "deleted": deleted.is_some() }));
    if let Some(written) = deleted {
        headers::put_written(response.headers_mut(), &written, app.node.now());
    }
    Ok(response)
}

pub(super) async fn save(State(app): Shared, request: Request) -> Result<Response> {
    let (name, start) = (export_name(&app, request).await?, Instant::now());
    let saved = app.node.save(name.clone()).await?;
    Ok(json_reply(json!({
        "status": "ok",
        "message": "saved",
        "file": name.as_str(),
        "keys": saved.keys,
        "bytes": saved.bytes,
        "took_ms": start.elapsed().as_millis() as u64,
    })))
}

pub(super) async fn load(State(app): Shared, request: Request) -> Result<Response> {
    let name = export_name(&app, request).await?;
    let loaded = app.node.load(name).await?;
    Ok(json_reply(json!({
        "status": "ok",
        "message": "loaded",
        "keys": loaded.keys,
        "expired_skipped": loaded.expired_skipped,
    })))
}

async fn store(app: &App, request: &axum::http::HeaderMap, set: Set) -> Result<Response> {
    let written = app
        .node
        .put(Put {
            key: &set.key,
            value: set.value.into(),
            content_type: Some(set.content_type),
            expiry: set.expiry,
            precondition: Precondition::Always,
            level: headers::durability(request)?,
        })
        .await?;
    let ttl = match set.expiry {
        Expiry::In(span) => seconds(span.as_millis() as u64),
        _ => Value::Null,
    };
    let mut fields = Map::new();
    fields.insert("status".into(), "ok".into());
    fields.insert("message".into(), "stored".into());
    put_text(&mut fields, "key", &set.key);
    fields.insert("version".into(), written.seq.to_string().into());
    fields.insert("ttl".into(), ttl);
    fields.insert("durability".into(), level_name(written.level).into());
    let body = Body::from(Value::Object(fields).to_string());
    let mut response = values::put_reply(app, StatusCode::OK, &written, body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
    Ok(response)
}

fn parse_set(bytes: &[u8]) -> NodeResult<Set> {
    let body: SetBody<'_> = object(bytes)?;
    let (value, content_type) = match (body.value, body.value64) {
        (Some(json), None) => json_value(json)?,
        (None, Some(text)) => (decoded(text.as_bytes(), "value64")?, super::headers::BYTES),
        _ => return Err(exactly_one("value", "value64")),
    };
    let expiry = match body.ttl.map(RawValue::get) {
        None => Expiry::Never,
        Some(text) if text.starts_with('"') => Expiry::parse_ttl(&string(text)?)?,
        Some(number) => Expiry::parse_ttl(number)?,
    };
    Ok(Set { key: body_key(body.key, body.key64)?, value, content_type, expiry })
}

/// A string is stored as its text, anything else as it was written.
fn json_value(json: &RawValue) -> NodeResult<(Vec<u8>, &'static str)> {
    let text = json.get();
    if text.starts_with('"') {
        return Ok((string(text)?.into_bytes(), TEXT));
    }
    Ok((text.as_bytes().to_vec(), JSON))
}

fn query_key(query: &Query) -> NodeResult<Vec<u8>> {
    match (query.bytes("key"), query.bytes("key64")) {
        (Some(key), None) => Ok(key.to_vec()),
        (None, Some(text)) => decoded(text, "key64"),
        _ => Err(exactly_one("key", "key64")),
    }
}

fn query_value(query: &Query) -> NodeResult<(Vec<u8>, &'static str)> {
    match (query.bytes("value"), query.bytes("value64")) {
        (Some(value), None) if std::str::from_utf8(value).is_ok() => Ok((value.to_vec(), TEXT)),
        (Some(value), None) => Ok((value.to_vec(), super::headers::BYTES)),
        (None, Some(text)) => Ok((decoded(text, "value64")?, super::headers::BYTES)),
        _ => Err(exactly_one("value", "value64")),
    }
}

fn body_key(key: Option<Cow<'_, str>>, key64: Option<Cow<'_, str>>) -> NodeResult<Vec<u8>> {
    match (key, key64) {
        (Some(key), None) => Ok(key.into_owned().into_bytes()),
        (None, Some(text)) => decoded(text.as_bytes(), "key64"),
        _ => Err(exactly_one("key", "key64")),
    }
}

async fn export_name(app: &App, request: Request) -> NodeResult<ExportName> {
    let (parts, body) = request.into_parts();
    let query = Query::parse(parts.uri.query(), &["file"])?;
    if let Some(name) = query.text("file")? {
        return ExportName::parse(name);
    }
    if parts.method != Method::POST {
        return ExportName::parse(NAME_DEFAULT);
    }
    let received = app.bodies.read(&parts.headers, body, JSON_OVERHEAD, app.settings.body_deadline).await?;
    let body: FileBody<'_> =
        if received.bytes.is_empty() { FileBody::default() } else { object(&received.bytes)? };
    ExportName::parse(body.file.as_deref().unwrap_or(NAME_DEFAULT))
}

/// The longest JSON body. Base64 makes a value a third longer, escapes more: twice is generous.
pub(super) fn body_len_max(node: &Node) -> u64 {
    2 * node.value_len_max() + JSON_OVERHEAD
}

/// A JSON object. An array of the fields in order would be understood too, and is not meant.
fn object<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> NodeResult<T> {
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(Error::invalid("the body must be a JSON object"));
    }
    serde_json::from_slice(bytes)
        .map_err(|e| Error::invalid(format!("the body is not the JSON that is expected: {e}")))
}

fn string(json: &str) -> NodeResult<String> {
    serde_json::from_str(json)
        .map_err(|e| Error::invalid(format!("the body has a string that is not valid JSON: {e}")))
}

fn decoded(text: impl AsRef<[u8]>, name: &str) -> NodeResult<Vec<u8>> {
    let code = if name == "key64" { Code::InvalidKey } else { Code::InvalidArgument };
    decode64(text).ok_or_else(|| Error::new(code, format!("{name} is not base64url without padding")))
}

fn exactly_one(plain: &str, encoded: &str) -> Error {
    Error::invalid(format!("exactly one of {plain} and {encoded} must be given"))
}

/// An entry as JSON.
fn described(entry: &Entry, value: &[u8], now: UnixMillis) -> Value {
    let mut fields = Map::new();
    fields.insert("status".into(), "ok".into());
    put_text(&mut fields, "key", entry.key().bytes);
    put_text(&mut fields, "value", value);
    let ttl = entry.deadline().map_or(Value::Null, |at| seconds(at.0.saturating_sub(now.0)));
    fields.insert("ttl".into(), ttl);
    fields.insert("version".into(), entry.version().to_string().into());
    Value::Object(fields)
}

/// `name` as text, or `name64` where it is not.
fn put_text(fields: &mut Map<String, Value>, name: &str, bytes: &[u8]) {
    match Text::from(bytes) {
        Text::Plain(text) => fields.insert(name.to_owned(), text.into()),
        Text::Encoded(text) => fields.insert(format!("{name}64"), text.into()),
    };
}

/// Milliseconds as a number of seconds, whole where it is.
fn seconds(ms: u64) -> Value {
    if ms.is_multiple_of(1000) { (ms / 1000).into() } else { (ms as f64 / 1000.0).into() }
}

pub(super) fn json_reply(body: Value) -> Response {
    let mut response = values::reply(StatusCode::OK, Body::from(body.to_string()));
    let map = response.headers_mut();
    map.insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
    map.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(json: &str) -> NodeResult<Set> {
        parse_set(json.as_bytes())
    }

    #[test]
    fn strings_are_stored_as_text_and_the_rest_as_it_was_written() {
        let table: [(&str, &[u8], &str); 6] = [
            (r#""John""#, b"John", TEXT),
            (r#""\u00e9\n""#, "é\n".as_bytes(), TEXT),
            (r#"{"b": 1,  "a":[1.0]}"#, br#"{"b": 1,  "a":[1.0]}"#, JSON),
            ("12345678901234567890123", b"12345678901234567890123", JSON),
            ("null", b"null", JSON),
            ("false", b"false", JSON),
        ];
        for (json, value, content_type) in table {
            let set = set(&format!(r#"{{"key":"k","value":{json}}}"#)).unwrap();
            assert_eq!((&*set.value, set.content_type), (value, content_type), "{json}");
        }
    }

    #[test]
    fn ttl_is_seconds_or_a_span() {
        for (ttl, ms) in [("3600", 3_600_000), ("1.5", 1_500), (r#""5m""#, 300_000)] {
            let set = set(&format!(r#"{{"key":"k","value":"v","ttl":{ttl}}}"#)).unwrap();
            assert_eq!(set.expiry, Expiry::In(std::time::Duration::from_millis(ms)), "{ttl}");
        }
        assert_eq!(set(r#"{"key":"k","value":"v","ttl":null}"#).unwrap().expiry, Expiry::Never);
        for ttl in ["0", "-1", "1e3", "true", "[]", r#""""#, "1e999", "99999999999999999999"] {
            assert!(set(&format!(r#"{{"key":"k","value":"v","ttl":{ttl}}}"#)).is_err(), "{ttl}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for json in [
            "",
            "{",
            "[]",
            "null",
            r#"["k",null,"v"]"#,
            r#"{"key":"k"}"#,
            r#"{"value":"v"}"#,
            r#"{"key":1,"value":"v"}"#,
            r#"{"key":"k","value":"v","tll":1}"#,
            r#"{"key":"k","key":"k","value":"v"}"#,
            r#"{"key":"k","key64":"aw","value":"v"}"#,
            r#"{"key":"k","value":"v","value64":"dg"}"#,
            r#"{"key":"k","value64":"dg=="}"#,
            r#"{"key":"k","value":"v"} x"#,
            r#"{"key":"k","value":"\ud800"}"#,
        ] {
            assert!(set(json).is_err(), "{json}");
        }
    }
}
