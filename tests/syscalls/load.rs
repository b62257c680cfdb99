//! One client that writes, deletes and reads, and knows what each key may hold.
//!
//! An acknowledged write leaves one possibility, a refused one leaves what was; one whose outcome
//! is unknown adds a possibility. What a read shows is settled, in `always` mode: it must still
//! be there after a restart.

use std::{collections::BTreeMap, net::SocketAddr};

use crate::support::client::{Client, Reply};

/// Long enough that a handful of them fill a log file of 64 KiB.
const VALUE_LEN: usize = 11_000;
const KEYS: usize = 7;
/// Keys that are written before anything fails, and never again.
const SEEDS: usize = 3;

/// What a key may hold; `None` is nothing.
type State = Option<Vec<u8>>;

pub struct Load {
    /// Whether what was read is settled.
    pub reads_settle: bool,
    known: BTreeMap<String, Vec<State>>,
    next: usize,
    /// The log has stopped, as a reply said.
    pub halted: bool,
    /// Writes that were acknowledged.
    pub acknowledged: usize,
    client: Option<Client>,
}

impl Load {
    pub fn new(reads_settle: bool) -> Load {
        let known = BTreeMap::new();
        Load { reads_settle, known, next: 0, halted: false, acknowledged: 0, client: None }
    }

    /// The same knowledge, for a copy of the directory.
    pub fn copied(&self) -> Load {
        Load { known: self.known.clone(), client: None, ..*self }
    }

    /// From now on requests go there.
    pub fn connect(&mut self, address: SocketAddr) {
        self.client = Client::connect(address).ok();
        self.halted = false;
    }

    /// Closes the connection: a server that stops waits a moment for clients that do not.
    pub fn hang_up(&mut self) {
        self.client = None;
    }

    /// Writes what must be there, and be readable, whatever happens later: it is on the disk.
    pub fn seed(&mut self) {
        for n in 0..SEEDS {
            let before = self.acknowledged;
            self.put(format!("seed-{n}"));
            assert_eq!(self.acknowledged, before + 1, "nothing fails yet");
        }
    }

    /// `rounds` writes, some deletes and reads between them; goes on whatever the answers are.
    pub fn run(&mut self, rounds: usize) {
        for n in 0..rounds {
            self.put(format!("key-{}", n % KEYS));
            if n % 4 == 3 {
                self.delete(format!("key-{}", (n + 2) % KEYS));
            }
            if n % 5 == 4 {
                self.read(format!("key-{}", n % KEYS));
            }
        }
    }

    /// A value that is like no other one, under this key. Its request carries the beginning of the
    /// value as its id, so that a trace shows which reply belongs to which bytes of the log.
    pub fn put(&mut self, key: String) {
        self.next += 1;
        let token = format!("token-{:06}", self.next);
        let value = token.bytes().cycle().take(VALUE_LEN).collect::<Vec<_>>();
        let reply = self.request("PUT", &key, &token, &value);
        self.note(key, Some(value), reply, &[201, 204]);
    }

    fn delete(&mut self, key: String) {
        let reply = self.request("DELETE", &key, "delete", b"");
        self.note(key, None, reply, &[204, 404]);
    }

    fn note(&mut self, key: String, state: State, reply: Option<Reply>, done: &[u16]) {
        let known = self.known.entry(key.clone()).or_insert_with(|| vec![None]);
        match reply.map(|reply| (reply.status, String::from_utf8_lossy(&reply.body).into_owned())) {
            Some((status, _)) if done.contains(&status) => {
                if status == 404 {
                    assert!(known.contains(&None), "{key}: an acknowledged value is not there");
                }
                *known = vec![state];
                self.acknowledged += 1;
            }
            // Nothing was written.
            Some((503 | 507, body)) => self.halted |= body.contains("wal-write-failed"),
            Some((504, body)) => {
                assert!(body.contains("outcome-unknown"), "{key}: {body}");
                known.push(state);
                self.halted = true;
            }
            None => known.push(state),
            Some((status, body)) => panic!("{key}: an answer that is not documented: {status} {body}"),
        }
    }

    fn read(&mut self, key: String) {
        let Some(reply) = self.request("GET", &key, "read", b"") else { return };
        let Reply { status, body, .. } = reply;
        let seen = match status {
            200 => Some(body),
            404 => None,
            // What it rests on may not be on the disk.
            503 => return self.halted |= String::from_utf8_lossy(&body).contains("wal-write-failed"),
            _ => panic!("{key}: an answer that is not documented: {status}"),
        };
        let known = self.known.entry(key.clone()).or_insert_with(|| vec![None]);
        assert!(known.contains(&seen), "{key}: {} is not what was written", shown(&seen));
        if self.reads_settle {
            *known = vec![seen];
        }
    }

    /// What was there before anything failed can be read.
    pub fn check_seeds(&mut self) {
        for n in 0..SEEDS {
            let key = format!("seed-{n}");
            let reply = self.request("GET", &key, "read", b"").expect("reads go on");
            assert_eq!(self.known[&key], [Some(reply.body)], "{key}: {}", reply.status);
        }
    }

    /// Every key holds one of the things that it may hold, and then that is what it holds.
    pub fn check_all(&mut self) {
        for key in self.known.keys().cloned().collect::<Vec<_>>() {
            let reply = self.request("GET", &key, "read", b"").expect("a server that works answers");
            let seen = match reply.status {
                200 => Some(reply.body),
                404 => None,
                status => panic!("{key}: {status} after a restart"),
            };
            let known = &self.known[&key];
            let may = known.iter().map(shown).collect::<Vec<_>>();
            assert!(known.contains(&seen), "{key}: holds {}, and may hold {may:?}", shown(&seen));
            self.known.insert(key, vec![seen]);
        }
    }

    /// One request; `None` if the connection ended. The next one tries another connection.
    pub fn request(&mut self, method: &str, key: &str, id: &str, body: &[u8]) -> Option<Reply> {
        let target = if key.starts_with('/') { key.to_owned() } else { format!("/v1/keys/{key}") };
        let mut headers = vec![("Request-Id", id)];
        if key.starts_with("seed") && method == "PUT" {
            headers.push(("Emberkeep-Durability", "disk"));
        }
        let reply = self.client.as_mut()?.request(method, &target, &headers, body);
        if reply.is_err() {
            self.client = None;
        }
        reply.ok()
    }
}

fn shown(state: &State) -> String {
    match state {
        None => "nothing".to_owned(),
        Some(value) => String::from_utf8_lossy(&value[..value.len().min(12)]).into_owned(),
    }
}
