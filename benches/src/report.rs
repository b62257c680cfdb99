//! How a measurement says what it has measured, and on what.

use std::{collections::HashMap, str::FromStr, thread};

/// Flags of the form `--name value`; `--markdown` has no value.
#[derive(Debug)]
pub struct Flags {
    bin: &'static str,
    given: HashMap<String, String>,
}

impl Flags {
    /// The arguments of this process.
    pub fn parse(bin: &'static str) -> Flags {
        let mut given = HashMap::new();
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let Some(name) = argument.strip_prefix("--") else { usage(bin, &argument) };
            let value = if name == "markdown" { Some(String::new()) } else { arguments.next() };
            given.insert(name.to_owned(), value.unwrap_or_else(|| usage(bin, &argument)));
        }
        Flags { bin, given }
    }

    /// The value of a flag, or what it is without it.
    pub fn take<T: FromStr>(&mut self, name: &str, default: T) -> T {
        match self.given.remove(name) {
            Some(text) => text.parse().unwrap_or_else(|_| usage(self.bin, &text)),
            None => default,
        }
    }

    /// Whether `--markdown` was given; all other flags have been taken.
    pub fn markdown(mut self) -> bool {
        let markdown = self.given.remove("markdown").is_some();
        if let Some(unknown) = self.given.keys().next() {
            usage(self.bin, unknown);
        }
        markdown
    }
}

fn usage(bin: &str, wrong: &str) -> ! {
    eprintln!("not an argument: {wrong}; the head of benches/src/bin/{bin} lists them");
    std::process::exit(2);
}

/// Machine, load, command and mode, as every table needs them.
pub fn circumstances(bin: &str, mode: &str) -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    format!(
        "Machine: {} cores,{}; Linux {}. Load when it began: {}.\n\
         Command: `cargo run --release -p emberkeep-benches --bin {bin} -- {}`. Mode: {mode}.",
        thread::available_parallelism().map_or(1, usize::from),
        cpu.trim_start_matches([':', '\t', ' '])
            .split('@')
            .next()
            .map(|c| format!(" {c}"))
            .unwrap_or_default(),
        read("/proc/sys/kernel/osrelease").trim(),
        read("/proc/loadavg").split(' ').next().unwrap_or_default(),
        arguments.join(" "),
    )
}

/// A table; the first line has the heads.
pub fn table(title: &str, lines: &[Vec<String>], markdown: bool) -> String {
    let row = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    if markdown {
        let mut out = format!("### {title}\n\n{}|{}\n", row(&lines[0]), " ---: |".repeat(lines[0].len()));
        lines[1..].iter().for_each(|cells| out.push_str(&row(cells)));
        return out;
    }
    let width = |column: usize| lines.iter().map(|cells| cells[column].len()).max().unwrap_or(0);
    let mut out = format!("{title}\n");
    for cells in lines {
        let padded = cells.iter().enumerate().map(|(i, cell)| format!("{cell:>0$}", width(i)));
        out.push_str(&padded.collect::<Vec<_>>().join("  "));
        out.push('\n');
    }
    out
}

/// The heap and stacks of this process that are in memory, in bytes.
pub fn anonymous_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("since Linux 4.5");
    line.trim().trim_end_matches("kB").trim().parse::<u64>().expect("a number") * 1024
}
