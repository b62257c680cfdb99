//! Sizes and spans as people write them: `1GiB`, `512MB`, `64k`, `100ms`, `30s`; and back.

use std::time::Duration;

use crate::node::{
    error::{Error, Result},
    expiry::Expiry,
};

/// Reads a number of bytes: `1073741824`, `1GiB`, `512MB`, `64k`.
///
/// # Errors
/// `InvalidArgument`, saying what would be right.
pub fn parse_bytes(text: &str) -> Result<u64> {
    let digits_len = text.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, unit) = text.split_at(digits_len);
    let factor = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => Some(1),
        "k" | "ki" | "kib" => Some(1 << 10),
        "m" | "mi" | "mib" => Some(1 << 20),
        "g" | "gi" | "gib" => Some(1u64 << 30),
        "t" | "ti" | "tib" => Some(1 << 40),
        "kb" => Some(1_000),
        "mb" => Some(1_000_000),
        "gb" => Some(1_000_000_000),
        "tb" => Some(1_000_000_000_000),
        _ => None,
    };
    let bytes = factor.and_then(|factor| digits.parse::<u64>().ok()?.checked_mul(factor));
    bytes.ok_or_else(|| {
        Error::invalid(format!(
            "a size is a whole number with a unit such as 64KiB, 512MiB or 1GiB, got={text:?}"
        ))
    })
}

/// Reads a span: `100ms`, `1.5s`, `2m`; a bare number is seconds.
///
/// # Errors
/// `InvalidArgument`, saying what would be right.
pub fn parse_span(text: &str) -> Result<Duration> {
    match Expiry::parse_ttl(text) {
        Ok(Expiry::In(span)) => Ok(span),
        _ => Err(Error::invalid(format!(
            "a span is a number above zero with a unit such as 100ms, 1.5s or 2m (without: seconds), got={text:?}"
        ))),
    }
}

/// Bytes for people: `1 GiB`, `1.5 MiB`, `17 bytes`.
pub fn show_bytes(bytes: u64) -> String {
    const UNITS: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    for (unit, size) in UNITS {
        if bytes >= size {
            // No size is a multiple of ten: first times ten, then divided.
            let (whole, tenth) = (bytes / size, bytes % size * 10 / size);
            return if tenth == 0 { format!("{whole} {unit}") } else { format!("{whole}.{tenth} {unit}") };
        }
    }
    format!("{bytes} bytes")
}

/// A span for people: `100 ms`, `1.5 s`.
pub fn show_span(span: Duration) -> String {
    let ms = span.as_millis();
    match (ms / 1_000, ms % 1_000) {
        (0, ms) => format!("{ms} ms"),
        (s, 0) => format!("{s} s"),
        (s, ms) => format!("{s}.{} s", ms / 100),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_powers_of_two_and_of_ten() {
        for (text, bytes) in
            [("17", 17), ("1KiB", 1024), ("64k", 65_536), ("512MB", 512_000_000), ("1 GiB", 1 << 30)]
        {
            assert_eq!(parse_bytes(text).unwrap(), bytes, "{text}");
        }
        for text in ["", "x", "-1", "1.5GiB", "1XiB", "99999999999TiB", "GiB"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_and_spans_are_shown_short() {
        assert_eq!(show_bytes(1 << 30), "1 GiB");
        assert_eq!(show_bytes(3 << 19), "1.5 MiB");
        assert_eq!(show_bytes(17), "17 bytes");
        assert_eq!(show_bytes((1 << 20) - 1), "1023.9 KiB");
        assert_eq!(show_bytes(u64::MAX), "16777215.9 TiB");
        assert_eq!(show_span(Duration::from_millis(100)), "100 ms");
        assert_eq!(show_span(Duration::from_millis(1500)), "1.5 s");
    }
}
