//! What a process holds of a simulated disk: open files, locks and maps.
//!
//! The calls on an open file are here, with what a planned fault makes of each.

use std::{
    io::{self, IoSlice},
    ops::Deref,
    sync::{Arc, MutexGuard},
};

use rustix::io::Errno;

use super::{
    disk::SimDisk,
    faults::{Call, Effect},
    op::{Bytes, Change, Ino, Op, flip},
    state::State,
};
use crate::vfs::{DirLock, File, Mapped};

/// Held while it lives; a process that is gone holds nothing ([`SimDisk::after_kill`]).
#[derive(Debug)]
pub(super) struct SimLock {
    pub(super) disk: SimDisk,
    pub(super) ino: Ino,
}

impl DirLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.disk.state().locked.remove(&self.ino);
    }
}

/// An open file. It outlives the name.
#[derive(Debug)]
pub(super) struct SimFile {
    pub(super) disk: SimDisk,
    pub(super) ino: Ino,
    pub(super) writable: bool,
}

impl SimFile {
    fn begin_change(&self, call: Call) -> io::Result<(MutexGuard<'_, State>, Option<Effect>)> {
        let begun = self.disk.begin(call)?;
        if self.writable { Ok(begun) } else { Err(Errno::BADF.into()) }
    }

    /// The number of operations that a sync which starts now covers.
    fn wait_for_sync(&self) -> u64 {
        let upto = self.disk.op_count();
        self.disk.stall();
        upto
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        self.disk.state().close(self.ino);
    }
}

impl File for SimFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let (mut state, effect) = self.disk.begin(Call::Read)?;
        let content = &state.file(self.ino).content;
        let rest = usize::try_from(offset).ok().and_then(|at| content.get(at..)).unwrap_or_default();
        let short = if let Some(Effect::Short(len)) = effect { len } else { usize::MAX };
        let len = rest.len().min(buf.len()).min(short);
        buf[..len].copy_from_slice(&rest[..len]);
        if let Some(Effect::FlipBit { offset, bit }) = effect
            && len > 0
        {
            flip(&mut buf[..len], (offset % len) as u64, bit);
        }
        Ok(len)
    }

    fn write_at(&self, offset: u64, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let (mut state, effect) = self.begin_change(Call::Write)?;
        let mut data = Vec::with_capacity(bufs.iter().map(|buf| buf.len()).sum());
        bufs.iter().for_each(|buf| data.extend_from_slice(buf));
        match effect {
            Some(Effect::Short(len)) => data.truncate(len),
            Some(Effect::FailAfter(len, errno)) => {
                data.truncate(len);
                state.write(self.ino, offset, data)?;
                return Err(errno.into());
            }
            Some(Effect::Misdirect(to)) => return state.write(self.ino, to, data),
            Some(Effect::Lose) => return Ok(data.len()),
            _ => {}
        }
        state.write(self.ino, offset, data)
    }

    fn sync_data(&self) -> io::Result<()> {
        let upto = self.wait_for_sync();
        let (mut state, effect) = self.disk.begin(Call::Sync)?;
        if effect == Some(Effect::DropDirty) {
            state.drop_dirty(self.ino, upto);
            return Err(Errno::IO.into());
        }
        state.record(Op::SyncData { ino: self.ino, upto });
        Ok(())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.begin_change(Call::Allocate)?.0.change(self.ino, Change::Allocate(len))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.begin_change(Call::SetLen)?.0.change(self.ino, Change::SetLen(len))
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.begin(Call::Len)?.0.file(self.ino).content.len() as u64)
    }

    fn map(&self) -> io::Result<Mapped> {
        let (mut state, effect) = self.disk.begin(Call::Read)?;
        let mut content = state.file(self.ino).content.clone();
        if let Some(Effect::FlipBit { offset, bit }) = effect
            && !content.is_empty()
        {
            let offset = (offset % content.len()) as u64;
            flip(Arc::make_mut(&mut content).as_mut_slice(), offset, bit);
        }
        Ok(Box::new(Map(content)))
    }

    fn drop_cache(&self) -> io::Result<()> {
        self.sync_data()?;
        let mut state = self.disk.state();
        let file = state.file(self.ino);
        // What a failed sync dropped is shown by the cache alone, so it is gone now.
        if let Some(on_disk) = file.on_disk.take() {
            file.content = on_disk;
        }
        Ok(())
    }
}

/// The content at the time of the call.
struct Map(Bytes);

impl Deref for Map {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}
