//! Random commands from several connections against a plain model, with kills and a clock that jumps.
//!
//! The engine runs on the simulated disk and the simulated clock, the port over real TCP. Commands go one
//! after the other over a connection that is drawn, so that the model knows each reply. A kill drops
//! everything but what the disk has; in the mode `always` that is every write that was answered. Between
//! commands the clock jumps by seconds to hours, so that a run of minutes is days of deadlines.
//!
//! `EMBERKEEP_SEED` makes the run and is printed; `EMBERKEEP_MODEL_SECONDS` is how long the long one goes.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::{Duration, Instant},
};

use emberkeep::{config::RespSettings, node::Node, resp};
use emberkeep_storage::{
    Background, Components, Settings, UnixMillis,
    clock::Clock,
    random::Random,
    sim::{clock::SimClock, disk::SimDisk},
};

use super::wire::{Client, Value, shown};

const CONNECTIONS: usize = 4;
const KEYS: usize = 12;

/// What a key is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    value: Vec<u8>,
    deadline: Option<u64>,
}

type State = BTreeMap<Vec<u8>, Held>;

struct World {
    random: Random,
    clock: SimClock,
    disk: SimDisk,
    starts: u64,
    node: Option<Arc<Node>>,
    port: Option<resp::Port>,
    clients: Vec<Client>,
    model: State,
    /// On the simulated clock.
    passed: Duration,
}

impl World {
    fn new(seed: u64) -> World {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let mut world = World {
            random: Random::from_seed(bytes),
            clock: SimClock::new(),
            disk: SimDisk::new(),
            starts: 0,
            node: None,
            port: None,
            clients: Vec::new(),
            model: State::new(),
            passed: Duration::ZERO,
        };
        world.start();
        world
    }

    fn start(&mut self) {
        self.starts += 1;
        // Only what is there now is looked at, never what a power cut would leave.
        self.disk.stop_recording();
        let components = Components {
            vfs: Arc::new(self.disk.clone()),
            clock: Arc::new(self.clock.clone()),
            seed: [self.starts as u8; 32],
            background: Background::Threads,
            policy: None,
        };
        let mut settings = Settings::new("/data");
        settings.segment_bytes = 256 << 10;
        settings.checkpoint_bytes = 1 << 20;
        let node = Arc::new(Node::open(settings, components, &|_| ()).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        self.port = Some(resp::serve(listener, node.clone(), RespSettings::default()).unwrap());
        self.node = Some(node);
        self.clients = (0..CONNECTIONS).map(|_| Client::connect(address)).collect();
    }

    /// What the system keeps of a process that is killed, and the next start over it.
    fn kill(&mut self) {
        let disk = self.disk.after_kill();
        self.clients.clear();
        self.port.take().expect("it runs").stop();
        drop(self.node.take());
        self.disk = disk;
        self.start();
    }

    fn below(&mut self, end: u64) -> u64 {
        self.random.next_u64() % end
    }

    fn now(&self) -> u64 {
        let UnixMillis(now) = self.clock.wall();
        now
    }

    fn pass(&mut self, span: Duration) {
        self.clock.advance(span);
        self.passed += span;
        let now = self.now();
        self.model.retain(|_, held| held.deadline.is_none_or(|deadline| deadline > now));
    }

    fn key(&mut self) -> Vec<u8> {
        format!("key-{}", self.below(KEYS as u64)).into_bytes()
    }

    /// A command and its reply after the model; the model has changed then.
    fn command(&mut self) -> (Vec<Vec<u8>>, Value) {
        let (key, number) = (self.key(), self.below(1000));
        let value = if self.below(3) == 0 {
            number.to_string().into_bytes()
        } else {
            vec![b'a' + (number % 26) as u8; (self.below(300)) as usize]
        };
        let seconds = 1 + self.below(7200);
        let now = self.now();
        let held = self.model.get(&key).cloned();
        let deadline = held.as_ref().and_then(|held| held.deadline);
        let old = held.as_ref().map_or(Value::Nil, |held| Value::Bulk(held.value.clone()));
        let ok = || Value::Simple("OK".to_owned());
        let says = |words: &[&[u8]]| words.iter().map(|word| word.to_vec()).collect::<Vec<_>>();
        let later = Some(now + seconds * 1000);
        let seconds = seconds.to_string();
        let mut put = |value: Vec<u8>, deadline| self.model.insert(key.clone(), Held { value, deadline });
        match number % 14 {
            0 => (says(&[b"GET", &key]), old),
            1 => {
                put(value.clone(), None);
                (says(&[b"SET", &key, &value]), ok())
            }
            2 => {
                put(value.clone(), later);
                (says(&[b"SET", &key, &value, b"EX", seconds.as_bytes()]), ok())
            }
            3 => {
                let is_new = held.is_none();
                if is_new {
                    put(value.clone(), None);
                }
                (says(&[b"SET", &key, &value, b"NX"]), if is_new { ok() } else { Value::Nil })
            }
            4 => {
                let before = held.as_ref().map_or(Some(0), |held| number_in(&held.value));
                let reply = match before {
                    Some(before) => {
                        put((before + 1).to_string().into_bytes(), deadline);
                        Value::Int(before + 1)
                    }
                    None => Value::Error("ERR value is not an integer or out of range".to_owned()),
                };
                (says(&[b"INCR", &key]), reply)
            }
            5 => {
                let all = [held.map_or(Vec::new(), |held| held.value), value.clone()].concat();
                let len = all.len() as i64;
                put(all, deadline);
                (says(&[b"APPEND", &key, &value]), Value::Int(len))
            }
            6 => {
                if held.is_some() {
                    put(held.clone().expect("it is there").value, later);
                }
                (says(&[b"EXPIRE", &key, seconds.as_bytes()]), Value::Int(held.is_some().into()))
            }
            7 => {
                if let Some(held) = held {
                    put(held.value, None);
                }
                (says(&[b"PERSIST", &key]), Value::Int(deadline.is_some().into()))
            }
            8 => {
                self.model.remove(&key);
                (says(&[b"GETDEL", &key]), old)
            }
            9 => {
                let left = match (&held, deadline) {
                    (None, _) => -2,
                    (_, None) => -1,
                    (_, Some(deadline)) => (deadline - now) as i64,
                };
                (says(&[b"PTTL", &key]), Value::Int(left))
            }
            10 => {
                let other = format!("key-{}", (number / 14) as usize % KEYS).into_bytes();
                let reply = match held {
                    None => Value::Error("ERR no such key".to_owned()),
                    Some(held) => {
                        self.model.remove(&key);
                        self.model.insert(other.clone(), held);
                        ok()
                    }
                };
                (says(&[b"RENAME", &key, &other]), reply)
            }
            11 => {
                put(value.clone(), None);
                self.model.insert(b"pair".to_vec(), Held { value: value.clone(), deadline: None });
                (says(&[b"MSET", &key, &value, b"pair", &value]), ok())
            }
            12 => {
                let replies = [&key[..], b"pair"].map(|key| {
                    self.model.get(key).map_or(Value::Nil, |held| Value::Bulk(held.value.clone()))
                });
                (says(&[b"MGET", &key, b"pair"]), Value::Array(replies.to_vec()))
            }
            _ => {
                let there = self.model.remove(&key).is_some();
                (says(&[b"DEL", &key]), Value::Int(there.into()))
            }
        }
    }

    /// One command over one of the connections, or several in a transaction.
    fn step(&mut self) {
        let client = self.below(CONNECTIONS as u64) as usize;
        if self.below(6) > 0 {
            let (args, expected) = self.command();
            let reply = self.clients[client].run(&args);
            assert_eq!(reply, expected, "{}", shown(&args));
            return;
        }
        let count = 1 + self.below(5);
        let is_discarded = self.below(4) == 0;
        let before = self.model.clone();
        self.clients[client].say("MULTI");
        let mut expected = Vec::new();
        let mut said = Vec::new();
        for _ in 0..count {
            let (args, reply) = self.command();
            assert_eq!(self.clients[client].run(&args).to_string(), "+QUEUED");
            expected.push(reply);
            said.push(shown(&args));
        }
        if is_discarded {
            self.model = before;
            assert_eq!(self.clients[client].say("DISCARD").to_string(), "+OK");
        } else {
            assert_eq!(self.clients[client].say("EXEC"), Value::Array(expected), "{said:?}");
        }
    }

    /// Everything, as another connection sees it.
    fn check(&mut self) {
        let keys: Vec<Vec<u8>> = self.model.keys().cloned().collect();
        for key in &keys {
            let held = &self.model[key];
            assert_eq!(self.clients[0].run(&[b"GET", &key[..]]), Value::Bulk(held.value.clone()));
            let at = held.deadline.map_or(-1, |deadline| deadline as i64);
            assert_eq!(
                self.clients[0].run(&[b"PEXPIRETIME", &key[..]]),
                Value::Int(at),
                "{}",
                key.escape_ascii()
            );
        }
        let mut found: Vec<Vec<u8>> =
            self.clients[0].say("KEYS *").items().iter().map(|key| key.text().into_bytes()).collect();
        found.sort();
        assert_eq!(found, keys);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.clients.clear();
        if let Some(port) = self.port.take() {
            port.stop();
        }
    }
}

fn number_in(value: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(value).ok()?;
    text.parse::<i64>().ok().filter(|number| number.to_string() == text)
}

/// Goes on until `done` says so, told how many rounds there were and how much time has passed.
fn run(seed: u64, done: impl Fn(u64, Duration) -> bool) {
    println!("EMBERKEEP_SEED={seed}");
    let mut world = World::new(seed);
    let mut rounds = 0;
    while !done(rounds, world.passed) {
        for _ in 0..40 {
            world.step();
            if world.below(8) == 0 {
                let span = Duration::from_millis(world.below(90_000));
                world.pass(span);
            }
        }
        if world.below(3) == 0 {
            let span = Duration::from_secs(world.below(5400));
            world.pass(span);
        }
        if world.below(4) == 0 {
            world.kill();
        }
        world.check();
        rounds += 1;
    }
    println!("{rounds} rounds, {} starts, {} s of the clock", world.starts, world.passed.as_secs());
}

fn seed() -> u64 {
    std::env::var("EMBERKEEP_SEED").map_or(1, |text| text.parse().expect("a number"))
}

#[test]
fn every_reply_is_that_of_the_model_through_kills_and_a_day_of_the_clock() {
    run(seed(), |rounds, passed| rounds >= 100 && passed >= Duration::from_secs(24 * 3600));
}

#[test]
#[ignore = "takes minutes: .ci/run explore, or by hand with EMBERKEEP_MODEL_SECONDS and EMBERKEEP_SEED"]
#[expect(clippy::disallowed_methods, reason = "it goes on as long as it was given time")]
fn every_reply_is_that_of_the_model_for_as_long_as_it_is_given() {
    let seconds = std::env::var("EMBERKEEP_MODEL_SECONDS").map_or(60, |text| text.parse().expect("seconds"));
    let until = Instant::now() + Duration::from_secs(seconds);
    run(seed(), |_, _| Instant::now() > until);
}
