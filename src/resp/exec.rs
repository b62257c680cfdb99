//! Runs commands: finds them in the table, checks their form, queues them behind `MULTI`, and runs
//! them until nothing came between.
//!
//! Nothing here waits. What a reply rests on is added up in [`Rests`], and the connection waits once
//! for all the replies of a batch. What a command has written of its reply is taken back before it is
//! run again.

use std::time::Duration;

use emberkeep_storage::Key;

use super::{
    command::{client::only_listens, later::Later},
    control::Control,
    fail::{Done, Fail, too_long},
    fast,
    keys::{Keys, is},
    listing,
    parse::{Args, OwnedArgs},
    reply::Reply,
    session::{QUEUE_BYTES_MAX, Queue, Replies, Session, Watch},
    shared::Shared,
    table::{Command, OnKeys, Run, Step, find, why_not},
};
use crate::node::{rests::Rests, tx::Refused};

/// What the connection does next.
#[derive(Debug)]
pub(super) enum Next {
    /// The next command.
    Go,
    /// The same command, when there is room for a write of so many bytes.
    NoRoom(usize),
    /// This, and it may take a while.
    Later(Later),
}

/// Runs a request of at least one word; the reply is added to `out`.
pub(super) fn run(
    shared: &Shared,
    session: &mut Session,
    args: Args<'_>,
    out: &mut Vec<u8>,
    rests: &mut Rests,
) -> Next {
    let begin = out.len();
    let was = session.replies;
    session.is_silent = was != Replies::On;
    session.replies = was.after_one();
    let next = dispatch(shared, session, args, out, rests);
    if matches!(next, Next::NoRoom(_)) {
        // It comes again.
        session.replies = was;
    }
    if session.is_silent {
        out.truncate(begin);
    }
    next
}

fn dispatch(
    shared: &Shared,
    session: &mut Session,
    args: Args<'_>,
    out: &mut Vec<u8>,
    rests: &mut Rests,
) -> Next {
    let is_plain = session.queue.is_none()
        && !session.listens_only()
        && !shared.hub.is_monitored()
        && !shared.latency.is_on();
    if is_plain && let Some(next) = fast::run(shared, session, args, out, rests) {
        return next;
    }
    let mut reply = Reply::new(out, session.proto);
    let command = match checked(session, args) {
        Ok(command) => command,
        Err(fail) => {
            return refuse(shared, refused(session, args, fail), &mut reply);
        }
    };
    if shared.hub.is_monitored() && !command.flags.contains(&"admin") {
        shared.hub.show(&shown(shared, session, args));
    }
    if session.queue.is_some() && !skips_queue(command) {
        return queue(shared, session, args, &mut reply);
    }
    let started = shared.node.uptime();
    let next = match command.run {
        Run::Keys(on_keys) => alone(shared, session, on_keys, args, &mut reply, rests),
        Run::Server(on_server) => {
            let begin = reply.len();
            let done = on_server(&mut Control { shared, session, rests }, args, &mut reply);
            settle(shared, done, begin, &mut reply)
        }
        Run::Transaction(step) => transaction(shared, session, step, args, &mut reply, rests),
        Run::Later(later) => Next::Later(later),
        Run::Listing => {
            let begin = reply.len();
            settle(shared, listing::command(args, &mut reply), begin, &mut reply)
        }
    };
    if matches!(next, Next::Go) {
        note(shared, session, command, args, shared.node.uptime().saturating_sub(started));
    }
    next
}

/// What a command that cannot be run means for an open transaction: a wrong `EXEC` ends it, after any
/// other the next `EXEC` does nothing.
fn refused(session: &mut Session, args: Args<'_>, fail: Fail) -> Fail {
    if let Some(queue) = &mut session.queue {
        queue.is_broken = true;
    }
    match fail {
        Fail::Text(text) if is(&args[0], "EXEC") => {
            session.queue = None;
            session.watched.clear();
            let why = text.strip_prefix("ERR ").unwrap_or(&text);
            Fail::Text(format!("EXECABORT Transaction discarded because of: {why}").into())
        }
        fail => fail,
    }
}

/// What `MULTI` does not hold up.
fn skips_queue(command: &Command) -> bool {
    matches!(command.run, Run::Transaction(_)) || ["quit", "reset"].contains(&command.name)
}

/// The command that the words mean, if their number is right and the client may send it now.
fn checked(session: &Session, args: Args<'_>) -> Result<&'static Command, Fail> {
    let command = find(&args[0]).ok_or_else(|| unknown(args))?;
    if !command.takes(args.len()) {
        return Err(Fail::arity(command.name));
    }
    let may_listen = ["ping", "quit", "reset"].contains(&command.name)
        || command.group == "pubsub" && command.name.ends_with("subscribe");
    if session.listens_only() && !may_listen {
        return Err(only_listens(command.name));
    }
    Ok(command)
}

fn unknown(args: Args<'_>) -> Fail {
    let name: Vec<u8> = args[0].iter().copied().take(128).collect();
    let name = name.escape_ascii();
    if let Some(why) = why_not(&args[0]) {
        return Fail::Text(format!("ERR unknown command '{name}': {why} (COMPAT.md)").into());
    }
    let mut shown = String::new();
    for arg in args.from(1).iter() {
        if shown.len() >= 128 {
            break;
        }
        let arg: Vec<u8> = arg.iter().copied().take(128 - shown.len()).collect();
        shown.push_str(&format!("'{}' ", arg.escape_ascii()));
    }
    Fail::Text(format!("ERR unknown command '{name}', with args beginning with: {shown}").into())
}

fn refuse(shared: &Shared, fail: Fail, reply: &mut Reply<'_>) -> Next {
    let begin = reply.len();
    settle(shared, Err(fail), begin, reply)
}

/// Writes the error of a command in the place of what it had replied so far.
fn settle(shared: &Shared, done: Done, begin: usize, reply: &mut Reply<'_>) -> Next {
    match done {
        Ok(()) => Next::Go,
        Err(Fail::NoRoom(bytes)) => {
            reply.truncate(begin);
            Next::NoRoom(bytes)
        }
        Err(Fail::Text(text)) => {
            reply.truncate(begin);
            shared.note_error(&text);
            reply.error(&text);
            Next::Go
        }
        Err(Fail::Conflict) => unreachable!("only transactions meet a conflict, and they are run again"),
    }
}

/// One command by itself.
fn alone(
    shared: &Shared,
    session: &mut Session,
    on_keys: OnKeys,
    args: Args<'_>,
    reply: &mut Reply<'_>,
    rests: &mut Rests,
) -> Next {
    let begin = reply.len();
    loop {
        let mut tx = shared.node.tx();
        let mut keys = keys(shared, &mut tx, session.namespace);
        let done = on_keys(&mut keys, args, reply);
        let (namespace, events) = (keys.namespace, keys.events);
        let outcome = done.and_then(|()| tx.commit().map_err(Fail::from));
        match outcome {
            Ok(on) => {
                rests.and(on);
                session.namespace = namespace;
                shared.live.publish(&shared.hub, &events);
                return Next::Go;
            }
            Err(Fail::Conflict) => reply.truncate(begin),
            Err(fail) => return settle(shared, Err(fail), begin, reply),
        }
    }
}

fn keys<'a, 'n>(shared: &Shared, tx: &'a mut crate::node::tx::Tx<'n>, namespace: u16) -> Keys<'a, 'n> {
    Keys {
        tx,
        namespace,
        value_len_max: shared.node.settings().max_value_bytes,
        reply_len_max: shared.message_len_max(),
        tells: shared.live.is_on(),
        events: Vec::new(),
    }
}

fn queue(shared: &Shared, session: &mut Session, args: Args<'_>, reply: &mut Reply<'_>) -> Next {
    let queue = session.queue.as_mut().expect("asked before");
    queue.bytes += args.bytes() + 64;
    if queue.bytes > QUEUE_BYTES_MAX {
        queue.is_broken = true;
        queue.commands.clear();
        let what = format!("ERR the transaction is too long, max={QUEUE_BYTES_MAX}");
        return refuse(shared, Fail::Text(what.into()), reply);
    }
    if !queue.is_broken {
        queue.commands.push(OwnedArgs::of(args));
    }
    reply.simple("QUEUED");
    Next::Go
}

fn transaction(
    shared: &Shared,
    session: &mut Session,
    step: Step,
    args: Args<'_>,
    reply: &mut Reply<'_>,
    rests: &mut Rests,
) -> Next {
    let is_open = session.queue.is_some();
    let refusal = match step {
        Step::Multi if is_open => Some("ERR MULTI calls can not be nested"),
        Step::Watch if is_open => Some("ERR WATCH inside MULTI is not allowed"),
        Step::Exec if !is_open => Some("ERR EXEC without MULTI"),
        Step::Discard if !is_open => Some("ERR DISCARD without MULTI"),
        _ => None,
    };
    if let Some(text) = refusal {
        return refuse(shared, Fail::text(text), reply);
    }
    match step {
        Step::Multi => {
            session.queue = Some(Queue::default());
            reply.ok();
        }
        Step::Discard => {
            session.queue = None;
            session.watched.clear();
            reply.ok();
        }
        Step::Watch => {
            watch(shared, session, args, rests);
            reply.ok();
        }
        Step::Exec => return exec(shared, session, reply, rests),
    }
    Next::Go
}

fn watch(shared: &Shared, session: &mut Session, args: Args<'_>, rests: &mut Rests) {
    let namespace = session.namespace;
    for key in args.from(1).iter() {
        let is_watched = session.watched.iter().any(|w| w.namespace == namespace && w.key == key);
        if !is_watched {
            let entry = shared.node.read(Key { namespace, bytes: key }, false, rests);
            let version = entry.map(|entry| entry.version());
            session.watched.push(Watch { namespace, key: key.to_vec(), version });
        }
    }
}

/// A command that `MULTI` has let in.
fn queued(args: &OwnedArgs) -> &'static Command {
    find(&args.args()[0]).expect("it was found before it was queued")
}

/// Runs what was queued. Commands on keys are one transaction; those on the server, such as `PUBLISH`,
/// are run once it has happened.
fn exec(shared: &Shared, session: &mut Session, reply: &mut Reply<'_>, rests: &mut Rests) -> Next {
    let queue = session.queue.take().expect("asked before");
    if queue.is_broken {
        session.watched.clear();
        return refuse(
            shared,
            Fail::text("EXECABORT Transaction discarded because of previous errors."),
            reply,
        );
    }
    let begin = reply.len();
    let replies = loop {
        match attempt(shared, session, &queue, reply, rests) {
            Ok(replies) => break replies,
            Err(Fail::Conflict) => {}
            Err(Fail::NoRoom(bytes)) => {
                session.queue = Some(queue);
                return Next::NoRoom(bytes);
            }
            Err(fail) => {
                session.watched.clear();
                return settle(shared, Err(fail), begin, reply);
            }
        }
    };
    session.watched.clear();
    let Some(replies) = replies else {
        reply.nil_array();
        return Next::Go;
    };
    reply.array(replies.len());
    for (args, written) in queue.commands.iter().zip(replies) {
        match (written, queued(args).run) {
            (Some(written), _) => reply.raw(&written),
            (None, Run::Server(on_server)) => {
                let begin = reply.len();
                let done = on_server(&mut Control { shared, session, rests }, args.args(), reply);
                settle(shared, done, begin, reply);
            }
            (None, Run::Listing) => {
                let begin = reply.len();
                settle(shared, listing::command(args.args(), reply), begin, reply);
            }
            // There is nobody to wait for.
            (None, Run::Later(Later::Wait)) => reply.int(0),
            (None, _) => reply.error("ERR Command not allowed inside a transaction"),
        }
    }
    Next::Go
}

/// The replies of the commands on keys, and nothing for the others; `None` if a watched key has changed.
type Written = Option<Vec<Option<Vec<u8>>>>;

fn attempt(
    shared: &Shared,
    session: &mut Session,
    queue: &Queue,
    reply: &Reply<'_>,
    rests: &mut Rests,
) -> Result<Written, Fail> {
    let mut tx = shared.node.tx();
    for Watch { namespace, key, version } in &session.watched {
        if tx.version(Key { namespace: *namespace, bytes: key }) != *version {
            return Ok(None);
        }
    }
    let mut keys = keys(shared, &mut tx, session.namespace);
    let mut replies = Vec::with_capacity(queue.commands.len());
    let mut total = 0;
    for args in &queue.commands {
        let Run::Keys(on_keys) = queued(args).run else {
            replies.push(None);
            continue;
        };
        let mut written = Vec::new();
        let mut own = Reply::new(&mut written, reply.proto());
        match on_keys(&mut keys, args.args(), &mut own) {
            Ok(()) => {}
            // The others happen all the same, as with redis-server.
            Err(Fail::Text(text)) => {
                own.truncate(0);
                own.error(&text);
            }
            Err(other) => return Err(other),
        }
        total += written.len();
        if total > keys.reply_len_max {
            return Err(too_long(keys.reply_len_max));
        }
        replies.push(Some(written));
    }
    let (namespace, events) = (keys.namespace, keys.events);
    let on = match tx.commit() {
        Ok(on) => on,
        Err(Refused::Conflict) => return Err(Fail::Conflict),
        Err(refused) => return Err(refused.into()),
    };
    rests.and(on);
    session.namespace = namespace;
    shared.live.publish(&shared.hub, &events);
    Ok(Some(replies))
}

fn note(shared: &Shared, session: &Session, command: &'static Command, args: Args<'_>, took: Duration) {
    session.tell(command.name, shared);
    let event = if command.flags.contains(&"fast") { "fast-command" } else { "command" };
    shared.latency.note(event, took, shared.node.now());
    if shared.slowlog.is_slow(took) && !command.flags.contains(&"skip_slowlog") {
        let name = session.client.about().name.clone();
        shared.slowlog.add(shared.node.now().0 / 1000, took, args, session.client.peer, name);
    }
}

/// A command as `MONITOR` shows it.
fn shown(shared: &Shared, session: &Session, args: Args<'_>) -> String {
    let now = shared.node.now().0;
    let (database, peer) = (session.namespace, session.client.peer);
    let mut out = format!("{}.{:03}000 [{database} {peer}]", now / 1000, now % 1000);
    for arg in args.iter() {
        out.push_str(&format!(" \"{}\"", arg.escape_ascii()));
    }
    out
}
