//! Parameters that a client can change while the server runs: which events on keys are published.

use std::sync::atomic::{AtomicU32, Ordering};

use emberkeep_storage::Reason;

use super::{keys::Event, pubsub::Hub};

/// The letters of `notify-keyspace-events`, each with its bit.
const LETTERS: [(char, u32); 6] = [('K', 1), ('E', 2), ('g', 4), ('$', 8), ('x', 16), ('e', 32)];
const KEYSPACE: u32 = 1;
const KEYEVENT: u32 = 2;
const GENERIC: u32 = 4;
const STRING: u32 = 8;
const EXPIRED: u32 = 16;
const EVICTED: u32 = 32;
const ALL_CLASSES: u32 = GENERIC | STRING | EXPIRED | EVICTED;

/// What can be changed while the server runs.
#[derive(Debug, Default)]
pub(super) struct Live {
    events: AtomicU32,
}

impl Live {
    /// The letters in force.
    pub(super) fn events(&self) -> String {
        let bits = self.events.load(Ordering::Relaxed);
        let all = bits & ALL_CLASSES == ALL_CLASSES;
        let classes = LETTERS.iter().filter(|(_, bit)| bits & bit != 0 && !(all && bit & ALL_CLASSES != 0));
        let letters: String = classes.map(|(letter, _)| letter).collect();
        if all { format!("A{letters}") } else { letters }
    }

    /// Takes letters; those of types that this server does not have mean nothing. False if one is no
    /// letter of redis-server's.
    pub(super) fn set_events(&self, letters: &str) -> bool {
        let mut bits = 0;
        for letter in letters.chars() {
            bits |= match LETTERS.iter().find(|(known, _)| *known == letter) {
                Some((_, bit)) => *bit,
                None if letter == 'A' => ALL_CLASSES,
                None if "lshztdmn".contains(letter) => 0,
                None => return false,
            };
        }
        self.events.store(bits, Ordering::Relaxed);
        true
    }

    /// Whether events are published at all.
    pub(super) fn is_on(&self) -> bool {
        self.events.load(Ordering::Relaxed) & (KEYSPACE | KEYEVENT) != 0
    }

    /// Whether somebody wants to be told what the server removes for this reason.
    pub(super) fn tells_of(&self, reason: Reason) -> bool {
        let class = match reason {
            Reason::Expired => EXPIRED,
            Reason::Evicted => EVICTED,
        };
        self.is_on() && self.events.load(Ordering::Relaxed) & class != 0
    }

    /// Tells those who subscribed to it what happened.
    pub(super) fn publish(&self, hub: &Hub, events: &[Event]) {
        let bits = self.events.load(Ordering::Relaxed);
        if !self.is_on() {
            return;
        }
        for event in events {
            let class = match event.name {
                "set" | "incrby" | "incrbyfloat" | "append" | "setrange" => STRING,
                "expired" => EXPIRED,
                "evicted" => EVICTED,
                _ => GENERIC,
            };
            if bits & class == 0 {
                continue;
            }
            if bits & KEYSPACE != 0 {
                let channel = [format!("__keyspace@{}__:", event.namespace).as_bytes(), &event.key].concat();
                hub.publish(&channel, event.name.as_bytes());
            }
            if bits & KEYEVENT != 0 {
                let channel = format!("__keyevent@{}__:{}", event.namespace, event.name);
                hub.publish(channel.as_bytes(), &event.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_come_back_in_their_short_form() {
        let live = Live::default();
        for (given, shown) in [("", ""), ("KEA", "AKE"), ("Kg$", "Kg$"), ("Elg", "Eg"), ("Kxe", "Kxe")] {
            assert!(live.set_events(given));
            assert_eq!(live.events(), shown);
        }
        assert!(!live.set_events("Q"));
    }
}
