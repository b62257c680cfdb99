//! The command line: translates arguments to settings, calls, and turns errors into exit codes.

mod args;
mod argv;
mod bench;
mod crash_explore;
mod crash_test;
mod exit;
mod files;
mod import;
mod recovering;
mod serve;
mod tool;

use std::{ffi::OsString, process::ExitCode};

use clap::Parser;
use emberkeep_storage::allocator;

use self::args::{Args, Command, ServeFlags};
use crate::{name, node::error::Error};

/// Runs the program with these arguments, the first being its own name.
pub fn run(argv: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args = match Args::try_parse_from(argv::normalised(argv)) {
        Ok(args) => args,
        Err(error) => {
            // Help and version are "errors" that go to stdout and exit with 0. If the terminal
            // is gone there is nobody left to tell.
            error.print().ok();
            return ExitCode::from(error.exit_code() as u8);
        }
    };
    let result = crate::observe::init_log().map_err(usage).and_then(|()| match args.command {
        Some(Command::Serve(flags)) => serve(flags),
        None => serve(args.serve),
        Some(Command::Import(flags)) => import::run(flags),
        Some(Command::CrashTest(flags)) => crash_test::run(flags),
        Some(Command::CrashExplore(flags)) => crash_explore::run(flags),
        Some(Command::Bench(flags)) => bench::run(flags),
        Some(Command::Wal(flags)) => tool::wal(flags),
        Some(Command::Snapshot(flags)) => tool::snapshot(flags),
        Some(Command::Inspect(flags)) => tool::inspect(flags),
    });
    match result {
        Ok(code) => code,
        Err(failed) => {
            eprintln!("{}: {}", name::PRODUCT, failed.text());
            ExitCode::from(failed.code())
        }
    }
}

fn serve(flags: ServeFlags) -> Result<ExitCode, exit::Failed> {
    allocator::tune();
    serve::run(flags.into_settings().map_err(usage)?)?;
    Ok(ExitCode::SUCCESS)
}

fn usage(error: Error) -> exit::Failed {
    exit::Failed::usage(error)
}
