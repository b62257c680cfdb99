//! `wal repair`: told first, done when asked, and served afterwards.

use std::fs;

use super::{Place, contents, flip_a_bit, request};
use crate::support::process::Process;

#[test]
fn a_flipped_bit_is_found_refused_repaired_and_served_without_what_stood_behind_it() {
    let place = Place::stopped();
    let (segment, at) = place.find("secret-0-5");
    flip_a_bit(&segment, at);
    let damaged = contents(&place.data_dir());

    let mut refused = Process::serve(&place.data_dir(), &[]);
    assert_eq!(refused.wait().code(), Some(6), "{}", refused.output());
    let told = place.tool(&["wal", "repair"]);
    told.is(6, &["kept: the state after lsn", "key-0-6", "key-1-9", "nothing was changed", "--yes"]);
    assert!(!told.out.contains("key-0-4"), "what is kept is not lost: {}", told.out);
    assert!(contents(&place.data_dir()) == damaged, "without --yes nothing is changed");

    place
        .tool(&["wal", "repair", "--yes"])
        .is(0, &["repaired; what was given up is in", "a server can start", "sound"]);
    place.tool(&["wal", "verify"]).is(0, &["sound"]);
    let lost: Vec<_> = contents(&place.data_dir().join("lost")).into_iter().map(|(_, bytes)| bytes).collect();
    let whole = damaged.iter().find(|(path, _)| *path == segment).unwrap();
    assert!(lost.contains(&whole.1), "the damaged file is kept whole");

    let mut server = place.serve();
    for n in 0..10 {
        let status = request(&mut server, "GET", &format!("/v1/keys/key-0-{n}"), b"").0;
        assert_eq!(status, if n < 5 { 200 } else { 404 }, "key-0-{n}");
    }
    assert_eq!(request(&mut server, "GET", "/v1/keys/key-1-0", b"").0, 404);
    assert_eq!(request(&mut server, "PUT", "/v1/keys/new", b"value").0, 201);
    server.kill();
    let mut again = place.serve();
    assert_eq!(request(&mut again, "GET", "/v1/keys/new", b""), (200, b"value".to_vec()));
    again.kill();
}

#[test]
fn what_a_repair_does_is_there_as_json() {
    let place = Place::stopped();
    let (segment, at) = place.find("secret-0-5");
    flip_a_bit(&segment, at);
    let plan = &place.tool(&["wal", "repair", "--json"]).is(6, &[]).json()[0].clone();
    assert_eq!(plan["repaired"], false);
    assert_eq!(plan["first_lost_lsn"], plan["last_kept_lsn"].as_u64().unwrap() + 1);
    assert_eq!(plan["lost_changes_total"], 14, "four of the first run and ten of the second");
    let done = &place.tool(&["wal", "repair", "--json", "--yes"]).is(0, &[]).json()[0].clone();
    assert_eq!(done["repaired"], true);
    assert_eq!(done["lost_changes"], plan["lost_changes"]);
    assert!(fs::exists(done["quarantine"].as_str().unwrap()).unwrap());
}

#[test]
fn without_a_manifest_nothing_is_repaired_and_nothing_is_changed() {
    let place = Place::stopped();
    for name in ["MANIFEST-0", "MANIFEST-1"] {
        fs::remove_file(place.data_dir().join(name)).unwrap();
    }
    let before = contents(&place.data_dir());
    // Whoever is sent to `wal repair` from here is sent in a circle.
    let helps = ["the MANIFEST is missing and there is data", "a copy of the directory or an export"];
    for arguments in [&["wal", "verify"][..], &["wal", "ls"], &["wal", "repair", "--yes"]] {
        let said = place.tool(arguments);
        said.is(6, &helps);
        assert!(!said.err.contains("wal repair"), "{}", said.err);
    }
    let json = place.tool(&["wal", "verify", "--json"]).json();
    assert!(json[0]["problem"]["message"].as_str().unwrap().contains("MANIFEST"), "{json:?}");
    assert!(contents(&place.data_dir()) == before);
}
