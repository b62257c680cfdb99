//! Query parameters: each known by name, each at most once. An unknown one is an error, not
//! noise: a `tll=60` that is ignored is an entry that never expires.

use super::key::percent_decoded;
use crate::node::error::{Error, Result};

/// The parameters of one request.
#[derive(Debug)]
pub(super) struct Query {
    parameters: Vec<(&'static str, Vec<u8>)>,
}

impl Query {
    /// Reads a query in which only `allowed` names may occur.
    ///
    /// # Errors
    /// `InvalidArgument` for a name that is unknown or given twice, or a broken escape.
    pub(super) fn parse(query: Option<&str>, allowed: &[&'static str]) -> Result<Query> {
        let mut parameters: Vec<(&'static str, Vec<u8>)> = Vec::new();
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decoded(name)?;
            let Some(known) = allowed.iter().find(|known| known.as_bytes() == name) else {
                return Err(unknown(&name, allowed));
            };
            if parameters.iter().any(|(seen, _)| seen == known) {
                return Err(Error::invalid(format!("query parameter given more than once, name={known}")));
            }
            parameters.push((known, decoded(value)?));
        }
        Ok(Query { parameters })
    }

    /// The bytes of a parameter.
    pub(super) fn bytes(&self, name: &str) -> Option<&[u8]> {
        self.parameters.iter().find(|(known, _)| *known == name).map(|(_, value)| &**value)
    }

    /// The text of a parameter.
    ///
    /// # Errors
    /// `InvalidArgument` if it is not UTF-8.
    pub(super) fn text(&self, name: &str) -> Result<Option<&str>> {
        let text = self.bytes(name).map(std::str::from_utf8).transpose();
        text.map_err(|_| Error::invalid(format!("query parameter is not UTF-8, name={name}")))
    }
}

fn decoded(text: &str) -> Result<Vec<u8>> {
    percent_decoded(text.as_bytes(), true)
        .ok_or_else(|| Error::invalid("the query has a % without two hexadecimal digits"))
}

fn unknown(name: &[u8], allowed: &[&str]) -> Error {
    let name: String = String::from_utf8_lossy(name).chars().take(40).collect();
    let known = if allowed.is_empty() { "none".to_owned() } else { allowed.join(" ") };
    Error::invalid(format!("unknown query parameter, name={name:?} known=[{known}]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded_bytes() {
        let query = Query::parse(Some("key=a%20b+c&value=%ff&&ttl"), &["key", "value", "ttl"]).unwrap();
        assert_eq!(query.bytes("key"), Some(&b"a b c"[..]));
        assert_eq!(query.bytes("value"), Some(&b"\xff"[..]));
        assert_eq!(query.text("ttl").unwrap(), Some(""));
        assert!(query.text("value").is_err());
        assert_eq!(Query::parse(None, &[]).unwrap().bytes("key"), None);
    }

    #[test]
    fn unknown_and_repeated_names_are_named() {
        let error = Query::parse(Some("tll=60"), &["ttl"]).unwrap_err();
        assert!(error.detail().contains("tll") && error.detail().contains("ttl"), "{error}");
        assert!(Query::parse(Some("ttl=1&ttl=1"), &["ttl"]).is_err());
        assert!(Query::parse(Some("ttl=%1"), &["ttl"]).is_err());
    }
}
