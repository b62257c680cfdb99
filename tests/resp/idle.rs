//! Clients that stay connected and say little: what ten thousand of them cost, and that they never take
//! the files that the log needs.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    process::Command,
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{
    fixture::{redis_address, resident},
    wire::{Client, Value},
};
use crate::support::{
    place::Place,
    process::{Process, binary},
};

/// The server wants room for the connections of both its ports; this process needs fewer.
const FILES: u64 = 15_000;

/// Whether this process may have so many files open from now on.
fn may_open(count: u64) -> bool {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= count) {
        return true;
    }
    setrlimit(Resource::Nofile, Rlimit { current: Some(count), maximum }).is_ok()
}

/// The server under limits that a shell sets first.
fn limited(ulimit: &str, place: &Place, flags: &[&str]) -> (Process, SocketAddr) {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{ulimit} && exec \"$0\" \"$@\"")]).arg(binary());
    command.args(["--port", "0", "--resp-port", "0", "--data-dir"]).arg(place.data_dir()).args(flags);
    let mut process = Process::start(&mut command);
    let address = redis_address(&mut process);
    (process, address)
}

/// The limit that the server starts with is far too low: it has to raise it.
#[test]
fn ten_thousand_idle_clients_cost_less_than_200_mebibytes() {
    const COUNT: u64 = 10_000;
    if !may_open(FILES) {
        println!("skipped: TEN THOUSAND CLIENTS NOT TESTED: ulimit -Hn is below {FILES}");
        return;
    }
    let place = Place::new();
    let (process, address) = limited("ulimit -Sn 1024", &place, &[]);
    let before = resident(&process);
    // Each is one file here.
    let greeted = |_| {
        let mut client = TcpStream::connect(address).unwrap();
        let mut reply = [0; 7];
        client.write_all(b"PING\r\n").unwrap();
        client.read_exact(&mut reply).unwrap();
        assert_eq!(&reply, b"+PONG\r\n");
        client
    };
    let clients: Vec<TcpStream> = (0..COUNT).map(greeted).collect();
    let grown = resident(&process).saturating_sub(before);
    println!("{} bytes for each of {} clients", grown / COUNT, clients.len());
    assert!(grown < 200 << 20, "{grown}");
}

/// The server ran out of files, could not open the next segment of the log, and stopped.
#[test]
fn more_clients_than_files_do_not_stop_the_log() {
    let place = Place::new();
    let flags = ["--segment-size", "64KiB", "--checkpoint-size", "64KiB", "--compress", "none"];
    let (process, address) = limited("ulimit -n 256", &place, &flags);
    let mut client = Client::connect(address);
    let _idle: Vec<Client> = (0..300).map(|_| Client::connect(address)).collect();
    let value = vec![b'x'; 8 << 10];
    for n in 0..100 {
        let key = format!("key-{}", n % 10);
        assert_eq!(client.run(&[b"SET", key.as_bytes(), &value]), Value::Simple("OK".into()), "{n}");
    }
    let said = process.output();
    assert!(said.contains("this process may have 256 open files"), "{said}");
}
