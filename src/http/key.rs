//! Keys in paths. A key is bytes: everything behind the prefix, percent-decoded, slashes and all.
//!
//! `/v1/keys/a/b`, `/v1/keys/a%2Fb` are the key `a/b`; `+` is a plus; `%00` and `%FF` are bytes.
//! `.` and `..` are refused, because clients and proxies fold them away before we see them;
//! `/v1/keys64/` spells any key as base64url without padding.

use crate::node::{
    error::{Code, Error, Result},
    text::decode64,
};

/// The key that a path names: of `/v1/keys64/…` what is encoded, of `/v1/keys/…` every byte behind
/// the prefix. Empty if there is none; whether that and its length are allowed is the node's to say.
///
/// # Errors
/// `InvalidKey`, saying how else to spell it: a `%` without two hexadecimal digits, a key `.` or `..`
/// that is not in `keys64`, base64url that is not in its one canonical form.
pub fn of_path(path: &str) -> Result<Vec<u8>> {
    if let Some(text) = path.strip_prefix("/v1/keys64/") {
        return decode64(text).ok_or_else(|| invalid("the key is not base64url without padding"));
    }
    let text = path.strip_prefix("/v1/keys/").unwrap_or_default();
    let key = percent_decoded(text.as_bytes(), false)
        .ok_or_else(|| invalid("the key has a % without two hexadecimal digits"))?;
    if key == b"." || key == b".." {
        return Err(invalid(
            "clients fold . and .. away; spell such a key as /v1/keys64/{base64url without padding}",
        ));
    }
    Ok(key)
}

/// Percent-decoded bytes; `None` if a `%` has no two digits behind it.
pub(super) fn percent_decoded(text: &[u8], plus_is_space: bool) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, behind @ ..] = rest {
        rest = behind;
        match first {
            b'%' => {
                let (digits, behind) = behind.split_at_checked(2)?;
                out.push(hex(digits[0])? << 4 | hex(digits[1])?);
                rest = behind;
            }
            b'+' if plus_is_space => out.push(b' '),
            byte => out.push(*byte),
        }
    }
    Some(out)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

fn invalid(why: &str) -> Error {
    Error::new(Code::InvalidKey, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_every_byte_behind_the_prefix() {
        let table: [(&str, &[u8]); 10] = [
            ("/v1/keys/a", b"a"),
            ("/v1/keys/a/b", b"a/b"),
            ("/v1/keys/a%2Fb", b"a/b"),
            ("/v1/keys//lead", b"/lead"),
            ("/v1/keys/a//b/", b"a//b/"),
            ("/v1/keys/%ff%00x", b"\xff\x00x"),
            ("/v1/keys/a+b", b"a+b"),
            ("/v1/keys/a/../b", b"a/../b"),
            ("/v1/keys64/_wA", b"\xff\x00"),
            ("/v1/keys64/Li4", b".."),
        ];
        for (path, key) in table {
            assert_eq!(of_path(path).unwrap(), key, "{path}");
        }
    }

    #[test]
    fn what_cannot_be_spelt_that_way_is_refused() {
        for path in [
            "/v1/keys/.",
            "/v1/keys/..",
            "/v1/keys/%2e%2E",
            "/v1/keys/%",
            "/v1/keys/%4",
            "/v1/keys/%zz",
            "/v1/keys64/a=",
            "/v1/keys64/+/",
        ] {
            assert_eq!(of_path(path).unwrap_err().code(), Code::InvalidKey, "{path}");
        }
        assert!(of_path("/v1/keys/..").unwrap_err().detail().contains("keys64"));
    }

    #[test]
    fn an_empty_key_is_left_to_the_node() {
        assert_eq!(of_path("/v1/keys/").unwrap(), b"");
        assert_eq!(of_path("/v1/keys64/").unwrap(), b"");
    }
}
