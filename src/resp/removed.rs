//! Keys that the server itself removes, on their way to who asked for `expired` and `evicted`.
//!
//! The engine tells of them in the middle of a write, so they are only put into a queue there; one task
//! publishes them. The queue is bounded: what does not fit is not told, as a message that nobody hears
//! is not. While nobody asks for these events the engine tells nothing and no key is copied.

use std::sync::Arc;

use emberkeep_storage::{Key, OnRemoval, Reason};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::{keys::Event, live::Live, shared::Shared};

/// Keys that wait to be told of: 16 MiB of the longest ones.
const WAITING_MAX: usize = 4096;

/// Where the engine puts them.
#[derive(Debug)]
pub(super) struct Removed(Sender<Event>);

impl Removed {
    /// With the other end of the queue.
    pub(super) fn new() -> (Removed, Receiver<Event>) {
        let (sender, receiver) = channel(WAITING_MAX);
        (Removed(sender), receiver)
    }

    /// What the engine is to call so that those are told who ask now; `None` if nobody does.
    pub(super) fn listener(&self, live: &Live) -> Option<OnRemoval> {
        let (expired, evicted) = (live.tells_of(Reason::Expired), live.tells_of(Reason::Evicted));
        if !expired && !evicted {
            return None;
        }
        let sender = self.0.clone();
        Some(Arc::new(move |reason: Reason, key: Key<'_>| {
            let name = match reason {
                Reason::Expired if expired => "expired",
                Reason::Evicted if evicted => "evicted",
                Reason::Expired | Reason::Evicted => return,
            };
            // Room first: a key that cannot be told of is not copied.
            if let Ok(room) = sender.try_reserve() {
                room.send(Event { name, namespace: key.namespace, key: key.bytes.to_vec() });
            }
        }))
    }
}

/// Publishes them, one after the other, for as long as it is polled.
pub(super) async fn publish(shared: Arc<Shared>, mut waiting: Receiver<Event>) {
    while let Some(event) = waiting.recv().await {
        shared.live.publish(&shared.hub, &[event]);
    }
}
