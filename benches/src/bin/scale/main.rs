//! GET and SET in this process, with few keys and with many, beside other caches; and what the
//! slowest SET takes while ten million keys come in.
//!
//! ```text
//! cargo run --release -p emberkeep-benches --bin scale -- [--markdown] [--secs 0.5: per cell]
//!     [--keys 10000,1000000,10000000] [--only NAME: one subject] [--dir DIR: where the log is]
//! ```
//!
//! Keys of 16 bytes, values of 32. Requests are drawn beforehand, uniformly or by Zipf (0.99), and
//! every GET finds its key. Each line is a process of its own; *memory* is what has grown in it
//! while the keys came in.
//!
//! The engine is in mode `never`. A SET is done when it is in memory and its frame in the buffer of
//! the log; where the buffer is full it waits. `emberkeep` writes the log to files, `emberkeep, no
//! log` throws it away instead. The others keep nothing anywhere; all have room for all keys.
//!
//! While the keys come in, every SET is timed. The clock also counts what the system does in
//! between on a busy machine, so beside it stands the most CPU time that 64 SETs in a row took.

#![expect(clippy::disallowed_methods, reason = "a measurement reads the time")]

mod grow;
mod load;
mod subject;

use std::{
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use emberkeep_benches::report::{machine, table};

use crate::{
    grow::{Grown, grow},
    load::{Load, rates},
    subject::{Kind, Subject},
};

struct Options {
    markdown: bool,
    span: Duration,
    keys: Vec<u64>,
    only: Option<Kind>,
    dir: PathBuf,
    /// This process measures one line: its only subject, and its only number of keys.
    one: bool,
}

fn main() {
    let options = Options::parse();
    if options.one {
        println!("{}", options.line().join(";"));
        return;
    }
    println!("{}\nMode `never`, {} s per cell.\n", machine("scale"), options.span.as_secs_f64());
    let (mut throughput, mut growth) = (vec![throughput_heads()], vec![growth_heads()]);
    for keys in &options.keys {
        for kind in Kind::ALL.into_iter().filter(|kind| options.only.is_none_or(|only| only == *kind)) {
            let mut cells = options.in_a_process(kind, *keys);
            let name = format!("{}, {}", kind.name(), short(*keys));
            let rest = cells.split_off(growth_heads().len() - 1);
            growth.push([name.clone()].into_iter().chain(cells).collect());
            throughput.push([name].into_iter().chain(rest).collect());
        }
    }
    println!("{}", table("Thousand requests per second", &throughput, options.markdown));
    println!("{}", table("While the keys come in, and when all go", &growth, options.markdown));
}

fn throughput_heads() -> Vec<String> {
    let loads = Load::ALL.iter().map(Load::to_string);
    ["cache, keys".to_owned()].into_iter().chain(loads).collect()
}

fn growth_heads() -> Vec<String> {
    let heads = ["cache, keys"].iter().chain(&Grown::HEADS).chain(&["remove all, ms"]);
    heads.map(|head| (*head).to_owned()).collect()
}

fn short(keys: u64) -> String {
    if keys >= 1_000_000 { format!("{} M", keys / 1_000_000) } else { format!("{} k", keys / 1_000) }
}

impl Options {
    /// Fills one subject, then puts every load on it.
    fn line(&self) -> Vec<String> {
        let (kind, keys) = (self.only.expect("a subject"), self.keys[0]);
        let dir = tempfile::tempdir_in(&self.dir).expect("a directory can be created");
        let grown;
        let subject: Box<dyn Subject>;
        (subject, grown) = grow(|| kind.make(keys, dir.path()), keys);
        let rates = rates(&*subject, keys, self.span);
        let begin = Instant::now();
        subject.clear();
        let cleared = format!("{:.0}", begin.elapsed().as_secs_f64() * 1e3);
        let rates = rates.iter().map(|rate| format!("{:.0}", rate / 1e3));
        grown.cells().into_iter().chain([cleared]).chain(rates).collect()
    }

    fn in_a_process(&self, kind: Kind, keys: u64) -> Vec<String> {
        let program = std::env::current_exe().expect("the running program has a path");
        let mut command = Command::new(program);
        command.args(["--one", "--only", kind.name(), "--keys", &keys.to_string(), "--secs"]);
        command.arg(self.span.as_secs_f64().to_string()).arg("--dir").arg(&self.dir);
        let output = command.output().expect("it starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().split(';').map(str::to_owned).collect()
    }

    fn parse() -> Options {
        let mut options = Options {
            markdown: false,
            span: Duration::from_millis(500),
            keys: vec![10_000, 1_000_000, 10_000_000],
            only: None,
            dir: std::env::temp_dir(),
            one: false,
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().unwrap_or_else(|| usage(&argument));
            let number = |text: &str| text.parse::<f64>().unwrap_or_else(|_| usage(text));
            match argument.as_str() {
                "--markdown" => options.markdown = true,
                "--one" => options.one = true,
                "--secs" => options.span = Duration::from_secs_f64(number(&value())),
                "--keys" => options.keys = value().split(',').map(|n| number(n) as u64).collect(),
                "--only" => options.only = Some(Kind::parse(&value()).unwrap_or_else(|| usage(&argument))),
                "--dir" => options.dir = value().into(),
                _ => usage(&argument),
            }
        }
        options
    }
}

fn usage(wrong: &str) -> ! {
    eprintln!("not an argument: {wrong}; the head of benches/src/bin/scale/main.rs lists them");
    std::process::exit(2);
}
