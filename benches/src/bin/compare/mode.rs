//! The promises that are compared, and how each server is told to keep them.

use emberkeep_benches::peer::Kind;

/// When a write is acknowledged.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// When it is on the disk.
    Always,
    /// When the system has it, with a sync each second.
    Interval,
    /// When the system has it.
    Never,
    /// When it is in memory: nothing is logged.
    Memory,
}

impl Mode {
    pub const ALL: [Mode; 4] = [Mode::Always, Mode::Interval, Mode::Never, Mode::Memory];

    /// As `emberkeep bench` tells it.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Always => "always",
            Mode::Interval => "interval",
            Mode::Never => "never",
            Mode::Memory => "memory",
        }
    }

    /// What a server is started with. None compacts its log, none has a limit of memory.
    pub fn flags(self, kind: Kind) -> Vec<&'static str> {
        match kind {
            Kind::Emberkeep => [&["--max-memory", "none"][..], self.ours()].concat(),
            Kind::Redis | Kind::Valkey => {
                [&["--save", "", "--auto-aof-rewrite-percentage", "0"][..], self.theirs()].concat()
            }
        }
    }

    fn ours(self) -> &'static [&'static str] {
        match self {
            Mode::Always => &["--fsync", "always", "--checkpoint-size", "1TiB"],
            Mode::Interval => &["--fsync", "interval", "--fsync-interval", "1s", "--checkpoint-size", "1TiB"],
            Mode::Never => &["--fsync", "never", "--checkpoint-size", "1TiB"],
            Mode::Memory => &["--memory-only"],
        }
    }

    fn theirs(self) -> &'static [&'static str] {
        match self {
            Mode::Always => &["--appendonly", "yes", "--appendfsync", "always"],
            Mode::Interval => &["--appendonly", "yes", "--appendfsync", "everysec"],
            Mode::Never => &["--appendonly", "yes", "--appendfsync", "no"],
            Mode::Memory => &["--appendonly", "no"],
        }
    }
}
