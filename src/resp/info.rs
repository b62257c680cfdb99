//! The text of `INFO`: the fields that clients look at, under the names they know.

use std::{
    fmt::Write,
    sync::{Arc, atomic::Ordering},
};

use emberkeep_storage::Fsync;

use super::{
    keys::DATABASES,
    parameters::{append_fsync, policy},
    shared::{Client, Shared},
};
use crate::{name, node::policy_name, system};

/// The version whose commands and replies this server has.
pub(super) const REDIS_VERSION: &str = "7.2.4";

type Section = (&'static str, fn(&Shared, &mut String));

const SECTIONS: [Section; 9] = [
    ("Server", server),
    ("Clients", clients),
    ("Memory", memory),
    ("Persistence", persistence),
    ("Stats", stats),
    ("Replication", replication),
    ("CPU", cpu),
    ("Cluster", cluster),
    ("Keyspace", keyspace),
];

/// The sections that were asked for, in lower case; all if none was.
pub(super) fn text(shared: &Shared, asked: &[String]) -> String {
    let all =
        asked.is_empty() || asked.iter().any(|word| ["all", "default", "everything"].contains(&&**word));
    let mut out = String::new();
    for (title, write) in SECTIONS {
        if all || asked.iter().any(|word| word.eq_ignore_ascii_case(title)) {
            if !out.is_empty() {
                out.push_str("\r\n");
            }
            write!(out, "# {title}\r\n").expect("writing to a string does not fail");
            write(shared, &mut out);
        }
    }
    out
}

/// Seconds since 1970 of the last snapshot, whoever asked for it; without one of the start, from which on
/// every write is in the log.
pub(super) fn last_save(shared: &Shared) -> u64 {
    let started = shared.node.now().0 / 1000 - shared.node.uptime().as_secs();
    shared.node.stats().last_checkpoint_at.map_or(started, |at| at.0 / 1000)
}

fn line(out: &mut String, field: &str, value: impl std::fmt::Display) {
    write!(out, "{field}:{value}\r\n").expect("writing to a string does not fail");
}

fn server(shared: &Shared, out: &mut String) {
    let uptime = shared.node.uptime().as_secs();
    line(out, "redis_version", REDIS_VERSION);
    line(out, "server_name", name::PRODUCT);
    line(out, "emberkeep_version", name::VERSION);
    line(out, "redis_mode", "standalone");
    line(out, "os", std::env::consts::OS);
    line(out, "arch_bits", usize::BITS);
    line(out, "process_id", std::process::id());
    line(out, "run_id", shared.run_id());
    line(out, "tcp_port", shared.address.port());
    line(out, "server_time_usec", shared.node.now().0 * 1000);
    line(out, "uptime_in_seconds", uptime);
    line(out, "uptime_in_days", uptime / 86_400);
}

fn clients(shared: &Shared, out: &mut String) {
    line(out, "connected_clients", shared.client_count());
    line(out, "maxclients", shared.settings.connections_max);
    line(out, "blocked_clients", 0);
    let (channels, patterns) = shared.hub.counts();
    let listens = |client: &&Arc<Client>| {
        let about = client.about();
        about.channels + about.patterns > 0
    };
    line(out, "pubsub_clients", shared.clients().iter().filter(listens).count());
    line(out, "pubsub_channels", channels);
    line(out, "pubsub_patterns", patterns);
}

fn memory(shared: &Shared, out: &mut String) {
    let stats = shared.node.stats();
    line(out, "used_memory", stats.bytes);
    line(out, "used_memory_rss", system::resident().map_or(0, |resident| resident.total));
    line(out, "used_memory_dataset", stats.bytes);
    line(out, "total_system_memory", system::allowed_memory().map_or(0, |allowed| allowed.bytes));
    line(out, "maxmemory", stats.max_bytes.unwrap_or(0));
    line(out, "maxmemory_policy", policy(shared.node.eviction()));
    line(out, "emberkeep_eviction_policy", policy_name(shared.node.eviction()));
}

fn persistence(shared: &Shared, out: &mut String) {
    let (stats, fsync) = (shared.node.stats(), shared.node.settings().fsync);
    let logs = fsync != Fsync::Off;
    line(out, "loading", 0);
    line(out, "rdb_changes_since_last_save", 0);
    line(out, "rdb_bgsave_in_progress", 0);
    line(out, "rdb_last_save_time", last_save(shared));
    line(out, "rdb_last_bgsave_status", "ok");
    line(out, "aof_enabled", u8::from(logs));
    line(out, "aof_rewrite_in_progress", 0);
    line(out, "aof_last_bgrewrite_status", "ok");
    line(out, "aof_last_write_status", if stats.halted.is_some() { "err" } else { "ok" });
    line(out, "emberkeep_appendfsync", append_fsync(fsync));
    line(out, "emberkeep_durability", fsync.as_str());
    line(out, "emberkeep_appended_seq", stats.appended.0);
    line(out, "emberkeep_durable_seq", stats.durable.0);
    line(out, "emberkeep_unsynced_bytes", stats.unsynced_bytes);
    line(out, "emberkeep_snapshots", stats.checkpoints);
    line(out, "emberkeep_replay_bytes", shared.node.restart().bytes());
}

fn stats(shared: &Shared, out: &mut String) {
    let (stats, counters) = (shared.node.stats(), &shared.counters);
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    line(out, "total_connections_received", count(&counters.connections));
    line(out, "total_commands_processed", count(&counters.commands));
    line(out, "total_net_input_bytes", count(&counters.read_bytes));
    line(out, "total_net_output_bytes", count(&counters.written_bytes));
    line(out, "rejected_connections", count(&counters.refused));
    line(out, "total_error_replies", count(&counters.errors));
    line(out, "client_output_buffer_limit_disconnections", count(&counters.slow_readers));
    line(out, "expired_keys", stats.expired);
    line(out, "evicted_keys", stats.evictions);
    line(out, "keyspace_hits", stats.hits);
    line(out, "keyspace_misses", stats.misses);
    line(out, "emberkeep_syncs", stats.syncs);
    line(out, "emberkeep_unknown_scripts", count(&counters.unknown_scripts));
}

fn replication(shared: &Shared, out: &mut String) {
    line(out, "role", "master");
    line(out, "connected_slaves", 0);
    line(out, "master_replid", shared.run_id());
    line(out, "master_repl_offset", shared.node.stats().appended.0);
}

fn cpu(_: &Shared, out: &mut String) {
    if let Some((user, system)) = system::cpu_seconds() {
        line(out, "used_cpu_sys", format_args!("{system:.6}"));
        line(out, "used_cpu_user", format_args!("{user:.6}"));
    }
}

fn cluster(_: &Shared, out: &mut String) {
    line(out, "cluster_enabled", 0);
}

fn keyspace(shared: &Shared, out: &mut String) {
    for database in 0..DATABASES {
        let keys = shared.node.count(database).unwrap_or(0);
        if keys > 0 {
            let expires = shared.node.count_timed(database).unwrap_or(0);
            // How long they live on average would have to be looked up entry by entry.
            line(out, &format!("db{database}"), format_args!("keys={keys},expires={expires},avg_ttl=0"));
        }
    }
}
