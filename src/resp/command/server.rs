//! Commands that tell about the server.

use emberkeep_storage::{Eviction, Key};

use crate::resp::{
    control::Control,
    fail::{Done, Fail},
    info,
    keys::is,
    number,
    parse::Args,
    reply::Reply,
    script,
    slowlog::Slow,
    subcommand::unknown_subcommand,
};

pub fn ok(_: &mut Control<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Done {
    reply.ok();
    Ok(())
}

pub fn info(control: &mut Control<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let sections: Vec<String> =
        args.from(1).iter().map(|word| String::from_utf8_lossy(word).to_lowercase()).collect();
    reply.verbatim(&info::text(control.shared, &sections));
    Ok(())
}

pub fn time(control: &mut Control<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let now = control.shared.node.now().0;
    reply.array(2);
    reply.bulk((now / 1000).to_string().as_bytes());
    reply.bulk((now % 1000 * 1000).to_string().as_bytes());
    Ok(())
}

pub fn lastsave(control: &mut Control<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Done {
    reply.int(info::last_save(control.shared) as i64);
    Ok(())
}

/// A master without replicas, at the end of the log.
pub fn role(control: &mut Control<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Done {
    reply.array(3);
    reply.bulk(b"master");
    reply.int(control.shared.node.stats().appended.0 as i64);
    reply.array(0);
    Ok(())
}

pub fn cluster(_: &mut Control<'_>, _: Args<'_>, _: &mut Reply<'_>) -> Done {
    Err(Fail::text("ERR This instance has cluster support disabled"))
}

pub fn acl(_: &mut Control<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    match (&args[1], args.len()) {
        (w, 2) if is(w, "WHOAMI") => reply.bulk(b"default"),
        (w, 2) if is(w, "USERS") => {
            reply.array(1);
            reply.bulk(b"default");
        }
        (w, 2) if is(w, "LIST") => {
            reply.array(1);
            reply.bulk(b"user default on nopass sanitize-payload ~* &* +@all");
        }
        (w, _) => return Err(unknown_subcommand("ACL", w)),
    }
    Ok(())
}

pub fn memory(control: &mut Control<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    match (&args[1], args.len()) {
        (w, 3..) if is(w, "USAGE") => {
            check_samples(args)?;
            let key = Key { namespace: control.session.namespace, bytes: &args[2] };
            match control.shared.node.about(key) {
                Some(about) => reply.int(about.bytes as i64),
                None => reply.nil(),
            }
        }
        (w, 2) if is(w, "DOCTOR") => {
            reply.verbatim("See /v1/stats: its lines add up to what the process takes.")
        }
        // What has been freed goes back to the system by itself.
        (w, 2) if is(w, "PURGE") => reply.ok(),
        (w, _) => return Err(unknown_subcommand("MEMORY", w)),
    }
    Ok(())
}

/// What a key takes is known, not estimated from samples.
fn check_samples(args: Args<'_>) -> Done {
    match (args.get(3), args.get(4), args.len()) {
        (None, ..) => Ok(()),
        (Some(word), Some(count), 5) if is(word, "SAMPLES") => {
            number::integer(count).filter(|count| *count >= 0).map(|_| ()).ok_or(Fail::NOT_AN_INTEGER)
        }
        _ => Err(Fail::SYNTAX),
    }
}

pub fn object(control: &mut Control<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let word = &args[1];
    if args.len() != 3 || !["ENCODING", "REFCOUNT", "FREQ", "IDLETIME"].iter().any(|name| is(word, name)) {
        return Err(unknown_subcommand("OBJECT", word));
    }
    let node = &control.shared.node;
    let key = Key { namespace: control.session.namespace, bytes: &args[2] };
    let Some(about) = node.about(key) else {
        reply.nil();
        return Ok(());
    };
    let counts_uses = matches!(node.eviction(), Eviction::S3Fifo | Eviction::Lfu);
    match word {
        w if is(w, "REFCOUNT") => reply.int(1),
        w if is(w, "ENCODING") => {
            let value = node.read(key, false, control.rests).map(|entry| entry.value()).transpose()?;
            reply.bulk(encoding(value.as_deref().unwrap_or_default()).as_bytes());
        }
        // Six bits of the hint are a count with both policies.
        w if is(w, "FREQ") && counts_uses => reply.int((about.hint & 63).into()),
        w if is(w, "FREQ") => {
            return Err(Fail::text(
                "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.",
            ));
        }
        _ => {
            return Err(Fail::text(
                "ERR idle times are not tracked: entries are kept in an order, without times",
            ));
        }
    }
    Ok(())
}

/// The names that redis-server has for the forms of a string.
fn encoding(value: &[u8]) -> &'static str {
    match value.len() {
        ..=20 if number::integer(value).is_some() => "int",
        ..=44 => "embstr",
        _ => "raw",
    }
}

pub fn slowlog(control: &mut Control<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let log = &control.shared.slowlog;
    match (&args[1], args.len()) {
        (w, 2) if is(w, "LEN") => reply.int(log.len() as i64),
        (w, 2) if is(w, "RESET") => {
            log.reset();
            reply.ok();
        }
        (w, 2 | 3) if is(w, "GET") => {
            let count = args.get(2).map_or(Some(10), number::integer).filter(|count| *count >= -1);
            let count = count.ok_or(Fail::text("ERR count should be greater than or equal to -1"))?;
            let entries = log.newest(usize::try_from(count).unwrap_or(usize::MAX));
            reply.array(entries.len());
            entries.iter().for_each(|slow| write_slow(slow, reply));
        }
        (w, _) => return Err(unknown_subcommand("SLOWLOG", w)),
    }
    Ok(())
}

fn write_slow(slow: &Slow, reply: &mut Reply<'_>) {
    reply.array(6);
    reply.int(slow.id as i64);
    reply.int(slow.at_secs as i64);
    reply.int(slow.micros as i64);
    reply.array(slow.args.len());
    slow.args.iter().for_each(|arg| reply.bulk(arg));
    reply.bulk(slow.peer.to_string().as_bytes());
    reply.bulk(slow.name.as_bytes());
}

pub fn script(_: &mut Control<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    match (&args[1], args.len()) {
        (w, 3..) if is(w, "EXISTS") => {
            reply.array(args.len() - 2);
            args.from(2).iter().for_each(|digest| reply.int(script::by_digest(digest).is_some().into()));
        }
        (w, 3) if is(w, "LOAD") => {
            let known =
                script::by_text(&args[2]).ok_or_else(|| script::unknown(&script::digest(&args[2])))?;
            // The digest is that of the text as the client has it.
            let digest = script::remember(&args[2], known);
            reply.bulk(digest.as_bytes());
        }
        // The table is always there.
        (w, 2) if is(w, "FLUSH") => reply.ok(),
        (w, 3) if is(w, "FLUSH") && (is(&args[2], "SYNC") || is(&args[2], "ASYNC")) => reply.ok(),
        (w, 3) if is(w, "FLUSH") => {
            return Err(Fail::text("ERR SCRIPT FLUSH only support SYNC|ASYNC option"));
        }
        (w, 2) if is(w, "KILL") => return Err(Fail::text("NOTBUSY No scripts in execution right now.")),
        (w, _) => return Err(unknown_subcommand("SCRIPT", w)),
    }
    Ok(())
}
