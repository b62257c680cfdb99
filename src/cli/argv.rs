//! Arguments in the style of Go programs: `-port 8000 -capacity=100` means
//! `--port 8000 --capacity=100`. Short flags (`-h`, `-V`) stay what they are.

use std::ffi::OsString;

/// The same arguments with two dashes in front of every long flag.
pub(super) fn normalised(argv: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut literal = false;
    argv.into_iter()
        .map(|arg| {
            literal |= arg == "--";
            match arg.to_str() {
                Some(text) if !literal && is_long_with_one_dash(text) => OsString::from(format!("-{text}")),
                _ => arg,
            }
        })
        .collect()
}

/// One dash, then a letter, then at least one more letter, digit or dash before any `=`.
fn is_long_with_one_dash(text: &str) -> bool {
    let Some(rest) = text.strip_prefix('-') else { return false };
    let name = rest.split('=').next().unwrap_or_default();
    name.len() > 1
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_dash_is_enough_for_a_long_flag() {
        let given = [
            "emberkeep",
            "-port",
            "8000",
            "-capacity=100",
            "--fsync",
            "never",
            "-h",
            "-V",
            "-1",
            "-",
            "--",
            "-port",
        ];
        let expected = [
            "emberkeep",
            "--port",
            "8000",
            "--capacity=100",
            "--fsync",
            "never",
            "-h",
            "-V",
            "-1",
            "-",
            "--",
            "-port",
        ];
        assert_eq!(normalised(given.map(OsString::from)), expected.map(OsString::from));
    }
}
