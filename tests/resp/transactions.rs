//! `MULTI`, `EXEC`, `WATCH`: all or nothing, in the replies, in the cache and in the log.

#![expect(clippy::disallowed_methods, reason = "a test cuts the files of a server")]

use std::{fs, path::Path};

use super::{
    answers::check,
    fixture::Server,
    wire::{Client, request},
};
use crate::support::process::Process;

#[test]
fn queued_commands_happen_at_exec_and_are_answered_there() {
    let server = Server::with(&["--memory-only"]);
    check(
        &mut server.connect(),
        &[
            ("EXEC", "-ERR EXEC without MULTI"),
            ("DISCARD", "-ERR DISCARD without MULTI"),
            ("MULTI", "+OK"),
            ("MULTI", "-ERR MULTI calls can not be nested"),
            ("SET a 1", "+QUEUED"),
            ("INCR a", "+QUEUED"),
            ("GET none", "+QUEUED"),
            ("EXEC", "[+OK, :2, nil]"),
            ("MULTI", "+OK"),
            ("SET a 9", "+QUEUED"),
            ("DISCARD", "+OK"),
            ("GET a", "\"2\""),
            ("MULTI", "+OK"),
            ("EXEC", "[]"),
        ],
    );
}

#[test]
fn a_command_that_fails_at_exec_does_not_undo_the_others() {
    let server = Server::with(&["--memory-only"]);
    check(
        &mut server.connect(),
        &[
            ("SET text abc", "+OK"),
            ("MULTI", "+OK"),
            ("SET a 1", "+QUEUED"),
            ("INCR text", "+QUEUED"),
            ("SET b 2", "+QUEUED"),
            ("EXEC", "[+OK, -ERR value is not an integer or out of range, +OK]"),
            ("MGET a b text", "[\"1\", \"2\", \"abc\"]"),
        ],
    );
}

#[test]
fn a_command_that_cannot_be_queued_aborts_all() {
    let server = Server::with(&["--memory-only"]);
    for (wrong, error) in [
        ("GET", "-ERR wrong number of arguments for 'get' command"),
        ("NOPE", "-ERR unknown command 'NOPE', with args beginning with: "),
    ] {
        check(
            &mut server.connect(),
            &[
                ("MULTI", "+OK"),
                ("SET a 1", "+QUEUED"),
                (wrong, error),
                ("SET b 1", "+QUEUED"),
                ("EXEC", "-EXECABORT Transaction discarded because of previous errors."),
                ("EXISTS a b", ":0"),
                ("EXEC", "-ERR EXEC without MULTI"),
            ],
        );
    }
}

#[test]
fn a_wrong_exec_ends_the_transaction() {
    let server = Server::with(&["--memory-only"]);
    check(
        &mut server.connect(),
        &[
            ("MULTI", "+OK"),
            ("SET a 1", "+QUEUED"),
            (
                "EXEC x",
                "-EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command",
            ),
            ("GET a", "nil"),
            ("EXEC", "-ERR EXEC without MULTI"),
        ],
    );
}

#[test]
fn a_watched_key_that_changes_leaves_exec_without_effect() {
    let server = Server::with(&["--memory-only"]);
    let (mut one, mut other) = (server.connect(), server.connect());
    check(&mut one, &[("SET k 1", "+OK"), ("WATCH k none", "+OK"), ("MULTI", "+OK"), ("SET k 2", "+QUEUED")]);
    check(&mut one, &[("WATCH k", "-ERR WATCH inside MULTI is not allowed")]);
    // The same value again is a change too.
    check(&mut other, &[("SET k 1", "+OK")]);
    check(&mut one, &[("EXEC", "nil-array"), ("GET k", "\"1\"")]);
    for change in ["DEL k", "EXPIRE k 100", "RENAME k other", "FLUSHDB", "SET none 1"] {
        check(
            &mut one,
            &[
                ("FLUSHALL", "+OK"),
                ("SET k 1", "+OK"),
                ("WATCH k none", "+OK"),
                ("MULTI", "+OK"),
                ("SET k 2", "+QUEUED"),
            ],
        );
        other.say(change);
        assert_eq!(one.say("EXEC").to_string(), "nil-array", "{change}");
    }
}

#[test]
fn what_is_watched_is_forgotten_by_exec_discard_and_unwatch() {
    let server = Server::with(&["--memory-only"]);
    let (mut one, mut other) = (server.connect(), server.connect());
    for forget in [&["UNWATCH"][..], &["MULTI", "DISCARD"], &["MULTI", "EXEC"]] {
        one.say("WATCH k");
        forget.iter().for_each(|line| assert!(!one.say(line).is_error()));
        other.say("SET k 1");
        check(&mut one, &[("MULTI", "+OK"), ("INCR k", "+QUEUED"), ("EXEC", "[:2]")]);
    }
    // Reading, and changes of the same name elsewhere, are no changes.
    one.say("WATCH k");
    check(&mut other, &[("GET k", "\"2\""), ("SELECT 1", "+OK"), ("SET k 9", "+OK")]);
    check(&mut one, &[("MULTI", "+OK"), ("INCR k", "+QUEUED"), ("EXEC", "[:3]")]);
}

#[test]
fn in_the_third_protocol_an_aborted_exec_is_null() {
    let server = Server::with(&["--memory-only"]);
    let (mut one, mut other) = (Client::connect3(server.address), server.connect());
    one.say("WATCH k");
    other.say("SET k 1");
    check(
        &mut one,
        &[
            ("MULTI", "+OK"),
            ("CONFIG GET databases", "+QUEUED"),
            ("EXEC", "nil"),
            ("MULTI", "+OK"),
            ("GET none", "+QUEUED"),
            ("PING", "+QUEUED"),
            ("EXEC", "[nil, +PONG]"),
        ],
    );
}

#[test]
fn select_within_a_transaction_selects_for_what_follows() {
    let server = Server::with(&["--memory-only"]);
    check(
        &mut server.connect(),
        &[
            ("MULTI", "+OK"),
            ("SET k zero", "+QUEUED"),
            ("SELECT 3", "+QUEUED"),
            ("SET k three", "+QUEUED"),
            ("EXEC", "[+OK, +OK, +OK]"),
            ("GET k", "\"three\""),
            ("SELECT 0", "+OK"),
            ("GET k", "\"zero\""),
        ],
    );
}

#[test]
fn counters_that_many_change_in_transactions_lose_nothing() {
    let server = Server::with(&["--memory-only"]);
    let (address, rounds) = (server.address, 100);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(move || {
                let mut client = Client::connect(address);
                for _ in 0..rounds {
                    client.send(
                        [request(&["MULTI"]), request(&["INCR", "a"]), request(&["INCR", "b"])].concat(),
                    );
                    (0..3).for_each(|_| assert!(!client.next().is_error()));
                    let both = client.say("EXEC");
                    assert_eq!(both.items()[0], both.items()[1], "somebody saw half a transaction");
                }
            });
        }
    });
    assert_eq!(server.connect().say("MGET a b").to_string(), "[\"400\", \"400\"]");
}

/// A log that is cut at any byte, as a power cut may, holds all of a transaction or nothing of it.
#[test]
fn wherever_the_log_is_cut_a_transaction_is_there_whole_or_not_at_all() {
    let mut server = Server::with(&["--compress", "none"]);
    let mut client = server.connect();
    client.say("SET before 1");
    let begin = written(&server.place.data_dir());
    client.say("MULTI");
    for n in 0..5 {
        client.say(&format!("SET key-{n} value-{n}"));
    }
    client.say("DEL before");
    assert_eq!(client.say("EXEC").items().len(), 6);
    server.process.kill();
    let dir = server.place.data_dir();
    let end = written(&dir);
    assert!(begin < end, "{begin} {end}");
    let (mut whole, mut none) = (0, 0);
    let cuts = (begin..end).step_by((end - begin).div_ceil(16)).chain([end]);
    for (n, cut) in cuts.enumerate() {
        let copy = server.place.dir.path().join(format!("cut-{n}"));
        copy_tree(&dir, &copy);
        truncate_log(&copy, cut);
        let mut process = Process::serve(&copy, &[]);
        let line = super::fixture::redis_line(&mut process);
        let mut client = Client::connect(line.strip_prefix("on ").unwrap().parse().unwrap());
        let there = client.say("EXISTS key-0 key-1 key-2 key-3 key-4").int();
        let before = client.say("EXISTS before").int();
        match (there, before) {
            (5, 0) => whole += 1,
            (0, 1) => none += 1,
            other => panic!("cut at {cut} of {begin}..{end}: {other:?}"),
        }
        process.kill();
    }
    assert!(whole >= 1 && none >= 1, "{whole} {none}");
}

/// The one log file that has frames, by its name the oldest.
fn log_of(dir: &Path) -> std::path::PathBuf {
    let mut logs: Vec<_> =
        fs::read_dir(dir.join("wal")).unwrap().map(|entry| entry.unwrap().path()).collect();
    logs.retain(|path| path.extension().is_some_and(|ending| ending == "wal"));
    logs.sort();
    logs.swap_remove(0)
}

/// Where the zeros behind the frames begin.
fn written(dir: &Path) -> usize {
    fs::read(log_of(dir)).unwrap().iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

fn truncate_log(dir: &Path, len: usize) {
    let path = log_of(dir);
    let mut bytes = fs::read(&path).unwrap();
    // A lost write leaves the zeros that were there before.
    bytes[len..].fill(0);
    fs::write(path, bytes).unwrap();
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
