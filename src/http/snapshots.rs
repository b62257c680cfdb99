//! `POST /v1/snapshots`: takes a snapshot now.
//!
//! Readers and writers go on meanwhile. A client that goes away does not end it.

use axum::{
    extract::{Request, State},
    http::StatusCode,
    response::Response,
};
use serde_json::json;

use super::{Shared, compat::json_reply, error::Result, query::Query};
use crate::node::error::Error;

/// 201 when the snapshot is on the disk and verified, and the log behind it is pruned; 409 while
/// another is being taken.
pub(super) async fn create(State(app): Shared, request: Request) -> Result<Response> {
    let query = Query::parse(request.uri().query(), &["wait"])?;
    if query.text("wait")? != Some("true") {
        return Err(Error::invalid("the reply comes when the snapshot is done, so ask with wait=true").into());
    }
    let report = app.node.snapshot().await?;
    let mut response = json_reply(json!({
        "begin": report.begin.to_string(),
        "end": report.end.to_string(),
        "entries": report.entries,
        "bytes": report.bytes,
        "pruned_segments": report.pruned_segments,
        "took_ms": report.took.as_millis() as u64,
    }));
    *response.status_mut() = StatusCode::CREATED;
    Ok(response)
}
