//! `inspect FILE`: what a file is, what it says, and whether it is whole.

use std::path::Path;

use emberkeep_storage::{
    ErrorKind,
    offline::inspect::{Fact, Inspection, Soundness, inspect},
};
use serde_json::{Map, Value};

use super::{DAMAGED, SOUND, TORN, Tool, say};
use crate::node::{
    error::{Code, Error, Result},
    export,
};

impl Tool<'_> {
    /// `inspect`; the data directory is only needed for a snapshot file that lies elsewhere.
    ///
    /// # Errors
    /// `Unsupported` for a file that is not ours or of a newer version, `Io`.
    pub fn inspect(&mut self, file: &Path, data_dir: Option<&Path>) -> Result<u8> {
        let found = match inspect(&self.vfs, file, data_dir) {
            Ok(found) => found,
            // The formats of exports are not the engine's.
            Err(e) if e.kind() == ErrorKind::Unsupported => {
                self.export(file)?.ok_or_else(|| Error::from_engine(e))?
            }
            Err(e) => return Err(Error::from_engine(e)),
        };
        let (word, why, code) = match &found.soundness {
            Soundness::Whole => ("whole", None, SOUND),
            Soundness::Torn(why) => ("torn", Some(why), TORN),
            Soundness::Damaged(why) => ("damaged", Some(why), DAMAGED),
            Soundness::Unchecked(why) => ("unchecked", Some(why), SOUND),
        };
        if self.json {
            let mut object = Map::new();
            object.insert("file".into(), file.display().to_string().into());
            object.insert("what".into(), found.what.into());
            object.insert("soundness".into(), word.into());
            object.insert("problem".into(), why.cloned().into());
            for (name, fact) in found.facts {
                let value = match fact {
                    Fact::Number(n) => Value::from(n),
                    Fact::Text(text) => Value::from(text),
                };
                object.insert(name.to_owned(), value);
            }
            self.object(&object.into())?;
        } else {
            self.line(&format!("{}: {}", file.display(), found.what))?;
            let why = why.map_or(String::new(), |why| format!(": {why}"));
            let rows = std::iter::once(("soundness", format!("{word}{why}")));
            let facts = found.facts.into_iter().map(|(name, fact)| match fact {
                Fact::Number(n) => (name, n.to_string()),
                Fact::Text(text) => (name, text),
            });
            for (name, value) in rows.chain(facts) {
                self.line(&format!("  {name:<18}{value}"))?;
            }
        }
        if code == TORN {
            say("a torn end is normal in the last segment after a crash; `wal verify` judges the whole log");
        }
        Ok(code)
    }

    fn export(&self, file: &Path) -> Result<Option<Inspection>> {
        let whole = |(what, records)| Inspection {
            what,
            facts: vec![("records", Fact::Number(records))],
            soundness: Soundness::Whole,
        };
        match export::check(&*self.vfs, file) {
            Err(e) if e.code() == Code::CorruptExport => Ok(Some(Inspection {
                what: "export",
                facts: Vec::new(),
                soundness: Soundness::Damaged(e.detail().to_owned()),
            })),
            outcome => Ok(outcome?.map(whole)),
        }
    }
}
