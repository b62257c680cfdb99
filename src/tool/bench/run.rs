//! A run: connections are opened, threads work, their counts are put together.

use std::{
    io,
    sync::{
        atomic::Ordering,
        mpsc::{RecvTimeoutError, channel},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    Failure, Load,
    connection::Connection,
    draw::{Draw, Values},
    tally::Tally,
    target::Target,
    wire::Wire,
    worker::{Job, Pace, Share, SoFar, Worker},
};
use crate::tool::crash_test::random::Random;

/// The same requests in every run.
const SEED: u64 = 0x0E4B_E12B_E7C4;
/// Progress is shown so often.
const SHOW_EVERY: Duration = Duration::from_millis(500);
/// Requests under way on a connection while keys are stored before the run, unless values are large.
const FILL_PIPELINE: usize = 64;
const FILL_BYTES_MAX: usize = 256 << 10;

/// How far a run has come.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Since the first request.
    pub elapsed: Duration,
    /// Answers that count so far.
    pub answered: u64,
    /// Errors so far.
    pub failed: u64,
    /// Keys are stored before the run.
    pub is_filling: bool,
}

/// Fills if asked to, then measures.
///
/// # Errors
/// If the connections cannot be opened, or the keys cannot be stored.
pub fn run(target: &Target, load: &Load, show: &dyn Fn(Progress)) -> Result<Tally, Failure> {
    fill(target, load, show)?;
    measure(target, load, 0, show)
}

/// Stores every key once, if the load says so.
pub(super) fn fill(target: &Target, load: &Load, show: &dyn Fn(Progress)) -> Result<(), Failure> {
    if !load.fill {
        return Ok(());
    }
    let pipeline = (FILL_BYTES_MAX / load.value_len.max(1)).clamp(1, FILL_PIPELINE) as u32;
    let all = Load {
        pipeline,
        rate: None,
        span: None,
        warmup: Duration::ZERO,
        requests: Some(load.keys),
        ..load.clone()
    };
    let threads = all.threads_started();
    let draw = |thread| Draw::Fill { next: thread, step: threads };
    let tally = phase(target, &all, &draw, &|progress| show(Progress { is_filling: true, ..progress }))?;
    if tally.answered() == load.keys {
        return Ok(());
    }
    let kinds: Vec<String> = tally.errors.iter().map(|(kind, count)| format!("{count} x {kind}")).collect();
    Err(Failure::Unreachable(format!(
        "{target} did not store all keys before the run: {} of {}, {}",
        tally.answered(),
        load.keys,
        kinds.join(", ")
    )))
}

/// Asks what the load says. `turn`: another turn, other requests.
pub(super) fn measure(
    target: &Target,
    load: &Load,
    turn: u64,
    show: &dyn Fn(Progress),
) -> Result<Tally, Failure> {
    phase(target, load, &|thread| Draw::mixed(load, Random::new(SEED + turn).part(thread)), show)
}

impl Load {
    /// No thread without a connection.
    fn threads_started(&self) -> u64 {
        u64::from(self.threads.min(self.connections).max(1))
    }

    /// A thread's share of the requests.
    fn requests_of(&self, thread: u64) -> u64 {
        let threads = self.threads_started();
        self.requests.map_or(u64::MAX, |all| all / threads + u64::from(thread < all % threads))
    }
}

fn phase(
    target: &Target,
    load: &Load,
    draw: &dyn Fn(u64) -> Draw,
    show: &dyn Fn(Progress),
) -> Result<Tally, Failure> {
    let failed = |e: io::Error| Failure::Unreachable(format!("the load on {target} cannot run: {e}"));
    let (wire, values, so_far) =
        (Wire::new(target, load), Values::new(load.value_len, Random::new(SEED)), SoFar::default());
    let connections = (0..load.connections)
        .map(|_| Connection::new(target.connect().map_err(Failure::Unreachable)?).map_err(failed))
        .collect::<Result<Vec<_>, Failure>>()?;
    let measure_from = load.warmup.as_nanos() as u64;
    let job = Job {
        target,
        wire: &wire,
        values: &values,
        pipeline: load.pipeline as usize,
        pace: load.rate.map(|rate| Pace { every: 1e9 / rate, connections: u64::from(load.connections) }),
        measure_from,
        until: load.span.map_or(u64::MAX, |span| measure_from + span.as_nanos() as u64),
        begun: Instant::now(),
        so_far: &so_far,
    };
    let threads = load.threads_started();
    let mut shares: Vec<Vec<(u64, Connection)>> = (0..threads).map(|_| Vec::new()).collect();
    for (number, connection) in (0..).zip(connections) {
        shares[(number % threads) as usize].push((number, connection));
    }
    let shares = (0..).zip(shares).map(|(thread, connections)| Share {
        connections,
        draw: draw(thread),
        requests: load.requests_of(thread),
    });
    together(shares.collect(), &job, show).map_err(failed)
}

/// Works on all shares at once and adds up what was counted.
fn together(shares: Vec<Share>, job: &Job<'_>, show: &dyn Fn(Progress)) -> io::Result<Tally> {
    thread::scope(|scope| {
        // Closed when the last thread is done.
        let (alive, done) = channel::<()>();
        let threads: Vec<_> = shares
            .into_iter()
            .map(|share| {
                let alive = alive.clone();
                scope.spawn(move || {
                    let tally = Worker::new(job, share).and_then(Worker::run);
                    drop(alive);
                    tally
                })
            })
            .collect();
        drop(alive);
        while done.recv_timeout(SHOW_EVERY) == Err(RecvTimeoutError::Timeout) {
            show(Progress {
                elapsed: job.begun.elapsed(),
                answered: job.so_far.answered.load(Ordering::Relaxed),
                failed: job.so_far.failed.load(Ordering::Relaxed),
                is_filling: false,
            });
        }
        let mut all = Tally::new();
        for thread in threads {
            all.add_beside(&thread.join().expect("the load does not panic")?);
        }
        Ok(all)
    })
}
