//! The one error of the server. Its [`Code`] is what programs switch on, in every protocol.
//!
//! Which HTTP status or exit code a [`Code`] becomes is decided by the protocol (`http::error`,
//! `cli::exit`), nowhere else.

use std::fmt;

use emberkeep_storage::{Error as EngineError, ErrorKind};

/// What went wrong, by name. The names are part of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Code {
    /// There is no such key, or it has expired.
    KeyNotFound,
    /// There is no such export file.
    ExportNotFound,
    /// There is no such route.
    RouteNotFound,
    /// The route exists, the method does not.
    MethodNotAllowed,
    /// A condition of the request does not hold.
    PreconditionFailed,
    /// The key is empty or cannot be spelt that way.
    InvalidKey,
    /// The lifetime is zero, negative, too large or not a number.
    InvalidTtl,
    /// Something else about the request is wrong.
    InvalidArgument,
    /// Not one of ONE, QUORUM, ALL.
    InvalidConsistencyLevel,
    /// The key is longer than the limit.
    KeyTooLarge,
    /// The value is longer than the limit.
    ValueTooLarge,
    /// The request body is compressed, and we store bytes as they come.
    UnsupportedEncoding,
    /// The client accepts no form of the value that there is.
    NotAcceptable,
    /// The request did not arrive in time.
    RequestTimeout,
    /// A browser sent this write on behalf of some page.
    CrossSiteWrite,
    /// An export file is damaged; nothing was loaded.
    CorruptExport,
    /// The disk is full.
    StorageFull,
    /// The log stopped earlier: nothing is written until a restart.
    WalWriteFailed,
    /// The write may or may not have happened.
    OutcomeUnknown,
    /// A snapshot is being taken already.
    SnapshotRunning,
    /// No room at the moment.
    Overloaded,
    /// The server reads its data and answers nothing from it yet.
    Recovering,
    /// The server is stopping.
    ShuttingDown,
    /// Stored data is damaged.
    CorruptRecord,
    /// Another process has the data directory.
    Locked,
    /// The data is from a newer release, or not ours.
    Unsupported,
    /// The address cannot be listened on.
    CannotListen,
    /// The operating system refused.
    Io,
}

impl Code {
    /// The name that programs switch on.
    pub fn as_str(self) -> &'static str {
        self.texts().0
    }

    /// The name that people read.
    pub fn title(self) -> &'static str {
        self.texts().1
    }

    fn texts(self) -> (&'static str, &'static str) {
        match self {
            Code::KeyNotFound => ("key-not-found", "Key not found"),
            Code::ExportNotFound => ("export-not-found", "Export file not found"),
            Code::RouteNotFound => ("not-found", "No such route"),
            Code::MethodNotAllowed => ("method-not-allowed", "Method not allowed"),
            Code::PreconditionFailed => ("precondition-failed", "Precondition failed"),
            Code::InvalidKey => ("invalid-key", "Invalid key"),
            Code::InvalidTtl => ("invalid-ttl", "Invalid time to live"),
            Code::InvalidArgument => ("invalid-argument", "Invalid request"),
            Code::InvalidConsistencyLevel => ("invalid-consistency-level", "Invalid consistency level"),
            Code::KeyTooLarge => ("key-too-large", "Key too large"),
            Code::ValueTooLarge => ("value-too-large", "Value too large"),
            Code::UnsupportedEncoding => ("unsupported-encoding", "Content encoding not supported"),
            Code::NotAcceptable => ("not-acceptable", "No acceptable form"),
            Code::RequestTimeout => ("request-timeout", "Request took too long to arrive"),
            Code::CrossSiteWrite => ("cross-site-write", "Write from a browser page refused"),
            Code::CorruptExport => ("corrupt-export", "Export file is damaged"),
            Code::StorageFull => ("storage-full", "Storage is full"),
            Code::WalWriteFailed => ("wal-write-failed", "The log has stopped"),
            Code::OutcomeUnknown => ("outcome-unknown", "Outcome unknown"),
            Code::SnapshotRunning => ("snapshot-running", "A snapshot is being taken"),
            Code::Overloaded => ("overloaded", "Overloaded"),
            Code::Recovering => ("recovering", "Data is being read"),
            Code::ShuttingDown => ("shutting-down", "Shutting down"),
            Code::CorruptRecord => ("corrupt-record", "Stored data is damaged"),
            Code::Locked => ("locked", "Data directory is in use"),
            Code::Unsupported => ("unsupported", "Data directory cannot be used"),
            Code::CannotListen => ("cannot-listen", "Cannot listen"),
            Code::Io => ("io-error", "The operating system refused"),
        }
    }
}

/// An error with its code and what it is about. Lower case, variables last.
#[derive(Clone, Debug)]
pub struct Error {
    code: Code,
    detail: String,
    current: Option<u64>,
    source: Option<Box<EngineError>>,
}

/// The result type of the server.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of our own.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Error { code, detail: detail.into(), current: None, source: None }
    }

    /// The request is wrong.
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(Code::InvalidArgument, detail)
    }

    /// There is no such key.
    pub fn key_not_found() -> Self {
        Self::new(Code::KeyNotFound, "key not found")
    }

    /// A condition does not hold; `current` is the version that stands.
    pub fn precondition_failed(current: Option<u64>) -> Self {
        let detail = match current {
            Some(version) => format!("a condition of the request does not hold, current_version={version}"),
            None => "a condition of the request does not hold, the key is absent".to_owned(),
        };
        Error { current, ..Self::new(Code::PreconditionFailed, detail) }
    }

    /// What a read or the attempt to write met: nothing was written.
    pub fn from_engine(error: EngineError) -> Self {
        let code = match error.kind() {
            ErrorKind::Invalid => Code::InvalidArgument,
            ErrorKind::Overloaded => Code::Overloaded,
            ErrorKind::Full => Code::StorageFull,
            ErrorKind::Locked => Code::Locked,
            ErrorKind::Unsupported => Code::Unsupported,
            ErrorKind::Corrupt => Code::CorruptRecord,
            ErrorKind::Halted => Code::WalWriteFailed,
            ErrorKind::Closed => Code::ShuttingDown,
            _ => Code::Io,
        };
        Error { source: Some(Box::new(error.clone())), ..Self::new(code, error.to_string()) }
    }

    /// What a write met that is already in the order of the log: whatever the cause, it may come
    /// back with the next start, so nobody may be told that it failed.
    pub fn from_commit(error: EngineError) -> Self {
        Error { code: Code::OutcomeUnknown, ..Self::from_engine(error) }
    }

    /// The name of what went wrong.
    pub fn code(&self) -> Code {
        self.code
    }

    /// What it is about, for people.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The version that stands, where a condition on it failed.
    pub fn current(&self) -> Option<u64> {
        self.current
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // The engine's own message is our detail; what it links to is the cause.
        self.source.as_deref().and_then(std::error::Error::source)
    }
}
