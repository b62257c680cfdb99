//! One connection that never blocks: what is to be sent, what was received, what is waited for.

use std::{
    collections::VecDeque,
    io::{self, ErrorKind, Read, Write},
    net::TcpStream,
};

/// Free room for each read, at least.
const READ_LEN: usize = 32 << 10;

/// A request whose reply has not come yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    /// Nanoseconds since the start of the run: when it was due, or was sent.
    pub(super) since: u64,
    pub(super) is_read: bool,
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) stream: TcpStream,
    /// Requests; the first `sent` bytes are on their way.
    pub(super) output: Vec<u8>,
    sent: usize,
    /// Received bytes lie in `from..to`.
    input: Vec<u8>,
    from: usize,
    to: usize,
    pub(super) waiting: VecDeque<Waiting>,
}

impl Connection {
    pub(super) fn new(stream: TcpStream) -> io::Result<Connection> {
        stream.set_nonblocking(true)?;
        Ok(Connection {
            stream,
            output: Vec::new(),
            sent: 0,
            input: vec![0; READ_LEN],
            from: 0,
            to: 0,
            waiting: VecDeque::new(),
        })
    }

    /// Sends what the system takes; whether that was all.
    pub(super) fn send(&mut self) -> io::Result<bool> {
        while self.sent < self.output.len() {
            match self.stream.write(&self.output[self.sent..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(len) => self.sent += len,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(e) => return Err(e),
            }
        }
        self.output.clear();
        self.sent = 0;
        Ok(true)
    }

    /// Takes what has come. `UnexpectedEof` if nothing will come any more.
    pub(super) fn receive(&mut self) -> io::Result<()> {
        if self.input.len() - self.to < READ_LEN {
            self.input.copy_within(self.from..self.to, 0);
            (self.from, self.to) = (0, self.to - self.from);
            // A reply that is longer than all before.
            self.input.resize(self.input.len().max(self.to + READ_LEN.max(self.to)), 0);
        }
        match self.stream.read(&mut self.input[self.to..]) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(len) => {
                self.to += len;
                Ok(())
            }
            Err(e) if matches!(e.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// What was received and not taken yet.
    pub(super) fn received(&self) -> &[u8] {
        &self.input[self.from..self.to]
    }

    /// The first bytes of it have been dealt with.
    pub(super) fn take(&mut self, len: usize) {
        self.from += len;
        assert!(self.from <= self.to, "only what was received is taken");
        if self.from == self.to {
            (self.from, self.to) = (0, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn pair() -> (Connection, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (Connection::new(ours).unwrap(), listener.accept().unwrap().0)
    }

    /// Until so much is there.
    fn receive(connection: &mut Connection, len: usize) {
        while connection.received().len() < len {
            connection.receive().unwrap();
        }
    }

    #[test]
    fn a_reply_longer_than_the_buffer_comes_whole() {
        let (mut connection, mut peer) = pair();
        let long: Vec<u8> = (0..5 * READ_LEN + 7).map(|i| i as u8).collect();
        let sent = long.clone();
        let sender = std::thread::spawn(move || peer.write_all(&sent).map(|()| peer).unwrap());
        receive(&mut connection, 10);
        connection.take(10);
        receive(&mut connection, long.len() - 10);
        assert!(connection.received() == &long[10..]);
        connection.take(long.len() - 10);
        assert!(connection.received().is_empty());
        drop(sender.join().unwrap());
        let end = loop {
            match connection.receive() {
                Ok(()) => {}
                Err(e) => break e,
            }
        };
        assert_eq!(end.kind(), ErrorKind::UnexpectedEof);
    }

    #[test]
    fn what_the_peer_does_not_read_waits_and_is_sent_in_order() {
        let (mut connection, mut peer) = pair();
        let long: Vec<u8> = (0..32 << 20).map(|i: u32| (i % 251) as u8).collect();
        connection.output.extend_from_slice(&long);
        assert!(!connection.send().unwrap(), "the buffers of the system are smaller");
        let expected = long.len();
        let reader = std::thread::spawn(move || {
            let mut got = vec![0; expected];
            peer.read_exact(&mut got).map(|()| got).unwrap()
        });
        while !connection.send().unwrap() {}
        assert!(reader.join().unwrap() == long);
        assert!(connection.output.is_empty());
    }
}
