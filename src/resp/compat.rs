//! `COMPAT.md` says what is here and what is not. What follows from the tables is written by them: this
//! test compares, and with `BLESS=1` in its environment it writes.

#![expect(clippy::disallowed_methods, reason = "a file of the sources, and no data")]

use std::{fmt::Write, fs, path::Path};

use super::{
    script::KNOWN,
    table::{Command, MISSING, TABLE},
};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/COMPAT.md");

fn commands() -> String {
    let mut out = String::from("| group | command | since | what it does |\n| --- | --- | --- | --- |\n");
    let mut sorted: Vec<&Command> = TABLE.iter().collect();
    sorted.sort_by_key(|command| (command.group, command.name));
    for Command { group, name, since, summary, .. } in sorted {
        writeln!(out, "| {group} | `{}` | {since} | {summary} |", name.to_uppercase()).unwrap();
    }
    out
}

fn missing() -> String {
    let mut out = String::new();
    for (reason, names) in MISSING {
        let names: Vec<String> = names.iter().map(|name| format!("`{}`", name.to_uppercase())).collect();
        writeln!(out, "* {reason}: {}", names.join(" ")).unwrap();
    }
    out
}

fn scripts() -> String {
    let mut out = String::new();
    for known in KNOWN {
        let text: Vec<&str> = known.text.split_ascii_whitespace().collect();
        writeln!(out, "* {}: `{}`", known.of, text.join(" ")).unwrap();
    }
    out
}

/// The text with what stands between the marks of this name replaced.
fn replaced(text: &str, name: &str, content: &str) -> String {
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
    let from = text.find(&begin).expect("the file has the mark") + begin.len();
    let to = from + text[from..].find(&end).expect("the file has the closing mark");
    format!("{}{content}{}", &text[..from], &text[to..])
}

#[test]
fn compat_md_says_what_the_tables_say() {
    let path = Path::new(FILE);
    let text = fs::read_to_string(path).unwrap();
    let mut right = text.clone();
    for (name, content) in [("commands", commands()), ("missing", missing()), ("scripts", scripts())] {
        right = replaced(&right, name, &content);
    }
    if std::env::var_os("BLESS").is_some() {
        fs::write(path, &right).unwrap();
        return;
    }
    assert!(
        text == right,
        "COMPAT.md is not what the tables say: BLESS=1 cargo test --lib compat_md writes it"
    );
}
