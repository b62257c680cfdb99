//! `snapshot ls`, `snapshot verify`.

use emberkeep_storage::{
    ErrorKind,
    offline::snapshots::{Snapshot, State, snapshots, verify_snapshot},
};
use serde_json::{Value, json};

use super::{BEYOND_REPAIR, DAMAGED, SOUND, Tool, log::error_json, say_in_use};
use crate::node::error::{Error, Result};

impl Tool<'_> {
    /// `snapshot ls`: what is in `snap/`, and what should be.
    ///
    /// # Errors
    /// As [`Tool::wal_ls`].
    pub fn snapshot_ls(&mut self) -> Result<u8> {
        let directory = self.directory()?;
        say_in_use(&directory);
        let found = snapshots(&directory).map_err(Error::from_engine)?;
        let is_broken = |s: &Snapshot| matches!(s.state, State::Missing | State::Incomplete);
        let code = if found.iter().any(is_broken) { DAMAGED } else { SOUND };
        if self.json {
            let one = |s: &Snapshot| {
                json!({"name": s.name, "state": state_name(s.state), "begin": s.lsns.map(|l| l.0),
                       "end": s.lsns.map(|l| l.1), "entries": s.entries, "files": s.files, "bytes": s.bytes})
            };
            let all: Vec<Value> = found.iter().map(one).collect();
            self.object(&json!({"in_use": directory.in_use(), "snapshots": all}))?;
            return Ok(code);
        }
        if found.is_empty() {
            self.line("there is no snapshot")?;
            return Ok(code);
        }
        let number = |n: Option<u64>| n.map_or("-".to_owned(), |n| n.to_string());
        let row = |s: Snapshot| {
            let (begin, end) = (number(s.lsns.map(|l| l.0)), number(s.lsns.map(|l| l.1)));
            let (files, bytes) = (s.files.to_string(), s.bytes.to_string());
            vec![s.name, state_name(s.state).to_owned(), begin, end, number(s.entries), files, bytes]
        };
        let rows: Vec<_> = found.into_iter().map(row).collect();
        self.table(&["NAME", "STATE", "BEGIN", "END", "ENTRIES", "FILES", "BYTES"], &rows)?;
        Ok(code)
    }

    /// `snapshot verify`: every byte of the snapshot that a start would read.
    ///
    /// # Errors
    /// As [`Tool::wal_ls`].
    pub fn snapshot_verify(&mut self) -> Result<u8> {
        let directory = self.directory()?;
        let begin = directory.manifest().snapshot.as_ref().map(|s| s.begin);
        let progress = self.progress();
        let outcome = verify_snapshot(directory, &|done, total| progress.at(done, total));
        drop(progress);
        let (code, verdict, entries, problem) = match outcome {
            Ok(entries) => (SOUND, "sound", entries, Value::Null),
            Err(e) if e.kind() == ErrorKind::Corrupt => (DAMAGED, "damaged", 0, error_json(&e)),
            Err(e) => return Err(Error::from_engine(e)),
        };
        if self.json {
            let line = json!({"verdict": verdict, "begin": begin, "entries": entries, "problem": problem});
            self.object(&line)?;
        } else if let Some(message) = problem["message"].as_str() {
            self.line(&format!("damaged: {message}"))?;
            self.line("a server would refuse to start; a snapshot cannot be repaired")?;
            self.line(BEYOND_REPAIR)?;
        } else if begin.is_none() {
            self.line("there is no snapshot")?;
        } else {
            self.line(&format!("sound: {entries} entries"))?;
        }
        Ok(code)
    }
}

fn state_name(state: State) -> &'static str {
    match state {
        State::Current => "current",
        State::Missing => "missing",
        State::Incomplete => "incomplete",
        State::Unfinished => "unfinished",
        State::Superseded => "superseded",
    }
}
