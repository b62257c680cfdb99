//! Two servers under the same load, in turns: what the machine does meanwhile meets both.

use serde_json::{Value, json};

use super::{
    Durability, Failure, Load, Progress, Report, Subject, Tally, Target,
    report::{PERCENTILES, show_us, us},
    run::{fill, measure},
};

/// Turns of each server. Who begins changes from one to the next.
const TURNS: u32 = 4;

/// Two servers that promise the same, under the same load.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// Both, in the order they were given.
    pub reports: [Report; 2],
}

/// Runs both in turns: a quarter of the time or of the requests in each.
///
/// # Errors
/// `NotComparable` if the two do not promise the same, before anything is asked; `Unreachable` as
/// for one.
pub fn compare(targets: [&Target; 2], load: &Load, show: &dyn Fn(Progress)) -> Result<Comparison, Failure> {
    let subjects = [Subject::ask(targets[0])?, Subject::ask(targets[1])?];
    same_durability(&subjects)?;
    for target in targets {
        fill(target, load, show)?;
    }
    let part = Load {
        span: load.span.map(|span| span / TURNS),
        requests: load.requests.map(|requests| requests.div_ceil(u64::from(TURNS))),
        ..load.clone()
    };
    let mut tallies = [Tally::new(), Tally::new()];
    for turn in 0..TURNS {
        let first = turn as usize % 2;
        for at in [first, 1 - first] {
            tallies[at].add_after(&measure(targets[at], &part, u64::from(turn), show)?);
        }
    }
    let [one, other] = subjects;
    let [one_tally, other_tally] = tallies;
    let report = |subject, tally| Report { subject, load: load.clone(), tally };
    Ok(Comparison { reports: [report(one, one_tally), report(other, other_tally)] })
}

/// A table of a server that syncs beside one that does not would tell nothing about either.
fn same_durability(subjects: &[Subject; 2]) -> Result<(), Failure> {
    let [one, other] = subjects;
    if one.durability == other.durability && one.durability != Durability::Unknown {
        return Ok(());
    }
    Err(Failure::NotComparable(format!(
        "the two do not promise the same, so there is no table: {} ({}) has durability {}, {} ({}) has {}; \
         start both with the same: always, interval (everysec), never (no), or memory (no log)",
        one.target, one.product, one.durability, other.target, other.product, other.durability
    )))
}

impl Comparison {
    /// One table with ratios, and what was not answered.
    pub fn text(&self) -> String {
        let [one, other] = &self.reports;
        let mut out = format!(
            "A  {}\nB  {}\n{}, {TURNS} turns each\n\n{:<16}{:>12}{:>12}{:>9}\n",
            one.subject.text(),
            other.subject.text(),
            one.load.text(),
            "",
            "A",
            "B",
            "A / B"
        );
        for (name, a, b) in self.rows() {
            let show = |value: f64| if name == "requests/s" { format!("{value:.0}") } else { show_us(value) };
            out += &format!("{name:<16}{:>12}{:>12}{:>8.2}x\n", show(a), show(b), a / b);
        }
        for (letter, report) in ["A", "B"].iter().zip(&self.reports) {
            for (kind, count) in &report.tally.errors {
                out += &format!("NOT ANSWERED by {letter}: {count} x {kind}\n");
            }
            if report.tally.unsent > 0 {
                out += &format!("NOT SENT to {letter}: {} requests that were due\n", report.tally.unsent);
            }
        }
        out
    }

    /// What both have measured, by name.
    fn rows(&self) -> Vec<(String, f64, f64)> {
        let [a, b] = self.reports.each_ref().map(|report| &report.tally);
        let mut rows = vec![("requests/s".to_owned(), a.rate(), b.rate())];
        for (kind, one, other) in [("reads", &a.reads, &b.reads), ("writes", &a.writes, &b.writes)] {
            if one.is_empty() || other.is_empty() {
                continue;
            }
            for (name, _, quantile) in PERCENTILES {
                rows.push((format!("{kind} {name} us"), us(one, quantile), us(other, quantile)));
            }
        }
        rows
    }

    /// Both reports, and the ratios of the first to the second.
    pub fn json(&self) -> Value {
        let ratios: serde_json::Map<String, Value> = self
            .rows()
            .into_iter()
            .map(|(name, a, b)| (name.replace(" us", "").replace(['.', ' ', '/'], "_"), json!(a / b)))
            .collect();
        json!({ "servers": self.reports.each_ref().map(Report::json), "ratios": ratios })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{
        super::{draw::tests::load, subject::tests::subject, tally::tests::tally},
        *,
    };

    #[test]
    fn servers_that_promise_different_things_are_not_compared() {
        use Durability::{Always, Interval, Memory, Never, Unknown};
        for same in [Always, Interval, Never, Memory] {
            let pair = [subject("http://h:1", same), subject("redis://h:2", same)];
            assert_eq!(same_durability(&pair), Ok(()));
        }
        for (one, other) in
            [(Always, Interval), (Interval, Never), (Never, Memory), (Memory, Always), (Unknown, Unknown)]
        {
            let pair = [subject("http://h:1", one), subject("redis://h:2", other)];
            let Err(Failure::NotComparable(why)) = same_durability(&pair) else { panic!("{one} {other}") };
            for named in ["http://h:1", "redis://h:2", &one.to_string(), &other.to_string(), "everysec"] {
                assert!(why.contains(named), "{named} is not in: {why}");
            }
        }
    }

    fn comparison() -> Comparison {
        let report = |address, durability, tally| Report {
            subject: subject(address, durability),
            load: load(),
            tally,
        };
        let slower = Tally { took: Duration::from_secs(2), ..tally() };
        Comparison {
            reports: [
                report("http://h:1", Durability::Never, tally()),
                report("redis://h:2", Durability::Never, slower),
            ],
        }
    }

    #[test]
    fn the_table_has_both_and_their_ratios() {
        let text = comparison().text();
        for words in [
            "A  http://h:1",
            "B  redis://h:2",
            "requests/s              1000         500    2.00x",
            "reads p99 us",
        ] {
            assert!(text.contains(words), "{words:?} is not in:\n{text}");
        }
        assert!(!text.contains("NOT"), "{text}");
    }

    #[test]
    fn the_table_says_what_was_not_answered_and_by_whom() {
        let mut comparison = comparison();
        comparison.reports[1].tally.fail("OOM", 4);
        assert!(comparison.text().contains("NOT ANSWERED by B: 4 x OOM"), "{}", comparison.text());
    }

    #[test]
    fn the_json_has_both_and_their_ratios() {
        let json = comparison().json();
        assert_eq!(json["servers"][1]["server"]["url"], "redis://h:2");
        assert_eq!(json["ratios"]["requests_s"], 2.0);
        assert_eq!(json["ratios"]["reads_p99_9"], 1.0);
    }
}
