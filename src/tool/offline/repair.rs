//! `wal repair`: what would be kept and what lost; and, when told to, doing it.

use std::path::Path;

use emberkeep_storage::offline::{
    repair::{Assessment, Exclusive, Plan},
    salvage::{Change, LostChange, Salvage},
    verify::verify,
};
use serde_json::{Map, Value, json};

use super::{
    BEYOND_REPAIR, DAMAGED, SOUND, TORN, Tool,
    log::{check_lines, code_of, error_json},
    text,
};
use crate::node::error::{Error, Result};

/// More lost changes than these are counted in the text; JSON has them.
const SHOWN: usize = 20;

impl Tool<'_> {
    /// `wal repair`: with `yes` it is done, without it is only told, and nothing is changed.
    ///
    /// # Errors
    /// `Locked` if a server has the directory open; and as [`Tool::wal_ls`].
    pub fn wal_repair(&mut self, yes: bool) -> Result<u8> {
        let exclusive = Exclusive::open(self.vfs.clone(), &self.data_dir, yes).map_err(Error::from_engine)?;
        let progress = self.progress();
        let assessment =
            exclusive.assess(&|done, total| progress.at(done, total)).map_err(Error::from_engine)?;
        drop(progress);
        let plan = match assessment {
            Assessment::Sound(verdict) => return self.nothing_to_repair(code_of(&verdict)),
            Assessment::Beyond(error, why) => return self.beyond(&error, why),
            Assessment::Damaged(plan) => plan,
        };
        if !yes {
            self.tell(&plan, None)?;
            return Ok(DAMAGED);
        }
        let quarantine = exclusive.repair(&plan, self.clock.wall()).map_err(Error::from_engine)?;
        drop(exclusive);
        self.tell(&plan, Some(&quarantine))?;
        self.afterwards()
    }

    fn nothing_to_repair(&mut self, code: u8) -> Result<u8> {
        if self.json {
            self.object(&json!({"repaired": false, "problem": null}))?;
        } else {
            let tail = if code == TORN { "; the next start cuts off its unfinished tail" } else { "" };
            self.line(&format!("nothing to repair: the log is sound{tail}"))?;
        }
        Ok(code)
    }

    fn beyond(&mut self, error: &emberkeep_storage::Error, why: &str) -> Result<u8> {
        if self.json {
            self.object(&json!({"repaired": false, "problem": error_json(error), "beyond_repair": why}))?;
            return Ok(DAMAGED);
        }
        self.line(&format!("damaged: {error}"))?;
        self.line(&format!("this cannot be repaired: {why}"))?;
        self.line(BEYOND_REPAIR)?;
        Ok(DAMAGED)
    }

    fn tell(&mut self, plan: &Plan, quarantine: Option<&Path>) -> Result<()> {
        if self.json {
            return self.object(&plan_json(plan, quarantine));
        }
        for line in plan_lines(plan, quarantine) {
            self.line(&line)?;
        }
        Ok(())
    }

    /// A repair that leaves damage has failed, whatever it believes.
    fn afterwards(&mut self) -> Result<u8> {
        let check = verify(self.directory()?, true, &|_, _| {}).map_err(Error::from_engine)?;
        if !self.json {
            self.line("")?;
            for line in check_lines(&check, true) {
                self.line(&line)?;
            }
            if code_of(&check.verdict) != DAMAGED {
                self.line("a server can start")?;
            }
        }
        Ok(if code_of(&check.verdict) == DAMAGED { DAMAGED } else { SOUND })
    }
}

fn plan_lines(plan: &Plan, quarantine: Option<&Path>) -> Vec<String> {
    let mut lines = vec![format!("damaged: {}", plan.cause), String::new()];
    match plan.last_kept {
        0 => lines.push("kept: nothing, the log cannot be read from its first frame on".into()),
        last => lines.push(format!("kept: the state after lsn {last}")),
    }
    if let Some((path, end, len)) = &plan.cut {
        let path = path.display();
        lines.push(format!("cut: {path} at offset {end} of {len}; a whole copy is put into lost/"));
    }
    lines.extend(plan.moved.iter().map(|path| format!("moved whole into lost/: {}", path.display())));
    let (first, last) = plan.lost;
    lines.push(format!("lost: lsn {first} to {last}, and what came later if nothing tells of it any more"));
    let r = &plan.readable;
    if r.changes_total + r.flushes == 0 {
        lines.push("of these, nothing can be read any more".into());
        lines.push("a key has the value again that it had before, also where that was deleted since".into());
    } else {
        lines.extend(readable_lines(r));
    }
    lines.push(String::new());
    match quarantine {
        Some(dir) => lines.push(format!("repaired; what was given up is in {}", dir.display())),
        None => lines.push("nothing was changed; with --yes it is done".into()),
    }
    lines
}

fn readable_lines(r: &Salvage) -> Vec<String> {
    let mut lines = Vec::new();
    lines.push(format!(
        "of these, {} of {} and {} can still be read:",
        text::count(r.changes_total, "change"),
        text::count(r.keys, "key"),
        text::count(r.flushes, "flush")
    ));
    lines.extend(r.changes.iter().take(SHOWN).map(change_text));
    if r.changes_total > SHOWN as u64 {
        lines.push(format!("  and {} more; --json lists them", r.changes_total - SHOWN as u64));
    }
    lines.push(
        "all of them are given up, because what is missing between them may have deleted or replaced a key; \
         a key has the value again that it had before, also where that was deleted since"
            .into(),
    );
    lines
}

fn change_text(c: &LostChange) -> String {
    format!("  lsn {}  {:<7}  {}", c.lsn, change_name(c.change), text::shown_key(c.namespace, &c.key))
}

fn change_name(change: Change) -> &'static str {
    match change {
        Change::Put => "put",
        Change::Delete => "delete",
        Change::Touch => "touch",
        Change::Expired => "expired",
        Change::Evicted => "evicted",
    }
}

fn plan_json(plan: &Plan, quarantine: Option<&Path>) -> Value {
    let change = |c: &LostChange| {
        let mut object = Map::new();
        object.insert("lsn".into(), c.lsn.into());
        object.insert("change".into(), change_name(c.change).into());
        if c.namespace != 0 {
            object.insert("namespace".into(), c.namespace.into());
        }
        text::put_bytes(&mut object, "key", &c.key);
        Value::from(object)
    };
    let cut = |(path, end, len): &(std::path::PathBuf, u64, u64)| json!({"file": path.display().to_string(), "offset": end, "bytes": len});
    json!({
        "repaired": quarantine.is_some(),
        "problem": error_json(&plan.cause),
        "last_kept_lsn": plan.last_kept,
        "first_lost_lsn": plan.lost.0, "last_lost_lsn": plan.lost.1,
        "cut": plan.cut.as_ref().map(cut),
        "moved": plan.moved.iter().map(|p| p.display().to_string()).collect::<Vec<_>>(),
        "quarantine": quarantine.map(|dir| dir.display().to_string()),
        "lost_changes_total": plan.readable.changes_total, "lost_flushes": plan.readable.flushes,
        "lost_changes": plan.readable.changes.iter().map(change).collect::<Vec<_>>(),
    })
}
