//! Answers while the data is read: `-LOADING`, as redis-server does.
//!
//! `HELLO` and `INFO` are answered, so that a client can connect and ask how things are. A request here
//! is short; one that is long ends its connection, as does the end of the loading.

use std::io;

use tokio::{
    net::{TcpListener, TcpStream},
    task::{JoinSet, LocalSet},
    time::timeout,
};

use super::{
    command::client::{proto_of, write_hello},
    connection::refuse_broken,
    fail::Fail,
    info::REDIS_VERSION,
    keys::is,
    parse::{Args, Parser},
    reply::{Proto, Reply},
    serve::next,
};
use crate::{config::RespSettings, name};

/// The longest request.
const REQUEST_LEN_MAX: usize = 64 << 10;
/// Connections at a time; more wait in the queue of the system.
const CONNECTIONS_MAX: usize = 1000;
const LOADING: &str = "LOADING Emberkeep is loading the dataset in memory";

/// Answers that the data is being loaded until `stop` is ready; then all its connections are closed.
pub async fn serve_loading(listener: TcpListener, settings: RespSettings, stop: impl Future<Output = ()>) {
    let connections_max = settings.connections_max.min(CONNECTIONS_MAX);
    let accept = async {
        let mut connections = JoinSet::new();
        let mut id = 0;
        loop {
            while connections.try_join_next().is_some() {}
            if connections.len() >= connections_max {
                connections.join_next().await;
            }
            let (stream, _) = next(&listener).await;
            id += 1;
            let connection = Connection { stream, proto: Proto::Two, id, settings: settings.clone() };
            connections.spawn_local(connection.run());
        }
    };
    LocalSet::new()
        .run_until(async {
            tokio::select! {
                () = accept => {}
                () = stop => {}
            }
        })
        .await;
}

struct Connection {
    stream: TcpStream,
    proto: Proto,
    id: u64,
    settings: RespSettings,
}

impl Connection {
    /// Until the client goes, or takes too long.
    async fn run(mut self) {
        if let Err(error) = self.serve().await {
            tracing::debug!("connection ended while loading: {error}");
        }
    }

    async fn serve(&mut self) -> io::Result<()> {
        let mut pending = Vec::new();
        loop {
            timeout(self.settings.request_deadline, self.stream.readable()).await??;
            let mut bytes = [0; 4096];
            match self.stream.try_read(&mut bytes) {
                Ok(0) => return Ok(()),
                Ok(len) => pending.extend_from_slice(&bytes[..len]),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => continue,
                Err(e) => return Err(e),
            }
            let mut out = Vec::new();
            let goes_on = self.answer(&mut pending, &mut out);
            timeout(self.settings.stall_deadline, self.send(&out)).await??;
            if !goes_on {
                return Ok(());
            }
        }
    }

    /// Answers every request that is there in full. False: the connection ends.
    fn answer(&mut self, pending: &mut Vec<u8>, out: &mut Vec<u8>) -> bool {
        let mut parser = Parser::new(REQUEST_LEN_MAX);
        let mut at = 0;
        let goes_on = loop {
            match parser.next(&pending[at..]) {
                Ok(Some(len)) => {
                    let args = parser.args(&pending[at..]);
                    if args.len() > 0 && !self.reply(args, &mut Reply::new(out, self.proto)) {
                        break false;
                    }
                    at += len;
                }
                Ok(None) if pending.len() - at <= REQUEST_LEN_MAX => break true,
                Ok(None) => {
                    Reply::new(out, self.proto).error(LOADING);
                    break false;
                }
                Err(broken) => {
                    refuse_broken(&broken, out);
                    break false;
                }
            }
        };
        pending.drain(..at);
        goes_on
    }

    /// Answers one request. False: it was the last.
    fn reply(&mut self, args: Args<'_>, reply: &mut Reply<'_>) -> bool {
        match &args[0] {
            w if is(w, "HELLO") => match proto_of(args, self.proto) {
                Ok(proto) => {
                    self.proto = proto;
                    write_hello(proto, self.id, reply);
                }
                Err(Fail::Text(text)) => reply.error(&text),
                Err(other) => unreachable!("it is about no key: {other:?}"),
            },
            w if is(w, "INFO") => reply.verbatim(&self.info()),
            w if is(w, "QUIT") => {
                reply.ok();
                return false;
            }
            _ => reply.error(LOADING),
        }
        true
    }

    fn info(&self) -> String {
        let port = self.stream.local_addr().map_or(0, |address| address.port());
        format!(
            "# Server\r\nredis_version:{REDIS_VERSION}\r\nserver_name:{}\r\nemberkeep_version:{}\r\n\
             redis_mode:standalone\r\nprocess_id:{}\r\ntcp_port:{port}\r\n\r\n\
             # Persistence\r\nloading:1\r\nasync_loading:0\r\n\r\n# Replication\r\nrole:master\r\n",
            name::PRODUCT,
            name::VERSION,
            std::process::id(),
        )
    }

    async fn send(&self, bytes: &[u8]) -> io::Result<()> {
        let mut sent = 0;
        while sent < bytes.len() {
            self.stream.writable().await?;
            match self.stream.try_write(&bytes[sent..]) {
                Ok(len) => sent += len,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}
