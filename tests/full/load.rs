//! Clients that write what they remember.

use super::book::{Book, value};
use emberkeep::tool::crash_test::random::Random;

use crate::support::client::{Client, Reply};

/// One client with keys of its own.
pub struct Worker {
    pub book: Book,
    id: u64,
    count: u64,
    random: Random,
}

impl Worker {
    pub fn new(id: u64) -> Worker {
        Worker { book: Book::default(), id, count: 0, random: Random::new(id) }
    }

    fn next_key(&mut self) -> String {
        self.count += 1;
        format!("worker-{}-{}", self.id, self.count)
    }

    /// New keys, as long as they are taken. What was said to the first that was not.
    pub fn write_until_refused(&mut self, client: &mut Client) -> Reply {
        loop {
            let key = self.next_key();
            let reply = put(client, &mut self.book, &key);
            if reply.status == 507 {
                return reply;
            }
        }
    }

    /// Deletes some. How many were refused.
    pub fn delete_some(&mut self, client: &mut Client) -> usize {
        let some = self.book.present().into_iter().take(5);
        some.filter(|key| delete(client, &mut self.book, key) != 204).count()
    }

    /// Writes and deletes until the connection ends.
    pub fn go_on_until_it_breaks(&mut self, client: &mut Client) {
        loop {
            let present = self.book.present();
            let (key, state) = if self.random.chance(30) && !present.is_empty() {
                (present[self.random.within(0..present.len() as u64) as usize].clone(), None)
            } else {
                (self.next_key(), Some(self.random.next()))
            };
            let outcome = match state {
                Some(seed) => client.request("PUT", &target(&key), &[], &value(seed)),
                None => client.request("DELETE", &target(&key), &[], &[]),
            };
            match outcome.map(|reply| reply.status) {
                Ok(201 | 204) => self.book.acknowledged(&key, state),
                Ok(507) => {}
                Ok(status) => panic!("{key}: status={status}"),
                Err(_) => return self.book.unknown(&key, state),
            }
        }
    }
}

/// Writes a value of its own to a key: taken, or refused because the disk is full.
pub fn put(client: &mut Client, book: &mut Book, key: &str) -> Reply {
    let seed = key.bytes().fold(7, |seed, byte| Random::new(seed ^ u64::from(byte)).next());
    let reply = request(client, "PUT", key, &value(seed));
    match reply.status {
        201 | 204 => book.acknowledged(key, Some(seed)),
        507 => {}
        status => panic!("{key}: status={status} {}", String::from_utf8_lossy(&reply.body)),
    }
    reply
}

/// Deletes a key: done, or refused because the disk is full. The status.
pub fn delete(client: &mut Client, book: &mut Book, key: &str) -> u16 {
    let reply = request(client, "DELETE", key, &[]);
    match reply.status {
        204 => book.acknowledged(key, None),
        507 => {}
        status => panic!("{key}: status={status} {}", String::from_utf8_lossy(&reply.body)),
    }
    reply.status
}

/// One request; the server answers.
pub fn request(client: &mut Client, method: &str, key: &str, body: &[u8]) -> Reply {
    client.request(method, &target(key), &[], body).unwrap_or_else(|e| panic!("{method} {key}: {e}"))
}

fn target(key: &str) -> String {
    format!("/v1/keys/{key}")
}
