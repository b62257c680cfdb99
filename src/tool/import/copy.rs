//! The pages of an import, over one connection to each server at a time.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{
    Options,
    connection::Trouble,
    progress::Progress,
    report::Report,
    source::{About, Kind, Page, Source, Value},
    state::{Counts, State},
    target::{Entry, Stored, Target},
};

/// Keys that are asked for at once.
const PAGE_KEYS: u64 = 500;
/// Values that are on their way at once, in bytes; or one value, if it alone is larger.
const BATCH_BYTES: u64 = 8 << 20;

/// An import under way.
pub(super) struct Copy<'o> {
    options: &'o Options,
    state: State,
    progress: Progress,
    /// An earlier run has left the state, and nobody was told yet.
    is_resumed: bool,
    was_connected: bool,
    pages: u64,
    pace: Pace,
    begun: Instant,
    /// Time of earlier runs.
    before: Duration,
}

impl<'o> Copy<'o> {
    /// Goes on from the state of an earlier run, if there was one.
    pub(super) fn new(options: &'o Options, earlier: Option<State>) -> Copy<'o> {
        let is_resumed = earlier.is_some();
        let state = earlier.unwrap_or_else(|| State::new(options));
        Copy {
            options,
            progress: Progress::new(state.counts.keys()),
            is_resumed,
            was_connected: false,
            pages: 0,
            pace: Pace::new(options.rate),
            begun: Instant::now(),
            before: Duration::from_millis(state.elapsed_ms),
            state,
        }
    }

    /// Connects, and copies from where it has stopped to the end.
    pub(super) fn go_on(&mut self) -> Result<(), Trouble> {
        let mut source = Source::open(&self.options.source)?;
        let mut target = Target::open(&self.options.target)?;
        let about = source.about()?;
        if !about.run_id.is_empty() && about.run_id == target.about()?.run_id {
            return Err(Trouble::fatal(
                "source and target are the same server; name emberkeep's Redis-compatible port with --to",
            ));
        }
        self.was_connected = true;
        self.begin(&about);
        let databases = self.options.db.map_or_else(|| about.keys.keys().copied().collect(), |db| vec![db]);
        for db in databases {
            if db > self.state.db {
                (self.state.db, self.state.cursor) = (db, 0);
            }
            if db == self.state.db {
                self.database(&mut source, &mut target)?;
            }
        }
        Ok(())
    }

    /// Pages that were done by this process.
    pub(super) fn pages(&self) -> u64 {
        self.pages
    }

    /// Whether both servers were there at least once.
    pub(super) fn was_connected(&self) -> bool {
        self.was_connected
    }

    pub(super) fn progress(&mut self) -> &mut Progress {
        &mut self.progress
    }

    pub(super) fn report(self) -> Report {
        Report { elapsed: self.elapsed(), counts: self.state.counts }
    }

    fn elapsed(&self) -> Duration {
        self.before + self.begun.elapsed()
    }

    /// Decides whether the cursor is still good: it belongs to one run of the source.
    fn begin(&mut self, about: &About) {
        let keys = self.state.counts.keys();
        let is_resumed = std::mem::take(&mut self.is_resumed);
        if self.state.run_id != about.run_id {
            if keys > 0 {
                self.progress.say(
                    "the source was restarted since, which voids its cursors: starting over; what is there already \
                     does not change",
                );
            }
            self.state = State::new(self.options);
            self.state.run_id.clone_from(&about.run_id);
        } else if is_resumed {
            self.progress.say(&format!("going on in database {} after {keys} keys", self.state.db));
        }
        let total = match self.options.db {
            Some(db) => about.keys.get(&db).copied().unwrap_or(0),
            None => about.keys.values().sum(),
        };
        // How many match nobody knows.
        self.progress.expect(self.options.pattern.is_none().then_some(total));
    }

    /// The pages of the current database, from its cursor to the end.
    fn database(&mut self, source: &mut Source, target: &mut Target) -> Result<(), Trouble> {
        let db = self.state.db;
        // Bursts last a quarter of a second at most.
        let count = self.options.rate.map_or(PAGE_KEYS, |rate| (rate / 4).clamp(1, PAGE_KEYS));
        while self.state.db == db {
            let page = source.scan(db, self.state.cursor, self.options.pattern.as_deref(), count)?;
            self.state.counts = self.page(source, target, &page)?;
            self.state.elapsed_ms = self.elapsed().as_millis() as u64;
            self.state.cursor = page.cursor;
            if page.cursor == 0 {
                self.state.db += 1;
            }
            // Empty pages, as a pattern that matches little gives, may be asked for once more.
            if !page.keys.is_empty() {
                self.state.save(&self.options.state).map_err(Trouble::Fatal)?;
            }
            self.pages += 1;
            self.progress.at(self.state.counts.keys());
            self.pace.wait(page.keys.len() as u64);
        }
        Ok(())
    }

    /// Copies a page; the counts with it. If that fails the page does not count at all.
    fn page(&self, source: &mut Source, target: &mut Target, page: &Page) -> Result<Counts, Trouble> {
        let mut counts = self.state.counts.clone();
        let kinds = source.kinds(&page.keys)?;
        let (mut batch, mut bytes) = (Vec::new(), 0);
        for (key, kind) in page.keys.iter().zip(kinds) {
            match kind {
                Kind::Text(len) => {
                    if bytes + len > BATCH_BYTES && !batch.is_empty() {
                        self.batch(source, target, &batch, &mut counts)?;
                        (batch, bytes) = (Vec::new(), 0);
                    }
                    batch.push(&key[..]);
                    bytes += len;
                }
                Kind::Gone => counts.expired += 1,
                Kind::Other(kind) => counts.skip(self.state.db, key, &kind),
            }
        }
        if !batch.is_empty() {
            self.batch(source, target, &batch, &mut counts)?;
        }
        Ok(counts)
    }

    /// Reads values and stores them.
    fn batch(
        &self,
        source: &mut Source,
        target: &mut Target,
        keys: &[&[u8]],
        counts: &mut Counts,
    ) -> Result<(), Trouble> {
        let db = self.state.db;
        // Asked before the lifetimes are: they can only get shorter on the way.
        let now = target.now();
        let mut entries = Vec::with_capacity(keys.len());
        for (&key, value) in keys.iter().zip(source.values(keys)?) {
            match value {
                Value::Text(value, left) => {
                    let expires = left.map(|left| now.saturating_add(left.as_millis() as u64));
                    entries.push(Entry { key, value, expires });
                }
                Value::Gone => counts.expired += 1,
                Value::Changed => counts.skip(db, key, "changed its type"),
            }
        }
        let now = target.now();
        let alive = |entry: &Entry<'_>| entry.expires.is_none_or(|at| at > now);
        counts.expired += entries.iter().filter(|entry| !alive(entry)).count() as u64;
        entries.retain(alive);
        for (entry, stored) in entries.iter().zip(target.store(db, &entries, self.options.overwrite)?) {
            match stored {
                Stored::Copied => {
                    counts.copied += 1;
                    counts.bytes += entry.value.len() as u64;
                }
                Stored::AlreadyThere => counts.already_there += 1,
                Stored::Refused(why) => counts.refuse(db, entry.key, &why),
            }
        }
        Ok(())
    }
}

/// Holds it down to a rate.
struct Pace {
    rate: Option<u64>,
    /// When what was done so far would have been done at that rate.
    free_at: Instant,
}

impl Pace {
    fn new(rate: Option<u64>) -> Pace {
        Pace { rate, free_at: Instant::now() }
    }

    /// Waits after so many keys. Time that was lost is not made up for.
    fn wait(&mut self, keys: u64) {
        let Some(rate) = self.rate else { return };
        let now = Instant::now();
        self.free_at = self.free_at.max(now) + Duration::from_secs_f64(keys as f64 / rate as f64);
        thread::sleep(self.free_at - now);
    }
}
