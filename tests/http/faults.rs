//! A disk that fails: no false acknowledgement, and a clear word about what is known.

use std::{
    io::{self, IoSlice},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use emberkeep::node::error::Code;
use emberkeep_storage::{
    Components,
    sim::around::{Around, wrap},
    vfs::File,
};

use super::fixture::Server;

/// What goes wrong from the moment it is switched on.
#[derive(Debug, Default)]
struct Switches {
    /// Every sync fails with EIO.
    sync_fails: AtomicBool,
    /// Writes to exports find the disk full.
    exports_full: AtomicBool,
}

/// The real disk, until a switch is thrown.
#[derive(Debug)]
struct Failing(Arc<Switches>);

impl Around for Failing {
    fn write_at(
        &self,
        path: &Path,
        inner: &dyn File,
        offset: u64,
        bufs: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        let is_export = path.parent().is_some_and(|dir| dir.ends_with("exports"));
        if is_export && self.0.exports_full.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        inner.write_at(offset, bufs)
    }

    fn sync_data(&self, _: &Path, inner: &dyn File) -> io::Result<()> {
        if self.0.sync_fails.load(Ordering::SeqCst) {
            return Err(io::Error::other("the disk has failed"));
        }
        inner.sync_data()
    }
}

fn server(halt_grace: Option<Duration>) -> (Server, Arc<Switches>) {
    let switches = Arc::new(Switches::default());
    let given = switches.clone();
    let components = move || {
        let mut components = Components::os().unwrap();
        components.vfs = wrap(components.vfs, Failing(given));
        components
    };
    let server = Server::on(tempfile::tempdir().unwrap(), components, |s| s.halt_grace = halt_grace);
    (server, switches)
}

#[test]
fn a_failed_sync_acknowledges_nothing_and_stops_all_writes() {
    let (mut server, switches) = server(None);
    server.put("/v1/keys/old", b"durable").is(201);
    switches.sync_fails.store(true, Ordering::SeqCst);
    // In the log when the sync failed: it may come back with the next start.
    server.put("/v1/keys/k", b"v").is_error(504, "outcome-unknown");
    // After that nothing is even tried.
    server.put("/v1/keys/k", b"v").is_error(503, "wal-write-failed");
    server.request("DELETE", "/v1/keys/old", &[], b"").is_error(503, "wal-write-failed");
    server.get("/set?key=k&value=v").is_error(503, "wal-write-failed");
    assert_eq!(server.get("/v1/keys/old").is(200).body, b"durable");
    let health = server.get("/health");
    health.is(503);
    assert_eq!(health.json()["status"], "fail");
    server.may_fail_to_close();
}

#[test]
fn a_server_whose_log_has_stopped_ends_after_the_grace_time_and_says_why() {
    let (server, switches) = server(Some(Duration::ZERO));
    server.put("/v1/keys/old", b"durable").is(201);
    switches.sync_fails.store(true, Ordering::SeqCst);
    server.put("/v1/keys/k", b"v").is_error(504, "outcome-unknown");
    let error = server.ends_by_itself().unwrap_err();
    assert_eq!(error.code(), Code::WalWriteFailed);
    assert!(error.detail().contains("cannot sync the log file=00000000000000000001.wal"), "{error}");
}

#[test]
fn a_save_that_finds_the_disk_full_leaves_the_old_file() {
    let (server, switches) = server(None);
    server.put("/v1/keys/a", b"1").is(201);
    server.get("/save").is(200);
    switches.exports_full.store(true, Ordering::SeqCst);
    server.put("/v1/keys/b", b"2").is(201);
    server.get("/save").is_error(507, "storage-full");
    switches.exports_full.store(false, Ordering::SeqCst);
    assert_eq!(server.get("/load").is(200).json()["keys"], 1);
}
