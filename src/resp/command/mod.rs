//! The commands, by what they are about. Which there are, and how each is run, says `resp::table`.

pub mod client;
pub mod expiry;
pub mod generic;
pub mod latency;
pub mod later;
pub mod pubsub;
pub mod scan;
pub mod script;
pub mod server;
pub mod strings;
