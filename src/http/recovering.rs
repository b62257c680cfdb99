//! Answers while the data is read: 503 with the code `recovering`, to every request.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{HeaderValue, Request, header},
    response::{IntoResponse, Response},
};
use hyper::body::Incoming;
use tokio::net::TcpListener;

use super::{
    error::{self, Dialect, Failure},
    headers::{REQUEST_ID, RequestIds},
    server::serve_by,
    service::Answers,
};
use crate::{
    config::HttpSettings,
    name,
    node::error::{Code, Error},
};

/// How long connections that have not ended hold up the server that is ready.
const HAND_OVER: Duration = Duration::from_millis(100);

/// Answers that the server is not ready until `stop` is; then all its connections are closed.
pub async fn serve_recovering(listener: TcpListener, settings: HttpSettings, stop: impl Future<Output = ()>) {
    let settings = HttpSettings { drain_deadline: HAND_OVER, ..settings };
    serve_by(listener, Arc::new(Recovering { ids: RequestIds::new() }), settings, stop).await;
}

struct Recovering {
    ids: RequestIds,
}

impl Answers for Recovering {
    async fn handle(&self, request: Request<Incoming>) -> Response {
        let id = self.ids.of(request.headers());
        let error = Error::new(Code::Recovering, "the data is being read, nothing is answered from it yet");
        let mut response = Failure(error.clone()).into_response();
        *response.body_mut() = Body::empty();
        let dialect = Dialect::of(request.uri().path());
        error::render(&mut response, &error, dialect, id.to_str().unwrap_or_default());
        response.headers_mut().insert(header::SERVER, HeaderValue::from_static(name::SERVER));
        response.headers_mut().insert(REQUEST_ID, id);
        response
    }
}
