//! Real servers side by side: emberkeep's binary and redis-server, each in a directory of its own.
//!
//! [`Server`] starts, kills and restarts them and tells what memory they take; [`Client`] asks
//! both the same things, each in its own protocol (HTTP and RESP), in pipelines.
//!
//! Panics when something cannot be started or asked: a measurement without its subject is none.

mod client;
mod server;

pub use self::{
    client::Client,
    server::{Kind, Server, emberkeep, is_there},
};
