//! Keys in paths. First byte: 0 the rest stands behind `/v1/keys/`, 1 behind `/v1/keys64/`, else the
//! rest is a key, which is spelt in several ways and must come back from each.
#![no_main]

use emberkeep::{
    http::key::of_path,
    node::{
        error::Code,
        text::{decode64, encode64},
    },
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((mode, rest)) = data.split_first() else { return };
    match (mode, std::str::from_utf8(rest)) {
        (0, Ok(text)) => behind_keys(text),
        (1, Ok(text)) => behind_keys64(text),
        (0 | 1, Err(_)) => {}
        (how, _) => spelt(rest, *how),
    }
});

/// Decoded as the documentation says, or refused for one of the reasons that it gives.
fn behind_keys(text: &str) {
    let expected = by_the_book(text.as_bytes()).filter(|key| key != b"." && key != b"..");
    match of_path(&format!("/v1/keys/{text}")) {
        Ok(key) => {
            assert_eq!(Some(&key), expected.as_ref(), "{text:?}");
            spelt(&key, 2);
        }
        Err(e) => {
            assert_eq!((e.code(), expected), (Code::InvalidKey, None), "{text:?}");
            assert!(!e.detail().is_empty());
        }
    }
}

/// One spelling for each key: what decodes is what encodes.
fn behind_keys64(text: &str) {
    match of_path(&format!("/v1/keys64/{text}")) {
        Ok(key) => assert_eq!(encode64(&key), text),
        Err(e) => {
            assert_eq!(e.code(), Code::InvalidKey);
            let canonical = decode64(text).is_some_and(|key| encode64(&key) == text);
            assert!(!canonical, "{text:?} is refused");
        }
    }
}

/// Every spelling of a key is that key; `.` and `..` have only one.
fn spelt(key: &[u8], how: u8) {
    assert_eq!(of_path(&format!("/v1/keys64/{}", encode64(key))).unwrap(), key);
    let mut path = String::from("/v1/keys/");
    for (i, byte) in key.iter().enumerate() {
        let plain = byte.is_ascii() && *byte != b'%' && (how >> (i % 8)) & 1 == 0;
        if plain {
            path.push(char::from(*byte));
        } else if how & 1 == 0 {
            path += &format!("%{byte:02X}");
        } else {
            path += &format!("%{byte:02x}");
        }
    }
    match of_path(&path) {
        Ok(found) => assert_eq!(found, key, "{path}"),
        Err(e) => assert!(key == b"." || key == b"..", "{path}: {e:?}"),
    }
}

/// The percent-encoding of RFC 3986, written down once more.
fn by_the_book(text: &[u8]) -> Option<Vec<u8>> {
    let mut key = Vec::new();
    let mut i = 0;
    while i < text.len() {
        if text[i] == b'%' {
            let digits = text.get(i + 1..i + 3).filter(|d| d.iter().all(u8::is_ascii_hexdigit))?;
            key.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            i += 3;
        } else {
            key.push(text[i]);
            i += 1;
        }
    }
    Some(key)
}
