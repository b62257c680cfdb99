//! Headers, one function each: what a request says, what a reply says.

use std::{
    hash::{BuildHasher, RandomState},
    sync::atomic::{AtomicU64, Ordering},
};

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

use super::representation;
use crate::{
    name,
    node::{
        Entry, Level, UnixMillis, Written,
        error::{Code, Error, Result},
        level_name, valid_content_type,
    },
};

pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");
pub(super) const CONSISTENCY: HeaderName = HeaderName::from_static("x-consistency-level");
const SEQ: HeaderName = HeaderName::from_static(name::header::SEQ);
const DURABILITY: HeaderName = HeaderName::from_static(name::header::DURABILITY);
const TTL_MS: HeaderName = HeaderName::from_static(name::header::TTL_MS);
const EXPIRES_AT: HeaderName = HeaderName::from_static(name::header::EXPIRES_AT);
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// What bytes of unknown kind are.
pub(super) const BYTES: &str = "application/octet-stream";

/// Values are untrusted content on our origin: no browser may run or sniff them.
const VALUE_FENCES: [(HeaderName, HeaderValue); 4] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox; default-src 'none'")),
    (RESOURCE_POLICY, HeaderValue::from_static("same-origin")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
];

/// Ids for requests that bring none: unique within this run, and unlikely to repeat in another.
pub(super) struct RequestIds {
    run: u32,
    next: AtomicU64,
}

impl RequestIds {
    pub(super) fn new() -> Self {
        // The standard library's hash keys are random; ids need no more than that.
        RequestIds { run: RandomState::new().hash_one(0) as u32, next: AtomicU64::new(1) }
    }

    /// The client's id if it is 1 to 128 bytes of visible ASCII, else a new one.
    pub(super) fn of(&self, request: &HeaderMap) -> HeaderValue {
        if let Some(id) = request.get(REQUEST_ID) {
            let bytes = id.as_bytes();
            if (1..=128).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic) {
                return id.clone();
            }
        }
        let id = format!("{:08x}-{:x}", self.run, self.next.fetch_add(1, Ordering::Relaxed));
        HeaderValue::try_from(id).expect("hexadecimal digits are a valid header")
    }
}

/// The consistency level that was asked for. A single node gives all of them.
pub(super) fn consistency(request: &HeaderMap) -> Result<Option<&'static str>> {
    let Some(asked) = request.get(CONSISTENCY) else { return Ok(None) };
    let levels = ["ONE", "QUORUM", "ALL"];
    let found = levels.into_iter().find(|level| asked.as_bytes().eq_ignore_ascii_case(level.as_bytes()));
    match found {
        Some(level) => Ok(Some(level)),
        None => Err(Error::new(
            Code::InvalidConsistencyLevel,
            format!(
                "x-consistency-level must be ONE, QUORUM or ALL, got={:?}",
                String::from_utf8_lossy(asked.as_bytes())
            ),
        )),
    }
}

/// Refuses a write that a browser sends on behalf of some page: a page may point an image at
/// `localhost/set?…`. Programs send neither header.
pub(super) fn refuse_cross_site(request: &HeaderMap) -> Result<()> {
    let cross_site =
        request.get(FETCH_SITE).is_some_and(|site| site.as_bytes().eq_ignore_ascii_case(b"cross-site"));
    if cross_site || request.contains_key(header::ORIGIN) {
        return Err(Error::new(Code::CrossSiteWrite, "writes that a browser sends for a page are refused"));
    }
    Ok(())
}

/// The durability that was asked for.
pub(super) fn durability(request: &HeaderMap) -> Result<Option<Level>> {
    let Some(asked) = single(request, &DURABILITY)? else { return Ok(None) };
    match asked.to_ascii_lowercase().as_str() {
        "memory" => Ok(Some(Level::Memory)),
        "os" => Ok(Some(Level::Os)),
        "disk" => Ok(Some(Level::Disk)),
        _ => Err(Error::invalid(format!("{DURABILITY} must be memory, os or disk, got={asked:?}"))),
    }
}

/// The content type to store; `None` if none was given.
pub(super) fn content_type(request: &HeaderMap) -> Result<Option<&str>> {
    match single(request, &header::CONTENT_TYPE)? {
        None | Some("") => Ok(None),
        Some(text) if valid_content_type(text) => Ok(Some(text)),
        Some(_) => Err(Error::invalid("content-type must be at most 255 bytes of visible ASCII")),
    }
}

/// Refuses bodies that are compressed: bytes are stored as they come.
pub(super) fn refuse_encoded(request: &HeaderMap) -> Result<()> {
    let identity = |v: &HeaderValue| v.is_empty() || v.as_bytes().eq_ignore_ascii_case(b"identity");
    if request.get_all(header::CONTENT_ENCODING).iter().all(identity) {
        return Ok(());
    }
    Err(Error::new(
        Code::UnsupportedEncoding,
        "content-encoding must be identity: values are stored as they are sent",
    ))
}

/// A header that may come once and is text.
fn single<'h>(request: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>> {
    let mut values = request.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Error::invalid(format!("header given more than once, name={name}")));
    }
    value.to_str().map(Some).map_err(|_| Error::invalid(format!("header is not visible ASCII, name={name}")))
}

/// Whether JSON was asked for by name.
pub(super) fn wants_json(request: &HeaderMap) -> bool {
    request
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|accept| accept.to_str().ok())
        .flat_map(|accept| accept.split(','))
        .any(|part| {
            part.split(';').next().is_some_and(|media| media.trim().eq_ignore_ascii_case("application/json"))
        })
}

/// What a write promised.
pub(super) fn put_written(map: &mut HeaderMap, written: &Written, now: UnixMillis) {
    map.insert(SEQ, HeaderValue::from(written.seq));
    map.insert(DURABILITY, HeaderValue::from_static(level_name(written.level)));
    put_deadline(map, written.deadline, now);
}

/// What goes with the bytes of a value.
pub(super) fn put_entry(map: &mut HeaderMap, entry: &Entry, now: UnixMillis) {
    let stored = entry.content_type().and_then(|text| HeaderValue::from_str(text).ok());
    let content_type = stored.unwrap_or(HeaderValue::from_static(BYTES));
    map.insert(header::CONTENT_TYPE, content_type);
    put_version(map, entry, now);
}

/// What a reply without the bytes (304, JSON) says about an entry.
pub(super) fn put_version(map: &mut HeaderMap, entry: &Entry, now: UnixMillis) {
    map.insert(header::ETAG, representation::etag(entry.version(), None));
    put_deadline(map, entry.deadline(), now);
    for (name, value) in VALUE_FENCES {
        map.insert(name, value);
    }
}

fn put_deadline(map: &mut HeaderMap, deadline: Option<UnixMillis>, now: UnixMillis) {
    if let Some(at) = deadline {
        map.insert(EXPIRES_AT, HeaderValue::from(at.0));
        map.insert(TTL_MS, HeaderValue::from(at.0.saturating_sub(now.0)));
    }
}
