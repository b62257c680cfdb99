//! The commands that caches are sent most, without a transaction: each is one operation of the engine
//! anyway. Their replies are those of the table's commands; a test holds them together.

use emberkeep_storage::{Condition, ErrorKind, Expiry, IncrOutcome, Key, PutOutcome};

use super::{
    command::expiry::{self, Unit},
    exec::Next,
    fail::Fail,
    keys::{Event, is},
    parse::Args,
    reply::Reply,
    session::Session,
    shared::Shared,
};
use crate::node::rests::Rests;

/// Runs the request if it is one of those; `None`: it is to be run as any other.
pub(super) fn run(
    shared: &Shared,
    session: &Session,
    args: Args<'_>,
    out: &mut Vec<u8>,
    rests: &mut Rests,
) -> Option<Next> {
    let mut reply = Reply::new(out, session.proto);
    let key = Key { namespace: session.namespace, bytes: args.get(1)? };
    match (&args[0], args.len()) {
        (w, 2) if is(w, "GET") => get(shared, key, &mut reply, rests),
        (w, 3 | 5) if is(w, "SET") => set(shared, key, args, &mut reply, rests),
        (w, 2) if is(w, "INCR") => incr(shared, key, &mut reply, rests),
        _ => None,
    }
}

fn get(shared: &Shared, key: Key<'_>, reply: &mut Reply<'_>, rests: &mut Rests) -> Option<Next> {
    let entry = shared.node.read(key, true, rests);
    match entry.map(|entry| entry.value()) {
        None => reply.nil(),
        Some(Ok(value)) => reply.bulk(&value),
        Some(Err(error)) => refuse(shared, error.into(), reply),
    }
    Some(Next::Go)
}

fn set(
    shared: &Shared,
    key: Key<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
    rests: &mut Rests,
) -> Option<Next> {
    let expiry = match args.get(3) {
        None => Expiry::Never,
        Some(word) => {
            let unit = Unit::of_option(word)?;
            // What is wrong with it is told elsewhere.
            Expiry::At(expiry::deadline("set", unit, args.get(4)?, shared.node.now()).ok()?)
        }
    };
    match shared.node.write(key, args.get(2)?, expiry, Condition::Always, rests) {
        Ok(PutOutcome::Created | PutOutcome::Replaced) => reply.ok(),
        Ok(PutOutcome::Refused { .. }) => unreachable!("it had no condition"),
        Err(error) => return Some(failed(shared, error, key.bytes.len() + args[2].len(), reply)),
    }
    changed(shared, "set", key);
    if matches!(expiry, Expiry::At(_)) {
        changed(shared, "expire", key);
    }
    Some(Next::Go)
}

fn incr(shared: &Shared, key: Key<'_>, reply: &mut Reply<'_>, rests: &mut Rests) -> Option<Next> {
    match shared.node.add(key, 1, rests) {
        Ok(IncrOutcome::Value(value)) => {
            reply.int(value);
            changed(shared, "incrby", key);
        }
        Ok(IncrOutcome::NotAnInteger) => refuse(shared, Fail::NOT_AN_INTEGER, reply),
        Ok(IncrOutcome::Overflow) => refuse(shared, Fail::OVERFLOW, reply),
        Err(error) => return Some(failed(shared, error, key.bytes.len(), reply)),
    }
    Some(Next::Go)
}

fn changed(shared: &Shared, name: &'static str, key: Key<'_>) {
    if shared.live.is_on() {
        let event = Event { name, namespace: key.namespace, key: key.bytes.to_vec() };
        shared.live.publish(&shared.hub, &[event]);
    }
}

fn failed(shared: &Shared, error: emberkeep_storage::Error, bytes: usize, reply: &mut Reply<'_>) -> Next {
    if error.kind() == ErrorKind::Overloaded {
        return Next::NoRoom(bytes);
    }
    refuse(shared, error.into(), reply);
    Next::Go
}

fn refuse(shared: &Shared, fail: Fail, reply: &mut Reply<'_>) {
    if let Fail::Text(text) = fail {
        shared.note_error(&text);
        reply.error(&text);
    }
}
