//! Starting and stopping as an operator sees it: exit codes, words, and what is left untouched.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use crate::support::{place::Place, process::Process};

impl Place {
    /// Starts a server that must end by itself; gives its exit code and what it said.
    #[track_caller]
    fn refused(&self) -> Refused {
        Refused::by(Process::serve(&self.data_dir(), &[]))
    }
}

/// What a server that did not serve has left behind.
struct Refused {
    code: Option<i32>,
    output: String,
}

impl Refused {
    fn by(mut server: Process) -> Refused {
        Refused { code: server.wait().code(), output: server.output() }
    }

    #[track_caller]
    fn is(&self, code: i32, words: &[&str]) {
        let Refused { code: got, output } = self;
        assert_eq!(*got, Some(code), "{output}");
        for word in words {
            assert!(output.contains(word), "{word:?} is not in: {output}");
        }
        assert!(!output.contains("panicked") && !output.contains("listening on"), "{output}");
    }
}

/// One request on a connection of its own; gives the status and the body.
#[track_caller]
fn request(server: &mut Process, method: &str, target: &str, body: &[u8]) -> (u16, Vec<u8>) {
    let reply = server.request(method.parse().unwrap(), target, body);
    (reply.status, reply.body.to_vec())
}

#[track_caller]
fn stop(server: &mut Process, signal: &str) {
    server.signal(signal);
    let status = server.wait();
    assert_eq!(status.code(), Some(0), "{}", server.output());
}

/// Names and bytes of everything in a directory.
fn contents(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .flat_map(|entry| {
            let path = entry.unwrap().path();
            if path.is_dir() { contents(&path) } else { vec![(path.clone(), fs::read(&path).unwrap())] }
        })
        .collect();
    files.sort();
    files
}

/// Where `text` stands in a file.
#[track_caller]
fn place_of(path: &Path, text: &[u8]) -> usize {
    let bytes = fs::read(path).unwrap();
    bytes.windows(text.len()).position(|window| window == text).expect("the text is in the file")
}

/// Turns one bit over; a second time puts it right.
fn flip_a_bit(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// The log files with frames in them, the oldest first.
fn segments(data_dir: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(data_dir.join("wal")).unwrap().map(|entry| entry.unwrap().path());
    let mut segments: Vec<_> = files.filter(|path| path.extension().is_some_and(|e| e == "wal")).collect();
    segments.sort();
    segments
}

#[test]
fn sigterm_and_sigint_stop_cleanly_and_the_next_start_says_so() {
    let place = Place::new();
    for (n, signal) in ["TERM", "INT"].into_iter().enumerate() {
        let mut server = place.serve();
        assert_eq!(request(&mut server, "PUT", &format!("/v1/keys/{n}"), b"value").0, 201);
        stop(&mut server, signal);
        let mut again = place.serve();
        assert!(
            again.output().contains(&format!("{} items after a clean stop", n + 1)),
            "{}",
            again.output()
        );
        assert_eq!(request(&mut again, "GET", &format!("/v1/keys/{n}"), b""), (200, b"value".to_vec()));
        stop(&mut again, signal);
    }
}

#[test]
fn a_kill_is_told_as_an_unclean_stop() {
    let place = Place::new();
    let mut server = place.serve();
    assert_eq!(request(&mut server, "PUT", "/v1/keys/k", b"value").0, 201);
    server.kill();
    let mut again = place.serve();
    assert!(again.output().contains("1 items after an unclean stop"), "{}", again.output());
    assert_eq!(request(&mut again, "GET", "/v1/keys/k", b""), (200, b"value".to_vec()));
}

#[test]
fn a_directory_in_use_is_refused_and_the_first_server_goes_on() {
    let place = Place::new();
    let mut first = place.serve();
    place.refused().is(5, &["another process has", "--data-dir"]);
    assert_eq!(request(&mut first, "PUT", "/v1/keys/k", b"value").0, 201);
    first.kill();
    // The lock ends with the process, however that ends.
    place.serve();
}

#[test]
fn a_directory_of_something_else_is_refused_and_not_touched() {
    let place = Place::new();
    fs::create_dir(place.data_dir()).unwrap();
    fs::write(place.data_dir().join("thesis.tex"), b"do not touch").unwrap();
    let before = contents(&place.data_dir());
    place.refused().is(5, &["not empty", "thesis.tex"]);
    assert_eq!(contents(&place.data_dir()), before);
    assert_eq!(fs::read_dir(place.data_dir()).unwrap().count(), 1);
}

#[test]
fn a_file_in_the_place_of_the_directory_is_refused_and_not_touched() {
    let place = Place::new();
    fs::write(place.data_dir(), b"do not touch").unwrap();
    place.refused().is(5, &["data directory", "data"]);
    assert_eq!(fs::read(place.data_dir()).unwrap(), b"do not touch");
}

#[test]
fn a_directory_without_a_parent_is_refused() {
    let place = Place::new();
    let data_dir = place.dir.path().join("no").join("data");
    Refused::by(Process::serve(&data_dir, &[])).is(5, &["cannot create", "no/data"]);
}

#[test]
fn a_directory_that_cannot_be_written_is_refused() {
    let place = Place::new();
    fs::create_dir(place.data_dir()).unwrap();
    fs::set_permissions(place.data_dir(), fs::Permissions::from_mode(0o500)).unwrap();
    if fs::write(place.data_dir().join("probe.tmp"), b"").is_ok() {
        eprintln!("skipped: permissions do not apply to this user");
        return;
    }
    place.refused().is(5, &["data", "denied"]);
    fs::set_permissions(place.data_dir(), fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn damage_in_the_log_is_told_by_file_and_changes_nothing() {
    let place = Place::new();
    let mut server = place.serve();
    assert_eq!(request(&mut server, "PUT", "/v1/keys/k", b"a value to be damaged").0, 201);
    assert_eq!(request(&mut server, "PUT", "/v1/keys/l", b"a value behind it").0, 201);
    stop(&mut server, "TERM");
    let segment = segments(&place.data_dir()).pop().unwrap();
    let at = place_of(&segment, b"a value to be damaged");
    flip_a_bit(&segment, at);
    let before = contents(&place.data_dir());
    for _ in 0..2 {
        let name = segment.file_name().unwrap().to_str().unwrap();
        place.refused().is(6, &[name, "nothing was changed"]);
    }
    assert_eq!(contents(&place.data_dir()), before);
    // Nothing was thrown away: with the bit put right, all is there.
    flip_a_bit(&segment, at);
    let mut again = place.serve();
    assert_eq!(request(&mut again, "GET", "/v1/keys/k", b""), (200, b"a value to be damaged".to_vec()));
    assert_eq!(request(&mut again, "GET", "/v1/keys/l", b""), (200, b"a value behind it".to_vec()));
}

#[test]
fn a_log_without_its_manifest_is_damage_and_not_an_empty_directory() {
    let place = Place::new();
    let mut server = place.serve();
    assert_eq!(request(&mut server, "PUT", "/v1/keys/k", b"value").0, 201);
    stop(&mut server, "TERM");
    for manifest in ["MANIFEST-0", "MANIFEST-1"] {
        fs::remove_file(place.data_dir().join(manifest)).unwrap();
    }
    place.refused().is(6, &["MANIFEST"]);
    assert!(!segments(&place.data_dir()).is_empty());
    assert!(!place.data_dir().join("MANIFEST-0").exists());
}

#[test]
fn a_missing_log_file_is_damage() {
    let place = Place::new();
    for n in 0..2 {
        let mut server = place.serve();
        assert_eq!(request(&mut server, "PUT", &format!("/v1/keys/{n}"), b"value").0, 201);
        stop(&mut server, "TERM");
    }
    let first = segments(&place.data_dir()).remove(0);
    fs::remove_file(&first).unwrap();
    place.refused().is(6, &[first.file_name().unwrap().to_str().unwrap()]);
}

#[test]
fn wrong_flags_end_with_2_and_say_what_would_be_right() {
    let table: [(&[&str], &str); 12] = [
        (&["--port", "70000"], "0 to 65535"),
        (&["--port", "http"], "0 to 65535"),
        (&["--fsync", "sometimes"], "always, interval, never"),
        (&["--fsync-interval", "soon"], "100ms"),
        (&["--fsync-interval", "2h"], "1 to 60000"),
        (&["--max-memory", "lots"], "512MiB"),
        (&["--max-memory", "1KiB"], "at least 65536"),
        (&["--max-items", "0"], "at least 1"),
        (&["--capacity", "many"], "a whole number"),
        (&["--eviction", "arc"], "s3fifo, lru"),
        (&["--bind", "0.0.0.0"], "--insecure-no-auth"),
        (&["--prot", "8080"], "--port"),
    ];
    let place = Place::new();
    let data_dir = place.data_dir();
    for (flags, right) in table {
        // A flag is judged before anything is opened.
        let flags = [&["--data-dir", data_dir.to_str().unwrap()], flags].concat();
        Refused::by(Process::run(&flags)).is(2, &[right]);
        assert!(!data_dir.exists(), "{flags:?} has created the directory");
    }
}

#[test]
fn a_taken_port_ends_with_3_before_any_data_is_opened() {
    let place = Place::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let data_dir = place.data_dir();
    let flags = ["--port", &port, "--data-dir", data_dir.to_str().unwrap()];
    Refused::by(Process::run(&flags)).is(3, &["cannot listen", &port, "--port"]);
    assert!(!data_dir.exists());
}

#[test]
fn help_names_every_exit_code() {
    let mut help = Process::run(&["--help"]);
    assert_eq!(help.wait().code(), Some(0));
    for word in ["--data-dir", "--fsync", "Exit codes", "0 ", "2 ", "3 ", "5 ", "6 ", "7 "] {
        assert!(help.output().contains(word), "{word:?} is not in: {}", help.output());
    }
}
