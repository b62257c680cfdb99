//! A repair keeps every frame before the damage, moves what it gives up to `lost/`, and can be cut
//! anywhere.

use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
    time::Duration,
};

use emberkeep_storage::{
    Error, ErrorKind, Fsync, UnixMillis,
    format::{checksum::Salt, snapshot::SnapshotHeader},
    offline::{
        repair::{Assessment, Exclusive, Plan},
        salvage::Change,
        verify::Verdict,
        walk::{Seen, walk},
    },
    sim::{choice, crash::CrashPoint},
    snapshot::{
        self,
        reader::{Expected, read_group},
        writer::GroupWriter,
    },
    vfs::Vfs,
};

use super::{DIR, History, Rest, state_of};
use crate::lab::{Lab, small};

/// Images per crash point where not all combinations can be tried.
const IMAGES: choice::Plan =
    choice::Plan { exhaustive_max: 64, class_max: 4, seeded: 4, garbage: 2, unsafe_overwrite: 0, seed: 0 };

fn exclusive(rest: &Rest) -> Exclusive {
    Exclusive::open(rest.vfs(), DIR.as_ref(), true).unwrap()
}

fn plan_of(exclusive: &Exclusive) -> Box<Plan> {
    match exclusive.assess(&|_, _| {}).unwrap() {
        Assessment::Damaged(plan) => plan,
        other => panic!("{other:?}"),
    }
}

fn bad(rest: &Rest) -> Error {
    match rest.verify().unwrap().verdict {
        Verdict::Bad(e) => e,
        other => panic!("{other:?}"),
    }
}

/// Damages the middle of a segment: some frames before and behind the place are whole.
fn in_the_middle_of(rest: &Rest, segment: &Path) {
    rest.edit(segment, |bytes| {
        let at = 4096 + (bytes.len() - 4096) / 2;
        bytes[at..at + 40].fill(0x5a);
    });
}

#[test]
fn what_stands_before_the_damage_is_kept_and_nothing_is_deleted() {
    let rest = Rest::killed();
    let segments = rest.segments();
    assert!(segments.len() >= 4, "{segments:?}");
    let damaged = &segments[1];
    in_the_middle_of(&rest, damaged);
    let before: Vec<_> =
        segments.iter().map(|p| (p.file_name().unwrap(), rest.disk.read_file(p).unwrap())).collect();
    let error = bad(&rest);

    let exclusive = exclusive(&rest);
    let plan = plan_of(&exclusive);
    assert_eq!(plan.cause.to_string(), error.to_string());
    let place = error.place().unwrap();
    assert_eq!(plan.cut.as_ref().map(|(path, end, _)| (path, *end)), Some((&place.file, place.offset)));
    assert_eq!(plan.moved, segments[2..]);
    assert_eq!(plan.lost, (plan.last_kept + 1, rest.history.last()));
    assert_eq!(place.lsns.unwrap().0, plan.lost.0);

    let quarantine = exclusive.repair(&plan, rest.lab().clock_wall()).unwrap();
    for (name, bytes) in &before[1..] {
        assert!(rest.disk.read_file(quarantine.join(name)).as_ref() == Some(bytes), "{name:?} is kept whole");
    }
    drop(exclusive);
    let engine = rest.lab().open().unwrap();
    assert!(state_of(&engine) == rest.history.at(plan.last_kept));
}

/// Frames behind the damage are told by key, also those whose loss brings an older value back.
#[test]
fn what_is_given_up_is_told_by_key() {
    let rest = Rest::killed();
    let segments = rest.segments();
    in_the_middle_of(&rest, &segments[segments.len() - 2]);
    let plan = plan_of(&exclusive(&rest));
    let lost: Vec<_> = rest.history.ops.iter().filter(|op| op.0 > plan.last_kept).collect();
    assert!(plan.readable.changes.len() < lost.len(), "what is damaged cannot be told");
    assert!(plan.readable.changes.len() * 2 > lost.len(), "most of it can");
    assert_eq!(plan.readable.changes_total, plan.readable.changes.len() as u64);
    for found in &plan.readable.changes {
        let (_, key, value) = lost.iter().find(|op| op.0 == found.lsn).unwrap();
        assert_eq!(key.as_bytes(), found.key);
        assert_eq!(found.change, if value.is_some() { Change::Put } else { Change::Delete });
    }
    assert!(plan.readable.changes.iter().any(|c| c.change == Change::Delete));
}

#[test]
fn without_being_told_to_nothing_is_written() {
    let rest = Rest::closed();
    in_the_middle_of(&rest, &rest.segments()[1]);
    let before = rest.disk.op_count();
    let exclusive = Exclusive::open(rest.vfs(), DIR.as_ref(), false).unwrap();
    plan_of(&exclusive);
    assert_eq!(rest.disk.op_count(), before);
}

#[test]
fn a_directory_in_use_is_not_repaired() {
    let rest = Rest::closed();
    let engine = rest.lab().open().unwrap();
    let error = Exclusive::open(rest.vfs(), DIR.as_ref(), true).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Locked);
    engine.close().unwrap();
}

#[test]
fn a_damaged_snapshot_is_beyond_repair_and_stays_as_it_is() {
    let rest = Rest::killed_behind_a_snapshot();
    let file = |path: &PathBuf| path.extension().is_some_and(|e| e == "snap");
    let path = rest.disk.tree().into_iter().map(|(path, _)| path).find(file).unwrap();
    rest.edit(&path, |bytes| bytes[90] ^= 1);
    let assessment = exclusive(&rest).assess(&|_, _| {}).unwrap();
    let Assessment::Beyond(error, why) = assessment else { panic!("{assessment:?}") };
    assert_eq!(error.place().unwrap().file, path);
    assert!(why.contains("snapshot"), "{why}");
}

/// A snapshot that was taken while somebody wrote may hold a part of the frames up to its end, and
/// nobody knows which part. Without all of them it is the state at no point in time.
#[test]
fn damage_in_frames_that_the_snapshot_holds_in_part_is_beyond_repair_and_behind_them_it_is_not() {
    let rest = Rest::killed_behind_a_snapshot();
    let begin = rest.directory().unwrap().manifest().snapshot.as_ref().unwrap().begin;
    let after: Vec<u64> = rest.history.ops.iter().map(|op| op.0).filter(|lsn| *lsn > begin).collect();
    reaching_to(&rest, after[20]);
    assert!(matches!(rest.verify().unwrap().verdict, Verdict::Clean | Verdict::Torn(_)));
    for (victim, repairable) in [(after[10], false), (after[20], false), (after[21], true)] {
        let rest = rest.copy();
        let (segment, offset) = place_of(&rest, victim);
        rest.edit(&segment, |bytes| bytes[offset] ^= 1);
        let assessment = exclusive(&rest).assess(&|_, _| {}).unwrap();
        assert_eq!(matches!(assessment, Assessment::Damaged(_)), repairable, "{assessment:?}");
        assert_eq!(matches!(assessment, Assessment::Beyond(..)), !repairable, "{assessment:?}");
    }
}

/// Writes the snapshot again, as one that was finished at this frame.
fn reaching_to(rest: &Rest, end: u64) {
    let mut manifest = rest.directory().unwrap().manifest().clone();
    let (dataset_id, salt) = (manifest.dataset_id, Salt(manifest.salt));
    let old = manifest.snapshot.clone().unwrap();
    let new = manifest.snapshot.as_mut().unwrap();
    new.end = end;
    for group in 0..old.groups.len() {
        let path = snapshot::path(Path::new(DIR), old.begin).join(format!("{group:03}.snap"));
        let other = path.with_extension("new");
        let header =
            SnapshotHeader { group: group as u16, dataset_id, begin: old.begin, begin_crc: old.begin_crc };
        let mut writer = GroupWriter::create(&rest.disk, &other, &header, salt).unwrap();
        let expected = Expected { snapshot: &old, group, dataset_id, salt };
        read_group(&rest.disk, &path, expected, &mut |entry| assert!(writer.push(&entry).is_ok())).unwrap();
        new.groups[group] = writer.finish(end, new.end_crc).unwrap();
        rest.disk.rename(&other, &path).unwrap();
    }
    for (generation, name) in ["MANIFEST-0", "MANIFEST-1"].into_iter().enumerate() {
        rest.disk.write_file(Path::new(DIR).join(name), &manifest.encode(1000 + generation as u64));
    }
}

/// Where a frame stands.
fn place_of(rest: &Rest, lsn: u64) -> (PathBuf, usize) {
    let mut found = None;
    let mut look = |seen: &Seen<'_>| {
        if seen.frame.header.kind.is_replicated() && seen.frame.header.index == lsn {
            found = Some((seen.segment, seen.offset as usize));
        }
        ControlFlow::Continue(())
    };
    walk(&rest.directory().unwrap(), &mut look, &|_, _| {}).unwrap();
    let (segment, offset) = found.unwrap();
    (Path::new(DIR).join(format!("wal/{segment:020}.wal")), offset)
}

#[test]
fn a_sound_directory_needs_no_repair() {
    for rest in Rest::all() {
        let assessment = exclusive(&rest).assess(&|_, _| {}).unwrap();
        assert!(matches!(assessment, Assessment::Sound(_)), "{assessment:?}");
    }
}

/// A start that was cut before it wrote the MANIFEST has begun a term that only the log knows of.
/// Giving that part of the log up must not make the term, or its time, begin again.
#[test]
fn a_repair_that_gives_up_a_whole_run_remembers_its_term_and_its_time() {
    let (rest, term, time) = second_run_not_in_the_manifest();
    in_the_middle_of(&rest, &rest.segments()[0]);
    let exclusive = exclusive(&rest);
    let plan = plan_of(&exclusive);
    exclusive.repair(&plan, UnixMillis(0)).unwrap();
    drop(exclusive);
    assert!(rest.directory().unwrap().manifest().clock_floor_ms >= time.0);
    assert!(rest.lab().open().unwrap().recovery().term > term);
}

/// Two runs, the second begun with another 45 million numbers skipped, as a cut in the middle of a
/// start may leave them: only the log knows of the second. Gives its term and its time, too.
fn second_run_not_in_the_manifest() -> (Rest, u64, UnixMillis) {
    let lab = Lab::new(small(Fsync::Always));
    let mut history = History::default();
    let engine = lab.open().unwrap();
    history.run(&engine, 0..60);
    engine.idle().unwrap();
    let manifests = ["MANIFEST-0", "MANIFEST-1"].map(|name| Path::new(DIR).join(name));
    let old = manifests.clone().map(|path| lab.disk.read_file(path).unwrap());
    let lab = Lab { disk: lab.disk.after_kill(), clock: lab.clock, settings: lab.settings };
    lab.pass(Duration::from_secs(1000));
    let second = lab.open_seeded(8).unwrap();
    history.run(&second, 60..90);
    second.idle().unwrap();
    let (term, time) = (second.recovery().term, lab.clock_wall());
    let rest = Rest { disk: lab.disk.after_kill(), clock: lab.clock, history };
    for (path, bytes) in manifests.iter().zip(&old) {
        rest.disk.write_file(path, bytes);
    }
    (rest.copy(), term, time)
}

/// Cut anywhere, a repair leaves a directory that a start refuses, or serves as repaired; where it
/// is refused, another repair keeps the same frames.
#[test]
fn a_power_cut_at_any_step_of_a_repair_loses_nothing_that_it_keeps() {
    for (number, damage) in damages().into_iter().enumerate() {
        let rest = damage();
        let keeps = plan_of(&exclusive(&rest)).last_kept;
        // A record of its own, so that the cuts are in the repair and nowhere else.
        let cut = rest.copy();
        let exclusive = exclusive(&cut);
        let plan = plan_of(&exclusive);
        exclusive.repair(&plan, cut.lab().clock_wall()).unwrap();
        drop(exclusive);
        let (mut served, mut again) = (0, 0);
        for point in cut.disk.crash_points() {
            for choice in point.choices(&IMAGES) {
                let label = format!("damage {number}, cut after {}, {choice}", describe(&cut, &point));
                let image = Rest { disk: point.image(&choice), ..cut.clone() };
                match image.copy().lab().open() {
                    Ok(_) => served += 1,
                    Err(e) => {
                        assert_eq!(e.kind(), ErrorKind::Corrupt, "{label}: {e}");
                        again += 1;
                        let exclusive = Exclusive::open(image.vfs(), DIR.as_ref(), true).unwrap();
                        let plan = plan_of(&exclusive);
                        assert_eq!(plan.last_kept, keeps, "{label}");
                        exclusive.repair(&plan, image.lab().clock_wall()).unwrap();
                    }
                }
                let engine = image.lab().open().unwrap_or_else(|e| panic!("{label}: {e}"));
                assert_eq!(engine.recovery().last_lsn.0, keeps, "{label}");
                assert!(state_of(&engine) == image.history.at(keeps), "{label}");
                let new = emberkeep_storage::Write::new(b"new");
                let next = engine.put("new", new).unwrap().wait().unwrap().lsn.0;
                assert!(next > image.history.last(), "{label}: {next} was handed out before");
            }
        }
        assert!(served > 0 && again > 10, "damage {number}: served={served} again={again}");
    }
}

fn describe(rest: &Rest, point: &CrashPoint) -> String {
    format!("{} ({})", point.k(), rest.disk.describe_op(point.k()))
}

/// Directories with one damage each.
fn damages() -> Vec<fn() -> Rest> {
    vec![
        || {
            let rest = Rest::killed();
            in_the_middle_of(&rest, &rest.segments()[1]);
            rest
        },
        // Files go that the MANIFEST does not miss: nothing but the fence keeps their numbers.
        || {
            let (rest, ..) = second_run_not_in_the_manifest();
            in_the_middle_of(&rest, &rest.segments()[1]);
            rest
        },
        // In the last segment: nothing is moved, only cut.
        || {
            let rest = Rest::killed();
            rest.edit(rest.segments().last().unwrap(), |bytes| bytes[4096 + 200] ^= 1);
            rest
        },
        // Missing in the middle: nothing is cut, only moved.
        || {
            let rest = Rest::closed();
            assert!(rest.disk.remove(&rest.segments()[2]));
            rest
        },
        // A header: the whole segment goes.
        || {
            let rest = Rest::closed();
            rest.edit(&rest.segments()[1], |bytes| bytes[30] ^= 1);
            rest
        },
        // Nothing of the log behind the snapshot can be read.
        || {
            let rest = Rest::killed_behind_a_snapshot();
            rest.edit(&rest.segments()[0], |bytes| bytes[60] ^= 1);
            rest
        },
        // Nothing at all can be read.
        || {
            let rest = Rest::closed();
            rest.edit(&rest.segments()[0], |bytes| bytes[0] ^= 1);
            rest
        },
    ]
}
