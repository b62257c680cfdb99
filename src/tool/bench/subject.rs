//! Which server it is, and when it acknowledges a write: asked once before the load.

use std::{
    fmt,
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use serde_json::Value;

use super::{
    Failure,
    http::{self},
    resp::{self, Reply},
    target::{Protocol, Target},
};
use crate::name;

/// Longer than any server takes that is not loading its data.
const PATIENCE: Duration = Duration::from_secs(10);
/// What a server says about itself is shorter.
const ANSWER_MAX: usize = 1 << 20;

/// A server under load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Where it is.
    pub target: Target,
    /// Its name and version, as it tells them.
    pub product: String,
    /// What its acknowledgements mean.
    pub durability: Durability,
}

/// When a server acknowledges a write, whatever it calls that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// When it is on the disk: `always`.
    Always,
    /// When the system has it, with a sync now and then: `interval`, redis's `everysec`.
    Interval,
    /// When the system has it: `never`, redis's `no`.
    Never,
    /// When it is in memory; nothing is logged: `off`, redis's `appendonly no`.
    Memory,
    /// The server does not tell.
    Unknown,
}

impl Durability {
    /// By one of its names.
    fn named(name: &str) -> Durability {
        match name {
            "always" => Durability::Always,
            "interval" | "everysec" => Durability::Interval,
            "never" | "no" => Durability::Never,
            "memory" | "off" => Durability::Memory,
            _ => Durability::Unknown,
        }
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Durability::Always => "always",
            Durability::Interval => "interval",
            Durability::Never => "never",
            Durability::Memory => "memory",
            Durability::Unknown => "unknown",
        })
    }
}

impl Subject {
    /// Asks a server.
    ///
    /// # Errors
    /// If it does not answer, or speaks another protocol.
    pub fn ask(target: &Target) -> Result<Subject, Failure> {
        let (product, durability) = match target.protocol {
            Protocol::Http => over_http(target),
            Protocol::Resp => over_resp(target),
        }
        .map_err(|why| Failure::Unreachable(format!("{target}: {why}")))?;
        Ok(Subject { target: target.clone(), product, durability })
    }
}

fn over_http(target: &Target) -> Result<(String, Durability), String> {
    let mut line = Line::open(target)?;
    let request = format!("GET /v1/config HTTP/1.1\r\nhost: {}\r\n\r\n", target.authority);
    line.send(request.as_bytes())?;
    line.receive(|input| {
        Ok(http::parse(input)?.map(|(reply, used)| {
            let product = reply.server.map_or("unknown".into(), String::from_utf8_lossy);
            ((product.replace('/', " "), config_durability(reply.body)), used)
        }))
    })
}

/// From the JSON of `/v1/config`.
fn config_durability(body: &[u8]) -> Durability {
    let config: Value = serde_json::from_slice(body).unwrap_or_default();
    config["fsync"].as_str().map_or(Durability::Unknown, Durability::named)
}

fn over_resp(target: &Target) -> Result<(String, Durability), String> {
    let mut line = Line::open(target)?;
    let server = line.command(&[b"INFO", b"server"])?;
    let persistence = line.command(&[b"INFO", b"persistence"])?;
    let durability = match (field(&persistence, "emberkeep_durability"), field(&persistence, "aof_enabled")) {
        (Some(own), _) => Durability::named(own),
        (None, Some("0")) => Durability::Memory,
        (None, Some("1")) => Durability::named(&line.setting("appendfsync")?),
        _ => Durability::Unknown,
    };
    Ok((product(&server), durability))
}

/// Those that are compatible with redis tell redis's version too.
fn product(info: &str) -> String {
    let known =
        [(name::PRODUCT, "emberkeep_version"), ("valkey", "valkey_version"), ("redis", "redis_version")];
    let told = known.iter().find_map(|(name, version)| Some(format!("{name} {}", field(info, version)?)));
    told.unwrap_or_else(|| "unknown".to_owned())
}

/// A line `name:value` of `INFO`.
fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.trim_end().strip_prefix(name)?.strip_prefix(':'))
}

/// A connection on which one thing is asked after another.
struct Line {
    stream: TcpStream,
    input: Vec<u8>,
}

impl Line {
    fn open(target: &Target) -> Result<Line, String> {
        let stream = target.connect()?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(|e| e.to_string())?;
        Ok(Line { stream, input: Vec::new() })
    }

    fn send(&mut self, request: &[u8]) -> Result<(), String> {
        self.stream.write_all(request).map_err(|e| format!("cannot ask what it is: {e}"))
    }

    /// Reads until the parser has found its end.
    fn receive<T>(
        &mut self,
        parse: impl Fn(&[u8]) -> Result<Option<(T, usize)>, String>,
    ) -> Result<T, String> {
        loop {
            if let Some((reply, used)) = parse(&self.input)? {
                self.input.drain(..used);
                return Ok(reply);
            }
            let mut chunk = [0; 4096];
            let len = self.stream.read(&mut chunk).map_err(|e| format!("does not say what it is: {e}"))?;
            if len == 0 || self.input.len() > ANSWER_MAX {
                return Err("does not say what it is".to_owned());
            }
            self.input.extend_from_slice(&chunk[..len]);
        }
    }

    /// A command whose reply is text.
    fn command(&mut self, words: &[&[u8]]) -> Result<String, String> {
        let mut out = Vec::new();
        resp::stage(&mut out, words);
        self.send(&out)?;
        self.text()?.ok_or_else(|| format!("has no answer to {}", String::from_utf8_lossy(words[0])))
    }

    /// A setting of redis; nothing if it may not be asked for.
    fn setting(&mut self, name: &str) -> Result<String, String> {
        let mut out = Vec::new();
        resp::stage(&mut out, &[b"CONFIG", b"GET", name.as_bytes()]);
        self.send(&out)?;
        let items = self.receive(|input| {
            let reply = resp::parse(input)?;
            Ok(reply.map(|(reply, used)| (if let Reply::Array(len) = reply { len } else { 0 }, used)))
        })?;
        let mut last = None;
        for _ in 0..items {
            last = self.text()?;
        }
        Ok(last.unwrap_or_default())
    }

    /// A reply that is text; `None` for any other that is no error.
    fn text(&mut self) -> Result<Option<String>, String> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        self.receive(|input| match resp::parse(input)? {
            Some((Reply::Simple(bytes) | Reply::Bulk(bytes), used)) => {
                Ok(Some((Ok(Some(text(bytes))), used)))
            }
            Some((Reply::Error(error), used)) => Ok(Some((Err(text(error)), used))),
            Some((_, used)) => Ok(Some((Ok(None), used))),
            None => Ok(None),
        })?
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::{
        io::{BufRead, BufReader},
        net::TcpListener,
        thread::{self, JoinHandle},
    };

    use super::*;

    pub(in crate::tool::bench) fn subject(address: &str, durability: Durability) -> Subject {
        Subject { target: address.parse().unwrap(), product: "emberkeep 1.2.3".to_owned(), durability }
    }

    /// A server that answers to each line that contains the first text with the second, once.
    fn scripted(scheme: &str, script: &[(&'static str, String)]) -> (Target, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = format!("{scheme}://{}", listener.local_addr().unwrap()).parse().unwrap();
        let script = script.to_vec();
        let thread = thread::spawn(move || {
            let mut peer = BufReader::new(listener.accept().unwrap().0);
            for (asked, reply) in script {
                let mut line = String::new();
                while !line.contains(asked) {
                    line.clear();
                    assert!(peer.read_line(&mut line).unwrap() > 0, "{asked} is never asked");
                }
                peer.get_mut().write_all(reply.as_bytes()).unwrap();
            }
        });
        (target, thread)
    }

    fn bulk(text: &str) -> String {
        format!("${}\r\n{text}\r\n", text.len())
    }

    #[test]
    fn a_server_over_http_tells_its_mode_in_its_settings() {
        for (body, durability) in [
            ("{\"fsync\":\"always\"}", Durability::Always),
            ("{\"fsync\":\"off\"}", Durability::Memory),
            ("{\"fsync\":7}", Durability::Unknown),
            ("not json", Durability::Unknown),
        ] {
            let reply = format!(
                "HTTP/1.1 200 OK\r\nserver: emberkeep/1.2.3\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            let (target, server) = scripted("http", &[("/v1/config", reply)]);
            let subject = Subject::ask(&target).unwrap();
            assert_eq!(
                (subject.product.as_str(), subject.durability),
                ("emberkeep 1.2.3", durability),
                "{body}"
            );
            server.join().unwrap();
        }
    }

    #[test]
    fn a_server_over_resp_tells_its_mode_as_redis_does_or_by_a_field_of_ours() {
        let server = || ("server", bulk("# Server\r\nredis_version:7.2.4\r\n"));
        let own = bulk("redis_version:7.2.4\r\nemberkeep_version:0.2.0\r\n");
        let appendfsync =
            |value: &str| ("appendfsync", format!("*2\r\n{}{}", bulk("appendfsync"), bulk(value)));
        let aof = |enabled: u8| ("persistence", bulk(&format!("loading:0\r\naof_enabled:{enabled}\r\n")));
        let refused = ("appendfsync", "-NOPERM no permissions\r\n".to_owned());
        let ours = ("persistence", bulk("aof_enabled:1\r\nemberkeep_durability:never\r\n"));
        for (script, product, durability) in [
            (vec![server(), aof(1), appendfsync("always")], "redis 7.2.4", Durability::Always),
            (vec![server(), aof(1), appendfsync("everysec")], "redis 7.2.4", Durability::Interval),
            (vec![server(), aof(1), appendfsync("no")], "redis 7.2.4", Durability::Never),
            (vec![server(), aof(1), refused], "redis 7.2.4", Durability::Unknown),
            (vec![server(), aof(0)], "redis 7.2.4", Durability::Memory),
            (vec![("server", own), ours], "emberkeep 0.2.0", Durability::Never),
        ] {
            let (target, server) = scripted("redis", &script);
            let subject = Subject::ask(&target).unwrap();
            assert_eq!((subject.product.as_str(), subject.durability), (product, durability));
            server.join().unwrap();
        }
    }

    #[test]
    fn a_server_of_another_kind_is_told_with_its_address() {
        for (scheme, asked, reply, named) in [
            ("http", "/v1/config", "-ERR unknown command\r\n", "not a reply of HTTP"),
            ("redis", "INFO", "HTTP/1.1 400 Bad Request\r\n\r\n", "does not begin with"),
            ("redis", "INFO", "-NOAUTH Authentication required.\r\n", "NOAUTH"),
            ("redis", "INFO", "", "does not say what it is"),
        ] {
            let (target, server) = scripted(scheme, &[(asked, reply.to_owned())]);
            let Err(Failure::Unreachable(why)) = Subject::ask(&target) else { panic!("{reply}") };
            assert!(why.contains(named) && why.contains(&target.to_string()), "{reply}: {why}");
            server.join().unwrap();
        }
    }
}
