//! Scripts that clients of Redis send, as operations of this server.
//!
//! Lua is not run here. But libraries send few scripts, and always the same: locks, deletes after a
//! comparison, counters with a window. Each of them is a row of [`KNOWN`]: the text as libraries have
//! it, without what does not matter in it, and an operation that does the same, atomically and in the
//! log as its effects. A script that is not in the table is refused by name, never half done.
//!
//! Sources: the libraries named beside each row, in their releases of 2025 and 2026.

use std::{
    collections::HashMap,
    sync::{LazyLock, RwLock},
};

use sha1_smol::Sha1;

use super::{
    command::script::{self as ops, Operation},
    fail::Fail,
};

/// Digests of other spellings that are remembered.
const REMEMBERED_MAX: usize = 1000;

/// A script that is known.
#[derive(Debug)]
pub(super) struct Known {
    /// Who sends it.
    pub(super) of: &'static str,
    /// Its text; white space, comments and semicolons at line ends do not matter.
    pub(super) text: &'static str,
    pub(super) run: Operation,
}

/// All of them.
pub(super) static KNOWN: &[Known] = &[
    Known {
        of: "redis-py Lock.release; aioredis, dogpile.cache, django-redis",
        text: "local token = redis.call('get', KEYS[1])
            if not token or token ~= ARGV[1] then return 0 end
            redis.call('del', KEYS[1])
            return 1",
        run: ops::delete_if_equal,
    },
    Known {
        of: "redis-py Lock.extend",
        text: "local token = redis.call('get', KEYS[1])
            if not token or token ~= ARGV[1] then return 0 end
            local expiration = redis.call('pttl', KEYS[1])
            if not expiration then expiration = 0 end
            if expiration < 0 then return 0 end
            local newttl = ARGV[2]
            if ARGV[3] == \"0\" then newttl = ARGV[2] + expiration end
            redis.call('pexpire', KEYS[1], newttl)
            return 1",
        run: ops::extend_lock,
    },
    Known {
        of: "redis-py Lock.reacquire",
        text: "local token = redis.call('get', KEYS[1])
            if not token or token ~= ARGV[1] then return 0 end
            redis.call('pexpire', KEYS[1], ARGV[2])
            return 1",
        run: ops::expire_if_equal,
    },
    Known {
        of: "the documentation of SET; redlock, redsync, Laravel, aiocache, many more",
        text: "if redis.call(\"get\",KEYS[1]) == ARGV[1] then return redis.call(\"del\",KEYS[1]) else return 0 end",
        run: ops::delete_if_equal,
    },
    Known {
        of: "redlock-py, node-redlock before 5",
        text: "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('pexpire', KEYS[1], ARGV[2]) else return 0 end",
        run: ops::expire_if_equal,
    },
    Known {
        of: "Laravel, refresh of a lock",
        text: "if redis.call('get',KEYS[1]) == ARGV[1] then return redis.call('expire',KEYS[1],ARGV[2]) else return 0 end",
        run: ops::expire_seconds_if_equal,
    },
    Known {
        of: "Laravel Cache::add",
        text: "return redis.call('exists',KEYS[1])<1 and redis.call('setex',KEYS[1],ARGV[2],ARGV[1])",
        run: ops::add_with_seconds,
    },
    Known {
        of: "django-redis incr",
        text: "local exists = redis.call('EXISTS', KEYS[1])
            if (exists == 1) then return redis.call('INCRBY', KEYS[1], ARGV[1])
            else return false end",
        run: ops::add_if_present,
    },
    Known {
        of: "limits, fixed window",
        text: "local current
            local amount = tonumber(ARGV[2])
            current = redis.call(\"incrby\", KEYS[1], amount)
            if tonumber(current) == amount then
            redis.call(\"expire\", KEYS[1], ARGV[1])
            end
            return current",
        run: ops::count_in_window,
    },
    Known {
        of: "limits, reset",
        text: "local keys = redis.call('keys', KEYS[1])
            local res = 0
            for i=1,#keys,5000 do
            res = res + redis.call(
            'del', unpack(keys, i, math.min(i+4999, #keys))
            )
            end
            return res",
        run: ops::delete_matching,
    },
    Known {
        of: "limits, sliding window counter",
        text: "local limit = tonumber(ARGV[1])
            local expiry = tonumber(ARGV[2]) * 1000
            local amount = tonumber(ARGV[3])
            if amount > limit then return false end
            local current_ttl = tonumber(redis.call('pttl', KEYS[2]))
            if current_ttl > 0 and current_ttl < expiry then
            redis.call('rename', KEYS[2], KEYS[1])
            redis.call('set', KEYS[2], 0, 'PX', current_ttl + expiry)
            end
            local previous_count = tonumber(redis.call('get', KEYS[1])) or 0
            local previous_ttl = tonumber(redis.call('pttl', KEYS[1])) or 0
            local current_count = tonumber(redis.call('get', KEYS[2])) or 0
            current_ttl = tonumber(redis.call('pttl', KEYS[2])) or 0
            if previous_ttl <= 0 then previous_ttl = 0 end
            if current_ttl <= 0 then current_ttl = 0 end
            local weighted_count = math.floor(previous_count * previous_ttl / expiry) + current_count
            if (weighted_count + amount) > limit then return false end
            if redis.call('exists', KEYS[2]) == 1 then
            redis.call('incrby', KEYS[2], amount)
            else
            redis.call('set', KEYS[2], amount, 'PX', expiry * 2)
            end
            return true",
        run: ops::slide,
    },
    Known {
        of: "limits, sliding window counter, what is left",
        text: "local expiry = tonumber(ARGV[1]) * 1000
            local previous_count = redis.call('get', KEYS[1])
            local previous_ttl = redis.call('pttl', KEYS[1])
            local current_count = redis.call('get', KEYS[2])
            local current_ttl = redis.call('pttl', KEYS[2])
            if current_ttl > 0 and current_ttl < expiry then
            redis.call('rename', KEYS[2], KEYS[1])
            redis.call('set', KEYS[2], 0, 'PX', current_ttl + expiry)
            previous_count = redis.call('get', KEYS[1])
            previous_ttl = redis.call('pttl', KEYS[1])
            current_count = redis.call('get', KEYS[2])
            current_ttl = redis.call('pttl', KEYS[2])
            end
            return {previous_count, previous_ttl, current_count, current_ttl}",
        run: ops::windows,
    },
    Known {
        of: "rate-limiter-flexible, RateLimiterRedis",
        text: "redis.call('set', KEYS[1], 0, 'EX', ARGV[2], 'NX')
            local consumed = redis.call('incrby', KEYS[1], ARGV[1])
            local ttl = redis.call('pttl', KEYS[1])
            if ttl == -1 then
            redis.call('expire', KEYS[1], ARGV[2])
            ttl = 1000 * ARGV[2]
            end
            return {consumed, ttl}",
        run: ops::consume,
    },
];

/// By the digest of the text as it stands in the table, and of the texts that clients have sent.
static BY_DIGEST: LazyLock<RwLock<HashMap<String, &'static Known>>> =
    LazyLock::new(|| RwLock::new(KNOWN.iter().map(|known| (digest(known.text.as_bytes()), known)).collect()));

static BY_TEXT: LazyLock<HashMap<String, &'static Known>> =
    LazyLock::new(|| KNOWN.iter().map(|known| (normal(known.text), known)).collect());

/// The known script with this text.
pub(super) fn by_text(text: &[u8]) -> Option<&'static Known> {
    let text = std::str::from_utf8(text).ok()?;
    BY_TEXT.get(&normal(text)).copied()
}

/// The known script with this digest, which a client has sent in full before.
pub(super) fn by_digest(digest: &[u8]) -> Option<&'static Known> {
    let digest = std::str::from_utf8(digest).ok()?.to_ascii_lowercase();
    BY_DIGEST.read().expect("nothing panics under this lock").get(&digest).copied()
}

/// The digest of a text that is another spelling of a known one, to be found by it from now on.
pub(super) fn remember(text: &[u8], known: &'static Known) -> String {
    let digest = digest(text);
    tracing::debug!(digest, of = known.of, "a known script");
    let mut by_digest = BY_DIGEST.write().expect("nothing panics under this lock");
    if by_digest.len() < REMEMBERED_MAX {
        by_digest.insert(digest.clone(), known);
    }
    digest
}

pub(super) fn digest(text: &[u8]) -> String {
    Sha1::from(text).digest().to_string()
}

/// What is said of a script that is not in the table.
pub(super) fn unknown(digest: &str) -> Fail {
    Fail::Text(format!("ERR this server runs known scripts only, sha={digest}; see COMPAT.md for which, and for what to use instead").into())
}

/// The text without comments and white space that does not matter, with one kind of quotes.
fn normal(text: &str) -> String {
    let lines = text.lines().map(|line| line.split_once("--").map_or(line, |(code, _)| code));
    let mut out = String::with_capacity(text.len());
    for word in lines.flat_map(str::split_ascii_whitespace) {
        // A blank matters only between two words.
        let word_begins = word.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        if word_begins && out.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_') {
            out.push(' ');
        }
        out.extend(word.chars().filter(|c| *c != ';').map(|c| if c == '"' { '\'' } else { c }));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_comments_and_quotes_do_not_matter() {
        let text = "-- a lock\nif  redis.call( 'get', KEYS[1] ) ==\n  ARGV[1] then -- ours\n  return redis.call('del',KEYS[1]);\nelse\n  return 0\nend\n";
        let known = by_text(text.as_bytes()).unwrap();
        assert!(known.of.contains("documentation of SET"), "{}", known.of);
        assert!(by_text(b"return 1").is_none());
        assert!(by_text(b"if redis.call('get',KEYS[1]) == ARGV[1] then return redis.call('del',KEYS[2]) else return 0 end").is_none());
    }

    #[test]
    fn every_row_is_another_script() {
        assert_eq!(BY_TEXT.len(), KNOWN.len());
    }

    #[test]
    fn a_spelling_that_was_sent_is_found_by_its_digest() {
        let text = b"return redis.call('exists', KEYS[1]) < 1 and redis.call('setex', KEYS[1], ARGV[2], ARGV[1]) -- once";
        assert!(by_digest(digest(text).as_bytes()).is_none());
        let known = by_text(text).unwrap();
        let digest = remember(text, known);
        assert!(std::ptr::eq(by_digest(digest.to_uppercase().as_bytes()).unwrap(), known));
    }
}
