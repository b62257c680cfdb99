//! `CONFIG`: the parameters that clients of Redis ask for, and those that can be changed.

use std::sync::atomic::Ordering;

use emberkeep_storage::{Eviction, Fsync};

use super::{
    fail::{Done, Fail},
    glob,
    keys::{DATABASES, is},
    number,
    parse::Args,
    reply::Reply,
    shared::Shared,
    subcommand::unknown_subcommand,
};

/// `CONFIG` and its subcommands.
pub(super) async fn config(shared: &Shared, args: Args<'_>, reply: &mut Reply<'_>) -> Done {
    match (&args[1], args.len()) {
        (w, 3..) if is(w, "GET") => get(shared, args, reply),
        (w, 4..) if is(w, "SET") && args.len().is_multiple_of(2) => {
            for n in (2..args.len()).step_by(2) {
                let is_again = (2..n).step_by(2).any(|before| args[before].eq_ignore_ascii_case(&args[n]));
                if is_again {
                    return Err(failed(&args[n], "duplicate parameter"));
                }
            }
            for n in (2..args.len()).step_by(2) {
                set(shared, &args[n], &args[n + 1]).await?;
            }
            reply.ok();
        }
        (w, 2) if is(w, "RESETSTAT") => {
            shared.counters.reset();
            reply.ok();
        }
        (w, 2) if is(w, "REWRITE") => {
            return Err(Fail::text("ERR The server is running without a config file"));
        }
        (w, _) => return Err(unknown_subcommand("CONFIG", w)),
    }
    Ok(())
}

fn get(shared: &Shared, args: Args<'_>, reply: &mut Reply<'_>) {
    let is_asked = |name: &str| {
        let mut patterns =
            args.from(2).iter().take(64).filter(|pattern| pattern.len() <= glob::PATTERN_LEN_MAX);
        patterns.any(|pattern| glob::matches(&pattern.to_ascii_lowercase(), name.as_bytes()))
    };
    let found: Vec<(&str, String)> = all(shared).into_iter().filter(|(name, _)| is_asked(name)).collect();
    reply.map(found.len());
    for (name, value) in found {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    }
}

/// Every parameter with its value now.
fn all(shared: &Shared) -> Vec<(&'static str, String)> {
    let settings = shared.node.settings();
    let slowlog = &shared.slowlog;
    vec![
        ("appendfsync", append_fsync(settings.fsync).to_owned()),
        ("appendonly", if settings.fsync == Fsync::Off { "no" } else { "yes" }.to_owned()),
        ("bind", shared.address.ip().to_string()),
        ("databases", DATABASES.to_string()),
        ("dir", settings.data_dir.display().to_string()),
        ("latency-monitor-threshold", shared.latency.threshold_millis().to_string()),
        ("maxclients", shared.settings.connections_max.to_string()),
        ("maxmemory", settings.max_bytes.unwrap_or(0).to_string()),
        ("maxmemory-policy", policy(shared.node.eviction()).to_owned()),
        ("notify-keyspace-events", shared.live.events()),
        ("port", shared.address.port().to_string()),
        ("proto-max-bulk-len", settings.max_value_bytes.to_string()),
        ("replica-read-only", "yes".to_owned()),
        ("requirepass", String::new()),
        ("save", String::new()),
        ("slowlog-log-slower-than", slowlog.from_micros.load(Ordering::Relaxed).to_string()),
        ("slowlog-max-len", slowlog.len_max.load(Ordering::Relaxed).to_string()),
        ("timeout", "0".to_owned()),
    ]
}

fn failed(name: &[u8], why: &str) -> Fail {
    let name = name.escape_ascii();
    Fail::Text(format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {why}").into())
}

async fn set(shared: &Shared, name: &[u8], value: &[u8]) -> Done {
    let wrong = |why: &str| failed(name, why);
    let text = std::str::from_utf8(value).map_err(|_| wrong("the value is no text"))?;
    match name {
        w if is(w, "latency-monitor-threshold") => {
            let millis =
                number::integer(value).ok_or_else(|| wrong("argument couldn't be parsed into an integer"))?;
            let millis = u64::try_from(millis);
            let millis =
                millis.map_err(|_| wrong("argument must be between 0 and 9223372036854775807 inclusive"))?;
            shared.latency.set_threshold_millis(millis);
        }
        w if is(w, "maxmemory-policy") => {
            let eviction = policy_of(text).ok_or_else(|| wrong("argument(s) must be one of the policies"))?;
            shared.node.set_eviction(eviction).await?;
        }
        w if is(w, "notify-keyspace-events") => {
            if !shared.live.set_events(text) {
                return Err(wrong("Invalid event class character. Use 'Ag$lshzxeKEtmdn'."));
            }
            shared.node.on_removal(shared.removed.listener(&shared.live));
        }
        w if is(w, "slowlog-log-slower-than") => {
            let micros =
                number::integer(value).ok_or_else(|| wrong("argument couldn't be parsed into an integer"))?;
            shared.slowlog.from_micros.store(micros, Ordering::Relaxed);
        }
        w if is(w, "slowlog-max-len") => {
            let len =
                number::integer(value).ok_or_else(|| wrong("argument couldn't be parsed into an integer"))?;
            let len = Some(len).filter(|len| (0..=100_000).contains(len));
            let len = len.ok_or_else(|| wrong("argument must be between 0 and 100000 inclusive"))?;
            shared.slowlog.len_max.store(len as usize, Ordering::Relaxed);
        }
        w if all(shared).iter().any(|(known, _)| is(w, known)) => {
            return Err(wrong("this parameter is a flag of the server and cannot be changed while it runs"));
        }
        w => {
            let what =
                format!("ERR Unknown option or number of arguments for CONFIG SET - '{}'", w.escape_ascii());
            return Err(Fail::Text(what.into()));
        }
    }
    Ok(())
}

/// The name of a mode in the vocabulary of Redis.
pub(super) fn append_fsync(fsync: Fsync) -> &'static str {
    match fsync {
        Fsync::Always => "always",
        Fsync::Interval => "everysec",
        Fsync::Never | Fsync::Off => "no",
    }
}

/// The nearest policy of Redis: clients look at it to see whether anything can vanish.
pub(super) fn policy(eviction: Eviction) -> &'static str {
    match eviction {
        Eviction::S3Fifo | Eviction::Lfu | Eviction::WTinyLfu => "allkeys-lfu",
        Eviction::Lru | Eviction::Sieve | Eviction::Fifo | Eviction::Custom => "allkeys-lru",
        Eviction::Ttl => "volatile-ttl",
        Eviction::Random => "allkeys-random",
        Eviction::NoEviction => "noeviction",
    }
}

/// The policy by its own name, or by the nearest one of Redis.
fn policy_of(text: &str) -> Option<Eviction> {
    let of_redis = match text {
        "allkeys-lfu" => Some(Eviction::S3Fifo),
        "allkeys-lru" => Some(Eviction::Lru),
        "allkeys-random" => Some(Eviction::Random),
        "volatile-ttl" => Some(Eviction::Ttl),
        _ => None,
    };
    of_redis.or_else(|| crate::node::policy_by_name(text))
}
