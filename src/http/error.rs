//! From an error to a reply: the only place that knows statuses.
//!
//! A handler returns a [`Failure`]; it leaves the router as a bare reply that carries the error
//! along, and `service` gives it the body that the caller of that path understands: problem+json
//! (RFC 9457), or the `{"status":"error",…}` of the compatible endpoints.

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;

use super::representation;
use crate::node::error::{Code, Error};

/// An error on its way out.
#[derive(Clone, Debug)]
pub(super) struct Failure(pub(super) Error);

pub(super) type Result<T, E = Failure> = std::result::Result<T, E>;

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status(self.0.code());
        response.extensions_mut().insert(self);
        response
    }
}

/// Which body an error gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// `application/problem+json`.
    Problem,
    /// `{"status":"error","message":…,"code":…}`.
    Compat,
}

impl Dialect {
    /// By path: the compatible endpoints keep their own form.
    pub(super) fn of(path: &str) -> Dialect {
        match path {
            "/" | "/set" | "/get" | "/delete" | "/save" | "/load" | "/health" | "/stats" => Dialect::Compat,
            _ => Dialect::Problem,
        }
    }
}

/// Gives the reply its body and the headers that belong to the error.
pub(super) fn render(response: &mut Response, error: &Error, dialect: Dialect, id: &str) {
    let code = error.code();
    let (media_type, body) = match dialect {
        Dialect::Compat => (
            "application/json",
            json!({ "status": "error", "message": error.detail(), "code": code.as_str() }),
        ),
        Dialect::Problem => (
            "application/problem+json",
            json!({
                "type": format!("/problems/{}", code.as_str()),
                "title": code.title(),
                "status": status(code).as_u16(),
                "detail": error.detail(),
                "instance": id,
                "code": code.as_str(),
            }),
        ),
    };
    *response.body_mut() = Body::from(body.to_string());
    let map = response.headers_mut();
    // The router has seen an empty body.
    map.remove(header::CONTENT_LENGTH);
    map.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    map.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(version) = error.current() {
        map.insert(header::ETAG, representation::etag(version, None));
    }
    if let Some(seconds) = retry_after(code) {
        map.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if ends_connection(code) {
        map.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
}

fn status(code: Code) -> StatusCode {
    match code {
        Code::InvalidKey | Code::InvalidTtl | Code::InvalidArgument | Code::InvalidConsistencyLevel => {
            StatusCode::BAD_REQUEST
        }
        Code::CrossSiteWrite => StatusCode::FORBIDDEN,
        Code::KeyNotFound | Code::ExportNotFound | Code::RouteNotFound => StatusCode::NOT_FOUND,
        Code::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Code::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
        Code::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
        Code::SnapshotRunning => StatusCode::CONFLICT,
        Code::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
        Code::KeyTooLarge | Code::ValueTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::UnsupportedEncoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Code::CorruptExport => StatusCode::UNPROCESSABLE_ENTITY,
        Code::WalWriteFailed | Code::Overloaded | Code::Recovering | Code::ShuttingDown => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        Code::OutcomeUnknown => StatusCode::GATEWAY_TIMEOUT,
        Code::StorageFull => StatusCode::INSUFFICIENT_STORAGE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn retry_after(code: Code) -> Option<u16> {
    match code {
        Code::Overloaded | Code::Recovering => Some(1),
        Code::ShuttingDown => Some(5),
        _ => None,
    }
}

/// What the client still sends is not wanted: the connection cannot carry another request. Or somebody
/// else answers the next one.
fn ends_connection(code: Code) -> bool {
    matches!(
        code,
        Code::Recovering
            | Code::RequestTimeout
            | Code::KeyTooLarge
            | Code::ValueTooLarge
            | Code::UnsupportedEncoding
    )
}
