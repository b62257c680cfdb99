//! Is there an order? The check of one key's history of one server's run for linearizability.
//!
//! Each operation must seem to happen at one instant between its being asked and its answer.
//! [`check`] goes through the history in time and keeps every *possibility*: what the key holds,
//! and which of the operations under way have happened already. An operation is put into the
//! order only when an answer needs it (Wing and Gong's search, with Lowe's just-in-time
//! linearization and his set of what was seen before). An answer that no possibility
//! can explain is the violation.
//!
//! A write without an answer may happen at any time until the server's end, or never. What of it
//! a kill leaves depends on the mode. Where reads wait for the disk (`gated`), what anybody
//! has seen stays. Where they do not, a kill takes back any number of the last changes that
//! nobody acknowledged, though somebody may have read them: [`Possible`] carries what the key
//! would fall back to.
//!
//! The work is bounded: a history with more than [`POSSIBILITIES_MAX`] possibilities at a time
//! is [`Violation::Undecided`], which is never counted as held.

use std::collections::HashSet;

use super::{
    clock::Moment,
    history::Call,
    model::{Model, State},
};

/// More at a time are not followed.
pub(super) const POSSIBILITIES_MAX: usize = 100_000;
/// Operations of one key under way at a time, those without an answer included.
pub(super) const OPEN_MAX: usize = 64;

/// What a key may hold, and what a kill may bring back instead.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Possible {
    pub(super) now: State,
    /// Earlier states, if all changes since then are unacknowledged. Empty where reads are gated.
    pub(super) fallback: Vec<State>,
}

/// Why there is no order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Violation {
    /// This call, by its place in the history, cannot have had its outcome.
    At { call: usize, possible: Vec<State> },
    /// Too many possibilities.
    Undecided,
}

/// How the run of a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// It goes on.
    Running,
    /// It stopped in order: everything is in the log.
    Stopped,
    Killed,
}

impl Possible {
    pub(super) fn known(now: State) -> Possible {
        Possible { now, fallback: Vec::new() }
    }
}

/// Checks one key; gives what it may hold afterwards.
///
/// # Errors
/// The first answer that no order explains.
pub(super) fn check(
    model: &Model,
    gated: bool,
    starts: &[Possible],
    calls: &[Call],
    ending: Ending,
) -> Result<Vec<Possible>, Violation> {
    let mut search = Search { model, gated, calls, open: Vec::new(), nodes: HashSet::new() };
    search.nodes = starts.iter().map(|possible| Node { done: 0, possible: possible.clone() }).collect();
    for (_, event) in events(calls) {
        match event {
            Event::Asked(call) => search.ask(call)?,
            Event::Answered(call) => search.answer(call)?,
        }
    }
    search.end(ending)
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    // Of the same instant: asked first, so that the two are taken to overlap.
    Asked(usize),
    Answered(usize),
}

fn events(calls: &[Call]) -> Vec<(Moment, Event)> {
    let mut events = Vec::with_capacity(2 * calls.len());
    for (n, call) in calls.iter().enumerate() {
        events.push((call.asked, Event::Asked(n)));
        if !call.is_open() {
            events.push((call.answered, Event::Answered(n)));
        }
    }
    events.sort();
    events
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Node {
    /// One bit for each place in `Search::open`: has happened.
    done: u64,
    possible: Possible,
}

struct Search<'c> {
    model: &'c Model,
    gated: bool,
    calls: &'c [Call],
    /// Calls under way, each with a bit of its own; `None` is free.
    open: Vec<Option<usize>>,
    nodes: HashSet<Node>,
}

impl Search<'_> {
    fn ask(&mut self, call: usize) -> Result<(), Violation> {
        match self.open.iter().position(Option::is_none) {
            Some(place) => self.open[place] = Some(call),
            None if self.open.len() == OPEN_MAX => return Err(Violation::Undecided),
            None => self.open.push(Some(call)),
        }
        Ok(())
    }

    /// Keeps the possibilities in which `call` has happened, in every way that it can have.
    fn answer(&mut self, call: usize) -> Result<(), Violation> {
        let place = self.open.iter().position(|open| *open == Some(call)).expect("asked before answered");
        let bit = 1 << place;
        let mut seen = std::mem::take(&mut self.nodes);
        let before: HashSet<State> = seen.iter().map(|node| node.possible.now).collect();
        let (kept, mut todo): (Vec<Node>, Vec<Node>) =
            seen.iter().cloned().partition(|node| node.done & bit != 0);
        let mut answered: HashSet<Node> = kept.into_iter().collect();
        while let Some(node) = todo.pop() {
            for next in self.following(&node) {
                if !seen.insert(next.clone()) {
                    continue;
                }
                if seen.len() > POSSIBILITIES_MAX {
                    return Err(Violation::Undecided);
                }
                match next.done & bit {
                    0 => todo.push(next),
                    _ => drop(answered.insert(next)),
                }
            }
        }
        if answered.is_empty() {
            let mut possible: Vec<_> = before.into_iter().collect();
            possible.sort();
            return Err(Violation::At { call, possible });
        }
        self.open[place] = None;
        self.nodes = answered.into_iter().map(|node| Node { done: node.done & !bit, ..node }).collect();
        Ok(())
    }

    /// All ways in which one more call can happen next.
    fn following(&self, node: &Node) -> Vec<Node> {
        let mut following = Vec::new();
        for (place, call) in self.open.iter().enumerate() {
            let (Some(call), 0) = (call, node.done & 1 << place) else { continue };
            let call = &self.calls[*call];
            for now in self.model.next(node.possible.now, call).into_iter().flatten() {
                let possible = self.changed(&node.possible, now, call);
                following.push(Node { done: node.done | 1 << place, possible });
            }
        }
        following
    }

    fn changed(&self, before: &Possible, now: State, call: &Call) -> Possible {
        // The log is in order: what is acknowledged has everything before it in the log too.
        if self.gated || call.is_acknowledged_write() {
            return Possible::known(now);
        }
        let mut fallback = before.fallback.clone();
        if now != before.now && !fallback.contains(&before.now) {
            fallback.push(before.now);
            fallback.sort();
        }
        Possible { now, fallback }
    }

    /// Lets the calls without an answer happen, or not, and the server end.
    fn end(mut self, ending: Ending) -> Result<Vec<Possible>, Violation> {
        let mut todo: Vec<Node> = self.nodes.iter().cloned().collect();
        while let Some(node) = todo.pop() {
            for next in self.following(&node) {
                if self.nodes.insert(next.clone()) {
                    todo.push(next);
                }
                if self.nodes.len() > POSSIBILITIES_MAX {
                    return Err(Violation::Undecided);
                }
            }
        }
        let left = self.nodes.into_iter().flat_map(|node| match ending {
            Ending::Running => vec![node.possible],
            Ending::Stopped => vec![Possible::known(node.possible.now)],
            Ending::Killed => {
                let Possible { now, mut fallback } = node.possible;
                fallback.push(now);
                fallback.into_iter().map(Possible::known).collect()
            }
        });
        let left: HashSet<Possible> = left.collect();
        Ok(left.into_iter().collect())
    }
}

#[cfg(test)]
mod tests;
