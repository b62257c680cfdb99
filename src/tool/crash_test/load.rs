//! Clients that work on the same few keys at once and write down what they asked and were told.
//!
//! Only the form of an answer is judged here: a status that fits, a value that was sent, versions
//! that grow. Whether the answers fit together is for `judge`.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use hyper::Method;

use super::{
    client::{Client, Reply},
    clock::{Clock, Moment},
    draw::{self, Key, Kind, Mix, Put},
    history::{Ask, Call, Condition, KeyId, Lifetime, Outcome, WriteId},
    judge::{Broken, Finding},
    random::Random,
    value::{Form, Recipe},
    versions::Versions,
};
use crate::name::header;

/// So many versions of a key are remembered for conditions.
const SEEN_MAX: usize = 8;
/// Where the moment of an answer stands while there is none.
const NO_ANSWER: Moment = Moment::MAX;

/// What all clients share, over all rounds.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) clock: Clock,
    pub(super) keys: Vec<Key>,
    pub(super) versions: Mutex<Versions>,
    seen: Mutex<HashMap<KeyId, Vec<u64>>>,
    next_write: AtomicU64,
    /// From now on connections may end.
    pub(super) ending: AtomicBool,
    /// Bytes of values that were acknowledged in this run of the server.
    pub(super) bytes: AtomicU64,
    pub(super) broken: Mutex<Vec<Finding>>,
    /// Why the run cannot go on, though nothing is broken: the disk is full, or has failed.
    pub(super) trouble: Mutex<Option<String>>,
}

/// What a client was told, beyond an outcome.
enum Told {
    Outcome(Outcome),
    /// Nothing was done, for now.
    Nothing,
    /// Nothing was done, and this is the end of the connection.
    End,
}

impl Shared {
    pub(super) fn new(clock: Clock, keys: u32) -> Shared {
        Shared {
            clock,
            keys: (0..keys).map(Key::new).collect(),
            versions: Mutex::default(),
            seen: Mutex::default(),
            next_write: AtomicU64::new(1),
            ending: AtomicBool::new(false),
            bytes: AtomicU64::new(0),
            broken: Mutex::default(),
            trouble: Mutex::default(),
        }
    }

    /// Somebody has found that it cannot go on.
    pub(super) fn must_stop(&self) -> bool {
        !self.broken.lock().expect("no panic with the findings").is_empty()
            || self.trouble.lock().expect("no panic with the trouble").is_some()
    }

    pub(super) fn report(&self, kind: Broken, key: Option<KeyId>, text: String) {
        self.broken.lock().expect("no panic with the findings").push(Finding { kind, key, text });
    }

    fn saw(&self, key: KeyId, version: u64) {
        let mut seen = self.seen.lock().expect("no panic with the versions");
        let seen = seen.entry(key).or_default();
        if seen.last() != Some(&version) {
            seen.push(version);
        }
        if seen.len() > SEEN_MAX {
            seen.remove(0);
        }
    }

    fn seen(&self, key: KeyId) -> Vec<u64> {
        self.seen.lock().expect("no panic with the versions").get(&key).cloned().unwrap_or_default()
    }
}

/// Works until the connection ends; gives what was asked and told.
pub(super) async fn work(shared: Arc<Shared>, address: SocketAddr, random: Random, mix: Mix) -> Vec<Call> {
    let mut worker = match Worker::connect(shared.clone(), address, random, mix).await {
        Some(worker) => worker,
        None => return Vec::new(),
    };
    while !shared.must_stop() && worker.step().await {}
    worker.calls
}

/// Reads each of these keys once.
pub(super) async fn read(shared: Arc<Shared>, address: SocketAddr, part: u32, parts: u32) -> Vec<Call> {
    let mix = Mix { value_len_max: 1, mostly_reads: true };
    let Some(mut worker) = Worker::connect(shared.clone(), address, Random::new(0), mix).await else {
        return Vec::new();
    };
    for key in shared.keys.iter().filter(|key| key.id % parts == part) {
        while worker.calls.last().is_none_or(|call| call.key != key.id) {
            if !worker.get(key).await || shared.must_stop() {
                return worker.calls;
            }
        }
    }
    worker.calls
}

/// An export beside the load. The end may cut it off.
pub(super) async fn save(shared: Arc<Shared>, address: SocketAddr) {
    let Ok(mut client) = Client::connect(address).await else { return };
    let reply = client.request(Method::POST, "/save?file=beside.hfs", &[], Vec::new()).await;
    let failed = reply.is_ok_and(|reply| reply.status != 200);
    if failed && !shared.ending.load(SeqCst) {
        shared.report(Broken::Server, None, "an export failed beside the load".to_owned());
    }
}

struct Worker {
    shared: Arc<Shared>,
    random: Random,
    mix: Mix,
    client: Client,
    calls: Vec<Call>,
}

impl Worker {
    async fn connect(shared: Arc<Shared>, address: SocketAddr, random: Random, mix: Mix) -> Option<Worker> {
        match Client::connect(address).await {
            Ok(client) => Some(Worker { shared, random, mix, client, calls: Vec::new() }),
            Err(e) => {
                if !shared.ending.load(SeqCst) {
                    shared.report(Broken::Server, None, format!("cannot connect: {e}"));
                }
                None
            }
        }
    }

    /// One operation. False: the connection has ended.
    async fn step(&mut self) -> bool {
        let shared = self.shared.clone();
        let key = draw::key(&mut self.random, &shared.keys);
        match draw::kind(&mut self.random, self.mix) {
            Kind::Get => self.get(key).await,
            Kind::Put => self.put(key).await,
            Kind::Delete => self.delete(key).await,
        }
    }

    async fn get(&mut self, key: &Key) -> bool {
        let asked = self.shared.clock.now();
        let reply = self.client.request(Method::GET, &key.target, &[], Vec::new()).await;
        self.told(key, Ask::Get, asked, 0, reply).await
    }

    async fn put(&mut self, key: &Key) -> bool {
        let write = self.shared.next_write.fetch_add(1, SeqCst);
        let put = draw::put(&mut self.random, key, write, &self.shared.seen(key.id), self.mix);
        let highest = self.highest();
        let asked = self.shared.clock.now();
        let reply = match put.value.form {
            Form::Set => self.send_set(key, &put).await,
            _ => self.send_put(key, &put).await,
        };
        let ask = Ask::Put { write, condition: put.condition, lifetime: put.lifetime };
        if reply.as_ref().is_ok_and(|reply| reply.status < 300) {
            self.shared.bytes.fetch_add(put.value.len as u64, SeqCst);
        }
        self.told(key, ask, asked, highest, reply).await
    }

    async fn send_put(&mut self, key: &Key, put: &Put) -> Result<Reply, String> {
        let target = match put.lifetime {
            Lifetime::Forever => key.target.clone(),
            Lifetime::Ttl(ttl) => format!("{}?ttl={}ms", key.target, ttl.as_millis()),
            Lifetime::Keep => format!("{}?keepttl=true", key.target),
        };
        let (tag, content_type) = (tag(put.condition), put.value.content_type());
        let mut headers: Vec<(&str, &str)> = tag.iter().map(|(name, tag)| (*name, &**tag)).collect();
        if put.value.form == Form::Typed {
            headers.push(("content-type", &content_type));
        }
        self.client.request(Method::PUT, &target, &headers, put.value.bytes()).await
    }

    async fn send_set(&mut self, key: &Key, put: &Put) -> Result<Reply, String> {
        let mut json = serde_json::json!({
            "key": key.text,
            "value": String::from_utf8(put.value.bytes()).expect("this form is text"),
        });
        if let Lifetime::Ttl(ttl) = put.lifetime {
            json["ttl"] = ttl.as_secs_f64().into();
        }
        let headers = [("content-type", "application/json")];
        self.client.request(Method::POST, "/set", &headers, json.to_string().into_bytes()).await
    }

    async fn delete(&mut self, key: &Key) -> bool {
        let condition = draw::delete(&mut self.random, &self.shared.seen(key.id));
        let tag = tag(condition);
        let headers: Vec<(&str, &str)> = tag.iter().map(|(name, tag)| (*name, &**tag)).collect();
        let highest = self.highest();
        let asked = self.shared.clock.now();
        let reply = self.client.request(Method::DELETE, &key.target, &headers, Vec::new()).await;
        self.told(key, Ask::Delete { condition }, asked, highest, reply).await
    }

    fn highest(&self) -> u64 {
        self.shared.versions.lock().expect("no panic with the versions").highest()
    }

    /// Writes down an answer, or that there was none. False: the connection has ended.
    async fn told(
        &mut self,
        key: &Key,
        ask: Ask,
        asked: Moment,
        highest: u64,
        reply: Result<Reply, String>,
    ) -> bool {
        let answered = self.shared.clock.now();
        let call = |outcome, answered| Call { key: key.id, ask, asked, answered, outcome };
        let reply = match reply {
            Ok(reply) => reply,
            Err(why) => {
                self.calls.push(call(Outcome::Unknown, NO_ANSWER));
                return self.ended(&why);
            }
        };
        match self.understood(key, ask, highest, &reply) {
            Ok(Told::Outcome(Outcome::Unknown)) => self.calls.push(call(Outcome::Unknown, NO_ANSWER)),
            Ok(Told::Outcome(outcome)) => self.calls.push(call(outcome, answered)),
            Ok(Told::Nothing) => tokio::time::sleep(Duration::from_millis(1)).await,
            Ok(Told::End) => return false,
            Err((kind, text)) => {
                self.shared.report(kind, Some(key.id), text);
                return false;
            }
        }
        reply.header("connection") != Some("close") || self.ended("it said so")
    }

    fn ended(&self, why: &str) -> bool {
        if !self.shared.ending.load(SeqCst) {
            let text = format!("the server has ended a connection by itself: {why}");
            self.shared.report(Broken::Server, None, text);
        }
        false
    }

    fn understood(&self, key: &Key, ask: Ask, highest: u64, reply: &Reply) -> Result<Told, (Broken, String)> {
        let outcome = match (ask, reply.status) {
            (Ask::Get, 200) => self.found(key, reply)?,
            (Ask::Get | Ask::Delete { .. }, 404) => Outcome::Absent,
            (Ask::Put { write, .. }, 200 | 201 | 204) => {
                let version = reply.version().ok_or_else(|| malformed("a write without a version"))?;
                self.wrote(version, key, Some(write), highest)?;
                let created = (reply.status != 200).then_some(reply.status == 201);
                Outcome::Done { version, created, expires_at: reply.number(header::EXPIRES_AT) }
            }
            (Ask::Delete { .. }, 204) => {
                let seq =
                    reply.number(header::SEQ).ok_or_else(|| malformed("a deletion without a number"))?;
                self.wrote(seq, key, None, highest)?;
                Outcome::Done { version: seq, created: None, expires_at: None }
            }
            (Ask::Put { .. } | Ask::Delete { .. }, 412) => Outcome::Refused { current: reply.version() },
            (Ask::Put { .. } | Ask::Delete { .. }, 504) => Outcome::Unknown,
            (_, 503 | 507) => return self.not_done(reply),
            (_, status) => return Err(malformed(&format!("{ask:?} was answered with status {status}"))),
        };
        Ok(Told::Outcome(outcome))
    }

    fn found(&self, key: &Key, reply: &Reply) -> Result<Outcome, (Broken, String)> {
        let content_type = reply.header("content-type").unwrap_or_default();
        let recipe =
            Recipe::found(key.id, content_type, &reply.body).map_err(|text| (Broken::WrongBytes, text))?;
        let version = reply.version().ok_or_else(|| malformed("a value without a version"))?;
        let mut versions = self.shared.versions.lock().expect("no panic with the versions");
        versions.saw(version, key.id, Some(recipe.write)).map_err(|text| (Broken::Version, text))?;
        self.shared.saw(key.id, version);
        Ok(Outcome::Found { write: recipe.write, version, expires_at: reply.number(header::EXPIRES_AT) })
    }

    fn wrote(
        &self,
        version: u64,
        key: &Key,
        write: Option<WriteId>,
        highest: u64,
    ) -> Result<(), (Broken, String)> {
        let mut versions = self.shared.versions.lock().expect("no panic with the versions");
        versions.wrote(version, key.id, write, highest).map_err(|text| (Broken::Version, text))?;
        if write.is_some() {
            self.shared.saw(key.id, version);
        }
        Ok(())
    }

    /// Nothing was done: no room at the moment, or the server stops, or it cannot go on.
    fn not_done(&self, reply: &Reply) -> Result<Told, (Broken, String)> {
        let body = String::from_utf8_lossy(&reply.body);
        if body.contains("overloaded") {
            return Ok(Told::Nothing);
        }
        if body.contains("shutting-down") && self.shared.ending.load(SeqCst) {
            return Ok(Told::End);
        }
        *self.shared.trouble.lock().expect("no panic with the trouble") = Some(body.into_owned());
        Ok(Told::End)
    }
}

fn malformed(text: &str) -> (Broken, String) {
    (Broken::Server, text.to_owned())
}

fn tag(condition: Condition) -> Option<(&'static str, String)> {
    match condition {
        Condition::Always => None,
        Condition::Absent => Some(("if-none-match", "*".to_owned())),
        Condition::Is(version) => Some(("if-match", format!("\"{version}\""))),
    }
}
