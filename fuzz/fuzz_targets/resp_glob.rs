//! Patterns of keys against the rules of redis-server, written down once more with recursion; and the
//! longest pattern on a long text does not take long.
//!
//! First byte: how many of the following are the pattern, and whether the long one is tried too. The rest
//! is the text.
#![no_main]

use std::{collections::HashMap, time::Instant};

use emberkeep::resp::glob::{PATTERN_LEN_MAX, matches};
use libfuzzer_sys::fuzz_target;

/// A thousand times what a match of [`LONG`] takes, and nothing to what it takes with recursion.
const SECONDS_MAX: u64 = 20;
/// Bytes of the long text.
const LONG: usize = 2048;

fuzz_target!(|data: &[u8]| {
    let Some((&len, rest)) = data.split_first() else { return };
    let (pattern, text) = rest.split_at(usize::from(len & 0x7f).min(rest.len()));
    let text = &text[..text.len().min(200)];
    let expected = by_the_book(pattern, text, &mut HashMap::new());
    assert_eq!(matches(pattern, text), expected, "{} {}", pattern.escape_ascii(), text.escape_ascii());
    if len & 0x80 != 0 && !pattern.is_empty() && !text.is_empty() {
        let many: Vec<u8> = pattern.iter().copied().cycle().take(PATTERN_LEN_MAX).collect();
        let long: Vec<u8> = text.iter().copied().cycle().take(LONG).collect();
        let begun = Instant::now();
        matches(&many, &long);
        assert!(begun.elapsed().as_secs() < SECONDS_MAX, "{}", many.escape_ascii());
    }
});

/// Whether they match; what was found out about two ends is remembered by their lengths.
fn by_the_book(pattern: &[u8], text: &[u8], known: &mut HashMap<(usize, usize), bool>) -> bool {
    let ends = (pattern.len(), text.len());
    if let Some(known) = known.get(&ends) {
        return *known;
    }
    let is_match = match (pattern, text) {
        ([], text) => text.is_empty(),
        ([b'*', behind @ ..], text) => {
            by_the_book(behind, text, known) || !text.is_empty() && by_the_book(pattern, &text[1..], known)
        }
        (_, []) => false,
        ([b'?', behind @ ..], [_, rest @ ..]) => by_the_book(behind, rest, known),
        ([b'[', behind @ ..], [byte, rest @ ..]) => {
            let (is_in, behind) = class(behind, *byte);
            is_in && by_the_book(behind, rest, known)
        }
        ([b'\\', escaped, behind @ ..], [byte, rest @ ..]) => {
            escaped == byte && by_the_book(behind, rest, known)
        }
        ([plain, behind @ ..], [byte, rest @ ..]) => plain == byte && by_the_book(behind, rest, known),
    };
    known.insert(ends, is_match);
    is_match
}

/// Whether a class holds the byte, and what stands behind its bracket; without one it goes to the end.
fn class(class: &[u8], byte: u8) -> (bool, &[u8]) {
    match class {
        [b'^', members @ ..] => {
            let (is_in, behind) = member(members, byte);
            (!is_in, behind)
        }
        members => member(members, byte),
    }
}

fn member(members: &[u8], byte: u8) -> (bool, &[u8]) {
    let (is_first, others) = match members {
        [] => return (false, members),
        [b']', behind @ ..] => return (false, behind),
        [b'\\', escaped, others @ ..] => (*escaped == byte, others),
        [from, b'-', to, others @ ..] => {
            let is_between = from <= &byte && &byte <= to || to <= &byte && &byte <= from;
            (is_between, others)
        }
        [plain, others @ ..] => (*plain == byte, others),
    };
    let (is_other, behind) = member(others, byte);
    (is_first || is_other, behind)
}
