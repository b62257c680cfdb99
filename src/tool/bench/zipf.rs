//! Numbers as requests to a cache come: few are asked for often, many rarely.

/// Number `i` of `0..n` is drawn about `1 / (i + 1)^theta` as often as the first.
///
/// The inverse of the continuous distribution, cut to whole numbers: near enough for a load, and
/// without a table of `n` entries.
#[derive(Clone, Copy, Debug)]
pub(super) struct Zipf {
    n: f64,
    /// `1 - theta`; zero has a formula of its own.
    rest: f64,
}

impl Zipf {
    /// `n` is at least 1, `theta` above 0.
    pub(super) fn new(n: u64, theta: f64) -> Zipf {
        Zipf { n: n as f64, rest: 1.0 - theta }
    }

    /// The number at this place of the distribution, `0 <= uniform < 1`.
    pub(super) fn at(self, uniform: f64) -> u64 {
        let Zipf { n, rest } = self;
        let x = if rest.abs() < 1e-9 {
            (n + 1.0).powf(uniform)
        } else {
            (uniform * ((n + 1.0).powf(rest) - 1.0) + 1.0).powf(1.0 / rest)
        };
        (x as u64).clamp(1, n as u64) - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_the_range_is_drawn_and_nothing_beyond() {
        for theta in [0.5, 0.99, 1.0, 1.5] {
            let zipf = Zipf::new(1000, theta);
            assert_eq!(zipf.at(0.0), 0, "{theta}");
            assert_eq!(zipf.at(1.0 - 1e-12), 999, "{theta}");
            assert_eq!(Zipf::new(1, theta).at(0.999), 0);
        }
    }

    #[test]
    fn a_number_is_drawn_as_often_as_its_rank_says() {
        const DRAWS: u32 = 1_000_000;
        for theta in [0.8, 1.0, 1.2] {
            let zipf = Zipf::new(100, theta);
            let mut counts = [0.0; 100];
            (0..DRAWS).for_each(|i| counts[zipf.at(f64::from(i) / f64::from(DRAWS)) as usize] += 1.0);
            // Cut to whole numbers, number i gets what lies between i + 1 and i + 2.
            let between = |from: f64, to: f64| match theta {
                1.0 => (to / from).ln(),
                _ => (to.powf(1.0 - theta) - from.powf(1.0 - theta)) / (1.0 - theta),
            };
            for i in [1usize, 9, 50] {
                let from = i as f64 + 1.0;
                let expected = between(from, from + 1.0) / between(1.0, 2.0);
                let got = counts[i] / counts[0];
                assert!((got / expected - 1.0).abs() < 0.01, "{theta} {i}: {got}, not {expected}");
            }
        }
    }
}
