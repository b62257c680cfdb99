//! What known scripts do, as operations on keys. Which text means which of them says `resp::script`.

use crate::resp::{
    command::{
        expiry::{self, Unit},
        scan, strings,
    },
    fail::{Done, Fail},
    glob,
    keys::Keys,
    number,
    parse::Args,
    reply::Reply,
    script::{self, Known},
};

/// Keys that one script deletes: what a transaction takes.
const MATCHING_MAX: usize = 10_000;

/// A script with its keys and arguments.
pub type Operation = fn(&mut Keys<'_, '_>, Given<'_>, &mut Reply<'_>) -> Done;

/// What a script is given.
#[derive(Clone, Copy, Debug)]
pub struct Given<'a> {
    keys: Args<'a>,
    argv: Args<'a>,
}

impl<'a> Given<'a> {
    /// `KEYS[n]`.
    fn key(self, n: usize) -> Result<&'a [u8], Fail> {
        self.keys.get(n - 1).ok_or(Fail::text("ERR the script needs more keys"))
    }

    /// `ARGV[n]`.
    fn arg(self, n: usize) -> Result<&'a [u8], Fail> {
        self.argv.get(n - 1).ok_or(Fail::text("ERR the script needs more arguments"))
    }

    fn number(self, n: usize) -> Result<i64, Fail> {
        number::integer(self.arg(n)?).ok_or(Fail::NOT_AN_INTEGER)
    }
}

pub fn eval(keys: &mut Keys<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let Some(known) = script::by_text(&args[1]) else {
        return Err(script::unknown(&script::digest(&args[1])));
    };
    // A client that sends the whole text once goes on with its digest.
    script::remember(&args[1], known);
    run(known, keys, args, reply)
}

pub fn evalsha(keys: &mut Keys<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    // Then the client sends the text.
    let known =
        script::by_digest(&args[1]).ok_or(Fail::text("NOSCRIPT No matching script. Please use EVAL."))?;
    run(known, keys, args, reply)
}

fn run(known: &Known, keys: &mut Keys<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let count = number::integer(&args[2]).ok_or(Fail::NOT_AN_INTEGER)?;
    let count = usize::try_from(count).map_err(|_| Fail::text("ERR Number of keys can't be negative"))?;
    if count > args.len() - 3 {
        return Err(Fail::text("ERR Number of keys can't be greater than number of args"));
    }
    (known.run)(keys, Given { keys: args.range(3, 3 + count), argv: args.from(3 + count) }, reply)
}

fn holds(keys: &mut Keys<'_, '_>, key: &[u8], value: &[u8]) -> Result<bool, Fail> {
    Ok(keys.get(key)?.as_deref().is_some_and(|found| found == value))
}

pub fn delete_if_equal(keys: &mut Keys<'_, '_>, given: Given<'_>, reply: &mut Reply<'_>) -> Done {
    let deleted = holds(keys, given.key(1)?, given.arg(1)?)? && keys.delete(given.key(1)?);
    reply.int(deleted.into());
    Ok(())
}

pub fn expire_if_equal(keys: &mut Keys<'_, '_>, given: Given<'_>, reply: &mut Reply<'_>) -> Done {
    expire_ours("pexpire", Unit::Millis, keys, given, reply)
}

pub fn expire_seconds_if_equal(keys: &mut Keys<'_, '_>, given: Given<'_>, reply: &mut Reply<'_>) -> Done {
    expire_ours("expire", Unit::Seconds, keys, given, reply)
}

fn expire_ours(
    name: &str,
    unit: Unit,
    keys: &mut Keys<'_, '_>,
    given: Given<'_>,
    reply: &mut Reply<'_>,
) -> Done {
    let deadline = expiry::deadline(name, unit, given.arg(2)?, keys.tx.now())?;
    let expires = holds(keys, given.key(1)?, given.arg(1)?)? && keys.expire(given.key(1)?, Some(deadline));
    reply.int(expires.into());
    Ok(())
}

/// `ARGV[3]` says whether the time is added to what is left or replaces it.
pub fn extend_lock(keys: &mut Keys<'_, '_>, given: Given<'_>, reply: &mut Reply<'_>) -> Done {
    let key = given.key(1)?;
    let (more, adds) = (given.number(2)?, given.arg(3)? == b"0");
    let now = keys.tx.now();
    let is_ours = holds(keys, key, given.arg(1)?)?;
    let Some(old) = keys.deadline(key).flatten().filter(|_| is_ours) else {
        reply.int(0);
        return Ok(());
    };
    let left = if adds { old.0.saturating_sub(now.0) as i64 } else { 0 };
    let millis = more.saturating_add(left).to_string();
    let new = expiry::deadline("pexpire", Unit::Millis, millis.as_bytes(), now)?;
    reply.int(keys.expire(key, Some(new)).into());
    Ok(())
}

/// All keys that match a pattern, as long as they are few enough for one transaction. Keys that come
/// while it looks may stay.
pub fn delete_matching(keys: &mut Keys<'_, '_>, given: Given<'_>, reply: &mut Reply<'_>) -> Done {
    let pattern = scan::checked(given.key(1)?)?;
    let prefix = keys.key(glob::literal_prefix(pattern));
    let found = keys.tx.matching(prefix, &|key| glob::matches(pattern, key), MATCHING_MAX);
    let Some(found) = found else {
        let what = format!("ERR too many keys match, max={MATCHING_MAX}: delete them with SCAN and UNLINK");
        return Err(Fail::Text(what.into()));
    };
    let deleted = found.iter().filter(|key| keys.delete(key)).count();
    reply.int(deleted as i64);
    Ok(())
}

/// The status of `SETEX`, or false, which is nil.
pub fn add_with_seconds(keys: &mut Keys<'_, '_>, given: Given<'_>, reply: &mut Reply<'_>) -> Done {
    let deadline = expiry::deadline("setex", Unit::Seconds, given.arg(2)?, keys.tx.now())?;
    if keys.exists(given.key(1)?) {
        reply.nil();
    } else {
        keys.set(given.key(1)?, given.arg(1)?.to_vec(), Some(deadline));
        reply.ok();
    }
    Ok(())
}

pub fn add_if_present(keys: &mut Keys<'_, '_>, given: Given<'_>, reply: &mut Reply<'_>) -> Done {
    if keys.exists(given.key(1)?) {
        reply.int(strings::add_to(keys, given.key(1)?, given.number(1)?)?);
    } else {
        reply.nil();
    }
    Ok(())
}

/// A counter that begins to expire when it is created: `ARGV[1]` seconds, `ARGV[2]` to add.
pub fn count_in_window(keys: &mut Keys<'_, '_>, given: Given<'_>, reply: &mut Reply<'_>) -> Done {
    let deadline = expiry::deadline("expire", Unit::Seconds, given.arg(1)?, keys.tx.now())?;
    let amount = given.number(2)?;
    let count = strings::add_to(keys, given.key(1)?, amount)?;
    if count == amount {
        keys.expire(given.key(1)?, Some(deadline));
    }
    reply.int(count);
    Ok(())
}

/// The same, created with its deadline: `ARGV[1]` to add, `ARGV[2]` seconds; tells what is left.
pub fn consume(keys: &mut Keys<'_, '_>, given: Given<'_>, reply: &mut Reply<'_>) -> Done {
    let key = given.key(1)?;
    let now = keys.tx.now();
    let deadline = expiry::deadline("set", Unit::Seconds, given.arg(2)?, now)?;
    let points = given.number(1)?;
    let consumed = strings::add_to(keys, key, points)?;
    let deadline = match keys.deadline(key).flatten() {
        Some(kept) => kept,
        None => {
            keys.expire(key, Some(deadline));
            deadline
        }
    };
    reply.array(2);
    reply.int(consumed);
    reply.int(deadline.0.saturating_sub(now.0) as i64);
    Ok(())
}

/// Two windows of `span` milliseconds, the current one living for two: if it is over, it becomes the
/// one before, `KEYS[1]`, and a new one begins, `KEYS[2]`.
fn shift(keys: &mut Keys<'_, '_>, given: Given<'_>, span: i64) -> Done {
    let (previous, current) = (given.key(1)?, given.key(2)?);
    let left = expiry::pttl_of(keys, current);
    if left <= 0 || left >= span {
        return Ok(());
    }
    let (now, deadline) = (keys.tx.now(), keys.deadline(current).flatten());
    if let Some(count) = keys.get(current)? {
        keys.set(previous, count.to_vec(), deadline);
    }
    let millis = left.saturating_add(span).to_string();
    let deadline = expiry::deadline("set", Unit::Millis, millis.as_bytes(), now)?;
    keys.set(current, b"0".to_vec(), Some(deadline));
    Ok(())
}

fn span(given: Given<'_>, n: usize) -> Result<i64, Fail> {
    given.number(n)?.checked_mul(1000).filter(|span| *span > 0).ok_or_else(|| Fail::expire_time("set"))
}

fn count(keys: &mut Keys<'_, '_>, key: &[u8]) -> Result<i64, Fail> {
    let value = keys.get(key)?;
    value.map_or(Ok(0), |value| number::integer(&value).ok_or(Fail::NOT_AN_INTEGER))
}

/// `ARGV`: the limit, seconds of a window, how many to take. True or false, which are 1 and nil.
pub fn slide(keys: &mut Keys<'_, '_>, given: Given<'_>, reply: &mut Reply<'_>) -> Done {
    let (limit, span, amount) = (given.number(1)?, span(given, 2)?, given.number(3)?);
    if amount > limit {
        reply.nil();
        return Ok(());
    }
    shift(keys, given, span)?;
    let (previous, current) = (given.key(1)?, given.key(2)?);
    // What is left of the window before counts by its share.
    let share = i128::from(count(keys, previous)?) * i128::from(expiry::pttl_of(keys, previous).max(0));
    let used = share.div_euclid(i128::from(span)) + i128::from(count(keys, current)?);
    if used + i128::from(amount) > i128::from(limit) {
        reply.nil();
        return Ok(());
    }
    if keys.exists(current) {
        strings::add_to(keys, current, amount)?;
    } else {
        let millis = span.saturating_mul(2).to_string();
        let deadline = expiry::deadline("set", Unit::Millis, millis.as_bytes(), keys.tx.now())?;
        keys.set(current, amount.to_string().into_bytes(), Some(deadline));
    }
    reply.int(1);
    Ok(())
}

/// Count and lifetime of both windows; `ARGV[1]`: seconds of a window.
pub fn windows(keys: &mut Keys<'_, '_>, given: Given<'_>, reply: &mut Reply<'_>) -> Done {
    shift(keys, given, span(given, 1)?)?;
    reply.array(4);
    for key in [given.key(1)?, given.key(2)?] {
        let value = keys.get(key)?;
        reply.bulk_or_nil(value.as_deref());
        let left = expiry::pttl_of(keys, key);
        reply.int(left);
    }
    Ok(())
}
