//! What would be lost and what a restart would cost, and snapshots on demand.

use std::{
    io::{self, IoSlice},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
};

use emberkeep_storage::{
    Components,
    sim::around::{Around, wrap},
    vfs::File,
};

use super::fixture::Server;

/// The real disk, but for the first write to a snapshot, or all of them.
#[derive(Debug)]
struct Snapshots {
    /// Writes to snapshots fail.
    fail: Arc<AtomicBool>,
    /// The first one tells that it is there, and waits until the other side says so.
    meet: Mutex<Option<(SyncSender<()>, Receiver<()>)>>,
}

impl Around for Snapshots {
    fn write_at(
        &self,
        path: &Path,
        inner: &dyn File,
        offset: u64,
        bufs: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        if path.components().any(|part| part.as_os_str() == "snap") {
            if self.fail.load(Ordering::SeqCst) {
                return Err(io::Error::other("no snapshots today"));
            }
            if let Some((here, go_on)) = self.meet.lock().unwrap().take() {
                here.send(()).unwrap();
                go_on.recv().unwrap();
            }
        }
        inner.write_at(offset, bufs)
    }
}

fn server(fail: Arc<AtomicBool>, meet: Option<(SyncSender<()>, Receiver<()>)>) -> Server {
    let around = Snapshots { fail, meet: Mutex::new(meet) };
    let components = move || {
        let mut components = Components::os().unwrap();
        components.vfs = wrap(components.vfs, around);
        components
    };
    Server::on(tempfile::tempdir().unwrap(), components, |s| {
        s.engine.checkpoint_bytes = 1 << 20;
        s.engine.compress = None;
    })
}

/// Bytes that do not get shorter, so that the log has all of them.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252u64;
    let byte = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..len).map(byte).collect()
}

fn number(json: &serde_json::Value) -> u64 {
    json.as_str().unwrap_or_else(|| panic!("a number in a string: {json}")).parse().unwrap()
}

#[test]
fn durability_tells_how_far_the_log_is_and_what_a_restart_would_read() {
    let server = Server::over(tempfile::tempdir().unwrap(), |s| s.engine.compress = None);
    let seq: u64 = server.put("/v1/keys/a", b"1").is(201).header("emberkeep-seq").unwrap().parse().unwrap();
    let json = server.get("/v1/durability").is(200).json();
    assert_eq!(json["fsync"], "always");
    for cursor in ["applied_seq", "os_seq", "durable_seq"] {
        assert_eq!(number(&json[cursor]), seq, "{cursor}");
    }
    assert_eq!((&json["unsynced_bytes"], &json["last_snapshot_seq"]), (&0.into(), &serde_json::Value::Null));
    let estimate = |json: &serde_json::Value| json["replay_estimate"]["bytes"].as_u64().unwrap();
    let before = estimate(&json);
    assert!(json["replay_estimate"]["ms"].is_u64() && json["replay_estimate"]["measured"] == false, "{json}");

    server.put("/v1/keys/b", &noise(100_000)).is(201);
    let after = estimate(&server.get("/v1/durability").json());
    assert!((100_000..110_000).contains(&(after - before)), "{before} {after}");
    server.get("/v1/durability?x=1").is_error(400, "invalid-argument");
    server.request("POST", "/v1/durability", &[], b"").is_error(405, "method-not-allowed");
}

#[test]
fn a_snapshot_on_demand_is_what_the_next_start_begins_with() {
    let server = Server::start();
    for key in ["a", "b", "c"] {
        server.put(&format!("/v1/keys/{key}"), b"value").is(201);
    }
    let seq = number(&server.get("/v1/durability").json()["applied_seq"]);
    let taken = server.post("/v1/snapshots?wait=true", "").is(201).json();
    assert_eq!((number(&taken["begin"]), &taken["entries"]), (seq, &3.into()));
    assert!(taken["bytes"].as_u64().unwrap() > 0 && taken["took_ms"].is_u64(), "{taken}");
    assert_eq!(number(&server.get("/v1/durability").json()["last_snapshot_seq"]), seq);
    let server = Server::over(server.stop(), |_| ());
    assert_eq!(number(&server.get("/v1/durability").json()["last_snapshot_seq"]), seq);
    assert_eq!(server.get("/stats").json()["items"], 3);
}

#[test]
fn a_snapshot_is_asked_for_with_its_end() {
    let server = Server::start();
    for target in ["/v1/snapshots", "/v1/snapshots?wait=false", "/v1/snapshots?wait=true&x=1"] {
        server.post(target, "").is_error(400, "invalid-argument");
    }
    server.get("/v1/snapshots").is_error(405, "method-not-allowed");
}

#[test]
fn while_one_snapshot_is_taken_another_is_refused_and_everything_else_goes_on() {
    let (here, is_here) = sync_channel(1);
    let (go_on, told) = sync_channel(1);
    let server = server(Arc::default(), Some((here, told)));
    server.put("/v1/keys/a", b"1").is(201);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| server.post("/v1/snapshots?wait=true", ""));
        is_here.recv().unwrap();
        server.post("/v1/snapshots?wait=true", "").is_error(409, "snapshot-running");
        server.put("/v1/keys/b", b"2").is(201);
        assert_eq!(server.get("/v1/keys/b").is(200).body, b"2");
        go_on.send(()).unwrap();
        first.join().unwrap().is(201);
    });
}

/// Elsewhere no snapshot was taken for a week, and nobody noticed.
#[test]
fn health_warns_when_a_snapshot_is_long_overdue_and_no_longer_when_one_was_taken() {
    let fail = Arc::new(AtomicBool::new(true));
    let server = server(fail.clone(), None);
    assert_eq!(server.get("/health").json()["checks"]["snapshot"]["status"], "ok");
    for i in 0..12 {
        server.put(&format!("/v1/keys/{i}"), &noise(200_000)).is(201);
    }
    server.post("/v1/snapshots?wait=true", "");
    let health = server.get("/health").is(200).json();
    assert_eq!(
        (&health["status"], &health["checks"]["snapshot"]["status"]),
        (&"warn".into(), &"warn".into())
    );
    let said = health["checks"]["snapshot"]["output"].as_str().unwrap();
    assert!(said.contains("overdue") && said.contains("due_at=1048576"), "{said}");
    fail.store(false, Ordering::SeqCst);
    // The thread that tries again by itself may be at it.
    while server.post("/v1/snapshots?wait=true", "").status == 409 {}
    assert_eq!(server.get("/health").json()["status"], "ok");
}
