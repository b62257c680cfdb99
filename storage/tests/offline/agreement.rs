//! What the tools say is what a start does.

use std::path::PathBuf;

use emberkeep_storage::{
    ErrorKind,
    offline::{
        repair::{Assessment, Exclusive},
        verify::Verdict,
    },
};

use super::{DIR, Rest, state_of};

/// A small generator: its numbers depend on the seed alone.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((x ^ (x >> 31)) % n as u64) as usize
    }
}

/// Does something bad to one file, and tells what.
fn damage(rest: &Rest, random: &mut Random) -> String {
    let segments = rest.segments();
    let any: Vec<PathBuf> = rest
        .disk
        .tree()
        .into_iter()
        .map(|(path, _)| path)
        .filter(|path| path.extension().is_none_or(|e| e != "spare"))
        .filter(|path| path.file_name().is_some_and(|name| name != "LOCK"))
        .filter(|path| rest.disk.read_file(path).is_some())
        .collect();
    let files = if random.below(4) > 0 { &segments } else { &any };
    let path = &files[random.below(files.len())];
    let len = rest.disk.read_file(path).unwrap().len();
    if len == 0 {
        return format!("nothing to {}", path.display());
    }
    let at = if random.below(5) == 0 { random.below(len.min(4096)) } else { random.below(len) };
    let span = 1 + random.below(700);
    let noise = random.below(256) as u8;
    let end = (at + span).min(len);
    let what = random.below(9);
    match what {
        0..=2 => rest.edit(path, |bytes| bytes[at] ^= 1 << (noise % 8)),
        3 => rest.edit(path, |bytes| bytes[at..end].fill(0)),
        4 => rest.edit(path, |bytes| bytes[at..end].fill(noise)),
        5 => rest.edit(path, |bytes| bytes.truncate(at)),
        6 => rest.edit(path, |bytes| bytes.resize(len + span, noise)),
        7 => assert!(rest.disk.remove(path)),
        _ => {
            let other = &segments[random.below(segments.len())];
            let (a, b) = (rest.disk.read_file(path).unwrap(), rest.disk.read_file(other).unwrap());
            rest.disk.write_file(path, &b);
            rest.disk.write_file(other, &a);
        }
    }
    format!("damage {what} at {at} of {} len={len} span={span} noise={noise}", path.display())
}

/// A start is refused exactly where `verify` says that it is bad, with the same words; and after a
/// repair it is not refused, and what is there is the state after the last frame that the plan
/// keeps. Every damage that is not beyond repair is looked at in that way.
#[test]
fn verify_says_what_a_start_does_and_a_repair_leaves_the_state_after_a_frame() {
    let rests = Rest::all();
    let (mut clean, mut torn, mut bad, mut repaired, mut beyond) = (0, 0, 0, 0, 0);
    for seed in 0..1200u64 {
        let rest = rests[seed as usize % rests.len()].copy();
        let mut random = Random(seed);
        let mut told = damage(&rest, &mut random);
        if random.below(3) == 0 {
            told = format!("{told}; {}", damage(&rest, &mut random));
        }
        let label = format!("seed={seed} {told}");
        let check = rest.verify();
        let start = rest.copy().lab().open();
        match (&check, &start) {
            (Err(e), Err(s)) => {
                assert_eq!(e.kind(), s.kind(), "{label}: {e}, and the start: {s}");
                continue;
            }
            (Ok(check), Ok(engine)) => match &check.verdict {
                Verdict::Clean => clean += u32::from(engine.recovery().torn_bytes == 0),
                Verdict::Torn(t) => torn += u32::from(engine.recovery().torn_bytes == t.bytes),
                Verdict::Bad(e) => panic!("{label}: a start is not refused, {e}"),
            },
            (Ok(check), Err(s)) => match &check.verdict {
                Verdict::Bad(e) => assert_eq!(e.to_string(), s.to_string(), "{label}"),
                verdict => panic!("{label}: a start is refused, {s}, and not {verdict:?}"),
            },
            (Err(e), Ok(_)) => panic!("{label}: a start is not refused, {e}"),
        }
        bad += u32::from(start.is_err());
        if let Err(s) = start {
            assert_eq!(s.kind(), ErrorKind::Corrupt, "{label}: {s}");
            match mended(&rest, &label) {
                true => repaired += 1,
                false => beyond += 1,
            }
        }
    }
    assert!(
        clean > 10 && torn > 10 && bad > 100 && repaired > 100 && beyond > 5,
        "clean={clean} torn={torn} bad={bad} repaired={repaired} beyond={beyond}"
    );
}

/// False if that is not to be repaired.
fn mended(rest: &Rest, label: &str) -> bool {
    let exclusive = Exclusive::open(rest.vfs(), DIR.as_ref(), true).unwrap();
    let plan = match exclusive.assess(&|_, _| {}).unwrap_or_else(|e| panic!("{label}: {e}")) {
        Assessment::Damaged(plan) => plan,
        Assessment::Beyond(..) => return false,
        Assessment::Sound(verdict) => panic!("{label}: a start is refused, and not {verdict:?}"),
    };
    exclusive.repair(&plan, rest.lab().clock_wall()).unwrap_or_else(|e| panic!("{label}: {e}"));
    drop(exclusive);
    let check = rest.verify().unwrap();
    assert!(matches!(check.verdict, Verdict::Clean), "{label}: {check:?}");
    let engine = rest.lab().open().unwrap_or_else(|e| panic!("{label}: {e}"));
    assert_eq!(engine.recovery().last_lsn.0, plan.last_kept, "{label}");
    assert!(state_of(&engine) == rest.history.at(plan.last_kept), "{label}: kept up to {}", plan.last_kept);
    let next = engine.put("new", emberkeep_storage::Write::new(b"new")).unwrap().wait().unwrap().lsn.0;
    assert!(next > rest.history.last(), "{label}: {next} was handed out before");
    true
}
