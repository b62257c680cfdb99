//! Where frames get their place in the order, and wait for the committer.
//!
//! Two buffers: appenders fill one under a short lock while the committer writes the other. The
//! place of every frame (segment and offset) is fixed here, so rotation is a function of the
//! sequence of frames and nothing else. No I/O happens under this lock, and nothing blocks:
//! room is asked for before (`admit`) and then guaranteed.

use std::{sync::Arc, task::Waker, time::Duration};

use crate::{
    clock::{Clock, UnixMillis},
    error::{Error, ErrorKind, Result},
    format::{
        checksum::{Salt, crc32},
        frame::{self, Header, Kind},
        payload::{MARK_LEN, Mark},
        segment::{SEGMENT_HEADER_LEN, SegmentHeader},
    },
    lsn::{LogPosition, Lsn},
    settings::{Fsync, Level},
    sync::{Condvar, Mutex, MutexGuard, thread},
    wal::{
        Config, Tail,
        preparer::{SPARES, SPARES_SET_ASIDE},
    },
};

/// Bytes on disk of a Mark.
pub(crate) const MARK_FRAME_LEN: u64 = frame::disk_len(MARK_LEN) as u64;
/// Values from this size on are not copied into the buffer.
pub(crate) const SHARE_LEN_MIN: usize = 64 << 10;
/// A Mark follows this long after the last write.
const IDLE_AFTER: Duration = Duration::from_millis(50);

/// Bytes that stay where they are until the committer has written them.
pub type SharedBytes = Box<dyn AsRef<[u8]> + Send + Sync>;

/// The payload of a frame, in two pieces, and its checksum, computed before any lock is taken.
pub struct Body<'a> {
    head: &'a [u8],
    tail: &'a [u8],
    shared: Option<SharedBytes>,
    crc: u32,
}

impl<'a> Body<'a> {
    /// A payload that is copied.
    pub fn copied(payload: &'a [u8]) -> Self {
        Body { head: payload, tail: &[], shared: None, crc: crc32(&[payload]) }
    }

    /// A payload whose second piece is the value; `share` gives a handle on the same bytes, which
    /// is kept instead of a copy if the value is large.
    pub fn with_value(head: &'a [u8], value: &'a [u8], share: impl FnOnce() -> SharedBytes) -> Self {
        let shared = (value.len() >= SHARE_LEN_MIN).then(share);
        Body { head, tail: value, shared, crc: crc32(&[head, value]) }
    }

    fn len(&self) -> usize {
        self.head.len() + self.tail.len()
    }

    /// Bytes on disk of the frame.
    pub fn frame_len(&self) -> u64 {
        frame::disk_len(self.len()) as u64
    }
}

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

impl Permit<'_> {
    /// The group of these frames is synced even if the mode does not ask for it.
    pub fn at_level(mut self, level: Level) -> Self {
        self.level = level;
        self
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let mut s = self.staging.lock();
        s.reserved -= self.bytes;
        if let Some(capacity) = self.own_segment {
            s.own_ready = Some(capacity);
        }
    }
}

/// What goes to one segment with one write.
pub(crate) struct Part {
    /// This part begins a segment: its header and its capacity.
    pub begins: Option<(SegmentHeader, u64)>,
    /// Where it goes.
    pub at: LogPosition,
    /// The Mark in front, whose content is filled in when it is written.
    pub mark: Header,
    /// The frames; the first `MARK_FRAME_LEN` bytes are left for the Mark.
    pub bytes: Vec<u8>,
    /// Large values: each stands before the byte at this position of `bytes`.
    pub shared: Vec<(usize, SharedBytes)>,
    /// Length on disk.
    pub len: u64,
}

impl std::fmt::Debug for Body<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Body({} bytes)", self.len())
    }
}

impl std::fmt::Debug for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Part({} bytes at {})", self.len, self.at)
    }
}

/// What one turn of the committer writes.
#[derive(Debug, Default)]
pub(crate) struct Group {
    /// In order; more than one only if the log rotated.
    pub parts: Vec<Part>,
    /// Frames in it that somebody waits for.
    pub frames: usize,
    /// The last LSN handed out.
    pub last: Lsn,
    /// Somebody waits for the disk.
    pub sync: bool,
    /// Bytes of the buffer that this group occupies.
    pub bytes: u64,
}

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

#[derive(Debug)]
struct State {
    filling: Group,
    spare_buffer: Vec<u8>,
    last: Lsn,
    last_crc: u32,
    next_index: u64,
    ts: UnixMillis,
    position: LogPosition,
    capacity: u64,
    spares: usize,
    own_ready: Option<u64>,
    own_wanted: u64,
    own_taken: bool,
    disk_full: bool,
    reserved: u64,
    in_flight: u64,
    log_bytes: u64,
    sync_asked: bool,
    mark_due: bool,
    closed: bool,
    stopping: bool,
    /// The committer sleeps until this many frames wait.
    sleeping_for: Option<usize>,
    for_room: Vec<Waker>,
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

/// The order of the log, and what of it waits to be written.
#[derive(Debug)]
pub(crate) struct Staging {
    state: Mutex<State>,
    work: Condvar,
    salt: Salt,
    dataset_id: [u8; 16],
    run_id: [u8; 16],
    term: u32,
    tail: Tail,
    segment_bytes: u64,
    staging_bytes: u64,
    marks_when_idle: bool,
    clock: Arc<dyn Clock>,
}

impl Staging {
    pub(crate) fn new(config: &Config, tail: Tail, term: u32, spares: usize) -> Staging {
        let state = State {
            filling: Group { last: Lsn(tail.index), ..Group::default() },
            spare_buffer: Vec::new(),
            last: Lsn(tail.index),
            last_crc: tail.crc,
            next_index: tail.index + 1,
            ts: tail.ts,
            position: tail.end,
            // No room: the first frame rotates.
            capacity: 0,
            spares,
            own_ready: None,
            own_wanted: 0,
            own_taken: false,
            disk_full: false,
            reserved: 0,
            in_flight: 0,
            log_bytes: 0,
            sync_asked: false,
            mark_due: false,
            closed: false,
            stopping: false,
            sleeping_for: None,
            for_room: Vec::new(),
        };
        Staging {
            state: Mutex::new(state),
            work: Condvar::new(),
            salt: config.salt,
            dataset_id: config.dataset_id,
            run_id: config.run_id,
            term,
            tail,
            segment_bytes: config.segment_bytes,
            staging_bytes: config.staging_bytes,
            marks_when_idle: config.fsync != Fsync::Never,
            clock: config.clock.clone(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics under the staging lock")
    }

    /// The longest frame that shares a segment with others.
    fn shared_frame_max(&self) -> u64 {
        usable(self.segment_bytes) / 2
    }

    /// Room for one frame of up to `frame` bytes and, beside it, small ones of up to `extra`.
    pub(crate) fn admit(&self, frame: u64, extra: u64, urgency: Urgency) -> Result<Permit<'_>> {
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
        let in_active = s.capacity.saturating_sub(s.position.offset + 2 * MARK_FRAME_LEN);
        let spares = s.spares.saturating_sub(urgency.set_aside()) as u64;
        let usual = wanted <= in_active || wanted <= spares * self.shared_frame_max();
        // After a large frame the next one rotates: that takes a spare of its own.
        usual && (!s.own_taken || spares > 0)
    }

    /// Puts a frame into the order.
    pub(crate) fn append(&self, permit: &mut Permit<'_>, kind: Kind, body: Body<'_>, now: UnixMillis) -> Lsn {
        assert!(kind.is_replicated());
        let frame_len = body.frame_len();
        let mut s = self.lock();
        assert!(frame_len <= permit.bytes, "frame_len={frame_len} permit={}", permit.bytes);
        permit.bytes -= frame_len;
        s.reserved -= frame_len;

        s.ts = s.ts.max(now);
        let lsn = Lsn(s.next_index);
        // The small frames beside the one that was admitted are removals.
        let own_segment = if kind == Kind::Remove { None } else { permit.own_segment.take() };
        self.place(&mut s, frame_len, own_segment);
        let header = Header { kind, index: lsn.0, term: self.term, prev: s.last_crc, ts: s.ts };
        let head = header.encode(body.len(), body.crc, self.salt);
        s.last_crc = u32::from_le_bytes(head[..4].try_into().expect("four bytes"));
        s.last = lsn;
        s.next_index = lsn.0 + 1;
        s.position.offset += frame_len;
        s.log_bytes += frame_len;
        s.mark_due = self.marks_when_idle;

        let group = &mut s.filling;
        group.push(&head, body, frame_len);
        group.last = lsn;
        group.frames += 1;
        group.sync |= permit.level == Level::Disk;
        // Waking is a system call, so only if it helps.
        let wake = s.sleeping_for.is_some_and(|frames| s.filling.frames >= frames);
        drop(s);
        if wake {
            self.work.notify_one();
        }
        lsn
    }

    /// Makes sure that the last part of the group is where the next frame goes: in the active
    /// segment if the frame fits, else in a new one. A new part begins with room for its Mark.
    fn place(&self, s: &mut State, frame_len: u64, own_segment: Option<u64>) {
        let mark_len = if s.filling.parts.is_empty() { MARK_FRAME_LEN } else { 0 };
        // The last Mark of a segment, the one after a pause, always finds room.
        let fits = s.position.offset + mark_len + frame_len + MARK_FRAME_LEN <= s.capacity;
        if fits && own_segment.is_none() {
            if s.filling.parts.is_empty() {
                self.begin_part(s, None);
            }
            return;
        }
        let capacity = own_segment.unwrap_or(self.segment_bytes);
        if own_segment.is_none() {
            assert!(s.spares > 0, "a permit guarantees a spare");
            s.spares -= 1;
        }
        s.own_taken = own_segment.is_some();
        let header = SegmentHeader {
            dataset_id: self.dataset_id,
            salt: self.salt,
            run_id: self.run_id,
            first_index: s.next_index,
            prev_crc: s.last_crc,
            prev_term: if s.last.0 == self.tail.index { self.tail.term } else { self.term },
            prev_index: s.last.0,
            prev_segment: s.position.segment,
            prev_end: s.position.offset,
            created: s.ts,
        };
        s.position = LogPosition { segment: s.next_index, offset: SEGMENT_HEADER_LEN as u64 };
        s.capacity = capacity;
        self.begin_part(s, Some((header, capacity)));
        let fits = s.position.offset + frame_len + MARK_FRAME_LEN <= s.capacity;
        assert!(fits, "frame_len={frame_len} capacity={capacity}");
    }

    fn begin_part(&self, s: &mut State, begins: Option<(SegmentHeader, u64)>) {
        let mut bytes = std::mem::take(&mut s.spare_buffer);
        bytes.clear();
        bytes.resize(MARK_FRAME_LEN as usize, 0);
        let mark = Header { kind: Kind::Mark, index: s.last.0, term: self.term, prev: s.last_crc, ts: s.ts };
        let at = s.position;
        s.filling.parts.push(Part { begins, at, mark, bytes, shared: Vec::new(), len: MARK_FRAME_LEN });
        s.filling.bytes += MARK_FRAME_LEN;
        s.position.offset += MARK_FRAME_LEN;
        s.log_bytes += MARK_FRAME_LEN;
    }

    /// Appends a lone Mark after a pause; false if none is due.
    pub(crate) fn append_mark(&self) -> bool {
        let mut s = self.lock();
        let due = s.mark_due && s.filling.parts.is_empty() && s.in_flight == 0 && !s.stopping;
        if due {
            s.mark_due = false;
            assert!(s.position.offset + MARK_FRAME_LEN <= s.capacity, "room was kept for this Mark");
            self.begin_part(&mut s, None);
            s.filling.last = s.last;
            s.filling.sync = true;
        }
        due
    }

    /// Takes what has gathered. The committer gives it back with [`done`](Self::done).
    pub(crate) fn take(&self) -> Option<Group> {
        let mut s = self.lock();
        let asked = std::mem::take(&mut s.sync_asked);
        if s.filling.parts.is_empty() && !asked {
            return None;
        }
        let last = s.last;
        let mut group = std::mem::replace(&mut s.filling, Group { last, ..Group::default() });
        group.sync |= asked;
        s.in_flight = group.bytes;
        Some(group)
    }

    /// The group is written; its room is free again.
    pub(crate) fn done(&self, mut group: Group) {
        let mut s = self.lock();
        s.in_flight = 0;
        if let Some(part) = group.parts.pop() {
            s.spare_buffer = part.bytes;
        }
        drop(s);
        self.wake_for_room();
    }

    /// Waits for something to do. A group gathers while fewer frames wait than last time, because
    /// those who were answered together come back together.
    pub(crate) fn wait_for_work(&self, gather: Gather) -> Work {
        let mut s = self.lock();
        while s.filling.parts.is_empty() && !s.sync_asked {
            if s.stopping {
                return Work::Stop;
            }
            let idle_after = if s.mark_due { IDLE_AFTER } else { Duration::MAX };
            let timed_out;
            (s, timed_out) = self.sleep(s, 1, idle_after);
            if timed_out && s.filling.parts.is_empty() && !s.sync_asked {
                return Work::Idle;
            }
        }
        let begin = self.clock.monotonic();
        while s.filling.frames < gather.frames && !s.stopping {
            let waited = self.clock.monotonic().saturating_sub(begin);
            let Some(left) = gather.at_most.checked_sub(waited).filter(|left| !left.is_zero()) else { break };
            s = self.sleep(s, gather.frames, left).0;
        }
        Work::Group
    }

    /// Sleeps until `frames` wait, or something else comes up, or the time is over.
    fn sleep<'a>(
        &'a self,
        mut s: MutexGuard<'a, State>,
        frames: usize,
        at_most: Duration,
    ) -> (MutexGuard<'a, State>, bool) {
        s.sleeping_for = Some(frames);
        let mut timed_out = false;
        if at_most == Duration::MAX {
            s = self.work.wait(s).expect("no panic while staging");
        } else {
            let (guard, timeout) = self.work.wait_timeout(s, at_most).expect("no panic while staging");
            s = guard;
            timed_out = timeout.timed_out();
        }
        s.sleeping_for = None;
        (s, timed_out)
    }

    pub(crate) fn request_sync(&self, lsn: Lsn) {
        let mut s = self.lock();
        // What is still in the buffer goes with its group.
        if !s.filling.parts.is_empty() && s.filling.first() <= lsn {
            s.filling.sync = true;
        } else {
            s.sync_asked = true;
        }
        let wake = s.sleeping_for.is_some();
        drop(s);
        if wake {
            self.work.notify_one();
        }
    }

    pub(crate) fn skip_to(&self, index: u64) {
        let mut s = self.lock();
        assert!(index >= s.next_index);
        s.next_index = index;
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

    pub(crate) fn register_for_room(&self, waker: &Waker) {
        self.lock().for_room.push(waker.clone());
    }

    pub(crate) fn spares(&self) -> usize {
        self.lock().spares
    }

    pub(crate) fn is_disk_full(&self) -> bool {
        self.lock().disk_full
    }

    pub(crate) fn appended(&self) -> Lsn {
        self.lock().last
    }

    pub(crate) fn chain(&self) -> (Lsn, u32) {
        let s = self.lock();
        (s.last, s.last_crc)
    }

    pub(crate) fn position(&self) -> LogPosition {
        self.lock().position
    }

    pub(crate) fn log_bytes(&self) -> u64 {
        self.lock().log_bytes
    }

    pub(crate) fn term(&self) -> u32 {
        self.term
    }

    /// Refuses frames from now on, and waits for those that were admitted before: their holders
    /// never block, so that is a matter of microseconds.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.wake_for_room();
        while self.lock().reserved > 0 {
            thread::yield_now();
        }
    }

    /// Wakes those who wait for room, because there is some or because there never will be.
    pub(crate) fn wake_for_room(&self) {
        let woken = std::mem::take(&mut self.lock().for_room);
        woken.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn stop(&self) {
        self.lock().stopping = true;
        self.work.notify_all();
    }

    /// The bytes of a Mark with this content, to stand at the front of a part.
    pub(crate) fn mark_frame(&self, header: Header, durable: LogPosition) -> Vec<u8> {
        let payload = Mark { run_id: self.run_id, durable, wall: header.ts }.encode();
        let mut out = header.encode(payload.len(), crc32(&[&payload]), self.salt).to_vec();
        out.extend_from_slice(&payload);
        out
    }
}

impl Group {
    /// The first LSN that can be in it.
    fn first(&self) -> Lsn {
        Lsn(self.parts.first().map_or(self.last.0, |p| p.mark.index) + 1)
    }

    fn push(&mut self, head: &[u8], body: Body<'_>, frame_len: u64) {
        let part = self.parts.last_mut().expect("placed before");
        let payload_len = body.len();
        part.bytes.extend_from_slice(head);
        part.bytes.extend_from_slice(body.head);
        match body.shared {
            Some(shared) => part.shared.push((part.bytes.len(), shared)),
            None => part.bytes.extend_from_slice(body.tail),
        }
        let padding = payload_len.next_multiple_of(frame::ALIGN) - payload_len;
        part.bytes.extend_from_slice(&[0; frame::ALIGN][..padding]);
        part.len += frame_len;
        self.bytes += frame_len;
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
