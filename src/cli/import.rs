//! `import`: translates flags to a run of [`import`](crate::tool::import), and its report to words,
//! JSON and an exit code.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::Args as ClapArgs;

use super::exit::Failed;
use crate::{
    node::error::{Error, Result},
    tool::import::{self, Options, address::Address},
};

const STATE: &str = "emberkeep-import.state";
const TARGET: &str = "127.0.0.1:6379";
/// Some keys were refused by the target.
const PARTLY: u8 = 1;

pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0 everything that can be copied was      1 the target refused some keys; the report names them
  2 wrong usage, or the state file is of another import
  5 given up: a server cannot be reached or refuses; the same command goes on from the state file
";

pub(super) const ABOUT: &str = "\
Copies the strings of a Redis-compatible server into a running emberkeep, with their lifetimes, each database into \
the one of the same number. Lists, sets, sorted sets, hashes and streams are counted and skipped.

Both servers may be in use meanwhile. A key that is in the source from the beginning to the end is copied; what the \
target has already is left alone, unless --overwrite is given. After a kill the same command goes on where it stopped.";

/// The flags of `import`.
#[derive(Debug, ClapArgs)]
pub(super) struct ImportFlags {
    /// The server to read: redis://[user:password@]host[:port][/db]
    #[arg(value_parser = Address::parse)]
    source: Address,
    /// The Redis-compatible port of the emberkeep to write to, as host:port or redis://user:password@host:port
    #[arg(long, value_name = "ADDRESS", default_value = TARGET, value_parser = Address::parse)]
    to: Address,
    /// Copy this database only, as /DB in the source does [default: all that hold something]
    #[arg(long, value_name = "DB")]
    db: Option<u32>,
    /// Copy only keys that match this pattern of Redis, such as 'session:*'
    #[arg(long = "match", value_name = "GLOB")]
    pattern: Option<String>,
    /// Replace what the target has under a key
    #[arg(long)]
    overwrite: bool,
    /// Keys per second at most
    #[arg(long, value_name = "KEYS", value_parser = clap::value_parser!(u64).range(1..))]
    rate: Option<u64>,
    /// How often to connect again after a loss, without having come further
    #[arg(long, value_name = "COUNT", default_value_t = 8)]
    retries: u32,
    /// Where it keeps how far it has come; removed at the end
    #[arg(long, value_name = "FILE", default_value = STATE)]
    state: PathBuf,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(flags: ImportFlags) -> Result<ExitCode, Failed> {
    let json = flags.json;
    let report = import::run(&flags.into_options()?)?;
    let text = if json { format!("{}\n", report.json()) } else { report.text() };
    // That nobody reads it does not change it.
    io::stdout().write_all(text.as_bytes()).ok();
    Ok(if report.is_whole() { ExitCode::SUCCESS } else { ExitCode::from(PARTLY) })
}

impl ImportFlags {
    fn into_options(self) -> Result<Options> {
        if self.to.db.is_some() {
            return Err(Error::invalid("databases keep their numbers: --to names none"));
        }
        let db = match (self.source.db, self.db) {
            (Some(a), Some(b)) if a != b => {
                return Err(Error::invalid(format!(
                    "the source names database {a} and --db names {b}: give one"
                )));
            }
            (a, b) => a.or(b),
        };
        Ok(Options {
            source: self.source,
            target: self.to,
            db,
            pattern: self.pattern,
            overwrite: self.overwrite,
            rate: self.rate,
            retries: self.retries,
            state: self.state,
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::{
        super::args::{Args, Command},
        *,
    };

    fn options(argv: &[&str]) -> Result<Options> {
        let argv = ["emberkeep", "import"].into_iter().chain(argv.iter().copied());
        match Args::try_parse_from(argv).unwrap().command {
            Some(Command::Import(flags)) => flags.into_options(),
            _ => panic!("another command"),
        }
    }

    #[test]
    fn every_flag_reaches_the_import() {
        let given = options(&[
            "redis://old:7/3",
            "--to=new:8",
            "--match=a*",
            "--overwrite",
            "--rate=100",
            "--retries=2",
            "--state=/s",
        ])
        .unwrap();
        assert_eq!((given.source.to_string(), given.target.to_string()), ("old:7".into(), "new:8".into()));
        assert_eq!((given.db, given.pattern.as_deref(), given.overwrite), (Some(3), Some("a*"), true));
        assert_eq!((given.rate, given.retries, given.state), (Some(100), 2, "/s".into()));
    }

    #[test]
    fn a_database_may_be_given_in_either_place_but_not_twice() {
        assert_eq!(options(&["redis://old", "--db=3"]).unwrap().db, Some(3));
        assert_eq!(options(&["redis://old/3", "--db=3"]).unwrap().db, Some(3));
        assert_eq!(options(&["redis://old"]).unwrap().db, None);
        assert!(options(&["redis://old/3", "--db=4"]).unwrap_err().to_string().contains("give one"));
        assert!(options(&["redis://old", "--to=redis://new/1"]).unwrap_err().to_string().contains("--to"));
    }
}
