//! Where frames get their place in the order, and wait for the committer.
//!
//! Two buffers: appenders fill one under a short lock while the committer writes the other. The
//! place of every frame (segment and offset) is fixed here, so rotation is a function of the
//! sequence of frames and nothing else. No I/O happens under this lock, and nothing blocks:
//! room is asked for before and then guaranteed ([`room`]). Who wakes the committer: [`work`].

pub mod group;
pub mod room;
pub mod work;

use std::{sync::Arc, task::Waker};

pub use self::{
    group::{Body, SharedBytes},
    room::{Permit, Urgency},
};
pub(crate) use self::{
    group::{Group, MARK_FRAME_LEN, Part},
    room::{SPARES, SPARES_SET_ASIDE},
    work::{Gather, Work},
};

use crate::{
    clock::{Clock, UnixMillis},
    format::{
        checksum::{Salt, crc32},
        frame::{Header, Kind},
        payload::Mark,
        segment::{SEGMENT_HEADER_LEN, SegmentHeader},
    },
    lsn::{LogPosition, Lsn},
    settings::Fsync,
    sync::{AtomicU64, Condvar, Mutex, MutexGuard, Ordering, thread},
    wal::{Config, Tail, settle::Active, staging::work::Sleep},
};

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
    /// The end of the group in flight, if that will be synced.
    synced_next: Option<Lsn>,
    log_bytes: u64,
    /// Somebody waits for what has gathered.
    asked: bool,
    /// And for the disk to have what was written before.
    sync_asked: bool,
    mark_due: bool,
    closed: bool,
    stopping: bool,
    sleep: Sleep,
    for_room: Vec<Waker>,
}

/// The order of the log, and what of it waits to be written.
#[derive(Debug)]
pub(crate) struct Staging {
    state: Mutex<State>,
    work: Condvar,
    salt: Salt,
    dataset_id: [u8; 16],
    run_id: [u8; 16],
    /// The run that began the segment in which this one goes on, if it does.
    resumed_run_id: Option<[u8; 16]>,
    term: u32,
    tail: Tail,
    segment_bytes: u64,
    staging_bytes: u64,
    marks_when_idle: bool,
    /// There is no log: frames get their numbers, and are forgotten.
    discards: Option<AtomicU64>,
    clock: Arc<dyn Clock>,
}

impl Staging {
    pub(crate) fn new(
        config: &Config,
        tail: Tail,
        active: Option<&Active>,
        term: u32,
        spares: usize,
    ) -> Staging {
        let state = State {
            filling: Group { last: Lsn(tail.index), ..Group::default() },
            spare_buffer: Vec::new(),
            last: Lsn(tail.index),
            last_crc: tail.crc,
            next_index: tail.index + 1,
            ts: tail.ts,
            position: tail.end,
            // Where there is no room, the first frame rotates.
            capacity: active.map_or(0, |active| active.capacity),
            spares,
            own_ready: None,
            own_wanted: 0,
            own_taken: false,
            disk_full: false,
            reserved: 0,
            in_flight: 0,
            synced_next: None,
            log_bytes: 0,
            asked: false,
            sync_asked: false,
            mark_due: false,
            closed: false,
            stopping: false,
            sleep: Sleep::Awake,
            for_room: Vec::new(),
        };
        Staging {
            state: Mutex::new(state),
            work: Condvar::new(),
            salt: config.salt,
            dataset_id: config.dataset_id,
            run_id: config.run_id,
            resumed_run_id: active.map(|active| active.run_id),
            term,
            tail,
            segment_bytes: config.segment_bytes,
            staging_bytes: config.staging_bytes,
            marks_when_idle: config.fsync != Fsync::Never,
            discards: (config.fsync == Fsync::Off).then(|| AtomicU64::new(tail.index)),
            clock: config.clock.clone(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics under the staging lock")
    }

    /// Puts a frame into the order. It is committed when somebody [asks](Self::ask), or when nobody has
    /// for a while.
    pub(crate) fn append(&self, permit: &mut Permit<'_>, kind: Kind, body: Body<'_>, now: UnixMillis) -> Lsn {
        assert!(kind.is_replicated());
        if let Some(last) = &self.discards {
            return Lsn(last.fetch_add(1, Ordering::Relaxed) + 1);
        }
        let frame_len = body.frame_len();
        let mut s = self.lock();
        permit.spend(&mut s, frame_len);
        s.ts = s.ts.max(now);
        let lsn = Lsn(s.next_index);
        // The small frames beside the one that was admitted are removals.
        let own_segment = if kind == Kind::Remove { None } else { permit.take_own_segment() };
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
        group.sync |= permit.wants_disk();
        // The committer looks after frames that nobody asks for; from here on it needs its clock.
        self.wake(s, |sleep| sleep == Sleep::UntilWoken);
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
        s.asked = false;
        let sync_asked = std::mem::take(&mut s.sync_asked);
        if s.filling.parts.is_empty() && !sync_asked {
            return None;
        }
        let last = s.last;
        let mut group = std::mem::replace(&mut s.filling, Group { last, ..Group::default() });
        group.sync |= sync_asked;
        s.in_flight = group.bytes;
        s.synced_next = group.sync.then_some(last);
        Some(group)
    }

    /// The group is written; its room is free again.
    pub(crate) fn done(&self, mut group: Group) {
        let mut s = self.lock();
        s.in_flight = 0;
        s.synced_next = None;
        if let Some(part) = group.parts.pop() {
            s.spare_buffer = part.bytes;
        }
        drop(s);
        self.wake_for_room();
    }

    pub(crate) fn skip_to(&self, index: u64) {
        let mut s = self.lock();
        assert!(index >= s.next_index);
        s.next_index = index;
    }

    /// There is no log.
    pub(crate) fn discards(&self) -> bool {
        self.discards.is_some()
    }

    pub(crate) fn appended(&self) -> Lsn {
        if let Some(last) = &self.discards {
            return Lsn(last.load(Ordering::Relaxed));
        }
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

    /// Memory that the buffers hold, filled or not. Large values are not in it: the buffers only
    /// refer to them.
    pub(crate) fn buffer_bytes(&self) -> u64 {
        let s = self.lock();
        let filling: usize = s.filling.parts.iter().map(|part| part.bytes.capacity()).sum();
        (filling + s.spare_buffer.capacity()) as u64 + s.in_flight
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

    /// The bytes of a Mark with this content, to stand at the front of a part of this segment.
    pub(crate) fn mark_frame(&self, header: Header, segment: u64, durable: LogPosition) -> Vec<u8> {
        // The Marks of one segment carry one id, whoever goes on writing it: that of its header.
        let resumed = self.resumed_run_id.filter(|_| segment == self.tail.end.segment);
        let run_id = resumed.unwrap_or(self.run_id);
        let payload = Mark { run_id, durable, wall: header.ts }.encode();
        let mut out = header.encode(payload.len(), crc32(&[&payload]), self.salt).to_vec();
        out.extend_from_slice(&payload);
        out
    }
}
