//! Deadlines: how clients say them, and the commands that look at them and change them.

use emberkeep_storage::{UnixMillis, limits::DEADLINE_MAX};

use crate::resp::{
    fail::{Done, Fail},
    keys::{Keys, is},
    number,
    parse::Args,
    reply::Reply,
};

/// How a number means an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Seconds from now.
    Seconds,
    /// Milliseconds from now.
    Millis,
    /// Seconds since 1970.
    AtSeconds,
    /// Milliseconds since 1970.
    AtMillis,
}

impl Unit {
    /// The unit of an option of `SET` and `GETEX`.
    pub fn of_option(word: &[u8]) -> Option<Unit> {
        let names = [
            ("EX", Unit::Seconds),
            ("PX", Unit::Millis),
            ("EXAT", Unit::AtSeconds),
            ("PXAT", Unit::AtMillis),
        ];
        names.into_iter().find(|(name, _)| is(word, name)).map(|(_, unit)| unit)
    }

    /// The instant in milliseconds since 1970; it may lie before that. `None` if it overflows.
    fn instant(self, number: i64, now: UnixMillis) -> Option<i64> {
        let millis = match self {
            Unit::Seconds | Unit::AtSeconds => number.checked_mul(1000)?,
            Unit::Millis | Unit::AtMillis => number,
        };
        match self {
            Unit::Seconds | Unit::Millis => millis.checked_add(now.0 as i64),
            Unit::AtSeconds | Unit::AtMillis => Some(millis),
        }
    }
}

/// A deadline for a value that is written: it must be a positive number.
pub fn deadline(name: &str, unit: Unit, number: &[u8], now: UnixMillis) -> Result<UnixMillis, Fail> {
    let number = number::integer(number).ok_or(Fail::NOT_AN_INTEGER)?;
    let instant = unit.instant(number, now).filter(|_| number > 0);
    instant.map(clamped).ok_or_else(|| Fail::expire_time(name))
}

/// What the index can keep.
fn clamped(instant: i64) -> UnixMillis {
    UnixMillis(u64::try_from(instant).unwrap_or(0).min(DEADLINE_MAX))
}

/// Which deadlines may be replaced.
#[derive(Clone, Copy, Debug, Default)]
struct Only {
    absent: bool,
    present: bool,
    greater: bool,
    less: bool,
}

impl Only {
    fn parse(args: Args<'_>) -> Result<Only, Fail> {
        let mut only = Only::default();
        for word in args.from(3).iter() {
            match word {
                w if is(w, "NX") => only.absent = true,
                w if is(w, "XX") => only.present = true,
                w if is(w, "GT") => only.greater = true,
                w if is(w, "LT") => only.less = true,
                w => {
                    let what = format!("ERR Unsupported option {}", w.escape_ascii());
                    return Err(Fail::Text(what.into()));
                }
            }
        }
        if only.absent && (only.present || only.greater || only.less) {
            return Err(Fail::text("ERR NX and XX, GT or LT options at the same time are not compatible"));
        }
        if only.greater && only.less {
            return Err(Fail::text("ERR GT and LT options at the same time are not compatible"));
        }
        Ok(only)
    }

    /// No deadline counts as the latest of all.
    fn allows(self, old: Option<UnixMillis>, new: UnixMillis) -> bool {
        !(self.absent && old.is_some()
            || self.present && old.is_none()
            || self.greater && old.is_none_or(|old| new <= old)
            || self.less && old.is_some_and(|old| new >= old))
    }
}

pub fn expire(keys: &mut Keys<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    expire_by("expire", Unit::Seconds, keys, args, reply)
}

pub fn pexpire(keys: &mut Keys<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    expire_by("pexpire", Unit::Millis, keys, args, reply)
}

pub fn expireat(keys: &mut Keys<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    expire_by("expireat", Unit::AtSeconds, keys, args, reply)
}

pub fn pexpireat(keys: &mut Keys<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    expire_by("pexpireat", Unit::AtMillis, keys, args, reply)
}

fn expire_by(name: &str, unit: Unit, keys: &mut Keys<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let only = Only::parse(args)?;
    let number = number::integer(&args[2]).ok_or(Fail::NOT_AN_INTEGER)?;
    let new = unit.instant(number, keys.tx.now()).map(clamped).ok_or_else(|| Fail::expire_time(name))?;
    let allowed = keys.deadline(&args[1]).is_some_and(|old| only.allows(old, new));
    reply.int((allowed && keys.expire(&args[1], Some(new))).into());
    Ok(())
}

pub fn persist(keys: &mut Keys<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    let timed = keys.deadline(&args[1]).flatten().is_some();
    reply.int((timed && keys.expire(&args[1], None)).into());
    Ok(())
}

pub fn ttl(keys: &mut Keys<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    // Rounded, as redis-server does it.
    tell(keys, args, reply, |at, now| at.0.saturating_sub(now.0).saturating_add(500) / 1000)
}

pub fn pttl(keys: &mut Keys<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    tell(keys, args, reply, millis_left)
}

pub fn expiretime(keys: &mut Keys<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    tell(keys, args, reply, |at, _| at.0 / 1000)
}

pub fn pexpiretime(keys: &mut Keys<'_, '_>, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    tell(keys, args, reply, |at, _| at.0)
}

/// -2 for a key that is absent, -1 for one without a deadline.
fn tell(
    keys: &mut Keys<'_, '_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
    number: fn(UnixMillis, UnixMillis) -> u64,
) -> Done {
    reply.int(told(keys, &args[1], number));
    Ok(())
}

/// What `PTTL` tells of a key.
pub fn pttl_of(keys: &mut Keys<'_, '_>, key: &[u8]) -> i64 {
    told(keys, key, millis_left)
}

fn millis_left(at: UnixMillis, now: UnixMillis) -> u64 {
    at.0.saturating_sub(now.0)
}

fn told(keys: &mut Keys<'_, '_>, key: &[u8], number: fn(UnixMillis, UnixMillis) -> u64) -> i64 {
    let now = keys.tx.now();
    match keys.deadline(key) {
        None => -2,
        Some(None) => -1,
        Some(Some(at)) => number(at, now) as i64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_means_an_instant_by_its_unit() {
        let now = UnixMillis(10_000);
        assert_eq!(deadline("set", Unit::Seconds, b"5", now).unwrap(), UnixMillis(15_000));
        assert_eq!(deadline("set", Unit::Millis, b"5", now).unwrap(), UnixMillis(10_005));
        assert_eq!(deadline("set", Unit::AtSeconds, b"20", now).unwrap(), UnixMillis(20_000));
        assert_eq!(deadline("set", Unit::AtMillis, b"20", now).unwrap(), UnixMillis(20));
        for number in ["0", "-1", "9223372036854775807"] {
            assert!(deadline("set", Unit::Seconds, number.as_bytes(), now).is_err(), "{number}");
        }
        assert_eq!(deadline("set", Unit::Millis, b"9000000000000000000", now).unwrap().0, DEADLINE_MAX);
    }

    #[test]
    fn no_deadline_counts_as_the_latest() {
        let (old, new) = (Some(UnixMillis(10)), UnixMillis(20));
        let only = Only::default();
        assert!(only.allows(None, new) && only.allows(old, new));
        let greater = Only { greater: true, ..only };
        assert!(!greater.allows(None, new) && greater.allows(old, new) && !greater.allows(Some(new), new));
        let less = Only { less: true, ..only };
        assert!(less.allows(None, new) && !less.allows(old, new));
        assert!(
            Only { absent: true, ..only }.allows(None, new)
                && !Only { absent: true, ..only }.allows(old, new)
        );
    }
}
