//! The emberkeep server that is written to.

use std::time::Instant;

use super::{
    address::Address,
    connection::{Connection, Trouble},
    resp::Reply,
    source::{self, About},
};

/// Refusals that are not about one key: every other key would meet them too.
const FOR_ALL: [&str; 8] =
    ["OOM", "READONLY", "MISCONF", "NOAUTH", "NOPERM", "LOADING", "MASTERDOWN", "BUSY"];

/// The server that is copied to.
#[derive(Debug)]
pub struct Target {
    connection: Connection,
    db: Option<u32>,
    /// Its clock when the connection was made, in milliseconds since 1970, and ours then.
    clock: (u64, Instant),
}

/// An entry on its way.
#[derive(Debug)]
pub struct Entry<'k> {
    /// Its key.
    pub key: &'k [u8],
    /// Its value.
    pub value: Vec<u8>,
    /// When it expires by the target's clock, in milliseconds since 1970.
    pub expires: Option<u64>,
}

/// What became of an entry, once the target has acknowledged it.
#[derive(Debug, PartialEq, Eq)]
pub enum Stored {
    /// It is there.
    Copied,
    /// The key was there already, and was left alone.
    AlreadyThere,
    /// The target does not take it, in its words.
    Refused(String),
}

impl Target {
    /// Connects and asks for the time.
    ///
    /// # Errors
    /// See [`Connection::open`].
    pub fn open(address: &Address) -> Result<Target, Trouble> {
        let mut connection = Connection::open("target", address)?;
        let reply = connection.ask(&[b"TIME"])?;
        let time = millis(&reply).ok_or_else(|| connection.unexpected("TIME", &reply))?;
        Ok(Target { connection, db: None, clock: (time, Instant::now()) })
    }

    /// Which server it is.
    ///
    /// # Errors
    /// `Lost` or `Fatal`.
    pub fn about(&mut self) -> Result<About, Trouble> {
        source::about(&mut self.connection)
    }

    /// Its time in milliseconds since 1970, behind by at most one trip: neither a wrong clock here nor a
    /// copy that is sent again makes a lifetime longer.
    pub fn now(&self) -> u64 {
        let (time, told) = self.clock;
        time.saturating_add(told.elapsed().as_millis() as u64)
    }

    /// Stores entries in a database; says what became of each, in order. Unless `overwrite`, a key that
    /// is there stays as it is.
    ///
    /// # Errors
    /// `Lost`: each may be stored or not. `Fatal` if the target takes nothing at all.
    pub fn store(&mut self, db: u32, entries: &[Entry<'_>], overwrite: bool) -> Result<Vec<Stored>, Trouble> {
        if self.db != Some(db) {
            self.connection.ask(&[b"SELECT", db.to_string().as_bytes()])?;
            self.db = Some(db);
        }
        for entry in entries {
            let end = entry.expires.map(|ms| ms.to_string());
            let mut words = vec![&b"SET"[..], entry.key, &entry.value];
            if !overwrite {
                words.push(b"NX");
            }
            if let Some(end) = &end {
                words.extend([&b"PXAT"[..], end.as_bytes()]);
            }
            self.connection.stage(&words);
        }
        let replies = self.connection.send()?;
        replies.into_iter().map(|reply| self.stored(reply)).collect()
    }

    fn stored(&self, reply: Reply) -> Result<Stored, Trouble> {
        match reply {
            Reply::Status(_) => Ok(Stored::Copied),
            Reply::Null => Ok(Stored::AlreadyThere),
            Reply::Error(text) if FOR_ALL.iter().any(|word| text.starts_with(word)) => {
                Err(self.connection.refused(&text))
            }
            Reply::Error(text) => Ok(Stored::Refused(text)),
            reply => Err(self.connection.unexpected("SET", &reply)),
        }
    }
}

/// The time in a reply to TIME: seconds and microseconds.
fn millis(reply: &Reply) -> Option<u64> {
    let Reply::Array(parts) = reply else { return None };
    let [Reply::Bulk(seconds), Reply::Bulk(micros)] = &parts[..] else { return None };
    let number = |bytes| std::str::from_utf8(bytes).ok()?.parse::<u64>().ok();
    number(seconds)?.checked_mul(1000)?.checked_add(number(micros)? / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_seconds_and_microseconds() {
        let of =
            |parts: &[&str]| millis(&Reply::Array(parts.iter().map(|p| Reply::Bulk((*p).into())).collect()));
        assert_eq!(of(&["1700000000", "123999"]), Some(1_700_000_000_123));
        for parts in [&["1"][..], &["-1", "0"], &["18446744073709551615", "0"], &["now", "0"]] {
            assert_eq!(of(parts), None, "{parts:?}");
        }
    }
}
