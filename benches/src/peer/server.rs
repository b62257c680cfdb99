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

/// How the kernel counts CPU time for `/proc`, on every Linux.
const TICK_MS: u64 = 10;

/// Which program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Our binary: `EMBERKEEP_BIN`, or the one beside the running measurement.
    Emberkeep,
    /// `redis-server` of the system.
    Redis,
    /// `valkey-server` of the system, which speaks and behaves as redis does.
    Valkey,
}

/// A running server. Killed when dropped; its directory stays.
#[derive(Debug)]
pub struct Server {
    kind: Kind,
    child: Child,
    port: u16,
    resp_port: Option<u16>,
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
            Kind::Redis | Kind::Valkey => start_redis(kind, command, dir, flags),
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

    /// Where it takes the commands of redis.
    pub fn resp_port(&self) -> Option<u16> {
        self.resp_port
    }

    /// CPU time that it has used, all threads together, in user and system.
    pub fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        // The name may hold anything, and ends with the last bracket; then fields 3, 4, ...
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |at: usize| fields.get(at - 3).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        Duration::from_millis((ticks(14) + ticks(15)) * TICK_MS)
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
    command.args(["--port", "0", "--resp-port", "0"]).args(flags).stdout(Stdio::piped());
    if !flags.contains(&"--memory-only") {
        command.arg("--data-dir").arg(dir.join("data"));
    }
    let mut child = command.spawn().expect("emberkeep starts");
    let mut said = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let (mut port, mut resp_port) = (None, None);
    // The line about HTTP is the last.
    while port.is_none() {
        let line = said.next().expect("emberkeep says where it listens").expect("it says it in UTF-8");
        port = port_behind(&line, "listening on http://127.0.0.1:");
        resp_port = resp_port.or(port_behind(&line, "  redis       on 127.0.0.1:"));
    }
    // Whatever else it says must not fill the pipe.
    thread::spawn(move || said.for_each(drop));
    Server { kind: Kind::Emberkeep, child, port: port.expect("found"), resp_port }
}

fn port_behind(line: &str, words: &str) -> Option<u16> {
    line.strip_prefix(words)?.parse().ok()
}

fn start_redis(kind: Kind, mut command: Command, dir: &Path, flags: &[&str]) -> Server {
    // It cannot choose a port itself. Another process may take this one meanwhile: then it fails.
    let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
    command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--dir"]).arg(dir).args(flags);
    let mut child = command.stdout(Stdio::null()).spawn().expect("the server starts");
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        let ended = child.try_wait().expect("its state is known");
        assert!(ended.is_none(), "{kind:?} has ended: {ended:?}");
        thread::sleep(Duration::from_millis(1));
    }
    Server { kind, child, port, resp_port: Some(port) }
}

fn program(kind: Kind) -> Result<PathBuf, String> {
    match kind {
        Kind::Redis => return installed("redis-server"),
        Kind::Valkey => return installed("valkey-server"),
        Kind::Emberkeep => {}
    }
    let given = std::env::var_os("EMBERKEEP_BIN").map(PathBuf::from);
    let beside = || Some(std::env::current_exe().ok()?.with_file_name("emberkeep"));
    let path = given.or_else(beside).expect("the running program has a path");
    if path.is_file() {
        return Ok(path);
    }
    Err(format!("there is no {}: cargo build --release", path.display()))
}

fn installed(name: &str) -> Result<PathBuf, String> {
    let found = std::env::var_os("PATH").and_then(|paths| {
        std::env::split_paths(&paths).map(|dir| dir.join(name)).find(|path| path.is_file())
    });
    found.ok_or(format!("{name} is missing: apt-get install {name}"))
}

/// The program itself, to call it in another way than as a server.
///
/// # Panics
/// If it has not been built.
pub fn emberkeep() -> PathBuf {
    program(Kind::Emberkeep).unwrap_or_else(|missing| panic!("{missing}"))
}

/// A line `name: 123 kB` of a file in /proc, in bytes; zero if the process is gone.
fn field(path: &str, name: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) << 10
}
