//! Answers on both ports while the data is read.
//!
//! One thread with its own handles of the listeners. When the data is there it closes its connections
//! and ends, and the server goes on with the same listeners: who connects in between waits in their
//! queues.

use std::{io, net::TcpListener, thread};

use tokio::{runtime::Builder, sync::watch};

use crate::{
    config::ServerSettings,
    http,
    node::error::{Code, Error, Result},
    resp,
};

/// The thread while it runs.
pub(super) struct Recovering {
    stop: watch::Sender<bool>,
    thread: thread::JoinHandle<()>,
}

impl Recovering {
    /// Answers from now on that there is no data yet.
    ///
    /// # Errors
    /// `Io` if the system refuses a thread or a handle.
    pub(super) fn begin(
        http: &TcpListener,
        redis: Option<&TcpListener>,
        settings: &ServerSettings,
    ) -> Result<Recovering> {
        Self::start(http, redis, settings)
            .map_err(|e| Error::new(Code::Io, format!("cannot answer while the data is read: {e}")))
    }

    fn start(
        http: &TcpListener,
        redis: Option<&TcpListener>,
        settings: &ServerSettings,
    ) -> io::Result<Recovering> {
        let (stop, stopping) = watch::channel(false);
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (http, redis) = (http.try_clone()?, redis.map(TcpListener::try_clone).transpose()?);
        let settings = settings.clone();
        let run = move || runtime.block_on(serve(http, redis, settings, stopping));
        let run = || {
            if let Err(error) = run() {
                tracing::warn!("nothing is answered until the data is read: {error}");
            }
        };
        let thread = thread::Builder::new().name("recovering".to_owned()).spawn(run)?;
        Ok(Recovering { stop, thread })
    }

    /// Closes its connections; back when it has ended.
    pub(super) fn end(self) {
        self.stop.send_replace(true);
        if self.thread.join().is_err() {
            tracing::error!("the thread that answered while the data was read has panicked");
        }
    }
}

async fn serve(
    http: TcpListener,
    redis: Option<TcpListener>,
    settings: ServerSettings,
    stopping: watch::Receiver<bool>,
) -> io::Result<()> {
    let stop = || {
        let mut stopping = stopping.clone();
        async move {
            // An end of the sender is one too.
            stopping.wait_for(|stop| *stop).await.ok();
        }
    };
    let http = http::serve_recovering(tokio::net::TcpListener::from_std(http)?, settings.http, stop());
    let redis = match (redis, settings.resp) {
        (Some(listener), Some(settings)) => {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            Some(resp::serve_loading(listener, settings, stop()))
        }
        _ => None,
    };
    let redis = async {
        if let Some(redis) = redis {
            redis.await;
        }
    };
    tokio::join!(http, redis);
    Ok(())
}
