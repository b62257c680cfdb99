//! Whole files: missing, cut, zeroed, foreign, of an earlier time, or in each other's place. The
//! directory is opened with everything in it, or it is refused and stays as it is.

use super::*;

/// Opens it. If it is served, then whole, and only where no data can be missing.
fn judge(rest: &Rest, lab: &Lab, may_serve: bool, what: &dyn Fn() -> String) -> bool {
    let before: Tree = tree(&lab.disk);
    match Start::of(lab, what) {
        Start::Served(found, report) => {
            assert!(found == rest.values, "{}: {report:?}", what());
            assert!(may_serve, "{}: passed over, {report:?}", what());
            true
        }
        Start::Refused(error) => {
            same_tree(&before, &tree(&lab.disk), &error);
            let again = lab.open().unwrap_err();
            assert_eq!(again.to_string(), error.to_string(), "{}", what());
            false
        }
    }
}

fn rests() -> [Rest; 2] {
    [closed(16, 130), paused(16, 130)]
}

/// What is there twice or holds nothing.
fn is_spared(path: &Path) -> bool {
    let name = path.file_name().unwrap().to_string_lossy();
    name.starts_with("MANIFEST") || name.ends_with(".spare") || name == "LOCK"
}

#[test]
fn any_file_may_be_missing() {
    for rest in rests() {
        for (path, _) in rest.files() {
            let lab = rest.copy();
            assert!(lab.disk.remove(&path));
            judge(&rest, &lab, is_spared(&path), &|| format!("missing {}", path.display()));
        }
    }
}

#[test]
fn any_file_may_be_cut_or_zeroed_from_any_place_on() {
    for (rest, clean) in rests().into_iter().zip([true, false]) {
        let last = rest.last_segment();
        for (path, content) in rest.files() {
            // What nobody vouches for: the next test.
            if !clean && path == last {
                continue;
            }
            let (len, end) = (content.len(), content.iter().rposition(|b| *b != 0).map_or(0, |at| at + 1));
            let places = (0..len).step_by(509).chain([
                1,
                64,
                4095,
                4096,
                end.saturating_sub(1),
                len.saturating_sub(1),
            ]);
            for at in places.filter(|at| *at < len) {
                for zeros in [false, true] {
                    let mut damaged = content.clone();
                    damaged.truncate(at);
                    damaged.resize(if zeros { len } else { at }, 0);
                    let lab = rest.copy();
                    lab.disk.write_file(&path, &damaged);
                    let what = || format!("{} from {at} of {end} of {len}, zeros={zeros}", path.display());
                    judge(&rest, &lab, is_spared(&path) || damaged == content, &what);
                }
            }
        }
    }
}

/// Not survived, and stated as such: the end of the last segment gone after a kill, Marks and all,
/// looks like a write that was cut. Then all up to some frame is served, and nothing else.
#[test]
fn the_end_of_the_last_segment_cut_away_after_a_kill_leaves_a_prefix() {
    let lab = Lab::new(small(Fsync::Always));
    let (mut known, mut random) = (Values::new(), Random::from_seed([8; 32]));
    let engine = lab.open().unwrap();
    let mut states = vec![known.clone()];
    for i in 0..20 {
        fill(&engine, &mut known, &mut random, i % 7..i % 7 + 1, 80);
        states.push(known.clone());
    }
    engine.idle().unwrap();
    let rest = Rest::new(&lab, known);
    let last = rest.last_segment();
    let content = rest.lab.disk.read_file(&last).unwrap();
    let mut shorter = 0;
    for at in (4096..content.len()).step_by(37) {
        for zeros in [false, true] {
            let mut damaged = content[..at].to_vec();
            damaged.resize(if zeros { content.len() } else { at }, 0);
            let lab = rest.copy();
            lab.disk.write_file(&last, &damaged);
            match Start::of(&lab, &|| format!("{at} {zeros}")) {
                Start::Served(found, _) => {
                    assert!(states.contains(&found), "{at} {zeros}");
                    shorter += usize::from(found != rest.values);
                }
                Start::Refused(error) => panic!("{at} {zeros}: {error}"),
            }
        }
    }
    assert!(shorter > 50, "{shorter}");
}

#[test]
fn any_two_files_may_stand_in_each_others_place() {
    for rest in rests() {
        let files = rest.files();
        for (i, (a, of_a)) in files.iter().enumerate() {
            for (b, of_b) in &files[i + 1..] {
                let lab = rest.copy();
                lab.disk.write_file(a, of_b);
                lab.disk.write_file(b, of_a);
                let may_serve = is_spared(a) && is_spared(b);
                judge(&rest, &lab, may_serve, &|| format!("{} and {}", a.display(), b.display()));
            }
        }
    }
}

#[test]
fn any_file_may_be_one_of_another_data_set() {
    for rest in rests() {
        // The same writes under another identity.
        let lab = Lab::new(small(Fsync::Always));
        let (mut known, mut random) = (Values::new(), Random::from_seed([9; 32]));
        let engine = lab.open_seeded(99).unwrap();
        fill(&engine, &mut known, &mut random, 0..16, 130);
        engine.checkpoint().unwrap();
        fill(&engine, &mut known, &mut random, 8..34, 130);
        engine.idle().unwrap();
        let mut replaced = 0;
        for (path, content) in rest.files() {
            let suffix = path.extension();
            for (foreign, _) in lab.disk.tree().into_iter().filter(|(other, _)| other.extension() == suffix) {
                let here = rest.copy();
                let bytes = lab.disk.read_file(&foreign).unwrap();
                here.disk.write_file(&path, &bytes);
                let may_serve = is_spared(&path) || content == bytes;
                judge(&rest, &here, may_serve, &|| format!("{} is {}", path.display(), foreign.display()));
                replaced += 1;
            }
        }
        assert!(replaced > 20, "{replaced}");
    }
}

/// A MANIFEST of an earlier time, restored from somewhere: what it does not know of is found by
/// the chain; what it misses is named.
#[test]
fn the_manifest_may_be_an_old_one() {
    let manifests = ["MANIFEST-0", "MANIFEST-1"].map(|name| Path::new(DIR).join(name));
    let lab = Lab::new(small(Fsync::Always));
    let (mut known, mut random) = (Values::new(), Random::from_seed([4; 32]));
    let mut old: Vec<[Vec<u8>; 2]> = Vec::new();
    let mut note = |lab: &Lab| {
        let now = [0, 1].map(|i| lab.disk.read_file(&manifests[i]).unwrap());
        if old.last() != Some(&now) {
            old.push(now);
        }
    };
    for run in 0..3 {
        let engine = lab.open().unwrap();
        note(&lab);
        for part in 0..4u32 {
            let from = run * 40 + part * 10;
            fill(&engine, &mut known, &mut random, from..from + 25, 300);
            engine.idle().unwrap();
            note(&lab);
            if part == 1 && run > 0 {
                engine.checkpoint().unwrap();
                note(&lab);
            }
        }
        engine.close().unwrap();
        note(&lab);
    }
    let rest = Rest::new(&lab, known);
    assert!(old.len() > 12, "{}", old.len());
    let (mut served, mut refused) = (0, 0);
    for (n, pair) in old.iter().enumerate() {
        // Both, and one beside the new one.
        for which in [&[0, 1][..], &[0], &[1]] {
            let lab = rest.copy();
            which.iter().for_each(|i| lab.disk.write_file(&manifests[*i], &pair[*i]));
            let was_served = judge(&rest, &lab, true, &|| format!("MANIFEST {n} {which:?}"));
            assert!(was_served || which.len() == 2, "a newer one was whole, MANIFEST {n} {which:?}");
            if was_served { served += 1 } else { refused += 1 }
        }
    }
    assert!(served > old.len() * 2 && refused > 3, "served={served} refused={refused}");
}
