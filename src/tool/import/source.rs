//! The server that is read: which databases it has, their keys page by page, values with what is left
//! of their lifetimes.

use std::{collections::BTreeMap, time::Duration};

use super::{
    address::Address,
    connection::{Connection, Trouble},
    resp::Reply,
};

/// The server that is copied from.
#[derive(Debug)]
pub struct Source {
    connection: Connection,
    db: Option<u32>,
}

/// What a server says of itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct About {
    /// Another one after each start; empty if it does not tell.
    pub run_id: String,
    /// Databases that hold something, and how many keys.
    pub keys: BTreeMap<u32, u64>,
}

/// What SCAN gives: keys, and where it goes on; 0 at the end.
#[derive(Debug, PartialEq, Eq)]
pub struct Page {
    /// Where the next page begins.
    pub cursor: u64,
    /// May hold a key that another page held too.
    pub keys: Vec<Vec<u8>>,
}

/// What stands under a key.
#[derive(Debug, PartialEq, Eq)]
pub enum Kind {
    /// A string of so many bytes.
    Text(u64),
    /// Nothing any more.
    Gone,
    /// A type that is not copied.
    Other(String),
}

/// A value as it was read.
#[derive(Debug, PartialEq, Eq)]
pub enum Value {
    /// Bytes, and how long they live on; `None`: until they are deleted.
    Text(Vec<u8>, Option<Duration>),
    /// It has expired or was deleted meanwhile.
    Gone,
    /// It has become another type meanwhile.
    Changed,
}

impl Source {
    /// Connects.
    ///
    /// # Errors
    /// See [`Connection::open`].
    pub fn open(address: &Address) -> Result<Source, Trouble> {
        Ok(Source { connection: Connection::open("source", address)?, db: None })
    }

    /// Which server it is, and what it holds.
    ///
    /// # Errors
    /// `Lost` or `Fatal`.
    pub fn about(&mut self) -> Result<About, Trouble> {
        about(&mut self.connection)
    }

    /// A page of keys of a database, some `count` of them.
    ///
    /// # Errors
    /// `Lost` or `Fatal`.
    pub fn scan(&mut self, db: u32, cursor: u64, pattern: Option<&str>, count: u64) -> Result<Page, Trouble> {
        if self.db != Some(db) {
            self.connection.ask(&[b"SELECT", db.to_string().as_bytes()])?;
            self.db = Some(db);
        }
        let (cursor, count) = (cursor.to_string(), count.to_string());
        let mut words = vec![&b"SCAN"[..], cursor.as_bytes(), b"COUNT", count.as_bytes()];
        if let Some(pattern) = pattern {
            words.extend([&b"MATCH"[..], pattern.as_bytes()]);
        }
        let reply = self.connection.ask(&words)?;
        page(&reply).ok_or_else(|| self.connection.unexpected("SCAN", &reply))
    }

    /// What stands under these keys of the database that was scanned last.
    ///
    /// # Errors
    /// `Lost` or `Fatal`.
    pub fn kinds(&mut self, keys: &[Vec<u8>]) -> Result<Vec<Kind>, Trouble> {
        for key in keys {
            self.connection.stage(&[b"TYPE", key]);
            self.connection.stage(&[b"STRLEN", key]);
        }
        let replies = self.connection.send()?;
        let kind = |pair: &[Reply]| match pair {
            [Reply::Status(name), _] if name == "none" => Ok(Kind::Gone),
            // Between the two it may have become another type.
            [Reply::Status(name), Reply::Integer(len)] if name == "string" => {
                Ok(Kind::Text(len.unsigned_abs()))
            }
            [Reply::Status(name), Reply::Error(_)] if name == "string" => Ok(Kind::Text(0)),
            [Reply::Status(name), _] => Ok(Kind::Other(name.clone())),
            [Reply::Error(text), _] => Err(self.connection.refused(text)),
            _ => Err(self.connection.unexpected("TYPE", &pair[0])),
        };
        replies.chunks(2).map(kind).collect()
    }

    /// The values of these keys. Read in one transaction: a lifetime is that of the value beside it,
    /// whoever writes at the same time.
    ///
    /// # Errors
    /// `Lost` or `Fatal`.
    pub fn values(&mut self, keys: &[&[u8]]) -> Result<Vec<Value>, Trouble> {
        self.connection.stage(&[b"MULTI"]);
        for key in keys {
            self.connection.stage(&[b"GET", key]);
            self.connection.stage(&[b"PTTL", key]);
        }
        self.connection.stage(&[b"EXEC"]);
        let reply = self.connection.send()?.pop().unwrap_or(Reply::Null);
        match reply {
            Reply::Array(replies) if replies.len() == 2 * keys.len() => {
                let mut values = Vec::with_capacity(keys.len());
                let mut replies = replies.into_iter();
                while let (Some(value), Some(left)) = (replies.next(), replies.next()) {
                    values.push(self.value(value, &left)?);
                }
                Ok(values)
            }
            Reply::Error(text) => Err(self.connection.refused(&text)),
            reply => Err(self.connection.unexpected("EXEC", &reply)),
        }
    }

    fn value(&self, value: Reply, left: &Reply) -> Result<Value, Trouble> {
        match (value, left) {
            (Reply::Bulk(bytes), Reply::Integer(-1)) => Ok(Value::Text(bytes, None)),
            (Reply::Bulk(bytes), &Reply::Integer(ms)) if ms > 0 => {
                Ok(Value::Text(bytes, Some(Duration::from_millis(ms.unsigned_abs()))))
            }
            (Reply::Bulk(_), Reply::Integer(0 | -2)) | (Reply::Null, _) => Ok(Value::Gone),
            (Reply::Error(text), _) if text.starts_with("WRONGTYPE") => Ok(Value::Changed),
            (Reply::Error(text), _) => Err(self.connection.refused(&text)),
            (_, left) => Err(self.connection.unexpected("PTTL", left)),
        }
    }
}

/// Asks a server which one it is and what it holds.
///
/// # Errors
/// `Lost` or `Fatal`.
pub fn about(connection: &mut Connection) -> Result<About, Trouble> {
    let mut about = About::default();
    for section in ["server", "keyspace"] {
        let reply = connection.ask(&[b"INFO", section.as_bytes()])?;
        let Reply::Bulk(text) = &reply else { return Err(connection.unexpected("INFO", &reply)) };
        about.add(&String::from_utf8_lossy(text));
    }
    Ok(about)
}

impl About {
    /// Takes what counts from lines such as `run_id:…` and `db0:keys=12,expires=3`.
    fn add(&mut self, text: &str) {
        for (name, value) in text.lines().filter_map(|line| line.trim_end().split_once(':')) {
            if name == "run_id" {
                value.clone_into(&mut self.run_id);
            }
            let db = name.strip_prefix("db").and_then(|db| db.parse().ok());
            let keys = value.split(',').find_map(|field| field.strip_prefix("keys=")?.parse().ok());
            if let (Some(db), Some(keys)) = (db, keys) {
                self.keys.insert(db, keys);
            }
        }
    }
}

fn page(reply: &Reply) -> Option<Page> {
    let Reply::Array(parts) = reply else { return None };
    let [Reply::Bulk(cursor), Reply::Array(keys)] = &parts[..] else { return None };
    let cursor = std::str::from_utf8(cursor).ok()?.parse().ok()?;
    let key = |reply: &Reply| match reply {
        Reply::Bulk(key) => Some(key.clone()),
        _ => None,
    };
    Some(Page { cursor, keys: keys.iter().map(key).collect::<Option<_>>()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn databases_and_the_run_are_found_among_other_lines() {
        let mut about = About::default();
        about.add("# Server\r\nredis_version:7.2.4\r\nrun_id:abc\r\n");
        about.add("# Keyspace\r\ndb0:keys=12,expires=3,avg_ttl=0\r\ndb11:keys=1,expires=0\r\ndbx:keys=1\r\ndb3:k=1\r\n");
        assert_eq!(about, About { run_id: "abc".into(), keys: [(0, 12), (11, 1)].into() });
    }

    #[test]
    fn a_page_that_is_none_is_not_taken_for_one() {
        let bulk = |text: &str| Reply::Bulk(text.into());
        let of = |parts: &[Reply]| page(&Reply::Array(parts.to_vec()));
        let keys = Reply::Array(vec![bulk("a"), bulk("b")]);
        let whole = Page { cursor: u64::MAX, keys: vec![b"a".into(), b"b".into()] };
        assert_eq!(of(&[bulk("18446744073709551615"), keys.clone()]), Some(whole));
        for parts in [
            &[bulk("18446744073709551616"), keys.clone()][..],
            &[bulk("-1"), keys.clone()],
            &[Reply::Null, keys.clone()],
            &[bulk("0"), Reply::Null],
            &[bulk("0"), Reply::Array(vec![Reply::Null])],
            &[bulk("0"), keys.clone(), Reply::Null],
        ] {
            assert_eq!(of(parts), None, "{parts:?}");
        }
    }
}
