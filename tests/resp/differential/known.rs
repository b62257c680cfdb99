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
    ("an expired key does not count until it is touched, with redis-server it does", |args, ours, theirs| {
        named(args, "DBSIZE")
            && matches!((ours, theirs), (Value::Int(ours), Value::Int(theirs)) if ours < theirs)
    }),
    ("small integers are shared by redis-server, nothing is here", |args, ours, theirs| {
        named(args, "OBJECT") && *ours == Value::Int(1) && *theirs == Value::Int(2_147_483_647)
    }),
    ("no deadline is later than the year 10889", |args, ours, theirs| {
        let is_time = ["TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME"].iter().any(|name| named(args, name));
        is_time && is_latest(ours, theirs)
    }),
    (
        "7.2 tells a command without keys from one with a wrong number of words; scripts have none here",
        |args, _, _| named(args, "COMMAND") && args.get(1).is_some_and(|word| word == b"GETKEYS"),
    ),
    ("there are no subcommands of CLUSTER, known or not", |args, ours, _| {
        named(args, "CLUSTER") && ours.to_string() == "-ERR This instance has cluster support disabled"
    }),
    ("a cursor is a number that is not negative", |args, ours, _| {
        named(args, "SCAN") && args[1].starts_with(b"-") && ours.to_string() == "-ERR invalid cursor"
    }),
    ("pages of SCAN are other ones", |args, ours, theirs| {
        named(args, "SCAN") && args.len() == 2 && ours.is_array() && theirs.is_array()
    }),
    ("two deadlines that are too late are the same one", |args, ours, theirs| {
        let is_late = |number: &[u8]| number.len() >= 13 && number[0] != b'-';
        let compares = args.iter().any(|word| [&b"GT"[..], b"LT"].contains(&&*word.to_ascii_uppercase()));
        compares && is_late(&args[2]) && matches!((ours, theirs), (Value::Int(_), Value::Int(_)))
    }),
    ("keys that are empty are refused", |args, ours, _| {
        args.contains(&Vec::new()) && ours.to_string().starts_with("-ERR the key is empty")
    }),
    ("how a string came to be does not show in its encoding", |args, ours, theirs| {
        named(args, "OBJECT")
            && ["\"embstr\"", "\"int\""].contains(&&*ours.to_string())
            && theirs.to_string() == "\"raw\""
    }),
    (
        "a watched key that was not there, came and went is as it was, and does not stop EXEC",
        |args, ours, theirs| {
            named(args, "EXEC") && ours.is_array() && matches!(theirs, Value::Nil | Value::NilArray)
        },
    ),
    ("the version of RDB in a payload is that of 7.2", |args, ours, theirs| {
        named(args, "DUMP") && matches!((ours, theirs), (Value::Bulk(_), Value::Bulk(_)))
    }),
];

/// Commands that look through all keys are run when a transaction has happened, with redis-server in
/// the middle of it. They are not sent there.
pub fn not_compared_in_transactions(args: &[Vec<u8>]) -> bool {
    ["KEYS", "SCAN", "DBSIZE", "RANDOMKEY", "OBJECT"].iter().any(|name| named(args, name))
}

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
                || is_latest(ours, theirs)
        }
    }
}

fn is_latest(ours: &Value, theirs: &Value) -> bool {
    // In seconds, and what is left of it is less.
    let latest = emberkeep_storage::limits::DEADLINE_MAX as i64 / 2 / 1000;
    matches!((ours, theirs), (Value::Int(ours), Value::Int(theirs)) if *ours > latest && theirs > ours)
}

/// A payload of `DUMP`: a string, two bytes of version, eight of checksum.
fn is_dump(value: &Value) -> bool {
    matches!(value, Value::Bulk(bytes) if bytes.first() == Some(&0) && bytes.len() > 10)
}
