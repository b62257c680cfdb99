//! The start-up block: what this process promises, in words, before the first request.
//!
//! The last line is `listening on http://<address>`; programs that start the server wait for it.

use std::{fmt::Write, net::SocketAddr, time::Duration};

use emberkeep_storage::{Progress, RecoveryReport, Restart, Settings};

use crate::{
    config::{
        memory,
        units::{show_bytes, show_span},
    },
    name,
    node::{Fsync, Node, policy_name},
    system,
};

/// The block, lines ended. `memory_percent`: the share of memory that the limit is, if it is one.
/// `redis`: where the Redis protocol is served, or why not.
pub fn block(node: &Node, address: SocketAddr, redis: &str, memory_percent: Option<u8>) -> String {
    let settings = node.settings();
    let allowed = system::allowed_memory();
    let mut out = format!("{} {}\n", name::PRODUCT, name::VERSION);
    let data = match settings.fsync {
        Fsync::Off => "in memory only".to_owned(),
        _ => settings.data_dir.display().to_string(),
    };
    line(&mut out, "data", &data);
    line(&mut out, "durability", &durability(settings));
    line(&mut out, "memory", &memory(settings, memory::origin(memory_percent, allowed)));
    line(&mut out, "eviction", policy_name(settings.eviction));
    line(&mut out, "compression", &compression(settings));
    if settings.fsync != Fsync::Off {
        line(&mut out, "recovery", &recovery(node.recovery()));
        line(&mut out, "restart", &restart(&node.restart()));
    }
    line(&mut out, "redis", redis);
    let out_of_reach = memory::warning(settings.max_bytes, allowed);
    for warning in node.recovery().warnings.iter().chain(&out_of_reach) {
        line(&mut out, "warning", warning);
    }
    line(&mut out, "ready", "yes");
    writeln!(out, "listening on http://{address}").expect("writing to a string does not fail");
    out
}

/// How far the recovery has come, after how long.
pub fn progress(progress: &Progress, elapsed: Duration) -> String {
    match *progress {
        Progress::Snapshot { done, total } => format!("recovering: snapshot, {done} of {total} files"),
        Progress::Log { done, total } => {
            let ms = elapsed.as_millis().max(1) as u64;
            let rate = (done.saturating_mul(1000) / ms).max(1);
            let left = Duration::from_secs(total.saturating_sub(done) / rate);
            format!(
                "recovering: log, {} of {}, {} a second, about {} left",
                show_bytes(done),
                show_bytes(total),
                show_bytes(rate),
                show_span(left)
            )
        }
    }
}

fn line(out: &mut String, name: &str, text: &str) {
    writeln!(out, "  {name:<11} {text}").expect("writing to a string does not fail");
}

/// The mode and what it promises.
fn durability(settings: &Settings) -> String {
    match settings.fsync {
        Fsync::Always => {
            "always: a write is acknowledged after it is on the disk; neither a kill nor a power cut loses \
                          an acknowledged write"
                .to_owned()
        }
        Fsync::Interval => format!(
            "interval ({}): a write is acknowledged when the operating system has it; a kill loses nothing, a power cut \
             loses at most the writes acknowledged in the last {}",
            show_span(settings.fsync_interval),
            show_span(2 * settings.fsync_interval)
        ),
        Fsync::Off => "none: nothing is kept on the disk, and nothing survives this process".to_owned(),
        Fsync::Never => {
            "never: a write is acknowledged when the operating system has it; a kill loses nothing, a power \
                         cut loses what the system had not written yet"
                .to_owned()
        }
    }
}

fn memory(settings: &Settings, origin: Option<String>) -> String {
    let bytes = match (settings.max_bytes.map(show_bytes), origin) {
        (Some(max), Some(origin)) => format!("at most {max}, {origin}"),
        (Some(max), None) => format!("at most {max}"),
        (None, _) => "no limit in bytes".to_owned(),
    };
    match settings.max_items {
        Some(max) => format!("{bytes}, at most {max} items"),
        None => bytes,
    }
}

fn compression(settings: &Settings) -> String {
    match settings.compress {
        Some(codec) => format!(
            "{} level {}, values from {} on",
            codec.as_str(),
            settings.compress_level.unwrap_or(codec.level_default()),
            show_bytes(settings.compress_threshold as u64)
        ),
        None => "none".to_owned(),
    }
}

/// What the start has found.
fn recovery(report: &RecoveryReport) -> String {
    if report.created {
        return "a new, empty data directory".to_owned();
    }
    let stop = if report.clean { "a clean stop" } else { "an unclean stop" };
    let mut out = format!("{} items after {stop}, in {}", report.items, took(report.took));
    if let Some(lsn) = report.snapshot {
        write!(out, "; snapshot {lsn} with {} entries", report.snapshot_entries)
            .expect("strings do not fail");
    }
    write!(out, "; replayed {} records, {}", report.replayed_frames, show_bytes(report.replayed_bytes))
        .expect("strings do not fail");
    if report.torn_bytes > 0 {
        write!(out, "; cut {} of unfinished writes that were never durable", show_bytes(report.torn_bytes))
            .expect("strings do not fail");
    }
    if let Some(copy) = &report.lost_copy {
        write!(out, ", a copy is kept in {}", copy.display()).expect("strings do not fail");
    }
    if report.clock_ahead > Duration::from_secs(1) {
        write!(out, "; the log is {} ahead of the system clock", show_span(report.clock_ahead))
            .expect("strings do not fail");
    }
    out
}

/// What the next start would cost if this process ended now.
fn restart(restart: &Restart) -> String {
    let rate = if restart.measured { "at the rate of this start" } else { "at 100 MiB a second" };
    format!("it would now read {} in {}, {rate}", show_bytes(restart.bytes()), took(restart.took))
}

fn took(span: Duration) -> String {
    if span < Duration::from_millis(1) { "less than 1 ms".to_owned() } else { show_span(span) }
}
