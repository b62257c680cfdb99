//! Buffers that the connections of a thread lend each other: who has bytes has one, an idle connection
//! has none.
//!
//! They are kept and not freed, because a new one of 16 KiB or more is a mapping of its own, as large
//! values are: made, faulted in and taken apart for each batch it costs more than the batch.

use std::cell::RefCell;

/// A buffer that has grown beyond this is freed.
pub(super) const KEPT_LEN_MAX: usize = 64 << 10;
/// Buffers that a thread keeps: 8 MiB at most.
const KEPT_MAX: usize = 128;

thread_local! {
    static KEPT: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Gives a buffer without memory some that was used before, if there is any.
pub(super) fn lend(buffer: &mut Vec<u8>) {
    if buffer.capacity() == 0
        && let Some(kept) = KEPT.with_borrow_mut(Vec::pop)
    {
        *buffer = kept;
    }
}

/// Takes the memory of a buffer whose bytes are not needed any more.
pub(super) fn take_back(buffer: &mut Vec<u8>) {
    let mut buffer = std::mem::take(buffer);
    buffer.clear();
    KEPT.with_borrow_mut(|kept| {
        if (1..=KEPT_LEN_MAX).contains(&buffer.capacity()) && kept.len() < KEPT_MAX {
            kept.push(buffer);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_goes_from_one_buffer_to_the_next_unless_it_is_much() {
        let mut one = vec![b'x'; 20_000];
        let memory = one.as_ptr();
        take_back(&mut one);
        assert_eq!(one.capacity(), 0);
        let mut other = Vec::new();
        lend(&mut other);
        assert_eq!((other.as_ptr(), other.len()), (memory, 0));
        // One that has memory keeps it.
        lend(&mut other);
        assert_eq!(other.as_ptr(), memory);
        let mut large = vec![0; KEPT_LEN_MAX + 1];
        take_back(&mut large);
        lend(&mut large);
        assert_eq!(large.capacity(), 0);
    }

    #[test]
    fn a_thread_keeps_so_many_and_no_more() {
        for _ in 0..2 * KEPT_MAX {
            take_back(&mut vec![1]);
        }
        assert_eq!(KEPT.with_borrow(Vec::len), KEPT_MAX);
    }
}
