//! `serve`: listens, opens the data directory, serves until a signal, stops in order.
//!
//! The address is taken before the data is opened: a taken port is told at once, not after a long
//! recovery. Connections that arrive meanwhile are told so (`recovering`); nothing is answered from
//! half-read data.
//!
//! SIGTERM and SIGINT stop it: no new connections, running requests finish, the log is synced and
//! marked clean. A second signal exits at once, which costs nothing but the clean mark.
//!
//! A failed write or sync of the log stops it too, but not at once: reads of what is durable go on
//! for a grace time, so that a fleet can move away. However a server with a stopped log ends, its
//! exit code says so.

use std::{
    io::{self, Write},
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use emberkeep_storage::{Components, Fsync, sim::disk::SimDisk};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{exit::Failed, files, recovering::Recovering};
use crate::{
    config::ServerSettings,
    http, name,
    node::{
        Node,
        error::{Code, Error, Result},
    },
    observe::startup,
    resp,
};

/// Progress of a recovery is told from here on, and then as often.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

pub(super) fn run(mut settings: ServerSettings) -> Result<(), Failed> {
    files::fit(&mut settings);
    let listener = listen(settings.listen)?;
    let (resp_listener, resp_refusal) = listen_for_redis(&settings)?;
    let recovering = Recovering::begin(&listener, resp_listener.as_ref(), &settings)?;
    let node = Arc::new(open(&settings)?);
    recovering.end();
    let fsync = settings.engine.fsync;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::new(Code::Io, format!("cannot start threads: {e}")))?;
    runtime.block_on(async {
        let redis = Redis { listener: resp_listener, refusal: resp_refusal };
        serve(listener, redis, node.clone(), settings).await?;
        // Whatever the last writes met, it is the disk, and not a refusal: it did serve.
        node.close().await.map_err(|error| Failed::halted(error, fsync))
    })?;
    match fsync {
        Fsync::Off => tracing::info!("stopped: nothing is kept"),
        _ => tracing::info!("stopped: everything is on the disk"),
    }
    Ok(())
}

/// Serves until it is time to stop; what is running then has been answered or cut.
async fn serve(listener: TcpListener, redis: Redis, node: Arc<Node>, settings: ServerSettings) -> Result<()> {
    let failed = |e: io::Error| Error::new(Code::Io, format!("cannot start serving: {e}"));
    let mut signals = Signals::new().map_err(failed)?;
    let listener = tokio::net::TcpListener::from_std(listener).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    // Nobody may be reading; that is no reason not to serve.
    let redis_line = redis.line();
    let port = match (redis.listener, settings.resp.clone()) {
        (Some(listener), Some(settings)) => Some(resp::serve(listener, node.clone(), settings)?),
        _ => None,
    };
    io::stdout()
        .write_all(startup::block(&node, address, &redis_line, settings.memory_percent).as_bytes())
        .ok();
    io::stdout().flush().ok();
    let stop = async {
        let why = tokio::select! {
            signal = signals.next() => signal,
            _ = node.halted(settings.halt_grace) => "the log has stopped",
        };
        tracing::info!("stopping: running requests finish, a second signal exits at once because={why}");
        tokio::spawn(async move {
            signals.next().await;
            std::process::exit(130);
        });
    };
    http::serve(listener, node.clone(), settings.http.clone(), stop).await;
    if let Some(port) = port {
        tokio::task::spawn_blocking(|| port.stop()).await.map_err(|e| failed(e.into()))?;
    }
    Ok(())
}

fn listen(address: SocketAddr) -> Result<TcpListener> {
    let listen = || {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    listen().map_err(|e: io::Error| {
        Error::new(Code::CannotListen, format!("cannot listen: {e}, address={address}"))
    })
}

/// The port of the Redis protocol, or why there is none.
struct Redis {
    listener: Option<TcpListener>,
    refusal: Option<String>,
}

impl Redis {
    /// What the start-up block says.
    fn line(&self) -> String {
        match (&self.listener, &self.refusal) {
            (Some(listener), _) => match listener.local_addr() {
                Ok(address) => format!("on {address}"),
                Err(error) => format!("on an address that the system does not tell: {error}"),
            },
            (None, Some(refusal)) => format!("not served: {refusal}"),
            (None, None) => "off".to_owned(),
        }
    }
}

/// A port that nobody asked for may be taken, mostly by a redis-server: then HTTP is served all the same.
fn listen_for_redis(settings: &ServerSettings) -> Result<(Option<TcpListener>, Option<String>)> {
    let Some(resp) = &settings.resp else { return Ok((None, None)) };
    let address = SocketAddr::new(settings.listen.ip(), resp.port);
    match listen(address) {
        Ok(listener) => Ok((Some(listener), None)),
        Err(error) if resp.required => Err(error),
        Err(error) => {
            let what = format!("{}; give another with --resp-port, or off", error.detail());
            Ok((None, Some(what)))
        }
    }
}

fn open(settings: &ServerSettings) -> Result<Node> {
    let mut components = Components::os().map_err(Error::from_engine)?;
    if settings.engine.fsync == Fsync::Off {
        // Whatever would be a file is one in memory, and there is next to none.
        let disk = SimDisk::new();
        disk.stop_recording();
        components.vfs = Arc::new(disk);
    }
    let clock = components.clock.clone();
    let start = clock.monotonic();
    let told = std::cell::Cell::new(start);
    Node::open(settings.engine.clone(), components, &|progress| {
        let now = clock.monotonic();
        if now.saturating_sub(told.get()) >= PROGRESS_EVERY {
            told.set(now);
            eprintln!("{}: {}", name::PRODUCT, startup::progress(&progress, now.saturating_sub(start)));
        }
    })
}

/// The signals that ask for an end.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
