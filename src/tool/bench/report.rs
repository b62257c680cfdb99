//! What a run has measured: for people, and as JSON.

use std::fmt::Write;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::{Load, Subject, Tally};
use crate::config::units::show_span;

/// The percentiles of all reports, with the names they have in JSON.
pub(super) const PERCENTILES: [(&str, &str, f64); 6] = [
    ("p50", "p50", 0.5),
    ("p90", "p90", 0.9),
    ("p99", "p99", 0.99),
    ("p99.9", "p99_9", 0.999),
    ("p99.99", "p99_99", 0.9999),
    ("max", "max", 1.0),
];

/// One server under one load.
#[derive(Clone, Debug)]
pub struct Report {
    /// Who.
    pub subject: Subject,
    /// Under what.
    pub load: Load,
    /// What came of it.
    pub tally: Tally,
}

impl Report {
    /// For people: a few lines and a table.
    pub fn text(&self) -> String {
        let Report { subject, load, tally } = self;
        let mut out = format!("{}\n{}\n\n", subject.text(), load.text());
        out += &format!("{:<8}{:>12}", "", "requests/s");
        PERCENTILES.iter().for_each(|(name, ..)| out += &format!("{name:>10}"));
        out += "  us\n";
        for (name, latencies) in self.kinds() {
            let rate = latencies.len() as f64 / tally.took.as_secs_f64();
            out += &format!("{name:<8}{rate:>12.0}");
            for (.., quantile) in PERCENTILES {
                out += &format!("{:>10}", show_us(us(&latencies, quantile)));
            }
            out.push('\n');
        }
        out + "\n" + &self.counts()
    }

    /// What is there of reads and writes, and both if both are.
    fn kinds(&self) -> Vec<(&'static str, Histogram<u64>)> {
        let Tally { reads, writes, .. } = &self.tally;
        let mut kinds = Vec::new();
        if !reads.is_empty() && !writes.is_empty() {
            kinds.push(("all", self.tally.all()));
        }
        for (name, latencies) in [("reads", reads), ("writes", writes)] {
            if !latencies.is_empty() {
                kinds.push((name, latencies.clone()));
            }
        }
        kinds
    }

    fn counts(&self) -> String {
        let tally = &self.tally;
        let mut out = format!("{} answered in {:.2} s", tally.answered(), tally.took.as_secs_f64());
        if !tally.reads.is_empty() {
            let share = 100.0 * tally.found as f64 / tally.reads.len() as f64;
            write!(out, ", {share:.1} % of the reads found something").expect("a string");
        }
        out += "\n";
        for (kind, count) in &tally.errors {
            writeln!(out, "NOT ANSWERED: {count} x {kind}").expect("a string");
        }
        if tally.unsent > 0 {
            writeln!(
                out,
                "NOT SENT: {} requests were due and still waited seconds after the end; the rate is too high for this \
                 server, or for so few connections",
                tally.unsent
            )
            .expect("a string");
        }
        out
    }

    /// For programs. Latencies are in microseconds.
    pub fn json(&self) -> Value {
        let Report { subject, load, tally } = self;
        json!({
            "server": {
                "url": subject.target.to_string(),
                "product": subject.product,
                "durability": subject.durability.to_string(),
            },
            "load": load.json(),
            "seconds": tally.took.as_secs_f64(),
            "requests": tally.answered(),
            "requests_per_second": tally.rate(),
            "reads": { "found": tally.found, "missing": tally.missing },
            "latency_us": {
                "all": latency_json(&tally.all()),
                "reads": latency_json(&tally.reads),
                "writes": latency_json(&tally.writes),
            },
            "failed": tally.failed(),
            "errors": tally.errors,
            "unsent": tally.unsent,
        })
    }
}

impl Subject {
    pub(super) fn text(&self) -> String {
        format!("{}  {}, durability: {}", self.target, self.product, self.durability)
    }
}

impl Load {
    pub(super) fn text(&self) -> String {
        let mut out = format!(
            "{} connections on {} threads, pipeline {}, {} keys",
            self.connections, self.threads, self.pipeline, self.keys
        );
        if let Some(theta) = self.zipf {
            write!(out, " (Zipf {theta})").expect("a string");
        }
        let percent = 100.0 * self.read_share;
        write!(out, ", values of {} bytes, {percent:.0} % reads", self.value_len).expect("a string");
        if let Some(ttl) = self.ttl {
            write!(out, ", for {}", show_span(ttl)).expect("a string");
        }
        match self.rate {
            Some(rate) => write!(out, ", {rate} requests/s due").expect("a string"),
            None => out += ", closed loop",
        }
        out
    }

    fn json(&self) -> Value {
        json!({
            "connections": self.connections,
            "threads": self.threads,
            "span_seconds": self.span.map(|span| span.as_secs_f64()),
            "requests": self.requests,
            "warmup_seconds": self.warmup.as_secs_f64(),
            "keys": self.keys,
            "zipf": self.zipf,
            "value_bytes": self.value_len,
            "read_share": self.read_share,
            "pipeline": self.pipeline,
            "rate": self.rate,
            "ttl_ms": self.ttl.map(|ttl| ttl.as_millis() as u64),
            "filled": self.fill,
        })
    }
}

fn latency_json(latencies: &Histogram<u64>) -> Value {
    if latencies.is_empty() {
        return Value::Null;
    }
    let mut all = json!({ "count": latencies.len(), "mean": latencies.mean() / 1e3 });
    for (_, name, quantile) in PERCENTILES {
        all[name] = us(latencies, quantile).into();
    }
    all
}

/// In microseconds.
pub(super) fn us(latencies: &Histogram<u64>, quantile: f64) -> f64 {
    latencies.value_at_quantile(quantile) as f64 / 1e3
}

/// Short, to three digits at least.
pub(super) fn show_us(us: f64) -> String {
    if us < 100.0 { format!("{us:.1}") } else { format!("{us:.0}") }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Durability, draw::tests::load, subject::tests::subject, tally::tests::tally},
        *,
    };

    fn report() -> Report {
        Report { subject: subject("http://h:80", Durability::Always), load: load(), tally: tally() }
    }

    #[test]
    fn the_text_tells_who_under_what_and_how_long_it_took() {
        let text = report().text();
        for words in [
            "http://h:80  emberkeep 1.2.3, durability: always",
            "2 connections on 1 threads, pipeline 1, 50 keys, values of 10 bytes, 80 % reads, closed loop",
            "requests/s       p50       p90       p99     p99.9    p99.99       max  us",
            "all             1000       500",
            "reads            900",
            "writes           100",
            "1000 answered in 1.00 s, 100.0 % of the reads found something",
        ] {
            assert!(text.contains(words), "{words:?} is not in:\n{text}");
        }
        assert!(!text.contains("NOT"), "{text}");
    }

    #[test]
    fn what_was_not_answered_or_not_sent_is_told_by_kind() {
        let mut report = report();
        report.tally.fail("HTTP 507", 3);
        report.tally.unsent = 7;
        let text = report.text();
        assert!(text.contains("NOT ANSWERED: 3 x HTTP 507"), "{text}");
        assert!(text.contains("NOT SENT: 7 requests"), "{text}");
        let json = report.json();
        assert_eq!(
            (&json["failed"], &json["errors"]["HTTP 507"], &json["unsent"]),
            (&3.into(), &3.into(), &7.into())
        );
    }

    #[test]
    fn the_json_has_every_figure_by_name() {
        let json = report().json();
        assert_eq!(json["server"]["durability"], "always");
        assert_eq!(json["load"]["value_bytes"], 10);
        assert_eq!(json["requests"], 1000);
        assert_eq!(json["requests_per_second"], 1000.0);
        assert_eq!(json["latency_us"]["writes"]["count"], 100);
        for (_, name, quantile) in PERCENTILES {
            let got = json["latency_us"]["all"][name].as_f64().unwrap();
            assert!((got - 1000.0 * quantile).abs() < 2.0, "{name}: {got}");
        }
    }

    #[test]
    fn what_was_not_asked_has_no_latencies() {
        let mut report = report();
        report.tally.reads.reset();
        assert!(report.json()["latency_us"]["reads"].is_null());
        assert!(!report.text().contains("reads  "), "{}", report.text());
    }
}
