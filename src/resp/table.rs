//! The one table of commands. It drives dispatch and arity, `COMMAND` and its subcommands, the list in
//! `COMPAT.md`, and tests.
//!
//! Arity, flags, positions of keys and groups are those of redis-server 7.2.

use super::{
    command::{client, expiry, generic, latency, later::Later, pubsub, scan, script, server, strings},
    control::Control,
    fail::Done,
    keys::Keys,
    parse::Args,
    reply::Reply,
};

/// A command.
#[derive(Debug)]
pub(super) struct Command {
    /// In lower case.
    pub(super) name: &'static str,
    /// Words with the name; negative: at least so many.
    pub(super) arity: i32,
    pub(super) flags: &'static [&'static str],
    /// First key, last key (negative: from the end), step.
    pub(super) keys: (i32, i32, i32),
    pub(super) group: &'static str,
    /// The version of redis-server (or valkey) that had it first.
    pub(super) since: &'static str,
    pub(super) summary: &'static str,
    pub(super) run: Run,
}

/// On keys, in a transaction: may be run again, and queued by `MULTI`.
pub(super) type OnKeys = fn(&mut Keys<'_, '_>, Args<'_>, &mut Reply<'_>) -> Done;
/// On the connection or the server.
pub(super) type OnServer = fn(&mut Control<'_>, Args<'_>, &mut Reply<'_>) -> Done;

/// How a command is run.
#[derive(Clone, Copy, Debug)]
pub(super) enum Run {
    Keys(OnKeys),
    Server(OnServer),
    Transaction(Step),
    /// It waits for something, so the connection does it.
    Later(Later),
    /// It tells about this table, so it stands above it.
    Listing,
}

/// The commands of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Multi,
    Exec,
    Discard,
    Watch,
}

impl Command {
    /// Whether a request of so many words may be one.
    pub(super) fn takes(&self, words: usize) -> bool {
        let arity = self.arity.unsigned_abs() as usize;
        if self.arity < 0 { words >= arity } else { words == arity }
    }

    pub(super) fn writes(&self) -> bool {
        self.flags.contains(&"write")
    }
}

/// The command of a name in any case.
pub(super) fn find(name: &[u8]) -> Option<&'static Command> {
    const NAME_LEN_MAX: usize = 24;
    let mut lower = [0; NAME_LEN_MAX];
    let lower = lower.get_mut(..name.len())?;
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    TABLE.binary_search_by(|command| command.name.as_bytes().cmp(lower)).ok().map(|n| &TABLE[n])
}

/// Why a type of Redis is not here, if the command is one of its commands.
pub(super) fn why_not(name: &[u8]) -> Option<&'static str> {
    let lower = name.to_ascii_lowercase();
    let is_of = |names: &[&str]| names.iter().any(|known| known.as_bytes() == lower);
    MISSING.iter().find(|(_, names)| is_of(names)).map(|(what, _)| *what)
}

const NO_KEYS: (i32, i32, i32) = (0, 0, 0);
const ONE_KEY: (i32, i32, i32) = (1, 1, 1);

macro_rules! commands {
    ($($name:literal $arity:literal $keys:expr, $group:literal $since:literal [$($flag:literal)*] $run:expr, $summary:literal;)*) => {
        &[$(Command {
            name: $name,
            arity: $arity,
            flags: &[$($flag),*],
            keys: $keys,
            group: $group,
            since: $since,
            summary: $summary,
            run: $run,
        }),*]
    };
}

/// All commands, by name.
pub(super) static TABLE: &[Command] = commands! {
    "acl" -2 NO_KEYS, "server" "6.0.0" ["admin" "noscript" "loading" "stale"] Run::Server(server::acl), "Tells about the one user that there is.";
    "append" 3 ONE_KEY, "string" "2.0.0" ["write" "denyoom" "fast"] Run::Keys(strings::append), "Appends to a value, or creates it.";
    "asking" 1 NO_KEYS, "cluster" "3.0.0" ["fast"] Run::Server(server::ok), "Means nothing without a cluster.";
    "auth" -2 NO_KEYS, "connection" "1.0.0" ["noscript" "loading" "stale" "fast" "no_auth" "allow_busy"] Run::Server(client::auth), "Authenticates the connection.";
    "bgrewriteaof" 1 NO_KEYS, "server" "1.0.0" ["admin" "noscript"] Run::Later(Later::BgRewrite), "Takes a snapshot and prunes the log behind it.";
    "bgsave" -1 NO_KEYS, "server" "1.0.0" ["admin" "noscript"] Run::Later(Later::BgSave), "Takes a snapshot while others go on.";
    "client" -2 NO_KEYS, "connection" "2.4.0" ["noscript" "loading" "stale"] Run::Server(client::client), "Tells about connections, and ends them.";
    "cluster" -2 NO_KEYS, "cluster" "3.0.0" ["admin" "stale"] Run::Server(server::cluster), "Says that this is no cluster.";
    "command" -1 NO_KEYS, "server" "2.8.13" ["loading" "stale"] Run::Listing, "Tells about commands.";
    "config" -2 NO_KEYS, "server" "2.0.0" ["admin" "noscript" "loading" "stale"] Run::Later(Later::Config), "Tells parameters and changes some.";
    "copy" -3 (1, 2, 1), "generic" "6.2.0" ["write" "denyoom"] Run::Keys(generic::copy), "Copies a value to another key.";
    "dbsize" 1 NO_KEYS, "server" "1.0.0" ["readonly" "fast"] Run::Server(scan::dbsize), "Counts the keys of the selected namespace.";
    "decr" 2 ONE_KEY, "string" "1.0.0" ["write" "denyoom" "fast"] Run::Keys(strings::decr), "Subtracts one from a counter.";
    "decrby" 3 ONE_KEY, "string" "1.0.0" ["write" "denyoom" "fast"] Run::Keys(strings::decrby), "Subtracts from a counter.";
    "del" -2 (1, -1, 1), "generic" "1.0.0" ["write"] Run::Keys(generic::del), "Deletes keys.";
    "delifeq" 3 ONE_KEY, "string" "9.0.0" ["write" "fast"] Run::Keys(strings::delifeq), "Deletes a key if it has this value.";
    "discard" 1 NO_KEYS, "transactions" "2.0.0" ["noscript" "loading" "stale" "fast" "allow_busy"] Run::Transaction(Step::Discard), "Forgets the queued commands.";
    "dump" 2 ONE_KEY, "generic" "2.6.0" ["readonly"] Run::Keys(generic::dump), "Gives a value in the form that RESTORE takes.";
    "echo" 2 NO_KEYS, "connection" "1.0.0" ["loading" "stale" "fast"] Run::Server(client::echo), "Gives back what it got.";
    "eval" -3 NO_KEYS, "scripting" "2.6.0" ["noscript" "stale" "skip_monitor" "no_mandatory_keys" "movablekeys"] Run::Keys(script::eval), "Runs a script, if it is a known one.";
    "evalsha" -3 NO_KEYS, "scripting" "2.6.0" ["noscript" "stale" "skip_monitor" "no_mandatory_keys" "movablekeys"] Run::Keys(script::evalsha), "Runs a known script by its digest.";
    "exec" 1 NO_KEYS, "transactions" "1.2.0" ["noscript" "loading" "stale" "skip_slowlog"] Run::Transaction(Step::Exec), "Runs the queued commands, all in one step.";
    "exists" -2 (1, -1, 1), "generic" "1.0.0" ["readonly" "fast"] Run::Keys(generic::exists), "Counts those of the keys that are there.";
    "expire" -3 ONE_KEY, "generic" "1.0.0" ["write" "fast"] Run::Keys(expiry::expire), "Lets a key expire after some seconds.";
    "expireat" -3 ONE_KEY, "generic" "1.2.0" ["write" "fast"] Run::Keys(expiry::expireat), "Lets a key expire at a time in seconds.";
    "expiretime" 2 ONE_KEY, "generic" "7.0.0" ["readonly" "fast"] Run::Keys(expiry::expiretime), "Tells when a key expires, in seconds.";
    "flushall" -1 NO_KEYS, "server" "1.0.0" ["write"] Run::Keys(generic::flushall), "Deletes all keys.";
    "flushdb" -1 NO_KEYS, "server" "1.0.0" ["write"] Run::Keys(generic::flushdb), "Deletes the keys of the selected namespace.";
    "get" 2 ONE_KEY, "string" "1.0.0" ["readonly" "fast"] Run::Keys(strings::get), "Gives a value.";
    "getdel" 2 ONE_KEY, "string" "6.2.0" ["write" "fast"] Run::Keys(strings::getdel), "Gives a value and deletes it.";
    "getex" -2 ONE_KEY, "string" "6.2.0" ["write" "fast"] Run::Keys(strings::getex), "Gives a value and changes when it expires.";
    "getrange" 4 ONE_KEY, "string" "2.4.0" ["readonly"] Run::Keys(strings::getrange), "Gives a part of a value.";
    "getset" 3 ONE_KEY, "string" "1.0.0" ["write" "denyoom" "fast"] Run::Keys(strings::getset), "Writes a value and gives the old one.";
    "hello" -1 NO_KEYS, "connection" "6.0.0" ["noscript" "loading" "stale" "fast" "no_auth" "allow_busy"] Run::Server(client::hello), "Chooses the version of the protocol.";
    "incr" 2 ONE_KEY, "string" "1.0.0" ["write" "denyoom" "fast"] Run::Keys(strings::incr), "Adds one to a counter.";
    "incrby" 3 ONE_KEY, "string" "1.0.0" ["write" "denyoom" "fast"] Run::Keys(strings::incrby), "Adds to a counter.";
    "incrbyfloat" 3 ONE_KEY, "string" "2.6.0" ["write" "denyoom" "fast"] Run::Keys(strings::incrbyfloat), "Adds to a number.";
    "info" -1 NO_KEYS, "server" "1.0.0" ["loading" "stale"] Run::Server(server::info), "Tells about the server.";
    "keys" 2 NO_KEYS, "generic" "1.0.0" ["readonly"] Run::Server(scan::keys), "Lists the keys that match a pattern.";
    "lastsave" 1 NO_KEYS, "server" "1.0.0" ["loading" "stale" "fast"] Run::Server(server::lastsave), "Tells when the last snapshot was taken.";
    "latency" -2 NO_KEYS, "server" "2.8.13" ["admin" "noscript" "loading" "stale"] Run::Server(latency::latency), "Tells of moments that took long.";
    "memory" -2 NO_KEYS, "server" "4.0.0" ["readonly"] Run::Server(server::memory), "Tells what a key takes in memory.";
    "mget" -2 (1, -1, 1), "string" "1.0.0" ["readonly" "fast"] Run::Keys(strings::mget), "Gives values, all of one moment.";
    "monitor" 1 NO_KEYS, "server" "1.0.0" ["admin" "noscript" "loading" "stale"] Run::Server(pubsub::monitor), "Shows every command from now on.";
    "mset" -3 (1, -1, 2), "string" "1.0.1" ["write" "denyoom"] Run::Keys(strings::mset), "Writes values, all or none.";
    "msetex" -4 NO_KEYS, "string" "8.4.0" ["write" "denyoom" "movablekeys"] Run::Keys(strings::msetex), "Writes several values with one deadline, all or none.";
    "msetnx" -3 (1, -1, 2), "string" "1.0.1" ["write" "denyoom"] Run::Keys(strings::msetnx), "Writes values if none of the keys is there.";
    "multi" 1 NO_KEYS, "transactions" "1.2.0" ["noscript" "loading" "stale" "fast" "allow_busy"] Run::Transaction(Step::Multi), "Queues the commands that follow.";
    "object" -2 (2, 2, 1), "generic" "2.2.3" ["readonly"] Run::Server(server::object), "Tells how a value is kept.";
    "persist" 2 ONE_KEY, "generic" "2.2.0" ["write" "fast"] Run::Keys(expiry::persist), "Takes the deadline from a key.";
    "pexpire" -3 ONE_KEY, "generic" "2.6.0" ["write" "fast"] Run::Keys(expiry::pexpire), "Lets a key expire after some milliseconds.";
    "pexpireat" -3 ONE_KEY, "generic" "2.6.0" ["write" "fast"] Run::Keys(expiry::pexpireat), "Lets a key expire at a time in milliseconds.";
    "pexpiretime" 2 ONE_KEY, "generic" "7.0.0" ["readonly" "fast"] Run::Keys(expiry::pexpiretime), "Tells when a key expires, in milliseconds.";
    "ping" -1 NO_KEYS, "connection" "1.0.0" ["fast"] Run::Server(client::ping), "Says that it is there.";
    "psetex" 4 ONE_KEY, "string" "2.6.0" ["write" "denyoom"] Run::Keys(strings::psetex), "Writes a value that expires after some milliseconds.";
    "psubscribe" -2 NO_KEYS, "pubsub" "2.0.0" ["pubsub" "noscript" "loading" "stale"] Run::Server(pubsub::psubscribe), "Listens to channels by pattern.";
    "pttl" 2 ONE_KEY, "generic" "2.6.0" ["readonly" "fast"] Run::Keys(expiry::pttl), "Tells how long a key lives, in milliseconds.";
    "publish" 3 NO_KEYS, "pubsub" "2.0.0" ["pubsub" "loading" "stale" "fast"] Run::Server(pubsub::publish), "Sends a message to who listens.";
    "pubsub" -2 NO_KEYS, "pubsub" "2.8.0" ["pubsub" "loading" "stale"] Run::Server(pubsub::pubsub), "Tells about channels.";
    "punsubscribe" -1 NO_KEYS, "pubsub" "2.0.0" ["pubsub" "noscript" "loading" "stale"] Run::Server(pubsub::punsubscribe), "Stops listening by pattern.";
    "quit" -1 NO_KEYS, "connection" "1.0.0" ["noscript" "loading" "stale" "fast" "no_auth" "allow_busy"] Run::Server(client::quit), "Ends the connection.";
    "randomkey" 1 NO_KEYS, "generic" "1.0.0" ["readonly"] Run::Server(scan::randomkey), "Gives one of the keys.";
    "readonly" 1 NO_KEYS, "cluster" "3.0.0" ["loading" "stale" "fast"] Run::Server(server::ok), "Means nothing without a cluster.";
    "readwrite" 1 NO_KEYS, "cluster" "3.0.0" ["loading" "stale" "fast"] Run::Server(server::ok), "Means nothing without a cluster.";
    "rename" 3 (1, 2, 1), "generic" "1.0.0" ["write"] Run::Keys(generic::rename), "Gives a key another name.";
    "renamenx" 3 (1, 2, 1), "generic" "1.0.0" ["write" "fast"] Run::Keys(generic::renamenx), "Gives a key another name that is free.";
    "reset" 1 NO_KEYS, "connection" "6.2.0" ["noscript" "loading" "stale" "fast" "no_auth" "allow_busy"] Run::Server(client::reset), "Makes the connection as if it were new.";
    "restore" -4 ONE_KEY, "generic" "2.6.0" ["write" "denyoom"] Run::Keys(generic::restore), "Writes a value from the form that DUMP gives.";
    "role" 1 NO_KEYS, "server" "2.8.12" ["noscript" "loading" "stale" "fast"] Run::Server(server::role), "Tells the role in replication.";
    "save" 1 NO_KEYS, "server" "1.0.0" ["admin" "noscript"] Run::Later(Later::Save), "Takes a snapshot and waits for it.";
    "scan" -2 NO_KEYS, "generic" "2.8.0" ["readonly"] Run::Server(scan::scan), "Lists keys, some at a time.";
    "script" -2 NO_KEYS, "scripting" "2.6.0" ["noscript"] Run::Server(server::script), "Tells which scripts are known.";
    "select" 2 NO_KEYS, "connection" "1.0.0" ["loading" "stale" "fast"] Run::Keys(generic::select), "Selects a namespace.";
    "set" -3 ONE_KEY, "string" "1.0.0" ["write" "denyoom"] Run::Keys(strings::set), "Writes a value.";
    "setex" 4 ONE_KEY, "string" "2.0.0" ["write" "denyoom"] Run::Keys(strings::setex), "Writes a value that expires after some seconds.";
    "setnx" 3 ONE_KEY, "string" "1.0.0" ["write" "denyoom" "fast"] Run::Keys(strings::setnx), "Writes a value if the key is not there.";
    "setrange" 4 ONE_KEY, "string" "2.2.0" ["write" "denyoom"] Run::Keys(strings::setrange), "Writes a part of a value.";
    "slowlog" -2 NO_KEYS, "server" "2.2.12" ["admin" "loading" "stale"] Run::Server(server::slowlog), "Tells which commands took long.";
    "strlen" 2 ONE_KEY, "string" "2.2.0" ["readonly" "fast"] Run::Keys(strings::strlen), "Tells the length of a value.";
    "subscribe" -2 NO_KEYS, "pubsub" "2.0.0" ["pubsub" "noscript" "loading" "stale"] Run::Server(pubsub::subscribe), "Listens to channels.";
    "substr" 4 ONE_KEY, "string" "1.0.0" ["readonly"] Run::Keys(strings::getrange), "Gives a part of a value.";
    "time" 1 NO_KEYS, "server" "2.6.0" ["loading" "stale" "fast"] Run::Server(server::time), "Tells the time.";
    "touch" -2 (1, -1, 1), "generic" "3.2.1" ["readonly" "fast"] Run::Keys(generic::touch), "Counts as a use of keys.";
    "ttl" 2 ONE_KEY, "generic" "1.0.0" ["readonly" "fast"] Run::Keys(expiry::ttl), "Tells how long a key lives, in seconds.";
    "type" 2 ONE_KEY, "generic" "1.0.0" ["readonly" "fast"] Run::Keys(generic::type_of), "Tells the type of a value.";
    "unlink" -2 (1, -1, 1), "generic" "4.0.0" ["write" "fast"] Run::Keys(generic::del), "Deletes keys.";
    "unsubscribe" -1 NO_KEYS, "pubsub" "2.0.0" ["pubsub" "noscript" "loading" "stale"] Run::Server(pubsub::unsubscribe), "Stops listening.";
    "unwatch" 1 NO_KEYS, "transactions" "2.2.0" ["noscript" "loading" "stale" "fast" "allow_busy"] Run::Server(client::unwatch), "Forgets the watched keys.";
    "wait" 3 NO_KEYS, "generic" "3.0.0" ["noscript"] Run::Later(Later::Wait), "Tells how many replicas have the writes.";
    "waitaof" 4 NO_KEYS, "generic" "7.2.0" ["noscript"] Run::Later(Later::WaitAof), "Waits until the writes are on the disk.";
    "watch" -2 (1, -1, 1), "transactions" "2.2.0" ["noscript" "loading" "stale" "fast" "allow_busy"] Run::Transaction(Step::Watch), "Lets EXEC do nothing if a key changes before it.";
};

/// Commands of redis-server that are not here on purpose, by the reason.
pub(super) static MISSING: &[(&str, &[&str])] = &[
    (
        "hashes are not kept here yet: a JSON value under one key does, or keys such as user:1:name",
        &[
            "hset",
            "hget",
            "hmset",
            "hmget",
            "hgetall",
            "hdel",
            "hexists",
            "hincrby",
            "hincrbyfloat",
            "hkeys",
            "hvals",
            "hlen",
            "hsetnx",
            "hstrlen",
            "hscan",
            "hrandfield",
            "hexpire",
            "hpexpire",
            "httl",
        ],
    ),
    (
        "lists are not kept here, a queue belongs in a server for queues",
        &[
            "lpush",
            "rpush",
            "lpushx",
            "rpushx",
            "lpop",
            "rpop",
            "blpop",
            "brpop",
            "blmove",
            "lmove",
            "rpoplpush",
            "brpoplpush",
            "llen",
            "lrange",
            "lindex",
            "linsert",
            "lset",
            "lrem",
            "ltrim",
            "lpos",
            "lmpop",
            "blmpop",
        ],
    ),
    (
        "sets are not kept here: one key for each member, with a common prefix, does",
        &[
            "sadd",
            "srem",
            "smembers",
            "sismember",
            "smismember",
            "scard",
            "spop",
            "srandmember",
            "sscan",
            "sinter",
            "sinterstore",
            "sintercard",
            "sunion",
            "sunionstore",
            "sdiff",
            "sdiffstore",
            "smove",
        ],
    ),
    (
        "sorted sets are not kept here",
        &[
            "zadd",
            "zrem",
            "zscore",
            "zmscore",
            "zrange",
            "zrevrange",
            "zrangebyscore",
            "zrevrangebyscore",
            "zrangebylex",
            "zrangestore",
            "zcard",
            "zcount",
            "zlexcount",
            "zincrby",
            "zrank",
            "zrevrank",
            "zpopmin",
            "zpopmax",
            "bzpopmin",
            "bzpopmax",
            "zscan",
            "zunion",
            "zunionstore",
            "zinter",
            "zinterstore",
            "zdiff",
            "zdiffstore",
            "zremrangebyscore",
            "zremrangebyrank",
            "zremrangebylex",
            "zrandmember",
            "zmpop",
            "bzmpop",
        ],
    ),
    (
        "streams are not kept here, a log belongs in a server for logs",
        &[
            "xadd",
            "xread",
            "xrange",
            "xrevrange",
            "xlen",
            "xdel",
            "xtrim",
            "xgroup",
            "xreadgroup",
            "xack",
            "xclaim",
            "xautoclaim",
            "xpending",
            "xinfo",
            "xsetid",
        ],
    ),
    (
        "bits, positions and counts of the distinct are not kept here",
        &[
            "setbit",
            "getbit",
            "bitcount",
            "bitop",
            "bitpos",
            "bitfield",
            "bitfield_ro",
            "geoadd",
            "geopos",
            "geodist",
            "geosearch",
            "geosearchstore",
            "georadius",
            "geohash",
            "pfadd",
            "pfcount",
            "pfmerge",
        ],
    ),
    (
        "scripts and functions of your own are not run here: transactions with WATCH, SET with NX, XX or IFEQ, and DELIFEQ do",
        &["function", "fcall", "fcall_ro", "eval_ro", "evalsha_ro"],
    ),
    (
        "this server has one key space and no modules; MOVE, SORT, SWAPDB, MIGRATE and the like are not here",
        &[
            "move",
            "sort",
            "sort_ro",
            "swapdb",
            "migrate",
            "module",
            "replicaof",
            "slaveof",
            "psync",
            "sync",
            "failover",
            "debug",
            "shutdown",
            "lcs",
        ],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_so_that_every_command_is_found() {
        assert!(TABLE.is_sorted_by(|a, b| a.name < b.name));
        for command in TABLE {
            assert_eq!(find(command.name.to_uppercase().as_bytes()).unwrap().name, command.name);
        }
        assert!(find(b"hset").is_none() && find(b"").is_none() && find(&[b'a'; 100]).is_none());
    }

    #[test]
    fn what_is_missing_on_purpose_has_a_reason_and_is_missing() {
        for (reason, names) in MISSING {
            for name in *names {
                assert!(find(name.as_bytes()).is_none(), "{name}");
                assert_eq!(why_not(name.to_uppercase().as_bytes()), Some(*reason), "{name}");
            }
        }
        assert_eq!(why_not(b"nonsense"), None);
    }

    #[test]
    fn a_command_says_where_its_keys_are_exactly_if_it_is_about_keys() {
        for command in TABLE {
            let reads_or_writes =
                matches!(command.group, "string" | "generic") && matches!(command.run, Run::Keys(_));
            let has_keys = command.keys.0 == 1 && command.group != "transactions"
                || command.flags.contains(&"movablekeys") && command.group != "scripting";
            assert_eq!(reads_or_writes, has_keys, "{}", command.name);
        }
    }
}
