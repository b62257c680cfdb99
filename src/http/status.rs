//! What the server says about itself: `/`, `/health`, `/stats`.

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use serde_json::{Map, Value, json};

use super::{App, Shared, compat::json_reply, error::Result, query::Query, values::reply};
use crate::{
    name,
    node::{Codec, CodecStats, CompressionStats, Condition, Settings, policy_name},
};

pub(super) async fn root(State(app): Shared, request: Request) -> Result<Response> {
    Query::parse(request.uri().query(), &[])?;
    let text = format!(
        "{} {}\nstatus: {}\nitems: {}\n\ncurl -T file '/v1/keys/name?ttl=1h'\ncurl '/v1/keys/name'\n",
        name::PRODUCT,
        name::VERSION,
        condition_name(app.node.health().condition),
        app.node.stats().items,
    );
    let mut response = reply(StatusCode::OK, Body::from(text));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    Ok(response)
}

/// 200 for `ok` and `warn`, 503 for `fail`.
pub(super) async fn health(State(app): Shared, request: Request) -> Result<Response> {
    Query::parse(request.uri().query(), &[])?;
    let health = app.node.health();
    let checks: Map<String, Value> = health
        .checks
        .iter()
        .map(|(name, condition, text)| {
            ((*name).to_owned(), json!({ "status": condition_name(*condition), "output": text }))
        })
        .collect();
    let mut response = json_reply(json!({
        "status": condition_name(health.condition),
        "node_id": "local",
        "role": "standalone",
        "uptime_seconds": app.node.uptime().as_secs(),
        "version": name::VERSION,
        "checks": checks,
    }));
    if health.condition == Condition::Fail {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    Ok(response)
}

pub(super) async fn stats(State(app): Shared, request: Request) -> Result<Response> {
    Query::parse(request.uri().query(), &[])?;
    Ok(json_reply(stats_json(&app)))
}

/// Log numbers are strings, as everywhere in JSON: they may not fit a double.
pub(super) fn stats_json(app: &App) -> Value {
    let (stats, settings) = (app.node.stats(), app.node.settings());
    let reads = stats.hits + stats.misses;
    let hit_ratio = if reads == 0 { 0.0 } else { stats.hits as f64 / reads as f64 };
    json!({
        "hits": stats.hits,
        "misses": stats.misses,
        "hit_ratio": hit_ratio,
        "items": stats.items,
        "bytes": stats.bytes,
        "max_items": stats.max_items,
        "max_bytes": stats.max_bytes,
        "evictions": stats.evictions,
        "expired": stats.expired,
        "policy": policy_name(app.node.eviction()),
        "uptime_seconds": app.node.uptime().as_secs(),
        "version": name::VERSION,
        "fsync": settings.fsync,
        "term": stats.term,
        "appended_seq": stats.appended.to_string(),
        "written_seq": stats.written.to_string(),
        "durable_seq": stats.durable.to_string(),
        "unsynced_bytes": stats.unsynced_bytes,
        "syncs": stats.syncs,
        "log_bytes": stats.log_bytes,
        "checkpoints": stats.checkpoints,
        "last_checkpoint_seq": stats.last_checkpoint.map(|lsn| lsn.to_string()),
        "tombstone_bytes": stats.tombstone_bytes,
        "disk_full": stats.disk_full,
        "halted": stats.halted,
        "compression": compression_json(&stats.compression, settings),
    })
}

/// What compression is set to and what it did.
pub(super) fn compression_json(stats: &CompressionStats, settings: &Settings) -> Value {
    let of = |codec: CodecStats| {
        json!({
            "values": codec.values,
            "raw_bytes": codec.raw_bytes,
            "stored_bytes": codec.stored_bytes,
            "ratio": codec.ratio(),
        })
    };
    let codec = settings.compress;
    json!({
        "codec": codec.map_or("none", Codec::as_str),
        "level": codec.map(|codec| settings.compress_level.unwrap_or(codec.level_default())),
        "threshold_bytes": settings.compress_threshold,
        "zstd": of(stats.zstd),
        "gzip": of(stats.gzip),
        "left_raw": stats.left_raw,
    })
}

fn condition_name(condition: Condition) -> &'static str {
    match condition {
        Condition::Ok => "ok",
        Condition::Warn => "warn",
        Condition::Fail => "fail",
    }
}
