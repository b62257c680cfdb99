//! What the connections of this port share: the node, who is connected, and what is counted.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use emberkeep_storage::Fsync;
use tokio::sync::Notify;

use super::{latency::Latency, live::Live, pubsub::Hub, removed::Removed, slowlog::SlowLog};
use crate::{config::RespSettings, node::Node};

/// Shared by all connections.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) node: Arc<Node>,
    pub(super) settings: RespSettings,
    pub(super) address: SocketAddr,
    pub(super) hub: Hub,
    pub(super) slowlog: SlowLog,
    pub(super) live: Live,
    pub(super) latency: Latency,
    pub(super) removed: Removed,
    pub(super) counters: Counters,
    /// In milliseconds since 1970.
    started: u64,
    clients: Mutex<BTreeMap<u64, Arc<Client>>>,
    next_id: AtomicU64,
}

/// Counted since the start.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) connections: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) commands: AtomicU64,
    pub(super) errors: AtomicU64,
    pub(super) read_bytes: AtomicU64,
    pub(super) written_bytes: AtomicU64,
    pub(super) unknown_scripts: AtomicU64,
    /// Connections that were closed because they did not take their replies.
    pub(super) slow_readers: AtomicU64,
}

/// A connection, as others see it.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) id: u64,
    pub(super) peer: SocketAddr,
    pub(super) connected: Duration,
    pub(super) killed: Notify,
    is_killed: AtomicBool,
    about: Mutex<About>,
}

/// What is told about a connection.
#[derive(Clone, Debug, Default)]
pub(super) struct About {
    pub(super) name: String,
    pub(super) lib_name: String,
    pub(super) lib_version: String,
    pub(super) database: u16,
    pub(super) command: &'static str,
    pub(super) last_used: Duration,
    pub(super) channels: usize,
    pub(super) patterns: usize,
    /// Commands queued by `MULTI`.
    pub(super) queued: Option<usize>,
    pub(super) watched: usize,
    pub(super) monitors: bool,
    pub(super) is_resp3: bool,
}

impl Counters {
    /// All from zero.
    pub(super) fn reset(&self) {
        let counters = [
            &self.connections,
            &self.refused,
            &self.commands,
            &self.errors,
            &self.read_bytes,
            &self.written_bytes,
            &self.unknown_scripts,
            &self.slow_readers,
        ];
        counters.into_iter().for_each(|counter| counter.store(0, Ordering::Relaxed));
    }
}

impl About {
    /// Whether it has subscribed to anything.
    pub(super) fn listens(&self) -> bool {
        self.channels + self.patterns > 0
    }
}

impl Client {
    /// Locked while the guard lives: ask for it once in an expression.
    pub(super) fn about(&self) -> MutexGuard<'_, About> {
        self.about.lock().expect("nothing panics under this lock")
    }

    /// The connection ends as soon as it can.
    pub(super) fn kill(&self) {
        self.is_killed.store(true, Ordering::Relaxed);
        self.killed.notify_one();
    }

    pub(super) fn is_killed(&self) -> bool {
        self.is_killed.load(Ordering::Relaxed)
    }
}

impl Shared {
    pub(super) fn new(
        node: Arc<Node>,
        settings: RespSettings,
        address: SocketAddr,
        removed: Removed,
    ) -> Shared {
        let started = node.now().0;
        Shared {
            node,
            started,
            settings,
            address,
            hub: Hub::default(),
            slowlog: SlowLog::default(),
            live: Live::default(),
            latency: Latency::default(),
            removed,
            counters: Counters::default(),
            clients: Mutex::default(),
            next_id: AtomicU64::new(1),
        }
    }

    /// Counts an error that is replied.
    pub(super) fn note_error(&self, text: &str) {
        self.counters.errors.fetch_add(1, Ordering::Relaxed);
        if text.starts_with("ERR this server runs known scripts only") {
            self.counters.unknown_scripts.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Replies have waited for the disk since `began`; what they did not have to wait for took no time.
    pub(super) fn note_sync(&self, began: Duration) {
        if self.node.settings().fsync == Fsync::Always {
            let took = self.node.uptime().saturating_sub(began);
            self.latency.note("aof-fsync-always", took, self.node.now());
        }
    }

    /// Forty hexadecimal digits that stay the same while this process runs.
    pub(super) fn run_id(&self) -> String {
        let terms = self.node.recovery().term;
        format!("{:016x}{:08x}{:016x}", self.started, std::process::id(), terms)
    }

    /// The longest request, and the longest reply to one: as much as a transaction may write.
    pub(super) fn message_len_max(&self) -> usize {
        5 * self.node.settings().max_value_bytes.max(1 << 20)
    }

    /// A new connection; `None` if there are as many as may be.
    pub(super) fn connect(&self, peer: SocketAddr) -> Option<Arc<Client>> {
        let mut clients = self.lock();
        if clients.len() >= self.settings.connections_max {
            self.counters.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        self.counters.connections.fetch_add(1, Ordering::Relaxed);
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let connected = self.node.uptime();
        let about = About { last_used: connected, command: "NULL", ..About::default() };
        let client = Client {
            id,
            peer,
            connected,
            killed: Notify::new(),
            is_killed: AtomicBool::new(false),
            about: Mutex::new(about),
        };
        let client = Arc::new(client);
        clients.insert(id, client.clone());
        Some(client)
    }

    pub(super) fn disconnect(&self, client: &Client) {
        self.lock().remove(&client.id);
    }

    /// All connections, the oldest first.
    pub(super) fn clients(&self) -> Vec<Arc<Client>> {
        self.lock().values().cloned().collect()
    }

    pub(super) fn client_count(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Client>>> {
        self.clients.lock().expect("nothing panics under this lock")
    }
}
