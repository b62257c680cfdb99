//! A server to talk to, and a client that can misbehave.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use emberkeep::{
    config::ServerSettings,
    http,
    node::{Node, error::Error},
};
use emberkeep_storage::Components;
use tempfile::TempDir;
use tokio::sync::oneshot;

/// Values up to here are taken.
pub const VALUE_MAX: usize = 256 << 10;
/// Keys up to here are taken.
pub const KEY_MAX: usize = 1024;

/// A running server. Dropping it stops it in order.
pub struct Server {
    pub address: SocketAddr,
    pub dir: TempDir,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<(), Error>>>,
    closes_cleanly: bool,
}

impl Server {
    /// One with the defaults, but small limits.
    pub fn start() -> Server {
        Server::with(|_| ())
    }

    /// One with other settings.
    pub fn with(change: impl FnOnce(&mut ServerSettings)) -> Server {
        Server::over(tempfile::tempdir().unwrap(), change)
    }

    /// One over a directory that may hold data.
    pub fn over(dir: TempDir, change: impl FnOnce(&mut ServerSettings)) -> Server {
        Server::on(dir, || Components::os().unwrap(), change)
    }

    /// One on another disk.
    pub fn on(
        dir: TempDir,
        components: impl FnOnce() -> Components + Send + 'static,
        change: impl FnOnce(&mut ServerSettings),
    ) -> Server {
        let mut settings = ServerSettings::default();
        settings.engine.data_dir = dir.path().join("data");
        settings.engine.max_value_bytes = VALUE_MAX;
        settings.engine.max_key_bytes = KEY_MAX;
        settings.engine.segment_bytes = 1 << 20;
        settings.engine.checkpoint_bytes = 4 << 20;
        change(&mut settings);
        let (stop, stopped) = oneshot::channel();
        let (ready, address) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let node = Arc::new(Node::open(settings.engine, components(), &|_| ()).unwrap());
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                ready.send(listener.local_addr().unwrap()).unwrap();
                let stop = async {
                    tokio::select! {
                        asked = stopped => asked.unwrap_or_default(),
                        _ = node.halted(settings.halt_grace) => {}
                    }
                };
                http::serve(listener, node.clone(), settings.http, stop).await;
                node.close().await
            })
        });
        let address = address.recv_timeout(Duration::from_secs(30)).expect("the server starts");
        Server { address, dir, stop: Some(stop), thread: Some(thread), closes_cleanly: true }
    }

    /// Asks it to stop and does not wait.
    pub fn ask_to_stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            stop.send(()).unwrap();
        }
    }

    /// Waits for it to end by itself; what its last sync met.
    pub fn ends_by_itself(mut self) -> Result<(), Error> {
        let ended = self.thread.take().expect("it runs").join().expect("the server stops without a panic");
        // Nobody is left to be asked.
        self.stop = None;
        ended
    }

    /// Its disk is broken: the last sync is not expected to work.
    pub fn may_fail_to_close(&mut self) {
        self.closes_cleanly = false;
    }

    /// Stops it in order; the directory stays.
    pub fn stop(mut self) -> TempDir {
        self.join();
        std::mem::replace(&mut self.dir, tempfile::tempdir().unwrap())
    }

    fn join(&mut self) {
        self.ask_to_stop();
        if let Some(thread) = self.thread.take() {
            let closed = thread.join().expect("the server stops without a panic");
            assert!(closed.is_ok() || !self.closes_cleanly, "{closed:?}");
        }
    }

    pub fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// One request on a connection of its own.
    pub fn request(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        self.connect().request(method, target, headers, body)
    }

    pub fn get(&self, target: &str) -> Reply {
        self.request("GET", target, &[], b"")
    }

    pub fn put(&self, target: &str, body: &[u8]) -> Reply {
        self.request("PUT", target, &[], body)
    }

    pub fn post(&self, target: &str, json: &str) -> Reply {
        self.request("POST", target, &[("Content-Type", "application/json")], json.as_bytes())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.join();
        }
    }
}

/// One connection.
pub struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream: BufReader::new(stream) }
    }

    /// Sends these bytes and nothing else. An error is not one here: the server may have closed.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.get_mut().write_all(bytes.as_ref()).ok();
    }

    pub fn request(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let mut head = format!("{method} {target} HTTP/1.1\r\nHost: x\r\n");
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        if !body.is_empty() || matches!(method, "PUT" | "POST") {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        self.send([head.as_bytes(), b"\r\n", body].concat());
        self.reply(method)
    }

    /// The next reply to a request with this method.
    pub fn reply(&mut self, method: &str) -> Reply {
        self.try_reply(method).expect("a reply")
    }

    /// The same; `None` if the connection ends instead.
    pub fn try_reply(&mut self, method: &str) -> Option<Reply> {
        let mut line = String::new();
        if self.stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status line");
        let mut reply = Reply { status, headers: Vec::new(), body: Vec::new() };
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).unwrap();
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            reply.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let len = reply.header("content-length").map_or(0, |len| len.parse().unwrap());
        if method != "HEAD" && status != 304 {
            reply.body = vec![0; len];
            self.stream.read_exact(&mut reply.body).unwrap();
        }
        Some(reply)
    }

    /// Whether the server closes the connection, before the client's own timeout.
    pub fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => rest.is_empty(),
            Err(e) => e.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}

/// A reply.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    pub fn etag(&self) -> String {
        self.header("etag").expect("an etag").to_owned()
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// Checks status and code of an error.
    #[track_caller]
    pub fn is_error(&self, status: u16, code: &str) -> &Reply {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        assert_eq!(self.json()["code"], code, "{}", self.text());
        self
    }

    #[track_caller]
    pub fn is(&self, status: u16) -> &Reply {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        self
    }
}
