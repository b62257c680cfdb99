//! The real binary on a real disk that is full: a file system of a few MiB that belongs to the test.
//!
//! What the operating system does at its limit is what the simulated disk only models: an
//! allocation that fails half way, directories, blocks that come back late. Promised is the same:
//! writes are refused with a clear word, deletes and reads go on, writes come back by themselves
//! with the space, and every start works, although somebody else has always taken what was free.
//!
//! `.ci/run full` makes the file systems (tmpfs, ext4) and runs these tests on each; the place is in
//! `EMBERKEEP_SMALL_DISK`. Not here: power cuts (`storage/tests/promises/space.rs`).

#![expect(clippy::disallowed_methods, reason = "these tests look at real files from outside, in real time")]

mod book;
mod disk;
mod load;

use std::{
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use self::{
    book::Book,
    disk::Disk,
    load::{Worker, delete, put, request},
};
use crate::support::{client::Client, process::Process};

/// A server that serves, and where.
struct Server {
    process: Process,
    address: SocketAddr,
}

/// Clients that write at the same time.
const WORKERS: u64 = 4;
/// Nothing here takes longer, unless it never happens.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
#[ignore = "needs a small file system of its own: .ci/run full"]
fn a_full_disk_is_survived_with_always() {
    survives_a_full_disk("always");
}

#[test]
#[ignore = "needs a small file system of its own: .ci/run full"]
fn a_full_disk_is_survived_with_interval() {
    survives_a_full_disk("interval");
}

#[test]
#[ignore = "needs a small file system of its own: .ci/run full"]
fn a_full_disk_is_survived_with_never() {
    survives_a_full_disk("never");
}

fn survives_a_full_disk(fsync: &str) {
    let disk = Disk::taken_and_emptied();
    let mut workers: Vec<Worker> = (0..WORKERS).map(Worker::new).collect();
    disk.fill(Some(6 << 20));
    let mut server = serve(&disk, fsync);

    let refused = each(&mut workers, &server, Worker::write_until_refused);
    for reply in refused {
        assert_eq!(reply.status, 507);
        assert_eq!(reply.header("content-type"), Some("application/problem+json"));
        let body = String::from_utf8(reply.body).unwrap();
        assert!(body.contains("storage-full") && body.contains("disk is full"), "{body}");
    }
    holds(&workers, &server, "full");
    let refused = each(&mut workers, &server, Worker::delete_some);
    assert_eq!(refused.into_iter().sum::<usize>(), 0, "deletes are refused");
    holds(&workers, &server, "full, some deleted");

    refuses(&disk, &mut workers[0].book, &server);
    disk.give_back();
    let waited = writes_come_back(&mut workers[0].book, &server);
    println!("{fsync}: writes came back {} ms after the space", waited.as_millis());

    disk.fill(None);
    each(&mut workers, &server, Worker::write_until_refused);
    killed_under_load(&mut workers, &mut server);
    for start in 1..=5 {
        disk.fill(None);
        server = serve_while_others_fill(&disk, fsync);
        holds(&workers, &server, &format!("start {start} on a full disk"));
        refuses(&disk, &mut workers[0].book, &server);
        // Some of them find room, the others are refused.
        each(&mut workers, &server, Worker::delete_some);
        if start % 2 == 0 {
            killed_under_load(&mut workers, &mut server);
        } else {
            server.process.kill();
        }
    }

    // A stop in order, and a kill after it.
    for _ in 0..2 {
        disk.fill(None);
        server = serve(&disk, fsync);
        stop(server);
        disk.fill(None);
        server = serve(&disk, fsync);
        holds(&workers, &server, "after a stop in order");
        server.process.kill();
    }

    server = serve(&disk, fsync);
    refuses(&disk, &mut workers[0].book, &server);
    disk.give_back();
    writes_come_back(&mut workers[0].book, &server);
    stop(server);
    server = serve(&disk, fsync);
    assert!(server.process.output().contains("after a clean stop"), "{}", server.process.output());
    holds(&workers, &server, "space is back");
    server.process.kill();
}

/// Starts the server with segments so small that the disk holds many; serving when it returns.
fn serve(disk: &Disk, fsync: &str) -> Server {
    let flags = ["--segment-size", "1MiB", "--fsync", fsync, "--max-memory", "256MiB"];
    let mut process = Process::serve(&disk.data_dir(), &flags);
    let address = process.address().unwrap();
    Server { process, address }
}

/// The same, while somebody takes each byte that the start sets free, the moment it does.
fn serve_while_others_fill(disk: &Disk, fsync: &str) -> Server {
    let serving = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !serving.load(Ordering::SeqCst) {
                disk.fill(None);
            }
        });
        // Also if the start fails: the other one must not go on for ever.
        let outcome = catch_unwind(AssertUnwindSafe(|| serve(disk, fsync)));
        serving.store(true, Ordering::SeqCst);
        outcome.unwrap_or_else(|failed| resume_unwind(failed))
    })
}

/// SIGTERM, and its end, which must be in order.
fn stop(mut server: Server) {
    server.process.signal("TERM");
    let status = server.process.wait();
    assert!(status.success(), "{status}, it said:\n{}", server.process.output());
}

fn connect(server: &Server) -> Client {
    Client::connect(server.address).expect("the server listens")
}

/// All at the same time, each over a connection of its own.
fn each<T: Send>(
    workers: &mut [Worker],
    server: &Server,
    act: impl Fn(&mut Worker, &mut Client) -> T + Sync,
) -> Vec<T> {
    let (act, address) = (&act, server.address);
    thread::scope(|scope| {
        let running: Vec<_> = workers
            .iter_mut()
            .map(|worker| scope.spawn(move || act(worker, &mut Client::connect(address).unwrap())))
            .collect();
        running.into_iter().map(|r| r.join().expect("the failure is told above")).collect()
    })
}

/// SIGKILL while all of them write and delete; what had no answer may have happened or not.
fn killed_under_load(workers: &mut [Worker], server: &mut Server) {
    let address = server.address;
    thread::scope(|scope| {
        for worker in workers {
            scope.spawn(move || worker.go_on_until_it_breaks(&mut Client::connect(address).unwrap()));
        }
        thread::sleep(Duration::from_millis(150));
        server.process.kill();
    });
}

/// Everything that was acknowledged is there, and nothing that was deleted.
fn holds(workers: &[Worker], server: &Server, what: &str) {
    let mut client = connect(server);
    for worker in workers {
        worker.book.holds(&mut client, what);
    }
}

/// Takes what is free until a write is refused: an unfinished snapshot may give some back.
fn refuses(disk: &Disk, book: &mut Book, server: &Server) {
    let (mut client, begun) = (connect(server), Instant::now());
    loop {
        disk.fill(None);
        let reply = put(&mut client, book, "probe");
        if reply.status == 507 {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "writes are never refused");
    }
}

/// Waits until a write is taken, without a restart. How long that took.
fn writes_come_back(book: &mut Book, server: &Server) -> Duration {
    let (mut client, begun) = (connect(server), Instant::now());
    while put(&mut client, book, "probe").status == 507 {
        assert!(begun.elapsed() < PATIENCE, "writes never come back");
        thread::sleep(Duration::from_millis(10));
    }
    let waited = begun.elapsed();
    assert_eq!(request(&mut client, "GET", "probe", &[]).status, 200);
    delete(&mut client, book, "probe");
    waited
}
