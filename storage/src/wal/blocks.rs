//! Writes a log in whole blocks, so that no write waits for a read.
//!
//! A write that covers only a part of a block makes the system read the rest from the disk first,
//! unless the page cache has it. Spares lie around for long, so it mostly has not, and that read
//! queues behind everything else that the disk has to do: tens of milliseconds while a snapshot is
//! written. So each write begins with the bytes that its first block has already, the same ones as
//! before, and ends with zeros, which are there too.
//!
//! If the power fails while it is written, the bytes in front are what they were, whichever of
//! both writes the disk has kept of each sector.

use std::io::{self, IoSlice};

use crate::vfs::{File, write_all_at};

/// Blocks of file systems, and pages, mostly have this size.
const BLOCK_LEN: u64 = 4096;
const ZEROS: [u8; BLOCK_LEN as usize] = [0; BLOCK_LEN as usize];

/// Appends to one segment.
#[derive(Debug)]
pub(crate) struct Blocks {
    /// Nothing is written behind this length of the file.
    capacity: u64,
    /// What the last block holds up to where the log ends. Nothing if the log ends between two
    /// blocks, or if another run wrote it.
    tail: Vec<u8>,
}

impl Blocks {
    pub(crate) fn new(capacity: u64) -> Blocks {
        Blocks { capacity, tail: Vec::new() }
    }

    /// Writes `bytes` at `offset`, where the log ends, and zeros up to the end of the block.
    pub(crate) fn append(&mut self, file: &dyn File, offset: u64, bytes: &[IoSlice<'_>]) -> io::Result<()> {
        let mut before = std::mem::take(&mut self.tail);
        if before.len() as u64 != offset % BLOCK_LEN {
            before.clear();
        }
        let begin = offset - before.len() as u64;
        let end = offset + bytes.iter().map(|b| b.len() as u64).sum::<u64>();
        let padded = end.next_multiple_of(BLOCK_LEN).min(self.capacity.max(end));

        let mut slices = Vec::with_capacity(bytes.len() + 2);
        slices.push(IoSlice::new(&before));
        slices.extend_from_slice(bytes);
        let tail_len = end % BLOCK_LEN;
        if tail_len <= end - begin {
            self.tail = last(&slices, tail_len as usize);
        }
        slices.push(IoSlice::new(&ZEROS[..(padded - end) as usize]));
        write_all_at(file, begin, &mut slices)
    }
}

/// The last `len` bytes of all of them.
fn last(slices: &[IoSlice<'_>], len: usize) -> Vec<u8> {
    let mut left = len;
    let mut pieces = Vec::new();
    for slice in slices.iter().rev() {
        let piece = &slice[slice.len() - left.min(slice.len())..];
        left -= piece.len();
        pieces.push(piece);
    }
    pieces.into_iter().rev().collect::<Vec<_>>().concat()
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Arc};

    use super::*;
    use crate::{
        random::Random,
        sim::{
            around::{Around, wrap},
            disk::SimDisk,
        },
        sync::Mutex,
        vfs::{OpenMode, read_exact_at},
    };

    /// Notes where writes begin and end.
    #[derive(Debug, Default)]
    struct Writes(Arc<Mutex<Vec<(u64, u64)>>>);

    impl Around for Writes {
        fn write_at(&self, _: &Path, inner: &dyn File, at: u64, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
            let len: usize = bufs.iter().map(|b| b.len()).sum();
            self.0.lock().unwrap().push((at, at + len as u64));
            inner.write_at(at, bufs)
        }
    }

    /// Appends pieces of random lengths from `begin` on to a file of `capacity` bytes of zeros, and
    /// compares. Gives the writes.
    fn fill(capacity: u64, begin: u64, seed: u8) -> Vec<(u64, u64)> {
        let writes = Arc::default();
        let vfs = wrap(Arc::new(SimDisk::new()), Writes(Arc::clone(&writes)));
        let file = vfs.open(Path::new("/file"), OpenMode::CreateNew).unwrap();
        file.set_len(capacity).unwrap();
        let mut expected = vec![0; capacity as usize];
        let mut random = Random::from_seed([seed; 32]);
        let mut blocks = Blocks::new(capacity);
        let mut offset = begin as usize;
        loop {
            let lens = [random.next_u64() % 9000, random.next_u64() % 50, 0].map(|len| len as usize);
            let len: usize = lens.iter().sum();
            if offset + len > expected.len() {
                break;
            }
            let pieces = lens.map(|len| (0..len).map(|_| random.next_u64() as u8 | 1).collect::<Vec<u8>>());
            expected[offset..offset + len].copy_from_slice(&pieces.concat());
            let slices: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
            blocks.append(&*file, offset as u64, &slices).unwrap();
            offset += len;
            let mut found = vec![0; expected.len()];
            read_exact_at(&*file, 0, &mut found).unwrap();
            assert!(found == expected, "seed={seed} offset={offset}");
        }
        assert_eq!(file.len().unwrap(), capacity);
        writes.lock().unwrap().clone()
    }

    #[test]
    fn what_is_appended_is_there_and_nothing_else_is_changed() {
        for seed in 0..20 {
            fill(100_000, 0, seed);
            fill(100_000, 5000, seed);
        }
    }

    #[test]
    fn every_write_covers_whole_blocks_once_a_block_was_begun_and_none_goes_behind_the_end() {
        let capacity = 100 * BLOCK_LEN + 24;
        for seed in 0..20 {
            let writes = fill(capacity, 0, seed);
            let whole = |at: u64| at.is_multiple_of(BLOCK_LEN) || at == capacity;
            assert!(writes.iter().all(|&(begin, end)| whole(begin) && whole(end)), "{writes:?}");
            // The block where another run has ended is not known.
            let writes = fill(capacity, 5000, seed);
            assert_eq!(writes[0].0, 5000);
            let after = writes.iter().skip_while(|w| w.1 <= 2 * BLOCK_LEN).skip(1);
            assert!(after.into_iter().all(|&(begin, end)| whole(begin) && whole(end)), "{writes:?}");
        }
    }
}
