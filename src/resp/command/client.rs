//! Commands on the connection itself.

use crate::{
    name,
    resp::{
        control::Control,
        fail::{Done, Fail},
        info,
        keys::{Words, is},
        number,
        parse::Args,
        reply::{Proto, Reply},
        session::Replies,
        shared::{About, Client},
        subcommand::unknown_subcommand,
    },
};

const NO_PASSWORD: &str = "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?";

pub fn ping(control: &mut Control<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    if args.len() > 2 {
        return Err(Fail::arity("ping"));
    }
    match args.get(1) {
        _ if control.session.listens_only() => {
            reply.array(2);
            reply.bulk(b"pong");
            reply.bulk(args.get(1).unwrap_or_default());
        }
        Some(text) => reply.bulk(text),
        None => reply.simple("PONG"),
    }
    Ok(())
}

pub fn echo(_: &mut Control<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    reply.bulk(&args[1]);
    Ok(())
}

pub fn quit(control: &mut Control<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Done {
    control.session.closing = true;
    reply.ok();
    Ok(())
}

pub fn reset(control: &mut Control<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Done {
    control.session.reset(control.shared);
    reply.set_proto(Proto::Two);
    reply.simple("RESET");
    Ok(())
}

pub fn unwatch(control: &mut Control<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Done {
    control.session.watched.clear();
    reply.ok();
    Ok(())
}

/// There are no passwords: the port is for this machine, or for a network that is trusted.
pub fn auth(_: &mut Control<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    match args.len() {
        2 => Err(Fail::text(NO_PASSWORD)),
        3 => check_user(&args[1]).map(|()| reply.ok()),
        _ => Err(Fail::SYNTAX),
    }
}

/// The default user needs no password, so that any is right.
fn check_user(user: &[u8]) -> Done {
    if user == b"default" {
        return Ok(());
    }
    Err(Fail::text("WRONGPASS invalid username-password pair or user is disabled."))
}

pub fn hello(control: &mut Control<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let proto = proto_of(args, reply.proto())?;
    let mut name = None;
    let mut words = Words::new(args, 2);
    while let Some(word) = words.next() {
        let wrong =
            || Fail::Text(format!("ERR Syntax error in HELLO option '{}'", word.escape_ascii()).into());
        match word {
            w if is(w, "AUTH") => {
                let user = words.next().ok_or_else(wrong)?;
                words.next().ok_or_else(wrong)?;
                check_user(user)?;
            }
            w if is(w, "SETNAME") => name = Some(checked_name(words.next().ok_or_else(wrong)?)?),
            _ => return Err(wrong()),
        }
    }
    if let Some(name) = name {
        control.session.client.about().name = name;
    }
    control.session.proto = proto;
    write_hello(proto, control.session.client.id, reply);
    Ok(())
}

/// The version of the protocol that a `HELLO` asks for.
pub fn proto_of(args: Args<'_>, current: Proto) -> Result<Proto, Fail> {
    let Some(version) = args.get(1) else { return Ok(current) };
    match number::integer(version) {
        Some(2) => Ok(Proto::Two),
        Some(3) => Ok(Proto::Three),
        Some(_) => Err(Fail::text("NOPROTO unsupported protocol version")),
        None => Err(Fail::text("ERR Protocol version is not an integer or out of range")),
    }
}

/// The reply to a `HELLO` of the client of this number.
pub fn write_hello(proto: Proto, id: u64, reply: &mut Reply<'_>) {
    reply.set_proto(proto);
    reply.map(7);
    for (field, value) in [("server", "redis"), ("version", info::REDIS_VERSION)] {
        reply.bulk(field.as_bytes());
        reply.bulk(value.as_bytes());
    }
    reply.bulk(b"proto");
    reply.int(if proto == Proto::Two { 2 } else { 3 });
    reply.bulk(b"id");
    reply.int(id as i64);
    for (field, value) in [("mode", "standalone"), ("role", "master")] {
        reply.bulk(field.as_bytes());
        reply.bulk(value.as_bytes());
    }
    reply.bulk(b"modules");
    reply.array(0);
}

/// A name as it may stand in the list of clients.
fn checked_name(name: &[u8]) -> Result<String, Fail> {
    let plain = name.iter().all(|b| (b'!'..=b'~').contains(b));
    let text = std::str::from_utf8(name).ok().filter(|_| plain);
    text.map(str::to_owned)
        .ok_or(Fail::text("ERR Client names cannot contain spaces, newlines or special characters."))
}

pub fn client(control: &mut Control<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let own = control.session.client.clone();
    match (&args[1], args.len()) {
        (w, 2) if is(w, "ID") => reply.int(own.id as i64),
        (w, 2) if is(w, "INFO") => reply.verbatim(&line(&own, control)),
        (w, 2) if is(w, "GETNAME") => {
            let name = own.about().name.clone();
            reply.bulk_or_nil(Some(name.as_bytes()).filter(|name| !name.is_empty()));
        }
        (w, 3) if is(w, "SETNAME") => {
            own.about().name = checked_name(&args[2])?;
            reply.ok();
        }
        (w, 4) if is(w, "SETINFO") => {
            set_info(&mut own.about(), &args[2], &args[3])?;
            reply.ok();
        }
        (w, _) if is(w, "LIST") => list(control, args, reply)?,
        (w, 3..) if is(w, "KILL") => kill(control, args, reply)?,
        (w, 3) if is(w, "REPLY") => replies(control, &args[2], reply)?,
        // There is no eviction of clients, and what they touch is noted one way only.
        (w, 3) if is(w, "NO-EVICT") || is(w, "NO-TOUCH") => on_or_off(&args[2]).map(|_| reply.ok())?,
        (w, 2) if is(w, "GETREDIR") => reply.int(-1),
        (w, 2) if is(w, "UNPAUSE") => reply.ok(),
        (w, 2) if is(w, "TRACKINGINFO") => {
            reply.map(3);
            reply.bulk(b"flags");
            reply.set(1);
            reply.bulk(b"off");
            reply.bulk(b"redirect");
            reply.int(-1);
            reply.bulk(b"prefixes");
            reply.array(0);
        }
        (w, 3..) if is(w, "TRACKING") => {
            if on_or_off(&args[2])? {
                return Err(Fail::text(
                    "ERR CLIENT TRACKING is not supported: cached copies are not invalidated",
                ));
            }
            reply.ok();
        }
        (w, _) => return Err(unknown_subcommand("CLIENT", w)),
    }
    Ok(())
}

fn on_or_off(word: &[u8]) -> Result<bool, Fail> {
    match word {
        w if is(w, "ON") => Ok(true),
        w if is(w, "OFF") => Ok(false),
        _ => Err(Fail::SYNTAX),
    }
}

fn set_info(about: &mut About, field: &[u8], value: &[u8]) -> Done {
    let plain = |what: &str| {
        checked_name(value).map_err(|_| {
            Fail::Text(format!("ERR {what} cannot contain spaces, newlines or special characters.").into())
        })
    };
    match field {
        w if is(w, "LIB-NAME") => about.lib_name = plain("lib-name")?,
        w if is(w, "LIB-VER") => about.lib_version = plain("lib-ver")?,
        w => return Err(Fail::Text(format!("ERR Unrecognized option '{}'", w.escape_ascii()).into())),
    }
    Ok(())
}

fn replies(control: &mut Control<'_>, word: &[u8], reply: &mut Reply<'_>) -> Done {
    let session = &mut control.session;
    session.replies = match word {
        w if is(w, "ON") => Replies::On,
        w if is(w, "OFF") => Replies::Off,
        w if is(w, "SKIP") && session.replies == Replies::Off => Replies::Off,
        w if is(w, "SKIP") => Replies::SkipNext,
        _ => return Err(Fail::SYNTAX),
    };
    // This one is answered as it says itself.
    session.is_silent = session.replies != Replies::On;
    reply.ok();
    Ok(())
}

fn list(control: &mut Control<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let mut ids: Option<Vec<i64>> = None;
    match args.get(2) {
        None => {}
        Some(w) if is(w, "ID") && args.len() > 3 => {
            let parsed = args.from(3).iter().map(number::integer).collect::<Option<Vec<i64>>>();
            ids = Some(parsed.ok_or(Fail::text("ERR Invalid client ID"))?);
        }
        Some(w) if is(w, "TYPE") && args.len() == 4 => check_type(&args[3])?,
        Some(_) => return Err(Fail::SYNTAX),
    }
    let is_wanted = |client: &Client| ids.as_ref().is_none_or(|ids| ids.contains(&(client.id as i64)));
    let clients = control.shared.clients();
    let lines: String = clients.iter().filter(|c| is_wanted(c)).map(|c| line(c, control)).collect();
    reply.verbatim(&lines);
    Ok(())
}

/// Every connection is of the one type, whichever is asked for.
fn check_type(word: &[u8]) -> Done {
    if ["normal", "master", "replica", "slave", "pubsub"].iter().any(|name| is(word, name)) {
        return Ok(());
    }
    Err(Fail::Text(format!("ERR Unknown client type '{}'", word.escape_ascii()).into()))
}

fn line(client: &Client, control: &Control<'_>) -> String {
    let now = control.shared.node.uptime();
    let about = client.about().clone();
    let flags = match (about.monitors, about.listens(), about.queued) {
        (true, ..) => "O",
        (_, true, _) => "P",
        (.., Some(_)) => "x",
        _ => "N",
    };
    format!(
        "id={} addr={} laddr={} name={} age={} idle={} flags={flags} db={} sub={} psub={} multi={} watch={} \
         cmd={} user=default resp={} lib-name={} lib-ver={}\n",
        client.id,
        client.peer,
        control.shared.address,
        about.name,
        now.saturating_sub(client.connected).as_secs(),
        now.saturating_sub(about.last_used).as_secs(),
        about.database,
        about.channels,
        about.patterns,
        about.queued.map_or(-1, |queued| queued as i64),
        about.watched,
        about.command,
        if about.is_resp3 { 3 } else { 2 },
        about.lib_name,
        about.lib_version,
    )
}

/// Which connections are to end.
#[derive(Debug, Default)]
struct Filter {
    id: Option<u64>,
    address: Option<String>,
    own_too: bool,
}

fn kill(control: &mut Control<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if args.len() == 3 {
        let filter = Filter { address: Some(text(&args[2])), own_too: true, ..Filter::default() };
        return match kill_all(control, &filter) {
            0 => Err(Fail::text("ERR No such client")),
            _ => {
                reply.ok();
                Ok(())
            }
        };
    }
    let mut filter = Filter::default();
    let mut words = Words::new(args, 2);
    while let Some(word) = words.next() {
        let value = words.value()?;
        match word {
            w if is(w, "ID") => {
                let id = number::integer(value).and_then(|id| u64::try_from(id).ok()).filter(|id| *id > 0);
                filter.id = Some(id.ok_or(Fail::text("ERR client-id should be greater than 0"))?);
            }
            w if is(w, "ADDR") => filter.address = Some(text(value)),
            w if is(w, "SKIPME") => filter.own_too = is(value, "no"),
            // There is one kind of clients, and one user.
            w if is(w, "TYPE") && is(value, "normal") || is(w, "USER") && is(value, "default") => {}
            _ => return Err(Fail::SYNTAX),
        }
    }
    reply.int(kill_all(control, &filter));
    Ok(())
}

fn kill_all(control: &mut Control<'_>, filter: &Filter) -> i64 {
    let own = control.session.client.id;
    let mut killed = 0;
    for client in control.shared.clients() {
        let is_meant = filter.id.is_none_or(|id| id == client.id)
            && filter.address.as_ref().is_none_or(|address| *address == client.peer.to_string())
            && (filter.own_too || client.id != own)
            && !client.is_killed();
        if is_meant {
            killed += 1;
            if client.id == own {
                // After this reply.
                control.session.closing = true;
            } else {
                client.kill();
            }
        }
    }
    killed
}

/// What a client that listens may still do.
pub fn only_listens(name: &str) -> Fail {
    let allowed = "(P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET";
    let text = format!("ERR Can't execute '{name}': only {allowed} are allowed in this context");
    Fail::Text(text.into())
}

/// What a browser is told that has come to the wrong door.
pub fn wrong_door() -> String {
    format!(
        "-ERR this is the port of {} for the Redis protocol; HTTP has a port of its own, see the start-up block\r\n",
        name::PRODUCT
    )
}
