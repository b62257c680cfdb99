//! HTTP: translates requests to calls of [`Node`] and answers back. Decides nothing about data.
//!
//! | file | holds |
//! |---|---|
//! | `server`, `connection` | accepting, deadlines, draining |
//! | `recovering` | what is answered before there is data |
//! | `service` | what happens to every request: id, fences, total deadline, error bodies |
//! | `values` | `/v1/keys`, `/v1/keys64`: raw bytes in, raw bytes out |
//! | `compat` | the endpoints of the wire-compatible API: `/set`, `/get`, `/delete`, `/save`, `/load` |
//! | `status` | `/`, `/health`, `/stats` |
//! | `stats` | `/v1/stats`: the same in groups, and where the memory is |
//! | `config` | `/v1/config` |
//! | `representation` | which form of a value a client gets: Accept-Encoding, ETags |
//! | `durability`, `snapshots` | `/v1/durability`, `/v1/snapshots` |
//! | `key`, `query`, `conditional`, `headers`, `body` | pure translation of one part of a request |
//! | `error` | the only place that knows which status a [`Code`](crate::node::error::Code) is |

mod body;
mod compat;
mod conditional;
mod config;
mod connection;
mod durability;
mod error;
mod headers;
pub mod key;
mod query;
mod recovering;
mod representation;
mod server;
mod service;
mod snapshots;
mod stats;
mod status;
mod values;

use std::sync::Arc;

use axum::{
    Router,
    routing::{get, post},
};

use self::{body::Bodies, headers::RequestIds, representation::Inflating};
pub use self::{recovering::serve_recovering, server::serve};
use crate::{config::HttpSettings, node::Node};

/// What every request shares.
pub(crate) struct App {
    node: Arc<Node>,
    settings: HttpSettings,
    bodies: Bodies,
    inflating: Inflating,
    ids: RequestIds,
}

type Shared = axum::extract::State<Arc<App>>;

impl App {
    fn new(node: Arc<Node>, settings: HttpSettings) -> Arc<App> {
        // Less could never take the largest body that is allowed.
        let bodies_max = settings.body_bytes_max.max(2 * compat::body_len_max(&node));
        let bodies = Bodies::new(bodies_max);
        let inflating = Inflating::new(bodies_max);
        Arc::new(App { node, settings, bodies, inflating, ids: RequestIds::new() })
    }
}

fn router(app: Arc<App>) -> Router {
    let values = || get(values::get).head(values::head).put(values::put).delete(values::delete);
    Router::new()
        .route("/v1/keys/", values())
        .route("/v1/keys/{*key}", values())
        .route("/v1/keys64/", values())
        .route("/v1/keys64/{*key}", values())
        .route("/v1/config", get(config::get).patch(config::patch))
        .route("/v1/durability", get(durability::durability))
        .route("/v1/snapshots", post(snapshots::create))
        .route("/", get(status::root))
        .route("/set", get(compat::set_by_query).post(compat::set_by_body))
        .route("/get", get(compat::get))
        .route("/delete", post(compat::delete).delete(compat::delete))
        .route("/save", get(compat::save).post(compat::save))
        .route("/load", get(compat::load).post(compat::load))
        .route("/health", get(status::health))
        .route("/stats", get(status::stats))
        .route("/v1/stats", get(stats::stats))
        .fallback(service::no_route)
        .method_not_allowed_fallback(service::no_method)
        .with_state(app)
}
