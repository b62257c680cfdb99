//! What compression costs and saves: of single values, and of puts and gets in this process.
//!
//! ```text
//! cargo run --release -p emberkeep-benches --bin compression -- [--markdown] [--secs 1]
//!     [--dir /dev/shm: where the data of puts and gets goes]
//! ```
//!
//! One thread. Values are documents of one kind that differ from each other, taken in turn. Puts and
//! gets are in mode `never`, waited for one by one; a get reads the value as it was put, so it
//! inflates what is compressed. Medians of several slices.

#![expect(clippy::disallowed_methods, reason = "a measurement reads the time")]

mod payload;

use std::{
    hint::black_box,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use emberkeep_benches::{key, open, settings};
use emberkeep_storage::{Background, Codec, Engine, Fsync, Settings, Write, compress, vfs::os::OsVfs};

use crate::payload::Kind;

const KINDS: [Kind; 4] = [Kind::Json(512), Kind::Json(2 << 10), Kind::Json(16 << 10), Kind::Noise(4 << 10)];
/// Codec and level.
const WAYS: [(Codec, u32); 6] = [
    (Codec::Zstd, 1),
    (Codec::Zstd, 3),
    (Codec::Zstd, 9),
    (Codec::Gzip, 1),
    (Codec::Gzip, 6),
    (Codec::Gzip, 9),
];
/// Different values of a kind.
const VALUES: u64 = 256;
/// A span is measured in so many slices.
const SLICES: u32 = 5;

struct Options {
    span: Duration,
    dir: PathBuf,
    markdown: bool,
}

fn main() {
    let options = Options::parse();
    println!("{}\n", options.machine());
    options.table(
        &["value", "codec", "ratio", "left raw", "compress µs", "inflate µs"],
        KINDS.iter().flat_map(|kind| WAYS.map(|way| options.cost(*kind, way))).collect(),
    );
    let ways = [None, Some((Codec::Zstd, 1)), Some((Codec::Gzip, 1)), Some((Codec::Gzip, 6))];
    options.table(
        &["value", "codec", "PUT/s", "of none", "GET/s", "of none", "memory of none"],
        KINDS.iter().flat_map(|kind| options.throughput(*kind, &ways)).collect(),
    );
}

/// What puts and gets came to.
struct Run {
    puts: f64,
    gets: f64,
    bytes: f64,
}

impl Options {
    fn cost(&self, kind: Kind, (codec, level): (Codec, u32)) -> Vec<String> {
        let settings = with_codec(Settings::new("unused"), Some((codec, level)));
        let values = kind.values(VALUES);
        let packed: Vec<_> = values.iter().map(|value| compress::pack(&settings, value)).collect();
        let left = packed.iter().filter(|p| p.encoding.is_none()).count();
        let (raw, stored) = (sum(values.iter().map(Vec::len)), sum(packed.iter().map(|p| p.stored.len())));
        let compressing = self.rate(|n| {
            black_box(compress::pack(&settings, &values[n as usize % values.len()]));
        });
        let inflating = (left == 0).then(|| {
            self.rate(|n| {
                let value = &packed[n as usize % packed.len()];
                let encoding = value.encoding.expect("none was left raw");
                black_box(compress::inflate(&value.stored, encoding).expect("it was just made"));
            })
        });
        vec![
            kind.name(),
            way_name(Some((codec, level))),
            format!("{:.2}", raw / stored),
            format!("{:.0} %", 100.0 * left as f64 / values.len() as f64),
            format!("{:.1}", 1e6 / compressing),
            inflating.map_or("-".to_owned(), |rate| format!("{:.1}", 1e6 / rate)),
        ]
    }

    fn throughput(&self, kind: Kind, ways: &[Option<(Codec, u32)>]) -> Vec<Vec<String>> {
        let runs: Vec<Run> = ways.iter().map(|way| self.run(kind, *way)).collect();
        let base = &runs[0];
        let row = |(way, run): (&Option<(Codec, u32)>, &Run)| {
            vec![
                kind.name(),
                way_name(*way),
                format!("{:.0}", run.puts),
                format!("{:.2}", run.puts / base.puts),
                format!("{:.0}", run.gets),
                format!("{:.2}", run.gets / base.gets),
                format!("{:.2}", run.bytes / base.bytes),
            ]
        };
        ways.iter().zip(&runs).map(row).collect()
    }

    fn run(&self, kind: Kind, way: Option<(Codec, u32)>) -> Run {
        const KEYS: u64 = 10_000;
        let dir = tempfile::tempdir_in(&self.dir).expect("a directory can be created");
        let settings = with_codec(Settings { fsync: Fsync::Never, ..settings(dir.path()) }, way);
        let engine = open(settings, Arc::new(OsVfs), Background::Threads);
        let values = kind.values(VALUES);
        let put = |n: u64| put(&engine, n % KEYS, &values[n as usize % values.len()]);
        (0..KEYS).for_each(put);
        let bytes = engine.stats().bytes as f64;
        let puts = self.rate(put);
        let gets = self.rate(|n| {
            let entry = engine.get(&key(n % KEYS)[..]).wait().expect("reads go on").expect("it was put");
            black_box(entry.value().expect("it inflates").len());
        });
        engine.close().expect("the disk works");
        Run { puts, gets, bytes }
    }

    /// Calls a second: the median of the slices.
    fn rate(&self, mut call: impl FnMut(u64)) -> f64 {
        let (mut n, mut rates) = (0, Vec::new());
        for _ in 0..SLICES {
            let (begun, first) = (Instant::now(), n);
            while begun.elapsed() < self.span / SLICES {
                // The clock is read once for several calls.
                for _ in 0..16 {
                    call(n);
                    n += 1;
                }
            }
            rates.push((n - first) as f64 / begun.elapsed().as_secs_f64());
        }
        rates.sort_by(f64::total_cmp);
        rates[rates.len() / 2]
    }

    fn parse() -> Options {
        let mut options =
            Options { span: Duration::from_secs(1), dir: PathBuf::from("/dev/shm"), markdown: false };
        let mut args = std::env::args().skip(1);
        while let Some(flag) = args.next() {
            let mut value = || args.next().unwrap_or_else(|| usage(&format!("{flag} needs a value")));
            match flag.as_str() {
                "--markdown" => options.markdown = true,
                "--secs" => match value().parse() {
                    Ok(secs) if secs > 0.0 && secs < 3600.0 => options.span = Duration::from_secs_f64(secs),
                    _ => usage("--secs needs a number above zero"),
                },
                "--dir" => options.dir = value().into(),
                _ => usage(&format!("there is no {flag}")),
            }
        }
        options
    }

    fn machine(&self) -> String {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let command: Vec<String> = std::env::args().skip(1).collect();
        format!(
            "{cores} cores, one thread, mode never in {}, `compression {}`",
            self.dir.display(),
            command.join(" ")
        )
    }

    fn table(&self, head: &[&str], rows: Vec<Vec<String>>) {
        let line = |cells: Vec<String>| {
            if self.markdown {
                println!("| {} |", cells.join(" | "));
            } else {
                println!("{}", cells.iter().map(|cell| format!("{cell:>14}")).collect::<String>());
            }
        };
        line(head.iter().map(ToString::to_string).collect());
        if self.markdown {
            line(
                head.iter().enumerate().map(|(i, _)| if i < 2 { "---" } else { "---:" }.to_owned()).collect(),
            );
        }
        rows.into_iter().for_each(line);
        println!();
    }
}

fn put(engine: &Engine, number: u64, value: &[u8]) {
    loop {
        match engine.put(&key(number)[..], Write::new(value)) {
            Ok(commit) => {
                commit.wait().expect("the disk works");
                return;
            }
            Err(_) => engine.ready(value.len()).wait().expect("the disk works"),
        }
    }
}

/// Everything is compressed that shrinks, however short.
fn with_codec(settings: Settings, way: Option<(Codec, u32)>) -> Settings {
    Settings {
        compress: way.map(|(codec, _)| codec),
        compress_level: way.map(|(_, level)| level),
        compress_threshold: 64,
        ..settings
    }
}

fn way_name(way: Option<(Codec, u32)>) -> String {
    way.map_or("none".to_owned(), |(codec, level)| format!("{} {level}", codec.as_str()))
}

fn sum(lens: impl Iterator<Item = usize>) -> f64 {
    lens.sum::<usize>() as f64
}

fn usage(why: &str) -> ! {
    eprintln!("{why}\nusage: compression [--markdown] [--secs 1] [--dir /dev/shm]");
    std::process::exit(2)
}
