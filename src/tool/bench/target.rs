//! The address of a server under load.

use std::{
    fmt,
    net::{TcpStream, ToSocketAddrs},
    str::FromStr,
    time::Duration,
};

/// Longer than any connection takes to a server that lives.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// How it is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1: `GET` and `PUT` of `/v1/keys/`.
    Http,
    /// RESP2: `GET` and `SET`, as redis takes them.
    Resp,
}

/// `http://host:port` or `redis://host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// How it is spoken to.
    pub protocol: Protocol,
    /// `host:port`.
    pub authority: String,
}

impl Target {
    /// A new connection, which sends at once what is written.
    ///
    /// # Errors
    /// In words, why there is none.
    pub fn connect(&self) -> Result<TcpStream, String> {
        let failed = |e: std::io::Error| format!("cannot connect to {self}: {e}");
        let mut last = None;
        for address in self.authority.to_socket_addrs().map_err(failed)? {
            match TcpStream::connect_timeout(&address, CONNECT_WITHIN) {
                Ok(stream) => {
                    stream.set_nodelay(true).map_err(failed)?;
                    return Ok(stream);
                }
                Err(e) => last = Some(e),
            }
        }
        Err(last.map_or_else(|| format!("cannot connect to {self}: the name has no address"), failed))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.protocol {
            Protocol::Http => "http",
            Protocol::Resp => "redis",
        };
        write!(f, "{scheme}://{}", self.authority)
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Target, String> {
        let wrong =
            || format!("an address is http://host:port or redis://host:port, without a path, got={text:?}");
        let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
        let (protocol, default_port) = match scheme {
            "http" => (Protocol::Http, 80),
            "redis" | "resp" => (Protocol::Resp, 6379),
            _ => return Err(wrong()),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
        if !authority.chars().all(is_plain) {
            return Err(wrong());
        }
        let (host, port) = split(authority, default_port).ok_or_else(wrong)?;
        Ok(Target { protocol, authority: format!("{host}:{port}") })
    }
}

/// Host and port; a colon inside brackets belongs to the host.
fn split(authority: &str, default_port: u16) -> Option<(&str, u16)> {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok().filter(|&port| port > 0)?),
        _ => (authority, default_port),
    };
    let is_name =
        !host.is_empty() && (host.starts_with('[') && host.ends_with(']') || !host.contains([':', '[', ']']));
    is_name.then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_protocol_host_and_port() {
        for (text, shown) in [
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("http://localhost/", "http://localhost:80"),
            ("redis://cache.example:7000", "redis://cache.example:7000"),
            ("resp://localhost", "redis://localhost:6379"),
            ("redis://[::1]", "redis://[::1]:6379"),
            ("http://[::1]:9000/", "http://[::1]:9000"),
        ] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), shown, "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_one_that_would_be() {
        for text in [
            "",
            "localhost:8080",
            "https://localhost:8080",
            "http://",
            "http://:8080",
            "http://localhost:0",
            "http://localhost:70000",
            "http://localhost:x",
            "http://::1:80",
            "http://localhost:80/v1",
            "redis://user:secret@localhost:6379",
            "http://local host",
        ] {
            let error = text.parse::<Target>().unwrap_err();
            assert!(error.contains("http://host:port or redis://host:port"), "{text}: {error}");
        }
    }
}
