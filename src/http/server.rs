//! Accepting connections, and stopping: no new connections, then running requests up to a
//! deadline, then the rest is cut.
//!
//! Returns when nothing runs any more, so that the caller can close the engine knowing that
//! nobody still writes to it.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    time::{sleep, timeout},
};

use super::{
    connection::{self, Phase},
    service::{Answers, Service},
};
use crate::{config::HttpSettings, node::Node};

/// Serves until `stop` is ready, then drains. Does not close the node.
pub async fn serve(
    listener: TcpListener,
    node: Arc<Node>,
    settings: HttpSettings,
    stop: impl Future<Output = ()>,
) {
    let service = Arc::new(Service::new(node.clone(), settings.clone()));
    let stop = async {
        stop.await;
        node.announce_shutdown();
    };
    serve_by(listener, service, settings, stop).await;
}

/// Accepts for whoever answers, until `stop` is ready, then drains.
pub(super) async fn serve_by(
    listener: TcpListener,
    service: Arc<impl Answers>,
    settings: HttpSettings,
    stop: impl Future<Output = ()>,
) {
    let connections_max = u32::try_from(settings.connections_max).unwrap_or(u32::MAX);
    let room = Arc::new(Semaphore::new(connections_max as usize));
    let settings = Arc::new(settings);
    let (phase, watched) = watch::channel(Phase::Serving);
    let mut stop = std::pin::pin!(stop);
    loop {
        // Room first: beyond the limit connections wait in the system's queue.
        let next = async {
            let permit = room.clone().acquire_owned().await.expect("the semaphore is never closed");
            (accept(&listener).await, permit)
        };
        let (stream, permit) = tokio::select! {
            biased;
            () = &mut stop => break,
            accepted = next => accepted,
        };
        let (service, settings, watched) = (service.clone(), settings.clone(), watched.clone());
        tokio::spawn(async move {
            connection::run(stream, service, &settings, watched).await;
            drop(permit);
        });
    }
    drop(listener);
    drain(&phase, &room, connections_max, settings.drain_deadline).await;
}

async fn drain(phase: &watch::Sender<Phase>, room: &Semaphore, connections_max: u32, deadline: Duration) {
    phase.send_replace(Phase::Draining);
    // All permits are back: all connections have ended.
    if timeout(deadline, room.acquire_many(connections_max)).await.is_ok() {
        return;
    }
    let left = connections_max as usize - room.available_permits();
    tracing::warn!("requests still run after the drain deadline, cutting them connections={left}");
    phase.send_replace(Phase::Closed);
    if let Err(closed) = room.acquire_many(connections_max).await {
        tracing::warn!("cannot wait for connections: {closed}");
    }
}

/// The next connection. Running out of file descriptors passes: others close.
async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            // That one connection went away before we took it.
            Err(e)
                if matches!(e.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) => {}
            Err(error) => {
                tracing::warn!("cannot accept a connection: {error}");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}
