//! What the measurements share: an engine to measure, real servers beside each other, and keys.

pub mod peer;
pub mod report;

use std::{path::Path, sync::Arc};

use emberkeep_storage::{Background, Components, Engine, ErrorKind, Settings, Write, vfs::Vfs};

pub use emberkeep::tool::bench::{KEY_LEN, key};

use self::peer::Client;

/// The defaults, but no limit of memory, no snapshot while something else is measured, and values
/// as long as they are said to be.
pub fn settings(dir: &Path) -> Settings {
    Settings {
        max_bytes: None,
        checkpoint_bytes: 1 << 40,
        compress: None,
        max_replay_bytes: 1 << 40,
        ..Settings::new(dir.join("data"))
    }
}

/// Opens an engine on this file system.
///
/// # Panics
/// If that fails.
pub fn open(settings: Settings, vfs: Arc<dyn Vfs>, background: Background) -> Engine {
    let components =
        Components { vfs, background, ..Components::os().expect("the system gives random bytes") };
    Engine::open(settings, components).expect("the engine opens")
}

/// The value of a number: bytes that do not compress, the same in every run.
pub fn draw(number: u64, value: &mut [u8]) {
    let mut state = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for chunk in value.chunks_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let bytes = state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes();
        chunk.copy_from_slice(&bytes[..chunk.len()]);
    }
}

/// Puts the keys of `0..entries` with their values; all of it is on the disk afterwards.
///
/// # Panics
/// If the disk fails.
pub fn fill_engine(engine: &Engine, entries: u64, value_len: usize) {
    let mut value = vec![0; value_len];
    for number in 0..entries {
        draw(number, &mut value);
        loop {
            match engine.put(&key(number)[..], Write::new(&value)) {
                // Waited for all together.
                Ok(commit) => break drop(commit),
                Err(e) if e.kind() == ErrorKind::Overloaded => {
                    engine.ready(value_len).wait().expect("the disk works");
                }
                Err(e) => panic!("{e}"),
            }
        }
    }
    engine.sync().wait().expect("the disk works");
}

/// The same entries, over a connection to redis.
///
/// # Panics
/// If a value is refused.
pub fn fill_redis(client: &mut Client, entries: u64, value_len: usize) {
    const PAIRS: u64 = 4096;
    let mut values = vec![vec![0; value_len]; PAIRS as usize];
    for first in (0..entries).step_by(PAIRS as usize) {
        let numbers = first..entries.min(first + PAIRS);
        let keys: Vec<_> = numbers.clone().map(key).collect();
        numbers.zip(&mut values).for_each(|(number, value)| draw(number, value));
        client.set_all(keys.iter().map(|key| &key[..]).zip(values.iter().map(|value| &value[..])));
    }
}

/// Draws numbers from `0..n` as requests to a cache come: number `i` about `1 / (i + 1)^s` as
/// often as the first. The same sequence in every run.
#[derive(Debug)]
pub struct Zipf {
    n: f64,
    s: f64,
    state: u64,
}

impl Zipf {
    /// `s` must not be 1; 0.99 is usual.
    pub fn new(n: u64, s: f64) -> Zipf {
        Zipf { n: n as f64, s, state: 0x9e37_79b9_7f4a_7c15 }
    }

    /// The next number: the inverse of the continuous distribution, which is near enough.
    pub fn draw(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        let uniform = (self.state >> 11) as f64 / (1u64 << 53) as f64;
        let t = 1.0 - self.s;
        let x = (uniform * ((self.n + 1.0).powf(t) - 1.0) + 1.0).powf(1.0 / t);
        (x as u64).clamp(1, self.n as u64) - 1
    }
}
