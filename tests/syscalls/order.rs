//! What must be synced before what, held against a recorded run.
//!
//! | rule | the bug that breaks it |
//! |---|---|
//! | the bytes of an acknowledged write are synced before its reply | answering before the sync |
//! | what is renamed was synced since its last change | a name for bytes that a cut takes away |
//! | the directory of a new name is synced before anybody relies on it | the missing directory sync |
//! | a new directory is synced into its parent before the server is ready | the same, one level up |
//! | nothing is deleted before both MANIFESTs that do without it are synced | pruning too early |

use std::path::{Path, PathBuf};

use super::trace::Call;

const WRITES: [&str; 5] = ["pwrite64", "pwritev", "pwritev2", "ftruncate", "fallocate"];
const SYNCS: [&str; 2] = ["fdatasync", "fsync"];
const RENAMES: [&str; 3] = ["rename", "renameat", "renameat2"];
const SENDS: [&str; 4] = ["sendto", "sendmsg", "write", "writev"];

/// A recorded run and how often each rule was applied.
pub struct Run<'c> {
    calls: &'c [Call],
    data_dir: PathBuf,
    pub acknowledged: usize,
    pub renamed: usize,
    pub new_segments: usize,
    pub snapshots: usize,
    pub directories: usize,
    pub pruned: usize,
    /// Acknowledged writes that no sync came before.
    pub unsynced: usize,
    pub wrong: Vec<String>,
}

impl<'c> Run<'c> {
    pub fn new(calls: &'c [Call], data_dir: &Path) -> Run<'c> {
        Run {
            calls,
            data_dir: data_dir.to_owned(),
            acknowledged: 0,
            renamed: 0,
            new_segments: 0,
            snapshots: 0,
            directories: 0,
            pruned: 0,
            unsynced: 0,
            wrong: Vec::new(),
        }
    }

    /// Applies the rules that hold in every mode.
    pub fn check_names(&mut self) {
        let calls = self.calls;
        for call in calls {
            if call.is(&RENAMES) {
                self.check_rename(call);
            } else if call.is(&["mkdir", "mkdirat"]) {
                self.check_directory(call);
            } else if call.is(&["unlink", "unlinkat"]) {
                self.check_prune(call);
            }
        }
    }

    /// Whether each acknowledged write of the load was synced first; counts, and judges in `always`.
    pub fn check_acknowledged(&mut self, always: bool) {
        for (reply, token) in self.calls.iter().filter_map(|c| Some((c, acknowledges(c)?))) {
            self.acknowledged += 1;
            let has = |c: &&Call| is_log_write(c) && c.end < reply.begin && c.arguments.contains(token);
            let Some(write) = self.calls.iter().find(has) else {
                self.wrong.push(format!("{token} was acknowledged and is in no write before"));
                continue;
            };
            let file = write.file().expect("a write has a file");
            if !self.synced(file, write.end, reply.begin) {
                self.unsynced += 1;
                if always {
                    self.wrong.push(format!("{token} was acknowledged before {file} was synced"));
                }
            }
        }
    }

    /// Syncs of log files that are in use.
    pub fn log_syncs(&self) -> usize {
        self.calls.iter().filter(|c| c.is(&SYNCS) && c.file().is_some_and(is_segment)).count()
    }

    fn check_rename(&mut self, call: &Call) {
        let [from, to] = call.names()[..] else { return };
        if !Path::new(to).starts_with(&self.data_dir) {
            return;
        }
        self.renamed += 1;
        self.check_content(from, call);
        let dir = parent(to);
        let relied = self.calls.iter().find(|c| c.begin > call.end && relies_on(c, to));
        if is_segment(to) {
            self.new_segments += 1;
        }
        if parent(to).ends_with("/snap") {
            self.snapshots += 1;
        }
        if relied.is_some_and(|relied| !self.synced(dir, call.end, relied.begin)) {
            self.wrong.push(format!("{to} is relied upon before {dir} was synced"));
        }
    }

    /// All that is under this name was synced since it last changed.
    fn check_content(&mut self, from: &str, rename: &Call) {
        let below = format!("{from}/");
        let before = self.calls.iter().filter(|c| c.end < rename.begin);
        let mut changed: Vec<(&str, usize)> = Vec::new();
        for call in before {
            let file = call.file().filter(|file| *file == from || file.starts_with(&below));
            if let (true, Some(file)) = (call.is(&WRITES), file) {
                changed.retain(|(known, _)| *known != file);
                changed.push((file, call.end));
            }
            // A name that was made in it changes the directory.
            let made = call.is(&["openat"]) && call.arguments.contains("O_CREAT");
            if made && call.names().iter().any(|name| name.starts_with(&below)) {
                changed.retain(|(known, _)| *known != from);
                changed.push((from, call.end));
            }
        }
        for (file, since) in changed {
            if !self.synced(file, since, rename.begin) {
                self.wrong.push(format!("{from} was renamed, and {file} was not synced"));
            }
        }
    }

    fn check_directory(&mut self, call: &Call) {
        let Some(made) = call.names().first().copied() else { return };
        // A snapshot that is being written has no name that counts yet.
        if !Path::new(made).starts_with(&self.data_dir) || made.ends_with(".tmp") {
            return;
        }
        self.directories += 1;
        let ready = self.calls.iter().find(|c| is_ready(c)).map_or(usize::MAX, |c| c.begin);
        if !self.synced(parent(made), call.end, ready) {
            self.wrong
                .push(format!("{made} was made, and {} was not synced before it is ready", parent(made)));
        }
    }

    fn check_prune(&mut self, call: &Call) {
        let Some(gone) = call.names().first().copied() else { return };
        let in_snapshot = parent(parent(gone)).ends_with("/snap") && !parent(gone).ends_with(".tmp");
        if !(is_segment(gone) || in_snapshot) {
            return;
        }
        self.pruned += 1;
        let published =
            |c: &&Call| c.is(&RENAMES) && c.end < call.begin && parent(c.names()[1]).ends_with("/snap");
        let published = self.calls.iter().rfind(published).map_or(0, |c| c.end);
        for name in ["MANIFEST-0", "MANIFEST-1"] {
            let manifest = self.data_dir.join(name);
            let manifest = manifest.to_str().expect("plain names");
            let written = |c: &&Call| c.is(&WRITES) && c.end < call.begin && c.file() == Some(manifest);
            let written = self.calls.iter().rfind(written).map_or(0, |c| c.end);
            if written < published || !self.synced(manifest, written, call.begin) {
                self.wrong.push(format!("{gone} was deleted before {name} without it was synced"));
            }
        }
    }

    /// A sync of `path` that began after `from` and ended before `to`.
    fn synced(&self, path: &str, from: usize, to: usize) -> bool {
        let covers = |c: &Call| c.is(&SYNCS) && c.begin > from && c.end < to && c.file() == Some(path);
        self.calls.iter().any(covers)
    }
}

/// The first call that makes no sense if the name is lost.
fn relies_on(call: &Call, name: &str) -> bool {
    if is_segment(name) {
        // Its first frame, behind the header; or, for one that was rewritten, what follows below.
        let frame = call.is(&WRITES) && call.file() == Some(name) && call.last_number() >= Some(4096);
        return frame || is_ready(call);
    }
    if name.ends_with(".used") {
        // What lies under the name of a spare is taken for zeros.
        return call.is(&WRITES) && call.file() == Some(name);
    }
    if name.ends_with(".spare") {
        // If the name is lost, it is made ready once more.
        return false;
    }
    if parent(name).ends_with("/snap") {
        return call.is(&WRITES) && call.file().is_some_and(|file| file.contains("/MANIFEST-"));
    }
    if parent(name).ends_with("/exports") {
        return is_reply(call);
    }
    is_ready(call) || call.is(&RENAMES)
}

fn is_segment(path: &str) -> bool {
    path.ends_with(".wal")
}

fn is_log_write(call: &Call) -> bool {
    call.is(&WRITES) && call.file().is_some_and(is_segment)
}

/// The server tells that it listens.
fn is_ready(call: &Call) -> bool {
    call.is(&["write"]) && call.arguments.contains("listening on http://")
}

fn is_reply(call: &Call) -> bool {
    call.is(&SENDS) && call.arguments.contains("\"HTTP/1.1 2")
}

/// The token of the write that this reply acknowledges.
fn acknowledges(call: &Call) -> Option<&str> {
    let (_, id) = call.arguments.split_once("request-id: ").filter(|_| is_reply(call))?;
    id.get(.."token-000000".len()).filter(|token| token.starts_with("token-"))
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}
