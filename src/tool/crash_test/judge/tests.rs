//! Fakes of servers that break a promise go through the whole way to the verdict.

use super::{
    super::{
        Counts, Verdict,
        history::{Ask, Condition, Lifetime},
    },
    *,
};

/// A server whose answers are made up, one after another.
struct Fake {
    judge: Judge,
    calls: Vec<Call>,
    time: u64,
}

impl Fake {
    fn new() -> Fake {
        Fake { judge: Judge::new(2, false), calls: Vec::new(), time: 0 }
    }

    fn call(&mut self, ask: Ask, outcome: Outcome) {
        self.time += 10;
        self.calls.push(Call { key: 1, ask, asked: self.time, answered: self.time + 5, outcome });
    }

    fn put(&mut self, write: u64) {
        let ask = Ask::Put { write, condition: Condition::Always, lifetime: Lifetime::Forever };
        self.call(ask, Outcome::Done { version: write, created: None, expires_at: None });
    }

    fn delete(&mut self, version: u64) {
        let ask = Ask::Delete { condition: Condition::Always };
        self.call(ask, Outcome::Done { version, created: None, expires_at: None });
    }

    fn read(&mut self, found: Option<u64>) {
        let outcome =
            found.map_or(Outcome::Absent, |write| Outcome::Found { write, version: write, expires_at: None });
        self.call(Ask::Get, outcome);
    }

    fn end(&mut self, piece: Piece) -> Vec<Finding> {
        self.judge.judge(&std::mem::take(&mut self.calls), piece, true, Duration::ZERO).broken
    }

    /// The first read after the kill.
    fn killed_then_read(&mut self, found: Option<u64>) -> Verdict {
        assert_eq!(self.end(Piece::Load(Ending::Killed)), []);
        self.read(found);
        verdict(self.end(Piece::Start))
    }
}

fn verdict(broken: Vec<Finding>) -> Verdict {
    Verdict::new(42, Counts { acknowledged: 1, ..Counts::default() }, broken, Some("/kept/here".into()))
}

#[test]
fn a_server_that_keeps_everything_is_told_so() {
    let mut fake = Fake::new();
    fake.put(1);
    let held = fake.killed_then_read(Some(1));
    assert!(held.held);
    assert!(held.text().starts_with("every acknowledged write was kept\n"), "{}", held.text());
}

#[test]
fn an_acknowledged_write_that_is_missing_after_a_kill_is_lost() {
    let mut fake = Fake::new();
    fake.put(1);
    let broken = fake.killed_then_read(None);
    assert_eq!((broken.held, broken.lost, broken.resurrected), (false, 1, 0));
    for words in ["BROKEN", "1 keys lost", "Lost key 1", "seed 42", "/kept/here"] {
        assert!(broken.text().contains(words), "{words:?} is not in: {}", broken.text());
    }
    let json = serde_json::to_value(&broken).unwrap();
    assert_eq!(
        (&json["held"], &json["lost"], &json["broken"][0]["kind"]),
        (&false.into(), &1.into(), &"lost".into())
    );
}

#[test]
fn an_older_value_after_a_kill_means_a_lost_write() {
    let mut fake = Fake::new();
    fake.put(1);
    fake.put(2);
    assert_eq!(fake.killed_then_read(Some(1)).lost, 1);
}

#[test]
fn a_deleted_value_that_is_back_after_a_kill_is_resurrected() {
    let mut fake = Fake::new();
    fake.put(1);
    fake.delete(2);
    assert_eq!(fake.killed_then_read(Some(1)).resurrected, 1);
}

#[test]
fn what_was_found_after_one_kill_must_be_there_after_the_next() {
    let mut fake = Fake::new();
    let ask = Ask::Put { write: 1, condition: Condition::Always, lifetime: Lifetime::Forever };
    fake.call(ask, Outcome::Unknown);
    assert!(fake.killed_then_read(Some(1)).held);
    assert_eq!(fake.killed_then_read(None).lost, 1);
}

#[test]
fn a_stale_read_under_load_is_not_linearizable() {
    let mut fake = Fake::new();
    fake.put(1);
    fake.put(2);
    fake.read(Some(1));
    assert_eq!(verdict(fake.end(Piece::Load(Ending::Killed))).not_linearizable, 1);
}

#[test]
fn a_value_with_two_versions_is_told() {
    let mut fake = Fake::new();
    fake.put(1);
    fake.call(Ask::Get, Outcome::Found { write: 1, version: 9, expires_at: None });
    let broken = fake.end(Piece::Load(Ending::Killed));
    assert_eq!(broken[0].kind, Broken::Version);
    assert_eq!(verdict(broken).other, 1);
}
