//! A file system whose syncs take as long as we say: that of the operating system, on tmpfs, with
//! a pause in each sync. So a slow disk can be measured on any machine.

use std::{
    io,
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use emberkeep_storage::{
    sim::around::{Around, wrap},
    vfs::{File, Vfs, os::OsVfs},
};

/// A sleep may end late by this much; the rest of the pause is spun.
const SPUN: Duration = Duration::from_micros(80);

/// The file system of the operating system with slower syncs of files.
pub fn slowed(sync: Duration) -> Arc<dyn Vfs> {
    wrap(Arc::new(OsVfs), SlowSync(sync))
}

#[derive(Debug)]
struct SlowSync(Duration);

impl Around for SlowSync {
    fn sync_data(&self, _: &Path, inner: &dyn File) -> io::Result<()> {
        let begin = Instant::now();
        inner.sync_data()?;
        pause(begin, self.0);
        Ok(())
    }
}

/// Returns `span` after `begin`.
fn pause(begin: Instant, span: Duration) {
    let asleep = span.saturating_sub(begin.elapsed()).saturating_sub(SPUN);
    if !asleep.is_zero() {
        thread::sleep(asleep);
    }
    while begin.elapsed() < span {
        std::hint::spin_loop();
    }
}
