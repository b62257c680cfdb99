//! Many clients in one thread, each of which puts, waits until that is durable, and puts again.
//!
//! A small executor: a commit that is ready puts the number of its client on a list and wakes the
//! thread if it sleeps. A waiter costs some hundred nanoseconds per put, so that the engine is
//! measured and not the clients.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::{Duration, Instant},
};

use emberkeep_benches::key;
use emberkeep_storage::{Commit, Engine, PutOutcome, Write};

/// Keys that are written to, so that memory stays as it is.
const KEYS: u64 = 100_000;

/// What the clients of one thread have seen.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Time from the call of `put` to the acknowledgement, in nanoseconds, of those puts that
    /// were acknowledged while it counted.
    pub latencies: Vec<u32>,
}

struct Ready {
    clients: Mutex<Vec<usize>>,
    asleep: AtomicBool,
    thread: Thread,
}

struct Client {
    number: usize,
    ready: Arc<Ready>,
}

impl Wake for Client {
    fn wake(self: Arc<Self>) {
        self.ready.clients.lock().expect("no panic with the list").push(self.number);
        if self.ready.asleep.swap(false, Ordering::SeqCst) {
            self.ready.thread.unpark();
        }
    }
}

impl Ready {
    /// Takes all that is on the list; sleeps while there is nothing.
    fn take(&self, into: &mut Vec<usize>) {
        into.clear();
        loop {
            std::mem::swap(&mut *self.clients.lock().expect("no panic with the list"), into);
            if !into.is_empty() {
                return;
            }
            self.asleep.store(true, Ordering::SeqCst);
            let nothing = self.clients.lock().expect("no panic with the list").is_empty();
            if nothing {
                thread::park();
            }
            self.asleep.store(false, Ordering::SeqCst);
        }
    }
}

/// Runs `clients` clients in this thread. Counts what is acknowledged from `from` to `to`; puts
/// end with `to`.
pub fn run(engine: &Engine, first: u64, clients: usize, value: &[u8], from: Instant, to: Instant) -> Outcome {
    let ready = Arc::new(Ready {
        clients: Mutex::default(),
        asleep: AtomicBool::new(false),
        thread: thread::current(),
    });
    let waker = |number| Waker::from(Arc::new(Client { number, ready: ready.clone() }));
    let wakers: Vec<Waker> = (0..clients).map(waker).collect();
    let mut waiting: Vec<Option<(Instant, Commit<PutOutcome>)>> = Vec::new();
    waiting.resize_with(clients, || None);
    let mut outcome = Outcome::default();
    outcome.latencies.reserve(1 << 20);

    let mut next = first;
    let mut living = clients;
    let mut woken: Vec<usize> = (0..clients).collect();
    while living > 0 {
        for &client in &woken {
            let mut cx = Context::from_waker(&wakers[client]);
            if let Some((begun, commit)) = &mut waiting[client] {
                let Poll::Ready(committed) = Pin::new(commit).poll(&mut cx) else { continue };
                committed.expect("the disk works");
                let now = Instant::now();
                if from <= now && now < to {
                    outcome.latencies.push(nanos(now - *begun));
                }
            }
            let begun = Instant::now();
            if begun >= to {
                waiting[client] = None;
                living -= 1;
                continue;
            }
            next += 1;
            let mut commit = engine.put(&key(next % KEYS)[..], Write::new(value)).expect("there is room");
            // A put cannot be durable at once but by luck; then it is counted in the next round.
            if Pin::new(&mut commit).poll(&mut cx).is_ready() {
                wakers[client].wake_by_ref();
                outcome.latencies.push(nanos(begun.elapsed()));
                waiting[client] = None;
            } else {
                waiting[client] = Some((begun, commit));
            }
        }
        if living > 0 {
            ready.take(&mut woken);
        }
    }
    outcome
}

fn nanos(span: Duration) -> u32 {
    u32::try_from(span.as_nanos()).unwrap_or(u32::MAX)
}
