//! Deadlines: one timer per entry, set, moved and cleared in constant time.
//!
//! A hierarchical timing wheel. A tick is 256 ms. Level 0 has a bucket for each of the next 64
//! ticks, level 1 for each 64 of those, and so on: five levels reach 8.7 years, what lies beyond
//! waits in one list. A timer is in the level of the highest six-bit digit in which its tick
//! differs from the wheel's, so it is moved at most once per level while time goes on.
//! A bitmap per level leads straight to the next bucket in use: hours of silence cost nothing.
//!
//! A timer is a node of a doubly linked list, named by the slot of its entry: moving a deadline a
//! thousand times a second leaves one node. The first node of a bucket holds the bucket's number
//! in `prev`, the last in `next`, so that they can be unlinked without knowing when they were put
//! there. New ones come last: timers of one span stand in the order of their deadlines.
//!
//! Promises: [`due`](Wheel::due) names only timers whose exact deadline has passed; it does a
//! bounded amount of work; and it loses none. A timer stays armed until it is cleared or moved,
//! so one whose entry the caller could not remove is named again by a later call. A timer is
//! named at most one tick after its deadline, or after it was set if that is later (readers compare the exact deadline themselves).
//!
//! A timer is packed into 14 bytes, so its deadline has 48 bits: a later one is kept as
//! [`DEADLINE_MAX`], in the year 10889. No clock can reach it in a way that matters, and whatever a
//! log or a snapshot says is a deadline like any other.
//!
//! Not here: the clock. The first call of `due` sets the time; timers set before it lie in the
//! far list and cost one move more.

use crate::{
    clock::UnixMillis,
    index::slab::{CHUNK_LEN, NIL, Slot},
    limits::DEADLINE_MAX,
};

/// A tick is 2^8 = 256 ms: fine enough for "at most a second late", and five levels reach far.
const TICK_BITS: u32 = 8;
const LEVELS: usize = 5;
const BUCKET_BITS: u32 = 6;
const BUCKETS: usize = 1 << BUCKET_BITS;
/// Ticks that the five levels span.
const SPAN_BITS: u32 = BUCKET_BITS * LEVELS as u32;

/// Deadlines beyond the span.
const FAR: usize = LEVELS * BUCKETS;
/// What was taken off a bucket whose time has come and is not sorted yet.
const OPEN: usize = FAR + 1;
/// Timers that were named as due and are still armed.
const FIRED: usize = FAR + 2;
const LISTS: usize = FAR + 3;

/// Marks a link that leads to no slot but is the number of the list.
const END: u32 = 1 << 31;

/// Packed to halves of words, or it would be padded to 16 bytes.
#[derive(Clone, Copy, Debug)]
#[repr(C, packed(2))]
struct Timer {
    deadline: Deadline,
    /// The slot before, `END` + list for the first, [`NIL`] while not armed.
    prev: u32,
    /// The slot after, `END` + list for the last.
    next: u32,
}

const UNARMED: Timer = Timer { deadline: Deadline([0; 3]), prev: NIL, next: NIL };

const _: () = assert!(size_of::<Timer>() == 14, "the figure in TIMER_CHARGE");

/// 48 bits, the lowest first.
#[derive(Clone, Copy, Debug)]
struct Deadline([u16; 3]);

impl Deadline {
    /// A later one than [`DEADLINE_MAX`] counts as that.
    fn of(instant: UnixMillis) -> Deadline {
        let ms = instant.0.min(DEADLINE_MAX);
        Deadline([ms as u16, (ms >> 16) as u16, (ms >> 32) as u16])
    }

    fn instant(self) -> UnixMillis {
        let [a, b, c] = self.0.map(u64::from);
        UnixMillis(a | b << 16 | c << 32)
    }
}

/// The first and the last of a list, [`NIL`] twice if there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ends {
    head: Slot,
    tail: Slot,
}

const NOBODY: Ends = Ends { head: NIL, tail: NIL };

/// The timers of one stripe.
#[derive(Debug)]
pub(crate) struct Wheel {
    /// Parallel to the chunks of the slab; a chunk exists once one of its slots had a deadline.
    chunks: Vec<Option<Box<[Timer; CHUNK_LEN]>>>,
    ends: Box<[Ends; LISTS]>,
    /// Which buckets of a level are not empty.
    occupied: [u64; LEVELS],
    /// No bucket in use lies before this tick, and every timer is placed as seen from it.
    tick: u64,
    armed: usize,
}

impl Wheel {
    pub(crate) fn new() -> Wheel {
        Wheel {
            chunks: Vec::new(),
            ends: Box::new([NOBODY; LISTS]),
            occupied: [0; LEVELS],
            tick: 0,
            armed: 0,
        }
    }

    /// Timers that are armed.
    pub(crate) fn len(&self) -> usize {
        self.armed
    }

    /// Arms the timer of `slot`, or moves it.
    pub(crate) fn set(&mut self, slot: Slot, deadline: UnixMillis) {
        self.clear(slot);
        self.allocate(slot);
        self.timer_mut(slot).deadline = Deadline::of(deadline);
        self.armed += 1;
        self.place(slot);
    }

    /// Disarms the timer of `slot` if it is armed.
    pub(crate) fn clear(&mut self, slot: Slot) {
        if self.deadline(slot).is_some() {
            self.unlink(slot);
            self.armed -= 1;
        }
    }

    /// The deadline of `slot`, if its timer is armed.
    pub(crate) fn deadline(&self, slot: Slot) -> Option<UnixMillis> {
        let chunk = self.chunks.get(slot as usize / CHUNK_LEN)?.as_ref()?;
        let timer = &chunk[slot as usize % CHUNK_LEN];
        (timer.prev != NIL).then(|| timer.deadline.instant())
    }

    /// A timer of the first bucket in use, the one that was put there first: nearly the earliest
    /// deadline. Coarser the farther away it is: a bucket spans 256 ms within the next 16 s, 16 s
    /// within the next 17 minutes, and so on.
    pub(crate) fn earliest(&self) -> Option<Slot> {
        let bucket = |level: usize| {
            let occupied = self.occupied[level];
            (occupied != 0).then(|| level * BUCKETS + occupied.trailing_zeros() as usize)
        };
        let list = [FIRED, OPEN].into_iter().chain((0..LEVELS).filter_map(bucket)).chain([FAR]);
        list.map(|list| self.ends[list].head).find(|&slot| slot != NIL)
    }

    /// Adds to `out` slots whose deadline is before `now`, doing at most `budget` units of work
    /// (a timer moved or named, a bucket opened). Returns whether work is left for another call.
    /// Time never goes back: an earlier `now` than before finds nothing new.
    pub(crate) fn due(&mut self, now: UnixMillis, budget: usize, out: &mut Vec<Slot>) -> bool {
        let now_tick = tick_of(now).max(self.tick);
        let unsorted = self.ends[OPEN] != NOBODY;
        // Those named before and still armed come again, now or in the next call.
        let again = unsorted && self.ends[FIRED] != NOBODY;
        if !unsorted {
            self.reopen(FIRED);
        }
        for _ in 0..budget {
            let slot = self.ends[OPEN].head;
            if slot != NIL {
                self.sort(slot, now_tick, out);
            } else if !self.open_next(now_tick) {
                self.tick = now_tick;
                return again;
            }
        }
        true
    }

    /// Puts an opened timer where it belongs: named if its tick is over, else in its bucket.
    fn sort(&mut self, slot: Slot, now_tick: u64, out: &mut Vec<Slot>) {
        self.unlink(slot);
        if tick_of(self.timer(slot).deadline.instant()) < now_tick {
            self.link(slot, FIRED);
            out.push(slot);
        } else {
            self.place(slot);
        }
    }

    /// Moves the time to the next bucket in use and opens it; false if it lies in the future.
    fn open_next(&mut self, now_tick: u64) -> bool {
        for level in 0..LEVELS {
            if self.occupied[level] == 0 {
                continue;
            }
            let index = self.occupied[level].trailing_zeros() as u64;
            let shift = BUCKET_BITS * level as u32;
            let base = self.tick >> (shift + BUCKET_BITS) << (shift + BUCKET_BITS);
            let start = base + (index << shift);
            // A bucket of level 0 is over when its tick is; one above is sorted when it begins.
            if start > now_tick || (level == 0 && start == now_tick) {
                return false;
            }
            assert!(start >= self.tick, "no bucket in use lies in the past");
            self.tick = start;
            self.reopen(level * BUCKETS + index as usize);
            return true;
        }
        self.open_far(now_tick)
    }

    /// With all levels empty, the far list is sorted once when a new span of 8.7 years begins.
    fn open_far(&mut self, now_tick: u64) -> bool {
        if self.ends[FAR] == NOBODY || now_tick >> SPAN_BITS == self.tick >> SPAN_BITS {
            return false;
        }
        self.tick = now_tick >> SPAN_BITS << SPAN_BITS;
        self.reopen(FAR);
        true
    }

    /// Renames a whole list to the open one, which is empty.
    fn reopen(&mut self, list: usize) {
        assert!(self.ends[OPEN] == NOBODY, "one bucket is open at a time");
        let ends = self.ends[list];
        if ends != NOBODY {
            self.timer_mut(ends.head).prev = END | OPEN as u32;
            self.timer_mut(ends.tail).next = END | OPEN as u32;
        }
        self.ends[OPEN] = ends;
        self.emptied(list);
    }

    /// Links a timer into the bucket of its deadline, as seen from the wheel's tick.
    fn place(&mut self, slot: Slot) {
        let tick = tick_of(self.timer(slot).deadline.instant()).max(self.tick);
        let differing = 63 - ((tick ^ self.tick) | 1).leading_zeros();
        let level = (differing / BUCKET_BITS) as usize;
        if level >= LEVELS {
            self.link(slot, FAR);
            return;
        }
        let index = (tick >> (BUCKET_BITS * level as u32)) as usize % BUCKETS;
        self.link(slot, level * BUCKETS + index);
        self.occupied[level] |= 1 << index;
    }

    fn link(&mut self, slot: Slot, list: usize) {
        let (end, last) = (END | list as u32, self.ends[list].tail);
        if last == NIL {
            self.ends[list].head = slot;
        } else {
            self.timer_mut(last).next = slot;
        }
        let timer = self.timer_mut(slot);
        timer.prev = if last == NIL { end } else { last };
        timer.next = end;
        self.ends[list].tail = slot;
    }

    fn unlink(&mut self, slot: Slot) {
        let Timer { prev, next, .. } = *self.timer(slot);
        assert!(prev != NIL, "only an armed timer is linked");
        match (prev & END, next & END) {
            (0, 0) => {
                self.timer_mut(prev).next = next;
                self.timer_mut(next).prev = prev;
            }
            (0, _) => {
                self.timer_mut(prev).next = next;
                self.ends[(next & !END) as usize].tail = prev;
            }
            (_, 0) => {
                self.timer_mut(next).prev = prev;
                self.ends[(prev & !END) as usize].head = next;
            }
            _ => self.emptied((prev & !END) as usize),
        }
        self.timer_mut(slot).prev = NIL;
    }

    fn emptied(&mut self, list: usize) {
        self.ends[list] = NOBODY;
        if list < FAR {
            self.occupied[list / BUCKETS] &= !(1 << (list % BUCKETS));
        }
    }

    fn allocate(&mut self, slot: Slot) {
        let chunk = slot as usize / CHUNK_LEN;
        if chunk >= self.chunks.len() {
            self.chunks.resize_with(chunk + 1, || None);
        }
        self.chunks[chunk].get_or_insert_with(|| Box::new([UNARMED; CHUNK_LEN]));
    }

    fn timer(&self, slot: Slot) -> &Timer {
        let chunk = self.chunks[slot as usize / CHUNK_LEN].as_ref();
        &chunk.expect("a linked slot has a timer")[slot as usize % CHUNK_LEN]
    }

    fn timer_mut(&mut self, slot: Slot) -> &mut Timer {
        let chunk = self.chunks[slot as usize / CHUNK_LEN].as_mut();
        &mut chunk.expect("a linked slot has a timer")[slot as usize % CHUNK_LEN]
    }

    /// Asserts that each armed timer is in exactly one list, the right one, and counted.
    pub(crate) fn check(&self) {
        let mut linked = 0;
        for list in 0..LISTS {
            let end = END | list as u32;
            let mut expected_prev = end;
            let mut at = if self.ends[list] == NOBODY { end } else { self.ends[list].head };
            while at & END == 0 {
                let timer = self.timer(at);
                assert_eq!({ timer.prev }, expected_prev, "the links of timer {at} agree");
                self.check_place(list, timer.deadline.instant());
                expected_prev = at;
                at = timer.next;
                linked += 1;
                assert!(linked <= self.armed, "no timer is linked twice");
            }
            assert_eq!(at, end, "the last timer names its list");
            let tail = if expected_prev == end { NIL } else { expected_prev };
            assert_eq!(self.ends[list].tail, tail, "the list names its last timer");
            if list < FAR {
                let bit = self.occupied[list / BUCKETS] >> (list % BUCKETS) & 1;
                assert_eq!(bit == 1, self.ends[list] != NOBODY, "the bitmap agrees with bucket {list}");
            }
        }
        assert_eq!(linked, self.armed, "each armed timer is linked");
    }

    fn check_place(&self, list: usize, deadline: UnixMillis) {
        if list >= FAR {
            return;
        }
        let shift = BUCKET_BITS * (list / BUCKETS) as u32;
        let tick = tick_of(deadline).max(self.tick);
        assert_eq!((tick >> shift) as usize % BUCKETS, list % BUCKETS, "a timer is in its bucket");
        assert_eq!(tick >> shift >> BUCKET_BITS, self.tick >> shift >> BUCKET_BITS, "and in its level");
    }
}

fn tick_of(time: UnixMillis) -> u64 {
    time.0 >> TICK_BITS
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    const TICK: u64 = 1 << TICK_BITS;

    fn due(wheel: &mut Wheel, now: u64) -> Vec<Slot> {
        let mut out = Vec::new();
        while wheel.due(UnixMillis(now), 1000, &mut out) {}
        out
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Set(Slot, u64),
        Clear(Slot),
        /// Time passes; so many units of work; are the named ones removed.
        Due(u64, usize, bool),
    }

    /// Spans of every magnitude, so that every level is met.
    fn span() -> impl Strategy<Value = u64> {
        (0u32..42, any::<u64>()).prop_map(|(bits, n)| n & ((1 << bits) - 1))
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0u32..600, span()).prop_map(|(slot, span)| Step::Set(slot, span)),
            1 => (0u32..600).prop_map(Step::Clear),
            3 => (span(), 0usize..40, prop::bool::weighted(0.9)).prop_map(|(s, b, r)| Step::Due(s, b, r)),
        ]
    }

    proptest! {
        #[test]
        fn it_names_what_a_sorted_map_would_name(
            start in prop_oneof![Just(0u64), Just(1_790_000_000_000)],
            steps in proptest::collection::vec(step(), 1..200),
        ) {
            let (mut wheel, mut model, mut now) = (Wheel::new(), BTreeMap::new(), start);
            for step in steps {
                match step {
                    // Some deadlines are in the past.
                    Step::Set(slot, span) => {
                        let deadline = (now + span).saturating_sub(1000);
                        wheel.set(slot, UnixMillis(deadline));
                        model.insert(slot, (deadline, now));
                    }
                    Step::Clear(slot) => {
                        wheel.clear(slot);
                        model.remove(&slot);
                    }
                    Step::Due(span, budget, remove) => {
                        now += span;
                        let mut named = Vec::new();
                        let more = wheel.due(UnixMillis(now), budget, &mut named);
                        prop_assert!(named.len() <= budget);
                        for slot in &named {
                            prop_assert!(model[slot].0 <= now, "named before its deadline");
                        }
                        let names: BTreeSet<_> = named.iter().copied().collect();
                        prop_assert_eq!(names.len(), named.len(), "nothing is named twice in a call");
                        for slot in named.into_iter().filter(|_| remove) {
                            wheel.clear(slot);
                            model.remove(&slot);
                        }
                        if !more && remove {
                            let late = model.iter().find(|&(_, &(deadline, set))| deadline.max(set) + TICK <= now);
                            prop_assert_eq!(late, None, "nothing is forgotten");
                        }
                    }
                }
                wheel.check();
                prop_assert_eq!(wheel.len(), model.len());
                for (&slot, &(deadline, _)) in &model {
                    prop_assert_eq!(wheel.deadline(slot), Some(UnixMillis(deadline)));
                }
            }
        }
    }

    #[test]
    fn a_deadline_that_no_log_of_ours_would_hold_is_kept_as_the_latest() {
        let mut wheel = Wheel::new();
        let latest = [DEADLINE_MAX - 1, DEADLINE_MAX, DEADLINE_MAX + 1, 1 << 53, u64::MAX];
        for (slot, deadline) in latest.into_iter().enumerate() {
            wheel.set(slot as Slot, UnixMillis(deadline));
            assert_eq!(wheel.deadline(slot as Slot), Some(UnixMillis(deadline.min(DEADLINE_MAX))));
        }
        wheel.check();
        assert!(due(&mut wheel, DEADLINE_MAX - 1).is_empty());
        assert_eq!(due(&mut wheel, u64::MAX).len(), latest.len());
        wheel.set(0, UnixMillis(u64::MAX));
        wheel.check();
    }

    #[test]
    fn a_deadline_that_has_not_passed_is_never_named() {
        let mut wheel = Wheel::new();
        wheel.set(0, UnixMillis(10 * TICK + 7));
        assert!(due(&mut wheel, 10 * TICK + 6).is_empty());
        assert!(due(&mut wheel, 11 * TICK - 1).is_empty());
        assert_eq!(due(&mut wheel, 11 * TICK), [0]);
    }

    #[test]
    fn the_earliest_of_one_span_is_the_one_that_was_set_first() {
        let mut wheel = Wheel::new();
        assert_eq!(wheel.earliest(), None);
        due(&mut wheel, 1_790_000_000_000);
        (0..100).for_each(|i| wheel.set(i, UnixMillis(1_790_003_600_000 + u64::from(i))));
        wheel.set(500, UnixMillis(1_790_000_060_000));
        wheel.set(501, UnixMillis(u64::MAX));
        for slot in (0..1).map(|_| 500).chain(0..100).chain([501]) {
            assert_eq!(wheel.earliest(), Some(slot));
            wheel.clear(slot);
        }
        wheel.check();
    }

    #[test]
    fn a_deadline_moved_often_leaves_one_timer() {
        let mut wheel = Wheel::new();
        (0..100_000).for_each(|i| wheel.set(3, UnixMillis(i * 50)));
        assert_eq!(wheel.len(), 1);
        assert!(due(&mut wheel, 99_999 * 50).is_empty());
        wheel.check();
    }

    #[test]
    fn what_is_named_and_not_removed_is_named_again() {
        let mut wheel = Wheel::new();
        wheel.set(5, UnixMillis(1));
        assert_eq!(due(&mut wheel, 10_000), [5]);
        assert_eq!(due(&mut wheel, 10_000), [5]);
        wheel.set(5, UnixMillis(20_000));
        assert!(due(&mut wheel, 15_000).is_empty());
        assert_eq!(due(&mut wheel, 30_000), [5]);
    }

    #[test]
    fn the_rest_of_a_large_bucket_comes_with_the_next_calls() {
        let mut wheel = Wheel::new();
        (0..1000).for_each(|slot| wheel.set(slot, UnixMillis(1)));
        let mut named = BTreeSet::new();
        let mut calls = 0;
        loop {
            let mut out = Vec::new();
            let more = wheel.due(UnixMillis(10_000), 100, &mut out);
            calls += 1;
            for slot in out {
                wheel.clear(slot);
                named.insert(slot);
            }
            if !more {
                break;
            }
        }
        assert_eq!(named.len(), 1000);
        assert!(calls <= 12, "{calls}");
    }

    #[test]
    fn a_jump_of_a_hundred_years_is_a_few_steps() {
        let mut wheel = Wheel::new();
        let year = 365 * 24 * 3600 * 1000;
        for slot in 0..100 {
            wheel.set(slot, UnixMillis(u64::from(slot) * year));
        }
        let mut out = Vec::new();
        assert!(!wheel.due(UnixMillis(100 * year), 400, &mut out));
        assert_eq!(out.len(), 100);
    }
}
