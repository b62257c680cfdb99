use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{
    super::history::{Ask, Condition, Lifetime, Outcome},
    *,
};

/// A history of one key, written down by hand: each call with the instants of asking and answer.
#[derive(Default)]
struct Written {
    calls: Vec<Call>,
    evicts: bool,
    ungated: bool,
}

impl Written {
    fn call(mut self, asked: Moment, answered: Moment, ask: Ask, outcome: Outcome) -> Written {
        self.calls.push(Call { key: 0, ask, asked, answered, outcome });
        self
    }

    /// Write `n` gets version `n`.
    fn put(self, asked: Moment, answered: Moment, write: u64) -> Written {
        self.call(asked, answered, put(write, Condition::Always), done(write))
    }

    fn put_if(self, asked: Moment, answered: Moment, write: u64, condition: Condition) -> Written {
        self.call(asked, answered, put(write, condition), done(write))
    }

    fn lost_put(self, asked: Moment, write: u64) -> Written {
        self.call(asked, 1_000, put(write, Condition::Always), Outcome::Unknown)
    }

    fn delete(self, asked: Moment, answered: Moment, version: u64) -> Written {
        let outcome = Outcome::Done { version, created: None, expires_at: None };
        self.call(asked, answered, Ask::Delete { condition: Condition::Always }, outcome)
    }

    fn read(self, asked: Moment, answered: Moment, write: u64) -> Written {
        self.call(asked, answered, Ask::Get, found(write))
    }

    fn absent(self, asked: Moment, answered: Moment) -> Written {
        self.call(asked, answered, Ask::Get, Outcome::Absent)
    }

    fn checked(&self, ending: Ending) -> Result<Vec<Possible>, Violation> {
        let mut model = Model::new(self.evicts);
        model.learn(&self.calls).unwrap();
        check(&model, !self.ungated, &[Possible::known(State::Absent)], &self.calls, ending)
    }

    #[track_caller]
    fn holds(&self) -> BTreeSet<State> {
        self.checked(Ending::Killed).unwrap().into_iter().map(|possible| possible.now).collect()
    }

    /// The place of the call that no order explains.
    #[track_caller]
    fn fails_at(&self) -> usize {
        match self.checked(Ending::Killed) {
            Err(Violation::At { call, .. }) => call,
            other => panic!("expected a violation, got {other:?}"),
        }
    }
}

fn written() -> Written {
    Written::default()
}

fn put(write: u64, condition: Condition) -> Ask {
    Ask::Put { write, condition, lifetime: Lifetime::Forever }
}

fn done(write: u64) -> Outcome {
    Outcome::Done { version: write, created: None, expires_at: None }
}

fn found(write: u64) -> Outcome {
    Outcome::Found { write, version: write, expires_at: None }
}

fn value(write: u64) -> State {
    State::Holds { write, lease: None }
}

#[test]
fn answers_that_fit_an_order_are_accepted() {
    let history = written().put(0, 10, 1).read(20, 30, 1).delete(40, 50, 2).absent(60, 70).put(80, 90, 3);
    assert_eq!(history.holds(), [value(3)].into());
    // Two writes at once, and each reader may see either before both are answered.
    let history = written().put(0, 100, 1).put(0, 100, 2).read(10, 20, 2).read(30, 40, 1).read(110, 120, 1);
    assert_eq!(history.holds(), [value(1)].into());
}

#[test]
fn a_stale_read_is_found() {
    assert_eq!(written().put(0, 10, 1).put(20, 30, 2).read(40, 50, 1).fails_at(), 2);
}

#[test]
fn a_read_that_goes_back_is_found() {
    // Both writes are under way, but the first reader has seen the second one over the first.
    let history = written().put(0, 100, 1).put(0, 100, 2).read(10, 20, 1).read(30, 40, 2).read(50, 60, 1);
    assert_eq!(history.fails_at(), 4);
}

#[test]
fn a_lost_update_is_found() {
    // Both wrote over version 1, each told that its condition held.
    let history =
        written().put(0, 10, 1).put_if(20, 40, 2, Condition::Is(1)).put_if(20, 45, 3, Condition::Is(1));
    assert_eq!(history.fails_at(), 2);
}

#[test]
fn two_that_both_created_the_key_are_found() {
    let history = written().put_if(0, 40, 1, Condition::Absent).put_if(0, 45, 2, Condition::Absent);
    assert_eq!(history.fails_at(), 1);
}

#[test]
fn a_deleted_value_that_comes_back_is_found() {
    assert_eq!(written().put(0, 10, 1).delete(20, 30, 2).read(40, 50, 1).fails_at(), 2);
}

#[test]
fn a_lost_acknowledgement_is_found() {
    assert_eq!(written().put(0, 10, 1).absent(20, 30).fails_at(), 1);
}

#[test]
fn a_write_without_an_answer_may_happen_late_or_never() {
    assert_eq!(
        written().put(0, 10, 1).lost_put(20, 2).read(30, 40, 1).read(50, 60, 2).holds(),
        [value(2)].into()
    );
    assert_eq!(written().put(0, 10, 1).lost_put(20, 2).read(30, 40, 1).holds(), [value(1), value(2)].into());
}

#[test]
fn a_write_without_an_answer_that_somebody_saw_has_happened() {
    let history = written().put(0, 10, 1).lost_put(20, 2).read(30, 40, 2).read(50, 60, 1);
    assert_eq!(history.fails_at(), 3);
    // Nor can it happen before it was asked for.
    assert_eq!(written().put(0, 10, 1).read(12, 15, 2).lost_put(20, 2).fails_at(), 1);
}

#[test]
fn what_a_kill_takes_back_depends_on_the_mode() {
    let seen = |ungated| {
        let history = written().put(0, 10, 1).lost_put(20, 2).read(30, 40, 2);
        Written { ungated, ..history }
    };
    assert_eq!(seen(false).holds(), [value(2)].into());
    assert_eq!(seen(true).holds(), [value(1), value(2)].into());
    // What is acknowledged later has it in the log.
    let history =
        Written { ungated: true, ..written().put(0, 10, 1).lost_put(20, 2).read(30, 40, 2).put(50, 60, 3) };
    assert_eq!(history.holds(), [value(3)].into());
}

#[test]
fn a_stop_in_order_takes_nothing_back() {
    let history = Written { ungated: true, ..written().put(0, 10, 1).lost_put(20, 2).read(30, 40, 2) };
    assert_eq!(history.checked(Ending::Stopped), Ok(vec![Possible::known(value(2))]));
}

#[test]
fn a_cache_that_evicts_may_miss_but_not_go_back() {
    let evicts = |history: Written| Written { evicts: true, ..history };
    evicts(written().put(0, 10, 1).absent(20, 30)).holds();
    assert_eq!(evicts(written().put(0, 10, 1).absent(20, 30).read(40, 50, 1)).fails_at(), 2);
    assert_eq!(evicts(written().put(0, 10, 1).put(20, 30, 2).read(40, 50, 1)).fails_at(), 2);
}

#[test]
fn an_entry_expires_within_its_time_and_stays_away() {
    let second = 1_000_000;
    let ask = Ask::Put {
        write: 1,
        condition: Condition::Always,
        lifetime: Lifetime::Ttl(std::time::Duration::from_secs(10)),
    };
    let told = |at| Outcome::Done { version: 1, created: None, expires_at: Some(at) };
    let found = Outcome::Found { write: 1, version: 1, expires_at: Some(10_000) };
    let base = || written().call(0, 10, ask, told(10_000));
    base().call(9 * second, 9 * second + 1, Ask::Get, found).absent(11 * second, 11 * second + 1).holds();
    assert_eq!(base().absent(9 * second, 9 * second + 1).fails_at(), 1);
    assert_eq!(base().call(11 * second, 11 * second + 1, Ask::Get, found).fails_at(), 1);
    let back =
        base().absent(10 * second, 10 * second + 1).call(10 * second + 2, 10 * second + 3, Ask::Get, found);
    assert_eq!(back.fails_at(), 2);
    // A deadline that was told does not change, and is the one that was asked for.
    let other = Outcome::Found { write: 1, version: 1, expires_at: Some(10_001) };
    assert_eq!(base().call(20, 30, Ask::Get, other).fails_at(), 1);
    assert_eq!(written().call(0, 10, ask, told(12_000)).fails_at(), 0);
}

#[test]
fn too_many_possibilities_are_never_taken_for_an_order() {
    let history = (1..=OPEN_MAX as u64 + 1).fold(written(), |history, write| history.lost_put(0, write));
    assert_eq!(history.checked(Ending::Killed), Err(Violation::Undecided));
    let history = (1..=20).fold(written(), |history, write| history.lost_put(0, write));
    assert_eq!(history.read(10, 20, 7).checked(Ending::Killed), Err(Violation::Undecided));
}

/// All orders, one after another, without anything clever. Gives the states that can be left.
fn search_all(
    model: &Model,
    calls: &[Call],
    done: &mut Vec<usize>,
    state: State,
    left: &mut BTreeSet<State>,
) {
    let is_done = |n: usize, done: &[usize]| done.contains(&n);
    if (0..calls.len()).all(|n| is_done(n, done) || calls[n].is_open()) {
        left.insert(state);
    }
    for n in 0..calls.len() {
        // Whatever was answered before this was asked must have happened.
        let too_early = (0..calls.len())
            .any(|m| !is_done(m, done) && !calls[m].is_open() && calls[m].answered < calls[n].asked);
        if is_done(n, done) || too_early {
            continue;
        }
        for next in model.next(state, &calls[n]).into_iter().flatten() {
            done.push(n);
            search_all(model, calls, done, next, left);
            done.pop();
        }
    }
}

fn any_call() -> impl Strategy<Value = (Moment, Moment, u8, u64, bool)> {
    (0..30u64, 1..15u64, 0..8u8, 1..5u64, prop::bool::weighted(0.2))
}

fn history_of(drawn: &[(Moment, Moment, u8, u64, bool)]) -> Vec<Call> {
    let calls = (1..).zip(drawn).map(|(n, &(asked, span, kind, other, unknown))| {
        let (ask, outcome) = match kind {
            0..3 => (put(n, Condition::Always), done(n)),
            3 => (put(n, Condition::Absent), done(n)),
            4 => (put(n, Condition::Is(other)), done(n)),
            5 => (Ask::Delete { condition: Condition::Always }, done(100 + n)),
            6 => (Ask::Get, found(other.min(drawn.len() as u64))),
            _ => (Ask::Get, Outcome::Absent),
        };
        let unknown = unknown && !matches!(ask, Ask::Get);
        let outcome = if unknown { Outcome::Unknown } else { outcome };
        // No two instants are the same: which came first is then no matter of taste.
        Call { key: 0, ask, asked: asked * 100 + n, answered: (asked + span) * 100 + 50 + n, outcome }
    });
    calls.collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn it_finds_what_a_search_through_all_orders_finds(drawn in prop::collection::vec(any_call(), 1..7)) {
        let calls = history_of(&drawn);
        let mut model = Model::new(false);
        // A read of something that is no write gives a version twice: not what is tested here.
        prop_assume!(model.learn(&calls).is_ok());
        let mut left = BTreeSet::new();
        search_all(&model, &calls, &mut Vec::new(), State::Absent, &mut left);
        let checked = check(&model, true, &[Possible::known(State::Absent)], &calls, Ending::Killed);
        match checked {
            Ok(possible) => {
                let possible: BTreeSet<State> = possible.into_iter().map(|possible| possible.now).collect();
                prop_assert_eq!(possible, left);
            }
            Err(Violation::At { .. }) => prop_assert!(left.is_empty(), "an order exists, left={:?}", left),
            Err(Violation::Undecided) => prop_assert!(false, "so few calls must be decided"),
        }
    }
}
