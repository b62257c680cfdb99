//! What is measured, behind one trait.

use std::{collections::HashMap, path::Path, sync::Arc, sync::Mutex};

use emberkeep_benches::{KEY_LEN, open, settings};
use emberkeep_storage::{
    Background, Engine, ErrorKind, Fsync, Settings, Write,
    sim::no_log::no_log,
    vfs::{Vfs, os::OsVfs},
};

pub const VALUE: [u8; 32] = [b'v'; 32];

pub type Key = [u8; KEY_LEN];

/// A cache with room for all keys.
pub trait Subject: Sync {
    /// Stores `VALUE`.
    fn set(&self, key: &Key);
    /// Whether the key is there; its value is looked at.
    fn get(&self, key: &Key) -> bool;
    /// Removes all keys and frees their memory. How long it takes is a pause for everybody else.
    fn clear(&self);
}

/// Which one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Emberkeep,
    EmberkeepNoLog,
    Moka,
    QuickCache,
    MutexHashMap,
}

impl Kind {
    pub const ALL: [Kind; 5] =
        [Kind::Emberkeep, Kind::EmberkeepNoLog, Kind::Moka, Kind::QuickCache, Kind::MutexHashMap];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Emberkeep => "emberkeep",
            Kind::EmberkeepNoLog => "emberkeep, no log",
            Kind::Moka => "moka",
            Kind::QuickCache => "quick_cache",
            Kind::MutexHashMap => "Mutex<HashMap>",
        }
    }

    pub fn parse(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// An empty one; the log goes below `dir`.
    pub fn make(self, keys: u64, dir: &Path) -> Box<dyn Subject> {
        // They keep a part of their room for what comes next.
        let room = 2 * keys;
        match self {
            Kind::Emberkeep => engine(dir, Arc::new(OsVfs)),
            Kind::EmberkeepNoLog => engine(dir, no_log(Arc::new(OsVfs))),
            Kind::Moka => Box::new(moka::sync::Cache::<Box<[u8]>, Arc<[u8]>>::new(room)),
            Kind::QuickCache => {
                Box::new(quick_cache::sync::Cache::<Box<[u8]>, Arc<[u8]>>::new(room as usize))
            }
            Kind::MutexHashMap => Box::new(Mutex::new(HashMap::<Box<[u8]>, Arc<[u8]>>::new())),
        }
    }
}

fn engine(dir: &Path, vfs: Arc<dyn Vfs>) -> Box<dyn Subject> {
    let settings = Settings { fsync: Fsync::Never, ..settings(dir) };
    Box::new(open(settings, vfs, Background::Threads))
}

impl Subject for Engine {
    fn set(&self, key: &Key) {
        loop {
            match self.put(key, Write::new(&VALUE)) {
                Ok(_appended) => return,
                Err(e) if e.kind() == ErrorKind::Overloaded => {
                    self.ready(KEY_LEN + VALUE.len()).wait().expect("there will be room");
                }
                Err(e) => panic!("{e}"),
            }
        }
    }

    fn get(&self, key: &Key) -> bool {
        let entry = Engine::get(self, key).wait().expect("the engine runs");
        entry.is_some_and(|entry| *entry.stored() == VALUE)
    }

    fn clear(&self) {
        let _appended = self.flush(None, None).expect("the engine runs");
    }
}

impl Subject for moka::sync::Cache<Box<[u8]>, Arc<[u8]>> {
    fn set(&self, key: &Key) {
        self.insert(Box::new(*key), Arc::new(VALUE));
    }

    fn get(&self, key: &Key) -> bool {
        self.get(&key[..]).is_some_and(|value| *value == VALUE)
    }

    fn clear(&self) {
        self.invalidate_all();
        self.run_pending_tasks();
    }
}

impl Subject for quick_cache::sync::Cache<Box<[u8]>, Arc<[u8]>> {
    fn set(&self, key: &Key) {
        self.insert(Box::new(*key), Arc::new(VALUE));
    }

    fn get(&self, key: &Key) -> bool {
        self.get(&key[..]).is_some_and(|value| *value == VALUE)
    }

    fn clear(&self) {
        quick_cache::sync::Cache::clear(self);
    }
}

impl Subject for Mutex<HashMap<Box<[u8]>, Arc<[u8]>>> {
    fn set(&self, key: &Key) {
        self.lock().expect("nobody panics").insert(Box::new(*key), Arc::new(VALUE));
    }

    fn get(&self, key: &Key) -> bool {
        let value = self.lock().expect("nobody panics").get(&key[..]).cloned();
        value.is_some_and(|value| *value == VALUE)
    }

    fn clear(&self) {
        self.lock().expect("nobody panics").clear();
    }
}
