//! When a load ends, and how.

use std::{
    io,
    path::Path,
    sync::atomic::Ordering::SeqCst,
    time::{Duration, Instant},
};

use super::{load::Shared, random::Random, server::Server};

/// Loads that are measured in bytes end at the latest after this time.
const HEAVY_LOAD_MAX: Duration = Duration::from_secs(8);
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// When a load ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    after: Duration,
    /// So many bytes of acknowledged values are enough too.
    bytes: Option<u64>,
    /// It ends so long after a snapshot was seen to be in the making.
    ambush: Option<Duration>,
}

/// How a load ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    Kill,
    /// The same, because a snapshot is being written.
    KillInCheckpoint,
    Terminate,
    TerminateThenKill(Duration),
}

/// Why a server could not be ended.
pub(super) enum Failed {
    /// It ended otherwise than it should.
    Status(String),
    System(io::Error),
}

impl Moment {
    pub(super) fn draw(random: &mut Random, heavy: bool, load_max: Duration) -> Moment {
        let micros = random.within(1..(load_max.as_micros() as u64).max(2));
        // Half of the snapshots may be finished, so that there are starts from one.
        let ambush = random.chance(50).then_some(Duration::from_micros(random.within(0..20_000)));
        let bytes = random.within(66 << 20..76 << 20);
        match heavy {
            true => Moment { after: HEAVY_LOAD_MAX, bytes: Some(bytes), ambush },
            false => Moment { after: Duration::from_micros(micros), bytes: None, ambush },
        }
    }
}

impl End {
    pub(super) fn draw(random: &mut Random) -> End {
        match random.within(0..10) {
            0 => End::Terminate,
            1..3 => End::TerminateThenKill(Duration::from_micros(random.within(0..40_000))),
            _ => End::Kill,
        }
    }
}

/// Waits until the moment has come, or something has gone wrong. True: a snapshot is being
/// written, and this is the moment because of that.
pub(super) async fn wait(moment: &Moment, shared: &Shared, data_dir: &Path) -> bool {
    let begun = Instant::now();
    let has_come = || {
        begun.elapsed() >= moment.after
            || moment.bytes.is_some_and(|bytes| shared.bytes.load(SeqCst) >= bytes)
    };
    while !has_come() && !shared.must_stop() {
        if let Some(delay) = moment.ambush.filter(|_| is_snapshotting(data_dir)) {
            tokio::time::sleep(delay).await;
            return is_snapshotting(data_dir);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    false
}

/// An unfinished snapshot has a name that ends in `.tmp`.
fn is_snapshotting(data_dir: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(data_dir.join("snap")) else { return false };
    entries.flatten().any(|entry| entry.file_name().to_string_lossy().ends_with(".tmp"))
}

/// Ends the server. True: it stopped in order.
pub(super) async fn finish(server: &mut Server, end: End) -> Result<bool, Failed> {
    match end {
        End::Kill | End::KillInCheckpoint => {
            let status = server.kill().map_err(Failed::System)?;
            match status.code() {
                None => Ok(false),
                Some(_) => Err(Failed::Status(format!("the server ended by itself with {status}"))),
            }
        }
        End::Terminate => {
            server.terminate().map_err(Failed::System)?;
            let status = server.wait_async().await.map_err(Failed::System)?;
            match status.success() {
                true => Ok(true),
                false => Err(Failed::Status(format!("a stop in order ended with {status}"))),
            }
        }
        End::TerminateThenKill(delay) => {
            server.terminate().map_err(Failed::System)?;
            tokio::time::sleep(delay).await;
            let status = server.kill().map_err(Failed::System)?;
            match status.code() {
                None => Ok(false),
                Some(0) => Ok(true),
                Some(_) => Err(Failed::Status(format!("a stop in order ended with {status}"))),
            }
        }
    }
}
