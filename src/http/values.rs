//! `/v1/keys/{key}` and `/v1/keys64/{key}`: one value, raw bytes in, raw bytes out.
//!
//! A `201` or `204` to a PUT means that the value has reached the level in
//! `Emberkeep-Durability`. Everything about a request is judged before its body is read, so that
//! `Expect: 100-continue` gets its verdict first; a body that ends early stores nothing.
//!
//! The bytes of a reply are those in the cache, shared, not copied, unless the client needs them
//! inflated (`representation`).

use axum::{
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header, request::Parts},
    response::Response,
};

use super::{
    App, Shared, conditional,
    conditional::Verdict,
    error::Result,
    headers, key,
    query::Query,
    representation::{self, Form},
};
use crate::node::{
    Entry, Put, UnixMillis, Written,
    error::{Error, Result as NodeResult},
    expiry::Expiry,
};

pub(super) async fn get(State(app): Shared, request: Request) -> Result<Response> {
    let key = reading_key(&request)?;
    let found = app.node.get(&key).await?;
    answer(&app, request.headers(), found).await
}

/// The headers that `get` would answer with; does not count as an access and inflates nothing.
pub(super) async fn head(State(app): Shared, request: Request) -> Result<Response> {
    let key = reading_key(&request)?;
    let found = app.node.peek(&key).await?;
    Ok(judged(&app, request.headers(), found)?.response)
}

pub(super) async fn put(State(app): Shared, request: Request) -> Result<Response> {
    let (parts, body) = request.into_parts();
    let key = key::of_path(parts.uri.path())?;
    let query = Query::parse(parts.uri.query(), &["ttl", "expires_at", "keepttl"])?;
    let put = Put {
        key: &key,
        value: Bytes::new(),
        content_type: headers::content_type(&parts.headers)?,
        expiry: expiry(&query, app.node.now())?,
        precondition: conditional::of_write(&parts.headers)?,
        level: headers::durability(&parts.headers)?,
    };
    refuse_partial(&parts)?;
    app.node.check(&put)?;
    let within = app.settings.body_deadline;
    let received = app.bodies.read(&parts.headers, body, app.node.value_len_max(), within).await?;
    let written = app.node.put(Put { value: received.bytes.clone(), ..put }).await?;
    let status = if written.created { StatusCode::CREATED } else { StatusCode::NO_CONTENT };
    Ok(put_reply(&app, status, &written, Body::empty()))
}

pub(super) async fn delete(State(app): Shared, request: Request) -> Result<Response> {
    let key = reading_key(&request)?;
    let map = request.headers();
    let (precondition, level) = (conditional::of_write(map)?, headers::durability(map)?);
    let Some(written) = app.node.delete(&key, &precondition, level).await? else {
        return Err(Error::key_not_found().into());
    };
    let mut response = reply(StatusCode::NO_CONTENT, Body::empty());
    headers::put_written(response.headers_mut(), &written, app.node.now());
    Ok(response)
}

/// The answer to a read of `found`, as the request's conditions want it and in the form that the
/// client accepts.
pub(super) async fn answer(app: &App, request: &HeaderMap, found: Option<Entry>) -> Result<Response> {
    let Judged { mut response, to_send } = judged(app, request, found)?;
    if let Some((entry, form)) = to_send {
        *response.body_mut() = app.inflating.body(&app.node, &entry, form).await?;
    }
    Ok(response)
}

/// An answer without its body.
struct Judged {
    response: Response,
    /// What belongs into the body, and in which form.
    to_send: Option<(Entry, Form)>,
}

fn judged(app: &App, request: &HeaderMap, found: Option<Entry>) -> Result<Judged> {
    let version = found.as_ref().map(Entry::version);
    let verdict = conditional::judge_read(request, version)?;
    if verdict == Verdict::Failed {
        return Err(Error::precondition_failed(version).into());
    }
    let entry = found.ok_or_else(Error::key_not_found)?;
    let form = representation::choose(request, entry.codec())?;
    let now = app.node.now();
    if verdict == Verdict::NotModified {
        let mut response = reply(StatusCode::NOT_MODIFIED, Body::empty());
        headers::put_version(response.headers_mut(), &entry, now);
        representation::put_form(response.headers_mut(), entry.version(), form);
        return Ok(Judged { response, to_send: None });
    }
    let mut response = reply(StatusCode::OK, Body::empty());
    headers::put_entry(response.headers_mut(), &entry, now);
    representation::put_form(response.headers_mut(), entry.version(), form);
    representation::put_coding(response.headers_mut(), &entry, form);
    Ok(Judged { response, to_send: Some((entry, form)) })
}

/// The reply to a stored value, with what was promised.
pub(super) fn put_reply(app: &App, status: StatusCode, written: &Written, body: Body) -> Response {
    let mut response = reply(status, body);
    let map = response.headers_mut();
    map.insert(header::ETAG, representation::etag(written.seq, None));
    headers::put_written(map, written, app.node.now());
    response
}

pub(super) fn reply(status: StatusCode, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

/// The key of a request that has no parameters.
fn reading_key(request: &Request) -> NodeResult<Vec<u8>> {
    Query::parse(request.uri().query(), &[])?;
    key::of_path(request.uri().path())
}

/// At most one of `ttl`, `expires_at` and `keepttl`.
fn expiry(query: &Query, now: UnixMillis) -> NodeResult<Expiry> {
    let keep = match query.text("keepttl")? {
        None | Some("false") => false,
        Some("true") => true,
        Some(got) => return Err(Error::invalid(format!("keepttl must be true or false, got={got:?}"))),
    };
    match (query.text("ttl")?, query.text("expires_at")?, keep) {
        (None, None, true) => Ok(Expiry::Keep),
        (None, None, false) => Ok(Expiry::Never),
        (Some(ttl), None, false) => Expiry::parse_ttl(ttl),
        (None, Some(at), false) => Expiry::parse_expires_at(at, now),
        _ => Err(Error::invalid("only one of ttl, expires_at and keepttl=true may be given")),
    }
}

/// A part of a value must not replace the whole (RFC 9110, section 14.5).
fn refuse_partial(parts: &Parts) -> NodeResult<()> {
    match parts.headers.contains_key(header::CONTENT_RANGE) {
        true => Err(Error::invalid("content-range is not supported on a write")),
        false => Ok(()),
    }
}
