//! Messages: whoever publishes hands them to the inboxes of those who subscribed.
//!
//! Nothing is stored and nothing is logged: a message reaches who listens at that moment. An inbox
//! that its connection does not empty is bounded; beyond the bound the connection is closed.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::{glob, shared::Client};

/// Something that a client is told without having asked for it now.
#[derive(Clone, Debug)]
pub(super) enum Push {
    /// A message on a channel, and the pattern by which the client gets it.
    Message { pattern: Option<Arc<[u8]>>, channel: Arc<[u8]>, payload: Arc<[u8]> },
    /// A command that somebody sent, as `MONITOR` shows it.
    Command(Arc<str>),
}

impl Push {
    fn len(&self) -> usize {
        match self {
            Push::Message { pattern, channel, payload } => {
                pattern.as_ref().map_or(0, |pattern| pattern.len()) + channel.len() + payload.len() + 64
            }
            Push::Command(text) => text.len(),
        }
    }
}

/// Where a connection finds what it is told.
#[derive(Debug)]
pub(super) struct Inbox {
    receiver: UnboundedReceiver<Push>,
    waiting: Arc<AtomicUsize>,
}

impl Inbox {
    pub(super) async fn next(&mut self) -> Option<Push> {
        let push = self.receiver.recv().await?;
        self.waiting.fetch_sub(push.len(), Ordering::Relaxed);
        Some(push)
    }

    /// What is there already.
    pub(super) fn try_next(&mut self) -> Option<Push> {
        let push = self.receiver.try_recv().ok()?;
        self.waiting.fetch_sub(push.len(), Ordering::Relaxed);
        Some(push)
    }
}

/// The other end of an inbox.
#[derive(Clone, Debug)]
pub(super) struct Mailbox {
    sender: UnboundedSender<Push>,
    waiting: Arc<AtomicUsize>,
    bytes_max: usize,
    client: Arc<Client>,
}

impl Mailbox {
    /// Both ends for a connection, which is closed if so many bytes wait.
    pub(super) fn new(client: Arc<Client>, bytes_max: usize) -> (Mailbox, Inbox) {
        let (sender, receiver) = unbounded_channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        (Mailbox { sender, waiting: waiting.clone(), bytes_max, client }, Inbox { receiver, waiting })
    }

    fn send(&self, push: Push) {
        let len = push.len();
        if self.waiting.fetch_add(len, Ordering::Relaxed) + len > self.bytes_max {
            self.client.kill();
        }
        if self.sender.send(push).is_err() {
            // The connection is gone, and takes its subscriptions with it in a moment.
            self.client.kill();
        }
    }
}

/// Who wants to hear of what.
#[derive(Debug, Default)]
pub(super) struct Hub {
    state: Mutex<State>,
    monitors: AtomicUsize,
}

type Subscribers = HashMap<u64, Mailbox>;

#[derive(Debug, Default)]
struct State {
    channels: HashMap<Arc<[u8]>, Subscribers>,
    patterns: HashMap<Arc<[u8]>, Subscribers>,
    monitors: Subscribers,
}

/// A channel by its name, or all that match a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Channel,
    Pattern,
}

impl State {
    fn of(&mut self, kind: Kind) -> &mut HashMap<Arc<[u8]>, Subscribers> {
        match kind {
            Kind::Channel => &mut self.channels,
            Kind::Pattern => &mut self.patterns,
        }
    }
}

impl Hub {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics under this lock")
    }

    pub(super) fn subscribe(&self, kind: Kind, name: &[u8], mailbox: &Mailbox) {
        let mut state = self.lock();
        state.of(kind).entry(name.into()).or_default().insert(mailbox.client.id, mailbox.clone());
    }

    pub(super) fn unsubscribe(&self, kind: Kind, name: &[u8], client: &Client) {
        let mut state = self.lock();
        if let Some(subscribers) = state.of(kind).get_mut(name) {
            subscribers.remove(&client.id);
            if subscribers.is_empty() {
                state.of(kind).remove(name);
            }
        }
    }

    /// From now on this connection is told every command.
    pub(super) fn monitor(&self, mailbox: &Mailbox) {
        let mut state = self.lock();
        state.monitors.insert(mailbox.client.id, mailbox.clone());
        self.monitors.store(state.monitors.len(), Ordering::Relaxed);
    }

    pub(super) fn end_monitor(&self, client: &Client) {
        let mut state = self.lock();
        state.monitors.remove(&client.id);
        self.monitors.store(state.monitors.len(), Ordering::Relaxed);
    }

    /// Whether anybody is told every command.
    pub(super) fn is_monitored(&self) -> bool {
        self.monitors.load(Ordering::Relaxed) > 0
    }

    pub(super) fn show(&self, command: &str) {
        let command: Arc<str> = command.into();
        self.lock().monitors.values().for_each(|mailbox| mailbox.send(Push::Command(command.clone())));
    }

    /// Hands a message to all who want it; how many they are.
    pub(super) fn publish(&self, channel: &[u8], payload: &[u8]) -> usize {
        let state = self.lock();
        if state.channels.is_empty() && state.patterns.is_empty() {
            return 0;
        }
        let (channel, payload): (Arc<[u8]>, Arc<[u8]>) = (channel.into(), payload.into());
        let mut told = 0;
        let mut send = |pattern: Option<Arc<[u8]>>, subscribers: &Subscribers| {
            for mailbox in subscribers.values() {
                let (channel, payload) = (channel.clone(), payload.clone());
                mailbox.send(Push::Message { pattern: pattern.clone(), channel, payload });
                told += 1;
            }
        };
        if let Some(subscribers) = state.channels.get(&channel) {
            send(None, subscribers);
        }
        for (pattern, subscribers) in state.patterns.iter().filter(|(p, _)| glob::matches(p, &channel)) {
            send(Some(pattern.clone()), subscribers);
        }
        told
    }

    /// Names of channels that somebody listens to, of those that match.
    pub(super) fn channels(&self, pattern: Option<&[u8]>) -> Vec<Arc<[u8]>> {
        let state = self.lock();
        let matching = |name: &&Arc<[u8]>| pattern.is_none_or(|pattern| glob::matches(pattern, name));
        state.channels.keys().filter(matching).cloned().collect()
    }

    /// How many listen to a channel by its name.
    pub(super) fn listeners(&self, channel: &[u8]) -> usize {
        self.lock().channels.get(channel).map_or(0, HashMap::len)
    }

    /// Channels and patterns that somebody listens to.
    pub(super) fn counts(&self) -> (usize, usize) {
        let state = self.lock();
        (state.channels.len(), state.patterns.len())
    }
}
