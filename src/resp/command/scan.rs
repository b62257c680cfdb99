//! Commands that look through the keys of the selected namespace.

use emberkeep_storage::{Cursor, Key};

use crate::resp::{
    control::Control,
    fail::{Done, Fail},
    glob,
    keys::{Words, is},
    number,
    parse::Args,
    reply::Reply,
};

/// Keys that one call of `SCAN` may look for.
const COUNT_MAX: i64 = 100_000;
/// Keys that `KEYS` takes from the engine at a time.
const PAGE: usize = 1000;

/// Every key that is there all the while is given at least once.
pub fn scan(control: &mut Control<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let cursor: Option<u64> = std::str::from_utf8(&args[1]).ok().and_then(|text| text.parse().ok());
    let cursor = Cursor(cursor.ok_or(Fail::text("ERR invalid cursor"))?);
    let (mut pattern, mut count, mut is_of_type) = (&b"*"[..], 10, true);
    let mut words = Words::new(args, 2);
    while let Some(word) = words.next() {
        let value = words.value()?;
        match word {
            w if is(w, "MATCH") => pattern = checked(value)?,
            w if is(w, "COUNT") => {
                count = number::integer(value).ok_or(Fail::NOT_AN_INTEGER)?;
                if count < 1 {
                    return Err(Fail::SYNTAX);
                }
            }
            w if is(w, "TYPE") => is_of_type = is(value, "string"),
            _ => return Err(Fail::SYNTAX),
        }
    }
    let namespace = control.session.namespace;
    let prefix = Key { namespace, bytes: glob::literal_prefix(pattern) };
    let page = control.shared.node.scan(cursor, prefix, count.min(COUNT_MAX) as usize, control.rests);
    let names = page.entries.iter().map(|entry| entry.key().bytes);
    let matching: Vec<&[u8]> = names.filter(|key| is_of_type && glob::matches(pattern, key)).collect();
    reply.array(2);
    reply.bulk(page.next.map_or(0, |next| next.0).to_string().as_bytes());
    reply.array(matching.len());
    matching.into_iter().for_each(|key| reply.bulk(key));
    Ok(())
}

pub fn keys(control: &mut Control<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let pattern = checked(&args[1])?;
    let prefix = Key { namespace: control.session.namespace, bytes: glob::literal_prefix(pattern) };
    let mut found: Vec<Vec<u8>> = Vec::new();
    let mut cursor = Some(Cursor::START);
    while let Some(from) = cursor {
        let page = control.shared.node.scan(from, prefix, PAGE, control.rests);
        let names = page.entries.iter().map(|entry| entry.key().bytes);
        found.extend(names.filter(|key| glob::matches(pattern, key)).map(<[u8]>::to_vec));
        cursor = page.next;
    }
    reply.array(found.len());
    found.iter().for_each(|key| reply.bulk(key));
    Ok(())
}

/// A pattern that is not too long.
pub fn checked(pattern: &[u8]) -> Result<&[u8], Fail> {
    if pattern.len() > glob::PATTERN_LEN_MAX {
        let what =
            format!("ERR the pattern is too long, len={} max={}", pattern.len(), glob::PATTERN_LEN_MAX);
        return Err(Fail::Text(what.into()));
    }
    Ok(pattern)
}

pub fn randomkey(control: &mut Control<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let entry = control.shared.node.any_of(control.session.namespace, control.rests);
    reply.bulk_or_nil(entry.as_ref().map(|entry| entry.key().bytes));
    Ok(())
}

pub fn dbsize(control: &mut Control<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Done {
    reply.int(control.shared.node.count(control.session.namespace)? as i64);
    Ok(())
}
