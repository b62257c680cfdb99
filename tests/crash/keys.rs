//! What a key may hold, by everything that was acknowledged about it.
//!
//! A key has one writer, so its operations are a sequence, and at most the last one is of unknown
//! outcome: then the key may hold one of two states, until somebody looks. Where the cache may
//! evict, a key may be absent at any time; a value that is not the latest is never right.

use std::time::{Duration, SystemTime};

use super::{
    client::Reply,
    random::Random,
    versions::{Content, KeyId, Versions},
};

/// How far the clock of the server may be from ours. It starts at the same clock and runs on
/// steadily; between our looking at the clock and its doing so, time may pass on a busy machine,
/// but that is inside the span that we measure.
const SLACK_MS: u64 = 300;

pub struct Key {
    pub id: KeyId,
    /// As `/v1/keys/` takes it.
    pub target: String,
    /// As JSON takes it; `None` if the key is not text.
    pub text: Option<String>,
    /// One state, or two after an operation of unknown outcome.
    possible: Vec<State>,
    /// An observed eviction that a kill may still take back (see [`Key::evicted`]).
    evicted: Option<State>,
    /// The highest version that was acknowledged.
    written: u64,
    operations: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub enum State {
    Absent,
    Present(Held),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    pub value: Recipe,
    pub content_type: &'static str,
    /// `None`: it was never told.
    pub version: Option<u64>,
    pub deadline: Deadline,
}

/// When an entry expires, in milliseconds of Unix time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Deadline {
    Never,
    At(u64),
    /// Counted from a moment in this span; the server has not told.
    Between(u64, u64),
}

/// Bytes that can be made again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recipe {
    pub key: KeyId,
    pub operation: u32,
    pub len: usize,
    /// ASCII only.
    pub text: bool,
}

/// The time around a request: sent not before, answered not after.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    pub asked: u64,
    pub answered: u64,
}

/// What a read has found.
pub struct Found {
    bytes: Vec<u8>,
    content_type: String,
    version: u64,
    expires_at: Option<u64>,
}

/// Whether an entry is there, as far as can be known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Presence {
    Yes,
    No,
    Maybe,
}

/// How strictly absence is judged.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// The cache is small: an entry may go at any time.
    pub evicts: bool,
    /// Reads show only what no kill can take back (mode `always`).
    pub gated: bool,
}

impl Key {
    pub fn new(id: KeyId) -> Key {
        let text = format!("client {}/key {}", id / 1000, id % 1000);
        let target = format!("/v1/keys/client%20{}/key%20{}", id / 1000, id % 1000);
        let (target, text) = match id % 8 {
            6 => (format!("{target}%00%FF%0d%0a"), None),
            7 => (format!("{target}{}", "-long".repeat(60)), Some(format!("{text}{}", "-long".repeat(60)))),
            _ => (target, Some(text)),
        };
        Key { id, target, text, possible: vec![State::Absent], evicted: None, written: 0, operations: 0 }
    }

    /// The state, unless its last operation is of unknown outcome.
    pub fn state(&self) -> Option<&State> {
        match &*self.possible {
            [state] => Some(state),
            _ => None,
        }
    }

    /// There is an entry, and only eviction can end it.
    pub fn is_present_for_good(&self) -> bool {
        matches!(self.state(), Some(State::Present(Held { deadline: Deadline::Never, .. })))
    }

    /// The bytes for the next operation, never the same as those of an earlier one but for the
    /// shortest.
    pub fn next_value(&mut self, len: usize, text: bool) -> Recipe {
        self.operations += 1;
        Recipe { key: self.id, operation: self.operations, len, text }
    }

    /// An operation was acknowledged, or found to have happened.
    pub fn acknowledged(&mut self, state: State, version: u64) {
        self.possible = vec![state];
        self.evicted = None;
        self.written = version.max(self.written);
    }

    /// An operation was sent and no answer came.
    pub fn unknown(&mut self, after: State) {
        if !self.possible.contains(&after) {
            self.possible.push(after);
        }
    }

    /// Something later in the log was acknowledged: what was observed before it stays.
    pub fn settle(&mut self) {
        self.evicted = None;
    }

    /// The server was killed.
    pub fn killed(&mut self) {
        self.possible.extend(self.evicted.take());
    }

    /// Somebody has read this version, and what is read stays (mode `always`): if it is above all
    /// that were acknowledged, then the put of unknown outcome has happened.
    pub fn observed(&mut self, version: u64) {
        if version > self.written {
            self.possible.retain(|state| matches!(state, State::Present(held) if held.version.is_none()));
        }
    }

    /// A read of the key was answered. Afterwards its state is known; an error says why it must
    /// not be so.
    pub fn read(
        &mut self,
        reply: &Reply,
        span: Span,
        rules: Rules,
        versions: &Versions,
    ) -> Result<(), String> {
        let found = match reply.status {
            200 => Some(Found::of(reply)?),
            404 => None,
            status => return Err(format!("a read was answered with status {status}")),
        };
        let Some(found) = found else { return self.absent(span, rules) };
        versions.saw(self.id, found.version, Content::of(&found.bytes))?;
        let verdicts: Vec<_> = self.possible.iter().map(|state| found.judged(state, span)).collect();
        match verdicts.iter().find_map(|verdict| verdict.as_ref().ok()) {
            Some(held) => self.acknowledged(State::Present(held.clone()), found.version),
            None => {
                let why: Vec<_> = verdicts.into_iter().filter_map(Result::err).collect();
                return Err(format!("found {found}: {}", why.join("; or ")));
            }
        }
        Ok(())
    }

    /// The key was found absent.
    pub fn absent(&mut self, span: Span, rules: Rules) -> Result<(), String> {
        let may_be = |state: &&State| state.presence(span, rules) != Presence::Yes;
        let Some(reason) = self.possible.iter().find(may_be) else {
            return Err(format!("it is absent, expected {:?}", self.possible));
        };
        // Evicted, for all that is known: a removal that is not written yet goes with a kill, and
        // the entry is back. That is no stale value; an acknowledgement of anything later ends it.
        let taken_back = *reason != State::Absent && !rules.gated;
        self.evicted = if taken_back { Some(reason.clone()) } else { self.evicted.take() };
        self.possible = vec![State::Absent];
        Ok(())
    }
}

impl State {
    pub fn presence(&self, span: Span, rules: Rules) -> Presence {
        let State::Present(held) = self else { return Presence::No };
        let (first, last) = match held.deadline {
            Deadline::Never => (u64::MAX, u64::MAX),
            Deadline::At(at) => (at, at),
            Deadline::Between(first, last) => (first, last),
        };
        if span.asked > last.saturating_add(SLACK_MS) {
            Presence::No
        } else if !rules.evicts && span.answered.saturating_add(SLACK_MS) < first {
            Presence::Yes
        } else {
            Presence::Maybe
        }
    }
}

impl Deadline {
    /// Of an entry stored with a lifetime, where the server has told nothing.
    pub fn after(ttl: Option<Duration>, span: Span) -> Deadline {
        match ttl.map(|ttl| ttl.as_millis() as u64) {
            None => Deadline::Never,
            Some(ms) => Deadline::Between(span.asked + ms, span.answered + ms),
        }
    }

    /// The same, now that the server has told.
    pub fn told(self, expires_at: Option<u64>) -> Result<Deadline, String> {
        match (self, expires_at) {
            (Deadline::Never, None) => Ok(self),
            (Deadline::At(at), Some(told)) if at == told => Ok(self),
            (Deadline::Between(first, last), Some(told))
                if told + SLACK_MS >= first && told <= last + SLACK_MS =>
            {
                Ok(Deadline::At(told))
            }
            _ => Err(format!("it expires at {expires_at:?}, expected {self:?}")),
        }
    }
}

impl Found {
    fn of(reply: &Reply) -> Result<Found, String> {
        Ok(Found {
            bytes: reply.body.clone(),
            content_type: reply.header("content-type").unwrap_or_default().to_owned(),
            version: version(reply)?,
            expires_at: expires_at(reply)?,
        })
    }

    /// Whether this is what `state` says; if so, with what is known now.
    fn judged(&self, state: &State, span: Span) -> Result<Held, String> {
        let State::Present(held) = state else { return Err("expected none".to_owned()) };
        let expected = held.value.bytes();
        if self.bytes != expected {
            return Err(format!("expected {}", Shown(&expected)));
        }
        if self.content_type != held.content_type {
            return Err(format!("expected the content type {}", held.content_type));
        }
        if held.version.is_some_and(|version| version != self.version) {
            return Err(format!("expected version {:?}", held.version));
        }
        let rules = Rules { evicts: false, gated: true };
        if state.presence(span, rules) == Presence::No {
            return Err(format!("it has expired, asked at {}, {:?}", span.asked, held.deadline));
        }
        let deadline = held.deadline.told(self.expires_at)?;
        Ok(Held { version: Some(self.version), deadline, ..held.clone() })
    }
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Found { bytes, content_type, version, expires_at } = self;
        write!(f, "{} as {content_type}, version {version}, expires at {expires_at:?}", Shown(bytes))
    }
}

/// The beginning of a value says whose it is.
struct Shown<'b>(&'b [u8]);

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let start = &self.0[..self.0.len().min(24)];
        write!(f, "{} bytes {:?}", self.0.len(), String::from_utf8_lossy(start))
    }
}

impl Recipe {
    pub fn bytes(self) -> Vec<u8> {
        let mut bytes = format!("<{}#{}>", self.key, self.operation).into_bytes();
        let mut random = Random::new(u64::from(self.key) << 32 | u64::from(self.operation));
        let mut block: Vec<u8> = (0..128).flat_map(|_| random.next().to_le_bytes()).collect();
        if self.text {
            block.iter_mut().for_each(|byte| *byte = b'a' + *byte % 26);
        }
        // One block over and over, numbered, so that none can stand for another.
        let mut number = 0;
        while bytes.len() < self.len {
            bytes.extend_from_slice(format!("{number:08}").as_bytes());
            bytes.extend_from_slice(&block);
            number += 1;
        }
        bytes.truncate(self.len);
        bytes
    }
}

impl Span {
    /// Runs from `asked` until now.
    pub fn since(asked: u64) -> Span {
        Span { asked, answered: now() }
    }
}

/// Milliseconds of Unix time.
pub fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_millis() as u64
}

/// The version in a reply.
pub fn version(reply: &Reply) -> Result<u64, String> {
    let tag = reply.header("etag").unwrap_or_default();
    let digits = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
    digits.and_then(|digits| digits.parse().ok()).ok_or_else(|| format!("no version in etag={tag}"))
}

/// The deadline in a reply.
pub fn expires_at(reply: &Reply) -> Result<Option<u64>, String> {
    let told = reply.header("emberkeep-expires-at").map(str::parse).transpose();
    told.map_err(|_| "emberkeep-expires-at is no number".to_owned())
}
