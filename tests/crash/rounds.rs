//! Rounds of load, kill and restart over one directory.
//!
//! A round: perhaps a few starts that are killed before they serve; a start; every key read and
//! held against what was acknowledged in all rounds before; load; and an end: SIGKILL, or SIGTERM
//! under load, or SIGTERM with SIGKILL soon after. The mode changes with every round.
//!
//! A seed replays the operations and the moments, not the machine's scheduling: a failure may
//! need a few runs to come back. The directory of a failed run is kept.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::{
    client::Client,
    keys::{Key, Rules},
    load::{self, Run},
    process::Process,
    random::Random,
    versions::{KeyId, Versions},
};

const MODES: [&str; 3] = ["always", "interval", "never"];
const CLIENTS: u32 = 3;
/// Loads that are measured in bytes end at the latest after this time.
const LOAD_MAX: Duration = Duration::from_secs(8);

#[test]
fn a_killed_server_has_everything_that_was_acknowledged() {
    let plan = Plan { rounds: 18, keys_per_client: 40, max_items: None };
    let mut history = History::begin("a_killed_server_has_everything_that_was_acknowledged", plan);
    history.run();
    if history.has_default_length() {
        history.waits_for_a_checkpoint();
    }
}

#[test]
fn a_killed_server_that_evicts_never_serves_a_stale_value() {
    let plan = Plan { rounds: 9, keys_per_client: 150, max_items: Some(200) };
    let mut history = History::begin("a_killed_server_that_evicts_never_serves_a_stale_value", plan);
    history.run();
    assert!(history.evictions > 0, "nothing was evicted: this has tested nothing");
}

struct Plan {
    rounds: u64,
    keys_per_client: u32,
    max_items: Option<u64>,
}

/// Everything that happened to one directory.
struct History {
    test: &'static str,
    seed: u64,
    plan: Plan,
    random: Random,
    round: u64,
    /// Kept if the test fails.
    dir: Option<TempDir>,
    /// Of each client.
    keys: Vec<Vec<Key>>,
    versions: Arc<Versions>,
    /// Whether the next start must find a clean stop; `None` if it may.
    clean: Option<bool>,
    /// How long the last start took: a kill during a start comes within that.
    start_took: Duration,
    writes: u64,
    evictions: u64,
    has_snapshot: bool,
}

/// When a load ends.
enum Moment {
    After(Duration),
    /// After so many bytes of acknowledged values, so that the log grows on slow disks too.
    AfterBytes(u64),
}

/// How a load ends.
#[derive(Debug)]
enum End {
    Kill,
    Terminate,
    TerminateThenKill(Duration),
}

impl History {
    fn begin(test: &'static str, plan: Plan) -> History {
        let number = |name| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
        let seed = number("EMBERKEEP_KILL_SEED").unwrap_or_else(fresh_seed);
        let plan = Plan { rounds: number("EMBERKEEP_KILL_ROUNDS").unwrap_or(plan.rounds), ..plan };
        let keys = (0..CLIENTS)
            .map(|client| (0..plan.keys_per_client).map(|n| Key::new(client * 1000 + n)).collect());
        History {
            test,
            seed,
            random: Random::new(seed),
            round: 0,
            dir: Some(tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary directory")),
            keys: keys.collect(),
            versions: Arc::default(),
            clean: None,
            start_took: Duration::from_millis(100),
            writes: 0,
            evictions: 0,
            has_snapshot: false,
            plan,
        }
    }

    fn has_default_length(&self) -> bool {
        std::env::var_os("EMBERKEEP_KILL_ROUNDS").is_none()
    }

    fn run(&mut self) {
        let begun = Instant::now();
        while self.round < self.plan.rounds {
            self.one_round();
            self.round += 1;
        }
        // What the last round has left, after a clean stop and again after that.
        for _ in 0..2 {
            let mut server = self.start_and_verify("always");
            self.stop_cleanly(&mut server);
        }
        assert!(
            self.writes > 0 || self.plan.rounds == 0,
            "no write was acknowledged: this has tested nothing"
        );
        eprintln!(
            "{} rounds, {} acknowledged writes, {} evictions seen, in {:?}, seed={}",
            self.plan.rounds,
            self.writes,
            self.evictions,
            begun.elapsed(),
            self.seed
        );
    }

    fn one_round(&mut self) {
        let mode = MODES[(self.round % 3) as usize];
        if self.random.chance(30) {
            self.kill_some_starts(mode);
        }
        let mut server = self.start_and_verify(mode);
        // Each third round, another mode each time, writes enough that the log rotates in time.
        let heavy = self.plan.max_items.is_none() && self.round % 3 == self.round / 3 % 3;
        let moment = match heavy {
            true => Moment::AfterBytes(self.random.within(66 << 20..76 << 20)),
            false => Moment::After(Duration::from_millis(self.random.within(1..800))),
        };
        let end = match self.random.within(0..10) {
            0 => End::Terminate,
            1..3 => End::TerminateThenKill(Duration::from_millis(self.random.within(0..40))),
            _ => End::Kill,
        };
        let (loading, writes) = (Instant::now(), self.writes);
        self.load(&mut server, mode, if heavy { 512 << 10 } else { 8 << 10 }, &moment, &end);
        eprintln!(
            "round {}, {mode}: served after {:?}, {} writes in {:?}, {end:?}",
            self.round,
            self.start_took,
            self.writes - writes,
            loading.elapsed()
        );
    }

    /// Starts that are killed while they recover, or just when they begin to serve.
    fn kill_some_starts(&mut self, mode: &str) {
        for _ in 0..self.random.within(1..4) {
            let mut server = self.start(mode);
            let latest = self.start_took.as_micros() as u64 * 3 / 2;
            std::thread::sleep(Duration::from_micros(self.random.within(0..latest.max(1))));
            server.kill();
            // It may or may not have come as far as to begin a new term.
            self.clean = self.clean.filter(|clean| !clean);
        }
    }

    fn start(&self, mode: &str) -> Process {
        let max_items = self.plan.max_items.map(|max| max.to_string());
        let mut flags = vec!["--fsync", mode];
        if let Some(max) = &max_items {
            flags.extend(["--max-items", max]);
        }
        Process::serve(&self.data_dir(), &flags)
    }

    fn data_dir(&self) -> PathBuf {
        self.dir.as_ref().expect("only a failure takes it").path().join("data")
    }

    fn start_and_verify(&mut self, mode: &str) -> Process {
        let begun = Instant::now();
        let mut server = self.start(mode);
        let address = server.address();
        let run = match address {
            Ok(address) => self.new_run(address, mode, 0),
            Err(why) => self.fail(&server, &why),
        };
        let took = begun.elapsed();
        let output = server.output();
        let known: Vec<_> = self.keys.iter().map(|keys| present(keys)).collect();
        let verified = std::thread::scope(|scope| {
            let readers: Vec<_> =
                self.keys.iter_mut().map(|keys| scope.spawn(|| load::verify(&run, keys))).collect();
            readers.into_iter().try_for_each(|reader| reader.join().expect("no panic"))
        });
        if let Err(why) = verified {
            self.fail(&server, &why);
        }
        if self.plan.max_items.is_some() {
            let left: u64 = self.keys.iter().map(|keys| present(keys)).sum();
            self.evictions += known.iter().sum::<u64>().saturating_sub(left);
        }
        let said = output.contains("items after a clean stop");
        if self.clean.is_some_and(|clean| clean != said) {
            self.fail(
                &server,
                &format!("the last stop was clean={:?}, the start says otherwise", self.clean),
            );
        }
        self.has_snapshot |= output.contains("; snapshot ");
        self.start_took = took;
        server
    }

    fn new_run(&self, address: std::net::SocketAddr, mode: &str, value_len_max: u64) -> Run {
        Run {
            address,
            rules: Rules { evicts: self.plan.max_items.is_some(), gated: mode == "always" },
            value_len_max,
            versions: self.versions.clone(),
            ending: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            bytes: AtomicU64::new(0),
            writes: AtomicU64::new(0),
        }
    }

    /// Loads the server and ends it.
    fn load(&mut self, server: &mut Process, mode: &str, value_len_max: u64, moment: &Moment, end: &End) {
        let address = server.address().expect("it serves");
        let targets: Vec<(KeyId, String)> =
            self.keys.iter().flatten().map(|key| (key.id, key.target.clone())).collect();
        let saves = self.random.chance(30);
        let parts: Vec<Random> = (0..=u64::from(CLIENTS)).map(|n| self.random.part(n)).collect();
        let mut parts = parts.into_iter();
        let mut keys = std::mem::take(&mut self.keys);
        let run = self.new_run(address, mode, value_len_max);
        let (results, seen, ended) = std::thread::scope(|scope| {
            let run = &run;
            let witness_random = parts.next().expect("one more than clients");
            let witness = scope.spawn(|| load::witness(run, &targets, witness_random));
            let clients: Vec<_> = keys
                .iter_mut()
                .zip(parts)
                .map(|(keys, random)| scope.spawn(move || load::client(run, keys, random)))
                .collect();
            if saves {
                scope.spawn(|| save(run));
            }
            wait(run, moment);
            run.ending.store(true, Ordering::SeqCst);
            let ended = finish(server, end);
            let results: Vec<_> =
                clients.into_iter().map(|client| client.join().expect("no panic")).collect();
            (results, witness.join().expect("no panic"), ended)
        });
        self.writes += run.writes.load(Ordering::SeqCst);
        self.keys = keys;
        let seen = match (results.into_iter().collect::<Result<(), _>>(), seen, ended) {
            (Ok(()), Ok(seen), Ok(clean)) => {
                self.clean = clean;
                seen
            }
            (Err(why), ..) | (_, Err(why), _) | (.., Err(why)) => self.fail(server, &why),
        };
        for key in self.keys.iter_mut().flatten() {
            key.killed();
            if let (Some(version), "always") = (seen.get(&key.id), mode) {
                key.observed(*version);
            }
        }
    }

    fn stop_cleanly(&mut self, server: &mut Process) {
        server.signal("TERM");
        let status = server.wait();
        if !status.success() {
            self.fail(server, &format!("a clean stop ended with {status}"));
        }
        self.clean = Some(true);
    }

    /// The log of all rounds is longer than what makes a checkpoint due, so there must be one.
    fn waits_for_a_checkpoint(&mut self) {
        let give_up = Instant::now() + Duration::from_secs(30);
        while !self.has_snapshot {
            assert!(Instant::now() < give_up, "no checkpoint in all rounds, seed={}", self.seed);
            let mut server = self.start_and_verify("always");
            std::thread::sleep(Duration::from_millis(500));
            self.stop_cleanly(&mut server);
        }
    }

    fn fail(&mut self, server: &Process, why: &str) -> ! {
        let dir = self.dir.take().expect("it fails once").keep();
        panic!(
            "{why}\n\nround {} of seed {}; again: EMBERKEEP_KILL_SEED={} EMBERKEEP_KILL_ROUNDS={} cargo test --test \
             main {} -- --nocapture\nthe directory is kept: {}\nthe server said:\n{}",
            self.round,
            self.seed,
            self.seed,
            self.round + 1,
            self.test,
            dir.display(),
            server.output()
        );
    }
}

fn present(keys: &[Key]) -> u64 {
    keys.iter().filter(|key| key.is_present_for_good()).count() as u64
}

/// Sleeps until the moment has come, or something has gone wrong.
fn wait(run: &Run, moment: &Moment) {
    let begun = Instant::now();
    let has_come = || match moment {
        Moment::After(span) => begun.elapsed() >= *span,
        Moment::AfterBytes(bytes) => {
            run.bytes.load(Ordering::SeqCst) >= *bytes || begun.elapsed() >= LOAD_MAX
        }
    };
    while !has_come() && !run.failed.load(Ordering::SeqCst) {
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// Ends the server; whether that was a clean stop, where that is known.
fn finish(server: &mut Process, end: &End) -> Result<Option<bool>, String> {
    match end {
        End::Kill => {
            server.kill();
            Ok(Some(false))
        }
        End::Terminate => {
            server.signal("TERM");
            let status = server.wait();
            if status.success() {
                Ok(Some(true))
            } else {
                Err(format!("a stop under load ended with {status}"))
            }
        }
        End::TerminateThenKill(delay) => {
            server.signal("TERM");
            std::thread::sleep(*delay);
            // The mark may have been written just before the kill.
            Ok(server.kill().success().then_some(true))
        }
    }
}

/// An export beside the load. The end may cut it off.
fn save(run: &Run) {
    let Ok(mut client) = Client::connect(run.address) else { return };
    if let Ok(reply) = client.request("POST", "/save?file=beside.hfs", &[], b"") {
        assert!(reply.status == 200 || run.ending.load(Ordering::SeqCst), "save: {}", reply.status);
    }
}

fn fresh_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0)
}
