//! Request bodies: bounded in length before a byte is read, in time, and all together in memory.
//!
//! A body that is announced too long is refused unread; a chunked one as soon as it is too long.
//! A body that stops early is an error, so nothing of it is ever stored.

use std::time::Duration;

use axum::{
    body::{Body, Bytes, HttpBody},
    http::HeaderMap,
};
use http_body_util::BodyExt;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, timeout_at},
};

use super::headers;
use crate::node::error::{Code, Error, Result};

/// Bodies up to here are not counted: connections are, and that bounds them.
const SMALL: u64 = 64 << 10;

/// The room for large bodies in memory.
pub(super) struct Bodies {
    /// One permit for each `SMALL` bytes.
    room: Semaphore,
    /// How many there are in all.
    permits: usize,
}

/// A whole body, holding its room for as long as it lives.
pub(super) struct Received<'b> {
    pub(super) bytes: Bytes,
    _room: Option<SemaphorePermit<'b>>,
}

impl Bodies {
    pub(super) fn new(bytes_max: u64) -> Self {
        let permits = usize::try_from(bytes_max / SMALL).unwrap_or(usize::MAX);
        let permits = permits.clamp(1, Semaphore::MAX_PERMITS);
        Bodies { room: Semaphore::new(permits), permits }
    }

    /// Room that large bodies hold at the moment, in bytes.
    pub(super) fn held_bytes(&self) -> u64 {
        (self.permits - self.room.available_permits()) as u64 * SMALL
    }

    /// Reads a whole body.
    ///
    /// # Errors
    /// `ValueTooLarge`, `UnsupportedEncoding`, `RequestTimeout`, `Overloaded`; `InvalidArgument`
    /// if it ends early.
    pub(super) async fn read(
        &self,
        request: &HeaderMap,
        mut body: Body,
        limit: u64,
        within: Duration,
    ) -> Result<Received<'_>> {
        headers::refuse_encoded(request)?;
        let give_up = Instant::now() + within;
        let announced = body.size_hint().exact();
        check(announced.unwrap_or(0), limit)?;
        let mut room = match announced {
            Some(len) if len > SMALL => Some(self.reserve(len, give_up).await?),
            _ => None,
        };
        let Some(first) = next(&mut body, give_up).await? else {
            return Ok(Received { bytes: Bytes::new(), _room: room });
        };
        if announced == Some(first.len() as u64) {
            return Ok(Received { bytes: first, _room: room });
        }
        // What was announced is covered by `room`, so this allocation is too.
        let mut whole = Vec::with_capacity(announced.map_or(2 * first.len(), |len| len as usize));
        whole.extend_from_slice(&first);
        while let Some(part) = next(&mut body, give_up).await? {
            let len = (whole.len() + part.len()) as u64;
            check(len, limit)?;
            if announced.is_none() {
                self.grow(&mut room, len)?;
            }
            whole.extend_from_slice(&part);
        }
        Ok(Received { bytes: whole.into(), _room: room })
    }

    async fn reserve(&self, len: u64, give_up: Instant) -> Result<SemaphorePermit<'_>> {
        let permits = u32::try_from(len.div_ceil(SMALL)).unwrap_or(u32::MAX);
        match timeout_at(give_up, self.room.acquire_many(permits)).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(no_room()),
        }
    }

    /// A body of unknown length does not wait while it holds room: two could wait for each other.
    fn grow<'b>(&'b self, room: &mut Option<SemaphorePermit<'b>>, len: u64) -> Result<()> {
        let held = room.as_ref().map_or(1, |permit| permit.num_permits() as u64 + 1);
        let missing = len.div_ceil(SMALL).saturating_sub(held);
        if missing == 0 {
            return Ok(());
        }
        let more =
            self.room.try_acquire_many(u32::try_from(missing).unwrap_or(u32::MAX)).map_err(|_| no_room())?;
        match room {
            Some(held) => held.merge(more),
            None => *room = Some(more),
        }
        Ok(())
    }
}

/// The next bytes; `None` at the end.
async fn next(body: &mut Body, give_up: Instant) -> Result<Option<Bytes>> {
    loop {
        match timeout_at(give_up, body.frame()).await {
            Err(_) => {
                return Err(Error::new(
                    Code::RequestTimeout,
                    "the body did not arrive in time, nothing was stored",
                ));
            }
            Ok(None) => return Ok(None),
            Ok(Some(Err(error))) => {
                return Err(Error::invalid(format!(
                    "the body ended early or is malformed, nothing was stored: {error}"
                )));
            }
            // Trailers say nothing to us.
            Ok(Some(Ok(frame))) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

fn check(len: u64, limit: u64) -> Result<()> {
    if len > limit {
        return Err(Error::new(
            Code::ValueTooLarge,
            format!("the body is longer than the limit, max={limit}"),
        ));
    }
    Ok(())
}

fn no_room() -> Error {
    Error::new(Code::Overloaded, "too many large bodies are on their way")
}
