//! How far an import has come, in a small file, so that another run can go on from there.
//!
//! The file is replaced as a whole after each page that the target has acknowledged. After a kill or
//! a power cut it tells of a page that is done: what came later is copied once more, which changes
//! nothing, because keys that are there are left alone (or get the same value, if they are overwritten).
//!
//! Not in it: users and passwords.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

use serde::{Deserialize, Serialize};

use super::Options;
use crate::node::error::{Code, Error, Result};

const VERSION: u32 = 1;
/// Names of keys that are kept for each list of the report.
const NAMES_MAX: usize = 5;
/// Longer names are cut.
const NAME_CHARS_MAX: usize = 60;

/// What the file holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    version: u32,
    /// What is copied, and where to; another import must not go on from here.
    job: Job,
    /// The run of the source that the cursor belongs to.
    pub run_id: String,
    /// The database that is being copied; smaller ones are done.
    pub db: u32,
    /// Where its next page begins; 0 at its start.
    pub cursor: u64,
    /// What has become of the keys so far.
    pub counts: Counts,
    /// Time that all runs took together.
    pub elapsed_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Job {
    source: String,
    target: String,
    db: Option<u32>,
    pattern: Option<String>,
    overwrite: bool,
}

/// What has become of keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Stored and acknowledged.
    pub copied: u64,
    /// Bytes of their values.
    pub bytes: u64,
    /// Left alone, because the target has them.
    pub already_there: u64,
    /// Gone before they could be read.
    pub expired: u64,
    /// No strings, by type.
    pub skipped: BTreeMap<String, u64>,
    /// The first few of them.
    pub skipped_names: Vec<String>,
    /// What the target did not take.
    pub refused: u64,
    /// The first few of them, with the target's words.
    pub refused_names: Vec<String>,
}

impl Counts {
    /// Counts a key of a type that is not copied.
    pub fn skip(&mut self, db: u32, key: &[u8], kind: &str) {
        *self.skipped.entry(kind.to_owned()).or_default() += 1;
        note(&mut self.skipped_names, || format!("{} ({kind})", name(db, key)));
    }

    /// Counts a key that the target did not take.
    pub fn refuse(&mut self, db: u32, key: &[u8], why: &str) {
        self.refused += 1;
        note(&mut self.refused_names, || format!("{}: {}", name(db, key), shortened(why)));
    }

    /// All keys that were met.
    pub fn keys(&self) -> u64 {
        self.copied + self.already_there + self.expired + self.refused + self.skipped.values().sum::<u64>()
    }
}

fn note(names: &mut Vec<String>, text: impl FnOnce() -> String) {
    if names.len() < NAMES_MAX {
        names.push(text());
    }
}

/// A key for people: whatever could move the cursor of a terminal is escaped.
fn name(db: u32, key: &[u8]) -> String {
    format!("db{db} \"{}\"", shortened(&String::from_utf8_lossy(key)))
}

fn shortened(text: &str) -> String {
    let mut short: String = text.chars().take(NAME_CHARS_MAX).flat_map(char::escape_debug).collect();
    if text.chars().nth(NAME_CHARS_MAX).is_some() {
        short.push('…');
    }
    short
}

impl State {
    /// The beginning of an import.
    pub fn new(options: &Options) -> State {
        State {
            version: VERSION,
            job: Job::of(options),
            run_id: String::new(),
            db: 0,
            cursor: 0,
            counts: Counts::default(),
            elapsed_ms: 0,
        }
    }

    /// Where an earlier run of the same import has stopped; `None` if there was none.
    ///
    /// # Errors
    /// `InvalidArgument` if the file is of another import or is not whole, `Io` if it cannot be read.
    pub fn load(options: &Options) -> Result<Option<State>> {
        let path = &options.state;
        let shown = path.display();
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::new(Code::Io, format!("cannot read {shown}: {e}"))),
        };
        let state: State = serde_json::from_slice(&bytes).map_err(|e| {
            Error::invalid(format!("{shown} is no whole state of an import ({e}); remove it to start over"))
        })?;
        if state.version != VERSION {
            return Err(Error::invalid(format!(
                "{shown} was written by another release; remove it to start over, version={}",
                state.version
            )));
        }
        if state.job != Job::of(options) {
            return Err(Error::invalid(format!(
                "{shown} is the state of another import ({}); name another file with --state, or remove it",
                state.job.text()
            )));
        }
        Ok(Some(state))
    }

    /// Replaces the file. It is whole at every moment, also after a power cut.
    ///
    /// # Errors
    /// `Io`.
    pub fn save(&self, path: &Path) -> Result<()> {
        let failed = |e: io::Error| Error::new(Code::Io, format!("cannot write {}: {e}", path.display()));
        let mut bytes = serde_json::to_vec_pretty(self).map_err(|e| failed(e.into()))?;
        bytes.push(b'\n');
        let mut new = path.as_os_str().to_owned();
        new.push(".new");
        let write = || {
            let mut file = File::create(&new)?;
            file.write_all(&bytes)?;
            file.sync_data()?;
            fs::rename(&new, path)
        };
        write().map_err(failed)
    }

    /// Removes the file, once everything is done.
    ///
    /// # Errors
    /// `Io`.
    pub fn remove(path: &Path) -> Result<()> {
        match fs::remove_file(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::new(
                Code::Io,
                format!("everything is copied, but cannot remove {}: {e}", path.display()),
            )),
            _ => Ok(()),
        }
    }
}

impl Job {
    fn of(options: &Options) -> Job {
        Job {
            source: options.source.to_string(),
            target: options.target.to_string(),
            db: options.db,
            pattern: options.pattern.clone(),
            overwrite: options.overwrite,
        }
    }

    fn text(&self) -> String {
        let Job { source, target, db, pattern, overwrite } = self;
        let mut text = format!("from {source} to {target}");
        if let Some(db) = db {
            text += &format!(", --db {db}");
        }
        if let Some(pattern) = pattern {
            text += &format!(", --match {pattern}");
        }
        if *overwrite {
            text += ", --overwrite";
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::{super::address::Address, *};

    fn options(dir: &Path) -> Options {
        Options {
            source: Address::parse("redis://ada:secret@old:1").unwrap(),
            target: Address::parse("new:2").unwrap(),
            db: None,
            pattern: None,
            overwrite: false,
            rate: None,
            retries: 0,
            state: dir.join("state"),
        }
    }

    #[test]
    fn what_was_saved_is_loaded_and_holds_no_password() {
        let dir = tempfile::tempdir().unwrap();
        let options = options(dir.path());
        assert_eq!(State::load(&options).unwrap(), None);
        let mut state = State::new(&options);
        (state.run_id, state.db, state.cursor) = ("abc".into(), 3, u64::MAX);
        state.counts.skip(3, b"\x1b\xff", "list");
        for cursor in [u64::MAX, 7] {
            state.cursor = cursor;
            state.save(&options.state).unwrap();
            assert_eq!(State::load(&options).unwrap(), Some(state.clone()));
        }
        assert!(!fs::read_to_string(&options.state).unwrap().contains("secret"));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        State::remove(&options.state).unwrap();
        State::remove(&options.state).unwrap();
        assert_eq!(State::load(&options).unwrap(), None);
    }

    #[test]
    fn a_state_of_another_import_is_refused_and_says_of_which() {
        let dir = tempfile::tempdir().unwrap();
        let of = options(dir.path());
        State::new(&of).save(&of.state).unwrap();
        let base = || options(dir.path());
        for other in [
            Options { source: Address::parse("redis://old:9").unwrap(), ..base() },
            Options { target: Address::parse("redis://new:9").unwrap(), ..base() },
            Options { db: Some(0), ..base() },
            Options { pattern: Some("a*".into()), ..base() },
            Options { overwrite: true, ..base() },
        ] {
            let error = State::load(&other).unwrap_err();
            assert_eq!(error.code(), Code::InvalidArgument);
            assert!(
                error.to_string().contains("from old:1 to new:2") && error.to_string().contains("--state"),
                "{error}"
            );
        }
        // How fast and how often is no other import.
        assert!(State::load(&Options { rate: Some(1), retries: 9, ..base() }).unwrap().is_some());
    }

    #[test]
    fn a_file_that_is_not_whole_is_refused_wherever_it_is_cut() {
        let dir = tempfile::tempdir().unwrap();
        let options = options(dir.path());
        State::new(&options).save(&options.state).unwrap();
        let whole = fs::read(&options.state).unwrap();
        // The last byte is the end of a line.
        for len in 0..whole.len() - 1 {
            fs::write(&options.state, &whole[..len]).unwrap();
            let error = State::load(&options).unwrap_err();
            assert!(error.to_string().contains("remove it to start over"), "{len}: {error}");
        }
        let newer = String::from_utf8(whole).unwrap().replace("\"version\": 1", "\"version\": 2");
        fs::write(&options.state, newer).unwrap();
        assert!(State::load(&options).unwrap_err().to_string().contains("another release"));
    }

    #[test]
    fn only_the_first_few_names_are_kept_and_they_are_safe_to_print() {
        let mut counts = Counts::default();
        for n in 0..100 {
            counts.skip(1, format!("\x1b[2J{n}").as_bytes(), "hash");
            counts.refuse(0, &[b'x'; 1000], "ERR value is too large");
        }
        assert_eq!((counts.skipped["hash"], counts.refused, counts.keys()), (100, 100, 200));
        assert_eq!((counts.skipped_names.len(), counts.refused_names.len()), (NAMES_MAX, NAMES_MAX));
        assert_eq!(counts.skipped_names[0], "db1 \"\\u{1b}[2J0\" (hash)");
        assert!(counts.refused_names[0].len() < 100, "{}", counts.refused_names[0]);
    }
}
