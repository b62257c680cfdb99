//! What a client may find after what it was told: per key, the values that are possible.

use std::collections::BTreeMap;

use super::load::request;
use emberkeep::tool::crash_test::random::Random;

use crate::support::client::Client;

/// A value by its seed; `None` is absent.
pub type State = Option<u64>;

#[derive(Default)]
pub struct Book(BTreeMap<String, Vec<State>>);

impl Book {
    fn possible(&mut self, key: &str) -> &mut Vec<State> {
        self.0.entry(key.to_owned()).or_insert_with(|| vec![None])
    }

    pub fn acknowledged(&mut self, key: &str, state: State) {
        *self.possible(key) = vec![state];
    }

    /// There was no answer.
    pub fn unknown(&mut self, key: &str, state: State) {
        self.possible(key).push(state);
    }

    /// Keys that are there for sure.
    pub fn present(&self) -> Vec<String> {
        self.0.iter().filter(|(_, states)| !states.contains(&None)).map(|(key, _)| key.clone()).collect()
    }

    pub fn holds(&self, client: &mut Client, what: &str) {
        for (key, states) in &self.0 {
            let reply = request(client, "GET", key, &[]);
            let fits = |state: &State| match state {
                Some(seed) => reply.status == 200 && reply.body == value(*seed),
                None => reply.status == 404,
            };
            let found = states.iter().any(fits);
            assert!(found, "{what}: {key} is {} of {} bytes", reply.status, reply.body.len());
        }
    }
}

/// Bytes that nothing makes smaller: 64 B to 12 KiB.
pub fn value(seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    let words = random.within(8..1536);
    (0..words).flat_map(|_| random.next().to_le_bytes()).collect()
}
