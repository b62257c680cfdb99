//! The offline tools as a person and a script see them: what `emberkeep_storage::offline` finds out,
//! as text in columns or as JSON, and as an exit code.
//!
//! Nothing here writes to a data directory but `repair`, and that only when it is told to.
//!
//! | exit code | meaning |
//! | --- | --- |
//! | 0 | sound |
//! | 1 | sound, with an unfinished tail as a crash leaves it; the next start cuts it off |
//! | 2 | wrong usage |
//! | 5 | refused: not a data directory, in use, of a newer version, not permitted |
//! | 6 | damage: a start would be refused |
//!
//! Not here: flags (`cli`), formats and decisions (`emberkeep_storage`).

mod dump;
mod inspect;
mod log;
mod progress;
mod repair;
mod snapshots;
mod text;

use std::{
    io::{self, Write},
    path::PathBuf,
    sync::Arc,
};

use emberkeep_storage::{Clock, SystemClock, offline::Directory, vfs::Vfs};
use serde_json::Value;

pub use self::dump::Selection;
use self::progress::Progress;
use crate::{
    name,
    node::error::{Code, Error, Result},
};

/// Nothing is wrong.
pub const SOUND: u8 = 0;
/// A crash has left an unfinished tail, and nothing else is wrong.
pub const TORN: u8 = 1;
/// A start would be refused.
pub const DAMAGED: u8 = 6;

/// Said of damage that `wal repair` cannot help with, and of where help is.
pub const BEYOND_REPAIR: &str =
    "nothing was changed; what helps is a copy of the directory or an export of before";

/// What all tools need: where to look, and where to say it.
pub struct Tool<'o> {
    vfs: Arc<dyn Vfs>,
    clock: Arc<dyn Clock>,
    data_dir: PathBuf,
    json: bool,
    out: &'o mut dyn Write,
}

impl<'o> Tool<'o> {
    /// Over the real disk and the real clock.
    ///
    /// # Errors
    /// `Io` if the system gives neither.
    pub fn new(data_dir: PathBuf, json: bool, out: &'o mut dyn Write) -> Result<Tool<'o>> {
        let vfs = emberkeep_storage::Components::os().map_err(Error::from_engine)?.vfs;
        Ok(Tool { vfs, clock: Arc::new(SystemClock), data_dir, json, out })
    }

    fn directory(&self) -> Result<Directory> {
        let directory = Directory::open(self.vfs.clone(), &self.data_dir).map_err(Error::from_engine)?;
        if let Some(warning) = directory.warning() {
            say(&format!("one generation of the MANIFEST is not whole, the other is used: {warning}"));
        }
        Ok(directory)
    }

    fn progress(&self) -> Progress {
        Progress::new(self.clock.clone())
    }

    fn line(&mut self, line: &str) -> Result<()> {
        writeln!(self.out, "{line}").map_err(unwritten)
    }

    fn object(&mut self, value: &Value) -> Result<()> {
        self.line(&value.to_string())
    }

    fn table(&mut self, head: &[&str], rows: &[Vec<String>]) -> Result<()> {
        self.out.write_all(text::table(head, rows).as_bytes()).map_err(unwritten)
    }
}

/// Something about the run, not its result: on stderr, so that a script does not read it.
fn say(text: &str) {
    eprintln!("{}: {text}", name::PRODUCT);
}

/// A server that is running is told plainly: what is shown is already old.
fn say_in_use(directory: &Directory) {
    if directory.in_use() {
        say("a server has this directory open; what is shown may be changing");
    }
}

/// The reader has seen enough (`| head`), or the disk is full.
fn unwritten(error: io::Error) -> Error {
    let code = if error.kind() == io::ErrorKind::BrokenPipe { Code::ShuttingDown } else { Code::Io };
    Error::new(code, format!("cannot write the output: {error}"))
}

/// True of an error that only means that nobody reads on.
pub fn nobody_reads(error: &Error) -> bool {
    error.code() == Code::ShuttingDown
}
