//! A recorded run: each system call with the moments of its begin and its end.
//!
//! Where threads overlap, the tracer writes a call in two lines, and others between them. What
//! counts is order: "b after a" means that b began after a had ended. The line numbers of the trace
//! serve as the clock.

use std::{collections::HashMap, fs, path::Path};

/// One system call.
#[derive(Clone, Debug)]
pub struct Call {
    /// Its line in the trace.
    pub begin: usize,
    /// The line in which it ended.
    pub end: usize,
    pub name: String,
    /// As the tracer writes them.
    pub arguments: String,
    /// It did what it was asked to.
    pub ok: bool,
}

/// Reads a trace of all threads.
pub fn read(trace: &Path) -> Vec<Call> {
    let bytes = fs::read(trace).expect("there is a trace");
    let mut unfinished: HashMap<u32, (usize, String)> = HashMap::new();
    let mut calls = Vec::new();
    for (number, line) in String::from_utf8_lossy(&bytes).lines().enumerate() {
        let (thread, rest) = line.split_once(char::is_whitespace).expect("a thread and what it does");
        let thread = thread.parse().expect("threads have numbers");
        let rest = rest.trim_start();
        if rest.starts_with("+++") || rest.starts_with("---") {
            continue;
        }
        if let Some(begun) = rest.strip_suffix("<unfinished ...>") {
            unfinished.insert(thread, (number, begun.trim_end().to_owned()));
            continue;
        }
        let (begin, text) = match rest.strip_prefix("<... ").and_then(|r| r.split_once(" resumed>")) {
            Some((_, ended)) => {
                let (begin, begun) = unfinished.remove(&thread).expect("it was begun");
                (begin, begun + ended)
            }
            None => (number, rest.to_owned()),
        };
        calls.extend(parse(&text).map(|(name, arguments, ok)| Call {
            begin,
            end: number,
            name,
            arguments,
            ok,
        }));
    }
    calls.sort_by_key(|call| call.begin);
    calls
}

/// `name(arguments) = result`; `None` for a call that never came back.
fn parse(text: &str) -> Option<(String, String, bool)> {
    let (call, result) = text.rsplit_once(") ").or_else(|| text.rsplit_once(')'))?;
    let (name, arguments) = call.split_once('(')?;
    let result = result.trim_start().strip_prefix('=')?.trim_start();
    Some((name.to_owned(), arguments.to_owned(), !result.starts_with(['-', '?'])))
}

impl Call {
    pub fn is(&self, names: &[&str]) -> bool {
        self.ok && names.contains(&&*self.name)
    }

    /// The path behind the descriptor that comes first.
    pub fn file(&self) -> Option<&str> {
        let (_, rest) = self.arguments.split_once('<')?;
        rest.split_once('>').map(|(path, _)| path)
    }

    /// The paths that are given by name.
    pub fn names(&self) -> Vec<&str> {
        self.arguments.split('"').skip(1).step_by(2).collect()
    }

    /// The last number, which for a write is its offset.
    pub fn last_number(&self) -> Option<u64> {
        self.arguments.rsplit(", ").next()?.parse().ok()
    }
}
