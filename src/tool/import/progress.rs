//! How far an import has come, on stderr: a line that is written over where a person watches, a line
//! every few seconds where a log does.

use std::{
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

use crate::{config::units::show_span, name};

const EVERY: Duration = Duration::from_millis(200);
const EVERY_IN_A_LOG: Duration = Duration::from_secs(5);

/// Tells how far it has come.
#[derive(Debug)]
pub struct Progress {
    terminal: bool,
    begun: Instant,
    told: Instant,
    is_shown: bool,
    /// Keys that earlier runs had done.
    before: u64,
    /// Keys in the source, if all of them are wanted.
    total: Option<u64>,
}

impl Progress {
    /// `before`: keys that earlier runs had done.
    pub fn new(before: u64) -> Progress {
        let now = Instant::now();
        let terminal = io::stderr().is_terminal();
        Progress { terminal, begun: now, told: now, is_shown: false, before, total: None }
    }

    /// How many keys there are to copy, where that is known.
    pub fn expect(&mut self, total: Option<u64>) {
        self.total = total;
    }

    /// So many keys are done, those of earlier runs among them.
    pub fn at(&mut self, keys: u64) {
        let every = if self.terminal { EVERY } else { EVERY_IN_A_LOG };
        if self.told.elapsed() < every {
            return;
        }
        self.told = Instant::now();
        let text = text(keys, keys.saturating_sub(self.before), self.total, self.begun.elapsed());
        // Nobody needs this line to be there.
        if self.terminal {
            self.is_shown = true;
            write!(io::stderr(), "\r{text}\x1b[K").ok();
        } else {
            self.say(&text);
        }
    }

    /// Something that happened, on a line of its own.
    pub fn say(&mut self, text: &str) {
        self.clear();
        writeln!(io::stderr(), "{}: {text}", name::PRODUCT).ok();
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.is_shown) {
            write!(io::stderr(), "\r\x1b[K").ok();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

/// `keys` done, `now` of them in this run, which has taken `elapsed`.
fn text(keys: u64, now: u64, total: Option<u64>, elapsed: Duration) -> String {
    let rate = now.saturating_mul(1000) / (elapsed.as_millis() as u64).max(1);
    let Some(total) = total else { return format!("{keys} keys, {rate} keys/s") };
    let percent = keys.saturating_mul(100).checked_div(total).unwrap_or(100).min(100);
    // The source may have lost keys meanwhile, or got more.
    let text = format!("{keys} of {total} keys ({percent} %), {rate} keys/s");
    match total.saturating_sub(keys).div_ceil(rate.max(1)) {
        0 => text,
        seconds => format!("{text}, about {} left", show_span(Duration::from_secs(seconds))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_this_run_and_the_rest_follows_from_it() {
        let second = Duration::from_secs(1);
        for (keys, now, total, elapsed, expected) in [
            (500, 100, Some(1000), second, "500 of 1000 keys (50 %), 100 keys/s, about 5 s left"),
            (500, 100, None, second, "500 keys, 100 keys/s"),
            (1200, 100, Some(1000), second, "1200 of 1000 keys (100 %), 100 keys/s"),
            (0, 0, Some(0), Duration::ZERO, "0 of 0 keys (100 %), 0 keys/s"),
        ] {
            assert_eq!(text(keys, now, total, elapsed), expected);
        }
    }
}
