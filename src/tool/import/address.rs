//! Where a server is and who asks: `redis://[user:password@]host[:port][/db]`, or just `host:port`.

use std::fmt;

use crate::node::error::{Error, Result};

const SCHEME: &str = "redis://";
const PORT: u16 = 6379;

/// An address as it was given. Shown without the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    /// A name or an IP address, without brackets.
    pub host: String,
    /// 6379 unless given.
    pub port: u16,
    /// User and password; an empty user is the default one.
    pub login: Option<(String, String)>,
    /// The database, if the address names one.
    pub db: Option<u32>,
}

impl Address {
    /// Reads an address.
    ///
    /// # Errors
    /// `InvalidArgument`, saying what would be right.
    pub fn parse(text: &str) -> Result<Address> {
        let rest = text.strip_prefix(SCHEME).unwrap_or(text);
        if rest.starts_with("rediss://") {
            return Err(Error::invalid(
                "TLS is not spoken; import from the machine of the server, or through a tunnel, got=rediss://",
            ));
        }
        let (login, rest) = match rest.rsplit_once('@') {
            Some((login, rest)) => (Some(parse_login(login)?), rest),
            None => (None, rest),
        };
        let (place, db) = match rest.split_once('/') {
            Some((place, "")) => (place, None),
            Some((place, db)) => (place, Some(parse_db(db)?)),
            None => (rest, None),
        };
        let (host, port) = parse_place(place)?;
        Ok(Address { host, port, login, db })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Address { host, port, .. } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn parse_login(text: &str) -> Result<(String, String)> {
    let parsed =
        text.split_once(':').and_then(|(user, password)| Some((unescape(user)?, unescape(password)?)));
    // The text is not shown: it may be a password.
    parsed.ok_or_else(|| {
        Error::invalid("before the @ of an address stands user:password, with %40 for an @ in them")
    })
}

fn parse_db(text: &str) -> Result<u32> {
    text.parse().map_err(|_| {
        Error::invalid(format!("an address ends in the number of a database, such as /0, got={text:?}"))
    })
}

fn parse_place(text: &str) -> Result<(String, u16)> {
    let bracketed = text.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let (host, port) = match bracketed {
        Some((host, rest)) => (host, rest.strip_prefix(':').or(rest.is_empty().then_some(""))),
        None => text.split_once(':').map_or((text, Some("")), |(host, port)| (host, Some(port))),
    };
    let port = match port {
        Some("") if !text.ends_with(':') => Some(PORT),
        port => port.and_then(|port| port.parse().ok()).filter(|&port| port != 0),
    };
    match port {
        Some(port) if !host.is_empty() && !host.contains(['?', '#', ' ']) => Ok((host.to_owned(), port)),
        _ => Err(Error::invalid(format!(
            "an address is redis://host:port, with [::1] for an IPv6 address, got={text:?}"
        ))),
    }
}

/// Bytes written as `%40`; `None` if that is no text.
fn unescape(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_host_and_what_is_given_besides() {
        let address = |host: &str, port, login: Option<(&str, &str)>, db| Address {
            host: host.into(),
            port,
            login: login.map(|(user, password)| (user.into(), password.into())),
            db,
        };
        for (text, expected) in [
            ("redis://cache", address("cache", 6379, None, None)),
            ("redis://cache/", address("cache", 6379, None, None)),
            ("127.0.0.1:7000", address("127.0.0.1", 7000, None, None)),
            ("redis://[::1]", address("::1", 6379, None, None)),
            ("redis://[::1]:7/3", address("::1", 7, None, Some(3))),
            ("redis://:p@h", address("h", 6379, Some(("", "p")), None)),
            ("redis://ada:p%40:%2f@h:1/0", address("h", 1, Some(("ada", "p@:/")), Some(0))),
        ] {
            assert_eq!(Address::parse(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn a_wrong_address_is_told_with_what_would_be_right() {
        for (text, right) in [
            ("", "redis://host:port"),
            ("redis://", "redis://host:port"),
            ("redis://:7000", "redis://host:port"),
            ("redis://h:", "redis://host:port"),
            ("redis://h:0", "redis://host:port"),
            ("redis://h:65536", "redis://host:port"),
            ("redis://[::1", "redis://host:port"),
            ("redis://[::1]7", "redis://host:port"),
            ("redis://h?db=1", "redis://host:port"),
            ("redis://h/one", "such as /0"),
            ("redis://secret@h", "user:password"),
            ("redis://a:%4@h", "user:password"),
            ("rediss://h", "tunnel"),
        ] {
            let error = Address::parse(text).expect_err(text).to_string();
            assert!(error.contains(right), "{text}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        let address = Address::parse("redis://ada:secret@h:7").unwrap();
        assert_eq!((format!("{address}"), format!("{address:?}")), ("h:7".into(), "h:7".into()));
    }
}
