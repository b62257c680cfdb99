//! One thread's share of the load: a loop that sends what is due and takes what has come.

use std::{
    io::{self, ErrorKind},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use super::{
    connection::{Connection, Waiting},
    draw::{Draw, Values},
    events::Events,
    tally::Tally,
    target::Target,
    wire::{Answer, Wire},
};

/// For what is still to be sent and answered when nothing more comes due.
const GRACE: Duration = Duration::from_secs(10);

/// What all threads of a run share. Moments are nanoseconds since `begun`.
#[derive(Debug)]
pub(super) struct Job<'a> {
    pub(super) target: &'a Target,
    pub(super) wire: &'a Wire,
    pub(super) values: &'a Values,
    pub(super) pipeline: usize,
    pub(super) pace: Option<Pace>,
    /// What is due or sent before is not counted.
    pub(super) measure_from: u64,
    /// Nothing is asked from then on.
    pub(super) until: u64,
    pub(super) begun: Instant,
    pub(super) so_far: &'a SoFar,
}

/// What one thread gets of it.
#[derive(Debug)]
pub(super) struct Share {
    /// With their numbers among those of all threads, at least one.
    pub(super) connections: Vec<(u64, Connection)>,
    pub(super) draw: Draw,
    pub(super) requests: u64,
}

/// When requests are due, with a rate: all connections take turns.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Nanoseconds between two requests.
    pub(super) every: f64,
    /// Connections of all threads.
    pub(super) connections: u64,
}

impl Pace {
    /// When the request of this connection in this round of turns is due.
    fn due(self, round: u64, connection: u64) -> u64 {
        ((round * self.connections + connection) as f64 * self.every) as u64
    }
}

/// What the threads tell while they work.
#[derive(Debug, Default)]
pub(super) struct SoFar {
    pub(super) answered: AtomicU64,
    pub(super) failed: AtomicU64,
}

/// A connection in its place.
#[derive(Debug)]
struct Slot {
    /// `None` once it was lost and could not be opened again.
    connection: Option<Connection>,
    /// The system takes no more of its requests at the moment.
    is_blocked: bool,
    /// Its number among those of all threads.
    number: u64,
    /// Which of its requests is due next, with a pace.
    round: u64,
}

pub(super) struct Worker<'a> {
    job: &'a Job<'a>,
    slots: Vec<Slot>,
    draw: Draw,
    /// Requests that may still be asked, of those that count.
    left: u64,
    events: Events,
    tally: Tally,
    /// Requests without a reply so far.
    under_way: u64,
    /// Connections that are open.
    live: usize,
    /// Turns that have come, with a pace.
    turns: u64,
    /// When nothing more was asked.
    ended: Option<u64>,
    /// What `so_far` knows.
    told: (u64, u64),
}

impl<'a> Worker<'a> {
    pub(super) fn new(job: &'a Job<'a>, share: Share) -> io::Result<Worker<'a>> {
        let Share { connections, draw, requests } = share;
        let events = Events::new()?;
        for (at, (_, connection)) in connections.iter().enumerate() {
            events.add(&connection.stream, at)?;
        }
        let slots: Vec<Slot> = connections
            .into_iter()
            .map(|(number, connection)| Slot {
                connection: Some(connection),
                is_blocked: false,
                number,
                round: 0,
            })
            .collect();
        Ok(Worker {
            job,
            live: slots.len(),
            slots,
            draw,
            left: requests,
            events,
            tally: Tally::new(),
            under_way: 0,
            turns: 0,
            ended: None,
            told: (0, 0),
        })
    }

    /// Works until everything was asked and answered, or the time is over.
    pub(super) fn run(mut self) -> io::Result<Tally> {
        let mut ready = Vec::new();
        for at in 0..self.slots.len() {
            self.ask(at, self.now());
        }
        loop {
            let now = self.now();
            self.take_turns(now);
            let Some(until) = self.next_look(now) else { break };
            ready.clear();
            self.events.wait(now, until, &mut ready)?;
            for &at in &ready {
                if let Err(kind) = self.serve(at) {
                    self.lose(at, &kind)?;
                }
            }
            self.tell();
        }
        self.count_what_is_missing();
        Ok(self.tally)
    }

    fn now(&self) -> u64 {
        self.job.begun.elapsed().as_nanos() as u64
    }

    /// Whether a request of this moment belongs to the run.
    fn may_ask(&self, since: u64) -> bool {
        since < self.job.until && self.left > 0
    }

    /// With a pace: lets each connection ask whose turn has come.
    fn take_turns(&mut self, now: u64) {
        while let Some((at, due)) = self.next_turn() {
            if due > now || !self.may_ask(due) {
                break;
            }
            self.turns += 1;
            self.ask(at, now);
        }
    }

    /// With a pace: whose turn is next, and when.
    fn next_turn(&self) -> Option<(usize, u64)> {
        let (at, round) = (self.turns as usize % self.slots.len(), self.turns / self.slots.len() as u64);
        Some((at, self.job.pace?.due(round, self.slots[at].number)))
    }

    /// How long there is nothing to do unless a reply comes; `None` if there is nothing left to do.
    fn next_look(&mut self, now: u64) -> Option<u64> {
        if self.live == 0 {
            return None;
        }
        match self.next_turn() {
            Some((_, due)) if self.may_ask(due) => return Some(due),
            None if self.may_ask(now) => return Some(self.job.until),
            _ => {}
        }
        // What is due and was not sent waits behind something that is under way.
        let give_up = *self.ended.get_or_insert(now) + GRACE.as_nanos() as u64;
        (self.under_way > 0 && now < give_up).then_some(give_up)
    }

    /// Sends what this connection may ask by now.
    fn ask(&mut self, at: usize, now: u64) {
        match self.job.pace {
            Some(pace) => self.ask_what_is_due(at, now, pace),
            None if self.waiting(at) == Some(0) => {
                for _ in 0..self.job.pipeline {
                    if self.may_ask(now) {
                        self.stage(at, now);
                    }
                }
            }
            None => {}
        }
        self.send(at);
    }

    fn ask_what_is_due(&mut self, at: usize, now: u64, pace: Pace) {
        loop {
            let Slot { number, round, .. } = self.slots[at];
            let due = pace.due(round, number);
            if due > now || !self.may_ask(due) {
                return;
            }
            match self.waiting(at) {
                Some(waiting) if waiting >= self.job.pipeline => return,
                Some(_) => self.stage(at, due),
                None => self.count(due, |tally| tally.fail("no connection", 1)),
            }
            self.slots[at].round += 1;
        }
    }

    /// Requests of a connection without a reply; `None` if there is no connection.
    fn waiting(&self, at: usize) -> Option<usize> {
        self.slots[at].connection.as_ref().map(|connection| connection.waiting.len())
    }

    fn stage(&mut self, at: usize, since: u64) {
        let Some(connection) = &mut self.slots[at].connection else { return };
        let request = self.draw.request();
        self.job.wire.stage(&mut connection.output, request, self.job.values);
        connection.waiting.push_back(Waiting { since, is_read: request.is_read });
        self.under_way += 1;
        if since >= self.job.measure_from {
            self.left -= 1;
        }
    }

    /// What is wrong with the connection shows when it is read.
    fn send(&mut self, at: usize) {
        let slot = &mut self.slots[at];
        let Some(connection) = &mut slot.connection else { return };
        let is_blocked = !connection.send().unwrap_or(true);
        if is_blocked != slot.is_blocked {
            slot.is_blocked = is_blocked;
            self.events.tell_writable(&connection.stream, at, is_blocked).ok();
        }
    }

    /// Takes the replies that have come, and asks again.
    ///
    /// # Errors
    /// The kind of error that ends the connection.
    fn serve(&mut self, at: usize) -> Result<(), String> {
        if self.slots[at].is_blocked {
            self.send(at);
        }
        let Some(connection) = &mut self.slots[at].connection else { return Ok(()) };
        connection.receive().map_err(|e| kind_of(&e))?;
        let now = self.now();
        while let Some((waiting, answer)) = self.next_answer(at)? {
            self.under_way -= 1;
            self.count(waiting.since, |tally| tally.answer(waiting, answer, now - waiting.since));
        }
        self.ask(at, now);
        Ok(())
    }

    fn next_answer(&mut self, at: usize) -> Result<Option<(Waiting, Answer)>, String> {
        let Some(connection) = &mut self.slots[at].connection else { return Ok(None) };
        let Some(&waiting) = connection.waiting.front() else {
            let is_quiet = connection.received().is_empty();
            return if is_quiet { Ok(None) } else { Err("a reply that nobody asked for".to_owned()) };
        };
        let answer = self.job.wire.answer(connection.received(), waiting.is_read);
        let Some((answer, used)) = answer.map_err(|_| "malformed reply".to_owned())? else { return Ok(None) };
        connection.take(used);
        connection.waiting.pop_front();
        Ok(Some((waiting, answer)))
    }

    /// Nobody knows what became of the requests under way. The place is filled again, if it can be.
    fn lose(&mut self, at: usize, kind: &str) -> io::Result<()> {
        let now = self.now();
        let Some(lost) = self.slots[at].connection.take() else { return Ok(()) };
        self.under_way -= lost.waiting.len() as u64;
        let counted = lost.waiting.iter().filter(|waiting| waiting.since >= self.job.measure_from).count();
        self.tally.fail(kind, counted as u64);
        drop(lost);
        self.slots[at].is_blocked = false;
        match self.job.target.connect() {
            Ok(stream) => {
                let connection = Connection::new(stream)?;
                self.events.add(&connection.stream, at)?;
                self.slots[at].connection = Some(connection);
                self.ask(at, now);
            }
            Err(_) => {
                self.live -= 1;
                self.tally.fail("cannot connect again", 1);
                self.ask(at, now);
            }
        }
        Ok(())
    }

    /// Counts something about a request, unless it belongs to the warm-up.
    fn count(&mut self, since: u64, count: impl FnOnce(&mut Tally)) {
        if since >= self.job.measure_from {
            count(&mut self.tally);
            self.tally.took = Duration::from_nanos(self.now() - self.job.measure_from);
        }
    }

    fn tell(&mut self) {
        let counts = (self.tally.answered(), self.tally.failed());
        self.job.so_far.answered.fetch_add(counts.0 - self.told.0, Ordering::Relaxed);
        self.job.so_far.failed.fetch_add(counts.1 - self.told.1, Ordering::Relaxed);
        self.told = counts;
    }

    /// Requests without an answer after all patience, and those that were due and never sent.
    fn count_what_is_missing(&mut self) {
        let from = self.job.measure_from;
        let waiting = self.slots.iter().filter_map(|slot| slot.connection.as_ref()).flat_map(|c| &c.waiting);
        let unanswered = waiting.filter(|waiting| waiting.since >= from).count() as u64;
        self.tally.fail("no answer", unanswered);
        if let Some(pace) = self.job.pace.filter(|_| self.left > 0) {
            let end = self.now().min(self.job.until);
            for slot in &self.slots {
                let due =
                    (slot.round..).map(|round| pace.due(round, slot.number)).take_while(|&due| due < end);
                self.tally.unsent += due.filter(|&due| due >= from).count() as u64;
            }
        }
    }
}

/// As few kinds as there are causes.
fn kind_of(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::UnexpectedEof => "connection closed".to_owned(),
        kind => kind.to_string(),
    }
}
