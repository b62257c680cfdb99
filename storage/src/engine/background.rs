//! The threads of an engine. Each calls a step in a loop; what a step does is elsewhere and can
//! be driven by a test in one thread.

use std::{sync::Arc, time::Duration};

use crate::{
    engine::{Background, Core, expiry::Left},
    error::{Error, ErrorKind, Result},
    settings::Fsync,
    sync::{Condvar, Mutex, thread},
    wal::Wal,
};

/// Pause between two rounds of removing what has expired, when nothing is left to do.
const EXPIRE_EVERY: Duration = Duration::from_millis(100);
/// When there is: the pause is so many times as long as the round before it was. A round holds one
/// lock after the other nearly all the time, so with 256 stripes one read in 256 x 2 finds its
/// stripe locked: less than the one in a hundred that a p99 is about.
const EXPIRE_PAUSE_RATIO: u32 = 1;
/// And it is at least so long: a round that found no room in the log is short.
const EXPIRE_PAUSE_MIN: Duration = Duration::from_millis(1);
/// Pause between two looks at whether a segment is to be prepared.
const PREPARE_EVERY: Duration = Duration::from_millis(20);
/// Pause after a segment could not be prepared: writes come back this soon after space does.
const PREPARE_AGAIN: Duration = Duration::from_millis(250);
/// Pause between two looks at whether a snapshot is due.
const CHECKPOINT_EVERY: Duration = Duration::from_millis(500);
/// Pause after a snapshot failed.
const CHECKPOINT_AGAIN: Duration = Duration::from_secs(10);

/// The running threads.
#[derive(Debug)]
pub(crate) struct Threads {
    stopping: Arc<Stopping>,
    committer: Handles,
    others: Handles,
}

type Handles = Mutex<Vec<thread::JoinHandle<()>>>;

/// Lets a thread sleep until its next round, or until the end.
#[derive(Debug, Default)]
struct Stopping {
    stop: Mutex<bool>,
    wake: Condvar,
}

impl Stopping {
    /// Sleeps; false at the end.
    fn sleep(&self, span: Duration) -> bool {
        let stop = self.stop.lock().expect("no panic while sleeping");
        let sleep = self.wake.wait_timeout_while(stop, span, |stop| !*stop);
        !*sleep.expect("no panic while sleeping").0
    }
}

impl Threads {
    /// Starts them, unless the engine is driven by hand.
    pub(crate) fn start(core: &Arc<Core>) -> Result<Threads> {
        let [committer, others] = [(); 2].map(|()| Mutex::new(Vec::new()));
        let threads = Threads { stopping: Arc::default(), committer, others };
        if core.background == Background::Manual {
            return Ok(threads);
        }
        threads.spawn(&threads.others, "expirer", core, expire)?;
        if core.wal.discards() {
            return Ok(threads);
        }
        threads.spawn(&threads.committer, "committer", core, commit)?;
        threads.spawn(&threads.others, "preparer", core, prepare)?;
        threads.spawn(&threads.others, "checkpointer", core, checkpoint)?;
        if core.settings.fsync == Fsync::Interval {
            threads.spawn(&threads.others, "syncer", core, sync)?;
        }
        Ok(threads)
    }

    fn spawn(
        &self,
        handles: &Handles,
        name: &str,
        core: &Arc<Core>,
        run: fn(&Core, &Stopping),
    ) -> Result<()> {
        let (core, stopping) = (core.clone(), self.stopping.clone());
        let handle = thread::Builder::new()
            .name(name.into())
            .spawn(move || run(&core, &stopping))
            .map_err(|e| Error::io(format!("cannot start a thread name={name}"), e))?;
        handles.lock().expect("no panic with handles").push(handle);
        Ok(())
    }

    /// Ends them; what is in the staging buffer is written first.
    pub(crate) fn stop(&self, wal: &Wal) {
        *self.stopping.stop.lock().expect("no panic while sleeping") = true;
        self.stopping.wake.notify_all();
        // The committer last: the others may wait for a sync.
        join(&self.others);
        wal.stop();
        join(&self.committer);
    }
}

fn join(handles: &Handles) {
    for handle in std::mem::take(&mut *handles.lock().expect("no panic with handles")) {
        if handle.join().is_err() {
            tracing::error!("a background thread has panicked");
        }
    }
}

fn commit(core: &Core, _: &Stopping) {
    while matches!(core.wal.commit_turn(), Ok(true)) {}
}

fn prepare(core: &Core, stopping: &Stopping) {
    let mut pause = Duration::ZERO;
    let mut full = false;
    while stopping.sleep(pause) {
        if let Err(e) = core.note_rotation() {
            tracing::debug!(error = %e, "the newest segment is not in the MANIFEST yet");
        }
        pause = match core.wal.prepare_step() {
            Ok(true) => {
                full = false;
                Duration::ZERO
            }
            Ok(false) => PREPARE_EVERY,
            Err(e) => {
                if !std::mem::replace(&mut full, true) {
                    tracing::warn!(error = %e, why = e.why(), "no log segment can be prepared; writes are refused when the last one is used");
                }
                PREPARE_AGAIN
            }
        };
    }
}

fn expire(core: &Core, stopping: &Stopping) {
    let mut pause = EXPIRE_EVERY;
    while stopping.sleep(pause) {
        let begin = core.timeline.monotonic();
        pause = match core.expire_step() {
            Ok(Left::More) => {
                let took = core.timeline.monotonic().saturating_sub(begin);
                (took * EXPIRE_PAUSE_RATIO).clamp(EXPIRE_PAUSE_MIN, EXPIRE_EVERY)
            }
            Ok(Left::Nothing) => EXPIRE_EVERY,
            Err(_) => return,
        };
    }
}

fn sync(core: &Core, stopping: &Stopping) {
    while stopping.sleep(core.settings.fsync_interval) {
        if core.wal.sync_step().is_err() {
            return;
        }
    }
}

fn checkpoint(core: &Core, stopping: &Stopping) {
    let mut pause = CHECKPOINT_EVERY;
    while stopping.sleep(pause) {
        pause = CHECKPOINT_EVERY;
        let short_of_space = core.wal.disk_full() || core.disk_low();
        if !core.checkpoint_due() && !short_of_space {
            continue;
        }
        match core.checkpoint() {
            Ok(r) => {
                let (begin, end, took) = (r.begin.0, r.end.0, r.took);
                let (entries, bytes, pruned_segments) = (r.entries, r.bytes, r.pruned_segments);
                tracing::info!(begin, end, entries, bytes, pruned_segments, ?took, "snapshot taken");
            }
            Err(e) if matches!(e.kind(), ErrorKind::Halted | ErrorKind::Closed) => return,
            Err(e) => {
                tracing::warn!(error = %e, why = e.why(), "no snapshot: the old one and the log stay");
                pause = CHECKPOINT_AGAIN;
            }
        }
        // For lack of space: once, and again only after a while.
        if short_of_space {
            pause = CHECKPOINT_AGAIN;
        }
    }
}
