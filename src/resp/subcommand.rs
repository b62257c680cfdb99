//! What is wrong with a subcommand.

use super::{fail::Fail, keys::is};

/// The subcommands that there are, so that a wrong number of words is told from a wrong word.
static SUBCOMMANDS: &[(&str, &[&str])] = &[
    ("ACL", &["LIST", "USERS", "WHOAMI"]),
    (
        "CLIENT",
        &[
            "GETNAME",
            "GETREDIR",
            "ID",
            "INFO",
            "KILL",
            "NO-EVICT",
            "NO-TOUCH",
            "REPLY",
            "SETINFO",
            "SETNAME",
            "TRACKING",
            "TRACKINGINFO",
            "UNPAUSE",
        ],
    ),
    ("COMMAND", &["COUNT", "GETKEYS"]),
    ("CONFIG", &["GET", "RESETSTAT", "REWRITE", "SET"]),
    ("LATENCY", &["DOCTOR", "HELP", "HISTORY", "LATEST"]),
    ("MEMORY", &["DOCTOR", "PURGE", "USAGE"]),
    ("OBJECT", &["ENCODING", "FREQ", "IDLETIME", "REFCOUNT"]),
    ("PUBSUB", &["CHANNELS", "NUMPAT", "SHARDCHANNELS"]),
    ("SCRIPT", &["EXISTS", "FLUSH", "KILL", "LOAD"]),
    ("SLOWLOG", &["GET", "LEN", "RESET"]),
];

/// What is wrong with a subcommand that was not run: the number of its words, or that it is none.
pub(super) fn unknown_subcommand(command: &str, word: &[u8]) -> Fail {
    let known = SUBCOMMANDS.iter().find(|(name, _)| *name == command).map_or(&[][..], |(_, known)| known);
    if let Some(name) = known.iter().find(|name| is(word, name)) {
        return Fail::arity(&format!("{command}|{name}").to_ascii_lowercase());
    }
    let word: Vec<u8> = word.iter().copied().take(128).collect();
    Fail::Text(format!("ERR unknown subcommand '{}'. Try {command} HELP.", word.escape_ascii()).into())
}
