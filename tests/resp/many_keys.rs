//! Commands and scripts on many keys at once: `MSETEX`, and the reset of a rate limiter.

use super::{
    answers::check,
    fixture::Server,
    wire::{Client, Value},
};

const RESET: &str = "local keys = redis.call('keys', KEYS[1])
local res = 0

for i=1,#keys,5000 do
    res = res + redis.call(
        'del', unpack(keys, i, math.min(i+4999, #keys))
    )
end

return res
";

#[test]
fn several_values_get_one_deadline_all_or_none() {
    let server = Server::with(&["--memory-only"]);
    check(
        &mut server.connect(),
        &[
            ("MSETEX 2 a 1 b 2 EX 100", ":1"),
            ("TTL b", ":100"),
            ("MSETEX 2 b 9 c 9 NX", ":0"),
            ("MGET a b c", "[\"1\", \"2\", nil]"),
            ("MSETEX 2 b 9 c 9 XX", ":0"),
            ("MSETEX 2 a 3 b 4 xx keepttl", ":1"),
            ("TTL a", ":100"),
            ("MSETEX 1 a 5", ":1"),
            ("TTL a", ":-1"),
            ("MSETEX 2 c 1 d 2 PX 5000 NX", ":1"),
            ("MSETEX 1 e 1 PXAT 99999999999999", ":1"),
            ("PEXPIRETIME e", ":99999999999999"),
            ("MSETEX 1 f 1 EXAT 1", ":1"),
            ("EXISTS f", ":0"),
            ("MSETEX 2 g 1 g 2", ":1"),
            ("GET g", "\"2\""),
            ("COMMAND GETKEYS MSETEX 2 a 1 b 2 NX", "[\"a\", \"b\"]"),
            ("COMMAND GETKEYS EVAL x 1 k v", "[\"k\"]"),
        ],
    );
}

#[test]
fn a_wrong_request_for_several_values_says_what_is_wrong() {
    let server = Server::with(&["--memory-only"]);
    check(
        &mut server.connect(),
        &[
            ("MSETEX 1 a", "-ERR wrong number of arguments for 'msetex' command"),
            ("MSETEX a 1 b", "-ERR invalid numkeys value"),
            ("MSETEX 0 a 1", "-ERR invalid numkeys value"),
            ("MSETEX 2147483648 a 1", "-ERR invalid numkeys value"),
            ("MSETEX 2147483647 a 1", "-ERR wrong number of key-value pairs"),
            ("MSETEX 2 a 1 b", "-ERR wrong number of key-value pairs"),
            ("MSETEX 1 a 1 GET", "-ERR syntax error"),
            ("MSETEX 1 a 1 IFEQ x", "-ERR syntax error"),
            ("MSETEX 1 a 1 NX XX", "-ERR syntax error"),
            ("MSETEX 1 a 1 EX 1 KEEPTTL", "-ERR syntax error"),
            ("MSETEX 1 a 1 EX 0", "-ERR invalid expire time in 'msetex' command"),
            ("MSETEX 1 a 1 EX x", "-ERR value is not an integer or out of range"),
            ("EXISTS a", ":0"),
        ],
    );
}

fn fill(client: &mut Client, count: usize) {
    for from in (0..count).step_by(1000) {
        let pairs = (from..count.min(from + 1000)).flat_map(|n| [format!("LIMITS/{n}"), "1".into()]);
        let words: Vec<String> = std::iter::once("MSET".into()).chain(pairs).collect();
        assert_eq!(client.run(&words).to_string(), "+OK");
    }
}

#[test]
fn a_rate_limiter_is_reset_by_its_pattern_and_survives_that() {
    let mut server = Server::start();
    let mut client = server.connect();
    fill(&mut client, 1200);
    client.say("MSET other 1 LIMIT 1");
    assert_eq!(client.run(&["EVAL", RESET, "1", "LIMITS/*"]), Value::Int(1200));
    assert_eq!(client.run(&["EVAL", RESET, "1", "LIMITS/*"]), Value::Int(0));
    server.kill_and_restart();
    assert_eq!(server.connect().say("DBSIZE").to_string(), ":2");
}

#[test]
fn a_reset_sees_what_its_transaction_has_done() {
    let server = Server::with(&["--memory-only"]);
    let mut client = server.connect();
    client.say("MSET LIMITS/a 1 LIMITS/b 1");
    client.say("MULTI");
    client.say("DEL LIMITS/a");
    client.say("SET LIMITS/c 1");
    client.run(&["EVAL", RESET, "1", "LIMITS/*"]);
    assert_eq!(client.say("EXEC").to_string(), "[:1, +OK, :2]");
    assert_eq!(client.say("DBSIZE").to_string(), ":0");
}

#[test]
fn a_reset_of_more_keys_than_a_transaction_takes_is_refused_and_deletes_none() {
    let server = Server::with(&["--memory-only"]);
    let mut client = server.connect();
    fill(&mut client, 10_001);
    let refused = client.run(&["EVAL", RESET, "1", "LIMITS/*"]).to_string();
    assert_eq!(refused, "-ERR too many keys match, max=10000: delete them with SCAN and UNLINK");
    assert_eq!(client.say("DBSIZE").to_string(), ":10001");
    client.say("DEL LIMITS/0");
    assert_eq!(client.run(&["EVAL", RESET, "1", "LIMITS/*"]), Value::Int(10_000));
}
