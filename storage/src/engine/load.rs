//! Loading a snapshot into the index: the threads share out its files.
//!
//! A file holds some stripes one after the other, and a data set hashes its keys the same way in
//! every process, so a thread mostly fills stripes that no other thread is at. Nothing rests on
//! it: entries gather per stripe, and a stripe takes them in batches, in the order of the file.
//!
//! A file that does not verify ends the loading; what was loaded by then is thrown away with the
//! index.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::{
    engine::open::Progress,
    error::Result,
    format::{checksum::Salt, file_name, manifest::Manifest, snapshot::SnapshotEntry},
    index::{Index, blob::Blob, rebuild::Loading},
    lsn::Lsn,
    snapshot::{
        self,
        reader::{Expected, read_group},
    },
    wal::recover::Source,
};

/// Entries that all stripes together gather, in one thread, before they go into the index …
const GATHERED_MAX: usize = 1 << 14;
/// … and one stripe. More does not make it faster.
const BATCH_MAX: usize = 256;

/// Loads the snapshot that the MANIFEST names, if it names one. Gives the number of its entries.
///
/// # Errors
/// `Corrupt`, `Unsupported` or `Io`.
pub(super) fn load(
    source: Source<'_>,
    index: &Index,
    threads: usize,
    progress: &dyn Fn(Progress),
) -> Result<u64> {
    let Manifest { snapshot: Some(meta), dataset_id, salt, .. } = source.manifest else { return Ok(0) };
    let entries = meta.entries();
    let per_stripe = (entries as usize).div_ceil(index.stripe_count());
    let dir = snapshot::path(source.data_dir, meta.begin);
    let load = |group: usize| {
        let path = dir.join(file_name::snapshot_group(group));
        let expected = Expected { snapshot: meta, group, dataset_id: *dataset_id, salt: Salt(*salt) };
        let mut loader = Loader::new(index, per_stripe);
        read_group(source.vfs, &path, expected, &mut |entry| loader.take(&entry))?;
        loader.finish();
        Ok(())
    };
    let total = meta.groups.len();
    let tell = |done| progress(Progress::Snapshot { done, total: total as u64 });
    share_out(threads, total, &load, &tell)?;
    let finish = |stripe| {
        index.lock(stripe).finish_load();
        Ok(())
    };
    share_out(threads, index.stripe_count(), &finish, &|_| {})?;
    Ok(entries)
}

/// What one thread has read and the index does not have yet.
struct Loader<'a> {
    index: &'a Index,
    /// Entries that a stripe will have: room for them is made when the first ones come.
    per_stripe: usize,
    batch_max: usize,
    gathered: Vec<Vec<Loading>>,
}

impl<'a> Loader<'a> {
    fn new(index: &'a Index, per_stripe: usize) -> Self {
        let stripes = index.stripe_count();
        let gathered = std::iter::repeat_with(Vec::new).take(stripes).collect();
        Loader { index, per_stripe, batch_max: (GATHERED_MAX / stripes).clamp(1, BATCH_MAX), gathered }
    }

    fn take(&mut self, entry: &SnapshotEntry<'_>) {
        let hash = self.index.hash(entry.put.key);
        let stripe = self.index.stripe_of(hash);
        self.gathered[stripe].push(Loading {
            hash,
            blob: Blob::new(&entry.put),
            lsn: Lsn(entry.lsn),
            deadline: entry.put.deadline,
            hint: entry.hint,
            rank: entry.rank,
        });
        if self.gathered[stripe].len() >= self.batch_max {
            self.flush(stripe);
        }
    }

    fn flush(&mut self, number: usize) {
        let mut stripe = self.index.lock(number);
        if stripe.len() == 0 {
            stripe.reserve(self.per_stripe);
        }
        stripe.load(self.gathered[number].drain(..));
    }

    fn finish(mut self) {
        for stripe in 0..self.gathered.len() {
            if !self.gathered[stripe].is_empty() {
                self.flush(stripe);
            }
        }
    }
}

/// Does `work` for each number below `count` in so many threads, this one among them; after each
/// of its own this one tells how many are done. Ends early at an error, and gives it back.
fn share_out(
    threads: usize,
    count: usize,
    work: &(impl Fn(usize) -> Result<()> + Sync),
    tell: &dyn Fn(u64),
) -> Result<()> {
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let turn = || -> Result<bool> {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= count {
            return Ok(false);
        }
        // The others need not go on.
        work(number).inspect_err(|_| next.store(count, Ordering::Relaxed))?;
        done.fetch_add(1, Ordering::Relaxed);
        Ok(true)
    };
    let helper = || {
        while turn()? {}
        Ok(())
    };
    std::thread::scope(|scope| {
        let helpers: Vec<_> = (1..threads.min(count)).map(|_| scope.spawn(helper)).collect();
        let own = loop {
            match turn() {
                Ok(true) => tell(done.load(Ordering::Relaxed) as u64),
                Ok(false) => break Ok(()),
                Err(e) => break Err(e),
            }
        };
        let others = helpers.into_iter().map(|h| h.join().expect("loading does not panic"));
        others.fold(own, Result::and)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        error::{Error, ErrorKind},
        sync::Mutex,
    };

    #[test]
    fn every_number_is_worked_on_once_in_any_number_of_threads() {
        for threads in [1, 2, 7] {
            let seen = Mutex::new(vec![0; 100]);
            let work = |n: usize| {
                seen.lock().unwrap()[n] += 1;
                Ok(())
            };
            share_out(threads, 100, &work, &|_| {}).unwrap();
            assert_eq!(*seen.lock().unwrap(), [1; 100], "threads={threads}");
        }
    }

    #[test]
    fn an_error_in_any_thread_is_the_outcome() {
        for threads in [1, 4] {
            for bad in [0, 50, 99] {
                let work = |n| if n == bad { Err(Error::new(ErrorKind::Corrupt, "bad")) } else { Ok(()) };
                let error = share_out(threads, 100, &work, &|_| {}).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Corrupt, "threads={threads} bad={bad}");
            }
        }
    }
}
