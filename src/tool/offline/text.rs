//! Columns, times, keys and names for people and for JSON.

use std::fmt::Write;

use emberkeep_storage::UnixMillis;
use serde_json::{Map, Value};

use crate::node::text::{Text, encode64};

/// Rows in columns as wide as their content, two spaces apart; what is a number in every row stands
/// to the right.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        rows.iter().map(|row| row[column].chars().count()).chain([head[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let is_number = |cell: &String| cell == "-" || cell.bytes().all(|b| b.is_ascii_digit());
    let right: Vec<bool> = (0..head.len()).map(|c| rows.iter().all(|row| is_number(&row[c]))).collect();
    let mut out = String::new();
    let head: Vec<String> = head.iter().map(|name| (*name).to_owned()).collect();
    for row in std::iter::once(&head).chain(rows) {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            let cell = if right[column] { format!("{cell:>width$}") } else { format!("{cell:<width$}") };
            line += &cell;
            line += "  ";
        }
        out += line.trim_end();
        out += "\n";
    }
    out
}

/// `2026-11-21T13:45:00.123Z`.
pub(super) fn time(at: UnixMillis) -> String {
    if at.0 == 0 {
        // What a new data set begins with carries no time.
        return format!("{:<24}", "-");
    }
    let (days, ms) = (at.0 / 86_400_000, at.0 % 86_400_000);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", ms % 1_000)
}

/// Year, month and day of a day since 1970, counted in years that begin in March.
fn civil(days: u64) -> (u64, u64, u64) {
    const DAYS_IN_400_YEARS: u64 = 146_097;
    let since_year_0 = days.saturating_add(719_468);
    let (era, day) = (since_year_0 / DAYS_IN_400_YEARS, since_year_0 % DAYS_IN_400_YEARS);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

/// Bytes for a terminal: as text with control characters escaped, or as base64url if they are no
/// text.
pub(super) fn shown(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.escape_debug().to_string(),
        Err(_) => format!("base64:{}", encode64(bytes)),
    }
}

/// A key with its namespace, if that is not the usual one.
pub(super) fn shown_key(namespace: u16, key: &[u8]) -> String {
    if namespace == 0 { shown(key) } else { format!("{namespace}:{}", shown(key)) }
}

/// Puts bytes into an object under `name`, or `name` with 64 behind it if they are no text.
pub(super) fn put_bytes(object: &mut Map<String, Value>, name: &str, bytes: &[u8]) {
    match Text::from(bytes) {
        Text::Plain(text) => object.insert(name.to_owned(), text.into()),
        Text::Encoded(text) => object.insert(format!("{name}64"), text.into()),
    };
}

/// Counts with a word that fits: `1 key`, `2 keys`, `0 flushes`.
pub(super) fn count(n: u64, word: &str) -> String {
    let mut out = format!("{n} {word}");
    if n != 1 {
        out.write_str(if word.ends_with("sh") { "es" } else { "s" }).expect("strings do not fail");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (ms, text) in [
            (0, "-                       "),
            (1, "1970-01-01T00:00:00.001Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_700_000_000_123, "2023-11-14T22:13:20.123Z"),
            (4_107_542_399_999, "2100-02-28T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(time(UnixMillis(ms)), text);
        }
        // Whatever a damaged file says.
        assert!(time(UnixMillis(u64::MAX)).ends_with('Z'));
    }

    #[test]
    fn what_could_move_the_cursor_is_escaped() {
        assert_eq!(shown(b"a\x1b[2Jb\n"), "a\\u{1b}[2Jb\\n");
        assert_eq!(shown(&[0xff, 0]), "base64:_wA");
    }

    #[test]
    fn counts_have_a_word_that_fits() {
        let told = [count(1, "key"), count(2, "key"), count(1, "flush"), count(0, "flush")];
        assert_eq!(told, ["1 key", "2 keys", "1 flush", "0 flushes"]);
    }

    #[test]
    fn columns_are_as_wide_as_their_content() {
        let rows = [vec!["a".into(), "7".into()], vec!["bcd".into(), "1234".into()]];
        assert_eq!(table(&["name", "n"], &rows), "name     n\na        7\nbcd   1234\n");
    }
}
