//! Every version that any client has ever seen, over all rounds: none stands for two contents,
//! and those of a key only grow. This holds also for versions that a kill took back, though a
//! kill seldom does so between a client's seeing one and its being written: the crash
//! laboratory in `storage/tests` cuts there on purpose.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Mutex,
};

/// The number of a key in a history.
pub type KeyId = u32;

#[derive(Default)]
pub struct Versions {
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    contents: HashMap<u64, (KeyId, Content)>,
    highest: HashMap<KeyId, u64>,
}

/// What a version stands for, in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    Deleted,
    Bytes(u64),
}

impl Content {
    pub fn of(bytes: &[u8]) -> Content {
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        Content::Bytes(hasher.finish())
    }
}

impl Versions {
    /// Somebody has seen this version of this key.
    pub fn saw(&self, key: KeyId, version: u64, content: Content) -> Result<(), String> {
        let mut seen = self.seen.lock().expect("no panic with the versions");
        let highest = seen.highest.entry(key).or_default();
        *highest = version.max(*highest);
        match seen.contents.insert(version, (key, content)) {
            Some(before) if before != (key, content) => Err(format!(
                "version {version} stands for two contents: {before:?}, and now {:?}",
                (key, content)
            )),
            _ => Ok(()),
        }
    }

    /// A write of this key was acknowledged: its version is above all that were seen before.
    pub fn wrote(&self, key: KeyId, version: u64, content: Content) -> Result<(), String> {
        self.saw(key, version, content)?;
        match self.highest(key) {
            highest if highest > version => {
                Err(format!("a write got version {version}, and {highest} was seen before"))
            }
            _ => Ok(()),
        }
    }

    /// The highest version of a key that anybody has seen; 0 if none.
    pub fn highest(&self, key: KeyId) -> u64 {
        self.seen.lock().expect("no panic with the versions").highest.get(&key).copied().unwrap_or(0)
    }
}
