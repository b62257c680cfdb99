//! Bytes in JSON: as a string where they are UTF-8, else as base64url without padding under the
//! same name with `64` behind it.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

/// Bytes as base64url without padding.
pub fn encode64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The bytes of base64url without padding, in its one canonical spelling; `None` for any other.
pub fn decode64(text: impl AsRef<[u8]>) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// Bytes as they stand in JSON.
pub enum Text<'a> {
    /// Valid UTF-8.
    Plain(&'a str),
    /// Anything else.
    Encoded(String),
}

impl<'a> From<&'a [u8]> for Text<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Text::Plain(text),
            Err(_) => Text::Encoded(encode64(bytes)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_canonical_spelling_decodes() {
        assert_eq!(decode64("_wA").unwrap(), [0xff, 0]);
        for text in ["_wA=", "_wB", "/wA", "_w A", "_"] {
            assert_eq!(decode64(text), None, "{text}");
        }
    }
}
