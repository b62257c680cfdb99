//! `emberkeep import` as a user runs it, between two servers that do what the test says: what arrives,
//! what is told, and how it goes on after a server or the import itself went away.

#![expect(clippy::disallowed_methods, reason = "these tests look at real files from outside")]

mod fake;

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    path::Path,
    process::{Command, Stdio},
    thread,
};

use self::fake::{Fake, Item, TIME};

/// Two servers, and a directory where the import runs.
struct Place {
    dir: tempfile::TempDir,
    source: Fake,
    target: Fake,
}

/// What the import said.
struct Said {
    code: Option<i32>,
    text: String,
}

impl Said {
    #[track_caller]
    fn is(&self, code: i32, words: &[&str]) -> &Said {
        assert_eq!(self.code, Some(code), "{}", self.text);
        for word in words {
            assert!(self.text.contains(word), "{word:?} is not in: {}", self.text);
        }
        self
    }
}

impl Place {
    fn new() -> Place {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        Place { dir, source: Fake::start("source-1"), target: Fake::start("target-1") }
    }

    /// A source with 1,200 keys, which is three pages.
    fn filled() -> Place {
        let place = Place::new();
        for n in 0..1200 {
            place.source.put(0, format!("key:{n}"), Item::text(format!("value {n}")));
        }
        place
    }

    fn import(&self, flags: &[&str]) -> Said {
        let (source, target) = (self.source.url(), self.target.url());
        run(self.dir.path(), &[&[&source[..], "--to", &target], flags].concat())
    }

    fn state(&self) -> std::path::PathBuf {
        self.dir.path().join("emberkeep-import.state")
    }

    /// Whether the target holds exactly what the source does.
    #[track_caller]
    fn assert_copied(&self) {
        let (source, target) = (self.source.lock(), self.target.lock());
        assert!(source.dbs == target.dbs, "source and target differ");
    }
}

fn run(dir: &Path, arguments: &[&str]) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_emberkeep"));
    command.arg("import").args(arguments).current_dir(dir).stdin(Stdio::null()).env_remove("EMBERKEEP_LOG");
    let done = command.output().expect("the binary starts");
    let text = [done.stdout, done.stderr].concat();
    Said { code: done.status.code(), text: String::from_utf8(text).expect("tools say text") }
}

#[test]
fn strings_are_copied_into_the_databases_they_were_in() {
    let place = Place::filled();
    place.source.put(5, b"\xff\0\r\n".as_slice(), Item::text(b"\0\xff\r\n".as_slice()));
    place.source.put(5, "empty", Item::text(""));
    place
        .import(&[])
        .is(0, &["copied         1202 keys", "already there  0", "expired        0", "refused        0"]);
    place.assert_copied();
    assert_eq!(fs::read_dir(place.dir.path()).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn lifetimes_are_kept_by_the_clock_of_the_target() {
    let place = Place::new();
    place.source.put(0, "a", Item { left: 500_000, ..Item::text("1") });
    // Less than a millisecond is left.
    place.source.put(0, "b", Item { left: 0, ..Item::text("2") });
    place.source.put(0, "c", Item::text("3"));
    place.import(&[]).is(0, &["copied         2 keys", "expired        1"]);
    let target = place.target.lock();
    let expires = target.dbs[&0][b"a".as_slice()].expires.expect("it has a lifetime");
    let end = TIME * 1000 + 500_000;
    // It takes time to connect, less than a minute.
    assert!((end..end + 60_000).contains(&expires), "{expires}");
    assert_eq!(target.dbs[&0].get(b"b".as_slice()), None);
    assert_eq!(target.dbs[&0][b"c".as_slice()].expires, None);
}

#[test]
fn what_is_no_string_is_counted_and_named_and_no_failure() {
    let place = Place::new();
    place.source.put(0, "jobs", Item { kind: "list", ..Item::text("") });
    place.source.put(0, "user", Item { kind: "hash", ..Item::text("") });
    place.source.put(0, "text", Item::text("x"));
    place
        .import(&[])
        .is(0, &["copied         1 keys", "1 of type list", "1 of type hash", "db0 \"jobs\" (list)"]);
}

#[test]
fn what_is_there_stays_unless_it_is_to_be_overwritten() {
    let place = Place::filled();
    place.target.put(0, "key:7", Item::text("newer"));
    place.import(&[]).is(0, &["copied         1199 keys", "already there  1"]);
    assert_eq!(place.target.lock().dbs[&0][b"key:7".as_slice()].value, b"newer");
    place.import(&["--overwrite"]).is(0, &["copied         1200 keys", "already there  0"]);
    place.assert_copied();
}

#[test]
fn a_database_and_a_pattern_can_be_chosen() {
    let place = Place::filled();
    place.source.put(3, "key:a", Item::text("1"));
    place.source.put(3, "other", Item::text("2"));
    place.import(&["--db=3", "--match=key:*"]).is(0, &["copied         1 keys"]);
    assert_eq!(place.target.lock().dbs.keys().collect::<Vec<_>>(), [&3]);
}

/// Wherever one of the two goes away for good, the next run of the same command brings it to the end.
#[test]
fn after_any_cut_the_same_command_goes_on() {
    let all = Place::filled();
    all.import(&[]).is(0, &[]);
    for is_source in [true, false] {
        let commands = if is_source { &all.source } else { &all.target }.lock().seen.len();
        // Before the source has said what it holds nobody was connected, and nothing is to be kept.
        for cut_after in (4..commands).step_by(commands / 12) {
            let place = Place::filled();
            let cut = if is_source { &place.source } else { &place.target };
            (cut.lock().cut_after, cut.lock().stays_down) = (Some(cut_after), true);
            place.import(&["--retries=0"]).is(5, &[]);
            let was_kept = place.state().exists();
            let before = place.source.seen("SCAN").len();
            cut.lock().is_down = false;
            let said = place.import(&[]);
            said.is(0, if was_kept { &["going on in database 0 after"] } else { &[] });
            let begins_at = place.source.seen("SCAN")[before].clone();
            assert_eq!(begins_at.starts_with("SCAN 0 "), !was_kept, "cut_after={cut_after}: {begins_at}");
            place.assert_copied();
            assert!(!place.state().exists());
        }
    }
}

#[test]
fn a_connection_that_is_lost_is_made_again() {
    for is_source in [true, false] {
        let place = Place::filled();
        let cut = if is_source { &place.source } else { &place.target };
        cut.lock().cut_after = Some(700);
        let who = if is_source { "source 127.0.0.1" } else { "target 127.0.0.1" };
        place.import(&[]).is(0, &[who, "trying again in 100 ms"]);
        place.assert_copied();
    }
}

#[test]
fn who_does_not_come_back_is_given_up() {
    let place = Place::filled();
    (place.source.lock().cut_after, place.source.lock().stays_down) = (Some(3000), true);
    place.import(&["--retries=2"]).is(5, &["given up after 2 tries", "emberkeep-import.state", "in 200 ms"]);
}

#[test]
fn a_source_that_was_restarted_is_copied_from_the_start() {
    let place = Place::filled();
    (place.target.lock().cut_after, place.target.lock().stays_down) = (Some(900), true);
    place.import(&["--retries=0"]).is(5, &[]);
    place.target.lock().is_down = false;
    place.source.lock().run_id = "source-2".into();
    place.import(&[]).is(0, &["restarted", "starting over"]);
    assert!(place.source.seen("SCAN").iter().filter(|line| line.starts_with("SCAN 0 ")).count() == 2);
    place.assert_copied();
}

#[test]
fn a_key_that_the_target_refuses_is_named_and_makes_the_exit_code_1() {
    let place = Place::filled();
    place.target.lock().refuses = Some((b"key:3".into(), "ERR value is too large".into()));
    place
        .import(&[])
        .is(1, &["copied         1199 keys", "refused        1", "\"key:3\": ERR value is too large"]);
}

#[test]
fn a_target_that_takes_nothing_ends_it_with_the_state_kept() {
    let place = Place::filled();
    place.target.lock().refuses = Some((b"key:999".into(), "OOM no room".into()));
    place.import(&[]).is(5, &["target 127.0.0.1", "OOM no room"]);
    assert!(place.state().exists());
    place.target.lock().refuses = None;
    place.import(&[]).is(0, &[]);
    place.assert_copied();
}

#[test]
fn the_state_of_another_import_is_refused() {
    let place = Place::filled();
    (place.target.lock().cut_after, place.target.lock().stays_down) = (Some(900), true);
    place.import(&["--retries=0"]).is(5, &[]);
    place.import(&["--db=0"]).is(2, &["state of another import", "--state"]);
    fs::write(place.state(), "{").unwrap();
    place.import(&[]).is(2, &["remove it to start over"]);
}

#[test]
fn a_login_is_asked_for_and_given() {
    let place = Place::new();
    place.source.put(0, "k", Item::text("v"));
    place.source.lock().password = Some("p@ss".into());
    place.import(&[]).is(5, &["NOAUTH", "redis://user:password@"]);
    let with = |login: &str| place.source.url().replace("redis://", &format!("redis://{login}@"));
    let target = place.target.url();
    run(place.dir.path(), &[&with(":wrong"), "--to", &target]).is(5, &["WRONGPASS"]);
    run(place.dir.path(), &[&with(":p%40ss"), "--to", &target]).is(0, &["copied         1 keys"]);
    assert_eq!(place.source.seen("AUTH").last().unwrap(), "AUTH p@ss");
}

#[test]
fn a_source_is_not_copied_into_itself() {
    let place = Place::filled();
    place.target.lock().run_id = "source-1".into();
    place.import(&[]).is(5, &["the same server"]);
}

#[test]
fn a_database_that_the_target_does_not_have_is_told() {
    let place = Place::new();
    place.source.put(15, "k", Item::text("v"));
    place.import(&["--db=16"]).is(5, &["DB index is out of range"]);
}

#[test]
fn what_is_no_redis_is_told_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let web = format!("redis://{}", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        assert_ne!(stream.read(&mut [0; 1024]).unwrap(), 0);
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
    });
    let place = Place::new();
    run(place.dir.path(), &[&web, "--to", &place.target.url()]).is(5, &["no reply", "HTTP/1.1 400"]);
    server.join().unwrap();
    // The port is free again: nobody is there.
    run(place.dir.path(), &[&web, "--to", &place.target.url()])
        .is(5, &["cannot connect to the source", "refused"]);
}

#[test]
fn wrong_flags_end_with_2() {
    let place = Place::new();
    for (arguments, right) in [
        (&[][..], "SOURCE"),
        (&["rediss://h"], "tunnel"),
        (&["redis://h", "--rate=0"], "1.."),
        (&["redis://h", "--to=h/1"], "--to names none"),
        (&["redis://h/1", "--db=2"], "give one"),
    ] {
        run(place.dir.path(), arguments).is(2, &[right]);
    }
}

#[test]
fn the_report_comes_as_data_too() {
    let place = Place::filled();
    let said = place.import(&["--json"]);
    let json: serde_json::Value = serde_json::from_str(said.is(0, &[]).text.trim()).unwrap();
    assert_eq!((json["copied"].as_u64(), json["whole"].as_bool()), (Some(1200), Some(true)));
}
