//! What a write can do before it takes a place in the log: checks, compression, one copy.
//!
//! None of it needs a lock or depends on the state, so a write that has to wait for room does it
//! once, and a caller with an event loop does it elsewhere for large values.
//!
//! Nothing here is seen by anybody else, and nothing is left of it after a crash.

use crate::{
    compress::{self, Packed},
    engine::{
        Core, Engine,
        commit::Commit,
        value::{Condition, Expiry, PutOutcome, Write},
    },
    error::{Error, Result},
    format::op::{Key, Put},
    index::blob::Blob,
    limits::CONTENT_TYPE_LEN_MAX,
    settings::Level,
};

/// A key with its value, checked, compressed if that is worth it, and ready to be written.
#[derive(Clone, Debug)]
pub struct Prepared(pub(crate) Blob);

impl Engine {
    /// Does the part of a put that takes time with a large value and may be done anywhere. The
    /// condition, expiry and level of `write` are not looked at.
    ///
    /// # Errors
    /// `Invalid` for a key, value or content type out of bounds.
    pub fn prepare<'k>(&self, key: impl Into<Key<'k>>, write: &Write<'_>) -> Result<Prepared> {
        self.core.prepare(key.into(), write).map(Prepared)
    }

    /// As [`put`](Self::put), with what [`prepare`](Self::prepare) of this engine gave. May be
    /// repeated.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn put_prepared(
        &self,
        prepared: &Prepared,
        expiry: Expiry,
        condition: Condition<'_>,
        level: Option<Level>,
    ) -> Result<Commit<PutOutcome>> {
        self.core.put_blob(&prepared.0, expiry, condition, level)
    }
}

impl Core {
    /// The blob that a put makes.
    pub(crate) fn prepare(&self, key: Key<'_>, write: &Write<'_>) -> Result<Blob> {
        self.check_write(key, write)?;
        let Packed { stored, encoding } =
            compress::pack_counted(&self.settings, &self.counters.compression, write.value);
        Ok(Blob::new(&Put {
            key,
            type_tag: 0,
            deadline: None,
            version: None,
            encoding,
            content_type: write.content_type.unwrap_or_default().as_bytes(),
            value: &stored,
        }))
    }

    /// The limits hold for values as they come, not as they are stored.
    pub(crate) fn check_write(&self, key: Key<'_>, write: &Write<'_>) -> Result<()> {
        self.check_key(key)?;
        let (len, max) = (write.value.len(), self.settings.max_value_bytes);
        if len > max {
            return Err(Error::invalid(format!("the value is too long, len={len} max={max}")));
        }
        let content_type = write.content_type.unwrap_or_default().as_bytes();
        let valid = content_type.len() <= CONTENT_TYPE_LEN_MAX
            && content_type.iter().all(|b| (0x20..0x7f).contains(b));
        if !valid {
            return Err(Error::invalid("the content type must be visible ASCII of at most 255 bytes"));
        }
        Ok(())
    }
}
