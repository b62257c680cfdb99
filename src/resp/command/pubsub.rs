//! Publishing, listening, and `MONITOR`.

use crate::resp::{
    control::Control,
    fail::{Done, Fail},
    glob::PATTERN_LEN_MAX,
    keys::is,
    parse::Args,
    pubsub::{Kind, Push},
    reply::{Proto, Reply},
    subcommand::unknown_subcommand,
};

/// Channels and patterns of one connection.
const SUBSCRIPTIONS_MAX: usize = 10_000;

pub fn publish(control: &mut Control<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    reply.int(control.shared.hub.publish(&args[1], &args[2]) as i64);
    Ok(())
}

pub fn subscribe(control: &mut Control<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    listen(control, Kind::Channel, args, reply)
}

pub fn psubscribe(control: &mut Control<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    listen(control, Kind::Pattern, args, reply)
}

pub fn unsubscribe(control: &mut Control<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    leave(control, Kind::Channel, args, reply)
}

pub fn punsubscribe(control: &mut Control<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    leave(control, Kind::Pattern, args, reply)
}

fn listen(control: &mut Control<'_>, kind: Kind, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let asked = args.len() - 1;
    if control.session.subscriptions() + asked > SUBSCRIPTIONS_MAX {
        let what = format!("ERR too many subscriptions, max={SUBSCRIPTIONS_MAX}");
        return Err(Fail::Text(what.into()));
    }
    if args.from(1).iter().any(|name| kind == Kind::Pattern && name.len() > PATTERN_LEN_MAX) {
        return Err(Fail::Text(format!("ERR the pattern is too long, max={PATTERN_LEN_MAX}").into()));
    }
    let mailbox = control.session.mailbox(control.shared);
    for name in args.from(1).iter() {
        control.shared.hub.subscribe(kind, name, &mailbox);
        control.session.names(kind).insert(name.to_vec());
        tell(control, if kind == Kind::Channel { "subscribe" } else { "psubscribe" }, Some(name), reply);
    }
    Ok(())
}

fn leave(control: &mut Control<'_>, kind: Kind, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let word = if kind == Kind::Channel { "unsubscribe" } else { "punsubscribe" };
    let names: Vec<Vec<u8>> = match args.len() {
        1 => control.session.names(kind).iter().cloned().collect(),
        _ => args.from(1).iter().map(<[u8]>::to_vec).collect(),
    };
    if names.is_empty() {
        tell(control, word, None, reply);
    }
    for name in names {
        control.shared.hub.unsubscribe(kind, &name, &control.session.client);
        control.session.names(kind).remove(&name);
        tell(control, word, Some(&name), reply);
    }
    Ok(())
}

fn tell(control: &Control<'_>, word: &str, name: Option<&[u8]>, reply: &mut Reply<'_>) {
    reply.push(3);
    reply.bulk(word.as_bytes());
    reply.bulk_or_nil(name);
    reply.int(control.session.subscriptions() as i64);
}

pub fn pubsub(control: &mut Control<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let hub = &control.shared.hub;
    match (&args[1], args.len()) {
        (w, 2 | 3) if is(w, "CHANNELS") => {
            let names = hub.channels(args.get(2).filter(|pattern| pattern.len() <= PATTERN_LEN_MAX));
            reply.array(names.len());
            names.iter().for_each(|name| reply.bulk(name));
        }
        (w, _) if is(w, "NUMSUB") => {
            // Pairs, but no map: so it was before there were maps.
            reply.array(2 * (args.len() - 2));
            for name in args.from(2).iter() {
                reply.bulk(name);
                reply.int(hub.listeners(name) as i64);
            }
        }
        (w, 2) if is(w, "NUMPAT") => reply.int(hub.counts().1 as i64),
        // Channels are not spread over shards here.
        (w, 2 | 3) if is(w, "SHARDCHANNELS") => reply.array(0),
        (w, 2) if is(w, "SHARDNUMSUB") => reply.array(0),
        (w, _) => return Err(unknown_subcommand("PUBSUB", w)),
    }
    Ok(())
}

pub fn monitor(control: &mut Control<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let mailbox = control.session.mailbox(control.shared);
    control.shared.hub.monitor(&mailbox);
    control.session.monitors = true;
    reply.ok();
    Ok(())
}

/// What a connection is told, on the wire.
pub fn write_push(push: &Push, proto: Proto, out: &mut Vec<u8>) {
    let mut reply = Reply::new(out, proto);
    match push {
        Push::Command(text) => reply.simple(text),
        Push::Message { pattern, channel, payload } => {
            reply.push(if pattern.is_some() { 4 } else { 3 });
            match pattern {
                Some(pattern) => {
                    reply.bulk(b"pmessage");
                    reply.bulk(pattern);
                }
                None => reply.bulk(b"message"),
            }
            reply.bulk(channel);
            reply.bulk(payload);
        }
    }
}
