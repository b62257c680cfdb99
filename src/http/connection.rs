//! One connection: hyper's HTTP/1.1 with deadlines on both directions.
//!
//! Headers that do not complete in time close the connection (hyper's own timer). A reply of
//! which the client takes no byte for a while closes it too. At the end of a connection what the
//! client still sends is read and thrown away for a moment: closing at once would reset the
//! connection and could destroy a reply, such as 413, that the client has not read yet.
//!
//! A request with both `Transfer-Encoding` and `Content-Length` is read as chunked and its
//! connection then ends (RFC 9112, section 6.1), so nothing can hide behind it.

use std::{
    convert::Infallible,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper::{
    rt::{Read, ReadBufCursor, Write},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, ReadBuf},
    net::TcpStream,
    sync::watch,
    time::{Sleep, sleep},
};

use super::service::Answers;
use crate::config::HttpSettings;

/// The largest header block; a key of the longest kind, all of it escaped, fits.
const HEADER_BYTES_MAX: usize = 64 << 10;
/// How long the rest of what a client sends is thrown away.
const LINGER: Duration = Duration::from_secs(1);

/// Where the server is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Requests are welcome.
    Serving,
    /// The running request is the last one.
    Draining,
    /// No more waiting.
    Closed,
}

/// Serves one connection until either side has had enough.
pub(super) async fn run(
    stream: TcpStream,
    service: Arc<impl Answers>,
    settings: &HttpSettings,
    mut phase: watch::Receiver<Phase>,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!("cannot set TCP_NODELAY: {error}");
    }
    let io = Guarded {
        io: TokioIo::new(stream),
        stall_deadline: settings.stall_deadline,
        stall: None,
        linger: None,
    };
    let handler = service_fn(move |request| {
        let service = service.clone();
        async move { Ok::<_, Infallible>(service.handle(request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(settings.header_deadline)
        .max_header_size(HEADER_BYTES_MAX)
        .serve_connection(io, handler);
    let mut connection = std::pin::pin!(connection);
    loop {
        tokio::select! {
            result = connection.as_mut() => {
                if let Err(error) = result {
                    tracing::debug!("connection ended: {error}");
                }
                return;
            }
            changed = phase.changed() => {
                let now = *phase.borrow_and_update();
                match (changed, now) {
                    (Ok(()), Phase::Serving) => {}
                    (Ok(()), Phase::Draining) => connection.as_mut().graceful_shutdown(),
                    _ => return,
                }
            }
        }
    }
}

/// A socket that gives up on a client that takes nothing, and closes gently.
struct Guarded {
    io: TokioIo<TcpStream>,
    stall_deadline: Duration,
    /// Runs while a write waits for the client.
    stall: Option<Pin<Box<Sleep>>>,
    /// Runs once our side is closed.
    linger: Option<Pin<Box<Sleep>>>,
}

impl Guarded {
    fn written(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if result.is_ready() {
            self.stall = None;
            return result;
        }
        let stall_deadline = self.stall_deadline;
        let stall = self.stall.get_or_insert_with(|| Box::pin(sleep(stall_deadline)));
        ready!(stall.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl Read for Guarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl Write for Guarded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write(cx, buf);
        self.written(cx, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.written(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.linger.is_none() {
            ready!(Pin::new(&mut this.io).poll_shutdown(cx))?;
        }
        let linger = this.linger.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        let mut scrap = [0; 8192];
        loop {
            if linger.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            let mut buf = ReadBuf::new(&mut scrap);
            match ready!(Pin::new(this.io.inner_mut()).poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => {}
                // The client is gone or has closed too.
                _ => return Poll::Ready(Ok(())),
            }
        }
    }
}
