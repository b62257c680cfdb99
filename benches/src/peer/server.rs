//! Processes under measurement.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use super::Client;

/// Which program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Our binary: `EMBERKEEP_BIN`, or the one beside the running measurement.
    Emberkeep,
    /// `redis-server` of the system.
    Redis,
}

/// A running server. Killed when dropped; its directory stays.
#[derive(Debug)]
pub struct Server {
    kind: Kind,
    child: Child,
    port: u16,
}

/// Whether the program of this kind can be started.
pub fn is_there(kind: Kind) -> bool {
    program(kind).is_ok_and(|path| Command::new(path).arg("--version").output().is_ok())
}

impl Server {
    /// Starts it on a free port of this machine, with its data in `dir` and these flags besides,
    /// and returns when it listens. That it listens does not mean that it has loaded its data.
    ///
    /// # Panics
    /// If it cannot be started; the message says what is missing.
    pub fn start(kind: Kind, dir: &Path, flags: &[&str]) -> Server {
        let program = program(kind).unwrap_or_else(|missing| panic!("{missing}"));
        let mut command = Command::new(program);
        command.current_dir(dir).stdin(Stdio::null()).stderr(Stdio::null());
        match kind {
            Kind::Emberkeep => start_emberkeep(command, dir, flags),
            Kind::Redis => start_redis(command, dir, flags),
        }
    }

    /// Which program it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Where it listens, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A new connection.
    pub fn client(&self) -> Client {
        Client::connect(self.kind, self.port)
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(mut self) {
        self.end();
    }

    /// Its resident memory in bytes, the highest it has had if `peak`.
    pub fn rss(&self, peak: bool) -> u64 {
        field(&format!("/proc/{}/status", self.child.id()), if peak { "VmHWM:" } else { "VmRSS:" })
    }

    /// The memory of it and its children in bytes; a page that they share counts once.
    pub fn pss(&self) -> u64 {
        let own = self.child.id();
        let children = fs::read_to_string(format!("/proc/{own}/task/{own}/children")).unwrap_or_default();
        let pids = children.split_whitespace().filter_map(|pid| pid.parse().ok()).chain([own]);
        pids.map(|pid: u32| field(&format!("/proc/{pid}/smaps_rollup"), "Pss:")).sum()
    }

    fn end(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

fn start_emberkeep(mut command: Command, dir: &Path, flags: &[&str]) -> Server {
    command
        .arg("--data-dir")
        .arg(dir.join("data"))
        .args(["--port", "0", "--resp-port", "0"])
        .args(flags)
        .stdout(Stdio::piped());
    let mut child = command.spawn().expect("emberkeep starts");
    let mut said = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let port = said
        .find_map(|line| line.ok()?.strip_prefix("listening on http://127.0.0.1:")?.parse().ok())
        .expect("emberkeep says where it listens");
    // Whatever else it says must not fill the pipe.
    thread::spawn(move || said.for_each(drop));
    Server { kind: Kind::Emberkeep, child, port }
}

fn start_redis(mut command: Command, dir: &Path, flags: &[&str]) -> Server {
    // It cannot choose a port itself. Another process may take this one meanwhile: then it fails.
    let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
    command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--dir"]).arg(dir).args(flags);
    let mut child = command.stdout(Stdio::null()).spawn().expect("redis-server starts");
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        let ended = child.try_wait().expect("its state is known");
        assert!(ended.is_none(), "redis-server has ended: {ended:?}");
        thread::sleep(Duration::from_millis(1));
    }
    Server { kind: Kind::Redis, child, port }
}

fn program(kind: Kind) -> Result<PathBuf, String> {
    if kind == Kind::Redis {
        let found = std::env::var_os("PATH").and_then(|paths| {
            std::env::split_paths(&paths).map(|dir| dir.join("redis-server")).find(|path| path.is_file())
        });
        return found.ok_or("redis-server is missing: apt-get install redis-server".to_owned());
    }
    let given = std::env::var_os("EMBERKEEP_BIN").map(PathBuf::from);
    let beside = || Some(std::env::current_exe().ok()?.with_file_name("emberkeep"));
    let path = given.or_else(beside).expect("the running program has a path");
    if path.is_file() {
        return Ok(path);
    }
    Err(format!("there is no {}: cargo build --release", path.display()))
}

/// A line `name: 123 kB` of a file in /proc, in bytes; zero if the process is gone.
fn field(path: &str, name: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) << 10
}
