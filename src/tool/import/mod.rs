//! Copies the strings of a Redis-compatible server into a running emberkeep.
//!
//! [`run`] goes through the source with SCAN, page by page, and stores what it finds with SET: values
//! with what is left of their lifetimes, each database into the one of the same number. A page counts
//! as done once the target has acknowledged all of it: by then it is as durable as the target promises.
//! How far it has come is kept in a file, so that another run goes on from there.
//!
//! SCAN's promise becomes ours: a key that is in the source from the beginning to the end is copied.
//! What is written to the source meanwhile may be copied or not. Unless told to overwrite, what the
//! target has is left alone, so copying once more never does harm.
//!
//! Both servers may go away at any byte: then it connects again and repeats the page.
//!
//! | file | holds |
//! |---|---|
//! | `copy` | the pages of one connection to each server |
//! | `source`, `target` | what is asked of either |
//! | `connection`, `resp`, `address` | one blocking connection; replies that are not believed; where it is |
//! | `state`, `report`, `progress` | how far it has come: for the next run, in the end, meanwhile |
//!
//! Not copied: lists, sets, sorted sets, hashes, streams. They are counted.

#![expect(
    clippy::disallowed_methods,
    reason = "it talks to real servers, in real time, and keeps a file of its own"
)]

pub mod address;
mod connection;
mod copy;
mod progress;
mod report;
pub mod resp;
mod source;
mod state;
mod target;

use std::{path::PathBuf, thread, time::Duration};

use self::{address::Address, connection::Trouble, copy::Copy, state::State};
pub use self::{report::Report, state::Counts};
use crate::node::error::{Code, Error, Result};

/// The first pause after a connection was lost; each further one is twice as long.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// What to copy, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The server that is read.
    pub source: Address,
    /// The server that is written to.
    pub target: Address,
    /// Only this database; `None`: all that hold something.
    pub db: Option<u32>,
    /// Only keys that match this pattern of Redis.
    pub pattern: Option<String>,
    /// Replace what the target has under a key.
    pub overwrite: bool,
    /// Keys per second at most; at least 1.
    pub rate: Option<u64>,
    /// How often to connect again without having come further.
    pub retries: u32,
    /// Where it keeps how far it has come.
    pub state: PathBuf,
}

/// Copies until everything is copied. The file with the state is gone then.
///
/// # Errors
/// `InvalidArgument` if the state is of another import; else `Io`: the state is kept, and another call
/// goes on from there.
pub fn run(options: &Options) -> Result<Report> {
    let mut copy = Copy::new(options, State::load(options)?);
    let (mut tries, mut pages) = (0, 0);
    loop {
        let why = match copy.go_on() {
            Ok(()) => break,
            Err(Trouble::Fatal(error)) => return Err(error),
            Err(Trouble::Lost(why)) => why,
        };
        if copy.pages() > pages {
            (tries, pages) = (0, copy.pages());
        }
        // Who was never reached is not waited for: the address may be wrong.
        if !copy.was_connected() {
            return Err(Error::new(Code::Io, format!("cannot connect to the {why}")));
        }
        if tries == options.retries {
            return Err(Error::new(
                Code::Io,
                format!(
                    "{why}\ngiven up after {tries} tries; the same command goes on from {}",
                    options.state.display()
                ),
            ));
        }
        let pause = pause(tries);
        copy.progress().say(&format!("{why}; trying again in {} ms", pause.as_millis()));
        thread::sleep(pause);
        tries += 1;
    }
    State::remove(&options.state)?;
    Ok(copy.report())
}

fn pause(tries: u32) -> Duration {
    PAUSE_MIN.saturating_mul(1 << tries.min(16)).min(PAUSE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_are_bounded() {
        assert_eq!([0, 1, 3, 6, u32::MAX].map(|tries| pause(tries).as_millis()), [100, 200, 800, 5000, 5000]);
    }
}
