//! How long an entry lives, as a client says it: `3600`, `1.5`, `250ms`, `30s`, `5m`, `2h`, `7d`,
//! `none`, or an instant in milliseconds since 1970.
//!
//! Zero, negative and overflowing lifetimes are refused: an entry that is gone before it is
//! there, or a deadline that wraps, is a mistake of the caller. No floating point: a lifetime is
//! exact to the millisecond.

use std::time::Duration;

use emberkeep_storage::{UnixMillis, limits};

use super::error::{Code, Error, Result};

/// A deadline must be before this, which the index can keep and a JSON number holds exactly.
const DEADLINE_MAX: u64 = limits::DEADLINE_MAX;

/// When an entry expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// Not by itself.
    Never,
    /// After a span.
    In(Duration),
    /// At an instant.
    At(UnixMillis),
    /// When its predecessor would have.
    Keep,
}

impl Expiry {
    /// Reads `ttl=`.
    ///
    /// # Errors
    /// `InvalidTtl`, saying what would be right.
    pub fn parse_ttl(text: &str) -> Result<Expiry> {
        if text == "none" {
            return Ok(Expiry::Never);
        }
        match millis(text) {
            Some(ms) if ms > 0 && ms < DEADLINE_MAX => Ok(Expiry::In(Duration::from_millis(ms))),
            _ => Err(invalid(
                "ttl must be a positive number of seconds, a span such as 250ms 30s 5m 2h 7d, or none",
                text,
            )),
        }
    }

    /// Reads `expires_at=`.
    ///
    /// # Errors
    /// `InvalidTtl` if it is not a number or not later than `now`.
    pub fn parse_expires_at(text: &str, now: UnixMillis) -> Result<Expiry> {
        match digits(text) {
            Some(ms) if ms > now.0 && ms < DEADLINE_MAX => Ok(Expiry::At(UnixMillis(ms))),
            _ => Err(invalid("expires_at must be a future instant in milliseconds since 1970", text)),
        }
    }

    /// The same with a span made absolute, so that the deadline in the reply is the one stored.
    ///
    /// # Errors
    /// `InvalidTtl` if it lies beyond what can be represented.
    pub fn resolved(self, now: UnixMillis) -> Result<Expiry> {
        let Expiry::In(span) = self else { return Ok(self) };
        let at = now.after(span);
        if at.0 >= DEADLINE_MAX {
            return Err(invalid("ttl reaches too far into the future", &span.as_secs().to_string()));
        }
        Ok(Expiry::At(at))
    }

    /// The deadline, where it is known without looking at the entry.
    pub fn deadline(self) -> Option<UnixMillis> {
        match self {
            Expiry::At(at) => Some(at),
            _ => None,
        }
    }
}

fn invalid(right: &str, got: &str) -> Error {
    let got: String = got.chars().take(40).collect();
    Error::new(Code::InvalidTtl, format!("{right}, got={got:?}"))
}

/// Milliseconds in `12`, `1.5`, `250ms`, `1.5h`; `None` if it is anything else or overflows.
fn millis(text: &str) -> Option<u64> {
    let number_len = text.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
    let (number, unit) = text.split_at(number_len);
    let unit_ms: u64 = match unit {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    let (whole, fraction) = match number.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (number, None),
    };
    let ms = digits(whole)?.checked_mul(unit_ms)?;
    match fraction {
        None => Some(ms),
        Some(fraction) => ms.checked_add(fraction_of(fraction, unit_ms)?),
    }
}

/// `0.<fraction> * unit`, rounded down. Digits past the ninth are less than a millisecond.
fn fraction_of(fraction: &str, unit: u64) -> Option<u64> {
    let all_digits = !fraction.is_empty() && fraction.bytes().all(|b| b.is_ascii_digit());
    let head = all_digits.then(|| &fraction[..fraction.len().min(9)])?;
    Some(digits(head)? * unit / 10u64.pow(head.len() as u32))
}

/// Plain decimal digits: no sign, no blanks.
fn digits(text: &str) -> Option<u64> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(text: &str) -> u64 {
        match Expiry::parse_ttl(text) {
            Ok(Expiry::In(span)) => span.as_millis() as u64,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn seconds_decimals_and_units_are_understood() {
        let table = [
            ("1", 1_000),
            ("3600", 3_600_000),
            ("1.5", 1_500),
            ("0.001", 1),
            ("250ms", 250),
            ("30s", 30_000),
            ("5m", 300_000),
            ("2h", 7_200_000),
            ("7d", 604_800_000),
            ("1.5h", 5_400_000),
            ("3600.0", 3_600_000),
            ("0.123456789999", 123),
        ];
        for (text, expected) in table {
            assert_eq!(ms(text), expected, "{text}");
        }
        assert_eq!(Expiry::parse_ttl("none").unwrap(), Expiry::Never);
    }

    #[test]
    fn what_is_not_a_positive_span_is_refused() {
        for text in [
            "",
            "0",
            "0s",
            "0.0",
            "0.0001",
            "-1",
            "+1",
            " 1",
            "1 ",
            "1e3",
            "abc",
            "NaN",
            "inf",
            "1x",
            "1.",
            ".5",
            "1.2.3",
            "ms",
            "5M",
            "99999999999999999999",
            "18446744073709551615d",
            "281474976711",
            "NONE",
            "１",
        ] {
            let error = Expiry::parse_ttl(text).expect_err(text);
            assert_eq!(error.code(), Code::InvalidTtl, "{text}");
        }
    }

    #[test]
    fn an_instant_must_lie_ahead() {
        let now = UnixMillis(1_000);
        assert_eq!(Expiry::parse_expires_at("1001", now).unwrap(), Expiry::At(UnixMillis(1_001)));
        for text in ["1000", "0", "-5", "x", "", "281474976710655", "99999999999999999999"] {
            assert!(Expiry::parse_expires_at(text, now).is_err(), "{text}");
        }
    }

    #[test]
    fn a_deadline_beyond_the_end_of_time_is_refused() {
        let now = UnixMillis(DEADLINE_MAX - 10);
        assert!(Expiry::In(Duration::from_millis(10)).resolved(now).is_err());
        assert_eq!(
            Expiry::In(Duration::from_millis(9)).resolved(now).unwrap().deadline(),
            Some(UnixMillis(DEADLINE_MAX - 1))
        );
    }
}
