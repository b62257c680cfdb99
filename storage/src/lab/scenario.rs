//! A scenario is three words that can be typed: a mode, a size, a seed. All else follows from it.

use std::{fmt, str::FromStr, time::Duration};

use crate::{
    random::Random,
    settings::{Codec, Eviction, Fsync, Settings},
    sim::choice::Plan,
};

use super::step::{Generator, Step};

/// Where the data lives on the simulated disk.
pub const DIR: &str = "/data";

/// How long a workload is, and how closely it is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// A dozen steps with little data: every image that is legal is tried, up to 4,096 at a point.
    Small,
    /// Hundreds of steps with rotation, eviction and snapshots: images are drawn.
    Large,
}

/// What is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// The mode of the engine.
    pub fsync: Fsync,
    /// How long.
    pub size: Size,
    /// Decides settings and steps.
    pub seed: u64,
    /// The steps that are left of it, by their place; `None`: all.
    pub kept: Option<Vec<usize>>,
}

impl Scenario {
    /// All steps of this seed.
    pub fn new(fsync: Fsync, size: Size, seed: u64) -> Scenario {
        Scenario { fsync, size, seed, kept: None }
    }

    /// The `n`-th of the scenarios that belong to a seed: modes and sizes take turns.
    pub fn nth(seed: u64, n: u64) -> Scenario {
        let fsync = [Fsync::Always, Fsync::Interval, Fsync::Never, Fsync::Always][(n % 4) as usize];
        let size = if (n / 4).is_multiple_of(3) { Size::Large } else { Size::Small };
        Scenario::new(fsync, size, seed.wrapping_add(n))
    }

    /// The settings that the seed draws: everything small, so that rotation, eviction and the
    /// limits of the buffers happen soon.
    pub fn settings(&self) -> Settings {
        let mut draw = self.random(1);
        let mut below = |n: u64| draw.next_u64() % n;
        let bounded = below(3) > 0;
        Settings {
            fsync: self.fsync,
            fsync_interval: Duration::from_millis([10, 100, 1000][below(3) as usize]),
            allow_downgrade: below(4) == 0,
            max_items: bounded.then(|| 4 + below(30)),
            max_bytes: (below(4) == 0).then_some(64 << 10),
            eviction: if below(2) == 0 { Eviction::S3Fifo } else { Eviction::Lru },
            max_key_bytes: 64,
            max_value_bytes: 64 << 10,
            segment_bytes: 16 << 10,
            staging_bytes: [4 << 10, 16 << 10][below(2) as usize],
            checkpoint_bytes: 1 << 20,
            stripes: Some([1, 4][below(2) as usize]),
            compress: [None, None, Some(Codec::Zstd), Some(Codec::Gzip)][below(4) as usize],
            compress_threshold: 64,
            ..Settings::new(DIR)
        }
    }

    /// The steps, those that are left out apart.
    pub fn steps(&self) -> Vec<Step> {
        let all = self.all_steps();
        match &self.kept {
            Some(kept) => kept.iter().filter_map(|i| all.get(*i).cloned()).collect(),
            None => all,
        }
    }

    fn all_steps(&self) -> Vec<Step> {
        let mut generator = Generator {
            random: self.random(2),
            keys: if self.size == Size::Small { 5 } else { 60 },
            value_max: if self.size == Size::Small { 300 } else { 3000 },
            downgrade: self.settings().allow_downgrade,
        };
        let count = match self.size {
            Size::Small => 6 + generator.below(10),
            Size::Large => 200 + generator.below(80),
        };
        let mut steps = Vec::new();
        for _ in 0..count {
            // The window that `interval` promises needs time to pass between its writes.
            if self.fsync == Fsync::Interval && generator.below(3) == 0 {
                steps.push(Step::Pass(self.settings().fsync_interval, 0));
            }
            let step = generator.step();
            let unanswered = if let Step::Put { key, wait: false, .. } = step { Some(key) } else { None };
            steps.push(step);
            // Somebody looks at what nobody has been told yet.
            if let Some(key) = unanswered
                && generator.below(2) == 0
            {
                steps.push(Step::Get(key));
            }
        }
        // One snapshot at least, in the middle of whatever goes on.
        let at = generator.below(count) as usize;
        steps.insert(at, Step::Checkpoint);
        // In every fourth scenario something fails on top.
        if generator.below(4) == 0 {
            let at = generator.below(count) as usize;
            steps.insert(at, generator.fault());
        }
        steps
    }

    /// Which images are tried at each point.
    pub(super) fn plan(&self, k: u64) -> Plan {
        let seed = self.seed ^ k;
        match self.size {
            Size::Small => {
                // One in eight goes all the way.
                let exhaustive_max = if self.seed.is_multiple_of(8) { 4096 } else { 256 };
                Plan { exhaustive_max, class_max: 8, seeded: 12, garbage: 4, unsafe_overwrite: 0, seed }
            }
            Size::Large => {
                Plan { exhaustive_max: 64, class_max: 3, seeded: 3, garbage: 2, unsafe_overwrite: 0, seed }
            }
        }
    }

    fn random(&self, salt: u8) -> Random {
        let mut seed = [salt; 32];
        seed[..8].copy_from_slice(&self.seed.to_le_bytes());
        seed[8] = self.fsync as u8;
        seed[9] = self.size as u8;
        Random::from_seed(seed)
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", format!("{:?} {:?}", self.fsync, self.size).to_lowercase(), self.seed)?;
        if let Some(kept) = &self.kept {
            let kept: Vec<String> = kept.iter().map(usize::to_string).collect();
            write!(f, "/{}", kept.join(","))?;
        }
        Ok(())
    }
}

impl FromStr for Scenario {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "a scenario is a mode, a size and a seed, as: always large 17, or: never small 3/0,4,5; got: {text}"
            )
        };
        let words: Vec<&str> = text.split_whitespace().collect();
        let [mode, size, seed] = words[..] else { return Err(wrong()) };
        let fsync = match mode {
            "always" => Fsync::Always,
            "interval" => Fsync::Interval,
            "never" => Fsync::Never,
            _ => return Err(wrong()),
        };
        let size = match size {
            "small" => Size::Small,
            "large" => Size::Large,
            _ => return Err(wrong()),
        };
        let (seed, kept) = seed.split_once('/').map_or((seed, None), |(seed, kept)| (seed, Some(kept)));
        let kept = kept.map(|kept| kept.split(',').filter(|i| !i.is_empty()).map(str::parse).collect());
        Ok(Scenario {
            fsync,
            size,
            seed: seed.parse().map_err(|_| wrong())?,
            kept: kept.transpose().map_err(|_: std::num::ParseIntError| wrong())?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_reads_back_as_it_was_printed() {
        let whole = Scenario::new(Fsync::Interval, Size::Small, 7);
        let part = Scenario { kept: Some(vec![0, 3]), ..whole.clone() };
        let nothing = Scenario { kept: Some(Vec::new()), ..whole.clone() };
        for scenario in [whole, part, nothing] {
            assert_eq!(scenario.to_string().parse(), Ok(scenario));
        }
        assert!("always large".parse::<Scenario>().unwrap_err().contains("a mode, a size and a seed"));
    }

    #[test]
    fn a_seed_is_the_same_workload_every_time_and_other_seeds_are_others() {
        let scenario = Scenario::new(Fsync::Always, Size::Large, 1);
        assert_eq!(scenario.steps(), scenario.steps());
        assert_ne!(scenario.steps(), Scenario { seed: 2, ..scenario }.steps());
    }
}
