//! The floor: what a bare loop reaches that writes the bytes of a group and syncs, over and over,
//! on a file that was written before. No order, no checksums, no waiters.

use std::{
    io::IoSlice,
    path::Path,
    time::{Duration, Instant},
};

use emberkeep_storage::vfs::{OpenMode, Vfs, write_all_at};

const FILE_LEN: u64 = 64 << 20;
const SLICE_LEN: usize = 1 << 20;

/// What the loop reached.
#[derive(Clone, Copy, Debug)]
pub struct Floor {
    /// Groups per second.
    pub groups: f64,
    /// Time of one sync: the median.
    pub sync: Duration,
}

/// Measures groups of `group_len` bytes.
///
/// # Panics
/// If the disk does not work.
pub fn measure(vfs: &dyn Vfs, dir: &Path, group_len: usize, span: Duration) -> Floor {
    let path = dir.join("floor");
    let file = vfs.open(&path, OpenMode::CreateNew).expect("a file can be created");
    let zeros = vec![0; SLICE_LEN];
    for offset in (0..FILE_LEN).step_by(SLICE_LEN) {
        write_all_at(&*file, offset, &mut [IoSlice::new(&zeros)]).expect("the disk works");
    }
    file.sync_data().expect("the disk works");

    let group = vec![0x5a; group_len];
    let (mut syncs, mut offset) = (Vec::new(), 0);
    let begin = Instant::now();
    while begin.elapsed() < span {
        if offset + group_len as u64 > FILE_LEN {
            offset = 0;
        }
        write_all_at(&*file, offset, &mut [IoSlice::new(&group)]).expect("the disk works");
        offset += group_len as u64;
        let sync = Instant::now();
        file.sync_data().expect("the disk works");
        syncs.push(sync.elapsed());
    }
    let groups = syncs.len() as f64 / begin.elapsed().as_secs_f64();
    vfs.remove_file(&path).expect("the file can be removed");
    syncs.sort_unstable();
    Floor { groups, sync: syncs[syncs.len() / 2] }
}
