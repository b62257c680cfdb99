//! Room: asked for before any lock is taken, and then guaranteed.
//!
//! A permit is room in the staging buffer and in segments that are prepared already, so that an
//! append never waits and a full disk never meets a group in the middle. Ordinary writes leave two
//! prepared segments alone: one lets deletes go on when the disk is full, one is for recovery. While
//! only that last one is there, nobody fills the active segment to its end either: every start
//! after an unclean stop goes on in it and needs room for the first frame of its term.
//!
//! A frame larger than half a segment gets a segment of its own size, prepared when it is asked for.

use std::task::Waker;

use crate::{
    error::{Error, ErrorKind, Result},
    format::{frame, segment::SEGMENT_HEADER_LEN},
    settings::Level,
    wal::staging::{MARK_FRAME_LEN, Staging, State},
};

/// Spares that ordinary writes do not use: the emergency and the recovery segment.
pub(crate) const SPARES_SET_ASIDE: usize = 2;
/// Spares that are kept in all.
pub(crate) const SPARES: usize = SPARES_SET_ASIDE + 1;

/// Bytes at the end of the active segment for the starts on a full disk: a start takes some 300 of
/// them, so with segments of 64 MiB there can be thousands.
const ROOM_FOR_STARTS_MAX: u64 = 1 << 20;

/// How far a frame may dip into the segments that are set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// Not at all: it adds data.
    Write,
    /// The emergency segment: it frees memory and disk.
    Delete,
    /// All of them: the first frame of a run.
    Recovery,
}

impl Urgency {
    fn set_aside(self) -> usize {
        match self {
            Urgency::Write => SPARES_SET_ASIDE,
            Urgency::Delete => SPARES_SET_ASIDE - 1,
            Urgency::Recovery => 0,
        }
    }
}

/// Room in the buffer and on the disk; given back when dropped.
#[derive(Debug)]
pub struct Permit<'a> {
    staging: &'a Staging,
    bytes: u64,
    level: Level,
    own_segment: Option<u64>,
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if self.staging.discards.is_some() {
            return;
        }
        let mut s = self.staging.lock();
        s.reserved -= self.bytes;
        if let Some(capacity) = self.own_segment {
            s.own_ready = Some(capacity);
        }
    }
}

impl Permit<'_> {
    /// The group of these frames is synced even if the mode does not ask for it.
    pub fn at_level(mut self, level: Level) -> Self {
        self.level = level;
        self
    }

    /// Bytes of a frame that is appended are no longer reserved.
    pub(super) fn spend(&mut self, s: &mut State, frame_len: u64) {
        assert!(frame_len <= self.bytes, "frame_len={frame_len} permit={}", self.bytes);
        self.bytes -= frame_len;
        s.reserved -= frame_len;
    }

    /// Its group has to be synced.
    pub(super) fn wants_disk(&self) -> bool {
        self.level == Level::Disk
    }

    /// The segment that was prepared for the one large frame.
    pub(super) fn take_own_segment(&mut self) -> Option<u64> {
        self.own_segment.take()
    }
}

impl Staging {
    /// The longest frame that shares a segment with others.
    fn shared_frame_max(&self) -> u64 {
        usable(self.segment_bytes) / 2
    }

    /// Room for one frame of up to `frame` bytes and, beside it, small ones of up to `extra`.
    pub(crate) fn admit(&self, frame: u64, extra: u64, urgency: Urgency) -> Result<Permit<'_>> {
        if self.discards.is_some() {
            return Ok(Permit { staging: self, bytes: 0, level: Level::Memory, own_segment: None });
        }
        let mut s = self.lock();
        if s.closed {
            return Err(Error::new(ErrorKind::Closed, "the engine is closed"));
        }
        // Each of the frames may begin a group, which begins with a Mark.
        let bytes = frame + extra + 2 * MARK_FRAME_LEN;
        let queued = s.reserved + s.in_flight + s.filling.bytes;
        // A frame that is larger than the whole buffer goes alone.
        if queued > 0 && queued + bytes > self.staging_bytes {
            return Err(overloaded("staging buffer"));
        }
        // With what goes beside it, it would fill more than half a segment.
        let alone = bytes > self.shared_frame_max();
        // Both are asked, so that both are prepared.
        let own_is_ready = !alone || s.own_is_ready(frame);
        if !self.has_space(&s, if alone { bytes - frame } else { bytes }, urgency) || !own_is_ready {
            return Err(no_space(&s, urgency));
        }
        let own_segment = if alone { s.own_ready.take() } else { None };
        s.reserved += bytes;
        Ok(Permit { staging: self, bytes, level: Level::Memory, own_segment })
    }

    /// Next-fit packing of frames that are at most half a segment fills every other segment at
    /// least half, so `n` spares surely take `n` half segments of them.
    fn has_space(&self, s: &State, bytes: u64, urgency: Urgency) -> bool {
        let wanted = s.reserved + bytes;
        let for_starts = if urgency != Urgency::Recovery && s.spares < SPARES_SET_ASIDE {
            (self.segment_bytes / 8).min(ROOM_FOR_STARTS_MAX)
        } else {
            0
        };
        let in_active = s.capacity.saturating_sub(s.position.offset + 2 * MARK_FRAME_LEN + for_starts);
        let spares = s.spares.saturating_sub(urgency.set_aside()) as u64;
        let usual = wanted <= in_active || wanted <= spares * self.shared_frame_max();
        // After a large frame the next one rotates: that takes a spare of its own.
        usual && (!s.own_taken || spares > 0)
    }

    /// More than a quarter of the active segment is used: the next one is wanted soon.
    pub(crate) fn is_filling(&self) -> bool {
        let s = self.lock();
        s.position.offset > s.capacity / 4
    }

    /// The capacity of the segment that is to be prepared next, if one is.
    pub(crate) fn wanted_spare(&self) -> Option<u64> {
        let s = self.lock();
        let own = s.own_wanted > 0 && s.own_ready.is_none_or(|c| usable(c) < s.own_wanted);
        if s.spares < SPARES {
            Some(self.segment_bytes)
        } else if own {
            let capacity = s.own_wanted + self.segment_bytes - usable(self.segment_bytes);
            // Never the usual size: by that the two are told apart.
            Some(if capacity == self.segment_bytes { capacity + frame::ALIGN as u64 } else { capacity })
        } else {
            None
        }
    }

    /// A spare was prepared. Gives the capacity of one that nobody needs any more.
    pub(crate) fn spare_ready(&self, capacity: u64) -> Option<u64> {
        let mut s = self.lock();
        let mut unneeded = None;
        if capacity == self.segment_bytes {
            s.spares += 1;
        } else {
            unneeded = s.own_ready.replace(capacity);
            s.own_wanted = 0;
        }
        s.disk_full = false;
        drop(s);
        self.wake_for_room();
        unneeded
    }

    pub(crate) fn spare_failed(&self) {
        let mut s = self.lock();
        s.disk_full = true;
        s.own_wanted = 0;
        drop(s);
        self.wake_for_room();
    }

    /// Leaves a waker for the next time that room is made, and asks for what takes it up.
    pub(crate) fn register_for_room(&self, waker: &Waker) {
        let mut s = self.lock();
        s.for_room.push(waker.clone());
        s.asked |= !s.filling.parts.is_empty();
        self.wake(s, |_| true);
    }

    pub(crate) fn spares(&self) -> usize {
        self.lock().spares
    }

    pub(crate) fn is_disk_full(&self) -> bool {
        self.lock().disk_full
    }

    /// Wakes those who wait for room, because there is some or because there never will be.
    pub(crate) fn wake_for_room(&self) {
        let woken = std::mem::take(&mut self.lock().for_room);
        woken.into_iter().for_each(Waker::wake);
    }
}

impl State {
    /// A segment is ready for a frame that needs one of its own, and another for what follows it.
    /// If none is, one of the right size is asked for.
    fn own_is_ready(&mut self, frame: u64) -> bool {
        let fits = self.own_ready.is_some_and(|capacity| usable(capacity) >= frame);
        if !fits {
            self.own_wanted = self.own_wanted.max(frame);
        }
        fits && self.spares > SPARES_SET_ASIDE
    }
}

/// What frames may occupy of a segment: header and two Marks are taken.
fn usable(capacity: u64) -> u64 {
    capacity.saturating_sub(SEGMENT_HEADER_LEN as u64 + 2 * MARK_FRAME_LEN)
}

fn overloaded(what: &str) -> Error {
    Error::new(ErrorKind::Overloaded, format!("the log has no room at the moment, what={what}"))
}

fn no_space(s: &State, urgency: Urgency) -> Error {
    // Full only if nothing is on its way: the preparer failed, and there is nothing to wait for.
    if s.disk_full && s.spares <= urgency.set_aside() {
        Error::new(ErrorKind::Full, "the disk is full: no log segment can be prepared")
    } else {
        overloaded("prepared segments")
    }
}
