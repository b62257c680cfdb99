//! The binary under test as a process; whatever the system refuses fails the test.

use std::{
    net::SocketAddr,
    path::Path,
    process::{Command, ExitStatus},
};

use emberkeep::tool::crash_test::{
    client::{Client, Reply},
    server::Server,
};
use hyper::Method;

pub struct Process(Server);

impl Process {
    /// Starts it over `data_dir` on a port that the system chooses, and does not wait.
    pub fn serve(data_dir: &Path, flags: &[&str]) -> Process {
        let data_dir = data_dir.to_str().expect("temporary directories have plain names");
        Process::run(&[&["--port", "0", "--resp-port", "0", "--data-dir", data_dir], flags].concat())
    }

    /// Starts it with these arguments and does not wait.
    pub fn run(arguments: &[&str]) -> Process {
        Process(Server::start(binary(), arguments).expect("the binary starts"))
    }

    /// Starts the server by this command, such as a tracer that runs it, and does not wait.
    pub fn start(command: &mut Command) -> Process {
        Process(Server::spawn(command).expect("the command starts"))
    }

    /// Its number in the system.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Waits until it serves, and tells where.
    pub fn address(&mut self) -> Result<SocketAddr, String> {
        self.0.address()
    }

    /// Waits until it serves or has ended; where it serves, if it does.
    pub fn address_or_end(&mut self) -> Option<SocketAddr> {
        // Its silence ends with its output.
        self.0.address().ok()
    }

    /// One request on a connection of its own.
    #[track_caller]
    pub fn request(&mut self, method: Method, target: &str, body: &[u8]) -> Reply {
        let address = self.address().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let reply = runtime.block_on(async {
            let mut client = Client::connect(address).await?;
            client.request(method, target, &[], body.to_vec()).await
        });
        reply.unwrap()
    }

    /// SIGKILL; back when it is gone.
    pub fn kill(&mut self) -> ExitStatus {
        self.0.kill().expect("it can be killed")
    }

    /// SIGTERM or SIGINT; does not wait.
    pub fn signal(&self, name: &str) {
        let sent = match name {
            "TERM" => self.0.terminate(),
            "INT" => self.0.interrupt(),
            _ => panic!("no such signal here: {name}"),
        };
        sent.expect("the signal can be sent");
    }

    /// Waits for its end, and until everything that it said has been read.
    pub fn wait(&mut self) -> ExitStatus {
        self.0.wait().expect("it ends")
    }

    /// What it has said so far on either stream.
    pub fn output(&self) -> String {
        self.0.output()
    }
}

pub fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_emberkeep"))
}
