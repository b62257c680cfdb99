//! What the measurements print: where they ran, and tables.

use std::thread;

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
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a process has memory");
    line.split_whitespace().next().and_then(|n| n.parse::<u64>().ok()).expect("a number of kB") << 10
}
