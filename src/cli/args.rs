//! Flags, and how they become settings. Serving is the default command.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

use super::{
    bench, crash_explore,
    crash_test::{self, ABOUT, CrashTestFlags},
    import::{self, ImportFlags},
    tool,
};
use crate::{
    config::{RespSettings, ServerSettings, memory::MemoryLimit, units},
    name,
    node::{
        Codec, Eviction, Fsync, Settings,
        error::{Error, Result},
    },
};

const EXAMPLES: &str = "\
Examples:
  emberkeep                                   serve on 127.0.0.1:8080, data in ./emberkeep-data
  emberkeep --port 9000 --data-dir /var/lib/emberkeep --max-memory 4GiB
  emberkeep --fsync interval --fsync-interval 50ms
  curl -T photo.jpg -H 'Content-Type: image/jpeg' 'localhost:8080/v1/keys/img/1?ttl=1h'
  curl -O localhost:8080/v1/keys/img/1
";

const EXIT_CODES: &str = "\
Exit codes:
  0 stopped cleanly   2 wrong usage or settings   3 cannot listen, cannot connect
  5 refused: data directory in use, foreign, full or not accessible
  6 damaged data found, or a promise broken in a crash test
  7 the log stopped because the disk failed: the outcome of writes without an answer is unknown
The tools (wal, snapshot, inspect, import) list theirs with --help.
";

/// The engine takes less, but then a segment may be too small for what a write may have to log
/// beside itself with the longest keys that the server takes.
const SEGMENT_LEN_MIN: u64 = 64 << 10;
/// As the engine has it.
const SEGMENT_LEN_MAX: u64 = 1 << 30;

/// A cache that you can kill -9 and trust.
#[derive(Debug, Parser)]
#[command(name = name::PRODUCT, version, about, before_help = EXAMPLES, after_help = EXIT_CODES)]
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
pub(super) struct Args {
    #[command(subcommand)]
    pub(super) command: Option<Command>,
    #[command(flatten)]
    pub(super) serve: ServeFlags,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Serve the cache over HTTP (the default).
    Serve(ServeFlags),
    /// Look at the log of a data directory, check it, repair it.
    Wal(tool::WalFlags),
    /// Look at the snapshots of a data directory, check them.
    Snapshot(tool::SnapshotFlags),
    /// Tell what a file is and whether it is whole.
    Inspect(tool::InspectFlags),
    /// Copy the strings of a Redis-compatible server into a running emberkeep.
    #[command(long_about = import::ABOUT, after_help = import::EXIT_CODES)]
    Import(ImportFlags),
    /// Kill a server on this disk again and again, and check every acknowledgement.
    #[command(long_about = ABOUT, after_help = crash_test::EXIT_CODES)]
    CrashTest(CrashTestFlags),
    /// Cut the power of simulated disks after every operation, and check what is recovered.
    #[command(long_about = crash_explore::ABOUT)]
    CrashExplore(crash_explore::CrashExploreFlags),
    /// Ask a server over HTTP or RESP as fast as it answers, or at a rate, and tell how long it took.
    #[command(long_about = bench::ABOUT, after_help = bench::AFTER)]
    Bench(bench::BenchFlags),
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum FsyncFlag {
    /// Acknowledge after the disk has it.
    Always,
    /// Acknowledge after the system has it, sync every --fsync-interval.
    Interval,
    /// Acknowledge after the system has it, let it decide when to sync.
    Never,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum EvictionFlag {
    /// S3-FIFO.
    #[value(name = "s3fifo")]
    S3Fifo,
    /// Least recently used.
    Lru,
    /// Least frequently used, with ageing.
    Lfu,
    /// Earliest deadline first.
    Ttl,
    /// Anybody.
    Random,
    /// SIEVE.
    Sieve,
    /// W-TinyLFU.
    #[value(name = "wtinylfu")]
    WTinyLfu,
    /// Oldest first.
    Fifo,
    /// Nobody: a write that needs room is refused.
    #[value(name = "noeviction")]
    NoEviction,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum CompressFlag {
    /// Zstandard, fast.
    Zstd,
    /// gzip, which every client understands.
    Gzip,
    /// Values are stored as they come.
    None,
}

/// The flags of `serve`.
#[derive(Debug, ClapArgs)]
pub(super) struct ServeFlags {
    /// Port to listen on, `8080` or `:8080`; 0 lets the system choose [default: 8080]
    #[arg(long, value_parser = parse_port)]
    port: Option<u16>,
    /// Port of the Redis protocol, on the same address; 0 lets the system choose, off for none. If it
    /// is not given and the default is taken, the server starts without it [default: 6379]
    #[arg(long, value_name = "PORT", value_parser = parse_resp_port)]
    resp_port: Option<RespPort>,
    /// Address to listen on [default: 127.0.0.1]
    #[arg(long, value_name = "ADDRESS")]
    bind: Option<IpAddr>,
    /// Allow an address that other machines reach, although nobody is asked for a key
    #[arg(long)]
    insecure_no_auth: bool,
    /// Where the data lives [default: ./emberkeep-data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// When a write is acknowledged [default: always]
    #[arg(long, value_enum)]
    fsync: Option<FsyncFlag>,
    /// Keep nothing on the disk: no log, no snapshots, nothing survives the process
    #[arg(long, conflicts_with_all = ["fsync", "fsync_interval", "data_dir", "segment_size", "checkpoint_size", "max_replay", "checkpoint_rate"])]
    memory_only: bool,
    /// Time between syncs with --fsync interval, such as 100ms [default: 100ms]
    #[arg(long, value_name = "SPAN", value_parser = units::parse_span)]
    fsync_interval: Option<Duration>,
    /// How long reads go on after the disk has failed, before the process ends with 7; 0 for not
    /// at all, none for until it is told to stop [default: 5s]
    #[arg(long, value_name = "SPAN", value_parser = parse_grace)]
    halt_grace: Option<Grace>,
    /// Size of a log file; four are allocated from the start [default: 64MiB]
    #[arg(long, value_name = "SIZE", value_parser = parse_segment)]
    segment_size: Option<u64>,
    /// A snapshot is taken after this much log, never less than a log file [default: 256MiB]
    #[arg(long, value_name = "SIZE", value_parser = units::parse_bytes)]
    checkpoint_size: Option<u64>,
    /// A snapshot is taken after this much log at the latest, however large the data is: bounds
    /// the time of a restart [default: 2GiB]
    #[arg(long, value_name = "SIZE", value_parser = units::parse_bytes)]
    max_replay: Option<u64>,
    /// What a snapshot may write in a second [default: 64MiB]
    #[arg(long, value_name = "SIZE", value_parser = units::parse_bytes)]
    checkpoint_rate: Option<u64>,
    #[command(flatten)]
    limits: LimitFlags,
    #[command(flatten)]
    compression: CompressionFlags,
}

// How values are stored.
#[derive(Debug, ClapArgs)]
struct CompressionFlags {
    /// How values are compressed from now on; what is stored can be read anyway [default: zstd]
    #[arg(long, value_enum)]
    compress: Option<CompressFlag>,
    /// How hard: zstd 1 to 19, gzip 1 to 9 [default: 1 for zstd, 6 for gzip]
    #[arg(long, value_name = "LEVEL")]
    compress_level: Option<u32>,
    /// Values of fewer bytes are not compressed [default: 1KiB]
    #[arg(long, value_name = "SIZE", value_parser = units::parse_bytes)]
    compress_threshold: Option<u64>,
}

// How much the cache holds, and who leaves. (A doc comment would become the text of the command.)
#[derive(Debug, ClapArgs)]
pub(super) struct LimitFlags {
    /// Memory for entries, such as 4GiB; a share of what this process may use, such as 60% (of its
    /// cgroup's limit or of the machine); or none [default: 1GiB]
    #[arg(long, value_name = "SIZE", value_parser = MemoryLimit::parse)]
    pub(super) max_memory: Option<MemoryLimit>,
    /// Number of entries, or none [default: none]
    #[arg(long, visible_alias = "capacity", value_name = "COUNT", allow_negative_numbers = true, value_parser = parse_count)]
    pub(super) max_items: Option<Limit>,
    /// Who leaves when the cache is full [default: s3fifo]
    #[arg(long, value_enum)]
    pub(super) eviction: Option<EvictionFlag>,
}

/// A port or off.
#[derive(Clone, Copy, Debug)]
struct RespPort(Option<u16>);

/// A span or none.
#[derive(Clone, Copy, Debug)]
struct Grace(Option<Duration>);

/// A number or none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit(pub(super) Option<u64>);

impl ServeFlags {
    /// The defaults, overridden by what was given, and validated.
    pub(super) fn into_settings(self) -> Result<ServerSettings> {
        let mut settings = ServerSettings::default();
        let bind = self.bind.unwrap_or(settings.listen.ip());
        settings.listen = SocketAddr::new(bind, self.port.unwrap_or(settings.listen.port()));
        settings.insecure_no_auth = self.insecure_no_auth;
        if let Some(RespPort(port)) = self.resp_port {
            let resp = |port| RespSettings { port, required: true, ..RespSettings::default() };
            settings.resp = port.map(resp);
        }
        replace(&mut settings.halt_grace, self.halt_grace.map(|grace| grace.0));
        settings.memory_percent = self.limits.max_memory.and_then(MemoryLimit::percent);
        let engine = &mut settings.engine;
        replace(&mut engine.data_dir, self.data_dir);
        replace(&mut engine.fsync, self.fsync.map(Fsync::from));
        if self.memory_only {
            engine.fsync = Fsync::Off;
        }
        replace(&mut engine.fsync_interval, self.fsync_interval);
        replace(&mut engine.max_bytes, self.limits.max_memory.map(MemoryLimit::bytes).transpose()?);
        replace(&mut engine.max_items, self.limits.max_items.map(|limit| limit.0));
        replace(&mut engine.segment_bytes, self.segment_size);
        // A snapshot is due after so many bytes of log, at least one segment.
        let usual = engine.checkpoint_bytes.max(engine.segment_bytes);
        engine.checkpoint_bytes = self.checkpoint_size.unwrap_or(usual);
        let usual = engine.max_replay_bytes.max(engine.checkpoint_bytes);
        engine.max_replay_bytes = self.max_replay.unwrap_or(usual);
        replace(&mut engine.checkpoint_bytes_per_sec, self.checkpoint_rate);
        replace(&mut engine.eviction, self.limits.eviction.map(Eviction::from));
        self.compression.apply(engine);
        settings.validate().map_err(by_flag)?;
        Ok(settings)
    }
}

impl CompressionFlags {
    fn apply(self, engine: &mut Settings) {
        replace(&mut engine.compress, self.compress.map(CompressFlag::codec));
        replace(&mut engine.compress_level, self.compress_level.map(Some));
        let threshold = self.compress_threshold.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        replace(&mut engine.compress_threshold, threshold);
    }
}

impl CompressFlag {
    fn codec(self) -> Option<Codec> {
        match self {
            CompressFlag::Zstd => Some(Codec::Zstd),
            CompressFlag::Gzip => Some(Codec::Gzip),
            CompressFlag::None => None,
        }
    }
}

impl From<FsyncFlag> for Fsync {
    fn from(flag: FsyncFlag) -> Self {
        match flag {
            FsyncFlag::Always => Fsync::Always,
            FsyncFlag::Interval => Fsync::Interval,
            FsyncFlag::Never => Fsync::Never,
        }
    }
}

impl From<EvictionFlag> for Eviction {
    fn from(flag: EvictionFlag) -> Self {
        match flag {
            EvictionFlag::S3Fifo => Eviction::S3Fifo,
            EvictionFlag::Lru => Eviction::Lru,
            EvictionFlag::Lfu => Eviction::Lfu,
            EvictionFlag::Ttl => Eviction::Ttl,
            EvictionFlag::Random => Eviction::Random,
            EvictionFlag::Sieve => Eviction::Sieve,
            EvictionFlag::WTinyLfu => Eviction::WTinyLfu,
            EvictionFlag::Fifo => Eviction::Fifo,
            EvictionFlag::NoEviction => Eviction::NoEviction,
        }
    }
}

/// The same error in the words of the command line: a setting by the name of its flag.
pub(super) fn by_flag(error: Error) -> Error {
    let flags = [
        ("fsync_interval_ms ", "--fsync-interval in milliseconds "),
        ("max_bytes ", "--max-memory in bytes "),
        ("max_items ", "--max-items "),
        ("compress_level ", "--compress-level "),
        ("compress_threshold ", "--compress-threshold in bytes "),
        ("segment_bytes ", "--segment-size in bytes "),
        ("checkpoint_bytes ", "--checkpoint-size, never less than --segment-size, in bytes "),
        ("max_replay_bytes ", "--max-replay, never less than --segment-size, in bytes "),
        ("checkpoint_bytes_per_sec ", "--checkpoint-rate in bytes "),
    ];
    let told = flags.iter().find_map(|(field, flag)| {
        let rest = error.detail().strip_prefix(field)?;
        Some(Error::invalid(format!("{flag}{rest}")))
    });
    told.unwrap_or(error)
}

fn replace<T>(place: &mut T, given: Option<T>) {
    if let Some(value) = given {
        *place = value;
    }
}

fn parse_port(text: &str) -> Result<u16> {
    let digits = text.strip_prefix(':').unwrap_or(text);
    digits.parse().map_err(|_| Error::invalid("a port is a number from 0 to 65535, as 8080 or :8080"))
}

fn parse_resp_port(text: &str) -> Result<RespPort> {
    if text == "off" { Ok(RespPort(None)) } else { parse_port(text).map(|port| RespPort(Some(port))) }
}

fn parse_grace(text: &str) -> Result<Grace> {
    match text {
        "none" => Ok(Grace(None)),
        // A span is longer than nothing everywhere else.
        "0" | "0s" | "0ms" => Ok(Grace(Some(Duration::ZERO))),
        _ => match units::parse_span(text) {
            Ok(span) => Ok(Grace(Some(span))),
            Err(e) => Err(Error::invalid(format!("none, 0, or {}", e.detail()))),
        },
    }
}

fn parse_segment(text: &str) -> Result<u64> {
    match units::parse_bytes(text)? {
        bytes @ SEGMENT_LEN_MIN..=SEGMENT_LEN_MAX => Ok(bytes),
        _ => Err(Error::invalid("a log file has at least 64KiB and at most 1GiB")),
    }
}

fn parse_count(text: &str) -> Result<Limit> {
    match (text, text.parse()) {
        ("none", _) => Ok(Limit(None)),
        (_, Ok(count)) => Ok(Limit(Some(count))),
        _ => Err(Error::invalid("a count is a whole number above zero, or none")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(argv: &[&str]) -> Result<ServerSettings> {
        let argv = std::iter::once("emberkeep").chain(argv.iter().copied()).map(Into::into);
        let args = Args::try_parse_from(super::super::argv::normalised(argv))
            .map_err(|e| Error::invalid(e.to_string()))?;
        match args.command {
            Some(Command::Serve(flags)) => flags.into_settings(),
            None => args.serve.into_settings(),
            Some(other) => panic!("no flags of `serve`: {other:?}"),
        }
    }

    #[test]
    fn no_flags_mean_the_defaults() {
        assert_eq!(settings(&[]).unwrap(), ServerSettings::default());
        assert_eq!(settings(&["serve"]).unwrap(), ServerSettings::default());
    }

    #[test]
    fn every_flag_reaches_its_setting() {
        let given = settings(&[
            "-port",
            ":9000",
            "--data-dir",
            "/d",
            "--fsync",
            "interval",
            "--fsync-interval",
            "50ms",
            "--halt-grace",
            "1m",
            "--segment-size",
            "1MiB",
            "--checkpoint-size",
            "8MiB",
            "--max-replay",
            "32MiB",
            "--checkpoint-rate",
            "16MiB",
            "--max-memory",
            "64MiB",
            "-capacity",
            "100",
            "--eviction",
            "lru",
            "--compress",
            "gzip",
            "--compress-level",
            "9",
            "--compress-threshold",
            "4KiB",
        ])
        .unwrap();
        assert_eq!(given.listen.to_string(), "127.0.0.1:9000");
        let engine = given.engine;
        assert_eq!(
            (engine.data_dir, engine.fsync, engine.eviction),
            ("/d".into(), Fsync::Interval, Eviction::Lru)
        );
        assert_eq!(engine.fsync_interval, Duration::from_millis(50));
        assert_eq!((engine.max_bytes, engine.max_items), (Some(64 << 20), Some(100)));
        assert_eq!((engine.segment_bytes, engine.checkpoint_bytes), (1 << 20, 8 << 20));
        let compression = (engine.compress, engine.compress_level, engine.compress_threshold);
        assert_eq!(compression, (Some(Codec::Gzip), Some(9), 4096));
        assert_eq!(settings(&["--compress", "none"]).unwrap().engine.compress, None);
        assert_eq!((engine.max_replay_bytes, engine.checkpoint_bytes_per_sec), (32 << 20, 16 << 20));
        let raised = settings(&["--checkpoint-size", "8GiB"]).unwrap().engine;
        assert_eq!(raised.max_replay_bytes, 8 << 30);
        let raised = settings(&["--segment-size", "512MiB"]).unwrap().engine;
        assert_eq!((raised.segment_bytes, raised.checkpoint_bytes), (512 << 20, 512 << 20));
        assert_eq!(given.halt_grace, Some(Duration::from_secs(60)));
        assert_eq!(settings(&["--halt-grace", "0"]).unwrap().halt_grace, Some(Duration::ZERO));
        assert_eq!(settings(&["--halt-grace", "none"]).unwrap().halt_grace, None);
        assert_eq!(settings(&["serve", "--max-memory", "none"]).unwrap().engine.max_bytes, None);
        let share = settings(&["--max-memory", "50%"]).unwrap();
        let half = MemoryLimit::Percent(50).bytes().unwrap();
        assert_eq!((share.memory_percent, share.engine.max_bytes), (Some(50), half));
    }

    #[test]
    fn a_wrong_value_is_refused_and_says_what_is_right() {
        let table: [(&[&str], &str); 28] = [
            (&["--port", "70000"], "65535"),
            (&["--port", "x"], "65535"),
            (&["--fsync", "sometimes"], "always, interval, never"),
            (&["--fsync-interval", "2h"], "from 1 to 60000"),
            (&["--fsync-interval", "2h"], "--fsync-interval"),
            (&["--halt-grace", "forever"], "100ms"),
            (&["--halt-grace", "forever"], "none"),
            (&["--segment-size", "32KiB"], "at least 64KiB"),
            (&["--segment-size", "2GiB"], "at most 1GiB"),
            (&["--checkpoint-size", "1MiB"], "at least 67108864"),
            (&["--checkpoint-size", "1MiB"], "--checkpoint-size"),
            (&["--max-replay", "1MiB"], "at least 67108864"),
            (&["--max-replay", "1MiB"], "--max-replay"),
            (&["--checkpoint-rate", "1KiB"], "at least 1048576"),
            (&["--checkpoint-rate", "1KiB"], "--checkpoint-rate"),
            (&["--max-memory", "1KiB"], "at least 65536"),
            (&["--max-memory", "1KiB"], "--max-memory"),
            (&["--max-memory", "0%"], "from 1% to 95%"),
            (&["--max-memory", "120%"], "from 1% to 95%"),
            (&["--max-memory", "lots"], "such as 60%"),
            (&["--max-items", "0"], "--max-items"),
            (&["--compress", "lz4"], "zstd, gzip, none"),
            (&["--compress-level", "20"], "--compress-level of zstd must be from 1 to 19"),
            (
                &["--compress", "gzip", "--compress-level", "10"],
                "--compress-level of gzip must be from 1 to 9",
            ),
            (&["--compress-level", "0"], "from 1 to 19"),
            (&["--compress-threshold", "10"], "--compress-threshold in bytes must be from 64"),
            (&["--bind", "0.0.0.0"], "--insecure-no-auth"),
            (&["--prot", "1"], "--port"),
        ];
        for (argv, right) in table {
            let error = settings(argv).unwrap_err();
            assert!(error.detail().contains(right), "{argv:?}: {error}");
        }
    }
}
