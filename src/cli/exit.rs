//! Exit codes: 0 fine, 1 (tools) a torn tail and nothing else, 2 wrong usage or settings, 3 cannot
//! listen, or (`bench`) cannot connect, 5 refused (in use, foreign, full, not permitted), 6 damage found, 7 the log stopped: what
//! was under way may have happened.

use crate::{
    node::{
        Fsync,
        error::{Code, Error},
    },
    tool::offline::BEYOND_REPAIR,
};

/// Why the program ends, and with which code.
pub(super) struct Failed {
    error: Error,
    code: u8,
    advice: Option<&'static str>,
}

impl Failed {
    /// The arguments are wrong, whatever the error says.
    pub(super) fn usage(error: Error) -> Self {
        Failed { error, code: 2, advice: None }
    }

    /// A server that is to be asked cannot be reached.
    pub(super) fn unreachable(error: Error) -> Self {
        Failed { error, code: 3, advice: None }
    }

    /// It served, and the disk failed under it: before it was told to stop, or in its last writes.
    pub(super) fn halted(error: Error, fsync: Fsync) -> Self {
        Failed { error, code: 7, advice: Some(after_a_halt(fsync)) }
    }

    /// A tool could not read what tells it which files count. A start refuses the directory too, and
    /// `wal repair` is no help: it was refused in just this way.
    pub(super) fn of_a_tool(error: Error) -> Self {
        let is_damage = error.code() == Code::CorruptRecord;
        let failed = Failed::from(error);
        if is_damage { Failed { advice: Some(BEYOND_REPAIR), ..failed } } else { failed }
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
        match self.advice {
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
        let advice = advice(error.code());
        Failed { error, code, advice }
    }
}

fn advice(code: Code) -> Option<&'static str> {
    match code {
        Code::Locked => Some("another process has it open; stop that one or choose another --data-dir"),
        Code::CannotListen => {
            Some("stop what listens there, or choose another with --port (0 lets the system choose)")
        }
        Code::StorageFull => Some(
            "make room on that disk and start again; nothing was lost\n\
             a new data directory takes four log files at once: a smaller --segment-size needs less",
        ),
        Code::CorruptRecord => Some(
            "nothing was changed; `wal verify` of this program says more, `wal repair` what can be kept; copy the \
             directory before any repair",
        ),
        _ => None,
    }
}

/// What is known after a failed write or sync of the log, by the promise of the mode.
fn after_a_halt(fsync: Fsync) -> &'static str {
    match fsync {
        Fsync::Always => {
            "every acknowledged write is on the disk; a write without an answer may have happened or not\n\
             check the disk and its cables, the system's log names them; then start again: it recovers by itself"
        }
        Fsync::Interval | Fsync::Never | Fsync::Off => {
            "what was synced is on the disk; a write acknowledged since the last sync may be lost, a write without \
             an answer may have happened or not\n\
             check the disk and its cables, the system's log names them; then start again: it recovers by itself"
        }
    }
}
