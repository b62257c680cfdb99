//! What belongs to a connection: its version of the protocol, its name, its replies, its namespace, and
//! the commands that it sends in one go.

use super::{
    answers::check,
    fixture::Server,
    wire::{Client, Value, request},
};

#[test]
fn hello_chooses_the_version_and_tells_about_the_server() {
    let server = Server::with(&["--memory-only"]);
    let mut client = server.connect();
    check(
        &mut client,
        &[
            ("HELLO", "[\"server\", \"redis\", \"version\", \"7.2.4\", \"proto\", :2, \"id\", :1, …"),
            ("HELLO 4", "-NOPROTO unsupported protocol version"),
            ("HELLO x", "-ERR Protocol version is not an integer or out of range"),
            ("HELLO 3 SETNAME", "-ERR Syntax error in HELLO option 'SETNAME'"),
            ("HELLO 3 AUTH default any SETNAME me", "{\"server\": \"redis\", …"),
            ("CLIENT GETNAME", "\"me\""),
            ("GET none", "nil"),
            ("CONFIG GET databases", "{\"databases\": \"16\"}"),
            ("HELLO 2", "[\"server\", …"),
            ("CONFIG GET databases", "[\"databases\", \"16\"]"),
        ],
    );
}

#[test]
fn a_connection_has_a_name_a_number_and_a_library() {
    let server = Server::with(&["--memory-only"]);
    let mut client = server.connect();
    check(
        &mut client,
        &[
            ("CLIENT ID", ":1"),
            ("CLIENT GETNAME", "nil"),
            ("CLIENT SETNAME worker", "+OK"),
            ("CLIENT SETINFO LIB-NAME lib", "+OK"),
            ("CLIENT SETINFO LIB-VER 1.0", "+OK"),
            ("CLIENT SETINFO NOPE 1.0", "-ERR Unrecognized option 'NOPE'"),
            (
                "CLIENT MAINT_NOTIFICATIONS ON",
                "-ERR unknown subcommand 'MAINT_NOTIFICATIONS'. Try CLIENT HELP.",
            ),
            ("CLIENT NO-EVICT ON", "+OK"),
            ("CLIENT NO-TOUCH OFF", "+OK"),
            ("SELECT 7", "+OK"),
        ],
    );
    assert_eq!(
        client.run(&["CLIENT", "SETNAME", "a b"]).to_string(),
        "-ERR Client names cannot contain spaces, newlines or special characters."
    );
    let info = client.say("CLIENT INFO").text();
    for field in ["id=1 ", " name=worker ", " db=7 ", " resp=2 ", " lib-name=lib ", " lib-ver=1.0"] {
        assert!(info.contains(field), "no {field} in {info}");
    }
    let other = server.connect().say("CLIENT LIST").text();
    assert_eq!(other.lines().count(), 2, "{other}");
    assert_eq!(server.connect().say("CLIENT LIST ID 1").text().lines().count(), 1);
}

#[test]
fn a_connection_can_be_ended_by_its_number_and_by_its_address() {
    let server = Server::with(&["--memory-only"]);
    let mut killer = server.connect();
    let mut victim = server.connect();
    let id = victim.say("CLIENT ID").int();
    assert_eq!(killer.say(&format!("CLIENT KILL ID {id}")).to_string(), ":1");
    assert!(victim.is_closed());
    let mut victim = server.connect();
    victim.say("PING");
    let address = victim.stream.local_addr().unwrap();
    assert_eq!(killer.say(&format!("CLIENT KILL {address}")).to_string(), "+OK");
    assert!(victim.is_closed());
    check(&mut killer, &[("CLIENT KILL ID 99999", ":0"), ("CLIENT KILL 1.2.3.4:5", "-ERR No such client")]);
    // It is answered before it goes.
    assert_eq!(killer.say("CLIENT KILL TYPE normal SKIPME no").to_string(), ":1");
    assert!(killer.is_closed());
}

#[test]
fn replies_are_left_out_as_asked() {
    let server = Server::with(&["--memory-only"]);
    let mut client = server.connect();
    // Only the one behind it is skipped.
    client.send([request(&["CLIENT", "REPLY", "SKIP"]), request(&["SET", "a", "1"])].concat());
    assert_eq!(client.say("GET a").to_string(), "\"1\"");
    client.send(
        [request(&["CLIENT", "REPLY", "OFF"]), request(&["SET", "a", "2"]), request(&["NOPE"])].concat(),
    );
    client.send([request(&["CONFIG", "GET", "port"]), request(&["CLIENT", "REPLY", "SKIP"])].concat());
    assert_eq!(client.say("CLIENT REPLY ON").to_string(), "+OK");
    assert_eq!(client.say("GET a").to_string(), "\"2\"");
}

#[test]
fn reset_makes_a_connection_as_if_it_were_new() {
    let server = Server::with(&["--memory-only"]);
    let mut client = Client::connect3(server.address);
    check(
        &mut client,
        &[("SELECT 5", "+OK"), ("CLIENT SETNAME x", "+OK"), ("WATCH k", "+OK"), ("MULTI", "+OK")],
    );
    check(
        &mut client,
        &[("RESET", "+RESET"), ("EXEC", "-ERR EXEC without MULTI"), ("CLIENT GETNAME", "nil")],
    );
    let info = client.say("CLIENT INFO");
    assert!(matches!(info, Value::Bulk(_)) && info.text().contains(" db=0 "), "{info}");
    check(&mut client, &[("QUIT", "+OK")]);
    assert!(client.is_closed());
}

#[test]
fn a_namespace_is_apart_from_the_others_and_can_be_emptied_alone() {
    let server = Server::start();
    check(
        &mut server.connect(),
        &[
            ("SET k zero", "+OK"),
            ("SELECT 1", "+OK"),
            ("GET k", "nil"),
            ("MSET k one other 1", "+OK"),
            ("DBSIZE", ":2"),
            ("COPY k k DB 2", ":1"),
            ("FLUSHDB", "+OK"),
            ("DBSIZE", ":0"),
            ("RANDOMKEY", "nil"),
            ("SELECT 2", "+OK"),
            ("GET k", "\"one\""),
            ("KEYS *", "[\"k\"]"),
            ("SELECT 0", "+OK"),
            ("GET k", "\"zero\""),
            ("FLUSHALL", "+OK"),
            ("DBSIZE", ":0"),
            ("SELECT 2", "+OK"),
            ("DBSIZE", ":0"),
        ],
    );
}

#[test]
fn a_thousand_writes_in_one_go_are_answered_in_order_and_share_syncs() {
    let server = Server::start();
    let mut client = server.connect();
    let syncs = |server: &Server| server.info("emberkeep_syncs").parse::<u64>().unwrap();
    let before = syncs(&server);
    let batch: Vec<u8> = (0..1000).flat_map(|n| request(&["INCRBY", "n", &n.to_string()])).collect();
    client.send(batch);
    let mut sum = 0;
    for n in 0..1000 {
        sum += n;
        assert_eq!(client.next(), Value::Int(sum));
    }
    let needed = syncs(&server) - before;
    assert!((1..100).contains(&needed), "{needed} syncs for a thousand commands");
}

#[test]
fn inline_commands_and_requests_may_come_mixed_and_in_pieces() {
    let server = Server::with(&["--memory-only"]);
    let mut client = server.connect();
    client.send("SET k \"a b\"\r\nGET k\n\r\n*0\r\n*1\r\n$4\r\nPI");
    assert_eq!(client.next().to_string(), "+OK");
    assert_eq!(client.next().to_string(), "\"a b\"");
    client.send("NG\r\nPING x\r\n");
    assert_eq!(client.next().to_string(), "+PONG");
    assert_eq!(client.next().to_string(), "\"x\"");
}

/// Every key that is there all the while is given at least once, whatever others write.
#[test]
fn scan_misses_no_key_that_stays_while_others_come_and_go() {
    let server = Server::with(&["--memory-only"]);
    let mut client = server.connect();
    for n in 0..2000 {
        client.send(request(&["SET", &format!("stays:{n}"), "v"]));
    }
    (0..2000).for_each(|_| assert!(!client.next().is_error()));
    let (done, address) = (std::sync::atomic::AtomicBool::new(false), server.address);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut writer = Client::connect(address);
            let mut n = 0;
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                writer.say(&format!("SET comes:{n} v"));
                writer.say(&format!("SET stays:{} again", n % 2000));
                writer.say(&format!("DEL comes:{}", n / 2));
                n += 1;
            }
        });
        for pattern in ["*", "stays:*", "s?ays:[0-9]*"] {
            let mut found = std::collections::BTreeSet::new();
            let mut cursor = "0".to_owned();
            loop {
                let page = client.say(&format!("SCAN {cursor} MATCH {pattern} COUNT 50"));
                cursor = page.items()[0].text();
                found.extend(page.items()[1].items().iter().map(Value::text));
                if cursor == "0" {
                    break;
                }
            }
            let missing = (0..2000).filter(|n| !found.contains(&format!("stays:{n}"))).count();
            assert_eq!(missing, 0, "{pattern}");
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    check(
        &mut client,
        &[
            ("SCAN x", "-ERR invalid cursor"),
            ("SCAN 0 COUNT 0", "-ERR syntax error"),
            ("SCAN 0 MATCH", "-ERR syntax error"),
            ("SCAN 0 TYPE list COUNT 100000", "[\"0\", []]"),
        ],
    );
}
