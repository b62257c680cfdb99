//! What the reading tools tell, also while a server writes, and that they change nothing.

use std::{ops::ControlFlow, path::Path};

use emberkeep_storage::{
    ErrorKind,
    offline::{
        Directory,
        inspect::{Fact, Soundness, inspect},
        segments::{State, log_files},
        snapshots::{self, snapshots, verify_snapshot},
        verify::{Verdict, verify},
        walk::walk,
    },
};

use super::{DIR, Rest, bad_place};

#[test]
fn the_segments_are_listed_in_order_with_their_lsns() {
    let rest = Rest::closed();
    let files = log_files(&rest.directory().unwrap()).unwrap();
    let (segments, prepared): (Vec<_>, Vec<_>) = files.iter().partition(|f| f.name.ends_with(".wal"));
    assert_eq!(segments.len(), rest.segments().len());
    assert!(segments.iter().all(|f| f.broken.is_none()), "{segments:?}");
    assert_eq!(segments.last().unwrap().state, State::Last);
    assert!(segments[..segments.len() - 1].iter().all(|f| f.state == State::Sealed));
    assert_eq!(segments[0].lsns.unwrap().0, 1);
    assert_eq!(segments.last().unwrap().lsns.unwrap().1, rest.history.last());
    for pair in segments.windows(2) {
        assert_eq!(pair[0].lsns.unwrap().1 + 1, pair[1].lsns.unwrap().0);
    }
    assert_eq!(prepared.iter().filter(|f| f.state == State::SetAside).count(), 2);
}

#[test]
fn a_missing_segment_shows_as_a_broken_chain() {
    let rest = Rest::closed();
    assert!(rest.disk.remove(&rest.segments()[1]));
    let files = log_files(&rest.directory().unwrap()).unwrap();
    assert!(files[0].broken.is_none());
    let broken = files.iter().find_map(|f| f.broken.as_ref());
    assert!(broken.unwrap().contains("missing"), "{files:?}");
}

/// No segment is there that could not follow it: only the MANIFEST tells, by the clean stop in it.
#[test]
fn a_missing_last_segment_is_listed_and_told_with_the_frames() {
    let rest = Rest::closed();
    assert!(rest.disk.remove(rest.segments().last().unwrap()));
    let directory = rest.directory().unwrap();
    let files = log_files(&directory).unwrap();
    assert_eq!(files.iter().filter(|f| f.state == State::Missing).count(), 1, "{files:?}");
    let reads = walk(&directory, &mut |_| ControlFlow::Continue(()), &|_, _| {}).unwrap();
    assert_eq!(reads.iter().filter(|read| read.bad.is_some()).count(), 1, "{reads:?}");
}

#[test]
fn every_frame_is_shown_and_damage_in_one_segment_hides_nothing_of_the_next() {
    let rest = Rest::killed();
    let count = |rest: &Rest| {
        let mut lsns = Vec::new();
        let reads = walk(
            &rest.directory().unwrap(),
            &mut |seen| {
                lsns.extend(seen.frame.header.kind.is_replicated().then_some(seen.frame.header.index));
                ControlFlow::Continue(())
            },
            &|_, _| {},
        );
        (lsns, reads.unwrap())
    };
    let (all, reads) = count(&rest);
    assert!(rest.history.ops.iter().all(|op| all.contains(&op.0)));
    assert!(reads.iter().all(|read| read.bad.is_none()), "{reads:?}");
    let damaged = rest.segments()[1].clone();
    rest.edit(&damaged, |bytes| bytes[5000] ^= 1);
    let (some, reads) = count(&rest);
    assert_eq!(reads.iter().filter(|read| read.bad.is_some()).count(), 1);
    assert!(some.len() < all.len());
    assert_eq!(some.last(), all.last());
}

/// A server that writes is no damage: what is half written is not looked at, and everything sealed
/// is; and the server does not notice.
#[test]
fn a_live_directory_is_judged_up_to_its_last_segment() {
    let rest = Rest::closed();
    let engine = rest.lab().open().unwrap();
    let mut history = rest.history.clone();
    history.run(&engine, 300..400);
    let directory = rest.directory().unwrap();
    assert!(directory.in_use());
    let last = rest.segments().last().unwrap().clone();
    assert_eq!(log_files(&directory).unwrap().iter().filter(|f| f.state == State::Active).count(), 1);
    let before = rest.disk.op_count();
    let check = verify(directory, true, &|_, _| {}).unwrap();
    assert!(check.in_use && matches!(check.verdict, Verdict::Clean), "{check:?}");
    assert_eq!(rest.disk.op_count(), before);
    rest.disk.flip_bit(&last, 4096 + 60, 1);
    assert!(matches!(rest.verify().unwrap().verdict, Verdict::Clean));
    let sealed = rest.segments()[1].clone();
    rest.disk.flip_bit(&sealed, 5000, 1);
    assert_eq!(bad_place(&rest), sealed);
}

#[test]
fn looking_changes_nothing_and_holds_nothing() {
    let rest = Rest::killed_behind_a_snapshot();
    assert!(rest.disk.remove(Path::new(DIR).join("LOCK")));
    let before = (rest.disk.op_count(), rest.disk.tree());
    let directory = rest.directory().unwrap();
    log_files(&directory).unwrap();
    snapshots(&directory).unwrap();
    verify_snapshot(rest.directory().unwrap(), &|_, _| {}).unwrap();
    walk(&directory, &mut |_| ControlFlow::Continue(()), &|_, _| {}).unwrap();
    rest.verify().unwrap();
    assert_eq!((rest.disk.op_count(), rest.disk.tree()), before);
    rest.lab().open().unwrap();
}

#[test]
fn what_is_no_data_directory_is_refused_and_stays_empty() {
    let rest = Rest::closed();
    let error = Directory::open(rest.vfs(), Path::new("/")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    let error = Directory::open(rest.vfs(), Path::new("/nowhere")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io, "{error}");
    for name in ["MANIFEST-0", "MANIFEST-1"] {
        assert!(rest.disk.remove(Path::new(DIR).join(name)));
    }
    assert_eq!(rest.directory().unwrap_err().kind(), ErrorKind::Corrupt, "data without a MANIFEST is damage");
}

#[test]
fn a_snapshot_is_listed_and_every_bit_of_it_counts() {
    let rest = Rest::killed_behind_a_snapshot();
    let found = snapshots(&rest.directory().unwrap()).unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].state, snapshots::State::Current);
    let entries = verify_snapshot(rest.directory().unwrap(), &|_, _| {}).unwrap();
    assert_eq!(found[0].entries, Some(entries));
    let file = Path::new(DIR).join("snap").join(&found[0].name).join("001.snap");
    let len = rest.disk.read_file(&file).unwrap().len();
    for at in (0..len).step_by(37) {
        rest.edit(&file, |bytes| bytes[at] ^= 4);
        let outcome = verify_snapshot(rest.directory().unwrap(), &|_, _| {});
        assert!(outcome.is_err(), "at={at}");
        let inspected = inspect(&rest.vfs(), &file, None);
        let whole = inspected.is_ok_and(|i| i.soundness == Soundness::Whole);
        assert!(!whole, "at={at}");
        rest.edit(&file, |bytes| bytes[at] ^= 4);
    }
    assert!(rest.disk.remove(&file));
    assert_eq!(
        verify_snapshot(rest.directory().unwrap(), &|_, _| {}).unwrap_err().kind(),
        ErrorKind::Corrupt
    );
}

#[test]
fn every_kind_of_file_is_recognised_and_no_secret_is_told() {
    let rest = Rest::killed_behind_a_snapshot();
    let salt = rest.directory().unwrap().manifest().salt;
    let mut kinds = std::collections::BTreeSet::new();
    for (path, _) in rest.disk.tree() {
        if rest.disk.read_file(&path).is_none() || path.ends_with("LOCK") {
            continue;
        }
        let found = inspect(&rest.vfs(), &path, None).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(found.soundness, Soundness::Whole, "{}", path.display());
        for (name, fact) in &found.facts {
            let text = format!("{fact:?}");
            assert!(!text.contains(&salt.to_string()) && !text.contains(&format!("{salt:x}")), "{name}");
        }
        kinds.insert(found.what);
    }
    assert_eq!(kinds.len(), 4, "{kinds:?}");
    rest.disk.write_file(Path::new("/foreign"), b"not ours at all");
    assert_eq!(inspect(&rest.vfs(), Path::new("/foreign"), None).unwrap_err().kind(), ErrorKind::Unsupported);
}

#[test]
fn a_snapshot_file_far_from_its_manifest_says_that_it_cannot_be_checked() {
    let rest = Rest::killed_behind_a_snapshot();
    let file = rest.disk.tree().into_iter().map(|f| f.0).find(|p| p.ends_with("000.snap")).unwrap();
    let away = Path::new("/away.snap");
    rest.disk.write_file(away, &rest.disk.read_file(&file).unwrap());
    let found = inspect(&rest.vfs(), away, None).unwrap();
    assert!(matches!(found.soundness, Soundness::Unchecked(_)), "{found:?}");
    let found = inspect(&rest.vfs(), away, Some(DIR.as_ref())).unwrap();
    assert_eq!(found.soundness, Soundness::Whole);
    assert!(found.facts.iter().any(|f| f.0 == "entries" && matches!(f.1, Fact::Number(n) if n > 0)));
}
