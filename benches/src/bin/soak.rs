//! How close the accounting is to what the process really takes, after a long churn of mixed sizes,
//! for each allocator.
//!
//! ```text
//! cargo run --release -p emberkeep-benches --bin soak -- [--markdown] [--max-mib 512]
//!     [--times 10] [--allocator all|system|jemalloc|mimalloc] [--dir DIR]
//! ```
//!
//! Values of 100 bytes to 64 KiB, log-uniform; so many times the limit is written. Of the writes one
//! in four replaces an entry by one of another size, and every tenth step deletes. With `all` (the
//! default) it builds itself with each allocator and runs them one after the other; glibc also with
//! the settings that may help it. The heap's own resident pages are counted, less what the process
//! had before the first write.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    thread,
    time::Duration,
};

use emberkeep_benches::{
    key, open,
    report::{self, Flags, anonymous_bytes, circumstances},
    settings,
};
use emberkeep_storage::{
    Background, Condition, Engine, ErrorKind, Fsync, Settings, Write, allocator, random::Random,
    vfs::os::OsVfs,
};

#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[cfg(all(feature = "mimalloc", not(feature = "jemalloc")))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const LINKED: &str = match (cfg!(feature = "jemalloc"), cfg!(feature = "mimalloc")) {
    (true, _) => "jemalloc",
    (_, true) => "mimalloc",
    _ => "system",
};
const HEADS: [&str; 8] =
    ["allocator", "settings", "items", "accounted MiB", "of the limit", "resident MiB", "ratio", "highest"];
/// Resident pages are looked at this often.
const LOOKS: u64 = 200;
/// Settings, and the allocators they are for: of the environment, or what the server does itself.
const VARIANTS: [(&str, &str, &str); 6] = [
    ("system", "", ""),
    ("system", "GLIBC_TUNABLES", "glibc.malloc.arena_max=1"),
    ("system", "tuned", "as the server does"),
    ("jemalloc", "", ""),
    ("jemalloc", "_RJEM_MALLOC_CONF", "dirty_decay_ms:0,muzzy_decay_ms:0"),
    ("mimalloc", "", ""),
];

struct Options {
    max_bytes: u64,
    times: u64,
    dir: PathBuf,
}

fn main() {
    let mut flags = Flags::parse("soak.rs");
    let allocator: String = flags.take("allocator", "all".to_owned());
    let (bare, tuned) = (flags.take("bare", false), flags.take("tuned", false));
    if tuned {
        allocator::tune();
    }
    let (max_mib, times) = (flags.take("max-mib", 512u64), flags.take("times", 10u64));
    let options = Options { max_bytes: max_mib << 20, times, dir: flags.take("dir", std::env::temp_dir()) };
    let markdown = flags.markdown();
    // Started by itself: one line for the table.
    if bare {
        println!("{}", options.row().join("\t"));
        return;
    }
    println!("{}\n", circumstances("soak", "`never`"));
    let mut lines = vec![HEADS.map(str::to_owned).to_vec()];
    let wanted = VARIANTS.iter().filter(|(name, ..)| allocator == "all" || allocator == *name);
    lines.extend(wanted.map(|variant| options.built_with(variant)));
    println!("{}", report::table("Resident and accounted after a churn", &lines, markdown));
}

impl Options {
    /// Builds this program with an allocator and runs it.
    fn built_with(&self, (allocator, name, value): &(&str, &str, &str)) -> Vec<String> {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["run", "--release", "--quiet", "-p", "emberkeep-benches", "--bin", "soak"]);
        if *allocator != "system" {
            cargo.args(["--features", allocator]);
        }
        cargo.args(["--", "--bare", "true"]);
        cargo.args(["--max-mib", &(self.max_bytes >> 20).to_string(), "--times", &self.times.to_string()]);
        cargo.arg("--dir").arg(&self.dir).current_dir(env!("CARGO_MANIFEST_DIR"));
        match *name {
            "" => {}
            "tuned" => drop(cargo.args(["--tuned", "true"])),
            _ => drop(cargo.env(name, value)),
        }
        let output = cargo.output().expect("cargo runs");
        assert!(output.status.success(), "{allocator}: {}", String::from_utf8_lossy(&output.stderr));
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut row: Vec<String> = said.trim_end().split('\t').map(str::to_owned).collect();
        row.insert(1, if value.is_empty() { "none".to_owned() } else { (*value).to_owned() });
        row
    }

    fn row(&self) -> Vec<String> {
        let dir = tempfile::tempdir_in(&self.dir).expect("a directory can be created");
        let base = anonymous_bytes();
        let engine = self.open(dir.path());
        let mut churn = Churn::new(self.max_bytes);
        let (mut highest, mut looked) = (0.0f64, 0);
        while churn.written < self.times * self.max_bytes {
            churn.step(&engine);
            if churn.written * LOOKS / (self.times * self.max_bytes) > looked {
                looked += 1;
                let stats = engine.stats();
                assert!(stats.bytes <= limit_of(self.max_bytes), "the limit holds: {stats:?}");
                // While it fills, fixed costs count for more than they are.
                if churn.written > 2 * self.max_bytes {
                    highest = highest.max(resident(base) / stats.bytes as f64);
                }
            }
        }
        // Buffers have been written and freed.
        engine.sync().wait().expect("the disk works");
        thread::sleep(Duration::from_secs(1));
        let (stats, resident) = (engine.stats(), resident(base));
        engine.check();
        let mib = |bytes: f64| format!("{:.0}", bytes / f64::from(1 << 20));
        vec![
            LINKED.to_owned(),
            stats.items.to_string(),
            mib(stats.bytes as f64),
            format!("{:.1} %", 100.0 * stats.bytes as f64 / self.max_bytes as f64),
            mib(resident),
            format!("{:.3}", resident / stats.bytes as f64),
            format!("{highest:.3}"),
        ]
    }

    fn open(&self, dir: &Path) -> Engine {
        // Snapshots prune the log, as in a server: ten times the limit is much for a disk.
        let defaults = Settings::new(dir.join("data"));
        let checkpoint_bytes = defaults.checkpoint_bytes;
        let bounded = Settings { max_bytes: Some(self.max_bytes), checkpoint_bytes, ..settings(dir) };
        open(Settings { fsync: Fsync::Never, ..bounded }, Arc::new(OsVfs), Background::Threads)
    }
}

/// Tombstones have a part on top.
fn limit_of(max_bytes: u64) -> u64 {
    max_bytes + max_bytes / 50
}

fn resident(base: u64) -> f64 {
    anonymous_bytes().saturating_sub(base) as f64
}

/// Draws what is written next. The same in every run.
struct Churn {
    random: Random,
    value: Vec<u8>,
    written: u64,
    fresh: u64,
    /// About as many as fit.
    held: u64,
}

impl Churn {
    fn new(max_bytes: u64) -> Churn {
        // The mean of a log-uniform draw from 100 bytes to 64 KiB is some 10 KiB.
        let held = max_bytes / (10 << 10);
        let mut random = Random::from_seed([9; 32]);
        // Nothing that could be compressed.
        let value = (0..8 << 10).flat_map(|_| random.next_u64().to_le_bytes()).collect();
        Churn { random, value, written: 0, fresh: 0, held }
    }

    fn step(&mut self, engine: &Engine) {
        let recent = self.fresh.saturating_sub(self.below(self.held));
        if self.below(10) == 0 {
            let key = key(recent);
            when_there_is_room(engine, || engine.delete(&key[..], Condition::Always, None).map(drop));
            return;
        }
        let number = if self.below(4) == 0 { recent } else { self.next_fresh() };
        let (key, len) = (key(number), self.len());
        when_there_is_room(engine, || engine.put(&key[..], Write::new(&self.value[..len])).map(drop));
        self.written += len as u64;
    }

    fn next_fresh(&mut self) -> u64 {
        self.fresh += 1;
        self.fresh
    }

    fn below(&mut self, n: u64) -> u64 {
        self.random.next_u64() % n.max(1)
    }

    /// From 100 to 65,536, as often from 100 to 200 as from 1,000 to 2,000.
    fn len(&mut self) -> usize {
        let uniform = self.below(1 << 32) as f64 / f64::from(u32::MAX);
        (100.0 * (65_536.0f64 / 100.0).powf(uniform)) as usize
    }
}

fn when_there_is_room(engine: &Engine, write: impl Fn() -> emberkeep_storage::Result<()>) {
    while let Err(e) = write() {
        assert_eq!(e.kind(), ErrorKind::Overloaded, "{e}");
        engine.ready(64 << 10).wait().expect("the disk works");
        thread::yield_now();
    }
}
