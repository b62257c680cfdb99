//! Clients that write and read keys of their own, and a witness that reads everybody's.
//!
//! Each answer is held against what the client knows, while the server runs: the bytes of a read,
//! the outcome of a condition, `201` or `204`, versions that grow. When the connection ends,
//! the operation under way becomes one of unknown outcome.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use super::{
    client::{Client, Reply},
    keys::{self, Deadline, Held, Key, Presence, Recipe, Rules, Span, State, now},
    random::Random,
    versions::{Content, KeyId, Versions},
};

const BYTES: &str = "application/octet-stream";
const TEXT: &str = "text/plain; charset=utf-8";

/// What the clients of one run of the server share.
pub struct Run {
    pub address: SocketAddr,
    pub rules: Rules,
    /// Values have up to this many bytes.
    pub value_len_max: u64,
    pub versions: Arc<Versions>,
    /// From now on connections may end.
    pub ending: AtomicBool,
    /// Somebody has found something wrong.
    pub failed: AtomicBool,
    /// Bytes of values that were acknowledged.
    pub bytes: AtomicU64,
    /// Writes that were acknowledged.
    pub writes: AtomicU64,
}

/// What a client does after a request.
#[derive(PartialEq)]
enum Next {
    Go,
    /// The connection has ended, as it may.
    Stop,
}

/// A write and when it is to happen.
struct Put {
    condition: Condition,
    lifetime: Lifetime,
    value: Recipe,
    content_type: Option<&'static str>,
    /// By `POST /set` instead of `PUT`.
    by_set: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Condition {
    Always,
    /// `If-None-Match: *`
    Absent,
    /// `If-Match: "…"`
    Is(u64),
}

#[derive(Clone, Copy)]
enum Lifetime {
    Ttl(Option<Duration>),
    /// `keepttl=true`
    Keep,
}

/// Runs one client until the connection ends. Its keys then hold what is known.
pub fn client(run: &Run, keys: &mut [Key], random: Random) -> Result<(), String> {
    let connected = Client::connect(run.address);
    let mut worker = match connected {
        Ok(client) => Worker { run, keys, random, client },
        Err(_) if run.ending.load(Ordering::SeqCst) => return Ok(()),
        Err(e) => return Err(format!("cannot connect: {e}")),
    };
    let result = worker.work();
    run.failed.fetch_or(result.is_err(), Ordering::SeqCst);
    result
}

/// Reads every key once and holds it against what is known.
pub fn verify(run: &Run, keys: &mut [Key]) -> Result<(), String> {
    let mut client = Client::connect(run.address).map_err(|e| format!("cannot connect: {e}"))?;
    for key in keys {
        let asked = now();
        let reply = client.request("GET", &key.target, &[], b"");
        let reply = reply.map_err(|e| format!("cannot read {}: {e}", key.target))?;
        key.read(&reply, Span::since(asked), run.rules, &run.versions)
            .map_err(|why| format!("{}: {why}", key.target))?;
    }
    Ok(())
}

/// Reads keys of all clients until the connection ends; gives the highest version seen of each.
pub fn witness(
    run: &Run,
    targets: &[(KeyId, String)],
    mut random: Random,
) -> Result<HashMap<KeyId, u64>, String> {
    let mut seen = HashMap::new();
    let Ok(mut client) = Client::connect(run.address) else { return Ok(seen) };
    loop {
        let (id, target) = &targets[random.within(0..targets.len() as u64) as usize];
        let Ok(reply) = client.request("GET", target, &[], b"") else { return Ok(seen) };
        if reply.status == 200 {
            let version = keys::version(&reply)?;
            run.versions.saw(*id, version, Content::of(&reply.body))?;
            let before = seen.insert(*id, version);
            if before.is_some_and(|before| before > version) {
                return Err(format!("{target}: read version {before:?}, then {version}"));
            }
        }
        if run.failed.load(Ordering::SeqCst) {
            return Ok(seen);
        }
    }
}

struct Worker<'w> {
    run: &'w Run,
    keys: &'w mut [Key],
    random: Random,
    client: Client,
}

impl Worker<'_> {
    fn work(&mut self) -> Result<(), String> {
        while !self.run.failed.load(Ordering::SeqCst) {
            let at = self.random.within(0..self.keys.len() as u64) as usize;
            let Some(state) = self.keys[at].state().cloned() else { continue };
            let next = match self.random.within(0..100) {
                0..70 => self.put(at, &state),
                70..85 => self.delete(at, &state),
                _ => self.get(at),
            };
            let target = &self.keys[at].target;
            if next.map_err(|why| format!("{target}: {why}"))? == Next::Stop {
                return Ok(());
            }
        }
        Ok(())
    }

    fn get(&mut self, at: usize) -> Result<Next, String> {
        let asked = now();
        match self.client.request("GET", &self.keys[at].target, &[], b"") {
            Err(e) => self.ended(e),
            Ok(reply) if is_refused(&reply) => self.refused(&reply),
            Ok(reply) => {
                let (run, key) = (self.run, &mut self.keys[at]);
                key.read(&reply, Span::since(asked), run.rules, &run.versions)?;
                self.goes_on(&reply)
            }
        }
    }

    fn put(&mut self, at: usize, before: &State) -> Result<Next, String> {
        let put = self.draw_put(at, before);
        let asked = now();
        let sent = self.send_put(at, &put);
        let span = Span::since(asked);
        let deadline = match (put.lifetime, before) {
            (Lifetime::Ttl(ttl), _) => Deadline::after(ttl, span),
            (Lifetime::Keep, State::Present(held)) => held.deadline,
            (Lifetime::Keep, State::Absent) => Deadline::Never,
        };
        let held = Held {
            value: put.value,
            content_type: put.content_type.unwrap_or(BYTES),
            version: None,
            deadline,
        };
        let reply = match sent {
            Ok(reply) => reply,
            Err(e) => {
                if put.condition.holds(before, span, self.run.rules) != Presence::No {
                    self.keys[at].unknown(State::Present(held));
                }
                return self.ended(e);
            }
        };
        match reply.status {
            412 => self.not_met(at, &put.condition, before, span, &reply)?,
            200 | 201 | 204 => {
                self.check_met(&put, before, span, reply.status)?;
                let version = keys::version(&reply)?;
                let deadline = held.deadline.told(keys::expires_at(&reply)?)?;
                let bytes = put.value.bytes();
                self.run.versions.wrote(self.keys[at].id, version, Content::of(&bytes))?;
                self.acknowledged(
                    at,
                    State::Present(Held { version: Some(version), deadline, ..held }),
                    version,
                );
                self.run.bytes.fetch_add(bytes.len() as u64, Ordering::SeqCst);
            }
            _ if is_refused(&reply) => return self.refused(&reply),
            504 => self.keys[at].unknown(State::Present(held)),
            status => return Err(format!("a write was answered with status {status}")),
        }
        self.goes_on(&reply)
    }

    fn draw_put(&mut self, at: usize, before: &State) -> Put {
        let (random, key) = (&mut self.random, &mut self.keys[at]);
        let kind = random.within(0..100);
        let by_set = kind < 10 && key.text.is_some();
        let max = self.run.value_len_max;
        // Some empty, many small, some large.
        let len = match random.within(0..20) {
            0 => 0,
            1..12 => random.within(1..200.min(max)),
            12..16 => random.within(1..(max / 16).max(2)),
            _ => random.within(1..max),
        };
        let ttl = match random.within(0..10) {
            0..6 => None,
            6..8 => Some(Duration::from_secs(random.within(600..7200))),
            _ => Some(Duration::from_millis(random.within(50..1500))),
        };
        // To keep a deadline that may be passing has two outcomes.
        let lasts = match before {
            State::Absent => true,
            State::Present(held) => match held.deadline {
                Deadline::Never => true,
                Deadline::At(at) => at > now() + 300_000,
                Deadline::Between(..) => false,
            },
        };
        let lifetime = match kind {
            10..18 if lasts && !self.run.rules.evicts => Lifetime::Keep,
            _ => Lifetime::Ttl(ttl),
        };
        let condition = match (kind, before) {
            (20..32, _) => Condition::Absent,
            (32..45, State::Present(Held { version: Some(version), .. })) => Condition::Is(*version),
            // The version before: must not match.
            (45..50, State::Present(Held { version: Some(version), .. })) => Condition::Is(version - 1),
            (32..50, _) => Condition::Is(1 + self.run.versions.highest(key.id)),
            _ => Condition::Always,
        };
        let content_type = match random.within(0..3) {
            _ if by_set => Some(TEXT),
            0 => Some("application/x-test; n=1"),
            _ => None,
        };
        let value = key.next_value(len as usize, by_set);
        Put { condition, lifetime, value, content_type, by_set }
    }

    fn send_put(&mut self, at: usize, put: &Put) -> io::Result<Reply> {
        let key = &self.keys[at];
        if put.by_set {
            let mut json = serde_json::json!({
                "key": key.text.as_ref().expect("only keys that are text"),
                "value": String::from_utf8(put.value.bytes()).expect("text was asked for"),
            });
            if let Lifetime::Ttl(Some(ttl)) = put.lifetime {
                json["ttl"] = ttl.as_secs_f64().into();
            }
            let headers = [("Content-Type", "application/json")];
            return self.client.request("POST", "/set", &headers, json.to_string().as_bytes());
        }
        let target = match put.lifetime {
            Lifetime::Ttl(None) => key.target.clone(),
            Lifetime::Ttl(Some(ttl)) => format!("{}?ttl={}ms", key.target, ttl.as_millis()),
            Lifetime::Keep => format!("{}?keepttl=true", key.target),
        };
        let tag = put.condition.tag();
        let mut headers: Vec<(&str, &str)> =
            put.content_type.map(|text| ("Content-Type", text)).into_iter().collect();
        headers.extend(put.condition.header().map(|name| (name, &*tag)));
        self.client.request("PUT", &target, &headers, &put.value.bytes())
    }

    fn delete(&mut self, at: usize, before: &State) -> Result<Next, String> {
        let condition = match before {
            State::Present(Held { version: Some(version), .. }) if self.random.chance(30) => {
                Condition::Is(*version)
            }
            _ => Condition::Always,
        };
        let tag = condition.tag();
        let headers: Vec<_> = condition.header().map(|name| (name, &*tag)).into_iter().collect();
        let asked = now();
        let sent = self.client.request("DELETE", &self.keys[at].target, &headers, b"");
        let span = Span::since(asked);
        let rules = self.run.rules;
        let reply = match sent {
            Ok(reply) => reply,
            Err(e) => {
                self.keys[at].unknown(State::Absent);
                return self.ended(e);
            }
        };
        match reply.status {
            204 if before.presence(span, rules) == Presence::No => {
                return Err("deleted an entry that was not there".to_owned());
            }
            204 => {
                let seq = reply.header("emberkeep-seq").and_then(|seq| seq.parse().ok());
                let seq = seq.ok_or("a deletion without emberkeep-seq")?;
                self.run.versions.wrote(self.keys[at].id, seq, Content::Deleted)?;
                self.acknowledged(at, State::Absent, seq);
            }
            404 => self.keys[at].absent(span, rules)?,
            412 => self.not_met(at, &condition, before, span, &reply)?,
            504 => self.keys[at].unknown(State::Absent),
            _ if is_refused(&reply) => return self.refused(&reply),
            status => return Err(format!("a deletion was answered with status {status}")),
        }
        self.goes_on(&reply)
    }

    fn acknowledged(&mut self, at: usize, state: State, version: u64) {
        // The log is in order: what this client has seen before is written too.
        self.keys.iter_mut().for_each(Key::settle);
        self.keys[at].acknowledged(state, version);
        self.run.writes.fetch_add(1, Ordering::SeqCst);
    }

    /// A write was done: was it allowed to, and does it say rightly whether there was an entry?
    fn check_met(&self, put: &Put, before: &State, span: Span, status: u16) -> Result<(), String> {
        if put.condition.holds(before, span, self.run.rules) == Presence::No {
            return Err(format!("a condition was met that cannot be, before={before:?}"));
        }
        match (status, before.presence(span, self.run.rules)) {
            (201, Presence::Yes) => Err(format!("created, but there was {before:?}")),
            (204, Presence::No) => Err("replaced, but there was nothing".to_owned()),
            _ => Ok(()),
        }
    }

    /// A condition was refused: rightly so?
    fn not_met(
        &mut self,
        at: usize,
        condition: &Condition,
        before: &State,
        span: Span,
        reply: &Reply,
    ) -> Result<(), String> {
        if condition.holds(before, span, self.run.rules) == Presence::Yes {
            return Err(format!("a condition was refused that holds, before={before:?}"));
        }
        if reply.header("etag").is_none() {
            return self.keys[at].absent(span, self.run.rules);
        }
        let stands = keys::version(reply)?;
        match before {
            State::Present(held) if held.version == Some(stands) => Ok(()),
            _ => Err(format!("version {stands} is said to stand, expected {before:?}")),
        }
    }

    /// No answer came.
    fn ended(&self, error: io::Error) -> Result<Next, String> {
        if self.run.ending.load(Ordering::SeqCst) {
            return Ok(Next::Stop);
        }
        Err(format!("the server has ended a connection by itself: {error}"))
    }

    /// Nothing was done: no room at the moment, or the server stops.
    fn refused(&self, reply: &Reply) -> Result<Next, String> {
        let ending = self.run.ending.load(Ordering::SeqCst);
        let body = String::from_utf8_lossy(&reply.body);
        if body.contains("overloaded") {
            return Ok(Next::Go);
        }
        if body.contains("shutting-down") && ending {
            Ok(Next::Stop)
        } else {
            Err(format!("refused: {body}"))
        }
    }

    fn goes_on(&self, reply: &Reply) -> Result<Next, String> {
        if reply.header("connection") != Some("close") {
            return Ok(Next::Go);
        }
        self.ended(io::ErrorKind::ConnectionAborted.into())
    }
}

impl Condition {
    /// Whether it holds for `state`, as far as can be known.
    fn holds(self, state: &State, span: Span, rules: Rules) -> Presence {
        let presence = state.presence(span, rules);
        match (self, state) {
            (Condition::Always, _) => Presence::Yes,
            (Condition::Absent, _) => match presence {
                Presence::Yes => Presence::No,
                Presence::No => Presence::Yes,
                Presence::Maybe => Presence::Maybe,
            },
            (Condition::Is(wanted), State::Present(held)) if held.version == Some(wanted) => presence,
            (Condition::Is(_), _) => Presence::No,
        }
    }

    fn header(self) -> Option<&'static str> {
        match self {
            Condition::Always => None,
            Condition::Absent => Some("If-None-Match"),
            Condition::Is(_) => Some("If-Match"),
        }
    }

    fn tag(self) -> String {
        match self {
            Condition::Is(version) => format!("\"{version}\""),
            _ => "*".to_owned(),
        }
    }
}

fn is_refused(reply: &Reply) -> bool {
    reply.status == 503
}
