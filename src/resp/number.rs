//! Numbers in arguments and values, as strict as redis-server reads them, and as it writes them.

/// A decimal integer in the one way it is written: no plus, no blanks, no leading zeros.
pub(super) fn integer(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let plain = match digits {
        [b'0'] => text.len() == 1,
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    plain.then(|| std::str::from_utf8(text).ok()?.parse().ok())?
}

/// A number that need not be whole: decimal, with an exponent, or an infinity.
pub(super) fn float(text: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(text).ok()?;
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let infinite = ["inf", "infinity"].iter().any(|name| unsigned.eq_ignore_ascii_case(name));
    let plain = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    (infinite || plain).then(|| text.parse().ok())?
}

/// The sum of two numbers in their shortest form. Decimal numbers are added as such, so that 0.1
/// and 0.2 are 0.3; redis-server comes to that with longer floats. `None` for text that is no number.
pub(super) fn add_floats(a: &[u8], b: &[u8]) -> Option<Result<String, NotFinite>> {
    let (x, y) = (float(a)?, float(b)?);
    if let (Some(a), Some(b)) = (Decimal::parse(a), Decimal::parse(b))
        && let Some(sum) = a.plus(b)
    {
        return Some(Ok(sum));
    }
    let sum = x + y;
    // The sign of zero is not written.
    Some(if sum.is_finite() { Ok((sum + 0.0).to_string()) } else { Err(NotFinite) })
}

/// The sum is an infinity or no number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotFinite;

/// Digits and how many of them stand behind the point.
#[derive(Clone, Copy, Debug)]
struct Decimal {
    digits: i128,
    scale: u32,
}

impl Decimal {
    const SCALE_MAX: usize = 17;

    fn parse(text: &[u8]) -> Option<Decimal> {
        let text = std::str::from_utf8(text).ok()?;
        let (text, power) = match text.split_once(['e', 'E']) {
            Some((text, power)) => (text, power.parse::<i32>().ok().filter(|power| power.abs() <= 18)?),
            None => (text, 0),
        };
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let plain = whole.strip_prefix(['+', '-']).unwrap_or(whole).bytes().chain(fraction.bytes());
        let fits = fraction.len() <= Self::SCALE_MAX && whole.len() + fraction.len() <= 20;
        if !fits || !plain.clone().all(|b| b.is_ascii_digit()) || plain.count() == 0 {
            return None;
        }
        let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
        let scale = fraction.len() as i32 - power;
        let digits = digits.checked_mul(10i128.checked_pow(scale.min(0).unsigned_abs())?)?;
        let scale = scale.max(0) as u32;
        (scale <= Self::SCALE_MAX as u32).then_some(Decimal { digits, scale })
    }

    fn plus(self, other: Decimal) -> Option<String> {
        let scale = self.scale.max(other.scale);
        let scaled = |d: Decimal| d.digits.checked_mul(10i128.checked_pow(scale - d.scale)?);
        let sum = scaled(self)?.checked_add(scaled(other)?)?;
        let one = 10i128.pow(scale);
        let sign = if sum < 0 { "-" } else { "" };
        let (whole, fraction) = (sum.abs() / one, sum.abs() % one);
        if fraction == 0 {
            return Some(format!("{sign}{whole}"));
        }
        let fraction = format!("{fraction:0width$}", width = scale as usize);
        Some(format!("{sign}{whole}.{}", fraction.trim_end_matches('0')))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_integer_is_written_in_one_way() {
        assert_eq!(integer(b"0"), Some(0));
        assert_eq!(integer(b"-12"), Some(-12));
        assert_eq!(integer(b"9223372036854775807"), Some(i64::MAX));
        assert_eq!(integer(b"-9223372036854775808"), Some(i64::MIN));
        for text in ["", "-", "+1", "01", "-0", " 1", "1 ", "1.0", "9223372036854775808", "abc", "0x1"] {
            assert_eq!(integer(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn floats_are_added_as_people_do() {
        let table = [
            ("10.50", "0.1", "10.6"),
            ("0.1", "0.2", "0.3"),
            ("5.0e3", "2.0e2", "5200"),
            ("3", "-3", "0"),
            ("-0.5", "0.25", "-0.25"),
            ("1", "1.5", "2.5"),
            ("1e20", "1", "100000000000000000000"),
            ("9223372036854775806", "1.5e3", "9223372036854777306"),
            ("1", "25e-2", "1.25"),
        ];
        for (a, b, sum) in table {
            assert_eq!(add_floats(a.as_bytes(), b.as_bytes()), Some(Ok(sum.to_owned())), "{a} + {b}");
        }
        assert_eq!(add_floats(b"inf", b"1"), Some(Err(NotFinite)));
        assert_eq!(add_floats(b"1e308", b"1e308"), Some(Err(NotFinite)));
        for text in ["", "x", "1x", "nan", " 1", "1 ", "--1", "e5"] {
            assert_eq!(add_floats(text.as_bytes(), b"1"), None, "{text}");
        }
    }
}
