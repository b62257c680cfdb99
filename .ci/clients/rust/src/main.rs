//! redis-rs in both versions of the protocol, as an application uses it: called with
//! `redis://host:port`, it compares what it reads back.

use redis::{Commands, Connection, ErrorKind, RedisResult, Script, ServerErrorKind, pipe, transaction};

/// The lock that everybody writes: given back only if it is still ours.
const UNLOCK: &str =
    "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) else return 0 end";

fn main() -> RedisResult<()> {
    let url = std::env::args().nth(1).expect("redis://host:port as the only argument");
    for protocol in ["resp2", "resp3"] {
        let client = redis::Client::open(format!("{url}/?protocol={protocol}"))?;
        let mut con = client.get_connection()?;
        redis::cmd("FLUSHALL").exec(&mut con)?;
        strings(&mut con)?;
        batches(&mut con, &mut client.get_connection()?)?;
        scripts(&mut con)?;
        messages(&mut con, &mut client.get_connection()?)?;
    }
    println!(
        "redis-rs | 1.8.1 | RESP2 and RESP3: strings, errors, pipelines, transaction, scan, Script, pub/sub"
    );
    Ok(())
}

fn strings(con: &mut Connection) -> RedisResult<()> {
    let () = con.set_ex("name", "käse", 100)?;
    assert_eq!(con.get::<_, String>("name")?, "käse");
    assert!((99..=100).contains(&con.ttl::<_, i64>("name")?), "TTL");
    assert!(!con.set_nx::<_, _, bool>("name", "other")?, "SETNX of a key that is there");
    let () = con.mset(&[("a", 1), ("b", 2)])?;
    assert_eq!(con.mget::<_, Vec<Option<i64>>>(&["a", "none", "b"])?, [Some(1), None, Some(2)]);
    assert_eq!(con.incr::<_, _, i64>("a", 41)?, 42);
    assert_eq!(con.get_del::<_, Vec<u8>>("a")?, b"42");
    assert_eq!(con.get::<_, Option<String>>("a")?, None);
    assert_eq!(con.del::<_, i64>(&["a", "b"])?, 1);
    let error = con.incr::<_, _, i64>("name", 1).expect_err("INCR of a text is refused");
    assert_eq!(error.kind(), ErrorKind::Server(ServerErrorKind::ResponseError), "{error}");
    assert!(error.to_string().contains("not an integer"), "{error}");
    Ok(())
}

fn batches(con: &mut Connection, other: &mut Connection) -> RedisResult<()> {
    let mut sets = pipe();
    for n in 0..500 {
        sets.set(format!("p:{n}"), n).ignore();
    }
    let (last,): (i64,) = sets.get("p:499").query(con)?;
    assert_eq!(last, 499);
    assert_eq!(con.scan_match::<_, String>("p:*")?.collect::<RedisResult<Vec<_>>>()?.len(), 500);
    // The first try is spoilt by another connection, the second holds.
    let mut tries = 0;
    let (sum,): (i64,) = transaction(con, &["p:1"], |con, pipe| {
        tries += 1;
        let n: i64 = con.get("p:1")?;
        if tries == 1 {
            let () = other.set("p:1", 100)?;
        }
        pipe.set("p:1", n + 1).ignore().get("p:1").query(con)
    })?;
    assert_eq!((sum, tries), (101, 2), "sum and tries of the transaction");
    Ok(())
}

fn scripts(con: &mut Connection) -> RedisResult<()> {
    let () = con.set("lock", "token")?;
    let unlock = Script::new(UNLOCK);
    assert_eq!(unlock.key("lock").arg("other").invoke::<i64>(con)?, 0);
    assert_eq!(unlock.key("lock").arg("token").invoke::<i64>(con)?, 1);
    assert!(!con.exists::<_, bool>("lock")?, "the lock is given back");
    Ok(())
}

fn messages(con: &mut Connection, listener: &mut Connection) -> RedisResult<()> {
    let mut listener = listener.as_pubsub();
    listener.subscribe("news")?;
    assert_eq!(con.publish::<_, _, i64>("news", "hello")?, 1);
    assert_eq!(listener.get_message()?.get_payload::<String>()?, "hello");
    Ok(())
}
