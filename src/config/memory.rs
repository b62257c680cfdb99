//! The limit of memory as people give it: a size, a share of what the process may use, or none.
//!
//! A share is worked out once, at the start. Who changes the limit of a container starts it anew.

use crate::{
    config::units::{parse_bytes, show_bytes},
    node::error::{Code, Error, Result},
    system::{self, Allowed},
};

/// The largest share: beside the entries there are buffers, connections and the program.
const PERCENT_MAX: u8 = 95;

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryLimit {
    /// No limit in bytes.
    None,
    /// So many bytes.
    Bytes(u64),
    /// So many per cent of what this process may use.
    Percent(u8),
}

impl MemoryLimit {
    /// Reads `512MiB`, `60%` or `none`.
    ///
    /// # Errors
    /// `InvalidArgument`, saying what would be right.
    pub fn parse(text: &str) -> Result<MemoryLimit> {
        if text == "none" {
            return Ok(MemoryLimit::None);
        }
        let Some(digits) = text.strip_suffix('%') else {
            return parse_bytes(text).map(MemoryLimit::Bytes).map_err(|e| {
                Error::invalid(format!("{}; or a share of memory such as 60%, or none", e.detail()))
            });
        };
        match digits.parse() {
            Ok(percent @ 1..=PERCENT_MAX) => Ok(MemoryLimit::Percent(percent)),
            _ => Err(Error::invalid(format!(
                "a share of memory is a whole number from 1% to {PERCENT_MAX}%, got={text:?}"
            ))),
        }
    }

    /// The limit in bytes.
    ///
    /// # Errors
    /// `InvalidArgument` if it is a share and the system does not tell of what.
    pub fn bytes(self) -> Result<Option<u64>> {
        match self {
            MemoryLimit::None => Ok(None),
            MemoryLimit::Bytes(bytes) => Ok(Some(bytes)),
            MemoryLimit::Percent(percent) => match system::allowed_memory() {
                Some(allowed) => Ok(Some(share(percent, allowed))),
                None => Err(Error::new(
                    Code::InvalidArgument,
                    "the system does not tell how much memory this process may use; give a size such as 4GiB \
                     instead of a share",
                )),
            },
        }
    }

    /// The share, if it is one.
    pub fn percent(self) -> Option<u8> {
        match self {
            MemoryLimit::Percent(percent) => Some(percent),
            MemoryLimit::None | MemoryLimit::Bytes(_) => None,
        }
    }
}

/// Where the limit comes from: `60 % of 4 GiB (cgroup)`. Nothing for one that was given in bytes.
pub fn origin(percent: Option<u8>, allowed: Option<Allowed>) -> Option<String> {
    let (percent, allowed) = (percent?, allowed?);
    Some(format!("{percent} % of {} ({})", show_bytes(allowed.bytes), allowed.by.as_str()))
}

/// What is wrong with a limit that the process can never reach, if it is one.
pub fn warning(max_bytes: Option<u64>, allowed: Option<Allowed>) -> Option<String> {
    let (max, allowed) = (max_bytes?, allowed?);
    (max > allowed.bytes).then(|| {
        format!(
            "the limit of {} is more than this process may use, {} ({}): it would be killed before the cache is \
             full; use --max-memory 60%, or less than {}",
            show_bytes(max),
            show_bytes(allowed.bytes),
            allowed.by.as_str(),
            show_bytes(allowed.bytes),
        )
    })
}

fn share(percent: u8, allowed: Allowed) -> u64 {
    // Divided first: no size overflows, and a hundredth of a byte is nobody's concern.
    allowed.bytes / 100 * u64::from(percent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::Limiter;

    const ALLOWED: Allowed = Allowed { bytes: 4 << 30, by: Limiter::Cgroup };

    #[test]
    fn a_limit_is_a_size_a_share_or_none() {
        assert_eq!(MemoryLimit::parse("none").unwrap(), MemoryLimit::None);
        assert_eq!(MemoryLimit::parse("1GiB").unwrap(), MemoryLimit::Bytes(1 << 30));
        assert_eq!(MemoryLimit::parse("60%").unwrap(), MemoryLimit::Percent(60));
        for text in ["", "%", "0%", "96%", "60.5%", "-1%", "60 %", "1e2%", "300%", "lots"] {
            let error = MemoryLimit::parse(text).unwrap_err();
            assert!(error.detail().contains('%') && error.detail().contains("got="), "{text}: {error}");
        }
    }

    #[test]
    fn a_share_is_of_what_this_process_may_use() {
        assert_eq!(share(50, ALLOWED), (4 << 30) / 100 * 50);
        assert_eq!(share(95, Allowed { bytes: u64::MAX, ..ALLOWED }), u64::MAX / 100 * 95);
        let allowed = system::allowed_memory().unwrap();
        let half = MemoryLimit::Percent(50).bytes().unwrap().unwrap();
        assert!(half <= allowed.bytes / 2 && half > allowed.bytes / 3);
    }

    #[test]
    fn where_it_comes_from_is_told_and_so_is_a_limit_out_of_reach() {
        assert_eq!(origin(Some(60), Some(ALLOWED)).unwrap(), "60 % of 4 GiB (cgroup)");
        assert_eq!(origin(None, Some(ALLOWED)), None);
        assert_eq!(warning(Some(4 << 30), Some(ALLOWED)), None);
        assert_eq!(warning(None, Some(ALLOWED)), None);
        let told = warning(Some(8 << 30), Some(ALLOWED)).unwrap();
        assert!(told.contains("8 GiB") && told.contains("4 GiB (cgroup)") && told.contains("60%"), "{told}");
    }
}
