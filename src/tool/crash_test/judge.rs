//! Holds what clients were told against what a cache may do, key by key, over all rounds.
//!
//! A key's history is cut where nothing is under way: after the keys were read at a start, and at
//! the end of each server. What a key may hold there is carried on, so no piece grows with
//! the number of rounds.

use std::{collections::HashMap, time::Duration};

use serde::Serialize;

use super::{
    history::{Call, KeyId, Outcome},
    linear::{self, Ending, Possible, Violation},
    model::{Model, State},
};

/// What kind of promise was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Broken {
    /// An acknowledged write was not there after a restart, or an older value was.
    Lost,
    /// What was deleted or has expired was there after a restart.
    Resurrected,
    /// The answers that clients got while the server ran fit no order.
    NotLinearizable,
    /// Bytes or a content type that nobody wrote.
    WrongBytes,
    /// One version for two contents, or versions that go back.
    Version,
    /// A server did not start, did not stop, or said the wrong thing about its last stop.
    Server,
}

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What kind.
    pub kind: Broken,
    /// The key, as its number in the run; `None` if it is not about one.
    pub key: Option<u32>,
    /// In words.
    pub text: String,
}

/// Which piece of a history is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// The keys were read, each once, before anything else.
    Start,
    /// The load, until the server's end.
    Load(Ending),
}

/// What is known about all keys.
#[derive(Debug)]
pub(super) struct Judge {
    keys: Vec<Ledger>,
}

#[derive(Debug)]
struct Ledger {
    model: Model,
    possible: Vec<Possible>,
}

/// What came of a piece.
#[derive(Debug, Default)]
pub(super) struct Judged {
    pub(super) broken: Vec<Finding>,
    /// Keys with more possibilities than can be followed.
    pub(super) undecided: Vec<KeyId>,
    /// Keys that could only hold a value, and were found absent because the cache evicts.
    pub(super) evicted: u64,
}

impl Judge {
    pub(super) fn new(keys: u32, evicts: bool) -> Judge {
        let ledger = || Ledger { model: Model::new(evicts), possible: vec![Possible::known(State::Absent)] };
        Judge { keys: (0..keys).map(|_| ledger()).collect() }
    }

    /// Judges what was asked and told in one piece of one server's run. `gated`: the server shows
    /// only what no kill can take back.
    pub(super) fn judge(&mut self, calls: &[Call], piece: Piece, gated: bool, drift: Duration) -> Judged {
        let mut by_key: HashMap<KeyId, Vec<Call>> = HashMap::new();
        for call in calls {
            by_key.entry(call.key).or_default().push(*call);
        }
        let mut judged = Judged::default();
        for (key, ledger) in (0..).zip(&mut self.keys) {
            let calls = by_key.remove(&key).unwrap_or_default();
            judged.evicted += u64::from(piece == Piece::Start && ledger.was_evicted(&calls));
            ledger.model.drift = drift.max(ledger.model.drift);
            ledger.judge(key, &calls, piece, gated, &mut judged);
        }
        judged
    }
}

impl Ledger {
    fn judge(&mut self, key: KeyId, calls: &[Call], piece: Piece, gated: bool, judged: &mut Judged) {
        if let Err(text) = self.model.learn(calls) {
            judged.broken.push(Finding { kind: Broken::Version, key: Some(key), text });
            return;
        }
        let ending = match piece {
            Piece::Start => Ending::Running,
            Piece::Load(ending) => ending,
        };
        match linear::check(&self.model, gated, &self.possible, calls, ending) {
            Ok(possible) => {
                self.possible = possible;
                let states = self.possible.iter().flat_map(|p| p.fallback.iter().chain([&p.now]));
                let states: Vec<State> = states.copied().collect();
                self.model.forget_all_but(&states);
            }
            Err(Violation::Undecided) => judged.undecided.push(key),
            Err(Violation::At { call, possible }) => {
                judged.broken.push(finding(key, &calls[call], &possible, piece));
            }
        }
    }

    fn was_evicted(&self, calls: &[Call]) -> bool {
        let lasting = |possible: &Possible| matches!(possible.now, State::Holds { lease: None, .. });
        self.model.evicts
            && self.possible.iter().all(lasting)
            && calls.iter().any(|call| call.outcome == Outcome::Absent)
    }
}

fn finding(key: KeyId, call: &Call, possible: &[State], piece: Piece) -> Finding {
    let nothing_expected = possible.iter().all(|state| *state == State::Absent);
    let kind = match (piece, call.outcome) {
        (Piece::Load(_), _) => Broken::NotLinearizable,
        (Piece::Start, Outcome::Found { .. }) if nothing_expected => Broken::Resurrected,
        (Piece::Start, _) => Broken::Lost,
    };
    let text = format!("{:?} was told {:?}, but the key can only hold {possible:?}", call.ask, call.outcome);
    Finding { kind, key: Some(key), text }
}

#[cfg(test)]
mod tests;
