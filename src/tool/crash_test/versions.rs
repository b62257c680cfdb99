//! Every version that any client has seen lately: none stands for two contents, and a write gets
//! one above all that were seen before it was sent, by anybody, of any key.
//!
//! This holds also for versions that a kill took back. Those seen long ago are forgotten; the
//! highest never is.

use std::collections::HashMap;

use super::history::{KeyId, WriteId};

/// What a version stands for; `None`: a deletion.
type Content = (KeyId, Option<WriteId>);

/// All versions seen in this run of the server and the one before.
#[derive(Debug, Default)]
pub(super) struct Versions {
    contents: HashMap<u64, Content>,
    older: HashMap<u64, Content>,
    highest: u64,
}

impl Versions {
    /// Somebody has seen this version.
    ///
    /// # Errors
    /// In words, if it stands for something else already.
    pub(super) fn saw(&mut self, version: u64, key: KeyId, write: Option<WriteId>) -> Result<(), String> {
        self.highest = self.highest.max(version);
        let content = (key, write);
        let known = self.older.get(&version).copied();
        match self.contents.insert(version, content).or(known) {
            Some(before) if before != content => {
                Err(format!("version {version} stands for two contents: {before:?}, and now {content:?}"))
            }
            _ => Ok(()),
        }
    }

    /// A write was acknowledged that was sent when `highest` was the highest version.
    ///
    /// # Errors
    /// In words, if the version is not above that, or stands for something else already.
    pub(super) fn wrote(
        &mut self,
        version: u64,
        key: KeyId,
        write: Option<WriteId>,
        highest: u64,
    ) -> Result<(), String> {
        self.saw(version, key, write)?;
        if version <= highest {
            return Err(format!("a write got version {version}, and {highest} was seen before"));
        }
        Ok(())
    }

    /// The highest version that anybody has seen; 0 if none.
    pub(super) fn highest(&self) -> u64 {
        self.highest
    }

    /// Another run of the server begins.
    pub(super) fn age(&mut self) {
        self.older = std::mem::take(&mut self.contents);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_never_stands_for_two_contents_and_only_grows() {
        let mut versions = Versions::default();
        versions.wrote(10, 1, Some(1), 0).unwrap();
        versions.saw(10, 1, Some(1)).unwrap();
        versions.age();
        assert!(versions.saw(10, 1, Some(2)).unwrap_err().contains("two contents"));
        assert!(versions.wrote(9, 2, Some(3), versions.highest()).unwrap_err().contains("seen before"));
        versions.wrote(11, 1, None, versions.highest()).unwrap();
        assert!(versions.saw(11, 2, None).is_err());
    }
}
