//! Threads that serve: one per core, each with connections of its own.
//!
//! Another one accepts, and deals the connections out in turn, so that the threads have equally many.
//! A connection stays with its thread: no command is handed from one thread to another.

use std::{io, net::TcpListener, rc::Rc, sync::Arc, thread, time::Duration};

use tokio::{
    net::TcpStream,
    runtime::Builder,
    sync::{
        mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
        watch,
    },
    task::{LocalSet, spawn_local},
    time::{Instant, sleep},
};

use super::{
    connection,
    removed::{self, Removed},
    shared::{Client, Shared},
    turn::Turn,
};
use crate::{
    config::RespSettings,
    node::{
        Node,
        error::{Code, Error, Result},
    },
};

/// Between two looks at whether all connections have ended.
const DRAIN_POLL: Duration = Duration::from_millis(5);

/// The running port.
#[derive(Debug)]
pub struct Port {
    stop: watch::Sender<bool>,
    threads: Vec<thread::JoinHandle<()>>,
}

/// A connection on its way to its thread.
type Dealt = (std::net::TcpStream, Arc<Client>);

/// Serves the Redis protocol on `listener` until [`Port::stop`].
///
/// # Errors
/// `Io` if no thread can be started.
pub fn serve(listener: TcpListener, node: Arc<Node>, settings: RespSettings) -> Result<Port> {
    let failed = |e: io::Error| Error::new(Code::Io, format!("cannot serve the Redis protocol: {e}"));
    listener.set_nonblocking(true).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let (to_tell, removed) = Removed::new();
    let shared = Arc::new(Shared::new(node, settings, address, to_tell));
    let (stop, stopping) = watch::channel(false);
    let mut port = Port { stop, threads: Vec::new() };
    let mut dealers = Vec::new();
    for n in 0..thread::available_parallelism().map_or(1, usize::from) {
        let (dealer, dealt) = unbounded_channel();
        dealers.push(dealer);
        let (shared, stopping) = (shared.clone(), stopping.clone());
        port.spawn(format!("resp-{n}"), move || work(shared, dealt, stopping)).map_err(failed)?;
    }
    port.spawn("resp-accept".to_owned(), move || async move {
        spawn_local(removed::publish(shared.clone(), removed));
        accept(listener, &shared, dealers, stopping).await;
        // Nobody publishes any more.
        shared.node.on_removal(None);
    })
    .map_err(failed)?;
    Ok(port)
}

impl Port {
    /// Ends it: commands that run are finished and answered, then connections are closed. Blocks until
    /// nobody uses the node through this port any more.
    pub fn stop(self) {
        self.stop.send_replace(true);
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the Redis port has panicked");
            }
        }
    }

    /// Runs a future on a thread of its own.
    fn spawn<F: Future<Output = ()>>(
        &mut self,
        name: String,
        run: impl FnOnce() -> F + Send + 'static,
    ) -> io::Result<()> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let thread = thread::Builder::new().name(name);
        self.threads.push(thread.spawn(move || LocalSet::new().block_on(&runtime, run()))?);
        Ok(())
    }
}

/// Serves the connections that are dealt to this thread.
async fn work(shared: Arc<Shared>, mut dealt: UnboundedReceiver<Dealt>, mut stopping: watch::Receiver<bool>) {
    let turn = Rc::new(Turn::default());
    let settler = (turn.clone(), shared.clone());
    let mut settler = spawn_local(async move { settler.0.run(&settler.1.node).await });
    let mut stop = stopping.clone();
    loop {
        let next = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            next = dealt.recv() => next,
            // Connections that nobody wakes would wait for ever: they are closed.
            ended = &mut settler => panic!("nobody waits for the log any more: {ended:?}"),
        };
        let Some((stream, client)) = next else { break };
        let (shared, stopping, turn) = (shared.clone(), stopping.clone(), turn.clone());
        turn.active.update(|active| active + 1);
        spawn_local(async move {
            match TcpStream::from_std(stream) {
                Ok(stream) => {
                    connection::run(stream, shared.clone(), client.clone(), turn.clone(), stopping).await
                }
                Err(error) => tracing::warn!("cannot serve a connection: {error}"),
            }
            shared.disconnect(&client);
            turn.active.update(|active| active - 1);
        });
    }
    // Commands that run are finished, unless they wait for a client or for a time.
    stopping.mark_changed();
    let deadline = Instant::now() + shared.settings.drain_deadline;
    while turn.active.get() > 0 && Instant::now() < deadline {
        sleep(DRAIN_POLL).await;
    }
}

/// Accepts connections and deals them out.
async fn accept(
    listener: TcpListener,
    shared: &Shared,
    dealers: Vec<UnboundedSender<Dealt>>,
    mut stopping: watch::Receiver<bool>,
) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!("cannot accept connections of the Redis protocol: {error}"),
    };
    for dealer in dealers.iter().cycle() {
        let (stream, peer) = tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => return,
            accepted = next(&listener) => accepted,
        };
        let Some(client) = shared.connect(peer) else {
            spawn_local(connection::turn_away(stream));
            continue;
        };
        let dealt = stream.into_std().map(|stream| dealer.send((stream, client.clone())));
        if !matches!(dealt, Ok(Ok(()))) {
            shared.disconnect(&client);
        }
    }
}

/// The next connection. Running out of file descriptors passes: others close.
pub(super) async fn next(listener: &tokio::net::TcpListener) -> (TcpStream, std::net::SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
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
