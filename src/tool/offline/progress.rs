//! How far a long reading has come, on stderr, and only where a person watches.

use std::{
    cell::Cell,
    io::{self, IsTerminal, Write},
    sync::Arc,
    time::Duration,
};

use emberkeep_storage::Clock;

use crate::config::units::show_bytes;

/// Told this often, and the first time after as long: what is quick needs no progress.
const EVERY: Duration = Duration::from_millis(500);

/// One line that is written over again and again.
pub(super) struct Progress {
    clock: Arc<dyn Clock>,
    begun: Duration,
    told: Cell<Duration>,
    shown: Cell<bool>,
    terminal: bool,
}

impl Progress {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Progress {
        let begun = clock.monotonic();
        let terminal = io::stderr().is_terminal();
        Progress { clock, begun, told: Cell::new(begun), shown: Cell::new(false), terminal }
    }

    /// Bytes read so far, of how many.
    pub(super) fn at(&self, done: u64, total: u64) {
        let now = self.clock.monotonic();
        if !self.terminal || now.saturating_sub(self.told.get()) < EVERY {
            return;
        }
        self.told.set(now);
        self.shown.set(true);
        let seconds = now.saturating_sub(self.begun).as_secs_f64();
        let rate = show_bytes((done as f64 / seconds) as u64);
        // Nobody needs this line to be there.
        write!(io::stderr(), "\r{} of {}, {rate}/s\x1b[K", show_bytes(done), show_bytes(total)).ok();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown.get() {
            write!(io::stderr(), "\r\x1b[K").ok();
        }
    }
}
