//! What a person reads: the log on stderr, and the block in words at the start.
//!
//! Not here: metrics and traces.

pub mod startup;

use tracing::level_filters::LevelFilter;

use crate::{
    name,
    node::error::{Error, Result},
};

/// Sends the log to stderr, at the level that the environment names; `info` if it names none.
///
/// # Errors
/// `InvalidArgument` if the level is not known.
pub fn init_log() -> Result<()> {
    let level = match std::env::var(name::ENV_LOG) {
        Err(_) => LevelFilter::INFO,
        Ok(text) => text.parse().map_err(|_| {
            Error::invalid(format!(
                "{} must be off, error, warn, info, debug or trace, got={text:?}",
                name::ENV_LOG
            ))
        })?,
    };
    let colour =
        std::io::IsTerminal::is_terminal(&std::io::stderr()) && std::env::var_os("NO_COLOR").is_none();
    // Fails only if a log is installed already, as in tests: that one stays.
    tracing_subscriber::fmt()
        .compact()
        .with_target(false)
        .with_ansi(colour)
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .try_init()
        .ok();
    Ok(())
}
