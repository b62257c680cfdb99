//! `LATENCY`: what took long is kept by event, and forgotten on demand.

use super::{
    answers::check,
    fixture::Server,
    wire::{Client, Value},
};

/// Enough work for a command to take a millisecond: all keys against a pattern that matches none.
fn work(client: &mut Client) {
    let words: Vec<String> = std::iter::once("MSET".into())
        .chain((0..4000).flat_map(|n| [format!("key{n}"), "v".into()]))
        .collect();
    assert_eq!(client.run(&words).to_string(), "+OK");
}

#[test]
fn what_took_long_is_kept_and_forgotten() {
    let server = Server::with(&["--memory-only"]);
    let mut client = server.connect();
    check(
        &mut client,
        &[
            ("CONFIG GET latency-monitor-threshold", "[\"latency-monitor-threshold\", \"0\"]"),
            (
                "CONFIG SET latency-monitor-threshold -1",
                "-ERR CONFIG SET failed (possibly related to argument 'latency-monitor-threshold') - argument must be…",
            ),
            ("CONFIG SET latency-monitor-threshold x", "-ERR CONFIG SET failed…"),
            ("LATENCY DOCTOR", "\"Nothing is watched…"),
            ("CONFIG SET latency-monitor-threshold 1", "+OK"),
        ],
    );
    while client.say("LATENCY HISTORY command").items().is_empty() {
        work(&mut client);
    }
    let history = client.say("LATENCY HISTORY command");
    let last = history.items().last().unwrap().items();
    let latest = client.say("LATENCY LATEST");
    let command = latest.items().iter().find(|event| event.items()[0].text() == "command").unwrap().items();
    assert_eq!((command[1].int(), command[2].int()), (last[0].int(), last[1].int()));
    assert!(command[3].int() >= command[2].int() && command[2].int() >= 1);
    check(
        &mut client,
        &[
            ("LATENCY DOCTOR", "\"command: long in…"),
            ("LATENCY HISTORY none", "[]"),
            ("LATENCY RESET none", ":0"),
            ("LATENCY RESET none command", ":1"),
            ("LATENCY HISTORY command", "[]"),
            ("LATENCY HELP", "[+LATENCY <subcommand>…"),
            ("LATENCY HISTORY", "-ERR wrong number of arguments for 'latency|history' command"),
            ("LATENCY LATEST x", "-ERR wrong number of arguments for 'latency|latest' command"),
            ("LATENCY NOPE", "-ERR unknown subcommand 'NOPE'. Try LATENCY HELP."),
            ("CONFIG SET latency-monitor-threshold 0", "+OK"),
            ("LATENCY RESET", ":…"),
        ],
    );
    work(&mut client);
    assert_eq!(client.say("LATENCY LATEST"), Value::Array(Vec::new()));
}
