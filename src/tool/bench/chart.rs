//! Latencies as a picture: how long all but the slowest took.

use hdrhistogram::Histogram;

use super::Report;
use crate::tool::svg::{Curve, curves};

/// Up to here, in steps that are even in the picture: nines of the share that was answered.
const NINES_MAX: f64 = 5.0;
const STEPS: u32 = 60;

/// Curves of the reads and writes of each report.
pub fn latencies(reports: &[Report]) -> String {
    let mut all = Vec::new();
    for report in reports {
        let who = if reports.len() > 1 { format!("{} ", report.subject.target) } else { String::new() };
        for (kind, latencies) in [("reads", &report.tally.reads), ("writes", &report.tally.writes)] {
            if !latencies.is_empty() {
                all.push(Curve { name: format!("{who}{kind}"), points: points(latencies) });
            }
        }
    }
    let first = reports.first();
    let under =
        first.map_or(String::new(), |r| format!("{}; durability: {}", r.load.text(), r.subject.durability));
    curves("Latency by percentile", &under, &all)
}

/// `(nines, microseconds)`, as far as there are enough latencies to tell.
fn points(latencies: &Histogram<u64>) -> Vec<(f64, f64)> {
    let known = (latencies.len() as f64).log10();
    let nines = (0..=STEPS).map(|step| NINES_MAX * f64::from(step) / f64::from(STEPS));
    nines
        .take_while(|&nines| nines <= known)
        .map(|nines| (nines, latencies.value_at_quantile(1.0 - 10f64.powf(-nines)) as f64 / 1e3))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Durability, draw::tests::load, subject::tests::subject, tally::tests::tally},
        *,
    };

    #[test]
    fn a_curve_rises_and_ends_where_nothing_more_is_known() {
        let points = points(&tally().all());
        assert!(points.windows(2).all(|two| two[0].0 < two[1].0 && two[0].1 <= two[1].1), "{points:?}");
        let (nines, us) = *points.last().unwrap();
        assert!((2.9..=3.0).contains(&nines), "1000 latencies tell three nines: {nines}");
        assert!((us - 999.0).abs() < 2.0, "{us}");
    }

    #[test]
    fn each_kind_of_each_server_has_a_curve() {
        let report =
            |address| Report { subject: subject(address, Durability::Never), load: load(), tally: tally() };
        let one = latencies(&[report("http://h:1")]);
        assert!(one.contains(">reads<") && one.contains(">writes<"), "{one}");
        let two = latencies(&[report("http://h:1"), report("redis://h:2")]);
        assert!(two.contains("http://h:1 reads") && two.contains("redis://h:2 writes"), "{two}");
        assert!(two.contains("durability: never"), "{two}");
    }
}
