//! The scripts that libraries send, by their text and by their digest; any other is refused.

use super::{fixture::Server, wire::Value};

const RELEASE: &str = "if redis.call(\"get\",KEYS[1]) == ARGV[1] then\n return redis.call(\"del\",KEYS[1])\nelse\n return 0\nend";
const ADD: &str = "return redis.call('exists',KEYS[1])<1 and redis.call('setex',KEYS[1],ARGV[2],ARGV[1])";

#[test]
fn a_known_script_runs_by_its_text_and_then_by_its_digest() {
    let server = Server::with(&["--memory-only"]);
    let mut client = server.connect();
    client.say("SET lock mine");
    assert_eq!(client.run(&["EVAL", RELEASE, "1", "lock", "theirs"]), Value::Int(0));
    assert_eq!(client.run(&["EVAL", RELEASE, "1", "lock", "mine"]), Value::Int(1));
    assert_eq!(client.say("EXISTS lock"), Value::Int(0));
    let digest = client.run(&["SCRIPT", "LOAD", RELEASE]).text();
    assert_eq!(digest.len(), 40);
    client.say("SET lock mine");
    assert_eq!(client.run(&["EVALSHA", &digest, "1", "lock", "mine"]), Value::Int(1));
    let other = "0".repeat(40);
    assert_eq!(client.run(&["SCRIPT", "EXISTS", &digest, &other]).to_string(), "[:1, :0]");
    assert_eq!(client.run(&["EVAL", ADD, "1", "k", "v", "100"]).to_string(), "+OK");
    assert_eq!(client.run(&["EVAL", ADD, "1", "k", "w", "100"]).to_string(), "nil");
    assert_eq!(client.say("TTL k").to_string(), ":100");
}

#[test]
fn an_unknown_script_is_refused_by_name_and_counted() {
    let server = Server::with(&["--memory-only"]);
    let mut client = server.connect();
    let refused = "-ERR this server runs known scripts only, sha=e0e1f9fabfc9d4800c877a703b823ac0578ff8db; see COMPAT.md";
    for command in [&["EVAL", "return 1", "0"][..], &["SCRIPT", "LOAD", "return 1"]] {
        let reply = client.run(command).to_string();
        assert!(reply.starts_with(refused), "{reply}");
    }
    let unknown = client.run(&["EVALSHA", &"0".repeat(40), "0"]).to_string();
    assert_eq!(unknown, "-NOSCRIPT No matching script. Please use EVAL.");
    assert_eq!(client.run(&["EVAL", RELEASE, "-1"]).to_string(), "-ERR Number of keys can't be negative");
    assert_eq!(
        client.run(&["EVAL", RELEASE, "2", "a"]).to_string(),
        "-ERR Number of keys can't be greater than number of args"
    );
    assert_eq!(server.info("emberkeep_unknown_scripts"), "2");
}
