//! Values that say who wrote them: from the bytes and the content type that a read has found, the
//! write is known, and every byte can be made again and compared.

use super::{
    history::{KeyId, WriteId},
    random::Random,
};

pub(super) const BYTES: &str = "application/octet-stream";
pub(super) const TEXT: &str = "text/plain; charset=utf-8";
const TYPED: &str = "application/x-crash-test; id=";
/// Room for the name of a value in front of its bytes. Values without a content type of their
/// own are at least this long.
pub(super) const NAME_LEN_MAX: usize = 48;

/// A value, without its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Recipe {
    pub(super) key: KeyId,
    pub(super) write: WriteId,
    pub(super) len: usize,
    pub(super) form: Form,
}

/// How a value is sent, which decides its content type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `PUT` with a content type that names the value: it may be empty.
    Typed,
    /// `PUT` without a content type.
    Plain,
    /// `POST /set`: text.
    Set,
}

impl Recipe {
    pub(super) fn content_type(self) -> String {
        match self.form {
            Form::Typed => format!("{TYPED}{}", self.name()),
            Form::Plain => BYTES.to_owned(),
            Form::Set => TEXT.to_owned(),
        }
    }

    pub(super) fn bytes(self) -> Vec<u8> {
        let mut bytes = format!("<{}>", self.name()).into_bytes();
        let mut random = Random::new(self.write);
        let mut block: Vec<u8> = (0..128).flat_map(|_| random.next().to_le_bytes()).collect();
        if self.form == Form::Set {
            block.iter_mut().for_each(|byte| *byte = b'a' + *byte % 26);
        }
        // One block over and over, numbered, so that none can stand for another.
        let mut number = 0;
        while bytes.len() < self.len {
            bytes.extend_from_slice(format!("{number:08}").as_bytes());
            bytes.extend_from_slice(&block);
            number += 1;
        }
        bytes.truncate(self.len);
        bytes
    }

    /// Which value this is that a read of `key` has found.
    ///
    /// # Errors
    /// In words, if it is none that was ever sent for this key.
    pub(super) fn found(key: KeyId, content_type: &str, bytes: &[u8]) -> Result<Recipe, String> {
        let name = match content_type.strip_prefix(TYPED) {
            Some(name) => Some(name),
            None => name_in(bytes),
        };
        let recipe = name.and_then(Recipe::parse).ok_or_else(|| {
            let start = String::from_utf8_lossy(&bytes[..bytes.len().min(24)]);
            format!("a value of {} bytes that nobody wrote, {start:?}, {content_type}", bytes.len())
        })?;
        if recipe.key != key {
            return Err(format!("the value of another key, {recipe:?}"));
        }
        if recipe.content_type() != content_type {
            return Err(format!("a value with the wrong content type, {recipe:?}, {content_type}"));
        }
        if recipe.bytes() != bytes {
            return Err(format!("a value with wrong bytes, {recipe:?}, {} bytes", bytes.len()));
        }
        Ok(recipe)
    }

    fn name(self) -> String {
        let form = match self.form {
            Form::Typed => 't',
            Form::Plain => 'p',
            Form::Set => 's',
        };
        format!("{}/{}/{}/{form}", self.key, self.write, self.len)
    }

    fn parse(name: &str) -> Option<Recipe> {
        let mut parts = name.split('/');
        let key = parts.next()?.parse().ok()?;
        let write = parts.next()?.parse().ok()?;
        let len = parts.next()?.parse().ok()?;
        let form = match parts.next()? {
            "t" => Form::Typed,
            "p" => Form::Plain,
            "s" => Form::Set,
            _ => return None,
        };
        parts.next().is_none().then_some(Recipe { key, write, len, form })
    }
}

fn name_in(bytes: &[u8]) -> Option<&str> {
    let head = bytes.strip_prefix(b"<")?;
    let end = head.iter().take(NAME_LEN_MAX).position(|byte| *byte == b'>')?;
    std::str::from_utf8(&head[..end]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_known_again_and_no_byte_of_it_may_differ() {
        for (form, len) in [
            (Form::Typed, 0),
            (Form::Typed, 5),
            (Form::Plain, NAME_LEN_MAX),
            (Form::Plain, 5000),
            (Form::Set, 700),
        ] {
            let recipe = Recipe { key: 7, write: 1234, len, form };
            let (mut bytes, content_type) = (recipe.bytes(), recipe.content_type());
            assert_eq!(Recipe::found(7, &content_type, &bytes), Ok(recipe));
            assert!(Recipe::found(8, &content_type, &bytes).is_err());
            assert!(Recipe::found(7, "text/html", &bytes).is_err());
            if let Some(last) = bytes.last_mut() {
                *last ^= 1;
                assert!(Recipe::found(7, &content_type, &bytes).is_err());
                bytes.pop();
                assert!(Recipe::found(7, &content_type, &bytes).is_err());
            }
        }
        assert!(Recipe::found(7, BYTES, b"").is_err());
        let largest = Recipe { key: u32::MAX, write: u64::MAX, len: 9_999_999, form: Form::Plain };
        assert!(largest.name().len() + 2 <= NAME_LEN_MAX);
    }
}
