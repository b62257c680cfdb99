//! An open loop: requests leave when they are due, whether or not earlier ones were answered, and
//! a latency counts from the time when the request was due.

use std::{
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use emberkeep_benches::{
    draw, key,
    peer::{Client, Server},
};

/// Connections; each is answered in order, so a slow answer holds up those behind it.
const CONNECTIONS: usize = 16;
/// What is due is sent so often.
const TICK: Duration = Duration::from_millis(1);

/// What is asked, how often.
#[derive(Clone, Copy)]
pub struct Load {
    pub keys: u64,
    pub value_len: usize,
    pub sets_per_sec: u64,
    pub gets_per_sec: u64,
}

/// One request and its answer.
#[derive(Clone, Copy)]
pub struct Sample {
    pub due: Instant,
    pub latency: Duration,
    pub is_set: bool,
}

/// Sends until told to stop. Gives every answer.
pub fn run(server: &Server, load: Load, stop: &AtomicBool) -> Vec<Sample> {
    thread::scope(|scope| {
        let (mut senders, mut receivers) = (Vec::new(), Vec::new());
        for _ in 0..CONNECTIONS {
            let client = server.client();
            let (sent, waiting) = channel();
            let twin = client.twin();
            receivers.push(scope.spawn(move || receive(twin, waiting)));
            senders.push((client, sent));
        }
        send(senders, load, stop);
        receivers.into_iter().flat_map(|r| r.join().expect("every request is answered")).collect()
    })
}

fn send(mut connections: Vec<(Client, Sender<(Instant, bool)>)>, load: Load, stop: &AtomicBool) {
    let begun = Instant::now();
    let per_sec = load.sets_per_sec + load.gets_per_sec;
    let (mut number, mut random) = (0u64, 88_172_645_463_325_252u64);
    let mut value = vec![0; load.value_len];
    while !stop.load(Ordering::Relaxed) {
        let due_by_now = (begun.elapsed().as_secs_f64() * per_sec as f64) as u64;
        while number < due_by_now {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let (client, sent) = &mut connections[number as usize % CONNECTIONS];
            // Spread evenly: reads and writes in turn, by their shares.
            let is_set = number % per_sec * load.sets_per_sec / per_sec
                != (number + 1) % per_sec * load.sets_per_sec / per_sec;
            let key = key(random % load.keys);
            if is_set {
                draw(random, &mut value);
                client.stage_set(&key, &value);
            } else {
                client.stage_get(&key);
            }
            let due = begun + Duration::from_secs_f64(number as f64 / per_sec as f64);
            sent.send((due, is_set)).expect("the receiver lives");
            number += 1;
        }
        connections.iter_mut().for_each(|(client, _)| client.send());
        thread::sleep(TICK);
    }
}

fn receive(mut client: Client, waiting: Receiver<(Instant, bool)>) -> Vec<Sample> {
    let mut samples = Vec::new();
    for (due, is_set) in waiting {
        assert!(client.reply().is_some(), "every key is there and every write is taken");
        samples.push(Sample { due, latency: due.elapsed(), is_set });
    }
    samples
}
