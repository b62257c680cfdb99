//! The client of the crash test for tests without a runtime: each call waits.

use std::{io, net::SocketAddr};

use emberkeep::tool::crash_test::client;
use tokio::runtime::{Builder, Runtime};

/// One keep-alive connection. Whatever goes wrong with it is an error, not a panic.
pub struct Client {
    client: client::Client,
    // Dropped after the client, whose connection it drives.
    runtime: Runtime,
}

/// An answer, whole.
pub struct Reply {
    pub status: u16,
    pub body: Vec<u8>,
    answer: client::Reply,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.answer.header(name)
    }
}

impl Client {
    pub fn connect(address: SocketAddr) -> io::Result<Client> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let client = runtime.block_on(client::Client::connect(address)).map_err(io::Error::other)?;
        Ok(Client { client, runtime })
    }

    /// Sends a request and reads its whole reply. After an error it is not known what the server
    /// did, and the connection is of no more use.
    pub fn request(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Reply> {
        let method = method.parse().map_err(io::Error::other)?;
        let reply = self.client.request(method, target, headers, body.to_vec());
        let answer = self.runtime.block_on(reply).map_err(io::Error::other)?;
        Ok(Reply { status: answer.status, body: answer.body.to_vec(), answer })
    }
}
