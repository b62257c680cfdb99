//! `emberkeep bench` in a process of its own, and what it measured.

use std::process::{Child, Command, Stdio};

use emberkeep_benches::peer::{Server, emberkeep};
use serde_json::Value;

use crate::{KEYS, mode::Mode};

/// A load under way.
pub struct Load {
    child: Child,
    mode: Mode,
}

/// What it measured.
#[derive(Clone, Copy)]
pub struct Figures {
    pub answered: f64,
    pub per_sec: f64,
    /// Microseconds.
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

/// Starts a load on this server, with these flags besides.
///
/// # Panics
/// If it cannot be started.
pub fn start(server: &Server, mode: Mode, flags: &[&str]) -> Load {
    let port = server.resp_port().expect("it takes the commands of redis");
    let (url, keys) = (format!("redis://127.0.0.1:{port}"), KEYS.to_string());
    let child = Command::new(emberkeep())
        .args(["bench", "--json", "--url", &url, "--keys", &keys])
        .args(flags)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the load starts");
    Load { child, mode }
}

impl Load {
    /// Waits for its end.
    ///
    /// # Panics
    /// If a request was not answered, or if the server is not in this mode: then the figures would
    /// mean something else.
    pub fn figures(self) -> Figures {
        let output = self.child.wait_with_output().expect("the load ends");
        let json: Value = serde_json::from_slice(&output.stdout).expect("its message on stderr says why not");
        assert_eq!(json["server"]["durability"], self.mode.name(), "{json:#}");
        assert!(json["failed"] == 0 && json["unsent"] == 0, "not everything was answered: {json:#}");
        let number = |value: &Value| value.as_f64().expect("a number");
        let latency = &json["latency_us"]["all"];
        Figures {
            answered: number(&json["requests"]),
            per_sec: number(&json["requests_per_second"]),
            p50: number(&latency["p50"]),
            p99: number(&latency["p99"]),
            p999: number(&latency["p99_9"]),
            max: number(&latency["max"]),
        }
    }
}

/// Stores every key once.
///
/// # Panics
/// If one is refused.
pub fn fill(server: &Server, mode: Mode, value_len: usize) {
    let size = value_len.to_string();
    start(server, mode, &["--fill", "--requests", "1", "-c", "4", "--size", &size]).figures();
}
