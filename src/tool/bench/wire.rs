//! Requests as bytes, and what a reply says about the request.
//!
//! Keys and values have fixed lengths, so all of a request but these two is written once; staging a
//! request is copying its parts, whatever the protocol.

use super::{
    Load,
    draw::{Request, Values, key},
    http,
    resp::{self, Reply},
    target::{Protocol, Target},
};

/// Length of a key.
pub const KEY_LEN: usize = 16;
/// Stand where key and value belong while the parts are found.
const KEY_MARK: &[u8; KEY_LEN] = b"\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01";

/// How this load is written for this target.
#[derive(Debug)]
pub(super) struct Wire {
    protocol: Protocol,
    get: Around,
    set: Around,
    /// What follows the value.
    set_end: Vec<u8>,
}

/// What stands before and behind a key.
#[derive(Debug)]
struct Around {
    before: Vec<u8>,
    behind: Vec<u8>,
}

/// What a reply says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Found,
    Missing,
    Stored,
    /// The kind of refusal: `HTTP 507`, `OOM`.
    Refused(String),
}

impl Wire {
    pub(super) fn new(target: &Target, load: &Load) -> Wire {
        let ttl = load.ttl.map(|ttl| ttl.as_millis().max(1).to_string());
        match target.protocol {
            Protocol::Http => Wire::http(&target.authority, load.value_len, ttl.as_deref()),
            Protocol::Resp => Wire::resp(load.value_len, ttl.as_deref()),
        }
    }

    fn http(host: &str, value_len: usize, ttl: Option<&str>) -> Wire {
        let query = ttl.map_or(String::new(), |ms| format!("?ttl={ms}ms"));
        let set = format!("{query} HTTP/1.1\r\nhost: {host}\r\ncontent-length: {value_len}\r\n\r\n");
        Wire {
            protocol: Protocol::Http,
            get: Around {
                before: b"GET /v1/keys/".to_vec(),
                behind: format!(" HTTP/1.1\r\nhost: {host}\r\n\r\n").into_bytes(),
            },
            set: Around { before: b"PUT /v1/keys/".to_vec(), behind: set.into_bytes() },
            set_end: Vec::new(),
        }
    }

    fn resp(value_len: usize, ttl: Option<&str>) -> Wire {
        let around = |words: &[&[u8]]| {
            let mut whole = Vec::new();
            resp::stage(&mut whole, words);
            let at =
                whole.windows(KEY_LEN).position(|window| window == KEY_MARK).expect("the key is one of them");
            Around { before: whole[..at].to_vec(), behind: whole[at + KEY_LEN..].to_vec() }
        };
        let value = vec![0; value_len];
        let mut words: Vec<&[u8]> = vec![b"SET", KEY_MARK, &value];
        if let Some(ms) = ttl {
            words.extend([&b"PX"[..], ms.as_bytes()]);
        }
        let mut set = around(&words);
        // The CRLF behind the key, and the length of the value with its own.
        let value_at = 2 + format!("${value_len}\r\n").len();
        let set_end = set.behind.split_off(value_at + value_len);
        set.behind.truncate(value_at);
        Wire { protocol: Protocol::Resp, get: around(&[b"GET", KEY_MARK]), set, set_end }
    }

    /// Writes a request.
    pub(super) fn stage(&self, out: &mut Vec<u8>, request: Request, values: &Values) {
        let around = if request.is_read { &self.get } else { &self.set };
        out.extend_from_slice(&around.before);
        out.extend_from_slice(&key(request.key));
        out.extend_from_slice(&around.behind);
        if !request.is_read {
            out.extend_from_slice(values.of(request.key));
            out.extend_from_slice(&self.set_end);
        }
    }

    /// What the first reply says, and how many bytes it takes; `None` if it is not whole yet.
    ///
    /// # Errors
    /// In words, if this is no reply of this protocol.
    pub(super) fn answer(&self, input: &[u8], is_read: bool) -> Result<Option<(Answer, usize)>, String> {
        match self.protocol {
            Protocol::Http => {
                let reply = http::parse(input)?;
                Ok(reply.map(|(reply, used)| (of_status(reply.status, is_read), used)))
            }
            Protocol::Resp => {
                let reply = resp::parse(input)?;
                Ok(reply.map(|(reply, used)| (of_reply(reply, is_read), used)))
            }
        }
    }
}

fn of_status(status: u16, is_read: bool) -> Answer {
    match (is_read, status) {
        (true, 200) => Answer::Found,
        (true, 404) => Answer::Missing,
        (false, 200 | 201 | 204) => Answer::Stored,
        _ => Answer::Refused(format!("HTTP {status}")),
    }
}

fn of_reply(reply: Reply<'_>, is_read: bool) -> Answer {
    match (is_read, reply) {
        (true, Reply::Bulk(_)) => Answer::Found,
        (true, Reply::Nil) => Answer::Missing,
        (false, Reply::Simple(b"OK")) => Answer::Stored,
        // By convention the first word is the kind: ERR, OOM, LOADING.
        (_, Reply::Error(text)) => {
            let word = text.split(|&byte| byte == b' ').next().unwrap_or_default();
            Answer::Refused(String::from_utf8_lossy(&word[..word.len().min(32)]).into_owned())
        }
        _ => Answer::Refused("another reply than is due".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{super::draw::tests::load, *};
    use crate::tool::crash_test::random::Random;

    fn staged(address: &str, ttl: Option<Duration>, is_read: bool) -> String {
        let load = Load { value_len: 3, ttl, ..load() };
        let target: Target = address.parse().unwrap();
        let values = Values::new(3, Random::new(1));
        let mut out = Vec::new();
        Wire::new(&target, &load).stage(&mut out, Request { is_read, key: 7 }, &values);
        let value = values.of(7);
        // Random bytes, shown as what they stand for.
        if let Some(at) = out.windows(3).position(|window| window == value) {
            out.splice(at..at + 3, *b"VAL");
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn requests_are_what_the_protocols_ask_for() {
        let ttl = Some(Duration::from_millis(1500));
        for (address, ttl, is_read, expected) in [
            ("http://h:80", None, true, "GET /v1/keys/key:000000000007 HTTP/1.1\r\nhost: h:80\r\n\r\n"),
            (
                "http://h:80",
                None,
                false,
                "PUT /v1/keys/key:000000000007 HTTP/1.1\r\nhost: h:80\r\ncontent-length: 3\r\n\r\nVAL",
            ),
            (
                "http://h:80",
                ttl,
                false,
                "PUT /v1/keys/key:000000000007?ttl=1500ms HTTP/1.1\r\nhost: h:80\r\ncontent-length: 3\r\n\r\nVAL",
            ),
            ("redis://h", None, true, "*2\r\n$3\r\nGET\r\n$16\r\nkey:000000000007\r\n"),
            ("redis://h", None, false, "*3\r\n$3\r\nSET\r\n$16\r\nkey:000000000007\r\n$3\r\nVAL\r\n"),
            (
                "redis://h",
                ttl,
                false,
                "*5\r\n$3\r\nSET\r\n$16\r\nkey:000000000007\r\n$3\r\nVAL\r\n$2\r\nPX\r\n$4\r\n1500\r\n",
            ),
        ] {
            assert_eq!(staged(address, ttl, is_read), expected);
        }
    }

    #[test]
    fn a_reply_is_an_answer_or_a_refusal_by_its_kind() {
        let refused = |kind: &str| Answer::Refused(kind.to_owned());
        for (address, reply, is_read, expected) in [
            ("http://h", "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nv", true, Answer::Found),
            ("http://h", "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", true, Answer::Missing),
            ("http://h", "HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n", false, Answer::Stored),
            ("http://h", "HTTP/1.1 204 No Content\r\n\r\n", false, Answer::Stored),
            ("http://h", "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", false, refused("HTTP 404")),
            ("http://h", "HTTP/1.1 507 Full\r\ncontent-length: 0\r\n\r\n", false, refused("HTTP 507")),
            ("redis://h", "$1\r\nv\r\n", true, Answer::Found),
            ("redis://h", "$-1\r\n", true, Answer::Missing),
            ("redis://h", "+OK\r\n", false, Answer::Stored),
            ("redis://h", "-OOM command not allowed\r\n", false, refused("OOM")),
            ("redis://h", "-LOADING\r\n", true, refused("LOADING")),
            ("redis://h", "+OK\r\n", true, refused("another reply than is due")),
            ("redis://h", ":1\r\n", false, refused("another reply than is due")),
        ] {
            let wire = Wire::new(&address.parse().unwrap(), &load());
            let answer = wire.answer(reply.as_bytes(), is_read).unwrap();
            assert_eq!(answer, Some((expected, reply.len())), "{address} {reply}");
        }
    }

    #[test]
    fn a_server_of_the_other_protocol_is_noticed() {
        let http = Wire::new(&"http://h".parse().unwrap(), &load());
        let resp = Wire::new(&"redis://h".parse().unwrap(), &load());
        assert!(http.answer(b"-ERR unknown command 'GET'\r\n", true).is_err());
        assert!(resp.answer(b"HTTP/1.1 400 Bad Request\r\n\r\n", true).is_err());
    }
}
