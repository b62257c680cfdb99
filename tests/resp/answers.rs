//! Each family of commands, as a table of commands and the exact replies that redis-server 7 gives.

use super::{fixture::Server, wire::Client};

/// Commands in order, each with its reply; a reply that ends with `…` says how it begins.
#[track_caller]
pub fn check(client: &mut Client, table: &[(&str, &str)]) {
    for (line, expected) in table {
        let reply = client.say(line).to_string();
        let holds = match expected.strip_suffix('…') {
            Some(begin) => reply.starts_with(begin),
            None => reply == *expected,
        };
        assert!(holds, "{line}\n  expected {expected}\n  got      {reply}");
    }
}

#[track_caller]
fn answers(table: &[(&str, &str)]) {
    let server = Server::with(&["--memory-only"]);
    check(&mut server.connect(), table);
}

const NOT_AN_INTEGER: &str = "-ERR value is not an integer or out of range";
const SYNTAX: &str = "-ERR syntax error";

#[test]
fn values_are_written_and_read() {
    answers(&[
        ("GET k", "nil"),
        ("SET k v", "+OK"),
        ("GET k", "\"v\""),
        ("set K ''", "+OK"),
        ("GET K", "\"\""),
        ("STRLEN k", ":1"),
        ("STRLEN none", ":0"),
        ("APPEND k alue", ":5"),
        ("GETRANGE k 1 -2", "\"alu\""),
        ("SUBSTR k -3 100", "\"lue\""),
        ("GETRANGE none 0 -1", "\"\""),
        ("SETRANGE k 7 x", ":8"),
        ("GET k", "\"value\\x00\\x00x\""),
        ("SETRANGE none 3 ''", ":0"),
        ("EXISTS none", ":0"),
        ("SETRANGE k -1 x", "-ERR offset is out of range"),
        ("SETRANGE k 536870912 x", "-ERR string exceeds maximum allowed size (proto-max-bulk-len)"),
        ("GETRANGE k a 1", NOT_AN_INTEGER),
        ("GETSET k new", "\"value\\x00\\x00x\""),
        ("GETDEL k", "\"new\""),
        ("GETDEL k", "nil"),
        ("MSET a 1 b 2 a 3", "+OK"),
        ("MGET a none b", "[\"3\", nil, \"2\"]"),
        ("MSET a", "-ERR wrong number of arguments for 'mset' command"),
        ("MSET a 1 b", "-ERR wrong number of arguments for 'mset' command"),
        ("MSETNX c 1 a 9", ":0"),
        ("EXISTS c", ":0"),
        ("MSETNX c 1 d 2", ":1"),
        ("SETNX c 9", ":0"),
        ("SETNX e 9", ":1"),
        ("GET", "-ERR wrong number of arguments for 'get' command"),
        ("GET a b", "-ERR wrong number of arguments for 'get' command"),
    ]);
}

#[test]
fn set_takes_its_options_in_any_order_and_refuses_two_that_contradict() {
    answers(&[
        ("SET k v NX", "+OK"),
        ("SET k w NX", "nil"),
        ("SET k w XX", "+OK"),
        ("SET none w XX", "nil"),
        ("SET k x GET", "\"w\""),
        ("SET new x GET", "nil"),
        ("SET k y NX GET", "\"x\""),
        ("GET k", "\"x\""),
        ("SET k y PX 100000 GET XX", "\"x\""),
        ("TTL k", ":100"),
        ("SET k z KEEPTTL", "+OK"),
        ("TTL k", ":100"),
        ("SET k z", "+OK"),
        ("TTL k", ":-1"),
        ("SET k z EXAT 99999999999", "+OK"),
        ("EXPIRETIME k", ":99999999999"),
        ("SET k z PXAT 99999999999999", "+OK"),
        ("PEXPIRETIME k", ":99999999999999"),
        ("SET k gone PXAT 1", "+OK"),
        ("EXISTS k", ":0"),
        ("SET k v IFEQ w", "nil"),
        ("SET k v", "+OK"),
        ("SET k w IFEQ v", "+OK"),
        ("SET k v NX XX", SYNTAX),
        ("SET k v EX 1 PX 1", SYNTAX),
        ("SET k v EX 1 KEEPTTL", SYNTAX),
        ("SET k v EX", SYNTAX),
        ("SET k v NOPE", SYNTAX),
        ("SET k v EX a", NOT_AN_INTEGER),
        ("SET k v EX 0", "-ERR invalid expire time in 'set' command"),
        ("SET k v PX -5", "-ERR invalid expire time in 'set' command"),
        ("SET k v EX 9223372036854775807", "-ERR invalid expire time in 'set' command"),
        ("SETEX k 0 v", "-ERR invalid expire time in 'setex' command"),
        ("PSETEX k x v", NOT_AN_INTEGER),
        ("SETEX k 10 v", "+OK"),
        ("GETEX k PERSIST", "\"v\""),
        ("TTL k", ":-1"),
        ("GETEX k EX 50", "\"v\""),
        ("TTL k", ":50"),
        ("GETEX k", "\"v\""),
        ("TTL k", ":50"),
        ("GETEX k PXAT 1", "\"v\""),
        ("EXISTS k", ":0"),
        ("GETEX k EX 1 PERSIST", SYNTAX),
        ("GETEX none EX 0", "nil"),
        ("GETEX new EX 0", "-ERR invalid expire time in 'getex' command"),
        ("DELIFEQ new y", ":0"),
        ("DELIFEQ new x", ":1"),
    ]);
}

#[test]
fn counters_count_and_refuse_what_is_no_number() {
    answers(&[
        ("INCR n", ":1"),
        ("INCRBY n 41", ":42"),
        ("DECR n", ":41"),
        ("DECRBY n -1", ":42"),
        ("INCRBYFLOAT n 0.5", "\"42.5\""),
        ("INCR n", NOT_AN_INTEGER),
        ("INCRBYFLOAT n abc", "-ERR value is not a valid float"),
        ("INCRBYFLOAT n inf", "-ERR increment would produce NaN or Infinity"),
        ("INCRBY m 1.5", NOT_AN_INTEGER),
        ("INCRBY m 9223372036854775808", NOT_AN_INTEGER),
        ("EXISTS m", ":0"),
        ("SET n 9223372036854775807", "+OK"),
        ("INCR n", "-ERR increment or decrement would overflow"),
        ("DECRBY n -9223372036854775808", "-ERR decrement would overflow"),
        ("GET n", "\"9223372036854775807\""),
        ("SET n 007", "+OK"),
        ("INCR n", NOT_AN_INTEGER),
        ("SETEX n 100 5", "+OK"),
        ("INCR n", ":6"),
        ("TTL n", ":100"),
        ("APPEND n 0", ":2"),
        ("INCRBYFLOAT n 1e2", "\"160\""),
        ("TTL n", ":100"),
        ("OBJECT ENCODING n", "\"int\""),
    ]);
}

#[test]
fn deadlines_are_given_changed_and_taken_away() {
    answers(&[
        ("TTL none", ":-2"),
        ("PTTL none", ":-2"),
        ("EXPIRETIME none", ":-2"),
        ("EXPIRE none 10", ":0"),
        ("PERSIST none", ":0"),
        ("SET k v", "+OK"),
        ("TTL k", ":-1"),
        ("PERSIST k", ":0"),
        ("EXPIRE k 100 XX", ":0"),
        ("EXPIRE k 100 GT", ":0"),
        ("EXPIRE k 100 NX", ":1"),
        ("EXPIRE k 200 NX", ":0"),
        ("TTL k", ":100"),
        ("EXPIRE k 50 GT", ":0"),
        ("EXPIRE k 200 GT XX", ":1"),
        ("EXPIRE k 300 LT", ":0"),
        ("PEXPIRE k 50000 LT", ":1"),
        ("TTL k", ":50"),
        ("PERSIST k", ":1"),
        ("TTL k", ":-1"),
        ("EXPIREAT k 99999999999", ":1"),
        ("PEXPIRETIME k", ":99999999999000"),
        ("PEXPIREAT k 1", ":1"),
        ("EXISTS k", ":0"),
        ("SET k v", "+OK"),
        ("EXPIRE k -1", ":1"),
        ("GET k", "nil"),
        ("SET k v", "+OK"),
        ("EXPIRE k x", NOT_AN_INTEGER),
        ("EXPIRE k 9223372036854775807", "-ERR invalid expire time in 'expire' command"),
        ("EXPIRE k 10 NX XX", "-ERR NX and XX, GT or LT options at the same time are not compatible"),
        ("EXPIRE k 10 GT LT", "-ERR GT and LT options at the same time are not compatible"),
        ("EXPIRE k 10 NOPE", "-ERR Unsupported option NOPE"),
    ]);
}

#[test]
fn keys_are_counted_renamed_copied_and_deleted() {
    answers(&[
        ("MSET a 1 b 2", "+OK"),
        ("EXISTS a a none b", ":3"),
        ("TOUCH a none", ":1"),
        ("TYPE a", "+string"),
        ("TYPE none", "+none"),
        ("DEL a none a", ":1"),
        ("UNLINK b", ":1"),
        ("DBSIZE", ":0"),
        ("RANDOMKEY", "nil"),
        ("RENAME none x", "-ERR no such key"),
        ("RENAMENX none x", "-ERR no such key"),
        ("SETEX a 100 1", "+OK"),
        ("RENAME a a", "+OK"),
        ("RENAMENX a a", ":0"),
        ("RENAME a b", "+OK"),
        ("TTL b", ":100"),
        ("SET c 3", "+OK"),
        ("RENAMENX b c", ":0"),
        ("RENAME b c", "+OK"),
        ("MGET b c", "[nil, \"1\"]"),
        ("TTL c", ":100"),
        ("COPY c d", ":1"),
        ("TTL d", ":100"),
        ("COPY c d", ":0"),
        ("SET e 5", "+OK"),
        ("COPY e d REPLACE", ":1"),
        ("TTL d", ":-1"),
        ("COPY e e", "-ERR source and destination objects are the same"),
        ("COPY none x", ":0"),
        ("COPY e e DB 16", "-ERR DB index is out of range"),
        ("COPY e f NOPE", SYNTAX),
        ("DBSIZE", ":3"),
        ("KEYS e", "[\"e\"]"),
        ("KEYS nothing*", "[]"),
        ("OBJECT REFCOUNT e", ":1"),
        ("OBJECT ENCODING none", "nil"),
        ("DUMP none", "nil"),
        ("RESTORE g 0 rubbish", "-ERR DUMP payload version or checksum are wrong"),
        ("RESTORE g -1 x", "-ERR Invalid TTL value, must be >= 0"),
        ("FLUSHALL NOPE", SYNTAX),
        ("FLUSHDB ASYNC", "+OK"),
        ("DBSIZE", ":0"),
    ]);
}

#[test]
fn a_value_that_was_dumped_is_restored() {
    let server = Server::with(&["--memory-only"]);
    let mut client = server.connect();
    client.run(&[&b"SET"[..], b"k", b"\0binary\r\n\xff"]);
    let dumped = client.say("DUMP k");
    let super::wire::Value::Bulk(dumped) = dumped else { panic!("{dumped}") };
    let restore = |key: &'static [u8], ttl: &'static [u8], more: &[&'static [u8]]| {
        [&[&b"RESTORE"[..], key, ttl, &dumped], more].concat()
    };
    assert_eq!(client.run(&restore(b"k", b"0", &[])).to_string(), "-BUSYKEY Target key name already exists.");
    assert_eq!(client.run(&restore(b"k", b"0", &[b"REPLACE"])).to_string(), "+OK");
    assert_eq!(client.run(&restore(b"copy", b"100000", &[])).to_string(), "+OK");
    assert_eq!(client.say("GET copy").to_string(), "\"\\x00binary\\r\\n\\xff\"");
    assert_eq!(client.say("TTL copy").to_string(), ":100");
    assert_eq!(client.run(&restore(b"past", b"1", &[b"ABSTTL"])).to_string(), "+OK");
    assert_eq!(client.say("EXISTS past").to_string(), ":0");
}

#[test]
fn what_is_not_here_says_so_and_why_and_the_connection_goes_on() {
    answers(&[
        ("HSET h f v", "-ERR unknown command 'HSET': hashes are not kept here yet…"),
        ("LPUSH l v", "-ERR unknown command 'LPUSH': lists are not kept here…"),
        ("ZADD z 1 v", "-ERR unknown command 'ZADD': sorted sets are not kept here (COMPAT.md)"),
        ("NOPE", "-ERR unknown command 'NOPE', with args beginning with: "),
        ("NOPE a b", "-ERR unknown command 'NOPE', with args beginning with: 'a' 'b' "),
        ("CLIENT NOPE", "-ERR unknown subcommand 'NOPE'. Try CLIENT HELP."),
        ("CLUSTER INFO", "-ERR This instance has cluster support disabled"),
        ("PING", "+PONG"),
    ]);
}

#[test]
fn the_server_tells_about_itself() {
    answers(&[
        ("PING", "+PONG"),
        ("PING hello", "\"hello\""),
        ("PING a b", "-ERR wrong number of arguments for 'ping' command"),
        ("ECHO hello", "\"hello\""),
        ("SELECT 15", "+OK"),
        ("SELECT 16", "-ERR DB index is out of range"),
        ("SELECT -1", "-ERR DB index is out of range"),
        ("SELECT x", NOT_AN_INTEGER),
        ("ROLE", "[\"master\", :…"),
        ("WAIT 1 100", ":0"),
        ("WAIT x 100", NOT_AN_INTEGER),
        ("WAIT 1 -1", "-ERR timeout is negative"),
        ("CONFIG GET databases", "[\"databases\", \"16\"]"),
        ("CONFIG GET nothing", "[]"),
        ("CONFIG GET maxmemory-policy save", "[\"maxmemory-policy\", …"),
        ("CONFIG SET port 1", "-ERR CONFIG SET failed (possibly related to argument 'port')…"),
        ("CONFIG SET nothing 1", "-ERR Unknown option or number of arguments for CONFIG SET - 'nothing'"),
        ("CONFIG SET maxmemory-policy allkeys-lru", "+OK"),
        ("CONFIG GET maxmemory-policy", "[\"maxmemory-policy\", \"allkeys-lru\"]"),
        ("CONFIG SET maxmemory-policy nonsense", "-ERR CONFIG SET failed…"),
        ("CONFIG REWRITE", "-ERR The server is running without a config file"),
        ("CONFIG RESETSTAT", "+OK"),
        ("COMMAND INFO get nothing", "[[\"get\", :2, [+readonly, +fast], :1, :1, :1, […"),
        ("COMMAND GETKEYS MSET a 1 b 2", "[\"a\", \"b\"]"),
        ("COMMAND GETKEYS PING", "-ERR The command has no key arguments"),
        ("COMMAND DOCS get", "[\"get\", [\"summary\", …"),
        ("ACL WHOAMI", "\"default\""),
        ("AUTH default secret", "+OK"),
        ("AUTH nobody secret", "-WRONGPASS invalid username-password pair or user is disabled."),
        ("AUTH secret", "-ERR AUTH <password> called without any password configured…"),
        ("SLOWLOG LEN", ":0"),
        ("SLOWLOG GET -2", "-ERR count should be greater than or equal to -1"),
        ("CONFIG SET slowlog-log-slower-than 0", "+OK"),
        ("ECHO slow", "\"slow\""),
        ("SLOWLOG GET 1", "[[:…"),
        ("SLOWLOG RESET", "+OK"),
        ("LATENCY LATEST", "[]"),
        ("MEMORY USAGE none", "nil"),
        ("READONLY", "+OK"),
        ("RESET", "+RESET"),
        ("QUIT", "+OK"),
    ]);
}

#[test]
fn info_has_the_fields_that_clients_look_at() {
    let server = Server::start();
    let mut client = server.connect();
    client.say("SET k v");
    let all = client.say("INFO").text();
    for field in [
        "redis_version:7.2.4",
        "server_name:emberkeep",
        "redis_mode:standalone",
        "loading:0",
        "aof_enabled:1",
        "emberkeep_durability:always",
        "maxmemory_policy:allkeys-lfu",
        "role:master",
        "cluster_enabled:0",
        "db0:keys=1,expires=",
    ] {
        assert!(all.lines().any(|line| line.starts_with(field)), "no {field} in:\n{all}");
    }
    let section = client.say("INFO memory").text();
    assert!(section.starts_with("# Memory\r\n") && !section.contains("redis_version"), "{section}");
    assert_eq!(client.say("INFO nonsense").text(), "");
}
