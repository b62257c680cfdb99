//! A redis-server of its own for a test: no files, a port that the system chose.

use std::{
    net::{SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
};

use crate::resp::wire::Client;

/// Dropping it kills it.
pub struct Redis {
    pub address: SocketAddr,
    child: Child,
}

impl Redis {
    pub fn start() -> Redis {
        // Free a moment ago; nobody else takes ports in the meantime but other tests, of others.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut command = Command::new("redis-server");
        command.args(["--port", &address.port().to_string(), "--save", "", "--appendonly", "no"]);
        let child =
            command.stdout(Stdio::null()).stdin(Stdio::null()).spawn().expect("redis-server is installed");
        let redis = Redis { address, child };
        while Client::try_connect(address).is_err() {
            std::thread::yield_now();
        }
        redis
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // It may be gone already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
