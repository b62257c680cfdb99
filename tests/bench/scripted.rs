//! A server that speaks RESP, and answers as a test says.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

/// The reply to the n-th command of all connections, by its name; empty: the connection is closed.
type Answer = dyn Fn(u64, &str) -> Vec<u8> + Send + Sync;

/// Lives as long as the process of the tests.
pub struct Scripted {
    address: SocketAddr,
    commands: Arc<AtomicU64>,
}

impl Scripted {
    /// It says of itself that it is redis with this `appendfsync`; whatever else is asked is counted
    /// and answered by the script.
    pub fn serve(
        appendfsync: &'static str,
        answer: impl Fn(u64, &str) -> Vec<u8> + Send + Sync + 'static,
    ) -> Scripted {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let commands = Arc::new(AtomicU64::new(0));
        let counted = commands.clone();
        let answer: Arc<Answer> = Arc::new(answer);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (answer, counted) = (answer.clone(), counted.clone());
                thread::spawn(move || talk(stream.unwrap(), appendfsync, &*answer, &counted));
            }
        });
        Scripted { address, commands }
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Commands so far that were no question about the server.
    pub fn commands(&self) -> u64 {
        self.commands.load(Ordering::SeqCst)
    }
}

/// Until one of the two hangs up.
fn talk(stream: TcpStream, appendfsync: &str, answer: &Answer, counted: &AtomicU64) -> Option<()> {
    let mut input = BufReader::new(stream.try_clone().unwrap());
    let mut output = stream;
    loop {
        let words = command(&mut input)?;
        let bulk = |text: &str| format!("${}\r\n{text}\r\n", text.len()).into_bytes();
        let reply = match words[0].as_str() {
            "INFO" if words[1] == "server" => bulk("redis_version:7.2.0\r\n"),
            "INFO" => bulk("aof_enabled:1\r\n"),
            "CONFIG" => [b"*2\r\n".to_vec(), bulk("appendfsync"), bulk(appendfsync)].concat(),
            name => answer(counted.fetch_add(1, Ordering::SeqCst), name),
        };
        if reply.is_empty() {
            return None;
        }
        output.write_all(&reply).ok()?;
    }
}

/// The words of the next command; values are random bytes, and are not looked at.
fn command(input: &mut BufReader<TcpStream>) -> Option<Vec<String>> {
    let count = number(input, '*')?;
    (0..count)
        .map(|_| {
            let mut word = vec![0; number(input, '$')? + 2];
            input.read_exact(&mut word).ok()?;
            word.truncate(word.len() - 2);
            Some(String::from_utf8_lossy(&word).into_owned())
        })
        .collect()
}

fn number(input: &mut BufReader<TcpStream>, sign: char) -> Option<usize> {
    let mut line = String::new();
    input.read_line(&mut line).ok()?;
    line.strip_prefix(sign)?.trim_end().parse().ok()
}
