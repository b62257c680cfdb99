//! Commands on values that are strings of bytes.

use crate::resp::{
    command::expiry::{self, Unit},
    fail::{Done, Fail, too_long},
    keys::{Keys, Words, is},
    number,
    parse::Args,
    reply::Reply,
};

pub fn get(keys: &mut Keys<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let value = keys.get(&args[1])?;
    reply.bulk_or_nil(value.as_deref());
    Ok(())
}

pub fn mget(keys: &mut Keys<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let begin = reply.len();
    reply.array(args.len() - 1);
    for key in args.from(1).iter() {
        let value = keys.get(key)?;
        reply.bulk_or_nil(value.as_deref());
        if reply.len() - begin > keys.reply_len_max {
            return Err(too_long(keys.reply_len_max));
        }
    }
    Ok(())
}

/// When a value is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum When<'a> {
    #[default]
    Always,
    Absent,
    Present,
    Equal(&'a [u8]),
}

/// What `SET` was told besides key and value.
#[derive(Debug, Default)]
struct SetOptions<'a> {
    when: When<'a>,
    expiry: Option<(Unit, &'a [u8])>,
    keeps_ttl: bool,
    gives_old: bool,
}

impl<'a> SetOptions<'a> {
    /// Those that stand from the word number `at` on.
    fn parse(args: Args<'a>, at: usize) -> Result<SetOptions<'a>, Fail> {
        let mut options = SetOptions::default();
        let mut words = Words::new(args, at);
        while let Some(word) = words.next() {
            // The same once more is no contradiction: the last one counts.
            let may_be = |when| options.when == When::Always || options.when == when;
            let other_unit = |unit| options.expiry.is_some_and(|(before, _)| before != unit);
            match word {
                w if is(w, "NX") && may_be(When::Absent) => options.when = When::Absent,
                w if is(w, "XX") && may_be(When::Present) => options.when = When::Present,
                w if is(w, "IFEQ") && may_be(When::Always) => options.when = When::Equal(words.value()?),
                w if is(w, "GET") => options.gives_old = true,
                w if is(w, "KEEPTTL") && options.expiry.is_none() => options.keeps_ttl = true,
                w => match Unit::of_option(w) {
                    Some(unit) if !options.keeps_ttl && !other_unit(unit) => {
                        options.expiry = Some((unit, words.value()?));
                    }
                    _ => return Err(Fail::SYNTAX),
                },
            }
        }
        Ok(options)
    }
}

pub fn set(keys: &mut Keys<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let options = SetOptions::parse(args, 3)?;
    let (key, value) = (&args[1], &args[2]);
    let mut deadline = match options.expiry {
        Some((unit, number)) => Some(expiry::deadline("set", unit, number, keys.tx.now())?),
        None => None,
    };
    let needs_old = options.gives_old || matches!(options.when, When::Equal(_));
    let old = if needs_old { keys.get(key)? } else { None };
    let happens = match options.when {
        When::Always => true,
        When::Absent => !keys.exists(key),
        When::Present => keys.exists(key),
        When::Equal(wanted) => old.as_deref().is_some_and(|old| old == wanted),
    };
    if happens {
        if options.keeps_ttl {
            deadline = keys.deadline(key).flatten();
        }
        keys.set(key, value.to_vec(), deadline);
    }
    match (options.gives_old, happens) {
        (true, _) => reply.bulk_or_nil(old.as_deref()),
        (false, true) => reply.ok(),
        (false, false) => reply.nil(),
    }
    Ok(())
}

pub fn setnx(keys: &mut Keys<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let absent = !keys.exists(&args[1]);
    if absent {
        keys.set(&args[1], args[2].to_vec(), None);
    }
    reply.int(absent.into());
    Ok(())
}

pub fn setex(keys: &mut Keys<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    set_with("setex", Unit::Seconds, keys, args, reply)
}

pub fn psetex(keys: &mut Keys<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    set_with("psetex", Unit::Millis, keys, args, reply)
}

fn set_with(name: &str, unit: Unit, keys: &mut Keys<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let deadline = expiry::deadline(name, unit, &args[2], keys.tx.now())?;
    keys.set(&args[1], args[3].to_vec(), Some(deadline));
    reply.ok();
    Ok(())
}

pub fn getset(keys: &mut Keys<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let old = keys.get(&args[1])?;
    keys.set(&args[1], args[2].to_vec(), None);
    reply.bulk_or_nil(old.as_deref());
    Ok(())
}

pub fn getdel(keys: &mut Keys<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let old = keys.get(&args[1])?;
    keys.delete(&args[1]);
    reply.bulk_or_nil(old.as_deref());
    Ok(())
}

pub fn getex(keys: &mut Keys<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let mut words = Words::new(args, 2);
    // None: it stays; some none: it goes.
    let mut change: Option<Option<(Unit, &[u8])>> = None;
    while let Some(word) = words.next() {
        let next = match Unit::of_option(word) {
            Some(unit) => Some((unit, words.value()?)),
            None if is(word, "PERSIST") => None,
            None => return Err(Fail::SYNTAX),
        };
        // The same once more is no contradiction: the last one counts.
        let unit = |change: Option<(Unit, _)>| change.map(|(unit, _): (Unit, &[u8])| unit);
        if change.is_some_and(|before| unit(before) != unit(next)) {
            return Err(Fail::SYNTAX);
        }
        change = Some(next);
    }
    let Some(value) = keys.get(&args[1])? else {
        reply.nil();
        return Ok(());
    };
    let deadline = match change {
        Some(Some((unit, number))) => Some(Some(expiry::deadline("getex", unit, number, keys.tx.now())?)),
        Some(None) => Some(None),
        None => None,
    };
    let has_deadline = keys.deadline(&args[1]).flatten().is_some();
    if let Some(deadline) = deadline
        && (deadline.is_some() || has_deadline)
    {
        keys.expire(&args[1], deadline);
    }
    reply.bulk(&value);
    Ok(())
}

pub fn mset(keys: &mut Keys<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    set_pairs("mset", keys, args)?;
    reply.ok();
    Ok(())
}

pub fn msetnx(keys: &mut Keys<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    if args.len().is_multiple_of(2) {
        return Err(Fail::arity("msetnx"));
    }
    let absent = !args.from(1).iter().step_by(2).any(|key| keys.exists(key));
    if absent {
        set_pairs("msetnx", keys, args)?;
    }
    reply.int(absent.into());
    Ok(())
}

/// `MSET` with the options of `SET`, for all keys or none.
pub fn msetex(keys: &mut Keys<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let count = number::integer(&args[1]).and_then(|count| i32::try_from(count).ok());
    let count = count.filter(|count| *count > 0).ok_or(Fail::text("ERR invalid numkeys value"))?;
    let end = 2 + 2 * count as usize;
    if end > args.len() {
        return Err(Fail::text("ERR wrong number of key-value pairs"));
    }
    let options = SetOptions::parse(args, end)?;
    if options.gives_old || matches!(options.when, When::Equal(_)) {
        return Err(Fail::SYNTAX);
    }
    let now = keys.tx.now();
    let expiry = options.expiry.map(|(unit, number)| expiry::deadline("msetex", unit, number, now));
    let deadline = expiry.transpose()?;
    let pairs = args.range(2, end);
    let mut names = pairs.iter().step_by(2);
    let happens = match options.when {
        When::Absent => !names.any(|key| keys.exists(key)),
        When::Present => names.all(|key| keys.exists(key)),
        When::Always | When::Equal(_) => true,
    };
    if happens {
        for n in (0..pairs.len()).step_by(2) {
            let kept = if options.keeps_ttl { keys.deadline(&pairs[n]).flatten() } else { deadline };
            keys.set(&pairs[n], pairs[n + 1].to_vec(), kept);
        }
    }
    reply.int(happens.into());
    Ok(())
}

fn set_pairs(name: &str, keys: &mut Keys<'_, '_>, args: Args<'_>) -> Done {
    if args.len().is_multiple_of(2) {
        return Err(Fail::arity(name));
    }
    for n in (1..args.len()).step_by(2) {
        keys.set(&args[n], args[n + 1].to_vec(), None);
    }
    Ok(())
}

pub fn incr(keys: &mut Keys<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    add(keys, &args[1], 1, reply)
}

pub fn decr(keys: &mut Keys<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    add(keys, &args[1], -1, reply)
}

pub fn incrby(keys: &mut Keys<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let by = number::integer(&args[2]).ok_or(Fail::NOT_AN_INTEGER)?;
    add(keys, &args[1], by, reply)
}

pub fn decrby(keys: &mut Keys<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let by = number::integer(&args[2]).ok_or(Fail::NOT_AN_INTEGER)?;
    let by = by.checked_neg().ok_or(Fail::text("ERR decrement would overflow"))?;
    add(keys, &args[1], by, reply)
}

/// The new value, also for whoever does not reply it.
pub fn add_to(keys: &mut Keys<'_, '_>, key: &[u8], by: i64) -> Result<i64, Fail> {
    let before = match keys.get(key)? {
        Some(value) => number::integer(&value).ok_or(Fail::NOT_AN_INTEGER)?,
        None => 0,
    };
    let after = before.checked_add(by).ok_or(Fail::OVERFLOW)?;
    keys.change("incrby", key, after.to_string().into_bytes())?;
    Ok(after)
}

fn add(keys: &mut Keys<'_, '_>, key: &[u8], by: i64, reply: &mut Reply<'_>) -> Done {
    reply.int(add_to(keys, key, by)?);
    Ok(())
}

pub fn incrbyfloat(keys: &mut Keys<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let before = keys.get(&args[1])?;
    let before = before.as_deref().unwrap_or(b"0");
    let sum = number::add_floats(before, &args[2]).ok_or(Fail::NOT_A_FLOAT)?;
    let sum = sum.map_err(|_| Fail::text("ERR increment would produce NaN or Infinity"))?;
    keys.change("incrbyfloat", &args[1], sum.clone().into_bytes())?;
    reply.bulk(sum.as_bytes());
    Ok(())
}

pub fn append(keys: &mut Keys<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let mut value = keys.get(&args[1])?.map(|value| value.to_vec()).unwrap_or_default();
    value.extend_from_slice(&args[2]);
    let len = value.len();
    keys.change("append", &args[1], value)?;
    reply.int(len as i64);
    Ok(())
}

pub fn strlen(keys: &mut Keys<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let key = keys.key(&args[1]);
    reply.int(keys.tx.len(key).unwrap_or(0) as i64);
    Ok(())
}

pub fn getrange(keys: &mut Keys<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let start = number::integer(&args[2]).ok_or(Fail::NOT_AN_INTEGER)?;
    let end = number::integer(&args[3]).ok_or(Fail::NOT_AN_INTEGER)?;
    let value = keys.get(&args[1])?;
    let value = value.as_deref().unwrap_or_default();
    reply.bulk(range(value, start, end));
    Ok(())
}

/// From `start` to `end`, both included; negative ones count from the end.
fn range(value: &[u8], start: i64, end: i64) -> &[u8] {
    let len = value.len() as i64;
    let from_start = |n: i64| if n < 0 { (len.saturating_add(n)).max(0) } else { n };
    if start < 0 && end < 0 && start > end {
        return &[];
    }
    let (start, end) = (from_start(start), from_start(end).min(len - 1));
    if start > end || len == 0 { &[] } else { &value[start as usize..=end as usize] }
}

pub fn setrange(keys: &mut Keys<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let offset = number::integer(&args[2]).ok_or(Fail::NOT_AN_INTEGER)?;
    let offset = usize::try_from(offset).map_err(|_| Fail::text("ERR offset is out of range"))?;
    let (key, part) = (&args[1], &args[3]);
    let value = keys.get(key)?;
    if part.is_empty() {
        reply.int(value.map_or(0, |value| value.len()) as i64);
        return Ok(());
    }
    let end = offset.saturating_add(part.len());
    if end > keys.value_len_max {
        return Err(Fail::text("ERR string exceeds maximum allowed size (proto-max-bulk-len)"));
    }
    let mut value = value.map(|value| value.to_vec()).unwrap_or_default();
    value.resize(value.len().max(end), 0);
    value[offset..end].copy_from_slice(part);
    let len = value.len();
    keys.change("setrange", key, value)?;
    reply.int(len as i64);
    Ok(())
}

/// Deletes a key if it has this value, as Valkey does.
pub fn delifeq(keys: &mut Keys<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let equal = keys.get(&args[1])?.as_deref().is_some_and(|value| *value == args[2]);
    reply.int((equal && keys.delete(&args[1])).into());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_counts_from_either_end() {
        let table = [
            (0, 3, "This"),
            (-3, -1, "ing"),
            (0, -1, "This is a string"),
            (10, 100, "string"),
            (5, 3, ""),
            (-1, -5, ""),
            (100, 200, ""),
            (i64::MIN, i64::MAX, "This is a string"),
        ];
        for (start, end, expected) in table {
            assert_eq!(range(b"This is a string", start, end), expected.as_bytes(), "{start} {end}");
        }
        assert_eq!(range(b"", 0, -1), b"");
    }
}
