//! `bench`: translates flags to a run of [`bench`](crate::tool::bench), and what it measured to
//! words, JSON, a picture and an exit code.

use std::{
    io::{self, IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
    thread,
    time::Duration,
};

use clap::Args as ClapArgs;
use serde_json::Value;

use super::exit::Failed;
use crate::{
    config::units::parse_span,
    node::error::{Code, Error},
    tool::bench::{self, Failure, Load, Progress, Report, Subject, Target},
};

const SPAN: Duration = Duration::from_secs(10);
const SPAN_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// Some requests were not answered.
const INCOMPLETE: u8 = 1;

pub(super) const ABOUT: &str = "\
Asks a server over HTTP or RESP, and tells how many requests it answered and how long each took. Values are random \
bytes, so they do not compress. Latencies are percentiles of all requests; what was not answered is counted by kind.

Without --rate each connection asks again when it was answered. With --rate requests are due at fixed times, and a \
latency counts from when a request was due, also if it had to wait because the server was slow.

It writes keys named key:000000000000 and so on, and leaves them there: not for a server whose data matters.";

pub(super) const AFTER: &str = "\
Examples:
  emberkeep bench                                         127.0.0.1:8080 over HTTP
  emberkeep bench -url redis://localhost:6379 --pipeline 16 -read 0
  emberkeep bench --fill -read 1 --rate 20000 --svg latency.svg
  emberkeep bench --compare redis://localhost:6380 -url redis://localhost:6379

Exit codes:
  0 every request was answered   1 some were not, or could not be sent at the rate
  2 wrong usage, or two servers that do not promise the same
  3 cannot connect, or not a server of this kind
";

/// The flags of `bench`.
#[derive(Debug, ClapArgs)]
pub(super) struct BenchFlags {
    /// The server: http://host:port or redis://host:port
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    url: Target,
    /// Runs this server too, in turns, and prints both with ratios; refused if they do not have the
    /// same durability
    #[arg(long, value_name = "URL")]
    compare: Option<Target>,
    /// Connections
    #[arg(short = 'c', long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    connections: u32,
    /// How long, such as 10s; with --compare for each server [default: 10s, or until --requests are done]
    #[arg(short = 'd', long, value_name = "SPAN", value_parser = parse_duration)]
    duration: Option<Duration>,
    /// Requests in all, at most
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    requests: Option<u64>,
    /// Keys that are asked for
    #[arg(long, value_name = "COUNT", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=999_999_999_999))]
    keys: u64,
    /// Bytes of a value
    #[arg(long, value_name = "SIZE", default_value = "100", value_parser = parse_size)]
    size: usize,
    /// Share of reads, from 0 to 1
    #[arg(long, value_name = "SHARE", default_value = "0.8", value_parser = parse_share)]
    read: f64,
    /// Requests that are due in a second, over all connections [default: as fast as it answers]
    #[arg(long, value_name = "COUNT", value_parser = parse_rate)]
    rate: Option<f64>,
    /// Asks for few keys often, with this exponent, such as 0.99 [default: all keys alike]
    #[arg(long, value_name = "THETA", value_parser = parse_theta)]
    zipf: Option<f64>,
    /// Requests under way at once on each connection
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pipeline: u32,
    /// How long what is stored lives, such as 60s [default: for ever]
    #[arg(long, value_name = "SPAN", value_parser = parse_duration)]
    ttl: Option<Duration>,
    /// Asks so long before it measures, such as 2s
    #[arg(long, value_name = "SPAN", value_parser = parse_duration)]
    warmup: Option<Duration>,
    /// Stores every key once before it measures, so that reads find something
    #[arg(long)]
    fill: bool,
    /// Threads that ask [default: one per core]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1024))]
    threads: Option<u32>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Draws the latencies into this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

pub(super) fn run(flags: BenchFlags) -> Result<ExitCode, Failed> {
    let load = flags.load();
    let bar = Bar { terminal: io::stderr().is_terminal() };
    let measured = flags.measure(&load, &bar);
    bar.end();
    let Measured { reports, text, json } = measured.map_err(failed)?;
    if let Some(path) = &flags.svg {
        write_picture(path, &bench::latencies(&reports))?;
    }
    let text = if flags.json { format!("{json:#}\n") } else { text };
    // That nobody reads it does not change it.
    io::stdout().write_all(text.as_bytes()).ok();
    let is_complete = reports.iter().all(|report| report.tally.failed() == 0 && report.tally.unsent == 0);
    Ok(if is_complete { ExitCode::SUCCESS } else { ExitCode::from(INCOMPLETE) })
}

/// The result in every form.
struct Measured {
    reports: Vec<Report>,
    text: String,
    json: Value,
}

impl BenchFlags {
    fn load(&self) -> Load {
        let cores = thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
        Load {
            connections: self.connections,
            threads: self.threads.unwrap_or(cores).min(self.connections),
            span: self.duration.or(if self.requests.is_none() { Some(SPAN) } else { None }),
            requests: self.requests,
            warmup: self.warmup.unwrap_or_default(),
            keys: self.keys,
            zipf: self.zipf,
            value_len: self.size,
            read_share: self.read,
            pipeline: self.pipeline,
            rate: self.rate,
            ttl: self.ttl,
            fill: self.fill,
        }
    }

    fn measure(&self, load: &Load, bar: &Bar) -> Result<Measured, Failure> {
        let show = |progress: Progress| bar.show(progress);
        let Some(other) = &self.compare else {
            let subject = Subject::ask(&self.url)?;
            let tally = bench::run(&self.url, load, &show)?;
            let report = Report { subject, load: load.clone(), tally };
            return Ok(Measured { text: report.text(), json: report.json(), reports: vec![report] });
        };
        let both = bench::compare([&self.url, other], load, &show)?;
        Ok(Measured { text: both.text(), json: both.json(), reports: both.reports.into() })
    }
}

fn failed(failure: Failure) -> Failed {
    match failure {
        Failure::Unreachable(why) => Failed::unreachable(Error::new(Code::Io, why)),
        Failure::NotComparable(why) => Failed::usage(Error::invalid(why)),
    }
}

#[expect(clippy::disallowed_methods, reason = "a picture where the user wants it, no data of the engine")]
fn write_picture(path: &PathBuf, picture: &str) -> Result<(), Failed> {
    std::fs::write(path, picture)
        .map_err(|e| Error::new(Code::Io, format!("cannot write {}: {e}", path.display())).into())
}

/// Progress on stderr, where that is a terminal: one line.
struct Bar {
    terminal: bool,
}

impl Bar {
    fn show(&self, progress: Progress) {
        if self.terminal {
            // Nobody needs this line to be there.
            write!(io::stderr(), "\r{}\x1b[K", line(&progress)).ok();
        }
    }

    fn end(&self) {
        if self.terminal {
            write!(io::stderr(), "\r\x1b[K").ok();
        }
    }
}

fn line(progress: &Progress) -> String {
    let Progress { elapsed, answered, failed, is_filling } = *progress;
    let seconds = elapsed.as_secs_f64();
    let what = if is_filling { "filling: " } else { "" };
    let rate = answered as f64 / seconds.max(f64::MIN_POSITIVE);
    let errors = if failed > 0 { format!(", {failed} NOT answered") } else { String::new() };
    format!("{what}{seconds:.1} s, {answered} answered, {rate:.0}/s{errors}")
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    match parse_span(text).map_err(|e| e.detail().to_owned())? {
        span if span <= SPAN_MAX => Ok(span),
        _ => Err(format!("a span is at most 7 days, got={text:?}")),
    }
}

fn parse_size(text: &str) -> Result<usize, String> {
    const SIZE_MAX: u64 = 512 << 20;
    match crate::config::units::parse_bytes(text).map_err(|e| e.detail().to_owned())? {
        size @ 0..=SIZE_MAX => Ok(size as usize),
        _ => Err(format!("a value has at most 512MiB, got={text:?}")),
    }
}

fn parse_share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| format!("a share is a number from 0 (only writes) to 1 (only reads), got={text:?}"))
}

fn parse_rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (0.001..=1e8).contains(rate));
    rate.ok_or_else(|| {
        format!("a rate is a number of requests in a second, from 0.001 to 100000000, got={text:?}")
    })
}

fn parse_theta(text: &str) -> Result<f64, String> {
    let theta = text.parse().ok().filter(|theta| *theta > 0.0 && *theta <= 10.0);
    theta.ok_or_else(|| format!("an exponent is a number above 0, at most 10; 0.99 is usual, got={text:?}"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::{
        super::{
            args::{Args, Command},
            argv::normalised,
        },
        *,
    };

    fn parse(argv: &[&str]) -> Result<BenchFlags, String> {
        let argv = ["emberkeep", "bench"].iter().chain(argv).map(Into::into);
        match Args::try_parse_from(normalised(argv)).map_err(|e| e.to_string())?.command {
            Some(Command::Bench(flags)) => Ok(flags),
            _ => panic!("another command"),
        }
    }

    #[test]
    fn the_defaults_are_a_short_look_at_the_server_of_this_machine() {
        let flags = parse(&[]).unwrap();
        assert_eq!(flags.url.to_string(), "http://127.0.0.1:8080");
        let load = flags.load();
        assert_eq!((load.connections, load.span, load.requests), (50, Some(SPAN), None));
        assert_eq!((load.keys, load.value_len, load.read_share), (100_000, 100, 0.8));
        assert_eq!((load.rate, load.zipf, load.pipeline, load.ttl, load.fill), (None, None, 1, None, false));
        assert!((1..=50).contains(&load.threads));
    }

    #[test]
    fn every_flag_reaches_the_load_with_one_dash_or_two() {
        let dashed = [
            "--url",
            "redis://h:7",
            "--connections",
            "3",
            "--duration",
            "2s",
            "--keys",
            "5",
            "--size",
            "1KiB",
            "--read",
            "0.25",
        ];
        let single =
            ["-url", "redis://h:7", "-c", "3", "-d", "2s", "-keys", "5", "-size", "1KiB", "-read", "0.25"];
        for argv in [dashed, single] {
            let flags = parse(&argv).unwrap();
            let load = flags.load();
            assert_eq!(flags.url.to_string(), "redis://h:7");
            assert_eq!((load.connections, load.span), (3, Some(Duration::from_secs(2))));
            assert_eq!((load.keys, load.value_len, load.read_share), (5, 1024, 0.25));
        }
        let flags = parse(&[
            "--rate=20000",
            "--zipf=0.99",
            "--pipeline=16",
            "--ttl=60s",
            "--warmup=500ms",
            "--fill",
            "--threads=9",
            "--requests=1000",
            "--json",
            "--svg=x.svg",
            "--compare=http://o:1",
            "-c",
            "4",
        ])
        .unwrap();
        let load = flags.load();
        assert_eq!((load.rate, load.zipf, load.pipeline), (Some(20_000.0), Some(0.99), 16));
        assert_eq!((load.ttl, load.warmup), (Some(Duration::from_secs(60)), Duration::from_millis(500)));
        assert_eq!((load.fill, load.threads), (true, 4));
        assert_eq!((load.requests, load.span), (Some(1000), None));
        assert!(flags.json);
        assert_eq!(
            (flags.svg, flags.compare.map(|t| t.to_string())),
            (Some("x.svg".into()), Some("http://o:1".into()))
        );
    }

    #[test]
    fn a_wrong_value_is_refused_and_says_what_is_right() {
        for (argv, right) in [
            (["-url", "localhost:8080"], "http://host:port or redis://host:port"),
            (["--compare", "https://h"], "http://host:port or redis://host:port"),
            (["-c", "0"], "1..=100000"),
            (["-d", "soon"], "100ms"),
            (["-d", "0"], "above zero"),
            (["-d", "8d"], "7 days"),
            (["-keys", "0"], "1..=999999999999"),
            (["-size", "1GiB"], "512MiB"),
            (["-size", "large"], "64KiB"),
            (["-read", "80"], "from 0 (only writes) to 1"),
            (["-read", "NaN"], "from 0 (only writes) to 1"),
            (["--rate", "0"], "requests in a second"),
            (["--rate", "inf"], "requests in a second"),
            (["--zipf", "0"], "0.99"),
            (["--pipeline", "0"], "1..=10000"),
            (["--requests", "0"], "not in 1.."),
        ] {
            let error = parse(&argv).unwrap_err();
            assert!(error.contains(right), "{argv:?}: {error}");
        }
    }

    #[test]
    fn the_line_of_progress_tells_errors_as_soon_as_there_are_any() {
        let progress =
            Progress { elapsed: Duration::from_secs(2), answered: 100, failed: 0, is_filling: false };
        assert_eq!(line(&progress), "2.0 s, 100 answered, 50/s");
        let progress = Progress { failed: 3, is_filling: true, ..progress };
        assert_eq!(line(&progress), "filling: 2.0 s, 100 answered, 50/s, 3 NOT answered");
    }
}
