//! Replays recorded requests through the real engine, and compares hit ratios with known ones.
//!
//! ```text
//! cargo run --release --example trace -- --trace arc-oltp.ids.zst --policy s3fifo --capacity 5000
//! cargo run --release --example trace -- --from-reference traces/reference.csv
//! ```
//!
//! The first prints the hit ratio of one policy. The second replays every trace of the table, with
//! every policy that the table has a row for, at every capacity, once with one stripe and once with
//! as many as the engine chooses; it ends with exit code 1 if a ratio is farther from the table
//! than is allowed. `--write docs/eviction.md` puts the results into that file and a chart beside
//! it.
//!
//! One request is a get; on a miss the object is put. No disk is touched: the engine writes its log
//! to one that forgets it.

mod chart;
mod kept;
mod reference;
mod replay;
mod report;
mod requests;

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;
use emberkeep::node::{policy_by_name, policy_names};
use emberkeep_storage::Eviction;

/// Replays recorded requests through the engine and tells the hit ratio.
#[derive(Parser)]
struct Flags {
    /// The requests: little-endian u32 ids (.ids), or pairs of id and size (.idsz), or one of these
    /// compressed with zstd (.zst)
    #[arg(long, required_unless_present = "from_reference")]
    trace: Option<PathBuf>,
    /// Who leaves when the cache is full
    #[arg(long, default_value = "s3fifo", value_parser = parse_policy)]
    policy: Eviction,
    /// How many objects the cache holds
    #[arg(long, required_unless_present_any = ["from_reference", "max_bytes"])]
    capacity: Option<u64>,
    /// How many bytes it holds, overhead included; values have the sizes of the trace
    #[arg(long)]
    max_bytes: Option<u64>,
    /// Lock partitions of the index, a power of two [default: as the engine chooses]
    #[arg(long)]
    stripes: Option<usize>,
    /// A table `trace,capacity_items,policy,hit_percent` beside the traces that it names
    #[arg(long)]
    from_reference: Option<PathBuf>,
    /// Only these traces of the table
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Only the first so many capacities of each trace
    #[arg(long, default_value_t = usize::MAX)]
    capacities: usize,
    /// How many replays run at once
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Where results are kept: rows that it has are not replayed again, so that a long run can be
    /// interrupted. Delete it to measure anew
    #[arg(long)]
    keep: Option<PathBuf>,
    /// The document whose results are replaced; the chart is written beside it, as .svg
    #[arg(long)]
    write: Option<PathBuf>,
}

fn parse_policy(name: &str) -> Result<Eviction, String> {
    policy_by_name(name).ok_or_else(|| format!("there are: {}", policy_names()))
}

fn main() -> ExitCode {
    match run(&Flags::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("trace: {why}");
            ExitCode::FAILURE
        }
    }
}

/// False if something was out of tolerance.
fn run(flags: &Flags) -> Result<bool, String> {
    if let Some(table) = &flags.from_reference {
        return compare(flags, table);
    }
    let path = flags.trace.as_ref().expect("required without a table");
    let requests = requests::read(path)?;
    let cache = replay::Cache {
        policy: flags.policy,
        max_items: flags.capacity,
        max_bytes: flags.max_bytes,
        stripes: flags.stripes,
    };
    let counts = replay::replay(&requests, cache)?;
    println!(
        "requests={} hits={} hit_percent={:.3} byte_hit_percent={:.3}",
        counts.requests,
        counts.hits,
        counts.hit_percent(),
        counts.byte_hit_percent()
    );
    Ok(true)
}

fn compare(flags: &Flags, table: &std::path::Path) -> Result<bool, String> {
    let table = reference::Table::read(table, &flags.only, flags.capacities)?;
    let results = reference::run(&table, flags.threads, flags.keep.as_deref())?;
    let wrong: Vec<_> = results.iter().filter_map(|result| result.wrong()).collect();
    wrong.iter().for_each(|wrong| println!("OUT OF TOLERANCE {wrong}"));
    println!("{} replays compared with the table, {} out of tolerance", results.len(), wrong.len());
    if let Some(document) = &flags.write {
        report::write(document, &table, &results)?;
    }
    Ok(wrong.is_empty())
}
