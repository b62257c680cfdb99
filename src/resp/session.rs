//! One client: what it has selected, queued, watched and subscribed to.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    parse::OwnedArgs,
    pubsub::{Inbox, Kind, Mailbox},
    reply::Proto,
    shared::{Client, Shared},
};

/// What one `MULTI` may gather.
pub(super) const QUEUE_BYTES_MAX: usize = 64 << 20;

/// The state of a connection.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) client: Arc<Client>,
    pub(super) proto: Proto,
    pub(super) namespace: u16,
    pub(super) queue: Option<Queue>,
    pub(super) watched: Vec<Watch>,
    pub(super) channels: BTreeSet<Vec<u8>>,
    pub(super) patterns: BTreeSet<Vec<u8>>,
    pub(super) monitors: bool,
    pub(super) replies: Replies,
    /// The command at hand is not answered.
    pub(super) is_silent: bool,
    /// No more is read after the command at hand.
    pub(super) closing: bool,
    mailbox: Option<Mailbox>,
    pub(super) inbox: Option<Inbox>,
}

/// Whether replies are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Replies {
    #[default]
    On,
    Off,
    /// Not to the next command.
    SkipNext,
}

impl Replies {
    /// What holds after one more command that does not change it.
    pub(super) fn after_one(self) -> Replies {
        if self == Replies::SkipNext { Replies::On } else { self }
    }
}

/// The commands behind a `MULTI`.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Each was found and in order when it came.
    pub(super) commands: Vec<OwnedArgs>,
    pub(super) bytes: usize,
    /// One of them was wrong, so none will be run.
    pub(super) is_broken: bool,
}

/// A key that must not change before the next `EXEC`.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    pub(super) namespace: u16,
    pub(super) key: Vec<u8>,
    pub(super) version: Option<u64>,
}

impl Session {
    pub(super) fn new(client: Arc<Client>) -> Session {
        Session {
            client,
            proto: Proto::Two,
            namespace: 0,
            queue: None,
            watched: Vec::new(),
            channels: BTreeSet::new(),
            patterns: BTreeSet::new(),
            monitors: false,
            replies: Replies::On,
            is_silent: false,
            closing: false,
            mailbox: None,
            inbox: None,
        }
    }

    /// In the old protocol a client that listens can do little else.
    pub(super) fn listens_only(&self) -> bool {
        self.proto == Proto::Two && self.subscriptions() > 0
    }

    pub(super) fn subscriptions(&self) -> usize {
        self.channels.len() + self.patterns.len()
    }

    pub(super) fn mailbox(&mut self, shared: &Shared) -> Mailbox {
        let mailbox = self.mailbox.get_or_insert_with(|| {
            let (mailbox, inbox) = Mailbox::new(self.client.clone(), shared.settings.output_bytes_max);
            self.inbox = Some(inbox);
            mailbox
        });
        mailbox.clone()
    }

    pub(super) fn names(&mut self, kind: Kind) -> &mut BTreeSet<Vec<u8>> {
        match kind {
            Kind::Channel => &mut self.channels,
            Kind::Pattern => &mut self.patterns,
        }
    }

    /// As if the connection had just been made, but for its name in the list.
    pub(super) fn reset(&mut self, shared: &Shared) {
        self.leave(shared);
        let client = self.client.clone();
        *client.about() = super::shared::About { last_used: shared.node.uptime(), ..Default::default() };
        *self = Session::new(client);
    }

    /// Nobody tells it anything any more.
    pub(super) fn leave(&mut self, shared: &Shared) {
        for kind in [Kind::Channel, Kind::Pattern] {
            for name in std::mem::take(self.names(kind)) {
                shared.hub.unsubscribe(kind, &name, &self.client);
            }
        }
        if std::mem::take(&mut self.monitors) {
            shared.hub.end_monitor(&self.client);
        }
    }

    /// Brings what others see of it up to date.
    pub(super) fn tell(&self, command: &'static str, shared: &Shared) {
        let mut about = self.client.about();
        about.command = command;
        about.last_used = shared.node.uptime();
        about.database = self.namespace;
        about.channels = self.channels.len();
        about.patterns = self.patterns.len();
        about.queued = self.queue.as_ref().map(|queue| queue.commands.len());
        about.watched = self.watched.len();
        about.monitors = self.monitors;
        about.is_resp3 = self.proto == Proto::Three;
    }
}
