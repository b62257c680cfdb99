//! Filling one cache in this process, or redis-server, and looking at its memory.

use std::{collections::HashMap, hint::black_box, sync::Arc, time::Duration};

use emberkeep_benches::{
    key, open,
    peer::{Kind, Server},
    report::rss,
    settings,
};
use emberkeep_storage::{
    Background, Engine, ErrorKind, Expiry, Fsync, Settings, Write, sim::no_log::no_log, vfs::os::OsVfs,
};

/// Far away, so that nothing expires.
const TTL: Duration = Duration::from_secs(100_000);
/// Small buffers for the log: they are there whatever the number of keys is, and how much of them is
/// used depends on the moment.
const STAGING_BYTES: u64 = 256 << 10;
/// Writes of one key, after which those buffers have their size.
const WARM_UP: u64 = 100_000;

/// What is filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    Emberkeep,
    EmberkeepFull,
    Redis,
    HashMap,
    Moka,
    MokaFull,
    QuickCache,
    QuickCacheFull,
}

/// One cell of the table.
pub struct Fill {
    pub subject: Subject,
    pub keys: u64,
    pub value_len: usize,
    pub timed: bool,
}

impl Subject {
    pub const ALL: [Subject; 8] = [
        Subject::Emberkeep,
        Subject::EmberkeepFull,
        Subject::Redis,
        Subject::HashMap,
        Subject::Moka,
        Subject::MokaFull,
        Subject::QuickCache,
        Subject::QuickCacheFull,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Subject::Emberkeep => "emberkeep",
            Subject::EmberkeepFull => "emberkeep, full",
            Subject::Redis => "redis-server",
            Subject::HashMap => "HashMap",
            Subject::Moka => "moka",
            Subject::MokaFull => "moka, full",
            Subject::QuickCache => "quick_cache",
            Subject::QuickCacheFull => "quick_cache, full",
        }
    }

    pub fn parse(name: &str) -> Option<Subject> {
        Subject::ALL.into_iter().find(|subject| subject.name() == name)
    }

    pub fn is_engine(self) -> bool {
        matches!(self, Subject::Emberkeep | Subject::EmberkeepFull)
    }
}

impl Fill {
    pub fn arguments(&self) -> [String; 4] {
        let Fill { subject, keys, value_len, timed } = self;
        [subject.name().to_owned(), keys.to_string(), value_len.to_string(), timed.to_string()]
    }

    /// The other way round; the arguments are our own.
    pub fn parse(arguments: &[String]) -> Fill {
        let [subject, keys, value_len, timed] = arguments else { panic!("four arguments") };
        Fill {
            subject: Subject::parse(subject).expect("a name"),
            keys: keys.parse().expect("a number"),
            value_len: value_len.parse().expect("a number"),
            timed: timed.parse().expect("true or false"),
        }
    }

    /// Not everybody knows deadlines.
    pub fn is_possible(&self) -> bool {
        let timeless =
            matches!(self.subject, Subject::HashMap | Subject::QuickCache | Subject::QuickCacheFull);
        !(self.timed && timeless)
    }

    /// Bytes by which the memory has grown, and bytes accounted (0 where nobody accounts).
    pub fn measure(&self) -> (u64, u64) {
        match self.subject {
            Subject::Emberkeep => self.engine(None),
            Subject::EmberkeepFull => self.engine(Some(self.keys)),
            Subject::Redis => (self.redis(), 0),
            Subject::HashMap => (self.hash_map(), 0),
            Subject::Moka => (self.moka(None), 0),
            Subject::MokaFull => (self.moka(Some(self.keys)), 0),
            Subject::QuickCache => (self.quick_cache(2 * self.keys, self.keys), 0),
            Subject::QuickCacheFull => (self.quick_cache(self.keys, 2 * self.keys), 0),
        }
    }

    fn engine(&self, max_items: Option<u64>) -> (u64, u64) {
        let dir = tempfile::tempdir().expect("a directory can be created");
        let settings =
            Settings { max_items, fsync: Fsync::Never, staging_bytes: STAGING_BYTES, ..settings(dir.path()) };
        let engine = open(settings, no_log(Arc::new(OsVfs)), Background::Threads);
        let value = vec![b'v'; self.value_len];
        let expiry = if self.timed { Expiry::In(TTL) } else { Expiry::Never };
        let put = |key: &[u8]| put(&engine, key, &Write { expiry, ..Write::new(&value) });
        (0..WARM_UP).for_each(|_| put(b"warm"));
        let (before, bytes_before) = (rss(), engine.stats().bytes);
        let written = if max_items.is_some() { 2 * self.keys } else { self.keys };
        (0..written).for_each(|number| put(&key(number)));
        let stats = engine.stats();
        let in_it = if max_items.is_some() { self.keys } else { self.keys + 1 };
        assert_eq!(stats.items, in_it, "all keys that should be in it are");
        (rss().saturating_sub(before), stats.bytes - bytes_before)
    }

    fn hash_map(&self) -> u64 {
        let before = rss();
        let mut map: HashMap<Box<[u8]>, Box<[u8]>> = HashMap::new();
        for number in 0..self.keys {
            map.insert(Box::new(key(number)), self.value());
        }
        let bytes = rss().saturating_sub(before);
        black_box(map);
        bytes
    }

    fn moka(&self, limit: Option<u64>) -> u64 {
        let mut builder = moka::sync::Cache::<Box<[u8]>, Box<[u8]>>::builder();
        builder = if self.timed { builder.time_to_live(TTL) } else { builder };
        let cache = if let Some(limit) = limit { builder.max_capacity(limit) } else { builder }.build();
        let before = rss();
        for number in 0..if limit.is_some() { 2 * self.keys } else { self.keys } {
            cache.insert(Box::new(key(number)), self.value());
        }
        cache.run_pending_tasks();
        assert_eq!(cache.entry_count(), self.keys);
        rss().saturating_sub(before)
    }

    fn quick_cache(&self, capacity: u64, written: u64) -> u64 {
        let before = rss();
        let cache = quick_cache::sync::Cache::<Box<[u8]>, Box<[u8]>>::new(capacity as usize);
        for number in 0..written {
            cache.insert(Box::new(key(number)), self.value());
        }
        let in_it = cache.len() as f64;
        assert!(in_it > 0.98 * self.keys as f64, "it holds {in_it}");
        rss().saturating_sub(before)
    }

    fn redis(&self) -> u64 {
        let dir = tempfile::tempdir().expect("a directory can be created");
        let server = Server::start(Kind::Redis, dir.path(), &["--save", "", "--appendonly", "no"]);
        let mut client = server.client();
        let before = server.rss(false);
        let value = "v".repeat(self.value_len);
        let ttl = if self.timed { TTL.as_millis().to_string() } else { "0".to_owned() };
        const STEP: u64 = 100_000;
        for from in (0..self.keys).step_by(STEP as usize) {
            let to = (from + STEP).min(self.keys) - 1;
            let reply =
                client.command(&["EVAL", FILL, "0", &from.to_string(), &to.to_string(), &value, &ttl]);
            assert!(reply.is_some(), "the script runs");
        }
        let in_it = client.command(&["DBSIZE"]).expect("a number");
        assert_eq!(String::from_utf8_lossy(&in_it), self.keys.to_string());
        server.rss(false).saturating_sub(before)
    }

    fn value(&self) -> Box<[u8]> {
        vec![b'v'; self.value_len].into()
    }
}

/// Sets the keys from ARGV 1 to 2 to ARGV 3, each with a deadline unless ARGV 4 is 0.
const FILL: &str = "for i = tonumber(ARGV[1]), tonumber(ARGV[2]) do \
    local key = string.format('key:%012d', i) \
    if ARGV[4] == '0' then redis.call('SET', key, ARGV[3]) \
    else redis.call('SET', key, ARGV[3], 'PX', ARGV[4]) end end return 1";

/// Waits for room in the log where there is none.
fn put(engine: &Engine, key: &[u8], write: &Write<'_>) {
    loop {
        match engine.put(key, *write) {
            Ok(_appended) => return,
            Err(e) if e.kind() == ErrorKind::Overloaded => {
                engine.ready(key.len() + write.value.len()).wait().expect("there will be room");
            }
            Err(e) => panic!("{e}"),
        }
    }
}
