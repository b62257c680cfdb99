//! `wal ls|dump|stat|verify`, `snapshot`, `inspect`.

use std::fs;

use super::{Place, contents, flip_a_bit, request, run};

#[test]
fn after_a_kill_every_tool_reads_the_log_and_changes_nothing() {
    let place = Place::new();
    let mut server = place.serve();
    assert_eq!(request(&mut server, "PUT", "/v1/keys/alpha?ttl=1h", b"the secret value").0, 201);
    assert_eq!(request(&mut server, "PUT", "/v1/keys/beta", b"another").0, 201);
    assert_eq!(request(&mut server, "DELETE", "/v1/keys/beta", b"").0, 204);
    server.kill();
    let before = contents(&place.data_dir());

    place.tool(&["wal", "verify"]).is(0, &["sound", "not clean"]);
    place.tool(&["wal", "ls"]).is(0, &["FIRST LSN", "last", "set aside", "ok"]);
    place.tool(&["wal", "stat"]).is(0, &["term-start", "mark", "3 changes to 2 keys"]);
    place.tool(&["snapshot", "ls"]).is(0, &["there is no snapshot"]);
    place.tool(&["snapshot", "verify"]).is(0, &["there is no snapshot"]);
    place.tool(&["wal", "repair"]).is(0, &["nothing to repair"]);
    let dump = place.tool(&["wal", "dump"]);
    dump.is(0, &["alpha value_bytes=16 deadline=", "delete"]);
    assert!(!dump.out.contains("secret"), "{}", dump.out);
    place.tool(&["wal", "dump", "--values"]).is(0, &["value=the secret value"]);
    assert!(contents(&place.data_dir()) == before, "looking changes nothing");
}

#[test]
fn a_compressed_value_is_shown_with_codec_and_both_lengths_and_as_it_was_put() {
    let place = Place::new();
    let mut server = place.serve();
    let value = "a sentence that is said again and again, ".repeat(50);
    assert_eq!(request(&mut server, "PUT", "/v1/keys/k", value.as_bytes()).0, 201);
    server.kill();
    let raw = format!("codec=zstd raw_bytes={}", value.len());
    place.tool(&["wal", "dump"]).is(0, &[&raw]);
    place.tool(&["wal", "stat"]).is(0, &["1 value compressed"]);
    let lines = place.tool(&["wal", "dump", "--values", "--json", "--key", "k"]).json();
    let change = &lines[0]["changes"][0];
    assert_eq!((&change["codec"], &change["raw_bytes"]), (&"zstd".into(), &value.len().into()));
    assert!(change["value_bytes"].as_u64().unwrap() < 200, "{change}");
    assert_eq!(change["value"], value);
}

#[test]
fn a_dump_is_narrowed_by_lsn_and_by_key() {
    let place = Place::stopped();
    let all = place.tool(&["wal", "dump", "--json"]);
    let all = all.is(0, &[]).json();
    let lsns: Vec<u64> = all.iter().filter_map(|line| line["lsn"].as_u64()).collect();
    assert!(lsns.is_sorted() && lsns.len() >= 22, "two term starts and twenty puts: {lsns:?}");
    let (from, to) = (lsns[3].to_string(), lsns[7].to_string());
    let some = place.tool(&["wal", "dump", "--json", "--from", &from, "--to", &to]).json();
    let some: Vec<u64> = some.iter().filter_map(|line| line["lsn"].as_u64()).collect();
    assert_eq!(some, lsns[3..=7]);
    let one = place.tool(&["wal", "dump", "--json", "--key", "key-1-4"]).json();
    assert_eq!(one.len(), 1, "{one:?}");
    assert_eq!(one[0]["changes"][0]["key"], "key-1-4");
    assert_eq!(one[0]["changes"][0]["value_bytes"], "secret-1-4".len());
    assert!(one[0]["changes"][0].get("value").is_none());
    // "key-1-4" in base64url.
    assert_eq!(place.tool(&["wal", "dump", "--json", "--key64", "a2V5LTEtNA"]).json(), one);
}

#[test]
fn every_result_is_there_as_json() {
    let place = Place::stopped();
    let verify = place.tool(&["wal", "verify", "--json"]).json();
    assert_eq!((&verify[0]["verdict"], &verify[0]["clean_stop"]), (&"sound".into(), &true.into()));
    let files = place.tool(&["wal", "ls", "--json"]).json();
    let files = files[0]["files"].as_array().unwrap().clone();
    assert_eq!(files[0]["first_lsn"], 1);
    assert!(files.iter().filter(|f| f["state"] == "sealed").count() >= 1, "{files:?}");
    let stat = place.tool(&["wal", "stat", "--json"]).json();
    assert_eq!((&stat[0]["kinds"]["put"]["frames"], &stat[0]["keys"]), (&20.into(), &20.into()));
    let snapshots = place.tool(&["snapshot", "ls", "--json"]).json();
    assert_eq!(snapshots[0]["snapshots"].as_array().unwrap().len(), 0);
}

#[test]
fn a_torn_tail_is_told_apart_from_damage() {
    let place = Place::new();
    let mut server = place.serve();
    assert_eq!(request(&mut server, "PUT", "/v1/keys/k", b"value").0, 201);
    server.kill();
    let segment = place.segments().pop().unwrap();
    let mut bytes = fs::read(&segment).unwrap();
    let at = bytes.len() - 3000;
    bytes[at..at + 100].fill(0xab);
    fs::write(&segment, bytes).unwrap();
    place.tool(&["wal", "verify"]).is(1, &["unfinished tail"]);
    place.tool(&["wal", "dump"]).is(1, &["put"]);
    place.tool(&["wal", "repair", "--yes"]).is(1, &["nothing to repair"]);
    let mut again = place.serve();
    assert_eq!(request(&mut again, "GET", "/v1/keys/k", b""), (200, b"value".to_vec()));
    again.kill();
}

#[test]
fn damage_is_named_with_file_offset_and_lsns() {
    let place = Place::stopped();
    let (segment, at) = place.find("secret-0-5");
    flip_a_bit(&segment, at);
    let name = segment.file_name().unwrap().to_str().unwrap();
    let said = place.tool(&["wal", "verify", "--json"]);
    let problem = &said.is(6, &[name]).json()[0]["problem"];
    let offset = problem["offset"].as_u64().unwrap() as usize;
    assert!(offset < at && at < offset + 200, "{problem}");
    let lost = place.tool(&["wal", "dump", "--json", "--key", "key-0-4"]);
    let before = lost.is(6, &[]).json()[0]["lsn"].as_u64().unwrap();
    assert_eq!(problem["first_lsn"], before + 1);
    place.tool(&["wal", "verify"]).is(6, &["damaged", name, "refuse", "wal repair"]);
    place.tool(&["wal", "stat"]).is(6, &["put"]);
    place.tool(&["wal", "ls"]).is(0, &["sealed"]);
}

#[test]
fn a_segment_that_is_gone_is_listed_and_no_tool_ends_with_0() {
    let place = Place::stopped();
    fs::remove_file(place.segments().pop().unwrap()).unwrap();
    place.tool(&["wal", "ls"]).is(6, &["missing", "the file is missing"]);
    for arguments in [&["wal", "stat"][..], &["wal", "dump"], &["wal", "verify"]] {
        place.tool(arguments).is(6, &["log segment is missing"]);
    }
}

#[test]
fn a_running_server_is_told_and_not_disturbed() {
    let place = Place::stopped();
    let mut server = place.serve();
    assert_eq!(request(&mut server, "PUT", "/v1/keys/live", b"value").0, 201);
    place.tool(&["wal", "verify"]).is(0, &["up to the segment that a server is writing"]);
    place.tool(&["wal", "ls"]).is(0, &["active", "a server has this directory open"]);
    place.tool(&["wal", "dump"]).is(0, &["live", "a server has this directory open"]);
    place.tool(&["wal", "stat"]).is(0, &["a server has this directory open"]);
    place.tool(&["snapshot", "ls"]).is(0, &["a server has this directory open"]);
    for arguments in [&["wal", "repair"][..], &["wal", "repair", "--yes"]] {
        place.tool(arguments).is(5, &["another process has"]);
    }
    assert_eq!(request(&mut server, "GET", "/v1/keys/live", b""), (200, b"value".to_vec()));
    server.kill();
}

#[test]
fn every_file_of_a_directory_is_recognised() {
    let place = Place::stopped();
    let mut server = place.serve();
    let mut save = |target: &str| assert_eq!(request(&mut server, "POST", target, b"").0, 200);
    save("/save?file=all.json");
    save("/save?file=all.hfs");
    server.kill();
    let mut kinds = std::collections::BTreeSet::new();
    for (path, _) in contents(&place.data_dir()) {
        if path.ends_with("LOCK") {
            continue;
        }
        let said = run(&["inspect", "--json", path.to_str().unwrap()]);
        let found = &said.is(0, &["whole"]).json()[0];
        kinds.insert(found["what"].as_str().unwrap().to_owned());
        run(&["inspect", path.to_str().unwrap()]).is(0, &["whole"]);
    }
    let kinds: Vec<_> = kinds.iter().map(String::as_str).collect();
    assert_eq!(
        kinds,
        ["MANIFEST", "export, JSON", "export, binary", "log segment", "prepared log segment, zeros only"]
    );
    let export = place.data_dir().join("exports/all.hfs");
    flip_a_bit(&export, 60);
    run(&["inspect", export.to_str().unwrap()]).is(6, &["damaged"]);
    flip_a_bit(&place.segments()[0], 4096 + 60);
    run(&["inspect", place.segments()[0].to_str().unwrap()]).is(6, &["durable once"]);
}

#[test]
fn what_is_not_ours_is_refused_and_wrong_usage_is_told() {
    let place = Place::new();
    place.tool(&["wal", "verify"]).is(5, &["cannot read the data directory"]);
    assert!(!place.data_dir().exists(), "looking creates nothing");
    fs::create_dir(place.data_dir()).unwrap();
    let foreign = place.data_dir().join("notes.txt");
    fs::write(&foreign, "nothing of ours").unwrap();
    for arguments in [&["wal", "ls"][..], &["wal", "repair", "--yes"], &["snapshot", "verify"]] {
        place.tool(arguments).is(5, &["no data directory"]);
    }
    run(&["inspect", foreign.to_str().unwrap()]).is(5, &["no file of ours"]);
    run(&["inspect", "/nowhere"]).is(5, &["/nowhere"]);
    assert_eq!(contents(&place.data_dir()).len(), 1, "looking creates nothing");
    for arguments in [&["wal"][..], &["wal", "mend"], &["wal", "dump", "--from", "x"], &["inspect"]] {
        run(arguments).is(2, &[]);
    }
    run(&["wal", "repair", "--help"]).is(0, &["Exit codes", "--yes", "lost/"]);
}
