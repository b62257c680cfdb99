//! The offline tools as a user runs them, over the directory of a real server: exit codes, words,
//! JSON, and what is left untouched. What they find out is the matter of `storage/tests/offline`.

#![expect(clippy::disallowed_methods, reason = "these tests look at real files from outside")]

mod repairing;
mod reporting;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::support::{client::Client, place::Place, process::Process};

/// What a tool said.
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Said {
    #[track_caller]
    fn is(&self, code: i32, words: &[&str]) -> &Said {
        let both = format!("exit={}\n{}{}", self.code, self.out, self.err);
        assert_eq!(self.code, code, "{both}");
        for word in words {
            assert!(both.contains(word), "{word:?} is not in: {both}");
        }
        assert!(!both.contains("panicked"), "{both}");
        self
    }

    /// Each line of the output as JSON.
    #[track_caller]
    fn json(&self) -> Vec<Value> {
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        self.out.lines().map(parse).collect()
    }
}

impl Place {
    /// Runs a tool over the directory.
    fn tool(&self, arguments: &[&str]) -> Said {
        let data_dir = self.data_dir();
        let data_dir = data_dir.to_str().expect("temporary directories have plain names");
        run(&[arguments, &["--data-dir", data_dir]].concat())
    }

    /// The log files with frames in them, the oldest first.
    fn segments(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(self.data_dir().join("wal")).unwrap().map(|entry| entry.unwrap().path());
        let mut segments: Vec<_> =
            files.filter(|path| path.extension().is_some_and(|e| e == "wal")).collect();
        segments.sort();
        segments
    }

    /// The first segment that holds this text, and where in it.
    #[track_caller]
    fn find(&self, text: &str) -> (PathBuf, usize) {
        let at = |path: PathBuf| {
            let bytes = fs::read(&path).unwrap();
            bytes.windows(text.len()).position(|w| w == text.as_bytes()).map(|at| (path, at))
        };
        self.segments().into_iter().find_map(at).expect("the text is in the log")
    }

    /// A clean stop behind twenty keys, in two runs.
    fn stopped() -> Place {
        let place = Place::new();
        for run in 0..2 {
            let mut server = place.serve();
            for n in 0..10 {
                let value = format!("secret-{run}-{n}");
                assert_eq!(
                    request(&mut server, "PUT", &format!("/v1/keys/key-{run}-{n}"), value.as_bytes()).0,
                    201
                );
            }
            server.signal("TERM");
            assert_eq!(server.wait().code(), Some(0), "{}", server.output());
        }
        place
    }
}

fn run(arguments: &[&str]) -> Said {
    let done = Command::new(env!("CARGO_BIN_EXE_emberkeep"))
        .args(arguments)
        .env_remove("EMBERKEEP_LOG")
        .stdin(Stdio::null())
        .output()
        .expect("the binary starts");
    let text = |bytes| String::from_utf8(bytes).expect("tools say text");
    Said {
        code: done.status.code().expect("it ends by itself"),
        out: text(done.stdout),
        err: text(done.stderr),
    }
}

/// One request on a connection of its own; gives the status and the body.
#[track_caller]
fn request(server: &mut Process, method: &str, target: &str, body: &[u8]) -> (u16, Vec<u8>) {
    let mut client = Client::connect(server.address().unwrap()).unwrap();
    let reply = client.request(method, target, &[], body).unwrap();
    (reply.status, reply.body)
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

fn flip_a_bit(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}
