//! One keep-alive connection of HTTP/1.1. Whatever goes wrong with it is an error, not a panic:
//! the server at the other end may be killed at any byte.

use std::{net::SocketAddr, time::Duration};

use axum::body::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    HeaderMap, Method, Request,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::JoinHandle, time::timeout};

/// Longer than any answer takes on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection to one server.
#[derive(Debug)]
pub struct Client {
    sender: SendRequest<Full<Bytes>>,
    connection: JoinHandle<()>,
}

/// An answer, whole.
#[derive(Debug)]
pub struct Reply {
    /// The status of HTTP.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Client {
    /// Connects. Belongs into a tokio runtime, which also drives the connection.
    ///
    /// # Errors
    /// In words, why there is no connection.
    pub async fn connect(address: SocketAddr) -> Result<Client, String> {
        let stream = within(TcpStream::connect(address)).await?;
        stream.set_nodelay(true).map_err(|e| e.to_string())?;
        let (sender, connection) = within(http1::handshake(TokioIo::new(stream))).await?;
        // Its end shows in the request under way.
        let connection = tokio::spawn(async move { drop(connection.await) });
        Ok(Client { sender, connection })
    }

    /// Sends a request and reads its whole reply.
    ///
    /// # Errors
    /// In words. It is then not known what the server did, and the connection is of no more use.
    pub async fn request(
        &mut self,
        method: Method,
        target: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<Reply, String> {
        let mut request = Request::builder().method(method).uri(target).header("host", "emberkeep");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from(body))).map_err(|e| e.to_string())?;
        within(self.sender.ready()).await?;
        let (parts, body) = within(self.sender.send_request(request)).await?.into_parts();
        let body = within(body.collect()).await?.to_bytes();
        Ok(Reply { status: parts.status.as_u16(), headers: parts.headers, body })
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Reply {
    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// A header as a number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.header(name)?.parse().ok()
    }

    /// The version in the `ETag`.
    pub fn version(&self) -> Option<u64> {
        self.header("etag")?.strip_prefix('"')?.strip_suffix('"')?.parse().ok()
    }
}

async fn within<T, E: std::error::Error>(work: impl Future<Output = Result<T, E>>) -> Result<T, String> {
    match timeout(PATIENCE, work).await {
        Ok(result) => result.map_err(|e| e.to_string()),
        Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}
