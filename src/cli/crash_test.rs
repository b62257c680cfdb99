//! `crash-test`: translates flags to a run of [`crash_test`](crate::tool::crash_test) over this
//! very binary, and its verdict to words, JSON and an exit code: 0 all held, 6 a promise broken.

use std::{
    ffi::OsString,
    io::{self, IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Args as ClapArgs;
use tokio::signal::unix::{SignalKind, signal};

use super::{
    args::{EvictionFlag, FsyncFlag, Limit, LimitFlags, by_flag},
    crash_explore,
    exit::Failed,
};
use crate::{
    config::{ServerSettings, units},
    node::{
        Fsync,
        error::{Code, Error, Result},
        policy_name,
    },
    tool::crash_test::{self, CLIENTS_MAX, Counts, Options, Verdict},
};

const SCRATCH_DIR: &str = "./emberkeep-crash-test";
const ROUNDS: u64 = 20;
const LOAD_MAX: Duration = Duration::from_millis(500);
/// Every fifth round writes some 70 MiB: enough for a snapshot in twenty rounds.
const HEAVY_EVERY: u64 = 5;
/// The largest entry of a heavy round, with room for what surrounds it.
const ENTRY_BYTES_MAX: u64 = 1 << 20;
const BROKEN: u8 = 6;

pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0 every promise held (or every planted bug was found)
  2 wrong usage or settings
  5 nothing can be told: interrupted, the scratch directory is foreign or not accessible, or no room
  6 a promise was broken; what tells of it is kept in the scratch directory
It needs room for a server with its defaults: 256 MiB to begin with.
";

pub(super) const ABOUT: &str = "\
Starts this server over a scratch directory, lets clients work on the same few keys at once, kills it with SIGKILL \
(under load, while a snapshot is written, while it starts, while it stops), starts it again, and holds every answer \
against every acknowledgement: nothing acknowledged may be missing, nothing deleted or expired may be back, and all \
answers about a key must fit one order.

SIGKILL ends the process, not the machine: what the system holds in memory survives. This shows that no acknowledged \
write waits inside the process and that recovery is right on this disk; it says nothing about a power cut.";

/// The flags of `crash-test`.
#[derive(Debug, ClapArgs)]
pub(super) struct CrashTestFlags {
    /// Rounds of start, load and kill [default: 20, or any number with --seconds]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    rounds: Option<u64>,
    /// Begin no round after so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    seconds: Option<u64>,
    /// Where the scratch data goes: a directory that is empty, missing, or of an earlier crash test
    #[arg(long, value_name = "DIR", default_value = SCRATCH_DIR)]
    data_dir: PathBuf,
    /// When a write is acknowledged
    #[arg(long, value_enum, default_value = "always")]
    fsync: FsyncFlag,
    /// Time between syncs with --fsync interval, such as 100ms [default: 100ms]
    #[arg(long, value_name = "SPAN", value_parser = units::parse_span)]
    fsync_interval: Option<Duration>,
    /// Connections that work at once
    #[arg(long, value_name = "COUNT", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=i64::from(CLIENTS_MAX)))]
    clients: u32,
    /// Keys that they share
    #[arg(long, value_name = "COUNT", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    keys: u32,
    /// Repeats a run: the operations and the moments, not the machine's scheduling
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    #[command(flatten)]
    limits: LimitFlags,
    /// Only check the checker: plant known bugs between the engine and a simulated disk, and see
    /// that each is found
    #[arg(long, conflicts_with_all = ["rounds", "seconds"])]
    self_check: bool,
    /// Print the verdict as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(flags: CrashTestFlags) -> Result<ExitCode, Failed> {
    let json = flags.json;
    if flags.self_check {
        return crash_explore::self_check(json);
    }
    flags.validate().map_err(Failed::usage)?;
    let options = flags.into_options()?;
    let bar = Bar::new(&options);
    let verdict = crash_test::run(options, &mut |counts| bar.show(counts), interrupted());
    bar.end();
    let verdict = verdict?;
    print(&verdict, json)?;
    Ok(if verdict.held { ExitCode::SUCCESS } else { ExitCode::from(BROKEN) })
}

impl CrashTestFlags {
    /// What the server would refuse is told before anything is started.
    fn validate(&self) -> Result<()> {
        let mut settings = ServerSettings::default();
        let engine = &mut settings.engine;
        engine.fsync_interval = self.fsync_interval.unwrap_or(engine.fsync_interval);
        if let Some(limit) = self.limits.max_memory {
            engine.max_bytes = limit.bytes()?;
        }
        engine.max_items = self.limits.max_items.map_or(engine.max_items, |limit| limit.0);
        settings.validate().map_err(by_flag)
    }

    fn into_options(self) -> Result<Options> {
        let program = std::env::current_exe()
            .map_err(|e| Error::new(Code::Io, format!("cannot find this program's own file: {e}")))?;
        let (server_flags, evicts) = (self.server_flags(), self.evicts());
        Ok(Options {
            program,
            server_flags,
            modes: vec![Fsync::from(self.fsync)],
            evicts,
            rounds: self.rounds.unwrap_or(if self.seconds.is_some() { u64::MAX } else { ROUNDS }),
            stop_after: self.seconds.map(Duration::from_secs),
            clients: self.clients,
            keys: self.keys,
            load_max: LOAD_MAX,
            heavy_every: HEAVY_EVERY,
            seed: self.seed.unwrap_or_else(crash_test::fresh_seed),
            scratch: self.data_dir,
        })
    }

    /// As the server takes them.
    fn server_flags(&self) -> Vec<OsString> {
        let limit = |limit: Limit| limit.0.map_or("none".to_owned(), |limit| limit.to_string());
        let eviction = |flag: EvictionFlag| policy_name(flag.into()).to_owned();
        let given = [
            ("--fsync-interval", self.fsync_interval.map(|span| format!("{}ms", span.as_millis()))),
            ("--max-memory", self.max_bytes().map(limit)),
            ("--max-items", self.limits.max_items.map(limit)),
            ("--eviction", self.limits.eviction.map(eviction)),
        ];
        given
            .into_iter()
            .filter_map(|(name, value)| Some([OsString::from(name), OsString::from(value?)]))
            .flatten()
            .collect()
    }

    /// The limit of memory, if one was given; validated before.
    fn max_bytes(&self) -> Option<Limit> {
        self.limits.max_memory.and_then(|limit| limit.bytes().ok()).map(Limit)
    }

    /// Whether the keys of the test may be too much for the limits.
    fn evicts(&self) -> bool {
        let keys = u64::from(self.keys);
        let below = |limit: Option<Limit>, need: u64| limit.and_then(|l| l.0).is_some_and(|max| max < need);
        let memory = Some(self.max_bytes().unwrap_or(Limit(Some(1 << 30))));
        below(self.limits.max_items, keys) || below(memory, keys * ENTRY_BYTES_MAX)
    }
}

/// The verdict on stdout. That nobody reads it does not change it.
fn print(verdict: &Verdict, json: bool) -> Result<()> {
    let text = match json {
        true => {
            let text = serde_json::to_string_pretty(verdict);
            text.map_err(|e| Error::new(Code::Io, format!("cannot write JSON: {e}")))? + "\n"
        }
        false => verdict.text(),
    };
    io::stdout().write_all(text.as_bytes()).ok();
    Ok(())
}

/// Ends when the user wants it to, so that no server is left behind.
async fn interrupted() {
    let signals = signal(SignalKind::terminate()).and_then(|t| Ok((t, signal(SignalKind::interrupt())?)));
    match signals {
        Ok((mut terminate, mut interrupt)) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        }
        // Then a signal ends this process at once.
        Err(_) => std::future::pending().await,
    }
}

/// Progress on stderr, where that is a terminal.
struct Bar {
    rounds: u64,
    most: Option<Duration>,
    begun: Instant,
    shown: bool,
}

impl Bar {
    #[expect(clippy::disallowed_methods, reason = "time for people, on no path of the engine")]
    fn new(options: &Options) -> Bar {
        let shown = io::stderr().is_terminal();
        Bar { rounds: options.rounds, most: options.stop_after, begun: Instant::now(), shown }
    }

    fn show(&self, counts: &Counts) {
        if self.shown {
            eprint!("\r{}", self.text(counts, self.begun.elapsed()));
        }
    }

    fn text(&self, counts: &Counts, elapsed: Duration) -> String {
        let of_rounds = counts.rounds as f64 / self.rounds as f64;
        let of_time = self.most.map_or(0.0, |most| elapsed.as_secs_f64() / most.as_secs_f64());
        let full = (of_rounds.max(of_time).min(1.0) * 24.0) as usize;
        let (bar, rest) = ("#".repeat(full), ".".repeat(24 - full));
        let Counts { rounds, acknowledged, .. } = counts;
        format!("[{bar}{rest}] {rounds} rounds, {acknowledged} writes acknowledged, {} s ", elapsed.as_secs())
    }

    fn end(&self) {
        if self.shown {
            eprintln!();
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::{
        super::args::{Args, Command},
        *,
    };

    fn flags(argv: &[&str]) -> CrashTestFlags {
        let argv = ["emberkeep", "crash-test"].into_iter().chain(argv.iter().copied());
        match Args::try_parse_from(argv).unwrap().command {
            Some(Command::CrashTest(flags)) => flags,
            _ => panic!("another command"),
        }
    }

    #[test]
    fn every_flag_reaches_the_run() {
        let given = flags(&[
            "--rounds=7",
            "--seconds=9",
            "--data-dir=/d",
            "--fsync=never",
            "--clients=3",
            "--keys=5",
            "--seed=42",
            "--max-memory=64MiB",
            "--max-items=none",
            "--eviction=lru",
            "--fsync-interval=50ms",
        ]);
        let options = given.into_options().unwrap();
        assert_eq!((options.rounds, options.clients, options.keys, options.seed), (7, 3, 5, 42));
        assert_eq!(options.stop_after, Some(Duration::from_secs(9)));
        assert_eq!((options.scratch, options.modes), ("/d".into(), vec![Fsync::Never]));
        let expected = [
            "--fsync-interval",
            "50ms",
            "--max-memory",
            "67108864",
            "--max-items",
            "none",
            "--eviction",
            "lru",
        ];
        assert_eq!(options.server_flags, expected);
        assert!(!options.evicts);
    }

    #[test]
    fn limits_below_the_keys_mean_that_the_cache_may_evict() {
        for (argv, evicts) in [
            (&["--max-items=31"][..], true),
            (&["--max-items=32"], false),
            (&["--max-memory=1MiB"], true),
            (&["--max-memory=none"], false),
            (&["--keys=5000"], true),
            (&[], false),
        ] {
            assert_eq!(flags(argv).evicts(), evicts, "{argv:?}");
        }
    }

    #[test]
    fn rounds_have_a_default_unless_time_is_given() {
        let rounds = |argv| flags(argv).into_options().unwrap().rounds;
        assert_eq!(rounds(&[]), 20);
        assert_eq!(rounds(&["--seconds=60"]), u64::MAX);
        assert_eq!(rounds(&["--seconds=60", "--rounds=3"]), 3);
    }

    #[test]
    fn the_bar_fills_up_by_rounds_or_by_time() {
        let options = flags(&["--rounds=4", "--seconds=60"]).into_options().unwrap();
        let bar = Bar::new(&options);
        let shown =
            |rounds, seconds| bar.text(&Counts { rounds, ..Counts::default() }, Duration::from_secs(seconds));
        assert!(shown(0, 0).starts_with("[........................] 0 rounds"));
        assert!(shown(2, 3).starts_with("[############............] 2 rounds"));
        assert!(shown(1, 45).starts_with("[##################......] 1 rounds"));
        assert!(shown(4, 99).starts_with("[########################] 4 rounds"));
    }
}
