//! Whole commands to the port that speaks the Redis protocol, over an engine in memory: nothing panics,
//! every reply is well-formed to its last byte, and each command gets one.
//!
//! A command is a byte for its name, one for the number of arguments, and the arguments: a byte for a
//! word of [`WORDS`], or for so many bytes that follow. It goes over TCP, because that is what a client
//! can do; the server of a process is used for all inputs, and emptied before each.
#![no_main]

use std::{
    cell::RefCell,
    io::{BufReader, ErrorKind, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, OnceLock},
    time::Duration,
};

use emberkeep::{config::RespSettings, node::Node, resp};
use emberkeep_fuzz::replies::{Found, read};
use emberkeep_storage::{Components, Fsync, Settings, sim::disk::SimDisk};
use libfuzzer_sys::fuzz_target;

/// What arguments of several commands are made of: options, subcommands, keys, numbers.
const WORDS: &str = "k0 k1 k2 k3 {k}4 * k? 0 1 2 -1 3 10 100 1.5 -0.5 9223372036854775807 \
    -9223372036854775808 99999999999 1e308 inf nan (1 c0 c1 c* value EX PX EXAT PXAT KEEPTTL NX XX GT LT GET \
    IFEQ PERSIST COUNT MATCH TYPE string hash LEN IDX MINMATCHLEN WITHMATCHLEN BYTE BIT AND OR XOR NOT DB \
    REPLACE ABSTTL IDLETIME FREQ ASYNC SYNC LIST INFO SETNAME GETNAME ID KILL SKIPME TRACKING ON OFF REPLY \
    SKIP NO-EVICT NO-TOUCH SETINFO LIB-NAME LIB-VER DOCS GETKEYS COUNT FILTERBY PATTERN SET RESETSTAT \
    maxmemory slowlog-log-slower-than notify-keyspace-events KEA AKE all server memory stats ENCODING \
    REFCOUNT USAGE DOCTOR CHANNELS NUMSUB NUMPAT LOAD EXISTS FLUSH WHOAMI MYID KEYSLOT NODES SLOTS SHARDS \
    RESET LATEST HISTORY HELP AUTH default yes no 16 appendonly save *";
/// These answer in more than one piece, or not at all, or hear what others do.
const ODD: [&[u8]; 8] =
    [b"client", b"monitor", b"subscribe", b"psubscribe", b"unsubscribe", b"punsubscribe", b"hello", b"reset"];
/// No reply takes longer.
const PATIENCE: Duration = Duration::from_secs(20);

struct Server {
    address: SocketAddr,
    /// Of all commands but those that close the connection.
    names: Vec<Vec<u8>>,
}

type Request = Vec<Vec<u8>>;

static SERVER: OnceLock<Server> = OnceLock::new();

thread_local! {
    static CLIENT: RefCell<Option<BufReader<TcpStream>>> = const { RefCell::new(None) };
}

fuzz_target!(|data: &[u8]| {
    let server = SERVER.get_or_init(start);
    let requests = requests(&server.names, data);
    CLIENT.with_borrow_mut(|kept| {
        let mut client = kept.take().unwrap_or_else(|| connect(server.address));
        if is_answered(&mut client, &requests) {
            *kept = Some(client);
        }
    });
});

/// Sends everything at once and looks at what comes back. Whether the connection is still there.
fn is_answered(client: &mut BufReader<TcpStream>, requests: &[Request]) -> bool {
    let last = b"that is all of this input".to_vec();
    let before = [vec![b"RESET".to_vec()], vec![b"FLUSHALL".to_vec()]];
    let behind = [vec![b"RESET".to_vec()], vec![b"ECHO".to_vec(), last.clone()]];
    let all: Vec<&Request> = before.iter().chain(requests).chain(&behind).collect();
    let is_odd = |request: &Request| ODD.iter().any(|odd| request[0].eq_ignore_ascii_case(odd));
    let is_new = requests.iter().any(|request| request[0].eq_ignore_ascii_case(b"hello"));
    let wire: Vec<u8> = all.iter().flat_map(|request| written(request)).collect();
    let mut replies = 1;
    let mut found = client.get_mut().write_all(&wire).and_then(|()| read(client, is_new));
    while !matches!(&found, Ok(Found::Bulk(bytes)) if *bytes == last) {
        match found {
            Ok(_) => (replies, found) = (replies + 1, read(client, is_new)),
            // It was told to close its own connection.
            Err(e) if e.kind() != ErrorKind::InvalidData && requests.iter().any(is_odd) => return false,
            Err(e) => panic!("{e} after {replies} replies to {}", wire.escape_ascii()),
        }
    }
    if !requests.iter().any(is_odd) {
        assert_eq!(replies, all.len(), "{}", wire.escape_ascii());
    }
    true
}

fn requests(names: &[Vec<u8>], data: &[u8]) -> Vec<Request> {
    let words: Vec<&str> = WORDS.split_whitespace().collect();
    let mut bytes = data.iter().copied();
    let mut requests = Vec::new();
    while let Some(name) = bytes.next() {
        let mut request = vec![names[usize::from(name) % names.len()].clone()];
        for _ in 0..bytes.next().unwrap_or(0) % 8 {
            let Some(what) = bytes.next() else { break };
            request.push(match words.get(usize::from(what)) {
                Some(word) => word.as_bytes().to_vec(),
                None => bytes.by_ref().take(usize::from(what) - words.len()).collect(),
            });
        }
        requests.push(request);
    }
    requests
}

fn written(request: &Request) -> Vec<u8> {
    let mut wire = format!("*{}\r\n", request.len()).into_bytes();
    for arg in request {
        wire.extend(format!("${}\r\n", arg.len()).bytes().chain(arg.iter().copied()).chain(*b"\r\n"));
    }
    wire
}

fn start() -> Server {
    let disk = SimDisk::new();
    disk.stop_recording();
    let components = Components { vfs: Arc::new(disk), ..Components::os().expect("a seed") };
    let settings = Settings { fsync: Fsync::Off, max_bytes: Some(64 << 20), ..Settings::new("/memory") };
    let node = Arc::new(Node::open(settings, components, &|_| ()).expect("an empty directory opens"));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    // It serves until the process ends.
    std::mem::forget(resp::serve(listener, node, RespSettings::default()).expect("threads can be started"));
    Server { address, names: names(address) }
}

/// What the server says that it knows.
fn names(address: SocketAddr) -> Vec<Vec<u8>> {
    let mut client = connect(address);
    client.get_mut().write_all(b"COMMAND LIST\r\nQUIT\r\n").expect("it reads");
    let mut text = String::new();
    std::io::Read::read_to_string(&mut client, &mut text).expect("it answers and closes");
    let mut names: Vec<Vec<u8>> = text
        .lines()
        .filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()) && *line != "quit")
        .map(|line| line.as_bytes().to_vec())
        .collect();
    // An input means the same in each process.
    names.sort();
    assert!((50..256).contains(&names.len()), "{} names", names.len());
    names
}

fn connect(address: SocketAddr) -> BufReader<TcpStream> {
    let stream = TcpStream::connect(address).expect("it takes connections");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time");
    stream.set_nodelay(true).expect("a plain socket");
    BufReader::new(stream)
}
