//! Bringing the index up to the end of the log.
//!
//! One thread reads, checks and decodes frames; the changes gather per stripe and are applied in
//! batches by whoever is free. At most one thread is at a stripe, and it takes the batches in
//! their order, so every key sees its frames in the order of the log. Applying is a pure function
//! of state and frame: no clock is asked. An entry whose deadline has passed stays until the end,
//! because a later frame may have moved the deadline.
//!
//! What waits to be applied is bounded; the reader applies too when it is at the bound. Below it
//! the reader runs ahead, so that the log is judged, and the last segment rewritten, while the
//! rest is still being applied.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard},
};

use crate::{
    format::{
        op::{Key, Op},
        payload::{Payload, Reason},
    },
    index::{
        Index,
        blob::Blob,
        rebuild::{Change, What},
    },
    lsn::Lsn,
};

/// Changes that gather for all stripes together before they are handed over …
const GATHERED_MAX: usize = 1 << 16;
/// … and for one stripe.
const BATCH_MAX: usize = 512;
/// Bytes that may wait to be applied. Most of them are the entries themselves, which are not
/// copied again.
const WAITING_BYTES_MAX: usize = 64 << 20;

/// Takes frames, and has them applied.
pub(crate) struct Replay<'a> {
    queue: &'a Queue<'a>,
    batch_max: usize,
    gathered: Vec<Batch>,
}

#[derive(Default)]
struct Batch {
    changes: Vec<Change>,
    bytes: usize,
}

/// Runs `read` with something to hand frames to, and returns when all of them are applied, by
/// `threads` threads with this one.
pub(crate) fn replay<R>(index: &Index, threads: usize, read: impl FnOnce(&mut Replay<'_>) -> R) -> R {
    bounded(Queue::new(index, WAITING_BYTES_MAX), threads, read)
}

fn bounded<R>(queue: Queue<'_>, threads: usize, read: impl FnOnce(&mut Replay<'_>) -> R) -> R {
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(|| queue.work());
        }
        // Also when this thread unwinds, or the others would wait for ever.
        let ended = Ended(&queue);
        let mut replay = Replay::new(&queue);
        let result = read(&mut replay);
        replay.hand_over();
        drop(ended);
        queue.work();
        result
    })
}

impl<'a> Replay<'a> {
    fn new(queue: &'a Queue<'a>) -> Self {
        let stripes = queue.index.stripe_count();
        let gathered = std::iter::repeat_with(Batch::default).take(stripes).collect();
        Replay { queue, batch_max: (GATHERED_MAX / stripes).clamp(1, BATCH_MAX), gathered }
    }

    /// Applies one frame, now or later.
    pub(crate) fn frame(&mut self, lsn: Lsn, payload: &Payload<'_>) {
        match payload {
            Payload::Op(op) => self.op(lsn, op),
            Payload::Txn(ops) => ops.iter().for_each(|op| self.op(lsn, &op)),
            Payload::Remove(reason, entries) => {
                for (key, _version) in entries.iter() {
                    self.key(lsn, key, What::Remove(Blob::bare(key), *reason == Reason::Evicted));
                }
            }
            Payload::Flush(namespace) => {
                for stripe in 0..self.gathered.len() {
                    self.push(stripe, Change { hash: 0, lsn, what: What::Flush(*namespace) });
                }
            }
            Payload::TermStart(_) | Payload::Mark(_) => {}
        }
    }

    fn op(&mut self, lsn: Lsn, op: &Op<'_>) {
        let what = match op {
            Op::Put(put) => What::Put(Blob::new(put), put.deadline),
            Op::Touch { key, deadline } => What::Touch(Blob::bare(*key), *deadline),
            Op::Delete(key) => What::Remove(Blob::bare(*key), false),
        };
        self.key(lsn, op.key(), what);
    }

    fn key(&mut self, lsn: Lsn, key: Key<'_>, what: What) {
        let hash = self.queue.index.hash(key);
        self.push(self.queue.index.stripe_of(hash), Change { hash, lsn, what });
    }

    fn push(&mut self, stripe: usize, change: Change) {
        let batch = &mut self.gathered[stripe];
        batch.bytes += change.bytes();
        batch.changes.push(change);
        if batch.changes.len() >= self.batch_max {
            let changes = self.queue.give(stripe, std::mem::take(batch));
            self.gathered[stripe].changes = changes;
        }
    }

    fn hand_over(&mut self) {
        for (stripe, batch) in self.gathered.iter_mut().enumerate() {
            if !batch.changes.is_empty() {
                self.queue.give(stripe, std::mem::take(batch));
            }
        }
    }
}

/// Batches that wait to be applied.
struct Queue<'a> {
    index: &'a Index,
    waiting_bytes_max: usize,
    state: Mutex<State>,
    /// There is a stripe to take, or nothing will come any more.
    work: Condvar,
    /// There is a stripe to take, or less is waiting.
    room: Condvar,
}

struct State {
    stripes: Vec<Waiting>,
    /// What is left of batches that were applied, to be filled again: memory that one thread takes
    /// and another gives back is what an allocator is slow at.
    empty: Vec<Vec<Change>>,
    /// Stripes that have batches and that no thread is at.
    ready: VecDeque<usize>,
    bytes: usize,
    ended: bool,
    broken: bool,
}

#[derive(Default)]
struct Waiting {
    batches: Vec<Batch>,
    taken: bool,
}

impl<'a> Queue<'a> {
    fn new(index: &'a Index, waiting_bytes_max: usize) -> Self {
        let stripes = std::iter::repeat_with(Waiting::default).take(index.stripe_count()).collect();
        let state = State {
            stripes,
            empty: Vec::new(),
            ready: VecDeque::new(),
            bytes: 0,
            ended: false,
            broken: false,
        };
        let (work, room) = (Condvar::new(), Condvar::new());
        Queue { index, waiting_bytes_max, state: Mutex::new(state), work, room }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic with the queue")
    }

    /// Queues a batch, and makes room if too much is waiting. Gives an empty one.
    fn give(&self, stripe: usize, batch: Batch) -> Vec<Change> {
        let mut state = self.lock();
        state.bytes += batch.bytes;
        let waiting = &mut state.stripes[stripe];
        waiting.batches.push(batch);
        if waiting.batches.len() == 1 && !waiting.taken {
            state.ready.push_back(stripe);
            self.work.notify_one();
        }
        while state.bytes > self.waiting_bytes_max {
            assert!(!state.broken, "another thread has panicked while it applied frames");
            state = match state.ready.pop_front() {
                Some(stripe) => self.apply(stripe, state),
                None => self.room.wait(state).expect("no panic with the queue"),
            };
        }
        state.empty.pop().unwrap_or_default()
    }

    /// Applies what comes until the end.
    fn work(&self) {
        let mut state = self.lock();
        loop {
            state = match state.ready.pop_front() {
                Some(stripe) => self.apply(stripe, state),
                // What others have taken they finish themselves.
                None if state.ended => return,
                None => self.work.wait(state).expect("no panic with the queue"),
            };
        }
    }

    /// Applies all batches of a stripe that was ready.
    fn apply<'s>(&'s self, number: usize, mut state: MutexGuard<'s, State>) -> MutexGuard<'s, State> {
        let (taken, mut batches) = self.take(number, &mut state);
        drop(state);
        let mut stripe = self.index.lock(number);
        batches.iter_mut().for_each(|batch| stripe.apply(&mut batch.changes));
        drop(stripe);
        drop(taken);
        let mut state = self.lock();
        state.empty.extend(batches.into_iter().map(|batch| batch.changes));
        state
    }

    /// Nobody else gets to the stripe until `Taken` is dropped.
    fn take(&self, number: usize, state: &mut State) -> (Taken<'_>, Vec<Batch>) {
        let waiting = &mut state.stripes[number];
        waiting.taken = true;
        let batches = std::mem::take(&mut waiting.batches);
        let bytes = batches.iter().map(|b| b.bytes).sum();
        (Taken { queue: self, number, bytes }, batches)
    }
}

/// A stripe that a thread is at; given back also when applying panics.
struct Taken<'a> {
    queue: &'a Queue<'a>,
    number: usize,
    bytes: usize,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        state.broken |= std::thread::panicking();
        state.bytes -= self.bytes;
        let waiting = &mut state.stripes[self.number];
        waiting.taken = false;
        if !waiting.batches.is_empty() {
            state.ready.push_back(self.number);
            self.queue.work.notify_one();
        }
        self.queue.room.notify_one();
    }
}

/// Dropped when nothing will come any more.
struct Ended<'a>(&'a Queue<'a>);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.work.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{format::op::Put, random::Random, settings::Settings};

    /// What is left in the end: keys by number, with the LSN of their last put.
    type Model = std::collections::BTreeMap<u64, Lsn>;

    fn index() -> Index {
        let settings = Settings { stripes: Some(4), max_bytes: None, ..Settings::new("unused") };
        Index::new(&settings, &[7; 16], 2, None)
    }

    /// Puts and deletes of few keys, and now and then a flush.
    fn frame(replay: &mut Replay<'_>, model: &mut Model, lsn: Lsn, random: &mut Random) {
        let number = random.next_u64() % 50;
        let bytes = number.to_le_bytes();
        let key = Key::from(&bytes);
        match random.next_u64() % 1000 {
            0 => {
                model.clear();
                replay.frame(lsn, &Payload::Flush(None));
            }
            1..300 => {
                model.remove(&number);
                replay.frame(lsn, &Payload::Op(Op::Delete(key)));
            }
            _ => {
                model.insert(number, lsn);
                replay.frame(
                    lsn,
                    &Payload::Op(Op::Put(Put { value: b"value", ..Blob::bare(key).as_put(None) })),
                );
            }
        }
    }

    /// Two threads in one stripe would be in no order, though rarely enough to pass the test below.
    #[test]
    fn while_a_thread_is_at_a_stripe_nobody_else_gets_to_it() {
        let index = index();
        let queue = Queue::new(&index, usize::MAX);
        let batch = || Batch { changes: Vec::new(), bytes: 10 };
        queue.give(1, batch());
        queue.give(1, batch());
        let (taken, batches) = {
            let mut state = queue.lock();
            let number = state.ready.pop_front().unwrap();
            queue.take(number, &mut state)
        };
        assert_eq!(batches.len(), 2);
        queue.give(1, batch());
        queue.give(2, batch());
        let meanwhile = queue.lock().ready.clone();
        drop(taken);
        let state = queue.lock();
        assert_eq!((meanwhile, &state.ready, state.bytes), ([2].into(), &[2, 1].into(), 20));
    }

    #[test]
    fn every_key_sees_its_frames_in_their_order_in_any_number_of_threads_and_with_little_room() {
        for threads in [1, 2, 5] {
            for waiting_bytes_max in [0, 10_000, usize::MAX] {
                let (index, mut model) = (index(), Model::new());
                let mut random = Random::from_seed([threads as u8; 32]);
                bounded(Queue::new(&index, waiting_bytes_max), threads, |replay| {
                    // Many small batches, so that threads meet at a stripe.
                    replay.batch_max = 2;
                    for lsn in 1..=20_000 {
                        frame(replay, &mut model, Lsn(lsn), &mut random);
                    }
                });
                let what = format!("threads={threads} waiting_bytes_max={waiting_bytes_max}");
                assert_eq!(index.budget().used().items, model.len() as u64, "{what}");
                for (number, lsn) in &model {
                    let bytes = number.to_le_bytes();
                    let hash = index.hash(Key::from(&bytes));
                    let stripe = index.lock(index.stripe_of(hash));
                    let slot = stripe.find(hash, Key::from(&bytes)).unwrap_or_else(|| panic!("{what}"));
                    assert_eq!(stripe.view(slot).lsn, *lsn, "{what}");
                    drop(stripe);
                }
                (0..index.stripe_count()).for_each(|stripe| index.lock(stripe).check());
            }
        }
    }
}
