//! `wal ls`, `wal verify`, `wal stat`.

use std::ops::ControlFlow;

use emberkeep_storage::{
    Error as EngineError,
    format::frame::Kind,
    offline::{
        Directory,
        segments::{State, log_files},
        statistics::Statistics,
        verify::{Check, Verdict, verify},
        walk::{Read, walk},
    },
};
use serde_json::{Value, json};

use super::{BEYOND_REPAIR, DAMAGED, SOUND, TORN, Tool, say, say_in_use, text};
use crate::{
    config::units::show_bytes,
    node::error::{Code, Error, Result},
};

impl Tool<'_> {
    /// `wal ls`: the files of the log in order. Where one is broken, the exit code is that of
    /// `verify`.
    ///
    /// # Errors
    /// As [`emberkeep_storage::offline`] has them, and `Io` for the output.
    pub fn wal_ls(&mut self) -> Result<u8> {
        let directory = self.directory()?;
        let files = log_files(&directory).map_err(Error::from_engine)?;
        say_in_use(&directory);
        let code = if files.iter().any(|f| f.broken.is_some()) { self.judged()? } else { SOUND };
        if self.json {
            let file = |f: &emberkeep_storage::offline::segments::LogFile| {
                json!({"file": f.name, "state": state_name(f.state), "first_lsn": f.lsns.map(|l| l.0),
                       "last_lsn": f.lsns.map(|l| l.1), "bytes": f.bytes, "problem": f.broken})
            };
            let files: Vec<Value> = files.iter().map(file).collect();
            self.object(&json!({"in_use": directory.in_use(), "files": files}))?;
            return Ok(code);
        }
        let lsn = |lsn: Option<u64>| lsn.map_or("-".to_owned(), |lsn| lsn.to_string());
        let rows: Vec<_> = files
            .into_iter()
            .map(|f| {
                let chain = match (&f.broken, f.state) {
                    (Some(problem), _) => problem.clone(),
                    (None, State::Spare | State::SetAside) => String::new(),
                    (None, _) => "ok".to_owned(),
                };
                let (first, last) = (lsn(f.lsns.map(|l| l.0)), lsn(f.lsns.map(|l| l.1)));
                vec![f.name, state_name(f.state).to_owned(), first, last, f.bytes.to_string(), chain]
            })
            .collect();
        self.table(&["FILE", "STATE", "FIRST LSN", "LAST LSN", "BYTES", "CHAIN"], &rows)?;
        Ok(code)
    }

    /// `wal verify`: the answer of a start.
    ///
    /// # Errors
    /// As [`Tool::wal_ls`].
    pub fn wal_verify(&mut self, with_snapshot: bool) -> Result<u8> {
        let directory = match self.directory() {
            // A MANIFEST that is damaged or missing is a finding, not a failure to look.
            Err(e) if e.code() == Code::CorruptRecord => {
                return self.damaged_manifest(&e);
            }
            directory => directory?,
        };
        let progress = self.progress();
        let check = verify(directory, with_snapshot, &|done, total| progress.at(done, total))
            .map_err(Error::from_engine)?;
        drop(progress);
        if self.json {
            self.object(&check_json(&check))?;
        } else {
            for line in check_lines(&check, with_snapshot) {
                self.line(&line)?;
            }
        }
        Ok(code_of(&check.verdict))
    }

    fn damaged_manifest(&mut self, error: &Error) -> Result<u8> {
        if self.json {
            self.object(&json!({"verdict": "damaged", "problem": {"message": error.detail()}}))?;
        } else {
            self.line(&format!("damaged: {}", error.detail()))?;
            self.line("a server would refuse to start; a MANIFEST cannot be repaired")?;
            self.line(BEYOND_REPAIR)?;
        }
        Ok(DAMAGED)
    }

    /// `wal stat`: what the log consists of.
    ///
    /// # Errors
    /// As [`Tool::wal_ls`].
    pub fn wal_stat(&mut self) -> Result<u8> {
        let directory = self.directory()?;
        say_in_use(&directory);
        let mut sums = Statistics::default();
        let progress = self.progress();
        let reads = walk(
            &directory,
            &mut |seen| {
                sums.add(seen);
                ControlFlow::Continue(())
            },
            &|done, total| progress.at(done, total),
        )
        .map_err(Error::from_engine)?;
        drop(progress);
        if self.json {
            self.object(&stat_json(&sums))?
        } else {
            self.stat_text(&sums)?
        }
        self.code_after(&reads)
    }

    fn stat_text(&mut self, sums: &Statistics) -> Result<()> {
        let total = sums.total();
        let share = |bytes: u64| format!("{:.1} %", 100.0 * bytes as f64 / total.bytes.max(1) as f64);
        let row = |name: &str, c: emberkeep_storage::offline::statistics::Count| {
            vec![name.to_owned(), c.frames.to_string(), c.bytes.to_string(), share(c.bytes)]
        };
        let mut rows: Vec<_> = sums.kinds().map(|(kind, count)| row(kind_name(kind), count)).collect();
        rows.push(row("all", total));
        self.table(&["KIND", "FRAMES", "BYTES", "SHARE"], &rows)?;
        self.line("")?;
        self.line(&format!(
            "{} to {}, {} in values",
            text::count(sums.changes, "change"),
            text::count(sums.keys(), "key"),
            show_bytes(sums.value_bytes)
        ))?;
        if sums.compressed > 0 {
            self.line(&format!(
                "{} compressed, {} before",
                text::count(sums.compressed, "value"),
                show_bytes(sums.raw_value_bytes)
            ))?;
        }
        if let (Some((first, last)), Some((from, to))) = (sums.lsns, sums.times) {
            self.line(&format!(
                "lsn {first} to {last}, {} to {}",
                text::time(from).trim_end(),
                text::time(to)
            ))?;
        }
        Ok(())
    }

    /// Where something could not be read, whether that is a torn tail or damage is asked of
    /// `verify`; where nothing was left over it is neither.
    pub(super) fn code_after(&self, reads: &[Read]) -> Result<u8> {
        if reads.iter().all(|read| read.bad.is_none()) {
            return Ok(SOUND);
        }
        for read in reads {
            if let Some(bad) = &read.bad {
                let (segment, end) = (read.segment, read.end);
                say(&format!("{bad}, segment={segment} offset={end} unread_bytes={}", read.unread));
            }
        }
        self.judged()
    }

    /// Torn or damaged, or no longer needed by a start: as `verify` says.
    fn judged(&self) -> Result<u8> {
        let directory = Directory::open(self.vfs.clone(), &self.data_dir).map_err(Error::from_engine)?;
        let check = verify(directory, false, &|_, _| {}).map_err(Error::from_engine)?;
        Ok(code_of(&check.verdict))
    }
}

pub(super) fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Put => "put",
        Kind::Delete => "delete",
        Kind::Touch => "touch",
        Kind::Txn => "txn",
        Kind::Remove => "remove",
        Kind::Flush => "flush",
        Kind::TermStart => "term-start",
        Kind::Mark => "mark",
    }
}

fn state_name(state: State) -> &'static str {
    match state {
        State::Sealed => "sealed",
        State::Active => "active",
        State::Last => "last",
        State::Missing => "missing",
        State::Spare => "spare",
        State::SetAside => "set aside",
    }
}

pub(super) fn code_of(verdict: &Verdict) -> u8 {
    match verdict {
        Verdict::Clean => SOUND,
        Verdict::Torn(_) => TORN,
        Verdict::Bad(_) => DAMAGED,
    }
}

pub(super) fn check_lines(check: &Check, with_snapshot: bool) -> Vec<String> {
    let mut lines = Vec::new();
    match &check.verdict {
        Verdict::Bad(e) => {
            lines.push(format!("damaged: {e}"));
            if is_of_a_snapshot(e) {
                lines.push("a server would refuse to start; a snapshot cannot be repaired".into());
                lines.push(BEYOND_REPAIR.into());
            } else {
                lines.push("a server would refuse to start; nothing was changed".into());
                lines.push("`wal repair` of this program says what can be kept, and what would be lost".into());
            }
            return lines;
        }
        Verdict::Torn(torn) => lines.push(format!(
            "sound, with an unfinished tail: {} behind {} were never vouched for; the next start cuts them off",
            show_bytes(torn.bytes),
            torn.at
        )),
        Verdict::Clean if check.in_use => lines.push(
            "sound, up to the segment that a server is writing; that one can be judged when it has stopped".into(),
        ),
        Verdict::Clean => lines.push("sound".into()),
    }
    let segments = text::count(check.segments, "segment");
    let frames = text::count(check.frames, "frame");
    lines.push(format!("log: {segments}, {frames} behind the snapshot, {}", show_bytes(check.bytes)));
    if with_snapshot {
        lines.push(format!("snapshot: {} entries", check.snapshot_entries));
    }
    match check.clean_stop {
        Some(true) => lines.push("the last stop was clean".into()),
        Some(false) => lines.push("the last stop was not clean".into()),
        None => {}
    }
    lines
}

/// The log does not hold what is in a snapshot, so a repair of the log is no help.
fn is_of_a_snapshot(error: &EngineError) -> bool {
    error.place().is_some_and(|place| place.file.extension().is_some_and(|kind| kind == "snap"))
}

fn check_json(check: &Check) -> Value {
    let (verdict, problem) = match &check.verdict {
        Verdict::Clean => ("sound", Value::Null),
        Verdict::Torn(torn) => {
            ("torn", json!({"segment": torn.at.segment, "offset": torn.at.offset, "bytes": torn.bytes}))
        }
        Verdict::Bad(e) => ("damaged", error_json(e)),
    };
    json!({
        "verdict": verdict, "problem": problem, "in_use": check.in_use, "clean_stop": check.clean_stop,
        "segments": check.segments, "frames": check.frames, "bytes": check.bytes,
        "last_lsn": check.last_lsn, "snapshot_entries": check.snapshot_entries, "warning": check.warning,
    })
}

pub(super) fn error_json(error: &EngineError) -> Value {
    let place = error.place();
    json!({
        "message": error.to_string(),
        "file": place.map(|p| p.file.display().to_string()),
        "offset": place.map(|p| p.offset),
        "first_lsn": place.and_then(|p| p.lsns).map(|l| l.0),
        // "To the end, wherever that is" is no number.
        "last_lsn": place.and_then(|p| p.lsns).map(|l| l.1).filter(|lsn| *lsn < u64::MAX),
    })
}

fn stat_json(sums: &Statistics) -> Value {
    let kinds = sums
        .kinds()
        .map(|(kind, c)| (kind_name(kind).to_owned(), json!({"frames": c.frames, "bytes": c.bytes})));
    let total = sums.total();
    json!({
        "kinds": kinds.collect::<serde_json::Map<_, _>>(),
        "frames": total.frames, "bytes": total.bytes, "changes": sums.changes, "keys": sums.keys(),
        "value_bytes": sums.value_bytes, "raw_value_bytes": sums.raw_value_bytes, "compressed": sums.compressed,
        "first_lsn": sums.lsns.map(|l| l.0), "last_lsn": sums.lsns.map(|l| l.1),
        "first_ms": sums.times.map(|t| t.0.0), "last_ms": sums.times.map(|t| t.1.0),
    })
}
