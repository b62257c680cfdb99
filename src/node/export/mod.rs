//! Exports: every live entry in one file, to read, to carry elsewhere, to load back.
//!
//! A name is a bare file name inside `<data_dir>/exports`; its ending picks the format: `.json`
//! for people and `jq`, `.hfs` for machines (checksummed). Entries are streamed both ways; memory
//! holds one page of shared entries or one record. Values are as they were put, however they are stored.
//!
//! Saving writes a temporary file, syncs it, renames it and syncs the directory: a crash leaves
//! the old file or the new one, and perhaps a temporary file that the next save removes. Loading
//! reads the file twice: first to verify all of it, then to store it. A damaged file loads
//! nothing.
//!
//! An export is not a snapshot: writes that run meanwhile may or may not be in it, and nothing
//! in recovery rests on it.

mod binary;
mod file;
mod json;

use std::{
    borrow::Cow,
    io::{self, Read},
    path::{Path, PathBuf},
};

use emberkeep_storage::{
    Commit, Condition, Cursor, Engine, ErrorKind, Expiry, Key, PutOutcome, UnixMillis, Write, vfs::Vfs,
};

use self::file::{NewFile, Source};
use super::error::{Code, Error, Result};
use crate::name::EXPORT_MAGIC;

/// The file that `/save` and `/load` use unless told otherwise.
pub const NAME_DEFAULT: &str = "cache.json";
const NAME_LEN_MAX: usize = 128;
/// Entries per page of the scan. They are shared with the cache, not copied.
const PAGE: usize = 64;

/// The name of an export: bare, and with one of the two endings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportName {
    name: String,
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Json,
    Binary,
}

impl ExportName {
    /// Takes a bare file name: never a path, nothing hidden.
    ///
    /// # Errors
    /// `InvalidArgument`, saying what would be right.
    pub fn parse(name: &str) -> Result<ExportName> {
        let format = match name.rsplit_once('.') {
            Some((_, "json")) => Some(Format::Json),
            Some((_, "hfs")) => Some(Format::Binary),
            _ => None,
        };
        let bare = !name.contains(['/', '\\', '\0']) && !name.contains("..") && !name.starts_with('.');
        let printable = !name.chars().any(char::is_control);
        match format {
            Some(format) if bare && printable && name.len() <= NAME_LEN_MAX => {
                Ok(ExportName { name: name.to_owned(), format })
            }
            _ => Err(Error::invalid(format!(
                "file must be a bare name ending in .json or .hfs, at most {NAME_LEN_MAX} bytes, without / \\ or .. \
                 and not hidden, got={:?}",
                name.chars().take(40).collect::<String>()
            ))),
        }
    }

    /// The name as given.
    pub fn as_str(&self) -> &str {
        &self.name
    }
}

/// What was saved.
#[derive(Clone, Debug)]
pub struct Saved {
    /// Entries in the file.
    pub keys: u64,
    /// Length of the file.
    pub bytes: u64,
}

/// What was loaded.
#[derive(Clone, Copy, Debug, Default)]
pub struct Loaded {
    /// Entries stored.
    pub keys: u64,
    /// Entries left out because their time had passed.
    pub expired_skipped: u64,
}

/// One entry in a file.
#[derive(Debug)]
struct Record<'a> {
    key: Cow<'a, [u8]>,
    value: Cow<'a, [u8]>,
    content_type: Option<Cow<'a, str>>,
    deadline: Option<UnixMillis>,
}

/// What a reader does with each record.
type Visit<'v> = dyn FnMut(Record<'_>) -> Result<()> + 'v;

pub(super) fn dir(engine: &Engine) -> PathBuf {
    engine.settings().data_dir.join("exports")
}

pub(super) fn save(engine: &Engine, vfs: &dyn Vfs, name: &ExportName) -> Result<Saved> {
    let dir = dir(engine);
    make_dir(vfs, &engine.settings().data_dir, &dir)?;
    let mut file = NewFile::create(vfs, &dir, &name.name).map_err(|e| failed("create", &dir, e))?;
    let keys = match name.format {
        Format::Json => json::write(&mut file, |each| entries(engine, each)),
        Format::Binary => binary::write(&mut file, |each| entries(engine, each)),
    }?;
    let bytes = file.publish().map_err(|e| failed("publish", &dir, e))?;
    Ok(Saved { keys, bytes })
}

pub(super) fn load(engine: &Engine, vfs: &dyn Vfs, name: &ExportName) -> Result<Loaded> {
    let path = dir(engine).join(&name.name);
    let read = |visit: &mut Visit<'_>| -> Result<()> {
        let mut source = Source::open(vfs, &path).map_err(|e| failed("open", &path, e))?;
        match name.format {
            Format::Json => json::read(&mut source, visit),
            Format::Binary => binary::read(&mut source, visit),
        }
    };
    let mut number = 0u64;
    read(&mut |record| {
        number += 1;
        verify(engine, &record).map_err(|why| damaged(format!("{why}, record={number}")))
    })
    .map_err(|e| Error::new(e.code(), format!("nothing was loaded: {}", e.detail())))?;
    let mut storing = Storing { engine, loaded: Loaded::default(), last: None };
    match read(&mut |record| storing.store(&record)) {
        Ok(()) => storing.finish(),
        // The disk, the log, or somebody who changed the file between the two readings.
        Err(e) => Err(Error::new(
            e.code(),
            format!("a part was loaded: {}, keys={}", e.detail(), storing.loaded.keys),
        )),
    }
}

/// Checks a file by itself, wherever it lies: what it is in words, and how many records it holds.
/// `None` if it is no export. Memory holds one record.
///
/// # Errors
/// `CorruptExport` if it is an export and damaged, `Io`.
pub fn check(vfs: &dyn Vfs, path: &Path) -> Result<Option<(&'static str, u64)>> {
    let open = || Source::open(vfs, path).map_err(|e| failed("open", path, e));
    let mut start = Vec::new();
    open()?.take(EXPORT_MAGIC.len() as u64).read_to_end(&mut start).map_err(|e| failed("read", path, e))?;
    let mut records = 0;
    let mut count = |_: Record<'_>| {
        records += 1;
        Ok(())
    };
    let what = if start == EXPORT_MAGIC {
        binary::read(&mut open()?, &mut count)?;
        "export, binary"
    } else if path.extension().is_some_and(|e| e == "json") {
        json::read(&mut open()?, &mut count)?;
        "export, JSON"
    } else {
        return Ok(None);
    };
    Ok(Some((what, records)))
}

/// Calls `each` for every entry that has not expired.
fn entries(engine: &Engine, each: &mut Visit<'_>) -> Result<()> {
    let mut next = Some(Cursor::START);
    while let Some(cursor) = next {
        let page = engine.scan(cursor, Key::from(&b""[..]), PAGE).wait().map_err(Error::from_engine)?;
        let now = engine.now();
        for entry in page.entries.iter().filter(|e| e.deadline().is_none_or(|at| at > now)) {
            let value = entry.value().map_err(Error::from_engine)?;
            each(Record {
                key: Cow::Borrowed(entry.key().bytes),
                value: Cow::Borrowed(&value),
                content_type: entry.content_type().map(Cow::Borrowed),
                deadline: entry.deadline(),
            })?;
        }
        next = page.next;
    }
    Ok(())
}

/// Whether the engine would take the record.
fn verify(engine: &Engine, record: &Record<'_>) -> Result<(), String> {
    let settings = engine.settings();
    let content_type = record.content_type.as_deref().unwrap_or("x");
    if record.key.is_empty() || record.key.len() > settings.max_key_bytes {
        return Err(format!(
            "a key must have 1 to {} bytes, len={}",
            settings.max_key_bytes,
            record.key.len()
        ));
    }
    if record.value.len() > settings.max_value_bytes {
        return Err(format!(
            "a value may have {} bytes, len={}",
            settings.max_value_bytes,
            record.value.len()
        ));
    }
    if !super::valid_content_type(content_type) {
        return Err("a content type must be 1 to 255 bytes of visible ASCII".to_owned());
    }
    Ok(())
}

/// Stores records one after the other. Only the last commit is waited for: the log is in order,
/// so that one covers all before it.
struct Storing<'e> {
    engine: &'e Engine,
    loaded: Loaded,
    last: Option<Commit<PutOutcome>>,
}

impl Storing<'_> {
    fn store(&mut self, record: &Record<'_>) -> Result<()> {
        if record.deadline.is_some_and(|at| at <= self.engine.now()) {
            self.loaded.expired_skipped += 1;
            return Ok(());
        }
        let bytes = record.key.len() + record.value.len();
        let write = Write { content_type: record.content_type.as_deref(), ..Write::new(&record.value) };
        let prepared = self.engine.prepare(&*record.key, &write).map_err(Error::from_engine)?;
        let expiry = record.deadline.map_or(Expiry::Never, Expiry::At);
        loop {
            match self.engine.put_prepared(&prepared, expiry, Condition::Always, None) {
                Ok(commit) => {
                    self.last = Some(commit);
                    self.loaded.keys += 1;
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Overloaded => {
                    self.engine.ready(bytes).wait().map_err(Error::from_engine)?;
                }
                Err(error) => return Err(Error::from_engine(error)),
            }
        }
    }

    fn finish(self) -> Result<Loaded> {
        if let Some(commit) = self.last {
            commit.wait().map_err(Error::from_commit)?;
        }
        Ok(self.loaded)
    }
}

fn make_dir(vfs: &dyn Vfs, data_dir: &Path, dir: &Path) -> Result<()> {
    match vfs.create_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Ok(()) => vfs.sync_dir(data_dir).map_err(|e| failed("sync", data_dir, e)),
        Err(e) => Err(failed("create", dir, e)),
    }
}

fn damaged(why: impl std::fmt::Display) -> Error {
    Error::new(Code::CorruptExport, format!("the file is damaged: {why}"))
}

fn failed(what: &str, path: &Path, error: io::Error) -> Error {
    let code = match error.kind() {
        io::ErrorKind::NotFound if what == "open" => Code::ExportNotFound,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Code::StorageFull,
        _ => Code::Io,
    };
    Error::new(code, format!("cannot {what} the export: {error}, path={}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every field that a record has, and none of those that it may lack.
    fn records(visit: &mut Visit<'_>) -> Result<()> {
        visit(Record {
            key: Cow::Borrowed(b"plain"),
            value: Cow::Borrowed(b"value"),
            content_type: Some(Cow::Borrowed("text/plain")),
            deadline: Some(UnixMillis(4_102_444_800_000)),
        })?;
        visit(Record {
            key: Cow::Borrowed(b"\xff\x00"),
            value: Cow::Borrowed(b"\xfe\x01\x02"),
            content_type: None,
            deadline: None,
        })
    }

    /// `tests/http/exports.rs` loads the same files.
    #[test]
    fn exports_have_the_bytes_of_version_1() {
        let (mut hfs, mut text) = (Vec::new(), Vec::new());
        assert_eq!(binary::write(&mut hfs, records).unwrap(), 2);
        assert_eq!(json::write(&mut text, records).unwrap(), 2);
        assert_eq!(hfs, include_bytes!("../../../tests/golden/v1/export.hfs"));
        assert_eq!(text, include_bytes!("../../../tests/golden/v1/export.json"));
    }

    #[test]
    fn a_name_is_bare_and_says_its_format() {
        assert_eq!(ExportName::parse("cache.json").unwrap().format, Format::Json);
        assert_eq!(ExportName::parse("a b-c_1.hfs").unwrap().format, Format::Binary);
        let long = format!("{}.json", "x".repeat(124));
        for name in [
            "",
            "cache",
            ".json",
            "../a.json",
            "a/b.json",
            "a\\b.json",
            "/etc/passwd.json",
            "..json",
            "a..json",
            "a.json/",
            ".hidden.hfs",
            "a\0.json",
            "a\n.json",
            "a.JSON",
            "a.json.txt",
            &long,
        ] {
            assert!(ExportName::parse(name).is_err(), "{name:?}");
        }
    }
}
