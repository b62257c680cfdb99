//! Every bit of a small directory turns over at rest, one at a time, and the directory is opened.

use std::{collections::BTreeMap, ops::Range};

use emberkeep_storage::format::{
    checksum::Salt,
    frame::{self, Kind},
    segment::{SEGMENT_HEADER_LEN, SegmentHeader},
};

use super::*;

/// Zeros in a row from this many on are space that holds nothing; of those, some.
const ZEROS: usize = 64;
/// Each so manyth byte of them. Odd against everything that has a length here.
const ZEROS_STEP: usize = 89;

/// One bit.
type Flip = (PathBuf, usize, u8);

/// Every bit of the content, and some of the zeros between and behind it.
fn flips(rest: &Rest) -> Vec<Flip> {
    let mut flips = Vec::new();
    for (path, content) in rest.files() {
        for range in zeros(&content) {
            let some = range.step_by(ZEROS_STEP).map(|at| (path.clone(), at, (at % 8) as u8));
            flips.extend(some);
        }
        let holes = zeros(&content);
        let holds_something = |at: &usize| !holes.iter().any(|hole| hole.contains(at));
        for at in (0..content.len()).filter(holds_something) {
            flips.extend((0..8).map(|bit| (path.clone(), at, bit)));
        }
    }
    flips
}

fn zeros(content: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut from = 0;
    for (at, byte) in content.iter().chain([&1]).enumerate() {
        if *byte != 0 {
            if at - from >= ZEROS {
                found.push(from..at);
            }
            from = at + 1;
        }
    }
    found
}

/// Opens a copy with each of them turned over, in as many threads as there are cores. Counts, by
/// file, what `judge` made of it.
fn each(rest: &Rest, flips: &[Flip], judge: &(dyn Fn(&Flip, Start) -> &'static str + Sync)) -> Tally {
    let one = |flip: &Flip| {
        let (path, at, bit) = flip;
        let what = || format!("file={} offset={at} bit={bit}", path.display());
        let lab = rest.copy();
        lab.disk.flip_bit(path, *at as u64, *bit);
        let start = Start::of(&lab, &what);
        if let Start::Refused(error) = &start {
            // The damage is told where it is, or before.
            let named = error.place().is_none_or(|place| place.offset <= *at as u64);
            assert!(named && error.to_string().contains(&*path.to_string_lossy()), "{}: {error}", what());
        }
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        (judge(flip, start), path.extension().map_or(name.clone(), |e| e.to_string_lossy().into_owned()))
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut tally = Tally::new();
    std::thread::scope(|scope| {
        let one = &one;
        let share = |n: usize| move || flips.iter().skip(n).step_by(threads).map(one).collect::<Vec<_>>();
        let running: Vec<_> = (0..threads).map(|n| scope.spawn(share(n))).collect();
        for outcome in running.into_iter().flat_map(|thread| thread.join().unwrap()) {
            *tally.entry(outcome).or_default() += 1;
        }
    });
    println!("flips={} {tally:?}", flips.len());
    tally
}

type Tally = BTreeMap<(&'static str, String), u32>;

/// Files in which a bit may turn over and nothing is amiss: what is there twice, and what holds
/// nothing.
fn is_spared(path: &Path) -> bool {
    let name = path.file_name().unwrap().to_string_lossy();
    name.starts_with("MANIFEST") || name.ends_with(".spare") || name == "LOCK"
}

/// I12, after a clean stop: refused, or harmless where harm is impossible; exhaustively.
#[test]
fn no_bit_that_turns_over_after_a_clean_stop_is_served_or_passed_over() {
    let rest = closed(16, 130);
    let flips = flips(&rest);
    assert!(flips.len() > 100_000, "{}", flips.len());
    let tally = each(&rest, &flips, &|flip, start| stays_out(&rest, flip, start));
    assert!(tally.keys().any(|(outcome, file)| (*outcome, &**file) == ("refused", "wal")), "{tally:?}");
    assert!(tally.keys().any(|(outcome, file)| (*outcome, &**file) == ("refused", "snap")), "{tally:?}");
}

fn stays_out(rest: &Rest, flip: &Flip, start: Start) -> &'static str {
    match start {
        Start::Refused(_) => "refused",
        Start::Served(found, report) => {
            assert!(found == rest.values && report.torn_bytes == 0, "{flip:?}: {report:?}");
            assert!(is_spared(&flip.0), "{flip:?} was passed over");
            "harmless"
        }
    }
}

/// A larger directory, by sampling: several blocks, several sealed segments.
#[test]
fn no_bit_of_a_larger_directory_is_served_or_passed_over() {
    let rest = closed(60, 700);
    let all: Vec<_> = rest.files().into_iter().filter(|(path, _)| !is_spared(path)).collect();
    let mut random = Random::from_seed([5; 32]);
    let mut below = |n: usize| (random.next_u64() % n as u64) as usize;
    let some: Vec<Flip> = (0..6000)
        .map(|_| {
            let (path, content) = &all[below(all.len())];
            (path.clone(), below(content.len()), below(8) as u8)
        })
        .collect();
    let tally = each(&rest, &some, &|flip, start| stays_out(&rest, flip, start));
    assert!(tally.keys().all(|(outcome, _)| *outcome == "refused"), "{tally:?}");
}

/// Killed in a pause: everything but the last Mark is vouched for, and that holds no data.
#[test]
fn no_bit_that_turns_over_after_a_kill_in_a_pause_is_served_or_passed_over() {
    let rest = paused(6, 60);
    let last = last_segment(&rest);
    let end = end_of(&last);
    let tally = each(&rest, &flips(&rest), &|(path, at, bit), start| match start {
        Start::Refused(_) => "refused",
        Start::Served(found, report) => {
            assert!(found == rest.values, "{} {at} {bit}: {report:?}", path.display());
            // The Mark itself, or what is behind it: cut, and told.
            let behind = *path == last.path && *at >= end.last;
            assert_eq!(behind, report.torn_bytes > 0, "{} {at} {bit}: {report:?}", path.display());
            assert!(behind || is_spared(path), "{} {at} {bit} was passed over", path.display());
            if behind { "cut" } else { "harmless" }
        }
    });
    assert!(tally.keys().any(|(outcome, _)| *outcome == "cut"), "{tally:?}");
}

/// Killed at once: nobody vouches for the last group. A flip in it looks like a write that was cut
/// and is told as one; what is before it is served, and nothing else ever is.
#[test]
fn a_bit_that_turns_over_in_the_unvouched_last_group_is_told_as_a_cut() {
    let (rest, states) = killed_at_once();
    let last = last_segment(&rest);
    let end = end_of(&last);
    let tally = each(&rest, &flips(&rest), &|(path, at, bit), start| match start {
        Start::Refused(_) => {
            assert!(*path != last.path || *at < end.group, "{at} {bit}: refused without a witness");
            "refused"
        }
        Start::Served(found, report) if *path == last.path => {
            assert!(report.torn_bytes > 0, "{at} {bit} was passed over");
            // So many frames of the group stand before the flip.
            let whole = end.frames.iter().filter(|frame| frame.end <= *at).count();
            assert!(*at >= end.group && found == states[whole], "{at} {bit}: {report:?}");
            "cut"
        }
        Start::Served(found, report) => {
            let unchanged = found == rest.values && report.torn_bytes == 0;
            assert!(unchanged && is_spared(path), "{} {at} {bit}: {report:?}", path.display());
            "harmless"
        }
    });
    let cut = tally.iter().find(|((outcome, _), _)| *outcome == "cut");
    assert!(cut.is_some_and(|(_, n)| *n > 1000), "{tally:?}");
}

/// The state before the last group and after each of its frames.
fn killed_at_once() -> (Rest, Vec<Values>) {
    let lab = Lab::new(small(Fsync::Always));
    let (mut known, mut random) = (Values::new(), Random::from_seed([3; 32]));
    let engine = lab.open().unwrap();
    fill(&engine, &mut known, &mut random, 0..6, 60);
    let mut states = vec![known.clone()];
    let mut group = Vec::new();
    for i in 4..8 {
        let (key, value) = (format!("key-{i:03}"), noise(&mut random, 60));
        group.push(put(&engine, &key, &value));
        known.insert(key, value);
        states.push(known.clone());
    }
    for commit in group {
        commit.wait().unwrap();
    }
    (Rest::new(&lab, known), states)
}

struct LastSegment {
    path: PathBuf,
    bytes: Vec<u8>,
}

fn last_segment(rest: &Rest) -> LastSegment {
    let path = rest.last_segment();
    let bytes = rest.lab.disk.read_file(&path).unwrap();
    LastSegment { path, bytes }
}

/// The end of the log.
struct End {
    /// Where the last frame begins.
    last: usize,
    /// Where the last group begins, with its Mark.
    group: usize,
    /// The frames behind that Mark.
    frames: Vec<Range<usize>>,
}

fn end_of(segment: &LastSegment) -> End {
    let salt: Salt = SegmentHeader::decode(&segment.bytes).unwrap().salt;
    let mut end = End { last: 0, group: 0, frames: Vec::new() };
    let mut at = SEGMENT_HEADER_LEN;
    while let Ok(frame) = frame::decode(&segment.bytes[at..], salt) {
        end.last = at;
        let range = at..at + frame.disk_len();
        at = range.end;
        if frame.header.kind == Kind::Mark {
            (end.group, end.frames) = (range.start, Vec::new());
        } else {
            end.frames.push(range);
        }
    }
    end
}
