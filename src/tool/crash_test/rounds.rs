//! Rounds of start, load and end over one directory.
//!
//! A round: perhaps a few starts that are killed before they serve; a start; every key read and
//! held against all rounds before; load; and an end: SIGKILL, or SIGTERM under load, or SIGTERM
//! with SIGKILL soon after. At the end two clean stops, and everything is read after each.
//!
//! The first broken promise ends the run.

use std::{
    ffi::OsString,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::SeqCst},
    time::{Duration, Instant},
};

use super::{
    Broken, Counts, Finding, Options, Verdict,
    clock::{Clock, Moment},
    draw::Mix,
    end::{self, End},
    history::{Call, Outcome},
    judge::{Judge, Judged, Piece},
    linear::Ending,
    load::{self, Shared},
    random::Random,
    scratch::Scratch,
    server::{Server, is_for_lack_of_means},
};
use crate::node::{
    Fsync,
    error::{Code, Error, Result},
};

/// The longest values of a usual round, and of one that makes the log rotate.
const VALUE_LEN_MAX: u64 = 8 << 10;
const HEAVY_VALUE_LEN_MAX: u64 = 512 << 10;

/// Runs all rounds; `progress` is told the counts after each. Ends early when `interrupted` does:
/// then the server is killed, and nothing is told.
///
/// The scratch directory is removed if every promise held, and kept if not.
///
/// # Errors
/// `InvalidArgument` for options out of range. Else whatever keeps it from telling anything: it is
/// interrupted, the scratch directory or the program cannot be used, the server's disk is full
/// or fails.
pub fn run(
    options: Options,
    progress: &mut dyn FnMut(&Counts),
    interrupted: impl Future<Output = ()>,
) -> Result<Verdict> {
    options.validate()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::new(Code::Io, format!("cannot start a runtime: {e}")))?;
    let scratch = Scratch::create(&options.scratch, options.seed)?;
    let mut run = Run::new(options, &scratch);
    let ended = runtime.block_on(async {
        tokio::select! {
            // Looked at first: from then on no signal can end this process and leave a server.
            biased;
            () = interrupted => Err(Stop::Interrupted),
            ended = run.all(progress) => ended,
        }
    });
    match ended {
        Ok(()) => {
            scratch.remove()?;
            Ok(Verdict::new(run.options.seed, run.counts, Vec::new(), None))
        }
        Err(Stop::Broken(broken)) => {
            let (history, said) = (run.history_of(&broken), run.said.clone());
            let found: String = broken.iter().map(|finding| format!("{finding:?}\n")).collect();
            let texts = [("found.txt", &*found), ("history.txt", &*history), ("server-said.txt", &*said)];
            let kept = scratch.keep(&texts)?;
            Ok(Verdict::new(run.options.seed, run.counts, broken, Some(kept)))
        }
        Err(Stop::Trouble(why)) => {
            let kept = scratch.keep(&[("server-said.txt", &*run.said)])?;
            Err(Error::new(Code::Io, format!("{why}; everything is kept in {}", kept.display())))
        }
        Err(Stop::Interrupted) => {
            scratch.remove()?;
            Err(Error::new(Code::Io, "interrupted: nothing can be told"))
        }
    }
}

impl Options {
    fn validate(&self) -> Result<()> {
        let clients_max = super::CLIENTS_MAX;
        if !(1..=clients_max).contains(&self.clients) {
            return Err(Error::invalid(format!(
                "clients must be from 1 to {clients_max}, got={}",
                self.clients
            )));
        }
        if self.modes.is_empty() || self.keys == 0 {
            return Err(Error::invalid("at least one mode and one key are needed"));
        }
        Ok(())
    }
}

/// Why the rounds end early.
enum Stop {
    Broken(Vec<Finding>),
    /// It cannot go on, though nothing is broken.
    Trouble(String),
    Interrupted,
}

type Step<T = ()> = std::result::Result<T, Stop>;

struct Run {
    options: Options,
    data_dir: OsString,
    random: Random,
    shared: Arc<Shared>,
    judge: Judge,
    counts: Counts,
    /// Whether the next start must find a clean stop; `None` if it may.
    clean: Option<bool>,
    /// How long the last start took: a kill during a start comes within that.
    start_took: Duration,
    /// What the last server said.
    said: String,
    /// The calls of the last piece.
    calls: Vec<Call>,
}

impl Run {
    fn new(options: Options, scratch: &Scratch) -> Run {
        Run {
            data_dir: scratch.data_dir().into(),
            random: Random::new(options.seed),
            shared: Arc::new(Shared::new(Clock::start(), options.keys)),
            judge: Judge::new(options.keys, options.evicts),
            counts: Counts::default(),
            clean: None,
            start_took: Duration::from_millis(100),
            said: String::new(),
            calls: Vec::new(),
            options,
        }
    }

    async fn all(&mut self, progress: &mut dyn FnMut(&Counts)) -> Step {
        let begun = Instant::now();
        let in_time = |options: &Options| options.stop_after.is_none_or(|most| begun.elapsed() < most);
        while self.counts.rounds < self.options.rounds && in_time(&self.options) {
            let mode = self.options.modes[self.counts.rounds as usize % self.options.modes.len()];
            self.round(mode).await?;
            self.counts.rounds += 1;
            progress(&self.counts);
        }
        // What the last round has left, after a clean stop and again after that.
        for _ in 0..2 {
            let (server, _) = self.start_and_verify(self.options.modes[0]).await?;
            self.end_of(server, End::Terminate, self.options.modes[0], Vec::new()).await?;
        }
        Ok(())
    }

    async fn round(&mut self, mode: Fsync) -> Step {
        if self.random.chance(30) {
            self.kill_some_starts(mode).await?;
        }
        let (server, address) = self.start_and_verify(mode).await?;
        let heavy = self.is_heavy();
        let moment = end::Moment::draw(&mut self.random, heavy, self.options.load_max);
        let end = End::draw(&mut self.random);
        let value_len_max = if heavy { HEAVY_VALUE_LEN_MAX } else { VALUE_LEN_MAX };
        let clients: Vec<_> = (0..self.options.clients)
            .map(|n| {
                let mix = Mix { value_len_max, mostly_reads: n == 0 && self.options.clients > 1 };
                tokio::spawn(load::work(self.shared.clone(), address, self.random.part(n.into()), mix))
            })
            .collect();
        if self.random.chance(30) {
            tokio::spawn(load::save(self.shared.clone(), address));
        }
        let ambushed = end::wait(&moment, &self.shared, self.data_dir.as_ref()).await;
        let end = if ambushed { End::KillInCheckpoint } else { end };
        self.end_of(server, end, mode, clients).await
    }

    /// Starts that are killed while they recover, or just when they begin to serve.
    async fn kill_some_starts(&mut self, mode: Fsync) -> Step {
        for _ in 0..self.random.within(1..4) {
            let mut server = self.start(mode)?;
            let latest = self.start_took.as_micros() as u64 * 3 / 2;
            tokio::time::sleep(Duration::from_micros(self.random.within(0..latest.max(1)))).await;
            let killed = server.kill();
            self.said = server.output();
            let status = killed.map_err(|e| trouble("cannot kill the server", &e))?;
            if status.code().is_some() {
                let why = format!("a start ended by itself with {status}, it said:\n{}", self.said);
                return Err(self.start_failed(status.code(), why));
            }
            self.counts.kills_in_recovery += 1;
            // It may or may not have come as far as to begin a new term.
            self.clean = self.clean.filter(|clean| !clean);
        }
        Ok(())
    }

    fn is_heavy(&self) -> bool {
        let every = self.options.heavy_every;
        every > 0 && self.counts.rounds % every == every - 1
    }

    /// Codecs take turns, so that each finds values of the others. Large values shrink, and heavy
    /// rounds are there to fill the log.
    fn codec(&self) -> &'static str {
        if self.is_heavy() { "none" } else { ["zstd", "gzip", "none"][(self.counts.rounds % 3) as usize] }
    }

    fn start(&self, mode: Fsync) -> Step<Server> {
        let flags = [
            "serve",
            "--port",
            "0",
            "--resp-port",
            "off",
            "--compress",
            self.codec(),
            "--fsync",
            mode_name(mode),
            "--data-dir",
        ];
        let fixed = flags.map(OsString::from);
        let arguments =
            fixed.into_iter().chain([self.data_dir.clone()]).chain(self.options.server_flags.iter().cloned());
        Server::start(&self.options.program, arguments).map_err(|e| trouble("cannot start the server", &e))
    }

    async fn start_and_verify(&mut self, mode: Fsync) -> Step<(Server, SocketAddr)> {
        let begun = Instant::now();
        let mut server = self.start(mode)?;
        let address = server.address_async().await;
        self.start_took = begun.elapsed();
        self.said = server.output();
        let address = match address {
            Ok(address) => address,
            Err(why) => {
                let ended = tokio::time::timeout(Duration::from_secs(1), server.wait_async()).await;
                let code = ended.ok().and_then(|ended| ended.ok()?.code());
                return Err(self.start_failed(code, why));
            }
        };
        self.counts.longest_restart_ms =
            self.counts.longest_restart_ms.max(self.start_took.as_millis() as u64);
        self.counts.snapshots_loaded += u64::from(self.said.contains("; snapshot "));
        let said_clean = self.said.contains("items after a clean stop");
        if self.clean.is_some_and(|clean| clean != said_clean) {
            let text = format!("the last stop was clean={:?}, the start says otherwise", self.clean);
            return Err(self.server_broken(text));
        }
        self.shared.ending.store(false, SeqCst);
        self.shared.bytes.store(0, SeqCst);
        self.shared.versions.lock().expect("no panic with the versions").age();
        let parts = self.options.clients;
        let readers = (0..parts).map(|n| tokio::spawn(load::read(self.shared.clone(), address, n, parts)));
        self.calls = joined(readers.collect()).await;
        self.counts.verified += self.calls.len() as u64;
        let judged = self.judge(Piece::Start, mode);
        self.said = server.output();
        self.settle(judged)?;
        Ok((server, address))
    }

    /// Ends the server, and judges what its clients were told.
    async fn end_of(
        &mut self,
        mut server: Server,
        end: End,
        mode: Fsync,
        clients: Vec<tokio::task::JoinHandle<Vec<Call>>>,
    ) -> Step {
        self.shared.ending.store(true, SeqCst);
        let ended = end::finish(&mut server, end).await;
        let at = self.shared.clock.now();
        self.calls = joined(clients).await;
        self.said = server.output();
        close_open_calls(&mut self.calls, at);
        let stopped = match ended {
            Ok(stopped) => stopped,
            Err(end::Failed::Status(text)) => return Err(self.server_broken(text)),
            Err(end::Failed::System(e)) => return Err(trouble("cannot end the server", &e)),
        };
        self.clean = match (end, stopped) {
            (_, true) => Some(true),
            // The mark may have been written just before the kill.
            (End::TerminateThenKill(_), false) => None,
            _ => Some(false),
        };
        self.count_end(end, stopped);
        let ending = if stopped { Ending::Stopped } else { Ending::Killed };
        let judged = self.judge(Piece::Load(ending), mode);
        self.settle(judged)
    }

    fn count_end(&mut self, end: End, stopped: bool) {
        let counts = &mut self.counts;
        match (end, stopped) {
            (_, true) => counts.clean_stops += 1,
            (End::TerminateThenKill(_), false) => counts.kills_in_shutdown += 1,
            (End::KillInCheckpoint, false) => {
                counts.kills_under_load += 1;
                counts.kills_in_checkpoint += 1;
            }
            _ => counts.kills_under_load += 1,
        }
        counts.operations += self.calls.len() as u64;
        counts.acknowledged += self.calls.iter().filter(|call| call.is_acknowledged_write()).count() as u64;
        counts.unknown += self.calls.iter().filter(|call| call.outcome == Outcome::Unknown).count() as u64;
    }

    fn judge(&mut self, piece: Piece, mode: Fsync) -> Judged {
        let drift = self.shared.clock.drift();
        self.judge.judge(&self.calls, piece, mode == Fsync::Always, drift)
    }

    fn settle(&mut self, judged: Judged) -> Step {
        self.counts.evicted += judged.evicted;
        let mut broken = judged.broken;
        broken.append(&mut self.shared.broken.lock().expect("no panic with the findings"));
        if !broken.is_empty() {
            return Err(Stop::Broken(broken));
        }
        if let Some(why) = self.shared.trouble.lock().expect("no panic with the trouble").take() {
            let text = format!("the server takes no writes any more, so the test cannot go on: {why}");
            return Err(Stop::Trouble(text));
        }
        if !judged.undecided.is_empty() {
            let text = "a key's history has more possible orders than can be followed; use fewer --clients";
            return Err(Stop::Trouble(text.to_owned()));
        }
        Ok(())
    }

    fn start_failed(&self, code: Option<i32>, why: String) -> Stop {
        if is_for_lack_of_means(code, self.counts.acknowledged, &why) {
            return Stop::Trouble(format!("no promise is broken, but {}", why.trim_end()));
        }
        self.server_broken(why)
    }

    fn server_broken(&self, text: String) -> Stop {
        let finding = Finding { kind: Broken::Server, key: None, text };
        let mut broken = std::mem::take(&mut *self.shared.broken.lock().expect("no panic with the findings"));
        broken.push(finding);
        Stop::Broken(broken)
    }

    /// The last calls to the keys that something was found about.
    fn history_of(&self, broken: &[Finding]) -> String {
        let about = |call: &&Call| broken.iter().any(|finding| finding.key == Some(call.key));
        let mut calls: Vec<_> = self.calls.iter().filter(about).collect();
        calls.sort_by_key(|call| (call.key, call.asked));
        calls.iter().map(|call| format!("{call:?}\n")).collect()
    }
}

/// What had no answer could happen until the server's end. A read without one says
/// nothing.
fn close_open_calls(calls: &mut [Call], end: Moment) {
    for call in calls.iter_mut().filter(|call| call.is_open()) {
        call.answered = end;
    }
}

async fn joined(tasks: Vec<tokio::task::JoinHandle<Vec<Call>>>) -> Vec<Call> {
    let mut calls = Vec::new();
    for task in tasks {
        calls.extend(task.await.expect("no client panics"));
    }
    calls
}

fn trouble(what: &str, error: &std::io::Error) -> Stop {
    Stop::Trouble(format!("{what}: {error}"))
}

fn mode_name(mode: Fsync) -> &'static str {
    mode.as_str()
}
