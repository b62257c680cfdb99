//! A sync really happens, where each mode promises it and not where it would only cost time.
//!
//! A whole life is recorded: set-up, writes over several log files, a snapshot, an export, a stop;
//! then a start after a kill. The rules are in `order`; each test also says how often they must
//! have applied, so that a trace that shows nothing proves nothing.

use super::{
    load::Load,
    order::Run,
    trace::{self, Call},
    tracer::{SMALL, serve},
};
use crate::support::{place::Place, process::Process};

const CALLS: &str = "trace=openat,mkdir,mkdirat,rename,renameat,renameat2,unlink,unlinkat,fdatasync,fsync,\
                     pwrite64,pwritev,pwritev2,ftruncate,fallocate,write,writev,sendto,sendmsg";
const ROUNDS: usize = 24;

/// Records a run over this place: a load, and then what `and_then` does.
fn record(place: &Place, load: &mut Load, flags: &[&str], and_then: impl FnOnce(&mut Load)) -> Vec<Call> {
    let flags = [&SMALL[..], flags].concat();
    let options = ["-s", "8192", "-e", CALLS];
    let mut server = serve(&place.data_dir(), &flags, &place.trace(), &options);
    load.connect(server.address().unwrap());
    load.run(ROUNDS);
    and_then(load);
    load.hang_up();
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0), "{}", server.output());
    trace::read(&place.trace())
}

/// Holds a recorded run against every rule. `always`: an acknowledgement needs a sync before it.
#[track_caller]
fn judged<'c>(calls: &'c [Call], place: &Place, always: bool) -> Run<'c> {
    let mut run = Run::new(calls, &place.data_dir());
    run.check_names();
    run.check_acknowledged(always);
    assert!(run.wrong.is_empty(), "{}", run.wrong.join("\n"));
    run
}

/// Waits until a number of `/stats` is as it should be.
pub(super) fn wait_until(load: &mut Load, right: impl Fn(&serde_json::Value) -> bool) {
    let give_up = std::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        let stats = load.request("GET", "/stats", "stats", b"").expect("it answers").body;
        let stats = serde_json::from_slice(&stats).unwrap();
        if right(&stats) {
            return;
        }
        assert!(std::time::Instant::now() < give_up, "it does not come: {stats}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
#[ignore = "needs strace: .ci/run syscalls"]
fn always_syncs_what_it_acknowledges_and_every_name_that_it_relies_on() {
    let (place, mut load) = (Place::new(), Load::new(true));
    let calls = record(&place, &mut load, &["--checkpoint-size", "64KiB"], |load| {
        assert_eq!(load.request("POST", "/save", "save", b"").unwrap().status, 200);
        wait_until(load, |stats| stats["checkpoints"].as_u64() > Some(0));
        load.run(4);
    });
    let run = judged(&calls, &place, true);
    assert_eq!((run.acknowledged, run.unsynced), (ROUNDS + 4, 0));
    // One client waits for each answer, so nothing can share a sync.
    assert!(run.log_syncs() >= run.acknowledged, "{} syncs", run.log_syncs());
    assert!(
        run.new_segments >= 3 && run.snapshots >= 1 && run.pruned >= 1,
        "{} {} {}",
        run.new_segments,
        run.snapshots,
        run.pruned
    );
    // The data directory itself and four in it; both MANIFESTs and the export beside segments and snapshots.
    assert_eq!(run.directories, 5);
    assert!(run.renamed >= run.new_segments + run.snapshots + 3, "{}", run.renamed);
    place.check(&mut load, &SMALL);
}

#[test]
#[ignore = "needs strace: .ci/run syscalls"]
fn a_start_after_a_kill_syncs_what_it_rewrites_before_it_is_ready() {
    let (place, mut load) = (Place::new(), Load::new(true));
    let mut killed = Process::serve(&place.data_dir(), &SMALL);
    load.connect(killed.address().unwrap());
    load.run(ROUNDS);
    killed.kill();
    let calls = record(&place, &mut load, &[], |_| ());
    let run = judged(&calls, &place, true);
    // The last one of before, written anew; the first of this run; and those of the load.
    assert!(run.new_segments >= 4, "{}", run.new_segments);
    place.check(&mut load, &SMALL);
}

#[test]
#[ignore = "needs strace: .ci/run syscalls"]
fn interval_acknowledges_before_the_sync_and_syncs_by_the_clock() {
    let (place, mut load) = (Place::new(), Load::new(false));
    let calls = record(&place, &mut load, &["--fsync", "interval", "--fsync-interval", "50ms"], |load| {
        // Nobody asks for it.
        wait_until(load, |stats| {
            stats["unsynced_bytes"] == 0 && stats["durable_seq"] == stats["appended_seq"]
        });
    });
    let run = judged(&calls, &place, false);
    assert_eq!(run.acknowledged, ROUNDS);
    assert!(run.unsynced > 0, "every reply waited for a sync");
}

#[test]
#[ignore = "needs strace: .ci/run syscalls"]
fn never_syncs_a_log_file_only_when_it_ends() {
    let (place, mut load) = (Place::new(), Load::new(false));
    let calls = record(&place, &mut load, &["--fsync", "never"], |_| ());
    let run = judged(&calls, &place, false);
    assert_eq!(run.acknowledged, ROUNDS);
    // The term's first frame is synced, and each file when it is cut to its length. (The header is
    // synced while the file is still a spare.)
    assert_eq!(run.log_syncs(), 1 + run.new_segments);
}
