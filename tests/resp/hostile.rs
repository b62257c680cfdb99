//! Clients that send what is no request, announce what does not come, or do not take their replies.
//!
//! Memory of the server is what the system says of the process (`VmRSS`): a bound that would be broken
//! by a hundred megabytes or more is held against some tens.

use std::{
    io::{self, Write},
    time::Duration,
};

use super::{
    fixture::{Local, Server, reserved, resident},
    wire::{Client, Value, request},
};

const MIB: u64 = 1 << 20;

/// Writes until the server has taken all, or takes no more for a while; how much it took.
fn push(client: &mut Client, bytes: &[u8]) -> usize {
    client.stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut sent = 0;
    while sent < bytes.len() {
        match client.stream.write(&bytes[sent..]) {
            Ok(len) => sent += len,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    sent
}

#[test]
fn bytes_that_are_no_request_get_one_error_and_the_end() {
    let server = Server::with(&["--memory-only"]);
    for (bytes, error) in [
        (&b"*2\r\n+OK\r\n"[..], "-ERR Protocol error: expected '$', got '+'\r\n"),
        (b"*9999999\r\n", "-ERR Protocol error: invalid multibulk length\r\n"),
        (b"*1\n$4\nPING\n", "-ERR Protocol error: invalid multibulk length\r\n"),
        (b"*1\r\n$4\r\nPINGxx", "-ERR Protocol error: an argument must end with CR LF\r\n"),
        (b"*1\r\n$-1\r\n", "-ERR Protocol error: invalid bulk length\r\n"),
        (b"*1\r\n$999999999999\r\n", "-ERR Protocol error: invalid bulk length\r\n"),
        (b"SET k \"open\r\n", "-ERR Protocol error: unbalanced quotes in request\r\n"),
    ] {
        let mut client = server.connect();
        client.send([&request(&["PING"]), bytes].concat());
        assert_eq!(client.read_all(), format!("+PONG\r\n{error}"), "{}", bytes.escape_ascii());
    }
}

#[test]
fn a_line_that_does_not_end_is_cut_off() {
    let server = Server::with(&["--memory-only"]);
    let mut client = server.connect();
    // More than the system buffers.
    let line = vec![b'a'; 32 << 20];
    assert!(push(&mut client, &line) < line.len());
    // What it had not read when it closed resets the connection, with the error still on its way.
    match client.reply() {
        Ok(reply) => assert_eq!(reply.to_string(), "-ERR Protocol error: too big inline request"),
        Err(e) => assert!([io::ErrorKind::ConnectionReset, io::ErrorKind::UnexpectedEof].contains(&e.kind())),
    }
}

#[test]
fn a_browser_gets_one_line_that_helps_and_the_end() {
    let server = Server::with(&["--memory-only"]);
    for head in ["GET / HTTP/1.1\r\n", "POST /v1 HTTP/1.0\r\n", "Host: localhost\r\n"] {
        let mut client = server.connect();
        client.send(head);
        let said = client.read_all();
        assert!(said.lines().count() == 1 && said.contains("HTTP has a port of its own"), "{said}");
    }
}

#[test]
fn memory_does_not_grow_with_lengths_that_are_only_announced() {
    let server = Server::with(&["--memory-only"]);
    let announced = "*1048576\r\n$3\r\nSET\r\n$16777216\r\nx";
    let read = || server.info("total_net_input_bytes").parse::<usize>().unwrap();
    let (before, read_before) = (reserved(&server.process), read());
    let clients: Vec<Client> = (0..200)
        .map(|_| {
            let mut client = server.connect();
            client.send(announced);
            client
        })
        .collect();
    while read() < read_before + clients.len() * announced.len() {
        std::thread::yield_now();
    }
    // Memory that is asked for and not touched is not resident.
    let grown = reserved(&server.process).saturating_sub(before);
    assert!(grown < 64 * MIB, "{grown} bytes for {} clients", clients.len());
}

#[test]
fn a_client_that_pipelines_and_never_reads_does_not_make_the_server_grow() {
    let server = Server::with(&["--memory-only"]);
    let mut client = server.connect();
    assert_eq!(client.run(&[&b"SET"[..], b"big", &vec![b'x'; 1 << 20]]).to_string(), "+OK");
    let before = resident(&server.process);
    // A terabyte of replies. More than the system buffers, so that the server has long begun to answer when
    // it takes no more.
    let requests = request(&["GET", "big"]).repeat(1_000_000);
    assert!(push(&mut client, &requests) < requests.len());
    let grown = resident(&server.process).saturating_sub(before);
    assert!(grown < 64 * MIB, "{grown}");
}

#[test]
fn a_listener_that_never_reads_is_disconnected_at_the_bound() {
    let server = Server::with(&["--memory-only"]);
    let mut listener = server.connect();
    assert!(!listener.say("SUBSCRIBE c").is_error());
    let mut sender = server.connect();
    let before = resident(&server.process);
    let payload = vec![b'x'; 256 << 10];
    let mut sent = 0u64;
    while sender.run(&[&b"PUBLISH"[..], b"c", &payload]) == Value::Int(1) {
        sent += payload.len() as u64;
        assert!(sent < 256 * MIB, "it is still told");
    }
    let grown = resident(&server.process).saturating_sub(before);
    assert!(grown < 96 * MIB, "{grown}");
    assert_eq!(server.info("client_output_buffer_limit_disconnections"), "1");
}

#[test]
fn half_a_request_is_cut_off_even_if_it_trickles() {
    let server = Local::with(|settings| settings.request_deadline = Duration::from_secs(1));
    let mut silent = server.connect();
    silent.send("*1\r\n$4\r\nPI");
    assert!(silent.is_closed());
    let mut trickles = server.connect();
    let byte = |client: &mut Client| client.stream.write_all(b"x").is_ok();
    trickles.send("*2\r\n$4\r\nECHO\r\n$100000\r\n");
    let mut bytes = 0;
    while byte(&mut trickles) {
        bytes += 1;
        assert!(bytes < 200, "it may go on for ever");
        std::thread::sleep(Duration::from_millis(50));
    }
    // Whoever has sent nothing, or whole requests only, may stay.
    let mut idle = server.connect();
    idle.say("PING");
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(idle.say("PING").to_string(), "+PONG");
}

#[test]
fn a_client_that_takes_no_byte_of_a_reply_is_cut_off() {
    let server = Local::with(|settings| settings.stall_deadline = Duration::from_millis(300));
    let mut client = server.connect();
    client.run(&[&b"SET"[..], b"big", &vec![b'x'; 8 << 20]]);
    client.send(request(&["GET", "big"]).repeat(4));
    let mut other = server.connect();
    while other.say("CLIENT LIST").text().lines().count() > 1 {
        std::thread::yield_now();
    }
}

#[test]
fn more_connections_than_may_be_are_told_so() {
    let server = Local::with(|settings| settings.connections_max = 2);
    let mut kept = [server.connect(), server.connect()];
    kept.iter_mut().for_each(|client| assert_eq!(client.say("PING").to_string(), "+PONG"));
    assert_eq!(server.connect().read_all(), "-ERR max number of clients reached\r\n");
    assert_eq!(kept[0].say("PING").to_string(), "+PONG");
}

/// 20 KiB for each of 10,000 are 200 MiB. They have been used before they are idle.
#[test]
fn an_idle_connection_costs_less_than_twenty_kibibytes() {
    const COUNT: u64 = 400;
    let server = Server::with(&["--memory-only"]);
    // What the first ones cost is not theirs.
    let warm: Vec<Client> = (0..20).map(|_| server.connect()).collect();
    let before = resident(&server.process);
    let mut clients: Vec<Client> = (0..COUNT).map(|_| server.connect()).collect();
    let value = "x".repeat(10_000);
    for client in &mut clients {
        client.run(&["SET", "k", &value]);
        client.say("GET k");
    }
    let each = resident(&server.process).saturating_sub(before) / COUNT;
    assert!(each < 20 << 10, "{each} bytes for a connection");
    drop(warm);
}

/// As much as the longest transaction, and no more: five of the longest values.
#[test]
fn a_request_and_a_reply_have_a_longest_length() {
    let server = Server::with(&["--memory-only"]);
    let max = 5 * 16 * MIB as usize;
    let mut client = server.connect();
    let value = vec![b'v'; MIB as usize];
    assert_eq!(client.run(&[&b"SET"[..], b"k", &value]), Value::Simple("OK".into()));
    let mut mget = vec![&b"MGET"[..]];
    mget.resize(max / MIB as usize + 2, b"k");
    let Value::Error(text) = client.run(&mget) else { panic!("a reply without bound") };
    assert!(text.starts_with("ERR the reply would be too long"), "{text}");
    assert_eq!(client.run(&["PING"]), Value::Simple("PONG".into()));

    let mut client = server.connect();
    let pair =
        [format!("$1\r\nk\r\n${MIB}\r\n").into_bytes(), vec![b'v'; MIB as usize], b"\r\n".to_vec()].concat();
    push(&mut client, b"*1001\r\n$4\r\nMSET\r\n");
    let sent: usize = (0..200).map(|_| push(&mut client, &pair)).take_while(|sent| *sent == pair.len()).sum();
    assert!(sent <= max + 20 * MIB as usize, "sent={sent}");
    assert!(resident(&server.process) < 3 * max as u64);
}
