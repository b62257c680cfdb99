//! Patterns of keys and channels: `*`, `?`, `[abc]`, `[a-z]`, `[^a]`, and `\` before a byte that
//! stands for itself.
//!
//! Without recursion: after a mismatch only the last `*` can take more, so a match takes at most
//! as many steps as pattern and text have bytes, multiplied. The pattern is bounded by who calls.

/// The longest pattern that is taken from a client.
pub const PATTERN_LEN_MAX: usize = 1024;

/// Whether all of `text` is as `pattern` says.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Behind the last star, and where in the text it is tried to go on from.
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            retry = Some((p, t));
            continue;
        }
        match one(&pattern[p..], text[t]) {
            Some(len) => (p, t) = (p + len, t + 1),
            None => match retry {
                Some((behind, from)) => {
                    (p, t) = (behind, from + 1);
                    retry = Some((behind, from + 1));
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|b| *b == b'*')
}

/// The bytes that every match begins with.
pub(super) fn literal_prefix(pattern: &[u8]) -> &[u8] {
    let end = pattern.iter().position(|b| b"*?[\\".contains(b)).unwrap_or(pattern.len());
    &pattern[..end]
}

/// The length of the first element of the pattern if it matches this byte.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    let (matched, len) = match pattern {
        [] => return None,
        [b'?', ..] => (true, 1),
        [b'[', ..] => class(pattern, byte),
        [b'\\', escaped, ..] => (*escaped == byte, 2),
        [plain, ..] => (*plain == byte, 1),
    };
    matched.then_some(len)
}

/// A class that does not end goes to the end of the pattern.
fn class(pattern: &[u8], byte: u8) -> (bool, usize) {
    let negated = pattern.get(1) == Some(&b'^');
    let mut at = if negated { 2 } else { 1 };
    let mut matched = false;
    loop {
        match &pattern[at.min(pattern.len())..] {
            [] => break,
            [b']', ..] => {
                at += 1;
                break;
            }
            [b'\\', escaped, ..] => {
                matched |= *escaped == byte;
                at += 2;
            }
            [from, b'-', to, ..] => {
                matched |= (*from.min(to)..=*from.max(to)).contains(&byte);
                at += 3;
            }
            [plain, ..] => {
                matched |= *plain == byte;
                at += 1;
            }
        }
    }
    (matched != negated, at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_match_as_redis_does() {
        let table = [
            ("*", "", true),
            ("*", "anything", true),
            ("", "", true),
            ("", "a", false),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h*llo", "heeeello", true),
            ("h[ae]llo", "hallo", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-b]llo", "hbllo", true),
            ("h[b-a]llo", "hallo", true),
            ("h[\\]]llo", "h]llo", true),
            ("h\\*llo", "h*llo", true),
            ("h\\*llo", "hxllo", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("user:*:name", "user:17:name", true),
            ("**a", "bca", true),
            ("[a", "a", true),
            ("[", "a", false),
            ("a\\", "a\\", true),
        ];
        for (pattern, text, expected) in table {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
    }

    /// What takes exponential time with recursion.
    #[test]
    fn many_stars_are_no_trouble() {
        let pattern = [b"a*".repeat(500), b"b".to_vec()].concat();
        assert!(!matches(&pattern, &vec![b'a'; 4096]));
    }

    #[test]
    fn a_match_begins_with_the_literal_prefix() {
        for (pattern, prefix) in [("user:*", "user:"), ("*", ""), ("a\\*", "a"), ("abc", "abc"), ("[a]b", "")]
        {
            assert_eq!(literal_prefix(pattern.as_bytes()), prefix.as_bytes());
        }
    }

    proptest! {
        #[test]
        fn a_text_matches_itself_escaped(text in proptest::collection::vec(any::<u8>(), 0..50)) {
            let escaped: Vec<u8> = text.iter().flat_map(|b| [b'\\', *b]).collect();
            prop_assert!(matches(&escaped, &text));
        }

        #[test]
        fn whatever_comes_nothing_panics(
            pattern in proptest::collection::vec(prop_oneof![Just(b'*'), Just(b'['), Just(b']'), Just(b'\\'), Just(b'-'), any::<u8>()], 0..30),
            text in proptest::collection::vec(any::<u8>(), 0..30),
        ) {
            matches(&pattern, &text);
        }
    }
}
