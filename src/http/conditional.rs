//! If-Match and If-None-Match (RFC 9110, section 13).
//!
//! A version is a strong ETag in digits, with its coding behind it for a compressed form; a
//! condition is about the version, so every form of it matches. If-Match compares strongly: a weak tag never matches.
//! If-None-Match compares weakly: `W/"7"` is `"7"`. Both given: If-Match is judged first.
//!
//! On a write the condition is decided by the engine, in one step with the write; it takes one
//! condition. What two headers say together is one condition too, except `If-Match: *` with a
//! list in If-None-Match: refused, because deciding half of it here would not be atomic.

use axum::http::{HeaderMap, HeaderName, header};

use super::representation;
use crate::node::{
    error::{Error, Result},
    precondition::Precondition,
};

/// What a header lists.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Tags {
    /// `*`
    Any,
    /// Versions, each with whether it was marked weak. Tags that are no version of ours are left
    /// out: they match nothing.
    List(Vec<(u64, bool)>),
}

/// What a read should answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The entry.
    Send,
    /// 304: the client has it.
    NotModified,
    /// 412.
    Failed,
}

/// Judges a read against the version that was found.
///
/// # Errors
/// `InvalidArgument` if a header is malformed.
pub(super) fn judge_read(request: &HeaderMap, current: Option<u64>) -> Result<Verdict> {
    if let Some(tags) = tags(request, &header::IF_MATCH)? {
        let matches = match tags {
            Tags::Any => current.is_some(),
            Tags::List(list) => current.is_some_and(|version| list.contains(&(version, false))),
        };
        if !matches {
            return Ok(Verdict::Failed);
        }
    }
    let matches = match tags(request, &header::IF_NONE_MATCH)? {
        None => false,
        Some(Tags::Any) => current.is_some(),
        Some(Tags::List(list)) => list.iter().any(|(version, _)| Some(*version) == current),
    };
    Ok(if matches { Verdict::NotModified } else { Verdict::Send })
}

/// The condition of a write.
///
/// # Errors
/// `InvalidArgument` if a header is malformed, or for the one combination that is not atomic.
pub(super) fn of_write(request: &HeaderMap) -> Result<Precondition> {
    let wanted = tags(request, &header::IF_MATCH)?;
    let unwanted = tags(request, &header::IF_NONE_MATCH)?;
    let strong =
        |list: Vec<(u64, bool)>| list.into_iter().filter(|(_, weak)| !weak).map(|(version, _)| version);
    let any = |list: Vec<(u64, bool)>| list.into_iter().map(|(version, _)| version).collect::<Vec<_>>();
    Ok(match (wanted, unwanted) {
        (None, None) => Precondition::Always,
        (None, Some(Tags::Any)) => Precondition::Absent,
        (None, Some(Tags::List(list))) if list.is_empty() => Precondition::Always,
        (None, Some(Tags::List(list))) => Precondition::VersionNotIn(any(list)),
        (Some(Tags::Any), None) => Precondition::Present,
        (Some(Tags::Any), Some(Tags::List(list))) if list.is_empty() => Precondition::Present,
        (Some(Tags::Any), Some(Tags::List(_))) => {
            return Err(Error::invalid(
                "if-match: * together with a list in if-none-match is not supported on a write",
            ));
        }
        // There must be an entry and there must be none.
        (Some(_), Some(Tags::Any)) => Precondition::never(),
        (Some(Tags::List(list)), None) => one_of(strong(list).collect()),
        (Some(Tags::List(list)), Some(Tags::List(unwanted))) => {
            let unwanted = any(unwanted);
            one_of(strong(list).filter(|version| !unwanted.contains(version)).collect())
        }
    })
}

fn one_of(versions: Vec<u64>) -> Precondition {
    if versions.is_empty() { Precondition::never() } else { Precondition::VersionIn(versions) }
}

/// Everything that all lines of a header list.
fn tags(request: &HeaderMap, name: &HeaderName) -> Result<Option<Tags>> {
    let malformed = || Error::invalid(format!("header must be * or a list of quoted tags, name={name}"));
    let (mut list, mut lines, mut any) = (Vec::new(), 0, false);
    for line in request.get_all(name) {
        lines += 1;
        let text = line.as_bytes().trim_ascii();
        if text == b"*" {
            any = true;
        } else {
            parse_list(text, &mut list).ok_or_else(malformed)?;
        }
    }
    match (lines, any) {
        (0, _) => Ok(None),
        (1, true) => Ok(Some(Tags::Any)),
        (_, true) => Err(malformed()),
        (_, false) => Ok(Some(Tags::List(list))),
    }
}

/// `"1", W/"2", "anything"`. Empty elements are allowed, as in every list of HTTP.
fn parse_list(mut text: &[u8], out: &mut Vec<(u64, bool)>) -> Option<()> {
    let mut seen = false;
    loop {
        while let [b' ' | b'\t' | b',', rest @ ..] = text {
            text = rest;
        }
        if text.is_empty() {
            return seen.then_some(());
        }
        let (weak, rest) = match text.strip_prefix(b"W/") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let rest = rest.strip_prefix(b"\"")?;
        let end = rest.iter().position(|b| *b == b'"')?;
        let (tag, rest) = (&rest[..end], rest[end + 1..].trim_ascii_start());
        if tag.iter().any(|b| *b <= 0x20 || *b == 0x7f) || !(rest.is_empty() || rest[0] == b',') {
            return None;
        }
        out.extend(representation::version_of(tag).map(|version| (version, weak)));
        seen = true;
        text = rest;
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn request(lines: &[(HeaderName, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(name, HeaderValue::from_str(value).unwrap());
        }
        map
    }

    fn write(lines: &[(HeaderName, &str)]) -> Precondition {
        of_write(&request(lines)).unwrap()
    }

    const MATCH: HeaderName = header::IF_MATCH;
    const NONE: HeaderName = header::IF_NONE_MATCH;

    #[test]
    fn one_header_becomes_one_condition() {
        assert_eq!(write(&[]), Precondition::Always);
        assert_eq!(write(&[(NONE, "*")]), Precondition::Absent);
        assert_eq!(write(&[(MATCH, "*")]), Precondition::Present);
        assert_eq!(write(&[(MATCH, "\"7\", \"9\"")]), Precondition::VersionIn(vec![7, 9]));
        assert_eq!(write(&[(MATCH, "\"7\""), (MATCH, "\"9\"")]), Precondition::VersionIn(vec![7, 9]));
        assert_eq!(write(&[(MATCH, "\"7-zstd\", \"9-gzip\"")]), Precondition::VersionIn(vec![7, 9]));
        assert_eq!(write(&[(NONE, "W/\"9-zstd\"")]), Precondition::VersionNotIn(vec![9]));
        assert_eq!(write(&[(NONE, "\"7\", W/\"9\"")]), Precondition::VersionNotIn(vec![7, 9]));
    }

    #[test]
    fn weak_and_foreign_tags_never_match() {
        for tag in [
            "W/\"7\"",
            "W/\"7-zstd\"",
            "\"7-br\"",
            "\"abc\"",
            "\"007\"",
            "\"0\"",
            "\"\"",
            "\"99999999999999999999\"",
        ] {
            assert_eq!(write(&[(MATCH, tag)]), Precondition::never(), "{tag}");
        }
        assert_eq!(write(&[(NONE, "\"abc\"")]), Precondition::Always);
    }

    #[test]
    fn two_headers_become_one_condition_or_are_refused() {
        assert_eq!(write(&[(MATCH, "\"7\""), (NONE, "*")]), Precondition::never());
        assert_eq!(write(&[(MATCH, "*"), (NONE, "*")]), Precondition::never());
        assert_eq!(write(&[(MATCH, "\"7\", \"8\""), (NONE, "\"8\"")]), Precondition::VersionIn(vec![7]));
        assert_eq!(write(&[(MATCH, "*"), (NONE, "\"x\"")]), Precondition::Present);
        assert!(of_write(&request(&[(MATCH, "*"), (NONE, "\"8\"")])).is_err());
    }

    #[test]
    fn malformed_headers_are_refused() {
        for text in ["", "7", "\"7", "\"7\" \"8\"", "*, \"7\"", "w/\"7\"", "W/7", ",", "\"a b\""] {
            assert!(of_write(&request(&[(MATCH, text)])).is_err(), "{text}");
        }
    }

    #[test]
    fn a_read_judges_if_match_first() {
        let verdict = |lines: &[(HeaderName, &str)], current| judge_read(&request(lines), current).unwrap();
        assert_eq!(verdict(&[], None), Verdict::Send);
        assert_eq!(verdict(&[(NONE, "\"7\"")], Some(7)), Verdict::NotModified);
        assert_eq!(verdict(&[(NONE, "W/\"7\"")], Some(7)), Verdict::NotModified);
        assert_eq!(verdict(&[(NONE, "\"7-gzip\"")], Some(7)), Verdict::NotModified);
        assert_eq!(verdict(&[(MATCH, "\"7-zstd\"")], Some(7)), Verdict::Send);
        assert_eq!(verdict(&[(NONE, "*")], Some(7)), Verdict::NotModified);
        assert_eq!(verdict(&[(NONE, "*")], None), Verdict::Send);
        assert_eq!(verdict(&[(NONE, "\"8\"")], Some(7)), Verdict::Send);
        assert_eq!(verdict(&[(MATCH, "\"8\""), (NONE, "\"7\"")], Some(7)), Verdict::Failed);
        assert_eq!(verdict(&[(MATCH, "\"7\""), (NONE, "\"7\"")], Some(7)), Verdict::NotModified);
        assert_eq!(verdict(&[(MATCH, "*")], None), Verdict::Failed);
    }
}
