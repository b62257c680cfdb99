//! Commands on keys, whatever their values are.

use emberkeep_storage::UnixMillis;

use crate::resp::{
    dump,
    fail::{Done, Fail},
    keys::{DATABASES, Keys, Words, is},
    number,
    parse::Args,
    reply::Reply,
};

pub fn del(keys: &mut Keys<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let deleted = args.from(1).iter().filter(|key| keys.delete(key)).count();
    reply.int(deleted as i64);
    Ok(())
}

/// A key that is named twice counts twice.
pub fn exists(keys: &mut Keys<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    reply.int(args.from(1).iter().filter(|key| keys.exists(key)).count() as i64);
    Ok(())
}

pub fn touch(keys: &mut Keys<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let mut touched = 0;
    for key in args.from(1).iter() {
        let key = keys.key(key);
        touched += i64::from(keys.tx.hit(key));
    }
    reply.int(touched);
    Ok(())
}

pub fn type_of(keys: &mut Keys<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    reply.simple(if keys.exists(&args[1]) { "string" } else { "none" });
    Ok(())
}

pub fn rename(keys: &mut Keys<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    move_to(keys, &args[1], &args[2], true)?;
    reply.ok();
    Ok(())
}

pub fn renamenx(keys: &mut Keys<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    reply.int(move_to(keys, &args[1], &args[2], false)?.into());
    Ok(())
}

fn move_to(keys: &mut Keys<'_, '_>, from: &[u8], to: &[u8], replaces: bool) -> Result<bool, Fail> {
    let (value, deadline) = (keys.get(from)?, keys.deadline(from).flatten());
    let value = value.ok_or(Fail::NO_SUCH_KEY)?;
    if from == to {
        return Ok(replaces);
    }
    if !replaces && keys.exists(to) {
        return Ok(false);
    }
    let (value, old) = (value.to_vec(), keys.key(from));
    keys.tx.delete(old);
    keys.event("rename_from", from);
    keys.put("rename_to", to, value, deadline);
    Ok(true)
}

pub fn copy(keys: &mut Keys<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let (mut namespace, mut replaces) = (keys.namespace, false);
    let mut words = Words::new(args, 3);
    while let Some(word) = words.next() {
        match word {
            w if is(w, "DB") => namespace = database(words.value()?)?,
            w if is(w, "REPLACE") => replaces = true,
            _ => return Err(Fail::SYNTAX),
        }
    }
    let (from, to) = (&args[1], &args[2]);
    if namespace == keys.namespace && from == to {
        return Err(Fail::text("ERR source and destination objects are the same"));
    }
    let (value, deadline) = (keys.get(from)?, keys.deadline(from).flatten());
    let own = std::mem::replace(&mut keys.namespace, namespace);
    let copied = match value {
        Some(value) if replaces || !keys.exists(to) => {
            keys.put("copy_to", to, value.to_vec(), deadline);
            true
        }
        _ => false,
    };
    keys.namespace = own;
    reply.int(copied.into());
    Ok(())
}

/// The number of a namespace.
pub fn database(text: &[u8]) -> Result<u16, Fail> {
    let number = number::integer(text).ok_or(Fail::NOT_AN_INTEGER)?;
    u16::try_from(number).ok().filter(|n| *n < DATABASES).ok_or(Fail::DB_OUT_OF_RANGE)
}

pub fn select(keys: &mut Keys<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    keys.namespace = database(&args[1])?;
    reply.ok();
    Ok(())
}

pub fn flushdb(keys: &mut Keys<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    check_flush(args)?;
    keys.tx.flush(Some(keys.namespace));
    reply.ok();
    Ok(())
}

pub fn flushall(keys: &mut Keys<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    check_flush(args)?;
    keys.tx.flush(None);
    reply.ok();
    Ok(())
}

/// Either way takes a moment only.
fn check_flush(args: Args<'_>) -> Done {
    match args.get(1) {
        None => Ok(()),
        Some(word) if args.len() == 2 && (is(word, "ASYNC") || is(word, "SYNC")) => Ok(()),
        Some(_) => Err(Fail::SYNTAX),
    }
}

pub fn dump(keys: &mut Keys<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let value = keys.get(&args[1])?;
    reply.bulk_or_nil(value.map(|value| dump::encode(&value)).as_deref());
    Ok(())
}

pub fn restore(keys: &mut Keys<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let (mut replaces, mut absolute) = (false, false);
    let mut words = Words::new(args, 4);
    while let Some(word) = words.next() {
        match word {
            w if is(w, "REPLACE") => replaces = true,
            w if is(w, "ABSTTL") => absolute = true,
            // What they say is worked out anew here.
            w if is(w, "IDLETIME") => {
                let seconds = number::integer(words.value()?).filter(|seconds| *seconds >= 0);
                seconds.ok_or(Fail::text("ERR Invalid IDLETIME value, must be >= 0"))?;
            }
            w if is(w, "FREQ") => {
                let count = number::integer(words.value()?).filter(|count| (0..=255).contains(count));
                count.ok_or(Fail::text("ERR Invalid FREQ value, must be >= 0 and <= 255"))?;
            }
            _ => return Err(Fail::SYNTAX),
        }
    }
    if !replaces && keys.exists(&args[1]) {
        return Err(Fail::text("BUSYKEY Target key name already exists."));
    }
    let ttl = number::integer(&args[2]).ok_or(Fail::NOT_AN_INTEGER)?;
    let ttl = u64::try_from(ttl).map_err(|_| Fail::text("ERR Invalid TTL value, must be >= 0"))?;
    let value = dump::decode(&args[3], keys.value_len_max).map_err(Fail::text)?;
    let now = if absolute { 0 } else { keys.tx.now().0 };
    let latest = emberkeep_storage::limits::DEADLINE_MAX;
    let deadline = (ttl > 0).then(|| UnixMillis(now.saturating_add(ttl).min(latest)));
    keys.put("restore", &args[1], value, deadline);
    reply.ok();
    Ok(())
}
