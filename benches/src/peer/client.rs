//! One connection to a server, blocking, with pipelines.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
};

use super::Kind;

/// Requests that are on their way at once in one pipeline: their replies fit the socket buffers
/// of both sides for values of some kilobytes, so nobody waits for the other.
const PIPELINE: usize = 64;

/// A connection. Keys are plain ASCII without `/`, `?`, `%` and space.
#[derive(Debug)]
pub struct Client {
    kind: Kind,
    input: BufReader<TcpStream>,
    output: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    /// Connects to a server on this machine.
    ///
    /// # Panics
    /// If nobody listens.
    pub fn connect(kind: Kind, port: u16) -> Client {
        Client::try_connect(kind, port).expect("it listens")
    }

    /// Connects to a server on this machine, if one listens.
    pub fn try_connect(kind: Kind, port: u16) -> Option<Client> {
        let output = TcpStream::connect(("127.0.0.1", port)).ok()?;
        output.set_nodelay(true).ok()?;
        let input = BufReader::with_capacity(64 << 10, output.try_clone().ok()?);
        Some(Client { kind, input, output, buffer: Vec::new() })
    }

    /// The same connection once more, so that one side sends while the other waits for replies.
    /// Only one of the two may read.
    ///
    /// # Panics
    /// If the system has no more descriptors.
    pub fn twin(&self) -> Client {
        let output = self.output.try_clone().expect("a descriptor");
        let input = BufReader::with_capacity(64 << 10, output.try_clone().expect("a descriptor"));
        Client { kind: self.kind, input, output, buffer: Vec::new() }
    }

    /// Stores values, all acknowledged when it returns.
    ///
    /// # Panics
    /// If one is refused.
    pub fn set_all<'a>(&mut self, pairs: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) {
        let mut pairs = pairs.into_iter().peekable();
        while pairs.peek().is_some() {
            let mut sent = 0;
            for (key, value) in pairs.by_ref().take(PIPELINE) {
                self.stage_set(key, value);
                sent += 1;
            }
            self.send();
            (0..sent).for_each(|_| assert!(self.reply().is_some(), "a SET is acknowledged"));
        }
    }

    /// Reads keys; says for each whether it was there.
    pub fn get_all<'a>(&mut self, keys: impl IntoIterator<Item = &'a [u8]>) -> Vec<bool> {
        let mut keys = keys.into_iter().peekable();
        let mut found = Vec::new();
        while keys.peek().is_some() {
            let mut sent = 0;
            for key in keys.by_ref().take(PIPELINE) {
                self.stage_get(key);
                sent += 1;
            }
            self.send();
            found.extend((0..sent).map(|_| self.reply().is_some()));
        }
        found
    }

    /// Writes a SET into the buffer; [`send`](Self::send) sends what is there.
    pub fn stage_set(&mut self, key: &[u8], value: &[u8]) {
        let Client { kind, buffer, .. } = self;
        match kind {
            Kind::Redis | Kind::Valkey => stage_command(buffer, &[b"SET", key, value]),
            Kind::Emberkeep => {
                buffer.extend_from_slice(b"PUT /v1/keys/");
                buffer.extend_from_slice(key);
                write!(buffer, " HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", value.len())
                    .expect("memory takes it");
                buffer.extend_from_slice(value);
            }
        }
    }

    /// Writes a GET into the buffer.
    pub fn stage_get(&mut self, key: &[u8]) {
        let Client { kind, buffer, .. } = self;
        match kind {
            Kind::Redis | Kind::Valkey => stage_command(buffer, &[b"GET", key]),
            Kind::Emberkeep => {
                buffer.extend_from_slice(b"GET /v1/keys/");
                buffer.extend_from_slice(key);
                buffer.extend_from_slice(b" HTTP/1.1\r\nhost: x\r\n\r\n");
            }
        }
    }

    /// Sends the buffer.
    ///
    /// # Panics
    /// If the connection is gone.
    pub fn send(&mut self) {
        self.output.write_all(&self.buffer).expect("the server reads");
        self.buffer.clear();
    }

    /// The next reply: its body, `None` if it says that there is nothing (or not yet).
    ///
    /// # Panics
    /// If the connection is gone.
    pub fn reply(&mut self) -> Option<Vec<u8>> {
        match self.kind {
            Kind::Redis | Kind::Valkey => self.resp_reply(),
            Kind::Emberkeep => self.http_reply(),
        }
    }

    /// Whether the key is there with this value. An answer "still loading" is a no.
    pub fn has(&mut self, key: &[u8], value: &[u8]) -> bool {
        self.stage_get(key);
        self.send();
        self.reply().is_some_and(|got| got == value)
    }

    /// Any command of redis, and its reply.
    ///
    /// # Panics
    /// If this is no connection to redis.
    pub fn command(&mut self, words: &[&str]) -> Option<Vec<u8>> {
        assert_ne!(self.kind, Kind::Emberkeep, "over HTTP there are no commands");
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        stage_command(&mut self.buffer, &words);
        self.send();
        self.reply()
    }

    /// Any request of HTTP without a body, as `GET /stats`, and its reply.
    ///
    /// # Panics
    /// If this is a connection to redis.
    pub fn request(&mut self, line: &str) -> Option<Vec<u8>> {
        assert_eq!(self.kind, Kind::Emberkeep, "redis does not speak HTTP");
        write!(self.buffer, "{line} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n")
            .expect("memory takes it");
        self.send();
        self.reply()
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.input.read_line(&mut line).expect("the server answers in lines");
        assert!(line.ends_with("\r\n"), "the server has hung up");
        line.truncate(line.len() - 2);
        line
    }

    fn body(&mut self, len: usize) -> Vec<u8> {
        let mut body = vec![0; len];
        self.input.read_exact(&mut body).expect("a whole body");
        body
    }

    fn resp_reply(&mut self) -> Option<Vec<u8>> {
        let line = self.line();
        match line.split_at(1) {
            ("+" | ":", text) => Some(text.as_bytes().to_vec()),
            ("$", "-1") => None,
            ("$", len) => {
                let mut body = self.body(len.parse::<usize>().expect("a length") + 2);
                body.truncate(body.len() - 2);
                Some(body)
            }
            _ => None,
        }
    }

    fn http_reply(&mut self) -> Option<Vec<u8>> {
        let status = self.line();
        let mut len = 0;
        loop {
            let line = self.line().to_ascii_lowercase();
            if let Some(given) = line.strip_prefix("content-length: ") {
                len = given.parse().expect("a length");
            }
            if line.is_empty() {
                break;
            }
        }
        let body = self.body(len);
        status.starts_with("HTTP/1.1 2").then_some(body)
    }
}

fn stage_command(buffer: &mut Vec<u8>, words: &[&[u8]]) {
    write!(buffer, "*{}\r\n", words.len()).expect("memory takes it");
    for word in words {
        write!(buffer, "${}\r\n", word.len()).expect("memory takes it");
        buffer.extend_from_slice(word);
        buffer.extend_from_slice(b"\r\n");
    }
}
