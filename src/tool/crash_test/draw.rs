//! What a client does next, drawn from its seed.

use std::time::Duration;

use super::{
    history::{Condition, KeyId, Lifetime, WriteId},
    random::Random,
    value::{Form, NAME_LEN_MAX, Recipe},
};

/// A key: its number and how a request names it.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) id: KeyId,
    /// As `/v1/keys/` takes it.
    pub(super) target: String,
    /// As JSON takes it; `None` if the key is not text.
    pub(super) text: Option<String>,
}

impl Key {
    /// Plain names, names that are not text, and long ones.
    pub(super) fn new(id: KeyId) -> Key {
        let text = format!("crash test/key {id}");
        let target = format!("/v1/keys/crash%20test/key%20{id}");
        let (target, text) = match id % 8 {
            6 => (format!("{target}%00%FF%0d%0a"), None),
            7 => (format!("{target}{}", "-long".repeat(60)), Some(format!("{text}{}", "-long".repeat(60)))),
            _ => (target, Some(text)),
        };
        Key { id, target, text }
    }

    /// Its entries live shortly, so that they expire in the middle of everything. For the others a
    /// lost entry is never taken for one that has expired.
    fn is_short_lived(&self) -> bool {
        self.id % 4 == 3
    }
}

/// A write to be sent.
pub(super) struct Put {
    pub(super) value: Recipe,
    pub(super) condition: Condition,
    pub(super) lifetime: Lifetime,
}

/// What kind of operation comes next.
pub(super) enum Kind {
    Get,
    Put,
    Delete,
}

/// How large values are, and who only reads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mix {
    pub(super) value_len_max: u64,
    pub(super) mostly_reads: bool,
}

pub(super) fn kind(random: &mut Random, mix: Mix) -> Kind {
    match (random.within(0..100), mix.mostly_reads) {
        (0..80, true) | (0..25, false) => Kind::Get,
        (80..83, true) | (25..37, false) => Kind::Delete,
        _ => Kind::Put,
    }
}

/// A few keys are asked for by everybody at once, the others now and then.
pub(super) fn key<'k>(random: &mut Random, keys: &'k [Key]) -> &'k Key {
    let hot = keys.len().min(4) as u64;
    let among = if random.chance(50) { hot } else { keys.len() as u64 };
    &keys[random.within(0..among) as usize]
}

/// `seen`: the versions of this key that were seen last, the newest at the end.
pub(super) fn put(random: &mut Random, key: &Key, write: WriteId, seen: &[u64], mix: Mix) -> Put {
    let form = match random.within(0..10) {
        0 if key.text.is_some() => Form::Set,
        1..6 => Form::Typed,
        _ => Form::Plain,
    };
    let (condition, lifetime) = match form {
        // It can do neither.
        Form::Set => (Condition::Always, lifetime(random, key, false)),
        _ => (condition(random, seen), lifetime(random, key, true)),
    };
    let len = len(random, mix.value_len_max);
    let len = if form == Form::Typed { len } else { len.max(NAME_LEN_MAX) };
    Put { value: Recipe { key: key.id, write, len, form }, condition, lifetime }
}

pub(super) fn delete(random: &mut Random, seen: &[u64]) -> Condition {
    match seen.last() {
        Some(version) if random.chance(30) => Condition::Is(*version),
        _ => Condition::Always,
    }
}

/// Some empty, many small, some large.
fn len(random: &mut Random, max: u64) -> usize {
    let len = match random.within(0..20) {
        0 => 0,
        1..12 => random.within(1..200.min(max)),
        12..16 => random.within(1..(max / 16).max(2)),
        _ => random.within(1..max),
    };
    len as usize
}

fn condition(random: &mut Random, seen: &[u64]) -> Condition {
    match (random.within(0..100), seen) {
        (0..15, _) => Condition::Absent,
        // Read, change, write: a lost update shows here.
        (15..45, [.., last]) => Condition::Is(*last),
        // Most likely gone by now.
        (45..50, [first, ..]) => Condition::Is(*first),
        _ => Condition::Always,
    }
}

fn lifetime(random: &mut Random, key: &Key, may_keep: bool) -> Lifetime {
    match (random.within(0..10), key.is_short_lived()) {
        (0..3, _) if may_keep => Lifetime::Keep,
        (3..9, true) => Lifetime::Ttl(Duration::from_millis(random.within(50..1500))),
        (3..5, false) => Lifetime::Ttl(Duration::from_secs(random.within(600..7200))),
        _ => Lifetime::Forever,
    }
}
