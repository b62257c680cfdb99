//! Why a command did not do what it was asked, and how that is said in this protocol.
//!
//! Texts are those of redis-server 7.2 where it has one, because clients look at them.

use std::borrow::Cow;

use crate::node::{
    error::{Code, Error},
    tx::Refused,
};

/// Why a command failed.
#[derive(Debug)]
pub(super) enum Fail {
    /// This is what is replied: code and text.
    Text(Cow<'static, str>),
    /// Something came between: the command is run again.
    Conflict,
    /// There is no room for a write of so many bytes: the command is run again when there is.
    NoRoom(usize),
}

/// What a command comes to.
pub(super) type Done = Result<(), Fail>;

impl Fail {
    pub(super) const SYNTAX: Fail = Fail::text("ERR syntax error");
    pub(super) const NOT_AN_INTEGER: Fail = Fail::text("ERR value is not an integer or out of range");
    pub(super) const NOT_A_FLOAT: Fail = Fail::text("ERR value is not a valid float");
    pub(super) const OVERFLOW: Fail = Fail::text("ERR increment or decrement would overflow");
    pub(super) const NO_SUCH_KEY: Fail = Fail::text("ERR no such key");
    pub(super) const DB_OUT_OF_RANGE: Fail = Fail::text("ERR DB index is out of range");

    pub(super) const fn text(text: &'static str) -> Fail {
        Fail::Text(Cow::Borrowed(text))
    }

    pub(super) fn arity(name: &str) -> Fail {
        Fail::Text(format!("ERR wrong number of arguments for '{name}' command").into())
    }

    pub(super) fn expire_time(name: &str) -> Fail {
        Fail::Text(format!("ERR invalid expire time in '{name}' command").into())
    }
}

impl From<Refused> for Fail {
    fn from(refused: Refused) -> Fail {
        match refused {
            Refused::Conflict => Fail::Conflict,
            Refused::NoRoom(bytes) => Fail::NoRoom(bytes),
            Refused::Error(error) => Error::from_engine(error).into(),
        }
    }
}

impl From<emberkeep_storage::Error> for Fail {
    fn from(error: emberkeep_storage::Error) -> Fail {
        Error::from_engine(error).into()
    }
}

impl From<Error> for Fail {
    fn from(error: Error) -> Fail {
        Fail::Text(text_of(&error).into())
    }
}

/// A reply that would need more memory than one client may take.
pub(super) fn too_long(max: usize) -> Fail {
    Fail::Text(format!("ERR the reply would be too long, ask for fewer values at a time, max={max}").into())
}

/// An error of the node as a reply.
pub(super) fn text_of(error: &Error) -> String {
    let detail = error.detail();
    match error.code() {
        Code::StorageFull if detail.contains("noeviction") => {
            "OOM command not allowed when used memory > 'maxmemory'.".to_owned()
        }
        Code::StorageFull => format!("MISCONF no space: {detail}"),
        Code::WalWriteFailed => format!("MISCONF the log has stopped, restart to recover: {detail}"),
        Code::OutcomeUnknown => format!("TIMEOUT outcome unknown: {detail}"),
        _ => format!("ERR {detail}"),
    }
}
