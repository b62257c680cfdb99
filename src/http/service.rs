//! What happens to every request, whatever its route: an id, the fences, the total deadline, and
//! the body of an error in the form that its caller understands.

use std::sync::Arc;

use axum::{
    body::Body,
    http::{HeaderValue, Method, Request, StatusCode, header},
    response::{IntoResponse, Response},
};
use hyper::{body::Incoming, service::Service as _};
use hyper_util::service::TowerToHyperService;
use tokio::time::timeout;

use super::{
    App,
    error::{self, Dialect, Failure},
    headers,
};
use crate::{
    config::HttpSettings,
    name,
    node::{
        Node,
        error::{Code, Error, Result},
    },
};

/// Whoever answers the requests of a listener.
pub(super) trait Answers: Send + Sync + 'static {
    /// Answers one request. Never fails: an error is an answer.
    fn handle(&self, request: Request<Incoming>) -> impl Future<Output = Response> + Send;
}

/// The routes and what surrounds them.
pub(super) struct Service {
    app: Arc<App>,
    router: TowerToHyperService<axum::Router>,
}

impl Answers for Service {
    async fn handle(&self, request: Request<Incoming>) -> Response {
        self.answer(request).await
    }
}

impl Service {
    pub(super) fn new(node: Arc<Node>, settings: HttpSettings) -> Self {
        let app = App::new(node, settings);
        let router = TowerToHyperService::new(super::router(app.clone()));
        Service { app, router }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response {
        let id = self.app.ids.of(request.headers());
        let dialect = Dialect::of(request.uri().path());
        let (mut response, consistency) = match admit(&request) {
            Ok(consistency) => (self.routed(request).await, consistency),
            Err(refused) => (Failure(refused).into_response(), None),
        };
        if let Some(Failure(error)) = response.extensions_mut().remove::<Failure>() {
            log_failure(&error, &id);
            error::render(&mut response, &error, dialect, id.to_str().unwrap_or_default());
        }
        if matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
            response.headers_mut().remove(header::CONTENT_LENGTH);
        }
        let map = response.headers_mut();
        map.insert(header::SERVER, HeaderValue::from_static(name::SERVER));
        map.insert(headers::REQUEST_ID, id);
        if let Some(level) = consistency {
            map.insert(headers::CONSISTENCY, HeaderValue::from_static(level));
        }
        response
    }

    async fn routed(&self, request: Request<Incoming>) -> Response {
        let path = request.uri().path();
        let writes = changes_state(request.method(), path);
        let settings = &self.app.settings;
        let deadline = match path {
            "/save" | "/load" | "/v1/snapshots" => settings.export_deadline,
            _ => settings.request_deadline,
        };
        match timeout(deadline, self.router.call(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(never)) => match never {},
            Err(_) if writes => {
                let detail = "the server stopped waiting, what was asked for may still happen";
                Failure(Error::new(Code::OutcomeUnknown, detail)).into_response()
            }
            Err(_) => Failure(Error::new(Code::Overloaded, "the answer took too long")).into_response(),
        }
    }
}

/// What is judged before any route; gives the consistency level to echo.
fn admit(request: &Request<Incoming>) -> Result<Option<&'static str>> {
    let map = request.headers();
    if changes_state(request.method(), request.uri().path()) {
        headers::refuse_cross_site(map)?;
    }
    headers::consistency(map)
}

/// Also a GET may write: the compatible API is made that way.
fn changes_state(method: &Method, path: &str) -> bool {
    let reads = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE);
    !reads || matches!(path, "/set" | "/delete" | "/save" | "/load")
}

/// What an operator has to know about. What a client did wrong is the client's.
fn log_failure(error: &Error, id: &HeaderValue) {
    let ours =
        matches!(error.code(), Code::CorruptRecord | Code::Io | Code::OutcomeUnknown | Code::WalWriteFailed);
    if ours {
        tracing::error!("{} code={} request_id={id:?}", error.detail(), error.code().as_str());
    }
}

/// Any path without a route.
pub(super) async fn no_route(request: Request<Body>) -> Failure {
    Failure(Error::new(Code::RouteNotFound, format!("there is no such route, path={}", request.uri().path())))
}

/// Any method that a route does not have; the router adds `Allow`.
pub(super) async fn no_method(request: Request<Body>) -> Failure {
    Failure(Error::new(
        Code::MethodNotAllowed,
        format!("the route does not have this method, method={}", request.method()),
    ))
}
