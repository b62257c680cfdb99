//! What an import has done, in words and as data.

use std::time::Duration;

use serde_json::{Value, json};

use super::state::Counts;
use crate::config::units::{show_bytes, show_span};

/// The end of an import.
#[derive(Clone, Debug)]
pub struct Report {
    /// What has become of the keys, over all runs.
    pub counts: Counts,
    /// Time that all runs took together.
    pub elapsed: Duration,
}

impl Report {
    /// Whether everything that can be copied was. Types that are not copied do not count.
    pub fn is_whole(&self) -> bool {
        self.counts.refused == 0
    }

    /// For people, lines ended.
    pub fn text(&self) -> String {
        let Counts { copied, bytes, already_there, expired, skipped, refused, .. } = &self.counts;
        let took = show_span(Duration::from_millis(self.elapsed.as_millis() as u64));
        let mut text = format!("copied         {copied} keys, {}, in {took}\n", show_bytes(*bytes));
        text += &format!("already there  {already_there}\nexpired        {expired}\n");
        if skipped.is_empty() {
            text += "skipped        0\n";
        }
        for (kind, count) in skipped {
            text += &format!("skipped        {count} of type {kind}\n");
        }
        text += &names("               such as ", &self.counts.skipped_names);
        text += &format!("refused        {refused}\n");
        text + &names("               such as ", &self.counts.refused_names)
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let mut json = json!(self.counts);
        json["seconds"] = json!(self.elapsed.as_secs_f64());
        json["whole"] = json!(self.is_whole());
        json
    }
}

fn names(before: &str, names: &[String]) -> String {
    names.iter().map(|name| format!("{before}{name}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_names_what_was_not_copied_and_why() {
        let mut counts = Counts { copied: 7, bytes: 2048, already_there: 2, expired: 1, ..Counts::default() };
        counts.skip(0, b"jobs", "list");
        let whole = Report { counts: counts.clone(), elapsed: Duration::from_millis(1500) };
        assert!(whole.is_whole());
        for words in [
            "7 keys, 2 KiB, in 1.5 s",
            "there  2",
            "expired        1",
            "1 of type list",
            "db0 \"jobs\" (list)",
        ] {
            assert!(whole.text().contains(words), "{words:?} is not in: {}", whole.text());
        }
        counts.refuse(3, b"big", "ERR value is too large");
        let partly = Report { counts, ..whole };
        assert!(partly.text().contains("db3 \"big\": ERR value is too large"), "{}", partly.text());
        assert_eq!(
            (partly.json()["refused"].as_u64(), partly.json()["whole"].as_bool()),
            (Some(1), Some(false))
        );
    }
}
