//! `/v1/config`: the few settings that matter to a client, and the one that can be changed while
//! the server runs. A change holds until it is restarted; then the command line counts again.

use axum::{
    extract::{Request, State},
    response::Response,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{App, Shared, compat::json_reply, error::Result, query::Query};
use crate::node::{error::Error, policy_by_name, policy_name, policy_names};

/// Nobody needs more to name a policy.
const BODY_MAX: u64 = 4 << 10;

/// The body of `PATCH`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    eviction: Option<String>,
}

pub(super) async fn get(State(app): Shared, request: Request) -> Result<Response> {
    Query::parse(request.uri().query(), &[])?;
    Ok(json_reply(config(&app)))
}

pub(super) async fn patch(State(app): Shared, request: Request) -> Result<Response> {
    Query::parse(request.uri().query(), &[])?;
    let (parts, body) = request.into_parts();
    let received = app.bodies.read(&parts.headers, body, BODY_MAX, app.settings.body_deadline).await?;
    let policy = parse(&received.bytes)?;
    app.node.set_eviction(policy).await?;
    Ok(json_reply(config(&app)))
}

fn config(app: &App) -> Value {
    let settings = app.node.settings();
    json!({
        "eviction": policy_name(app.node.eviction()),
        "eviction_at_start": policy_name(settings.eviction),
        "max_bytes": settings.max_bytes,
        "max_items": settings.max_items,
        "fsync": settings.fsync,
    })
}

fn parse(body: &[u8]) -> Result<crate::node::Eviction, Error> {
    let change: Change = serde_json::from_slice(body).map_err(|e| {
        Error::invalid(format!(
            "the body must be JSON of this form: {{\"eviction\":\"lru\"}}, only eviction can be changed: {e}"
        ))
    })?;
    let name = change.eviction.ok_or_else(|| {
        Error::invalid("the body changes nothing, it must be of this form: {\"eviction\":\"lru\"}")
    })?;
    policy_by_name(&name).ok_or_else(|| {
        let name: String = name.chars().take(40).collect();
        Error::invalid(format!("unknown eviction policy, got={name:?} known=[{}]", policy_names()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::Eviction;

    #[test]
    fn an_error_names_what_is_wrong_and_what_would_be_right() {
        for (body, named) in [
            ("", "{\"eviction\":\"lru\"}"),
            ("{}", "changes nothing"),
            ("{\"eviction\":null}", "changes nothing"),
            ("{\"eviction\":\"lru\",\"fsync\":\"never\"}", "fsync"),
            ("{\"max_bytes\":1}", "only eviction can be changed"),
            ("{\"eviction\":\"arc\"}", "\"arc\" known=[s3fifo lru lfu"),
            ("{\"eviction\":\"custom\"}", "custom"),
            ("{\"eviction\":5}", "expected a string"),
        ] {
            let error = parse(body.as_bytes()).unwrap_err();
            assert!(error.detail().contains(named), "{body} {error}");
        }
        assert_eq!(parse(b"{\"eviction\":\"wtinylfu\"}").unwrap(), Eviction::WTinyLfu);
    }
}
