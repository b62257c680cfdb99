//! Where this server answers otherwise than redis-server, and why that is right.

use crate::resp::wire::Value;

type Rule = fn(&[Vec<u8>], &Value, &Value) -> bool;

/// Each with its reason. A rule is as narrow as it can be: whatever it does not name must be the same.
const KNOWN: &[(&str, Rule)] = &[
    ("keys come in another order", |args, ours, theirs| {
        (named(args, "KEYS") || named(args, "SCAN") || named(args, "PUBSUB"))
            && sorted(ours) == sorted(theirs)
    }),
    ("any key is a random one", |args, ours, theirs| {
        named(args, "RANDOMKEY") && matches!((ours, theirs), (Value::Bulk(_), Value::Bulk(_)))
    }),
    ("the two commands are not sent in the same millisecond", |args, ours, theirs| {
        let is_time = ["TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME"].iter().any(|name| named(args, name));
        is_time && near(ours, theirs)
    }),
    ("in a transaction the above is met too", |args, ours, theirs| {
        named(args, "EXEC") && same_but_for_time(ours, theirs)
    }),
    ("the version of RDB in a payload is that of 7.2", |args, ours, theirs| {
        named(args, "DUMP") && matches!((ours, theirs), (Value::Bulk(_), Value::Bulk(_)))
    }),
];

/// Why the replies may differ; `None`: they may not.
pub fn difference(args: &[Vec<u8>], ours: &Value, theirs: &Value) -> Option<&'static str> {
    KNOWN.iter().find(|(_, holds)| holds(args, ours, theirs)).map(|(reason, _)| *reason)
}

fn named(args: &[Vec<u8>], name: &str) -> bool {
    args[0].eq_ignore_ascii_case(name.as_bytes())
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Array(items) => {
            let mut items: Vec<Value> = items.iter().map(sorted).collect();
            items.sort_by_key(ToString::to_string);
            Value::Array(items)
        }
        other => other.clone(),
    }
}

fn near(ours: &Value, theirs: &Value) -> bool {
    let (Value::Int(ours), Value::Int(theirs)) = (ours, theirs) else { return false };
    *ours > 0 && *theirs > 0 && ours.abs_diff(*theirs) <= 1000
}

fn same_but_for_time(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_but_for_time(a, b))
        }
        _ => {
            ours == theirs
                || near(ours, theirs)
                || is_dump(ours) && is_dump(theirs)
                || sorted(ours) == sorted(theirs)
        }
    }
}

/// A payload of `DUMP`: a string, two bytes of version, eight of checksum.
fn is_dump(value: &Value) -> bool {
    matches!(value, Value::Bulk(bytes) if bytes.first() == Some(&0) && bytes.len() > 10)
}
