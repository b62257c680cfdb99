//! What the system says about memory: how much this process may use, and how much it does.
//!
//! The only file of the server that reads `/proc` and `/sys`. What the files mean is decided by
//! functions of their text.

use std::path::{Path, PathBuf};

/// Where the controllers are mounted, by convention of every distribution.
const CGROUPS: &str = "/sys/fs/cgroup";
/// From here on a limit of version 1 means that there is none: it is the largest multiple of a
/// page, which differs between architectures.
const UNLIMITED_MIN: u64 = 1 << 62;

/// How much memory this process may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// In bytes.
    pub bytes: u64,
    /// What sets this limit.
    pub by: Limiter,
}

/// What limits the memory of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limiter {
    /// A control group, as of a container or a service.
    Cgroup,
    /// The memory that the machine has.
    Machine,
}

impl Limiter {
    /// In a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Limiter::Cgroup => "cgroup",
            Limiter::Machine => "machine",
        }
    }
}

/// What of this process is in memory. The parts add up to `total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resident {
    /// All of it, in bytes: RSS.
    pub total: u64,
    /// Heap and stacks.
    pub anonymous: u64,
    /// Pages of files: the program itself, its libraries, and files that are mapped.
    pub files: u64,
    /// Shared memory.
    pub shared: u64,
}

/// The smallest limit that holds for this process; `None` if the system does not tell.
pub fn allowed_memory() -> Option<Allowed> {
    allowed(&read)
}

/// What of this process is in memory; `None` if the system does not tell.
pub fn resident() -> Option<Resident> {
    resident_of(&read(Path::new("/proc/self/status"))?)
}

/// Seconds of CPU that this process has used by itself and through the system; `None` if the system
/// does not tell.
pub fn cpu_seconds() -> Option<(f64, f64)> {
    cpu_seconds_of(&read(Path::new("/proc/self/stat"))?)
}

/// Fields 14 and 15 behind the name, which may hold blanks, in hundredths of a second.
fn cpu_seconds_of(stat: &str) -> Option<(f64, f64)> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let mut seconds = || fields.next()?.parse::<u64>().ok().map(|ticks| ticks as f64 / 100.0);
    Some((seconds()?, seconds()?))
}

/// What the allocator has handed out, and what it keeps free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heap {
    /// Bytes in use, with what is in front of each piece and behind it.
    pub in_use: u64,
    /// Bytes freed and kept, for later or because they lie between what is in use. Pages of them
    /// that were never touched are not in memory.
    pub free: u64,
}

/// The heap of this process; `None` if the allocator does not tell. Walks all free pieces:
/// milliseconds in a large process.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn heap() -> Option<Heap> {
    use malloc_info::info::{SystemType, TotalType};
    let info = malloc_info::malloc_info().ok()?;
    let total = |wanted: TotalType| {
        info.total.iter().filter(|total| total.r#type == wanted).map(|total| total.size as u64).sum::<u64>()
    };
    let pools = info.system.iter().find(|system| system.r#type == SystemType::Current)?.size as u64;
    let free = total(TotalType::Fast) + total(TotalType::Rest);
    // Large pieces are mapped apart from the pools.
    Some(Heap { in_use: pools.saturating_sub(free) + total(TotalType::Mmap), free })
}

/// Another allocator, which does not tell.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn heap() -> Option<Heap> {
    None
}

fn read(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// As `allowed_memory`, on the files that `read` gives.
fn allowed(read: &dyn Fn(&Path) -> Option<String>) -> Option<Allowed> {
    let groups = read(Path::new("/proc/self/cgroup")).unwrap_or_default();
    let limits = limit_files(&groups).into_iter().filter_map(|file| limit_of(&read(&file)?));
    let machine = read(Path::new("/proc/meminfo")).and_then(|text| kib_field(&text, "MemTotal:"));
    let cgroup = limits.min().map(|bytes| Allowed { bytes, by: Limiter::Cgroup });
    let machine = machine.map(|bytes| Allowed { bytes, by: Limiter::Machine });
    // A limit beyond what the machine has limits nothing.
    cgroup.into_iter().chain(machine).min_by_key(|allowed| allowed.bytes)
}

/// Every file that may limit this process: of its own group and of all above it. A container sees
/// only some of them: those that are not there are skipped.
fn limit_files(groups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        // "0::/path" in version 2, "4:memory:/path" in version 1.
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (fields.next(), fields.next()) else { continue };
        let (mount, file) = match controllers {
            "" => (PathBuf::from(CGROUPS), "memory.max"),
            list if list.split(',').any(|name| name == "memory") => {
                (Path::new(CGROUPS).join("memory"), "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let own = Path::new(group.trim_start_matches('/'));
        files.extend(own.ancestors().map(|above| mount.join(above).join(file)));
    }
    files
}

/// The limit that such a file holds; `None` for `max` and for what means no limit.
fn limit_of(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|bytes| *bytes < UNLIMITED_MIN)
}

fn resident_of(status: &str) -> Option<Resident> {
    let field = |name| kib_field(status, name);
    let (anonymous, files, shared) = (field("RssAnon:")?, field("RssFile:")?, field("RssShmem:")?);
    // The sum, not `VmRSS`: read at the same moment, but the parts must add up.
    Some(Resident { total: anonymous + files + shared, anonymous, files, shared })
}

/// The bytes of a line such as `MemTotal:  16384 kB`.
fn kib_field(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.trim().strip_suffix("kB")?.trim_end().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;
    const MEMINFO: (&str, &str) = ("/proc/meminfo", "MemTotal:       16777216 kB\nMemFree:   1 kB\n");
    const V1: &str = "5:devices:/\n4:cpu,memory:/docker/ab:c\n0::/\n";

    fn allowed_by(files: &[(&str, &str)]) -> Option<(u64, Limiter)> {
        let read = |path: &Path| {
            files.iter().find(|(name, _)| Path::new(name) == path).map(|(_, text)| (*text).to_owned())
        };
        allowed(&read).map(|a| (a.bytes, a.by))
    }

    #[test]
    fn cpu_time_is_found_behind_a_name_with_blanks() {
        let stat = "42 (a b) c) S 1 42 42 0 -1 4194560 100 0 0 0 250 75 0 0 20 0 1 0 9 0 0";
        assert_eq!(cpu_seconds_of(stat), Some((2.5, 0.75)));
        assert_eq!(cpu_seconds_of("nonsense"), None);
    }

    #[test]
    fn the_smallest_limit_from_the_own_group_up_to_the_root_counts() {
        let own = ("/proc/self/cgroup", "0::/system.slice/cache.service\n");
        let of = |path, text| (path, text);
        let service = "/sys/fs/cgroup/system.slice/cache.service/memory.max";
        let slice = "/sys/fs/cgroup/system.slice/memory.max";
        let machine = Some((16 * GIB, Limiter::Machine));
        let cgroup = |bytes| Some((bytes, Limiter::Cgroup));
        let table = [
            (vec![own, MEMINFO, of(service, "4294967296\n")], cgroup(4 * GIB)),
            (vec![own, MEMINFO, of(service, "max\n"), of(slice, "2147483648\n")], cgroup(2 * GIB)),
            (vec![own, MEMINFO, of(service, "1073741824\n"), of(slice, "2147483648\n")], cgroup(GIB)),
            (vec![own, MEMINFO, of(service, "max\n"), of(slice, "max\n")], machine),
            // More than there is.
            (vec![own, MEMINFO, of(service, "99999999999999\n")], machine),
            // In a container the group's own files are at the root of what it sees.
            (
                vec![("/proc/self/cgroup", "0::/\n"), MEMINFO, of("/sys/fs/cgroup/memory.max", "1073741824")],
                cgroup(GIB),
            ),
            // No control groups at all, and nothing at all.
            (vec![MEMINFO], machine),
            (vec![], None),
            (vec![own, MEMINFO, of(service, "what?")], machine),
        ];
        for (files, expected) in table {
            assert_eq!(allowed_by(&files), expected, "{files:?}");
        }
    }

    #[test]
    fn limits_of_version_1_are_found_too_also_where_the_path_is_that_of_the_host() {
        let own = ("/proc/self/cgroup", V1);
        let root = "/sys/fs/cgroup/memory/memory.limit_in_bytes";
        let group = "/sys/fs/cgroup/memory/docker/ab:c/memory.limit_in_bytes";
        let none = "9223372036854771712\n";
        let cgroup = Some((GIB, Limiter::Cgroup));
        assert_eq!(allowed_by(&[own, MEMINFO, (group, "1073741824\n"), (root, none)]), cgroup);
        assert_eq!(allowed_by(&[own, MEMINFO, (root, "1073741824\n")]), cgroup);
        assert_eq!(allowed_by(&[own, MEMINFO, (group, none), (root, none)]).unwrap().1, Limiter::Machine);
    }

    #[test]
    fn what_is_in_memory_is_the_sum_of_its_parts() {
        let status = "Name:\tx\nVmRSS:\t  31 kB\nRssAnon:\t  20 kB\nRssFile:\t  10 kB\nRssShmem:\t   1 kB\n";
        let (total, anonymous, files, shared) = (31 << 10, 20 << 10, 10 << 10, 1 << 10);
        assert_eq!(resident_of(status), Some(Resident { total, anonymous, files, shared }));
        assert_eq!(resident_of("VmRSS: 1 kB\n"), None);
        assert!(resident().is_some_and(|now| now.total > 0), "this system tells");
        assert!(allowed_memory().is_some_and(|allowed| allowed.bytes > 1 << 20));
    }
}
