//! The flags of the offline tools.

use std::{
    io::{self, BufWriter, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, Subcommand};

use super::exit::Failed;
use crate::{
    name,
    node::{error::Error, text::decode64},
    tool::offline::{Selection, Tool, nobody_reads},
};

const EXIT_CODES: &str = "\
Exit codes:
  0 sound            1 sound, with an unfinished tail as a crash leaves it
  2 wrong usage      5 refused: not a data directory, in use, of a newer version, not permitted
  6 damage found: a server would refuse to start
";

const REPAIR: &str = "\
Without --yes it only says what would be kept and what would be lost, and ends with 6 if there is
something to repair. With --yes every frame before the damage is kept, and nothing is deleted: what
stands behind it is moved to lost/<time>-repair/, with a whole copy of the damaged file.

Whole frames behind the damage are given up too. Between them others are missing, and nobody knows
which: a lost delete would bring a key back that somebody was told is gone. They are listed, and
their files are kept.

Not repaired: a damaged snapshot, a damaged MANIFEST, and damage in frames that the snapshot holds
in part. A server must not be running.
";

const LIVE: &str = "\
While a server runs, the segment that it writes to is left out; stop it to have that one judged too.
";

/// The log of a data directory.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true, after_help = EXIT_CODES)]
pub(super) struct WalFlags {
    #[command(subcommand)]
    command: Wal,
}

#[derive(Debug, Subcommand)]
enum Wal {
    /// List the files of the log with their LSNs; of sealed ones only headers are read.
    #[command(after_help = EXIT_CODES)]
    Ls(Common),
    /// Print one line for each frame.
    #[command(after_help = EXIT_CODES)]
    Dump(Dump),
    /// Check every byte that a start would read, by the rules of a start.
    #[command(after_help = format!("{LIVE}\n{EXIT_CODES}"))]
    Verify(Verify),
    /// Count frames, bytes and keys.
    #[command(after_help = EXIT_CODES)]
    Stat(Common),
    /// Say what a damaged log can be brought back to; with --yes, do it.
    #[command(after_help = format!("{REPAIR}\n{EXIT_CODES}"))]
    Repair(Repair),
}

/// The snapshots of a data directory.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true, after_help = EXIT_CODES)]
pub(super) struct SnapshotFlags {
    #[command(subcommand)]
    command: Snapshot,
}

#[derive(Debug, Subcommand)]
enum Snapshot {
    /// List the snapshots.
    #[command(after_help = EXIT_CODES)]
    Ls(Common),
    /// Check every byte of the snapshot that a start would read.
    #[command(after_help = EXIT_CODES)]
    Verify(Common),
}

#[derive(Debug, Args)]
struct Common {
    /// Where the data lives
    #[arg(long, value_name = "DIR", default_value = name::DATA_DIR)]
    data_dir: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Dump {
    #[command(flatten)]
    common: Common,
    /// Begin with this LSN
    #[arg(long, value_name = "LSN")]
    from: Option<u64>,
    /// End with this LSN
    #[arg(long, value_name = "LSN")]
    to: Option<u64>,
    /// Only frames that change this key
    #[arg(long, value_name = "KEY", conflicts_with = "key64")]
    key: Option<String>,
    /// The same for a key that is no text, in base64url without padding
    #[arg(long, value_name = "KEY64", value_parser = parse_key64)]
    key64: Option<Key64>,
    /// Print the values too
    #[arg(long)]
    values: bool,
}

#[derive(Debug, Args)]
struct Verify {
    #[command(flatten)]
    common: Common,
    /// Leave out the files of the snapshot
    #[arg(long)]
    log_only: bool,
}

#[derive(Debug, Args)]
struct Repair {
    #[command(flatten)]
    common: Common,
    /// Do it
    #[arg(long)]
    yes: bool,
}

/// The flags of `inspect`.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct InspectFlags {
    /// A log segment, a snapshot file, a MANIFEST or an export
    file: PathBuf,
    /// Where the MANIFEST is, for a snapshot file that was taken elsewhere
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The bytes of a key.
#[derive(Clone, Debug)]
struct Key64(Vec<u8>);

fn parse_key64(text: &str) -> Result<Key64, String> {
    decode64(text).map(Key64).ok_or_else(|| "a key in base64url without padding, such as _wA".to_owned())
}

pub(super) fn wal(flags: WalFlags) -> Result<ExitCode, Failed> {
    match flags.command {
        Wal::Ls(common) => with(common, |tool| tool.wal_ls()),
        Wal::Stat(common) => with(common, |tool| tool.wal_stat()),
        Wal::Verify(Verify { common, log_only }) => with(common, |tool| tool.wal_verify(!log_only)),
        Wal::Repair(Repair { common, yes }) => with(common, |tool| tool.wal_repair(yes)),
        Wal::Dump(Dump { common, from, to, key, key64, values }) => {
            let key = key.map(String::into_bytes).or(key64.map(|key| key.0));
            with(common, |tool| tool.wal_dump(&Selection { from, to, key, values }))
        }
    }
}

pub(super) fn snapshot(flags: SnapshotFlags) -> Result<ExitCode, Failed> {
    match flags.command {
        Snapshot::Ls(common) => with(common, |tool| tool.snapshot_ls()),
        Snapshot::Verify(common) => with(common, |tool| tool.snapshot_verify()),
    }
}

pub(super) fn inspect(flags: InspectFlags) -> Result<ExitCode, Failed> {
    let InspectFlags { file, data_dir, json } = flags;
    let common = Common { data_dir: data_dir.clone().unwrap_or_default(), json };
    with(common, |tool| tool.inspect(&file, data_dir.as_deref()))
}

/// Runs a tool; its exit code. Nobody who reads on is no failure.
fn with(common: Common, run: impl FnOnce(&mut Tool<'_>) -> Result<u8, Error>) -> Result<ExitCode, Failed> {
    let mut out = BufWriter::new(io::stdout().lock());
    let outcome = Tool::new(common.data_dir, common.json, &mut out).and_then(|mut tool| run(&mut tool));
    // What was said before a failure is shown too.
    let flushed = out.flush();
    match (outcome, flushed) {
        (Err(e), _) if nobody_reads(&e) => Ok(ExitCode::SUCCESS),
        (Err(e), _) => Err(Failed::of_a_tool(e)),
        (Ok(_), Err(e)) if e.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        (Ok(_), Err(e)) => {
            Err(Error::new(crate::node::error::Code::Io, format!("cannot write the output: {e}")).into())
        }
        (Ok(code), Ok(())) => Ok(ExitCode::from(code)),
    }
}
