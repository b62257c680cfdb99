//! One image among those that a crash point allows, in a form that can be printed and read back.
//!
//! A [`Choice`] says for each [`Unit`] of a crash point which version the disk holds. A failing test
//! prints the seed of its workload, the crash point and the choice; `choice.parse()` brings the
//! image back. [`Plan`] picks the choices to try.

use std::{fmt, str::FromStr};

use super::{
    crash::CrashPoint,
    units::{SECTOR, Unit},
};

/// Which image of a crash point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Only what is durable.
    None,
    /// Everything arrived.
    All,
    /// One unit arrived, nothing else.
    OnlyNew(usize),
    /// One unit did not arrive, everything else did.
    OnlyOld(usize),
    /// The first so many units arrived, nothing else.
    Prefix(usize),
    /// The last so many units arrived, nothing else.
    Suffix(usize),
    /// The version of each unit.
    Mask(Vec<usize>),
    /// A version of each unit drawn from the seed.
    Seeded(u64),
    /// Like `Seeded`, and sectors hold garbage (at least one, if one is un-synced) from some byte on,
    /// not before the first one that an un-synced write touches.
    Garbage(u64),
    /// Like `Garbage`, but from the first byte of the sector on, durable or not: a disk that breaks
    /// the assumption of powersafe overwrite. The loss must be reported.
    UnsafeOverwrite(u64),
}

/// What becomes of one unit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pick {
    pub(super) version: usize,
    pub(super) garbage: Option<Garbage>,
}

/// Garbage in one sector.
#[derive(Clone, Copy, Debug)]
pub(super) struct Garbage {
    /// First spoiled byte within the sector.
    pub(super) from: u64,
    seed: u64,
}

impl Garbage {
    /// Noise most of the time; sometimes what an erased block shows.
    pub(super) fn fill(self, bytes: &mut [u8]) {
        let mut random = Random(self.seed);
        match random.below(8) {
            0 => bytes.fill(0),
            1 => bytes.fill(0xff),
            _ => bytes.iter_mut().for_each(|byte| *byte = random.next() as u8),
        }
    }
}

impl Choice {
    /// One pick per unit.
    pub(super) fn picks(&self, units: &[Unit]) -> Vec<Pick> {
        let arrived = |arrived: &dyn Fn(usize) -> bool| {
            let version = |(i, unit): (usize, &Unit)| if arrived(i) { unit.versions() - 1 } else { 0 };
            units.iter().enumerate().map(version).map(Pick::clean).collect()
        };
        match self {
            Choice::None => arrived(&|_| false),
            Choice::All => arrived(&|_| true),
            Choice::OnlyNew(unit) => arrived(&|i| i == *unit),
            Choice::OnlyOld(unit) => arrived(&|i| i != *unit),
            Choice::Prefix(count) => arrived(&|i| i < *count),
            Choice::Suffix(count) => arrived(&|i| i + count >= units.len()),
            Choice::Mask(versions) => {
                assert_eq!(versions.len(), units.len(), "the mask is for another crash point");
                let known = units.iter().zip(versions).all(|(unit, version)| *version < unit.versions());
                assert!(known, "the mask is for another crash point");
                versions.iter().copied().map(Pick::clean).collect()
            }
            Choice::Seeded(seed) => seeded(&mut Random(*seed), units),
            Choice::Garbage(seed) => spoiled(*seed, units, true),
            Choice::UnsafeOverwrite(seed) => spoiled(*seed, units, false),
        }
    }
}

impl Pick {
    fn clean(version: usize) -> Pick {
        Pick { version, garbage: None }
    }
}

/// With few things arriving, many, or half of them: a fair coin alone would leave both ends of a
/// long list of units untried.
fn seeded(random: &mut Random, units: &[Unit]) -> Vec<Pick> {
    let eighths = [1, 4, 7][random.below(3) as usize];
    let draw = |unit: &Unit| {
        let newest = unit.versions() as u64 - 1;
        let version = match (random.below(8) < eighths, random.below(2)) {
            (false, _) => 0,
            (true, 0) => newest,
            (true, _) => 1 + random.below(newest),
        };
        Pick::clean(version as usize)
    };
    units.iter().map(draw).collect()
}

fn spoiled(seed: u64, units: &[Unit], powersafe: bool) -> Vec<Pick> {
    let mut random = Random(seed);
    let mut picks = seeded(&mut random, units);
    let sectors: Vec<(usize, u64)> =
        units.iter().enumerate().filter_map(|(i, unit)| Some((i, unit.first_byte()?))).collect();
    if sectors.is_empty() {
        return picks;
    }
    let always = random.below(sectors.len() as u64) as usize;
    for (n, (unit, first_byte)) in sectors.into_iter().enumerate() {
        let later = random.below(2) * random.below(SECTOR - first_byte);
        let seed = random.next();
        if n == always || random.below(2) == 0 {
            let from = if powersafe { first_byte + later } else { 0 };
            picks[unit].garbage = Some(Garbage { from, seed });
        }
    }
    picks
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Choice::None => f.write_str("none"),
            Choice::All => f.write_str("all"),
            Choice::OnlyNew(n) => write!(f, "only-new:{n}"),
            Choice::OnlyOld(n) => write!(f, "only-old:{n}"),
            Choice::Prefix(n) => write!(f, "prefix:{n}"),
            Choice::Suffix(n) => write!(f, "suffix:{n}"),
            Choice::Mask(versions) => {
                let versions: Vec<String> = versions.iter().map(usize::to_string).collect();
                write!(f, "mask:{}", versions.join(","))
            }
            Choice::Seeded(seed) => write!(f, "seeded:{seed}"),
            Choice::Garbage(seed) => write!(f, "garbage:{seed}"),
            Choice::UnsafeOverwrite(seed) => write!(f, "unsafe-overwrite:{seed}"),
        }
    }
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (class, argument) = text.split_once(':').unwrap_or((text, ""));
        let unknown = || format!("not a choice: {text}");
        let count = || argument.parse::<usize>().map_err(|_| unknown());
        let seed = || argument.parse::<u64>().map_err(|_| unknown());
        Ok(match class {
            "none" => Choice::None,
            "all" => Choice::All,
            "only-new" => Choice::OnlyNew(count()?),
            "only-old" => Choice::OnlyOld(count()?),
            "prefix" => Choice::Prefix(count()?),
            "suffix" => Choice::Suffix(count()?),
            "mask" => {
                let versions = argument.split(',').filter(|version| !version.is_empty());
                Choice::Mask(versions.map(|v| v.parse().map_err(|_| unknown())).collect::<Result<_, _>>()?)
            }
            "seeded" => Choice::Seeded(seed()?),
            "garbage" => Choice::Garbage(seed()?),
            "unsafe-overwrite" => Choice::UnsafeOverwrite(seed()?),
            _ => return Err(unknown()),
        })
    }
}

/// Which images of a crash point to try.
///
/// All combinations if there are at most `exhaustive_max`. Otherwise none, all, and from each of the
/// classes "one unit new", "one unit old", "prefix" and "suffix" at most `class_max`, evenly spread,
/// and `seeded` drawn ones. Garbage is tried on top in both cases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Up to so many combinations are all tried. Default 4,096.
    pub exhaustive_max: u64,
    /// Images of each class. Default 32.
    pub class_max: usize,
    /// Images drawn from seeds. Default 64.
    pub seeded: usize,
    /// Images with garbage, where there is an un-synced sector. Default 16.
    pub garbage: usize,
    /// Images of a disk without powersafe overwrite. Default 0.
    pub unsafe_overwrite: usize,
    /// The seed of the seeds.
    pub seed: u64,
}

impl Default for Plan {
    fn default() -> Self {
        Plan { exhaustive_max: 4096, class_max: 32, seeded: 64, garbage: 16, unsafe_overwrite: 0, seed: 0 }
    }
}

impl Plan {
    pub(super) fn choices(&self, point: &CrashPoint) -> Vec<Choice> {
        let mut choices = if point.combinations() <= u128::from(self.exhaustive_max) {
            point.exhaustive().collect()
        } else {
            self.sample(point)
        };
        if point.units().iter().any(|unit| unit.first_byte().is_some()) {
            let mut seeds = self.seeds(point, 2);
            choices.extend((0..self.garbage).map(|_| Choice::Garbage(seeds.next())));
            choices.extend((0..self.unsafe_overwrite).map(|_| Choice::UnsafeOverwrite(seeds.next())));
        }
        choices
    }

    fn sample(&self, point: &CrashPoint) -> Vec<Choice> {
        let units = point.units().len();
        let mut choices = vec![Choice::None, Choice::All];
        choices.extend(spread(units, self.class_max).map(Choice::OnlyNew));
        choices.extend(spread(units, self.class_max).map(Choice::OnlyOld));
        // One more than a place, because none and all are there already.
        choices.extend(spread(units.saturating_sub(1), self.class_max).map(|n| Choice::Prefix(n + 1)));
        choices.extend(spread(units.saturating_sub(1), self.class_max).map(|n| Choice::Suffix(n + 1)));
        let mut seeds = self.seeds(point, 1);
        choices.extend((0..self.seeded).map(|_| Choice::Seeded(seeds.next())));
        choices
    }

    /// Other seeds at each crash point and for each use.
    fn seeds(&self, point: &CrashPoint, salt: u64) -> Random {
        let mut random = Random(self.seed ^ point.k().wrapping_mul(0x9e6c_63d0_876a_4f3d));
        Random(random.next().wrapping_add(salt))
    }
}

/// At most `max` of the numbers below `count`, evenly spread, the first always among them.
fn spread(count: usize, max: usize) -> impl Iterator<Item = usize> {
    let taken = count.min(max);
    (0..taken).map(move |i| i * count / taken)
}

/// Counts through all combinations of versions, the last unit fastest.
pub(super) struct Radix {
    versions: Vec<usize>,
    next: Option<Vec<usize>>,
}

impl Radix {
    pub(super) fn new(versions: Vec<usize>) -> Self {
        let first = vec![0; versions.len()];
        Radix { versions, next: Some(first) }
    }
}

impl Iterator for Radix {
    type Item = Vec<usize>;

    fn next(&mut self) -> Option<Vec<usize>> {
        let current = self.next.take()?;
        let mut following = current.clone();
        for (digit, versions) in following.iter_mut().zip(&self.versions).rev() {
            *digit += 1;
            if *digit < *versions {
                self.next = Some(following);
                break;
            }
            *digit = 0;
        }
        Some(current)
    }
}

/// SplitMix64: small, and the same on every machine and in every release.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `bound`, which is not zero. Not quite even, which does not matter here.
    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_choice_reads_back_as_it_was_printed() {
        let choices = [
            Choice::None,
            Choice::All,
            Choice::OnlyNew(3),
            Choice::OnlyOld(0),
            Choice::Prefix(7),
            Choice::Suffix(1),
            Choice::Mask(vec![0, 2, 1]),
            Choice::Mask(Vec::new()),
            Choice::Seeded(u64::MAX),
            Choice::Garbage(5),
            Choice::UnsafeOverwrite(6),
        ];
        for choice in choices {
            assert_eq!(choice.to_string().parse(), Ok(choice));
        }
        assert!("seeded:x".parse::<Choice>().is_err());
        assert!("some".parse::<Choice>().is_err());
    }

    #[test]
    fn a_spread_keeps_both_its_limit_and_its_first() {
        assert_eq!(spread(3, 10).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(spread(100, 4).collect::<Vec<_>>(), [0, 25, 50, 75]);
        assert_eq!(spread(0, 4).count(), 0);
    }
}
