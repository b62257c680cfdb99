//! `GET /v1/durability`: what would be lost, and how long a restart would take, if it ended now.

use axum::{
    extract::{Request, State},
    response::Response,
};
use serde_json::json;

use super::{Shared, compat::json_reply, error::Result, query::Query};

/// `applied_seq` is what is in the index, `os_seq` what survives a kill, `durable_seq` what
/// survives a power cut. Log numbers are strings: they may not fit a double.
pub(super) async fn durability(State(app): Shared, request: Request) -> Result<Response> {
    Query::parse(request.uri().query(), &[])?;
    let (stats, restart) = (app.node.stats(), app.node.restart());
    Ok(json_reply(json!({
        "fsync": app.node.settings().fsync,
        "applied_seq": stats.appended.to_string(),
        "os_seq": stats.written.to_string(),
        "durable_seq": stats.durable.to_string(),
        "unsynced_bytes": stats.unsynced_bytes,
        "last_snapshot_seq": stats.last_checkpoint.map(|lsn| lsn.to_string()),
        "replay_estimate": {
            "bytes": restart.bytes(),
            "ms": restart.took.as_millis() as u64,
            "measured": restart.measured,
        },
    })))
}
