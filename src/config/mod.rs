//! What an operator can decide about the server, as data. Flags fill it today; files and the
//! environment will fill the same struct.
//!
//! Validated once, before anything is opened; an error says what would be right. Components
//! (disk, clock) are not settings.

pub mod memory;
pub mod units;

use std::{net::SocketAddr, time::Duration};

use emberkeep_storage::Settings;
use serde::{Deserialize, Serialize};

use crate::{
    name,
    node::error::{Error, Result},
};

/// Everything that the server is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerSettings {
    /// Where HTTP listens. Default `127.0.0.1:8080`; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Allows an address that other machines reach, although nobody is asked for a key.
    /// Default no.
    pub insecure_no_auth: bool,
    /// How long reads go on after the log has stopped; then the process ends. `None`: until it is
    /// told to stop. Default 5 s.
    pub halt_grace: Option<Duration>,
    /// The share of the memory that this process may use, in per cent, from which `engine.max_bytes`
    /// was worked out. `None` (the default): it was given in bytes.
    pub memory_percent: Option<u8>,
    /// Deadlines and limits of HTTP.
    pub http: HttpSettings,
    /// The Redis-compatible port. `None`: off.
    pub resp: Option<RespSettings>,
    /// The engine's own settings.
    pub engine: Settings,
}

/// The Redis-compatible port: where it listens, and what a slow or hostile client can hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RespSettings {
    /// The port, on the address of HTTP. Default 6379; 0 lets the system choose.
    pub port: u16,
    /// Whether the operator asked for this port: then the server does not start without it. Default no.
    pub required: bool,
    /// Connections at a time; more are told so and closed. Default 10,000.
    pub connections_max: usize,
    /// From the first byte of a request until it is complete; then the connection is closed.
    /// Default 60 s.
    pub request_deadline: Duration,
    /// How long a client may take no byte of a reply; then the connection is closed. Default 30 s.
    pub stall_deadline: Duration,
    /// Bytes of messages that may wait for a client that subscribed to them; then its connection is
    /// closed. Default 16 MiB.
    pub output_bytes_max: usize,
    /// How long running commands may take when the server stops. Default 10 s.
    pub drain_deadline: Duration,
}

impl Default for RespSettings {
    fn default() -> Self {
        RespSettings {
            port: 6379,
            required: false,
            connections_max: 10_000,
            request_deadline: Duration::from_secs(60),
            stall_deadline: Duration::from_secs(30),
            output_bytes_max: 16 << 20,
            drain_deadline: Duration::from_secs(10),
        }
    }
}

/// Deadlines and limits of HTTP: what a slow or hostile client can hold, and for how long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpSettings {
    /// From a connection's start, or the end of a reply, until the next request's headers are
    /// complete; then the connection is closed. Default 10 s.
    pub header_deadline: Duration,
    /// Until a request's body is complete; then 408. Default 30 s.
    pub body_deadline: Duration,
    /// Until the reply begins; then 504 for a write, 503 for a read. Default 60 s.
    pub request_deadline: Duration,
    /// The same for `/save`, `/load` and `/v1/snapshots`, which go on when nobody waits.
    /// Default 10 min.
    pub export_deadline: Duration,
    /// How long a client may take no byte of a reply; then the connection is closed. Default 30 s.
    pub stall_deadline: Duration,
    /// How long running requests may take when the server stops. Default 10 s.
    pub drain_deadline: Duration,
    /// Connections at a time; more wait to be accepted. Default 4,096.
    pub connections_max: usize,
    /// Bytes of request bodies over 64 KiB that may be in memory; more wait, up to the body
    /// deadline. Default 512 MiB, never less than four of the largest values.
    pub body_bytes_max: u64,
}

impl Default for HttpSettings {
    fn default() -> Self {
        HttpSettings {
            header_deadline: Duration::from_secs(10),
            body_deadline: Duration::from_secs(30),
            request_deadline: Duration::from_secs(60),
            export_deadline: Duration::from_secs(600),
            stall_deadline: Duration::from_secs(30),
            drain_deadline: Duration::from_secs(10),
            connections_max: 4096,
            body_bytes_max: 512 << 20,
        }
    }
}

impl Default for ServerSettings {
    fn default() -> Self {
        ServerSettings {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            insecure_no_auth: false,
            halt_grace: Some(Duration::from_secs(5)),
            memory_percent: None,
            http: HttpSettings::default(),
            resp: Some(RespSettings::default()),
            engine: Settings::new(name::DATA_DIR),
        }
    }
}

impl ServerSettings {
    /// Checks everything once.
    ///
    /// # Errors
    /// `InvalidArgument`, saying what would be right.
    pub fn validate(&self) -> Result<()> {
        if !self.listen.ip().is_loopback() && !self.insecure_no_auth {
            return Err(Error::invalid(format!(
                "listening beyond this machine without keys lets anybody read and write the cache; use --bind 127.0.0.1, \
                 or --insecure-no-auth if the network is trusted, bind={}",
                self.listen.ip()
            )));
        }
        self.http.validate()?;
        self.engine.validate().map_err(Error::from_engine)
    }
}

impl HttpSettings {
    fn validate(&self) -> Result<()> {
        let deadlines = [
            ("header_deadline", self.header_deadline),
            ("body_deadline", self.body_deadline),
            ("request_deadline", self.request_deadline),
            ("export_deadline", self.export_deadline),
            ("stall_deadline", self.stall_deadline),
        ];
        for (field, deadline) in deadlines {
            if deadline.is_zero() {
                return Err(Error::invalid(format!("{field} must be longer than zero")));
            }
        }
        match self.connections_max {
            1..=1_000_000 => Ok(()),
            got => Err(Error::invalid(format!("connections_max must be from 1 to 1000000, got={got}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        ServerSettings::default().validate().unwrap();
    }

    #[test]
    fn an_open_address_needs_a_deliberate_word() {
        let open = ServerSettings { listen: ([0, 0, 0, 0], 8080).into(), ..ServerSettings::default() };
        let error = open.validate().unwrap_err();
        assert!(error.detail().contains("--insecure-no-auth"), "{error}");
        ServerSettings { insecure_no_auth: true, ..open }.validate().unwrap();
    }
}
