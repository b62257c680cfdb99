//! `GET /v1/stats`: what `/stats` says, in groups, and where the memory is.
//!
//! The lines of `memory` add up to what the system says is resident: what is in use and not known by
//! name is a line too, so nothing can hide. It is connections, stacks, and the buffers of a snapshot that is
//! being taken.

use axum::{
    extract::{Request, State},
    response::Response,
};
use serde_json::{Map, Value, json};

use super::{App, Shared, compat::json_reply, error::Result, query::Query, status::stats_json};
use crate::system::{self, Allowed, Heap, Resident};

/// What belongs together. What is in no group is about the server.
const GROUPS: [(&str, &[&str]); 4] = [
    ("reads", &["hits", "misses", "hit_ratio"]),
    (
        "entries",
        &["items", "bytes", "tombstone_bytes", "max_items", "max_bytes", "policy", "evictions", "expired"],
    ),
    (
        "log",
        &[
            "fsync",
            "term",
            "appended_seq",
            "written_seq",
            "durable_seq",
            "unsynced_bytes",
            "syncs",
            "log_bytes",
            "disk_full",
            "halted",
        ],
    ),
    ("snapshots", &["checkpoints", "last_checkpoint_seq"]),
];

pub(super) async fn stats(State(app): Shared, request: Request) -> Result<Response> {
    Query::parse(request.uri().query(), &[])?;
    let Value::Object(flat) = stats_json(&app) else { unreachable!("it is an object") };
    let mut groups = grouped(flat);
    groups.insert("memory".to_owned(), memory(&app));
    Ok(json_reply(Value::Object(groups)))
}

fn grouped(mut flat: Map<String, Value>) -> Map<String, Value> {
    let mut groups = Map::new();
    for (name, fields) in GROUPS {
        let taken = fields.iter().filter_map(|field| flat.shift_remove_entry(*field));
        groups.insert(name.to_owned(), Value::Object(taken.collect()));
    }
    groups.extend(flat.shift_remove_entry("compression"));
    groups.insert("server".to_owned(), Value::Object(flat));
    groups
}

fn memory(app: &App) -> Value {
    let stats = app.node.stats();
    let known = Known {
        // As charged: keys, values, slots, table, timers, the policy's own.
        entries: stats.bytes.saturating_sub(stats.tombstone_bytes),
        tombstones: stats.tombstone_bytes,
        log_buffers: stats.log_buffer_bytes,
        request_bodies: app.bodies.held_bytes(),
    };
    report(&known, system::resident(), system::heap(), system::allowed_memory())
}

/// What the server knows that it holds, in bytes.
#[derive(Default)]
struct Known {
    entries: u64,
    tombstones: u64,
    log_buffers: u64,
    request_bodies: u64,
}

/// Null where the system does not tell.
fn report(known: &Known, resident: Option<Resident>, heap: Option<Heap>, allowed: Option<Allowed>) -> Value {
    let Known { entries, tombstones, log_buffers, request_bodies } = *known;
    // What is in memory beyond what is in use, but no more than is free.
    let allocator_free = match (resident, heap) {
        (Some(resident), Some(heap)) => resident.anonymous.saturating_sub(heap.in_use).min(heap.free),
        _ => 0,
    };
    let named = entries + tombstones + log_buffers + request_bodies + allocator_free;
    let rest = resident.map(|resident| {
        // Less than nothing if what is charged was never touched, or is swapped out.
        resident.anonymous as i64 - named as i64
    });
    json!({
        "resident_bytes": resident.map(|resident| resident.total),
        "lines": {
            "entries_bytes": entries,
            "tombstones_bytes": tombstones,
            "log_buffers_bytes": log_buffers,
            "request_bodies_bytes": request_bodies,
            "allocator_free_bytes": allocator_free,
            "program_and_mapped_files_bytes": resident.map(|resident| resident.files + resident.shared),
            "unaccounted_bytes": rest,
        },
        "allowed_bytes": allowed.map(|allowed| allowed.bytes),
        "allowed_by": allowed.map(|allowed| allowed.by.as_str()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_memory_add_up_to_what_is_resident() {
        let resident = Resident { total: 1000, anonymous: 700, files: 250, shared: 50 };
        let sum = |value: &Value| {
            value["lines"].as_object().unwrap().values().map(|line| line.as_i64().unwrap()).sum::<i64>()
        };
        let heaps = [None, Some(Heap { in_use: 600, free: 90 }), Some(Heap { in_use: 900, free: 90 })];
        for (entries, heap) in
            [0, 400, 5000].into_iter().flat_map(|entries| heaps.map(|heap| (entries, heap)))
        {
            let known = Known { entries, tombstones: 10, log_buffers: 20, request_bodies: 30 };
            let value = report(&known, Some(resident), heap, None);
            assert_eq!((sum(&value), value["resident_bytes"].as_i64()), (1000, Some(1000)), "{value}");
        }
        let in_use = Some(Heap { in_use: 600, free: 90 });
        let value = report(&Known::default(), Some(resident), in_use, None);
        assert_eq!(value["lines"]["allocator_free_bytes"], 90, "never more than is free: {value}");
        assert_eq!(report(&Known::default(), None, None, None)["lines"]["unaccounted_bytes"], Value::Null);
    }

    #[test]
    fn every_field_is_in_one_group_also_one_that_nobody_has_thought_of() {
        let flat: Map<String, Value> = ["hits", "items", "term", "checkpoints", "new"]
            .map(|f| (f.to_owned(), json!(1)))
            .into_iter()
            .collect();
        let groups = grouped(flat);
        assert_eq!(groups["server"], json!({ "new": 1 }));
        assert_eq!(groups["entries"], json!({ "items": 1 }));
        assert_eq!(groups.values().map(|group| group.as_object().unwrap().len()).sum::<usize>(), 5);
    }
}
