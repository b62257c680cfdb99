//! One keep-alive connection of HTTP/1.1. Whatever goes wrong with it is an error, not a panic:
//! the server at the other end may be killed at any byte.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// Longer than any answer takes on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Client {
    stream: BufReader<TcpStream>,
}

pub struct Reply {
    pub status: u16,
    pub body: Vec<u8>,
    headers: Vec<(String, String)>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> io::Result<Client> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Client { stream: BufReader::new(stream) })
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
        let mut message = format!("{method} {target} HTTP/1.1\r\nHost: emberkeep\r\n");
        for (name, value) in headers {
            message += &format!("{name}: {value}\r\n");
        }
        if matches!(method, "PUT" | "POST") {
            message += &format!("Content-Length: {}\r\n", body.len());
        }
        message += "\r\n";
        self.stream.get_mut().write_all(&[message.as_bytes(), body].concat())?;
        self.reply()
    }

    fn reply(&mut self) -> io::Result<Reply> {
        let line = self.line()?;
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| malformed(&line))?;
        let mut reply = Reply { status, body: Vec::new(), headers: Vec::new() };
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or_else(|| malformed(&line))?;
            reply.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let len = reply.header("content-length").map_or(Ok(0), str::parse);
        reply.body = vec![0; len.map_err(|_| malformed("content-length"))?];
        self.stream.read_exact(&mut reply.body)?;
        Ok(reply)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        match line.strip_suffix("\r\n") {
            Some(line) => Ok(line.to_owned()),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }
}

fn malformed(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not a reply of HTTP: {text:?}"))
}
