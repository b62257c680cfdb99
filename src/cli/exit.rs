//! Exit codes: 0 fine, 1 (tools) a torn tail and nothing else, 2 wrong usage or settings, 3 cannot listen, 5 refused (in use, foreign,
//! full, not permitted), 6 damage found.

use crate::node::error::{Code, Error};

/// Why the program ends, and with which code.
pub(super) struct Failed {
    error: Error,
    code: u8,
}

impl Failed {
    /// The arguments are wrong, whatever the error says.
    pub(super) fn usage(error: Error) -> Self {
        Failed { error, code: 2 }
    }

    pub(super) fn code(&self) -> u8 {
        self.code
    }

    /// What went wrong, its cause, and what can be done.
    pub(super) fn text(&self) -> String {
        let mut text = self.error.detail().to_owned();
        let mut cause = std::error::Error::source(&self.error);
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        match advice(self.error.code()) {
            Some(advice) => format!("{text}\n{advice}"),
            None => text,
        }
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        let code = match error.code() {
            Code::InvalidArgument => 2,
            Code::CannotListen => 3,
            Code::CorruptRecord => 6,
            _ => 5,
        };
        Failed { error, code }
    }
}

fn advice(code: Code) -> Option<&'static str> {
    match code {
        Code::Locked => Some("another process has it open; stop that one or choose another --data-dir"),
        Code::CannotListen => {
            Some("stop what listens there, or choose another with --port (0 lets the system choose)")
        }
        Code::StorageFull => Some("make room on that disk and start again; nothing was lost"),
        Code::CorruptRecord => Some(
            "nothing was changed; `wal verify` and `wal repair` of this program say more, keep a copy before any repair",
        ),
        _ => None,
    }
}
