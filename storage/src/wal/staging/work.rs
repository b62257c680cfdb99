//! Who wakes the committer, and what it waits for.
//!
//! Appending wakes nobody. Whoever waits for a frame asks for it, so that many frames that are waited for
//! together are one group, and a thread that commits by itself wakes no other. The committer looks after
//! frames that nobody asks for.

use std::time::Duration;

use crate::{
    lsn::Lsn,
    settings::Level,
    sync::MutexGuard,
    wal::staging::{Staging, State},
};

/// A Mark follows this long after the last write, and frames that nobody asks for wait at most twice as
/// long.
const IDLE_AFTER: Duration = Duration::from_millis(50);

/// What the committer's thread is to do next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Work {
    Group,
    Idle,
    Stop,
}

/// How long a group gathers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Gather {
    /// Until as many frames wait as last time …
    pub frames: usize,
    /// … but no longer than this.
    pub at_most: Duration,
}

/// Whether the committer sleeps, and what wakes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sleep {
    Awake,
    /// Whatever happens: it looks at no clock.
    UntilWoken,
    /// Somebody who asks.
    UntilAsked,
    /// So many frames.
    UntilGathered(usize),
}

impl Staging {
    /// Asks the committer for everything up to `lsn` to reach `level`, which it has not yet.
    pub(crate) fn ask(&self, lsn: Lsn, level: Level) {
        if self.discards.is_some() {
            return;
        }
        let mut s = self.lock();
        if self.note(&mut s, lsn, level) {
            s.asked = true;
            let waiting = s.filling.frames;
            self.wake(s, |sleep| !matches!(sleep, Sleep::UntilGathered(frames) if frames > waiting));
        } else if s.sync_asked {
            self.wake(s, |_| true);
        }
    }

    /// As [`ask`](Self::ask), by somebody who does it himself: nobody is woken.
    pub(crate) fn claim(&self, lsn: Lsn, level: Level) {
        if self.discards.is_none() {
            self.note(&mut self.lock(), lsn, level);
        }
    }

    /// Makes sure that the next turn goes as far as that. Whether `lsn` is still in the buffer.
    fn note(&self, s: &mut State, lsn: Lsn, level: Level) -> bool {
        let gathers = !s.filling.parts.is_empty() && s.filling.first() <= lsn;
        let is_on_its_way = s.synced_next.is_some_and(|last| lsn <= last);
        if level == Level::Disk && gathers {
            s.filling.sync = true;
        } else if level == Level::Disk && !is_on_its_way {
            s.sync_asked = true;
        }
        gathers
    }

    /// Whether the next turn begins a segment or syncs.
    pub(crate) fn is_more_than_a_write(&self) -> bool {
        let s = self.lock();
        s.sync_asked || s.filling.sync || s.filling.parts.iter().any(|part| part.begins.is_some())
    }

    /// Waits until somebody asks. A group gathers while fewer frames wait than last time, because
    /// those who were answered together come back together.
    ///
    /// Frames that nobody asks for are a group as well, once the first has waited for a while, whether or
    /// not more keep coming. When none have come for a while it is time for a Mark.
    pub(crate) fn wait_for_work(&self, gather: Gather) -> Work {
        let mut s = self.lock();
        while !s.asked && !s.sync_asked {
            let is_empty = s.filling.parts.is_empty();
            if s.stopping {
                return if is_empty { Work::Stop } else { Work::Group };
            }
            let (last, oldest) = (s.last, s.filling.first());
            let (sleep, at_most) = if is_empty && !s.mark_due {
                (Sleep::UntilWoken, Duration::MAX)
            } else {
                (Sleep::UntilAsked, IDLE_AFTER)
            };
            let timed_out;
            (s, timed_out) = self.sleep(s, sleep, at_most);
            if !timed_out || s.asked || s.sync_asked {
                continue;
            }
            if s.last == last && s.filling.parts.is_empty() {
                return Work::Idle;
            }
            // Where others commit by themselves, what has gathered since then is theirs.
            if !is_empty && s.filling.first() == oldest && !s.filling.parts.is_empty() {
                return Work::Group;
            }
        }
        let begin = self.clock.monotonic();
        while s.filling.frames < gather.frames && !s.stopping {
            let waited = self.clock.monotonic().saturating_sub(begin);
            let Some(left) = gather.at_most.checked_sub(waited).filter(|left| !left.is_zero()) else { break };
            let timed_out;
            (s, timed_out) = self.sleep(s, Sleep::UntilGathered(gather.frames), left);
            // Not until the clock says so: where it stands still, as in a simulation, this ends too.
            if timed_out {
                break;
            }
        }
        Work::Group
    }

    /// Sleeps until it is woken, or the time is over, and then says so.
    fn sleep<'a>(
        &'a self,
        mut s: MutexGuard<'a, State>,
        sleep: Sleep,
        at_most: Duration,
    ) -> (MutexGuard<'a, State>, bool) {
        s.sleep = sleep;
        let mut timed_out = false;
        if at_most == Duration::MAX {
            s = self.work.wait(s).expect("no panic while staging");
        } else {
            let (guard, timeout) = self.work.wait_timeout(s, at_most).expect("no panic while staging");
            s = guard;
            timed_out = timeout.timed_out();
        }
        s.sleep = Sleep::Awake;
        (s, timed_out)
    }

    /// Waking is a system call, so only if it helps, and once.
    pub(super) fn wake(&self, mut s: MutexGuard<'_, State>, helps: impl Fn(Sleep) -> bool) {
        let wake = s.sleep != Sleep::Awake && helps(s.sleep);
        if wake {
            s.sleep = Sleep::Awake;
        }
        drop(s);
        if wake {
            self.work.notify_one();
        }
    }

    pub(crate) fn stop(&self) {
        self.lock().stopping = true;
        self.work.notify_all();
    }
}
