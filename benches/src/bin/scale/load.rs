//! GETs and SETs on a cache that is full of keys, as fast as one or two threads make them.

use std::{
    fmt,
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use emberkeep_benches::{Zipf, key};

use crate::subject::{Key, Subject};

/// Requests drawn for each thread; then they come again.
const DRAWN: usize = 1 << 20;
/// Requests between two looks at the clock's flag.
const STEP: usize = 64;

/// One column of the table.
pub struct Load {
    set: bool,
    zipf: bool,
    threads: usize,
}

impl Load {
    pub const ALL: [Load; 8] = [
        Load { set: false, zipf: false, threads: 1 },
        Load { set: false, zipf: false, threads: 2 },
        Load { set: false, zipf: true, threads: 1 },
        Load { set: false, zipf: true, threads: 2 },
        Load { set: true, zipf: false, threads: 1 },
        Load { set: true, zipf: false, threads: 2 },
        Load { set: true, zipf: true, threads: 1 },
        Load { set: true, zipf: true, threads: 2 },
    ];
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let op = if self.set { "SET" } else { "GET" };
        let drawn = if self.zipf { "Zipf" } else { "uniform" };
        write!(f, "{op} {drawn} x{}", self.threads)
    }
}

/// Requests per second under every load.
pub fn rates(subject: &dyn Subject, keys: u64, span: Duration) -> Vec<f64> {
    let drawn = [false, true].map(|zipf| [1, 2].map(|thread| draw(keys, zipf, thread)));
    let rate = |load: &Load| rate(subject, load, &drawn[usize::from(load.zipf)], span);
    Load::ALL.iter().map(rate).collect()
}

fn rate(subject: &dyn Subject, load: &Load, drawn: &[Vec<Key>], span: Duration) -> f64 {
    let (start, over) = (Barrier::new(load.threads + 1), AtomicBool::new(false));
    thread::scope(|scope| {
        let (start, over) = (&start, &over);
        let running: Vec<_> = drawn[..load.threads]
            .iter()
            .map(|requests| {
                scope.spawn(move || {
                    start.wait();
                    let mut done = 0;
                    for some in requests.chunks(STEP).cycle().take_while(|_| !over.load(Ordering::Relaxed)) {
                        if load.set {
                            some.iter().for_each(|key| subject.set(key));
                        } else {
                            assert!(some.iter().all(|key| subject.get(key)), "every key is there");
                        }
                        done += some.len();
                    }
                    done
                })
            })
            .collect();
        start.wait();
        let begin = Instant::now();
        thread::sleep(span);
        over.store(true, Ordering::Relaxed);
        let done: usize = running.into_iter().map(|thread| thread.join().expect("it runs")).sum();
        done as f64 / begin.elapsed().as_secs_f64()
    })
}

/// The keys of the requests of one thread. The most popular are spread over all numbers.
fn draw(keys: u64, zipf: bool, thread: u64) -> Vec<Key> {
    let mut popular = Zipf::new(keys, 0.99);
    let mut state = 0x2545_f491_4f6c_dd1d_u64.wrapping_mul(2 * thread + 1);
    (0..thread * 1_000).for_each(|_| _ = popular.draw());
    let mut number = || {
        if zipf {
            // Odd and not a multiple of five, so prime to every round number of keys.
            return popular.draw().wrapping_mul(0x9e37_79b1) % keys;
        }
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % keys
    };
    (0..DRAWN).map(|_| key(number())).collect()
}
