//! Servers of the Redis protocol: the real binary, and one in this process whose settings no flag has.

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
};

use emberkeep::{config::RespSettings, node::Node, resp};
use emberkeep_storage::{Components, Settings};
use tempfile::TempDir;

use super::wire::Client;
use crate::support::{place::Place, process::Process};

/// The real binary.
pub struct Server {
    pub process: Process,
    pub address: SocketAddr,
    pub place: Place,
    flags: Vec<String>,
}

impl Server {
    /// With the defaults: whatever is acknowledged is on the disk.
    #[track_caller]
    pub fn start() -> Server {
        Server::with(&[])
    }

    #[track_caller]
    pub fn with(flags: &[&str]) -> Server {
        let place = Place::new();
        let (process, address) = served(&place, flags);
        Server { process, address, place, flags: flags.iter().map(|flag| (*flag).to_owned()).collect() }
    }

    pub fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// SIGKILL, and the next start over the same directory.
    #[track_caller]
    pub fn kill_and_restart(&mut self) {
        self.process.kill();
        let flags: Vec<&str> = self.flags.iter().map(String::as_str).collect();
        (self.process, self.address) = served(&self.place, &flags);
    }

    /// A field of `INFO`.
    #[track_caller]
    pub fn info(&self, field: &str) -> String {
        field_of(&self.connect().say("INFO").text(), field)
    }
}

#[track_caller]
fn served(place: &Place, flags: &[&str]) -> (Process, SocketAddr) {
    let mut process = if flags.contains(&"--memory-only") {
        Process::run(&[&["--port", "0", "--resp-port", "0"], flags].concat())
    } else {
        Process::serve(&place.data_dir(), flags)
    };
    let address = redis_address(&mut process);
    (process, address)
}

/// Where a process serves the Redis protocol; waits until it does.
#[track_caller]
pub fn redis_address(process: &mut Process) -> SocketAddr {
    let line = redis_line(process);
    let address = line.strip_prefix("on ").and_then(|address| address.parse().ok());
    address.expect("it is served")
}

/// Bytes of a process that are in memory.
pub fn resident(process: &Process) -> u64 {
    status(process, "VmRSS:")
}

/// Bytes that a process has asked for, whether or not it has touched them.
pub fn reserved(process: &Process) -> u64 {
    status(process, "VmData:")
}

fn status(process: &Process, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("a field of every process");
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// What the start-up block says of the Redis protocol.
#[track_caller]
pub fn redis_line(process: &mut Process) -> String {
    // The address of HTTP is the last line of the block.
    process.address().unwrap();
    let said = process.output();
    let line = said.lines().find_map(|line| line.trim().strip_prefix("redis "));
    line.unwrap_or_else(|| panic!("no word of it in:\n{said}")).trim().to_owned()
}

/// A field of a text of `INFO`.
#[track_caller]
pub fn field_of(text: &str, field: &str) -> String {
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no field {field} in:\n{text}")).to_owned()
}

/// One in this process. Dropping it stops it in order.
pub struct Local {
    pub address: SocketAddr,
    port: Option<resp::Port>,
    _dir: TempDir,
}

impl Local {
    /// With other settings of the port.
    pub fn with(change: impl FnOnce(&mut RespSettings)) -> Local {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings::new(dir.path().join("data"));
        let node = Arc::new(Node::open(settings, Components::os().unwrap(), &|_| ()).unwrap());
        let mut settings = RespSettings::default();
        change(&mut settings);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let port = resp::serve(listener, node, settings).unwrap();
        Local { address, port: Some(port), _dir: dir }
    }

    pub fn connect(&self) -> Client {
        Client::connect(self.address)
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        if let Some(port) = self.port.take() {
            port.stop();
        }
    }
}
