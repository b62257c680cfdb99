//! How a measurement is told what to do, and says what it has measured, and on what.

use std::{collections::HashMap, str::FromStr, thread};

/// Flags without a value.
const SWITCHES: [&str; 2] = ["markdown", "quick"];

/// Flags of the form `--name value`, and a few switches.
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
            let value = if SWITCHES.contains(&name) { Some(String::new()) } else { arguments.next() };
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

    /// Whether a switch was given.
    pub fn switch(&mut self, name: &str) -> bool {
        self.given.remove(name).is_some()
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

/// Machine, load, command and durability mode, as every table needs them.
pub fn circumstances(bin: &str, mode: &str) -> String {
    format!("{} Mode: {mode}.", machine(bin))
}

/// The machine, how busy it was, and the command.
pub fn machine(binary: &str) -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    format!(
        "Machine: {} cores, {}; Linux {}. Load when it began: {}.\n\
         Command: `{}`.",
        thread::available_parallelism().map_or(1, usize::from),
        cpu.trim_start_matches([':', '\t', ' ']).split('@').next().unwrap_or_default().trim(),
        read("/proc/sys/kernel/osrelease").trim(),
        read("/proc/loadavg").split(' ').next().unwrap_or_default(),
        format!("cargo run --release -p emberkeep-benches --bin {binary} -- {}", arguments.join(" ")).trim(),
    )
}

/// A table; the first line has the heads. The first column is text, the others are figures.
pub fn table(title: &str, lines: &[Vec<String>], markdown: bool) -> String {
    if !markdown {
        return plain(title, lines);
    }
    let row = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let figures = " ---: |".repeat(lines[0].len() - 1);
    let mut out = format!("### {title}\n\n{}| --- |{figures}\n", row(&lines[0]));
    lines[1..].iter().for_each(|cells| out.push_str(&row(cells)));
    out
}

fn plain(title: &str, lines: &[Vec<String>]) -> String {
    let width = |column: usize| lines.iter().map(|cells| cells[column].chars().count()).max().unwrap_or(0);
    let mut out = format!("{title}\n");
    for cells in lines {
        let (first, rest) = cells.split_first().expect("a line has cells");
        out.push_str(&format!("{first:<0$}", width(0)));
        for (i, cell) in rest.iter().enumerate() {
            out.push_str(&format!("  {cell:>0$}", width(i + 1)));
        }
        out.push('\n');
    }
    out
}

/// Resident memory of this process in bytes.
///
/// # Panics
/// Where there is no `/proc`.
pub fn rss() -> u64 {
    status("VmRSS:")
}

/// The heap and stacks of this process that are in memory, in bytes.
///
/// # Panics
/// Where there is no `/proc`.
pub fn anonymous_bytes() -> u64 {
    status("RssAnon:")
}

fn status(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a process has memory");
    line.split_whitespace().next().and_then(|n| n.parse::<u64>().ok()).expect("a number of kB") << 10
}
