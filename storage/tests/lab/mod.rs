//! A fixture: an engine on a simulated disk, driven by hand.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use emberkeep_storage::{
    Background, Components, Cursor, Engine, Error, Fsync, Key, Result, Settings, UnixMillis,
    sim::{clock::SimClock, disk::SimDisk},
    vfs::Vfs,
};

/// Where the data lives on the simulated disk.
pub const DIR: &str = "/data";

/// Settings with everything small, so that rotation, eviction and snapshots happen soon.
pub fn small(fsync: Fsync) -> Settings {
    Settings {
        fsync,
        segment_bytes: 16 << 10,
        staging_bytes: 16 << 10,
        checkpoint_bytes: 1 << 20,
        max_key_bytes: 64,
        max_value_bytes: 64 << 10,
        max_bytes: None,
        stripes: Some(4),
        // Values fill segments and memory by their length.
        compress: None,
        ..Settings::new(DIR)
    }
}

/// Key to value.
pub type Values = BTreeMap<String, Vec<u8>>;

/// Every path, with its content; `None` for a directory.
pub type Tree = BTreeMap<PathBuf, Option<Vec<u8>>>;

/// A disk, a clock, and the engine on them.
pub struct Lab {
    pub disk: SimDisk,
    pub clock: SimClock,
    pub settings: Settings,
}

impl Lab {
    pub fn new(settings: Settings) -> Lab {
        Lab { disk: SimDisk::new(), clock: SimClock::at(UnixMillis(1_700_000_000_000)), settings }
    }

    pub fn clock_wall(&self) -> UnixMillis {
        emberkeep_storage::Clock::wall(&self.clock)
    }

    pub fn open(&self) -> Result<Engine> {
        self.open_seeded(7)
    }

    /// Every run of a real engine has its own randomness; so has every run here.
    pub fn open_seeded(&self, seed: u64) -> Result<Engine> {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.disk.op_count().to_le_bytes());
        let components = Components {
            vfs: Arc::new(self.disk.clone()),
            clock: Arc::new(self.clock.clone()),
            seed: bytes,
            background: Background::Manual,
            policy: None,
        };
        Engine::open(self.settings.clone(), components)
    }

    pub fn pass(&self, span: Duration) {
        self.clock.advance(span);
    }

    pub fn files(&self, dir: &str) -> Vec<(String, u64)> {
        let dir = Path::new(DIR).join(dir);
        let tree = self.disk.tree();
        let inside = tree.into_iter().filter(|(path, _)| path.starts_with(&dir));
        inside.map(|(path, len)| (path.file_name().unwrap().to_string_lossy().into_owned(), len)).collect()
    }
}

/// Everything that is there.
pub fn values(engine: &Engine) -> Values {
    let mut found = Values::new();
    let mut cursor = Some(Cursor::START);
    while let Some(at) = cursor {
        let page = engine.scan(at, Key { namespace: 0, bytes: b"" }, 1000).wait().unwrap();
        for e in &page.entries {
            let key = String::from_utf8(e.key().bytes.to_vec()).unwrap();
            let again = engine.peek(e.key()).wait().unwrap().unwrap();
            let value = e.value().unwrap().to_vec();
            assert_eq!(again.value().unwrap().to_vec(), value);
            found.insert(key, value);
        }
        cursor = page.next;
    }
    found
}

/// All that is on the disk.
pub fn tree(disk: &SimDisk) -> Tree {
    fn walk(disk: &SimDisk, dir: &Path, out: &mut Tree) {
        for entry in disk.list(dir).unwrap() {
            let path = dir.join(entry.name);
            if entry.is_dir {
                walk(disk, &path, out);
                out.insert(path, None);
            } else {
                out.insert(path.clone(), Some(disk.read_file(&path).unwrap()));
            }
        }
    }
    let mut out = Tree::new();
    walk(disk, Path::new("/"), &mut out);
    out
}

/// A refusal changes nothing.
pub fn same_tree(before: &Tree, after: &Tree, error: &Error) {
    let names = |tree: &Tree| tree.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(before), names(after), "a refusal leaves the tree alone: {error}");
    for (path, content) in before {
        assert!(content == &after[path], "a refusal changed {}: {error}", path.display());
    }
}
