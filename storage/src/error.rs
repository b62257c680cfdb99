//! The one error type of the crate. A kind exists only where the caller acts differently.

use std::{fmt, io, path::PathBuf, sync::Arc};

/// What the caller can do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request itself is wrong; repeating it cannot help.
    Invalid,
    /// No room in the staging buffer at the moment; wait with [`Engine::ready`](crate::Engine::ready) and repeat.
    Overloaded,
    /// The disk or the memory budget is full; deletes still work, writes work again once there is room.
    Full,
    /// Another process has the data directory open.
    Locked,
    /// The data is from a newer format, or the directory belongs to something else.
    Unsupported,
    /// Durable data is damaged. The engine does not start and changes nothing.
    Corrupt,
    /// The operating system refused, before anything was changed.
    Io,
    /// A write or sync of the log failed: the outcome is unknown until a restart recovers.
    Halted,
    /// The engine was closed.
    Closed,
}

/// Where damage was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: PathBuf,
    /// Byte offset in it.
    pub offset: u64,
    /// The LSNs that are at risk: from the first one that cannot be read, to the last one known;
    /// `u64::MAX` where nobody knows how many there were.
    pub lsns: Option<(u64, u64)>,
}

/// An error of the storage engine. Cheap to clone: one failed sync answers many waiters.
#[derive(Clone, Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    place: Option<Place>,
    source: Option<Arc<io::Error>>,
}

/// The result type of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error { kind, message: message.into(), place: None, source: None }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    pub(crate) fn io(message: impl Into<String>, source: io::Error) -> Self {
        let kind = match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::Full,
            _ => ErrorKind::Io,
        };
        Error { kind, message: message.into(), place: None, source: Some(Arc::new(source)) }
    }

    pub(crate) fn corrupt(file: impl Into<PathBuf>, offset: u64, message: impl Into<String>) -> Self {
        let place = Place { file: file.into(), offset, lsns: None };
        Error { place: Some(place), ..Self::new(ErrorKind::Corrupt, message) }
    }

    /// Says which LSNs are at risk. Nothing, if the error is not about damage.
    pub(crate) fn with_lsns(mut self, first: u64, last: u64) -> Self {
        if let Some(place) = &mut self.place {
            // The last one known may be one that is safe.
            place.lsns = Some((first, last.max(first)));
        }
        self
    }

    pub(crate) fn halted(cause: &Error) -> Self {
        Error {
            kind: ErrorKind::Halted,
            message: format!("outcome unknown, the log has stopped: {cause}"),
            place: None,
            source: cause.source.clone(),
        }
    }

    /// What the system said, for a line of the log; empty if it was not asked.
    pub(crate) fn why(&self) -> String {
        std::error::Error::source(self).map(ToString::to_string).unwrap_or_default()
    }

    /// What the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Where damage was found, if this is about damage.
    pub fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(place) = &self.place {
            write!(f, " file={} offset={}", place.file.display(), place.offset)?;
            if let Some((first, last)) = place.lsns {
                match last {
                    u64::MAX => write!(f, " lsns={first}..")?,
                    last => write!(f, " lsns={first}..={last}")?,
                }
            }
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|e| e as _)
    }
}
