//! The commands that took longest of late.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::parse::Args;

const ARGS_MAX: usize = 32;
const ARG_LEN_MAX: usize = 128;

/// The last slow commands, in memory.
#[derive(Debug)]
pub(super) struct SlowLog {
    entries: Mutex<VecDeque<Slow>>,
    next_id: AtomicU64,
    /// Microseconds from which on a command is slow; negative: none is.
    pub(super) from_micros: AtomicI64,
    /// Entries that are kept.
    pub(super) len_max: AtomicUsize,
}

impl Default for SlowLog {
    fn default() -> Self {
        SlowLog {
            entries: Mutex::default(),
            next_id: AtomicU64::new(0),
            from_micros: AtomicI64::new(10_000),
            len_max: AtomicUsize::new(128),
        }
    }
}

/// A command that took long.
#[derive(Clone, Debug)]
pub(super) struct Slow {
    pub(super) id: u64,
    /// Seconds since 1970.
    pub(super) at_secs: u64,
    pub(super) micros: u64,
    /// Cut where they are long.
    pub(super) args: Vec<Vec<u8>>,
    pub(super) peer: SocketAddr,
    pub(super) name: String,
}

impl SlowLog {
    /// Whether a command that took so long is slow.
    pub(super) fn is_slow(&self, took: Duration) -> bool {
        let from = self.from_micros.load(Ordering::Relaxed);
        from >= 0 && took.as_micros() >= from as u128
    }

    pub(super) fn add(&self, at_secs: u64, took: Duration, args: Args<'_>, peer: SocketAddr, name: String) {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let slow = Slow { id, at_secs, micros: took.as_micros() as u64, args: cut(args), peer, name };
        let mut entries = self.lock();
        entries.push_front(slow);
        entries.truncate(self.len_max.load(Ordering::Relaxed));
    }

    /// The newest first.
    pub(super) fn newest(&self, count: usize) -> Vec<Slow> {
        self.lock().iter().take(count).cloned().collect()
    }

    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    pub(super) fn reset(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Slow>> {
        self.entries.lock().expect("nothing panics under this lock")
    }
}

fn cut(args: Args<'_>) -> Vec<Vec<u8>> {
    let shown = if args.len() > ARGS_MAX { ARGS_MAX - 1 } else { args.len() };
    let short = |arg: &[u8]| match arg.len() {
        0..=ARG_LEN_MAX => arg.to_vec(),
        len => {
            let more = format!("... ({} more bytes)", len - ARG_LEN_MAX);
            [&arg[..ARG_LEN_MAX], more.as_bytes()].concat()
        }
    };
    let mut out: Vec<Vec<u8>> = args.iter().take(shown).map(short).collect();
    if shown < args.len() {
        out.push(format!("... ({} more arguments)", args.len() - shown).into_bytes());
    }
    out
}
