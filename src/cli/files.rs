//! Open files: as many as the system permits, and connections never take those that the log needs.
//!
//! A connection is an open file, and so is a segment of the log. If clients could use up the limit, the
//! next segment could not be opened, and the log would stop: a few idle clients would end the server.
//!
//! Not here: what happens to a connection too many (`http::server`, `resp::serve`).

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::ServerSettings;

/// Kept for the log, snapshots, exports, and connections that are told to go.
const KEPT: usize = 128;

/// Raises the limit of this process as far as it may, and takes back connections that it cannot hold.
pub(super) fn fit(settings: &mut ServerSettings) {
    let allowed = raise();
    let http = settings.http.connections_max;
    let resp = settings.resp.as_ref().map_or(0, |resp| resp.connections_max);
    let Some(shares) = shares(allowed, http, resp) else { return };
    settings.http.connections_max = shares.0;
    if let Some(resp) = &mut settings.resp {
        resp.connections_max = shares.1;
    }
    tracing::warn!(
        "this process may have {allowed} open files, so connections are fewer: {} of HTTP instead of {http}, \
         {} of the Redis protocol instead of {resp}; for all of them let it have {} (ulimit -n, LimitNOFILE)",
        shares.0,
        shares.1,
        http + resp + KEPT
    );
}

/// How many files this process may have open from now on.
fn raise() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // No number means no limit.
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let allowed = if raised.is_ok() { maximum } else { current };
    allowed.and_then(|files| usize::try_from(files).ok()).unwrap_or(usize::MAX)
}

/// The connections of HTTP and of the Redis protocol that `allowed` files have room for, in proportion to
/// what they would be; `None` if there is room for all.
fn shares(allowed: usize, http: usize, resp: usize) -> Option<(usize, usize)> {
    let room = allowed.saturating_sub(KEPT);
    let wanted = http + resp;
    if wanted <= room {
        return None;
    }
    let share = |of: usize| (of * room / wanted).max(1);
    Some((share(http), share(resp)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_the_log() {
        assert_eq!(shares(usize::MAX, 4096, 10_000), None);
        assert_eq!(shares(4096 + 10_000 + KEPT, 4096, 10_000), None);
        for allowed in [200, 1024, 4096, 4096 + 10_000 + KEPT - 1] {
            let (http, resp) = shares(allowed, 4096, 10_000).unwrap();
            assert!(http + resp <= allowed - KEPT, "allowed={allowed}");
            assert!(http + resp + 2 >= allowed - KEPT && resp > 2 * http, "allowed={allowed}");
        }
        assert_eq!(shares(1024, 4096, 0).unwrap().0, 1024 - KEPT);
    }

    #[test]
    fn there_is_always_room_for_somebody() {
        assert_eq!(shares(3, 4096, 10_000), Some((1, 1)));
    }
}
