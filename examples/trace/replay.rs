//! One replay: a whole engine, in memory, that meets every request in turn.

use std::sync::Arc;

use emberkeep_storage::{
    Background, Components, Engine, ErrorKind, Eviction, Fsync, Settings, Write,
    clock::SystemClock,
    sim::{disk::SimDisk, no_log::no_log},
};

use crate::requests::Request;

/// What is replayed against.
#[derive(Clone, Copy, Debug)]
pub struct Cache {
    pub policy: Eviction,
    pub max_items: Option<u64>,
    pub max_bytes: Option<u64>,
    /// As many as the engine chooses, if `None`.
    pub stripes: Option<usize>,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub requests: u64,
    pub hits: u64,
    bytes: u64,
    hit_bytes: u64,
}

impl Counts {
    pub fn hit_percent(&self) -> f64 {
        100.0 * self.hits as f64 / self.requests.max(1) as f64
    }

    pub fn byte_hit_percent(&self) -> f64 {
        100.0 * self.hit_bytes as f64 / self.bytes.max(1) as f64
    }
}

/// Gets each object, and puts it if it is not there.
///
/// # Errors
/// What the engine refused, or that it held more than it may.
pub fn replay(requests: &[Request], cache: Cache) -> Result<Counts, String> {
    let engine = open(cache).map_err(|e| format!("cannot open an engine: {e}"))?;
    let value = vec![0; requests.iter().map(|request| request.size as usize).max().unwrap_or(0)];
    let mut counts = Counts::default();
    for request in requests {
        let (key, size) = (&request.id.to_le_bytes()[..], request.size as usize);
        let hit = engine.get(key).wait().map_err(|e| e.to_string())?.is_some();
        counts.requests += 1;
        counts.hits += u64::from(hit);
        counts.bytes += size as u64;
        if hit {
            counts.hit_bytes += size as u64;
        } else {
            // With a limit in objects their sizes do not count.
            let len = if cache.max_bytes.is_some() { size } else { 0 };
            put(&engine, key, &value[..len])?;
        }
    }
    let items = engine.stats().items;
    let full = counts.requests - counts.hits >= cache.max_items.unwrap_or(u64::MAX);
    if cache.max_items.is_some_and(|max| items > max || (full && items < max)) {
        return Err(format!("the cache holds {items} objects, not as many as it may: {cache:?}"));
    }
    Ok(counts)
}

fn put(engine: &Engine, key: &[u8], value: &[u8]) -> Result<(), String> {
    loop {
        match engine.put(key, Write::new(value)) {
            // Nobody waits for the log.
            Ok(commit) => {
                drop(commit);
                return Ok(());
            }
            Err(e) if e.kind() == ErrorKind::Overloaded => engine.step().map_err(|e| e.to_string())?,
            Err(e) => return Err(e.to_string()),
        }
    }
}

/// An engine whose log is forgotten, and whose hash key is always the same.
fn open(cache: Cache) -> emberkeep_storage::Result<Engine> {
    let disk = SimDisk::new();
    disk.stop_recording();
    let components = Components {
        vfs: no_log(Arc::new(disk)),
        clock: Arc::new(SystemClock),
        seed: [7; 32],
        background: Background::Manual,
        policy: None,
    };
    let settings = Settings {
        fsync: Fsync::Never,
        max_items: cache.max_items,
        max_bytes: cache.max_bytes,
        eviction: cache.policy,
        stripes: cache.stripes,
        // A fresh engine for each replay: it should cost little.
        segment_bytes: 1 << 20,
        staging_bytes: 256 << 10,
        // Values are as long as the trace says.
        compress: None,
        ..Settings::new("/data")
    };
    Engine::open(settings, components)
}
