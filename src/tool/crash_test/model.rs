//! What one key of a cache may do: a state, an operation with its outcome, and the states that
//! can follow. Pure; knows nothing of orders, servers or disks.
//!
//! Time is a span, never a point: an entry with a deadline may be seen until the end of the span
//! in which it expires, and may be missed from its beginning on. A cache that evicts may miss any
//! entry at any time, but what was missed stays away, and a value that is not the latest is
//! never right.

use std::{collections::HashMap, time::Duration};

use super::{
    clock::Moment,
    history::{Ask, Call, Condition, Lifetime, Outcome, WriteId},
};

/// How far the server's clock may be from ours, beyond what was measured.
const SLACK: Duration = Duration::from_millis(300);

/// What a key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum State {
    Absent,
    /// The value of `write`; it expires with the lifetime that `lease` was given, or never.
    Holds {
        write: WriteId,
        lease: Option<WriteId>,
    },
}

/// What is known about the writes of one key, and how it is judged.
#[derive(Debug, Default)]
pub(super) struct Model {
    /// Measured distance of the clocks.
    pub(super) drift: Duration,
    /// The cache is small: an entry may go at any time.
    pub(super) evicts: bool,
    writes: HashMap<WriteId, Known>,
    by_version: HashMap<u64, WriteId>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Known {
    version: Option<u64>,
    /// When it expires, if it does: not before, and not after.
    expires: Option<(Moment, Moment)>,
}

/// States that can follow: none, one, or two.
pub(super) type Next = [Option<State>; 2];

impl Model {
    pub(super) fn new(evicts: bool) -> Model {
        Model { evicts, ..Model::default() }
    }

    /// Takes in what these calls tell about versions and deadlines.
    ///
    /// # Errors
    /// In words, if they contradict each other or what is known.
    pub(super) fn learn(&mut self, calls: &[Call]) -> Result<(), String> {
        for call in calls {
            if let Ask::Put { write, lifetime: Lifetime::Ttl(ttl), .. } = call.ask {
                let ttl = ttl.as_micros() as u64;
                let known = self.writes.entry(write).or_default();
                known.expires = Some((call.asked + ttl, call.answered.saturating_add(ttl)));
            }
        }
        for call in calls {
            match (call.ask, call.outcome) {
                (Ask::Put { write, lifetime, .. }, Outcome::Done { version, expires_at, .. }) => {
                    self.learn_version(write, version)?;
                    if let (Lifetime::Ttl(_), Some(ms)) = (lifetime, expires_at) {
                        self.learn_deadline(write, ms.saturating_mul(1000));
                    }
                }
                (_, Outcome::Found { write, version, .. }) => self.learn_version(write, version)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn learn_version(&mut self, write: WriteId, version: u64) -> Result<(), String> {
        let known = self.writes.entry(write).or_default().version.get_or_insert(version);
        if *known != version {
            return Err(format!("write {write} has two versions, {known} and {version}"));
        }
        match *self.by_version.entry(version).or_insert(write) {
            same if same == write => Ok(()),
            other => Err(format!("version {version} stands for two writes, {other} and {write}")),
        }
    }

    /// A deadline that was told, if it may be right; if not, nobody may be told it again.
    fn learn_deadline(&mut self, write: WriteId, told: Moment) {
        let slack = self.slack();
        let Some(Known { expires: Some((first, last)), .. }) = self.writes.get_mut(&write) else { return };
        if told.saturating_add(slack) >= *first && told <= last.saturating_add(slack) {
            (*first, *last) = (told, told);
        }
    }

    /// Forgets all writes but those that a key may still hold.
    pub(super) fn forget_all_but(&mut self, states: &[State]) {
        let held = |wanted: WriteId| {
            states.iter().any(|state| match *state {
                State::Absent => false,
                State::Holds { write, lease } => write == wanted || lease == Some(wanted),
            })
        };
        self.writes.retain(|write, _| held(*write));
        self.by_version.retain(|_, write| held(*write));
    }

    /// The states after `call`, which had its outcome, in `state`. None: it cannot have had it.
    /// An outcome that is unknown means here that it has happened; that it has not is for the
    /// caller to consider.
    pub(super) fn next(&self, state: State, call: &Call) -> Next {
        match call.ask {
            Ask::Get => only(self.after_get(state, call)),
            Ask::Delete { condition } => only(self.after_delete(state, call, condition)),
            Ask::Put { write, condition, lifetime } => {
                self.after_put(state, call, write, condition, lifetime)
            }
        }
    }

    fn after_get(&self, state: State, call: &Call) -> Option<State> {
        match call.outcome {
            Outcome::Found { write, expires_at, .. } => {
                let State::Holds { write: held, lease } = state else { return None };
                let right =
                    held == write && self.may_be_there(state, call) && self.expires(lease, expires_at);
                right.then_some(state)
            }
            Outcome::Absent => self.may_be_absent(state, call).then_some(State::Absent),
            _ => None,
        }
    }

    fn after_delete(&self, state: State, call: &Call, condition: Condition) -> Option<State> {
        match call.outcome {
            Outcome::Done { .. } | Outcome::Unknown => {
                let was_there = self.may_be_there(state, call) && self.may_hold(condition, state, call);
                was_there.then_some(State::Absent)
            }
            Outcome::Absent => self.may_be_absent(state, call).then_some(State::Absent),
            Outcome::Refused { current } => self.after_refusal(state, call, condition, current),
            Outcome::Found { .. } => None,
        }
    }

    fn after_put(
        &self,
        state: State,
        call: &Call,
        write: WriteId,
        condition: Condition,
        lifetime: Lifetime,
    ) -> Next {
        let (created, told) = match call.outcome {
            // A kept deadline is looked up after the write, and not told if another was faster.
            Outcome::Done { created, expires_at: None, .. } if lifetime == Lifetime::Keep => (created, None),
            Outcome::Done { created, expires_at, .. } => (created, Some(expires_at)),
            Outcome::Unknown => (None, None),
            Outcome::Refused { current } => return only(self.after_refusal(state, call, condition, current)),
            _ => return [None; 2],
        };
        let lease = |replaced: Option<WriteId>| match lifetime {
            Lifetime::Forever => None,
            Lifetime::Ttl(_) => Some(write),
            Lifetime::Keep => replaced,
        };
        let after = |lease| {
            let right = told.is_none_or(|told| self.expires(lease, told));
            right.then_some(State::Holds { write, lease })
        };
        let absent_before = created != Some(false)
            && self.may_be_absent(state, call)
            && !matches!(condition, Condition::Is(_));
        let there_before =
            created != Some(true) && self.may_be_there(state, call) && self.matches_one(condition, state);
        let replaced = match state {
            State::Holds { lease, .. } => lease,
            State::Absent => None,
        };
        [
            absent_before.then(|| after(lease(None))).flatten(),
            there_before.then(|| after(lease(replaced))).flatten(),
        ]
    }

    /// A refused condition shows what stands.
    fn after_refusal(
        &self,
        state: State,
        call: &Call,
        condition: Condition,
        current: Option<u64>,
    ) -> Option<State> {
        match (current, condition) {
            (_, Condition::Always) | (None, Condition::Absent) => None,
            (None, Condition::Is(_)) => self.may_be_absent(state, call).then_some(State::Absent),
            (Some(version), Condition::Is(wanted)) if version == wanted => None,
            (Some(version), _) => {
                (self.may_be_there(state, call) && self.is_version(state, version)).then_some(state)
            }
        }
    }

    fn may_hold(&self, condition: Condition, state: State, call: &Call) -> bool {
        match condition {
            Condition::Absent => self.may_be_absent(state, call),
            _ => self.matches_one(condition, state),
        }
    }

    /// Whether the condition lets an existing entry be written.
    fn matches_one(&self, condition: Condition, state: State) -> bool {
        match condition {
            Condition::Always => true,
            Condition::Absent => false,
            Condition::Is(version) => self.is_version(state, version),
        }
    }

    /// Nobody was told the version of a write of unknown outcome until somebody reads it: it may
    /// be any that stands for no other write.
    fn is_version(&self, state: State, version: u64) -> bool {
        let State::Holds { write, .. } = state else { return false };
        match self.writes.get(&write).and_then(|known| known.version) {
            Some(known) => known == version,
            None => !self.by_version.contains_key(&version),
        }
    }

    fn may_be_there(&self, state: State, call: &Call) -> bool {
        match state {
            State::Absent => false,
            State::Holds { lease, .. } => {
                self.span(lease).is_none_or(|(_, last)| call.asked <= last.saturating_add(self.slack()))
            }
        }
    }

    fn may_be_absent(&self, state: State, call: &Call) -> bool {
        match state {
            State::Absent => true,
            State::Holds { .. } if self.evicts => true,
            State::Holds { lease, .. } => {
                self.span(lease).is_some_and(|(first, _)| call.answered.saturating_add(self.slack()) >= first)
            }
        }
    }

    /// Whether a deadline that was told, in milliseconds, is that of `lease`.
    fn expires(&self, lease: Option<WriteId>, told: Option<u64>) -> bool {
        match (lease.map(|_| self.span(lease)), told) {
            (None, None) => true,
            (Some(Some((first, last))), Some(ms)) => {
                let told = ms.saturating_mul(1000);
                // Told once, it does not change.
                let slack = if first == last { 0 } else { self.slack() };
                told.saturating_add(slack) >= first && told <= last.saturating_add(slack)
            }
            _ => false,
        }
    }

    fn span(&self, lease: Option<WriteId>) -> Option<(Moment, Moment)> {
        self.writes.get(&lease?)?.expires
    }

    fn slack(&self) -> Moment {
        (SLACK + self.drift).as_micros() as u64
    }
}

fn only(state: Option<State>) -> Next {
    [state, None]
}
