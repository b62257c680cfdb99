//! What callers give and get: entries, writes, conditions, outcomes.

use std::{fmt, ops::Deref, time::Duration};

use crate::{
    clock::UnixMillis,
    compress,
    error::Result,
    format::op::{Encoding, Key},
    index::blob::Blob,
    lsn::Lsn,
    settings::{Codec, Level},
};

/// A live entry as a read saw it. Shares the stored bytes; cheap to clone.
#[derive(Clone)]
pub struct Entry {
    blob: Blob,
    version: u64,
    deadline: Option<UnixMillis>,
}

impl Entry {
    pub(crate) fn new(blob: Blob, lsn: Lsn, deadline: Option<UnixMillis>) -> Entry {
        let version = version_of(&blob, lsn);
        Entry { blob, version, deadline }
    }

    /// The key.
    pub fn key(&self) -> Key<'_> {
        self.blob.key()
    }

    /// The value as it was put: shared if it is stored like that, else inflated anew.
    ///
    /// # Errors
    /// `Corrupt` if the stored bytes do not give the recorded number of bytes; `Unsupported` for
    /// a codec of a newer release; `Overloaded` if there is no memory.
    pub fn value(&self) -> Result<Value> {
        match self.blob.encoding() {
            None => Ok(self.stored()),
            Some(encoding) => compress::inflate(self.blob.value(), encoding).map(Value::inflated),
        }
    }

    /// Length of the value in bytes, known without inflating it.
    pub fn value_len(&self) -> usize {
        self.blob.encoding().map_or(self.blob.value().len(), |encoding| encoding.raw_len as usize)
    }

    /// The bytes as they are stored: shared, and compressed if [`encoding`](Self::encoding) says so.
    pub fn stored(&self) -> Value {
        Value::shared(self.blob.clone())
    }

    /// How the stored bytes are compressed; `None` not at all.
    pub fn encoding(&self) -> Option<Encoding> {
        self.blob.encoding()
    }

    /// The codec of the stored bytes; `None` if they are not compressed, or by a newer release.
    pub fn codec(&self) -> Option<Codec> {
        self.blob.encoding().and_then(compress::codec_of)
    }

    /// The media type that the writer gave, if any.
    pub fn content_type(&self) -> Option<&str> {
        std::str::from_utf8(self.blob.content_type()).ok().filter(|text| !text.is_empty())
    }

    /// The version: grows with every change of the key, never repeats, also across restarts.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// When it expires, if it does.
    pub fn deadline(&self) -> Option<UnixMillis> {
        self.deadline
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("key", &self.key())
            .field("value_len", &self.value_len())
            .field("codec", &self.codec())
            .field("version", &self.version)
            .field("deadline", &self.deadline)
            .finish()
    }
}

/// The version of an entry: its own, or that of the frame which wrote it.
pub(crate) fn version_of(blob: &Blob, lsn: Lsn) -> u64 {
    blob.explicit_version().unwrap_or(lsn.0)
}

/// Bytes of a value: shared with the index, or inflated for this reader.
pub struct Value(Bytes);

enum Bytes {
    Shared(Blob),
    Inflated(Vec<u8>),
}

impl Value {
    pub(crate) fn shared(blob: Blob) -> Value {
        Value(Bytes::Shared(blob))
    }

    fn inflated(bytes: Vec<u8>) -> Value {
        Value(Bytes::Inflated(bytes))
    }
}

impl Deref for Value {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Bytes::Shared(blob) => blob.value(),
            Bytes::Inflated(bytes) => bytes,
        }
    }
}

impl AsRef<[u8]> for Value {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Value({} bytes)", self.len())
    }
}

/// When an entry is to expire: at the latest at [`DEADLINE_MAX`](crate::limits::DEADLINE_MAX), in the
/// year 10889; what lies beyond counts as that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expiry {
    /// Never.
    #[default]
    Never,
    /// After this span, counted from the call.
    In(Duration),
    /// At this instant. If it has passed, the entry is absent at once.
    At(UnixMillis),
    /// As before; never, for a new key.
    Keep,
}

/// What must hold for a write to happen. Checked and written in one step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Condition<'a> {
    /// Nothing.
    #[default]
    Always,
    /// The key is absent.
    Absent,
    /// The key is present.
    Present,
    /// The key is present in one of these versions.
    VersionIn(&'a [u64]),
    /// The key is absent, or present in none of these versions.
    VersionNotIn(&'a [u64]),
}

impl Condition<'_> {
    /// Whether it holds for a key in this version; `None` for an absent one.
    pub fn holds(&self, version: Option<u64>) -> bool {
        match (self, version) {
            (Condition::Always, _) => true,
            (Condition::Absent, version) => version.is_none(),
            (Condition::Present, version) => version.is_some(),
            (Condition::VersionIn(wanted), version) => version.is_some_and(|v| wanted.contains(&v)),
            (Condition::VersionNotIn(unwanted), version) => version.is_none_or(|v| !unwanted.contains(&v)),
        }
    }
}

/// What to write to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Write<'a> {
    /// The bytes.
    pub value: &'a [u8],
    /// Media type: visible ASCII, at most 255 bytes.
    pub content_type: Option<&'a str>,
    /// When it expires.
    pub expiry: Expiry,
    /// What must hold.
    pub condition: Condition<'a>,
    /// How safe it must be to be acknowledged; `None`: as the engine is set.
    pub level: Option<Level>,
}

impl<'a> Write<'a> {
    /// These bytes, without media type, expiry or condition.
    pub fn new(value: &'a [u8]) -> Self {
        let (expiry, condition) = (Expiry::Never, Condition::Always);
        Write { value, content_type: None, expiry, condition, level: None }
    }
}

/// How a counter is changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Incr {
    /// What an absent counter starts from.
    pub initial: i64,
    /// The expiry of a counter that is created. An existing one keeps its own.
    pub expiry: Expiry,
    /// How safe it must be to be acknowledged.
    pub level: Option<Level>,
}

/// What a put did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutOutcome {
    /// The key was absent.
    Created,
    /// The key had another value.
    Replaced,
    /// The condition did not hold; the key is as it was.
    Refused {
        /// Its version, if it is present.
        current: Option<u64>,
    },
}

/// What a delete did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeleteOutcome {
    /// The key was present.
    Deleted,
    /// The key was absent.
    Absent,
    /// The condition did not hold; the key is as it was.
    Refused {
        /// Its version, if it is present.
        current: Option<u64>,
    },
}

/// What a touch did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TouchOutcome {
    /// The key has the new deadline.
    Touched {
        /// Which, if any.
        deadline: Option<UnixMillis>,
    },
    /// The key was absent.
    Absent,
    /// The condition did not hold; the key is as it was.
    Refused {
        /// Its version, if it is present.
        current: Option<u64>,
    },
}

/// What an increment did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IncrOutcome {
    /// The new value of the counter.
    Value(i64),
    /// The key holds something else than a decimal integer; it is as it was.
    NotAnInteger,
    /// The result would not fit into 64 bits; the counter is as it was.
    Overflow,
}

/// One step of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchOp<'a> {
    /// The key.
    pub key: Key<'a>,
    /// What to do with it.
    pub action: Action<'a>,
}

/// What a batch does to one key. Levels inside are not looked at: a batch has one of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action<'a> {
    /// Writes it.
    Put(Write<'a>),
    /// Deletes it.
    Delete(Condition<'a>),
    /// Gives it another deadline.
    Touch(Expiry, Condition<'a>),
    /// Changes a counter by this much.
    Incr(i64, Incr),
    /// Changes nothing; the batch happens only if this holds.
    Check(Condition<'a>),
}

/// What a batch did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BatchOutcome {
    /// All of it; one result per step.
    Applied(Vec<ActionOutcome>),
    /// Nothing, because of the step with this index.
    Refused {
        /// Which step.
        index: usize,
        /// What it met.
        outcome: ActionOutcome,
    },
}

/// What one step of a batch did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActionOutcome {
    /// Of a put.
    Put(PutOutcome),
    /// Of a delete.
    Delete(DeleteOutcome),
    /// Of a touch.
    Touch(TouchOutcome),
    /// Of an increment.
    Incr(IncrOutcome),
    /// Of a check: whether it holds.
    Check(bool),
}

/// Where a scan goes on. Valid while the engine is open; opaque.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor(pub u64);

impl Cursor {
    /// The beginning.
    pub const START: Cursor = Cursor(0);
}

/// A piece of a scan.
#[derive(Clone, Debug)]
pub struct ScanPage {
    /// Matching entries, in no order.
    pub entries: Vec<Entry>,
    /// Where to go on; `None` at the end. May be `Some` although nothing else will match.
    pub next: Option<Cursor>,
    /// Places that were looked at.
    pub scanned: usize,
}
