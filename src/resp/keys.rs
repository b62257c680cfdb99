//! What commands on keys see: the namespace that the client has selected, and a transaction.

use emberkeep_storage::{Key, UnixMillis};

use super::{fail::Fail, parse::Args};
use crate::node::tx::{Bytes, Tx};

/// Namespaces that `SELECT` knows.
pub(super) const DATABASES: u16 = 16;

/// The keys of the selected namespace, in a transaction.
#[derive(Debug)]
pub(super) struct Keys<'a, 'n> {
    pub(super) tx: &'a mut Tx<'n>,
    pub(super) namespace: u16,
    /// The longest value.
    pub(super) value_len_max: usize,
    /// The longest reply to one command.
    pub(super) reply_len_max: usize,
    /// Somebody may want to be told of events.
    pub(super) tells: bool,
    /// What happened to which key, for those who asked to be told.
    pub(super) events: Vec<Event>,
}

/// Something that happened to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event {
    /// As the documentation of keyspace notifications names it.
    pub(super) name: &'static str,
    pub(super) namespace: u16,
    pub(super) key: Vec<u8>,
}

impl<'n> Keys<'_, 'n> {
    pub(super) fn key<'k>(&self, bytes: &'k [u8]) -> Key<'k> {
        Key { namespace: self.namespace, bytes }
    }

    pub(super) fn get(&mut self, key: &[u8]) -> Result<Option<Bytes>, Fail> {
        let key = self.key(key);
        Ok(self.tx.get(key)?)
    }

    pub(super) fn exists(&mut self, key: &[u8]) -> bool {
        let key = self.key(key);
        self.tx.exists(key)
    }

    /// The deadline of a key that is there.
    pub(super) fn deadline(&mut self, key: &[u8]) -> Option<Option<UnixMillis>> {
        let key = self.key(key);
        self.tx.deadline(key)
    }

    /// Writes a value.
    pub(super) fn set(&mut self, key: &[u8], value: Vec<u8>, deadline: Option<UnixMillis>) {
        self.put("set", key, value, deadline);
        if deadline.is_some() {
            self.event("expire", key);
        }
    }

    /// Writes a value, which is told under another name.
    pub(super) fn put(
        &mut self,
        event: &'static str,
        key: &[u8],
        value: Vec<u8>,
        deadline: Option<UnixMillis>,
    ) {
        let named = self.key(key);
        self.tx.put(named, value, deadline, false);
        self.event(event, key);
    }

    /// Changes a value that was there, perhaps: media type and deadline stay.
    pub(super) fn change(&mut self, event: &'static str, key: &[u8], value: Vec<u8>) -> Result<(), Fail> {
        if value.len() > self.value_len_max {
            return Err(Fail::text("ERR string exceeds maximum allowed size (proto-max-bulk-len)"));
        }
        let named = self.key(key);
        let deadline = self.tx.deadline(named).flatten();
        self.tx.put(named, value, deadline, true);
        self.event(event, key);
        Ok(())
    }

    pub(super) fn delete(&mut self, key: &[u8]) -> bool {
        let named = self.key(key);
        let was_there = self.tx.delete(named);
        if was_there {
            self.event("del", key);
        }
        was_there
    }

    /// Gives a key another deadline; one that has passed deletes it.
    pub(super) fn expire(&mut self, key: &[u8], deadline: Option<UnixMillis>) -> bool {
        let named = self.key(key);
        let was_there = self.tx.touch(named, deadline);
        let event = match deadline {
            None => "persist",
            Some(at) if at <= self.tx.now() => "del",
            Some(_) => "expire",
        };
        if was_there {
            self.event(event, key);
        }
        was_there
    }

    pub(super) fn event(&mut self, name: &'static str, key: &[u8]) {
        if !self.tells {
            return;
        }
        self.events.push(Event { name, namespace: self.namespace, key: key.to_vec() });
    }
}

/// The words of a command behind its key, taken one after the other.
pub(super) struct Words<'a> {
    args: Args<'a>,
    at: usize,
}

impl<'a> Words<'a> {
    pub(super) fn new(args: Args<'a>, at: usize) -> Words<'a> {
        Words { args, at }
    }

    pub(super) fn next(&mut self) -> Option<&'a [u8]> {
        let word = self.args.get(self.at)?;
        self.at += 1;
        Some(word)
    }

    /// The value that must follow an option.
    pub(super) fn value(&mut self) -> Result<&'a [u8], Fail> {
        self.next().ok_or(Fail::SYNTAX)
    }
}

/// Whether a word is this one, in any case.
pub(super) fn is(word: &[u8], name: &str) -> bool {
    word.eq_ignore_ascii_case(name.as_bytes())
}
