//! One connection, blocking, with pipelines. What fails is sorted by whether another try can help.

use std::{
    io::{self, BufReader, Write},
    net::{TcpStream, ToSocketAddrs},
    time::Duration,
};

use super::{
    address::Address,
    resp::{Reply, write_command},
};
use crate::node::error::{Code, Error};

const CONNECT_MAX: Duration = Duration::from_secs(5);
/// A server that says nothing for so long is taken for lost.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// Refusals that pass by themselves.
const PASSING: [&str; 4] = ["LOADING", "BUSY", "MASTERDOWN", "TRYAGAIN"];

/// Why it does not go on.
#[derive(Debug)]
pub enum Trouble {
    /// The connection ended, cannot be made, or the server asks to wait.
    Lost(String),
    /// Another try would meet the same.
    Fatal(Error),
}

impl Trouble {
    /// Something that another try would meet too.
    pub fn fatal(text: impl Into<String>) -> Trouble {
        Trouble::Fatal(Error::new(Code::Io, text))
    }
}

/// A connection to one server, logged in.
#[derive(Debug)]
pub struct Connection {
    /// What messages call the server: its role and its address.
    name: String,
    input: BufReader<TcpStream>,
    output: TcpStream,
    buffer: Vec<u8>,
    staged: usize,
}

impl Connection {
    /// Connects and logs in. `role` stands before the address in messages.
    ///
    /// # Errors
    /// `Lost` if there is no connection, `Fatal` if the login is refused.
    pub fn open(role: &str, address: &Address) -> Result<Connection, Trouble> {
        let name = format!("{role} {address}");
        let lost = |e: io::Error| Trouble::Lost(format!("{name}: {e}"));
        let output = connect(address).map_err(lost)?;
        output.set_nodelay(true).map_err(lost)?;
        output.set_read_timeout(Some(SILENCE_MAX)).map_err(lost)?;
        output.set_write_timeout(Some(SILENCE_MAX)).map_err(lost)?;
        let input = BufReader::with_capacity(64 << 10, output.try_clone().map_err(lost)?);
        let mut connection = Connection { name, input, output, buffer: Vec::new(), staged: 0 };
        match &address.login {
            Some((user, password)) if user.is_empty() => connection.ask(&[b"AUTH", password.as_bytes()])?,
            Some((user, password)) => connection.ask(&[b"AUTH", user.as_bytes(), password.as_bytes()])?,
            None => Reply::Null,
        };
        Ok(connection)
    }

    /// Adds a command to the next pipeline.
    pub fn stage(&mut self, words: &[&[u8]]) {
        write_command(&mut self.buffer, words);
        self.staged += 1;
    }

    /// Sends what is staged; a reply for each command, errors among them.
    ///
    /// # Errors
    /// `Lost`; it is then not known which of the commands were carried out.
    pub fn send(&mut self) -> Result<Vec<Reply>, Trouble> {
        let sent = self.output.write_all(&self.buffer);
        self.buffer.clear();
        let count = std::mem::take(&mut self.staged);
        let replies = sent.and_then(|()| (0..count).map(|_| Reply::read(&mut self.input)).collect());
        replies.map_err(|e: io::Error| self.broken(&e))
    }

    /// One command, and its reply, which is no error.
    ///
    /// # Errors
    /// `Fatal` if the command is refused.
    pub fn ask(&mut self, words: &[&[u8]]) -> Result<Reply, Trouble> {
        self.stage(words);
        match self.send()?.pop() {
            Some(Reply::Error(text)) => Err(self.refused(&text)),
            Some(reply) => Ok(reply),
            None => unreachable!("one command has one reply"),
        }
    }

    /// A refusal that concerns more than one key.
    pub fn refused(&self, text: &str) -> Trouble {
        let first = text.split(' ').next().unwrap_or_default();
        let told = format!("{} refuses: {text}", self.name);
        match first {
            _ if PASSING.contains(&first) => Trouble::Lost(told),
            "NOAUTH" | "WRONGPASS" => {
                Trouble::fatal(format!("{told}\ngive a user and a password: redis://user:password@host:port"))
            }
            _ => Trouble::fatal(told),
        }
    }

    /// A reply that does not fit the command.
    pub fn unexpected(&self, command: &str, reply: &Reply) -> Trouble {
        let mut got = format!("{reply:?}");
        got = got.chars().take(80).collect();
        Trouble::fatal(format!(
            "{} answers {command} as no Redis-compatible server does, got={got}",
            self.name
        ))
    }

    fn broken(&self, error: &io::Error) -> Trouble {
        let name = &self.name;
        match error.kind() {
            io::ErrorKind::InvalidData => Trouble::fatal(format!("{name}: {error}")),
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                Trouble::Lost(format!("{name}: no answer within {} s", SILENCE_MAX.as_secs()))
            }
            _ => Trouble::Lost(format!("{name}: {error}")),
        }
    }
}

/// The first of its addresses that answers.
fn connect(address: &Address) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in (address.host.as_str(), address.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_MAX) {
            Ok(stream) => return Ok(stream),
            Err(e) => last = e,
        }
    }
    Err(last)
}
