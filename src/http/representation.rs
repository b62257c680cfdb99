//! Which form of a value a client gets: the stored bytes as they are if it accepts their coding,
//! else the value inflated (RFC 9110, sections 8.4, 8.8.3 and 12.5.3).
//!
//! The two forms have ETags of their own, `"17"` and `"17-zstd"`, and a condition may name either:
//! both mean version 17. Every reply with a value says `Vary: Accept-Encoding`.
//!
//! Without Accept-Encoding a client gets the value: few that do not ask can inflate.

use std::sync::Arc;

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, HeaderValue, header},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::node::{
    Codec, Entry, Node, Value,
    error::{Code, Error, Result},
};

/// Inflated values up to here are not counted: connections are, and that bounds them.
const SMALL: usize = 64 << 10;
/// What stands in an ETag between the version and the coding.
const SEPARATOR: u8 = b'-';
/// A coding that is not listed and not excluded: acceptable, and less than anything listed.
const UNLISTED: u16 = 1;

/// The form of a value: `None` as it was put, else compressed.
pub(super) type Form = Option<Codec>;

/// The form for this client.
///
/// # Errors
/// `NotAcceptable` if it excludes the plain form and does not accept the stored one.
pub(super) fn choose(request: &HeaderMap, stored: Form) -> Result<Form> {
    let wanted = Wanted::of(request);
    let plain = wanted.identity();
    let coded = stored.map_or(0, |codec| wanted.coding(codec));
    match (coded, plain) {
        (0, 0) => Err(Error::new(
            Code::NotAcceptable,
            format!(
                "accept-encoding excludes all that there is, available=identity{}",
                stored.map_or(String::new(), |codec| format!(",{}", codec.as_str()))
            ),
        )),
        (coded, plain) if coded > 0 && coded >= plain => Ok(stored),
        _ => Ok(None),
    }
}

/// Says which form it is, and that there may be others.
pub(super) fn put_form(map: &mut HeaderMap, version: u64, form: Form) {
    map.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    map.insert(header::ETAG, etag(version, form));
}

/// What only a reply to GET or HEAD with status 200 says.
pub(super) fn put_coding(map: &mut HeaderMap, entry: &Entry, form: Form) {
    let len = match form {
        Some(codec) => {
            map.insert(header::CONTENT_ENCODING, HeaderValue::from_static(codec.as_str()));
            entry.stored().len()
        }
        None => entry.value_len(),
    };
    map.insert(header::CONTENT_LENGTH, HeaderValue::from(len));
}

/// The ETag of a version in a form.
pub(super) fn etag(version: u64, form: Form) -> HeaderValue {
    let text = match form {
        None => format!("\"{version}\""),
        Some(codec) => format!("\"{version}{}{}\"", char::from(SEPARATOR), codec.as_str()),
    };
    HeaderValue::try_from(text).expect("digits and letters in quotes are a valid header")
}

/// The version that a tag of ours names, in whatever form. `007` is not how we write 7.
pub(super) fn version_of(tag: &[u8]) -> Option<u64> {
    let codings = [Codec::Zstd, Codec::Gzip].map(|codec| codec.as_str().as_bytes());
    let digits = match tag.iter().position(|b| *b == SEPARATOR) {
        Some(at) if codings.contains(&&tag[at + 1..]) => &tag[..at],
        Some(_) => return None,
        None => tag,
    };
    let plain = digits.first()? != &b'0' && digits.iter().all(u8::is_ascii_digit);
    plain.then(|| std::str::from_utf8(digits).ok()?.parse().ok())?
}

/// Room for inflated values in memory: stored ones are shared with the cache, these are not, and a
/// client may read a large one many times at once.
pub(super) struct Inflating {
    /// One permit for each `SMALL` bytes.
    room: Arc<Semaphore>,
}

/// A value on its way out, with its room.
struct Outgoing {
    value: Value,
    _room: Option<OwnedSemaphorePermit>,
}

impl AsRef<[u8]> for Outgoing {
    fn as_ref(&self) -> &[u8] {
        &self.value
    }
}

impl Inflating {
    pub(super) fn new(bytes_max: u64) -> Self {
        let permits = usize::try_from(bytes_max / SMALL as u64).unwrap_or(usize::MAX);
        Inflating { room: Arc::new(Semaphore::new(permits.clamp(1, Semaphore::MAX_PERMITS))) }
    }

    /// The bytes of an entry in a form; the stored ones are shared, not copied. Waits for room.
    ///
    /// # Errors
    /// As [`Node::value`].
    pub(super) async fn body(&self, node: &Node, entry: &Entry, form: Form) -> Result<Body> {
        let bytes = match form {
            Some(_) => Bytes::from_owner(entry.stored()),
            None => {
                let room = self.reserve(entry).await;
                Bytes::from_owner(Outgoing { value: node.value(entry).await?, _room: room })
            }
        };
        Ok(Body::from(bytes))
    }

    async fn reserve(&self, entry: &Entry) -> Option<OwnedSemaphorePermit> {
        let len = entry.value_len();
        if entry.encoding().is_none() || len <= SMALL {
            return None;
        }
        let permits = u32::try_from(len.div_ceil(SMALL)).unwrap_or(u32::MAX);
        // Never closed.
        self.room.clone().acquire_many_owned(permits).await.ok()
    }
}

/// What Accept-Encoding says: weights in thousandths, 0 is excluded. What is malformed in it asks for
/// nothing.
#[derive(Default)]
struct Wanted {
    given: bool,
    identity: Option<u16>,
    zstd: Option<u16>,
    gzip: Option<u16>,
    any: Option<u16>,
}

impl Wanted {
    fn of(request: &HeaderMap) -> Wanted {
        let mut wanted = Wanted::default();
        for line in request.get_all(header::ACCEPT_ENCODING) {
            wanted.given = true;
            let Ok(text) = line.to_str() else { continue };
            for (coding, weight) in text.split(',').filter_map(element) {
                let known = match coding.to_ascii_lowercase().as_str() {
                    "identity" => &mut wanted.identity,
                    "zstd" => &mut wanted.zstd,
                    // The same by an older name.
                    "gzip" | "x-gzip" => &mut wanted.gzip,
                    "*" => &mut wanted.any,
                    _ => continue,
                };
                *known = Some(weight);
            }
        }
        wanted
    }

    fn identity(&self) -> u16 {
        if !self.given { 1000 } else { self.identity.or(self.any).unwrap_or(UNLISTED) }
    }

    fn coding(&self, codec: Codec) -> u16 {
        let listed = match codec {
            Codec::Zstd => self.zstd,
            Codec::Gzip => self.gzip,
        };
        listed.or(self.any).unwrap_or(0)
    }
}

/// `gzip`, `gzip;q=0.5`; an element may be empty.
fn element(text: &str) -> Option<(&str, u16)> {
    let (coding, weight) = match text.split_once(';') {
        None => (text, 1000),
        Some((coding, parameter)) => {
            let (name, value) = parameter.split_once('=')?;
            if !name.trim().eq_ignore_ascii_case("q") {
                return None;
            }
            (coding, weight(value.trim())?)
        }
    };
    Some((coding.trim(), weight)).filter(|(coding, _)| !coding.is_empty())
}

/// `0`, `1`, `0.5`: at most three digits behind the point.
fn weight(text: &str) -> Option<u16> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if part.len() > 3 || !part.bytes().all(|b| b.is_ascii_digit()) || !matches!(whole, "0" | "1") {
        return None;
    }
    let thousandths: u16 = format!("{whole}{part:0<3}").parse().ok()?;
    (thousandths <= 1000).then_some(thousandths)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a value stored by zstd, by gzip, and as it is.
    type OfEach = [Result<Form, Code>; 3];

    fn chosen(accept: &[&str], stored: Form) -> Result<Form, Code> {
        let mut map = HeaderMap::new();
        for line in accept {
            map.append(header::ACCEPT_ENCODING, HeaderValue::from_str(line).unwrap());
        }
        choose(&map, stored).map_err(|e| e.code())
    }

    #[test]
    fn the_stored_form_goes_to_those_who_accept_it_and_like_it_no_less() {
        let (zstd, gzip) = (Some(Codec::Zstd), Some(Codec::Gzip));
        let none = Err(Code::NotAcceptable);
        let table: [(&[&str], OfEach); 22] = [
            (&[], [Ok(None), Ok(None), Ok(None)]),
            (&[""], [Ok(None), Ok(None), Ok(None)]),
            (&["zstd"], [Ok(zstd), Ok(None), Ok(None)]),
            (&["gzip"], [Ok(None), Ok(gzip), Ok(None)]),
            (&["X-GZip"], [Ok(None), Ok(gzip), Ok(None)]),
            (&["gzip, deflate, br, zstd"], [Ok(zstd), Ok(gzip), Ok(None)]),
            (&["gzip", "zstd"], [Ok(zstd), Ok(gzip), Ok(None)]),
            (&["*"], [Ok(zstd), Ok(gzip), Ok(None)]),
            (&["*;q=0"], [none, none, none]),
            (&["identity"], [Ok(None), Ok(None), Ok(None)]),
            (&["identity;q=0"], [none, none, none]),
            (&["identity;q=0, *"], [Ok(zstd), Ok(gzip), none]),
            (&["identity;q=0, gzip"], [none, Ok(gzip), none]),
            (&["gzip, *;q=0"], [none, Ok(gzip), none]),
            (&["identity, *;q=0"], [Ok(None), Ok(None), Ok(None)]),
            (&["zstd;q=0, *"], [Ok(None), Ok(gzip), Ok(None)]),
            (&["zstd;q=0.5, gzip;q=0"], [Ok(zstd), Ok(None), Ok(None)]),
            (&["zstd;q=0.5, identity"], [Ok(None), Ok(None), Ok(None)]),
            (&["zstd;q=0.5, identity;q=0.5"], [Ok(zstd), Ok(None), Ok(None)]),
            (&[" zstd ; Q = 0.001 ,, "], [Ok(zstd), Ok(None), Ok(None)]),
            (&["zstd;q=2, gzip;q=0.1234"], [Ok(None), Ok(None), Ok(None)]),
            (&["zstd;level=3, gzip;q=, ;q=1"], [Ok(None), Ok(None), Ok(None)]),
        ];
        for (accept, wanted) in table {
            assert_eq!([zstd, gzip, None].map(|stored| chosen(accept, stored)), wanted, "{accept:?}");
        }
    }

    #[test]
    fn a_weight_has_three_digits_at_most() {
        for (text, wanted) in
            [("1", 1000), ("0", 0), ("0.", 0), ("1.000", 1000), ("0.5", 500), ("0.05", 50), ("0.999", 999)]
        {
            assert_eq!(weight(text), Some(wanted), "{text}");
        }
        for text in ["", "2", "1.001", "0.1234", "-1", ".5", "0.x", "00"] {
            assert_eq!(weight(text), None, "{text}");
        }
    }

    #[test]
    fn every_form_of_a_version_has_its_own_tag_and_all_of_them_name_it() {
        let tags = [None, Some(Codec::Zstd), Some(Codec::Gzip)].map(|form| etag(17, form));
        assert_eq!(tags, ["\"17\"", "\"17-zstd\"", "\"17-gzip\""]);
        for tag in &tags {
            assert_eq!(
                version_of(
                    tag.as_bytes().trim_ascii().strip_prefix(b"\"").unwrap().strip_suffix(b"\"").unwrap()
                ),
                Some(17)
            );
        }
        for tag in ["", "-", "17-", "-zstd", "17-br", "17-zstd-gzip", "17_zstd", "017-zstd", "17-ZSTD"] {
            assert_eq!(version_of(tag.as_bytes()), None, "{tag}");
        }
    }
}
