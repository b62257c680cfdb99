//! A string of bytes in one shared allocation, behind one thin pointer, with four bytes in front.
//!
//! ```text
//! u16  references   atomic
//! u8   first        a pair: two strings of these lengths
//! u8   second
//! ```
//! or, with 0 in place of `first`, one string of any length and a number for the caller:
//! ```text
//! u16  references   atomic
//! u8   0
//! u8   tag          seven bits of the caller, and 128: the length has four bytes
//! u16  length       or u32
//! ```
//!
//! The bytes never change once they are written, and a clone counts a reference. Sixteen bits are
//! enough because nothing depends on sharing: when they are used up, a clone is a copy.
//!
//! Beside `prefetch` this is the only file of the index with `unsafe`. What the bytes mean is said in `index::blob`.

#![expect(unsafe_code, reason = "no safe type has a length of one byte and a count of two")]

use std::{
    alloc::{Layout, alloc, dealloc, handle_alloc_error},
    num::NonZeroU8,
    ptr::{self, NonNull},
    slice,
    // Not those of `crate::sync`: the count is two bytes in memory of our own, which a stand-in for
    // an atomic is not.
    sync::atomic::{AtomicU16, Ordering, fence},
};

const COUNT_LEN: usize = 2;
/// Count, and the two bytes that tell the form.
const PAIR_HEAD_LEN: usize = COUNT_LEN + 2;
/// In the tag's byte: the length has four bytes instead of two.
const WIDE: u8 = 128;

/// What is known about the bytes without looking at them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Two strings; the length of the first.
    Pair(NonZeroU8),
    /// One string with this tag.
    Tagged(u8),
}

/// Bytes in one shared allocation.
///
/// Points to a head as above and, behind it, as many bytes as the head says, all of them in one
/// allocation of [`layout`] of the sum. The allocation lives as long as its count is not zero, and
/// each `Thin` that points to it is counted once.
pub(super) struct Thin(NonNull<u8>);

// SAFETY: what a `Thin` points to is written before it is shared and never again, but for the
// count, which is atomic. The last owner frees it, whichever thread that is on.
unsafe impl Send for Thin {}
// SAFETY: as above.
unsafe impl Sync for Thin {}

impl Thin {
    /// Both strings, if the first has 1 to 255 bytes and the second at most 255.
    pub(super) fn pair(first: &[u8], second: &[u8]) -> Option<Thin> {
        let first_len = NonZeroU8::new(u8::try_from(first.len()).ok()?)?;
        let second_len = u8::try_from(second.len()).ok()?;
        Some(Thin::build(&[first_len.get(), second_len], &[first, second]))
    }

    /// The parts, one behind the other, with a tag below 128.
    ///
    /// # Panics
    /// If the tag is larger, or the parts are longer than 4 GiB.
    pub(super) fn tagged(tag: u8, parts: &[&[u8]]) -> Thin {
        assert!(tag & WIDE == 0, "a tag has seven bits");
        let len: usize = parts.iter().map(|part| part.len()).sum();
        if let Ok(len) = u16::try_from(len) {
            let [a, b] = len.to_le_bytes();
            return Thin::build(&[0, tag, a, b], parts);
        }
        let [a, b, c, d] = u32::try_from(len).expect("checked before: at most 513 MiB").to_le_bytes();
        Thin::build(&[0, tag | WIDE, a, b, c, d], parts)
    }

    /// Pair or tagged.
    pub(super) fn form(&self) -> Form {
        let [first, tag] = self.form_bytes();
        NonZeroU8::new(first).map_or(Form::Tagged(tag & !WIDE), Form::Pair)
    }

    /// Where it lies, for whoever fetches it ahead.
    pub(super) fn address(&self) -> *const u8 {
        self.0.as_ptr()
    }

    /// All the bytes but the head.
    pub(super) fn bytes(&self) -> &[u8] {
        let (head_len, len) = self.extent();
        // SAFETY: so many bytes lie behind the head, they are written, and nobody writes to them as
        // long as the borrow of `self` keeps the count above zero.
        unsafe { slice::from_raw_parts(self.0.as_ptr().add(head_len), len) }
    }

    /// What was asked of the allocator.
    pub(super) fn allocated_len(&self) -> usize {
        let (head_len, len) = self.extent();
        head_len + len
    }

    /// Writes a head, which says how long `parts` are together, and the parts. `form` is what
    /// follows the count in the head.
    fn build(form: &[u8], parts: &[&[u8]]) -> Thin {
        let len = COUNT_LEN + form.len() + parts.iter().map(|part| part.len()).sum::<usize>();
        let layout = layout(len);
        // SAFETY: the layout is not of size zero, there is a head.
        let start = unsafe { alloc(layout) };
        let Some(start) = NonNull::new(start) else { handle_alloc_error(layout) };
        let mut at = 0;
        for part in [&1u16.to_ne_bytes()[..], form].iter().chain(parts) {
            // SAFETY: `len` is the sum of just these lengths, so `at` and the part lie within the
            // allocation. It is new, so no part lies in it.
            unsafe { ptr::copy_nonoverlapping(part.as_ptr(), start.as_ptr().add(at), part.len()) };
            at += part.len();
        }
        Thin(start)
    }

    fn count(&self) -> &AtomicU16 {
        // SAFETY: the allocation begins with these two bytes, is aligned for them (see `layout`), and
        // they are never accessed but through this method while somebody else may have a clone.
        unsafe { AtomicU16::from_ptr(self.0.as_ptr().cast()) }
    }

    fn form_bytes(&self) -> [u8; 2] {
        // SAFETY: both forms begin with two bytes behind the count.
        unsafe { self.head_bytes(COUNT_LEN) }
    }

    /// The length of the head, and that of what follows.
    fn extent(&self) -> (usize, usize) {
        match self.form_bytes() {
            [0, tag] if tag & WIDE == 0 => {
                // SAFETY: this form goes on with a length of two bytes.
                let len = u16::from_le_bytes(unsafe { self.head_bytes(PAIR_HEAD_LEN) });
                (PAIR_HEAD_LEN + size_of::<u16>(), usize::from(len))
            }
            [0, _] => {
                // SAFETY: this form goes on with a length of four bytes.
                let len = u32::from_le_bytes(unsafe { self.head_bytes(PAIR_HEAD_LEN) });
                (PAIR_HEAD_LEN + size_of::<u32>(), len as usize)
            }
            [first, second] => (PAIR_HEAD_LEN, usize::from(first) + usize::from(second)),
        }
    }

    /// Bytes of the head from `at` on.
    ///
    /// # Safety
    /// The head must be that long, and they must not be those of the count.
    unsafe fn head_bytes<const N: usize>(&self, at: usize) -> [u8; N] {
        // SAFETY: so the caller says; the head is written and does not change, and bytes need no
        // alignment.
        unsafe { self.0.as_ptr().add(at).cast::<[u8; N]>().read() }
    }

    /// The same bytes in an allocation of their own.
    #[cold]
    fn copy(&self) -> Thin {
        match self.form() {
            Form::Pair(first) => {
                let (first, second) = self.bytes().split_at(usize::from(first.get()));
                Thin::pair(first, second).expect("it was a pair before")
            }
            Form::Tagged(tag) => Thin::tagged(tag, &[self.bytes()]),
        }
    }
}

impl Clone for Thin {
    fn clone(&self) -> Thin {
        // Not an addition that is looked at afterwards: with enough threads at once it would have
        // gone round before the first of them has looked. Relaxed: whoever clones has a reference.
        match self.count().fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_add(1)) {
            Ok(_) => Thin(self.0),
            Err(_) => self.copy(),
        }
    }
}

impl Drop for Thin {
    fn drop(&mut self) {
        // Release: what this owner has read is read before somebody else frees it.
        if self.count().fetch_sub(1, Ordering::Release) != 1 {
            return;
        }
        // And the reads of all the others come before this.
        fence(Ordering::Acquire);
        let layout = layout(self.allocated_len());
        // SAFETY: it was allocated with this layout, and this was the last that pointed to it.
        unsafe { dealloc(self.0.as_ptr(), layout) };
    }
}

/// Aligned for the count.
fn layout(len: usize) -> Layout {
    Layout::from_size_align(len, align_of::<AtomicU16>()).expect("far less than half of all memory")
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// Lengths around the borders of both forms; fewer and shorter where every access is checked.
    fn lens() -> &'static [usize] {
        if cfg!(miri) { &[0, 1, 255, 256] } else { &[0, 1, 2, 254, 255, 256, 65_535, 65_536, 200_000] }
    }

    fn bytes(len: usize) -> Vec<u8> {
        (0..len).map(|i| i as u8).collect()
    }

    #[test]
    fn a_pair_gives_back_both_strings() {
        for (first, second) in [(1, 0), (1, 255), (255, 0), (255, 255), (16, 32)] {
            let thin = Thin::pair(&bytes(first), &bytes(second)).unwrap();
            assert_eq!(thin.form(), Form::Pair(NonZeroU8::new(first as u8).unwrap()));
            assert_eq!(thin.bytes(), [bytes(first), bytes(second)].concat());
            assert_eq!(thin.allocated_len(), 4 + first + second);
        }
        assert!(Thin::pair(&[], b"v").is_none());
        assert!(Thin::pair(&bytes(256), b"v").is_none());
        assert!(Thin::pair(b"k", &bytes(256)).is_none());
    }

    #[test]
    fn a_tagged_string_may_have_any_length() {
        for &len in lens() {
            for tag in [0, 1, 127] {
                let thin = Thin::tagged(tag, &[&bytes(len)]);
                assert_eq!((thin.form(), thin.bytes()), (Form::Tagged(tag), &bytes(len)[..]));
                assert_eq!(thin.copy().bytes(), thin.bytes());
            }
        }
        let border = usize::from(u16::MAX);
        assert_eq!(Thin::tagged(3, &[&bytes(border)]).allocated_len(), 6 + border);
        assert_eq!(Thin::tagged(3, &[&bytes(border), b"!"]).allocated_len(), 8 + border + 1);
    }

    #[test]
    fn a_clone_shares_until_the_count_is_used_up_and_then_copies() {
        for thin in [Thin::pair(b"key", b"value").unwrap(), Thin::tagged(9, &[b"value"])] {
            // As if all owners but one were elsewhere.
            thin.count().store(u16::MAX - 1, Ordering::Relaxed);
            let last = thin.clone();
            assert_eq!(last.0, thin.0);
            let copy = thin.clone();
            assert_ne!(copy.0, thin.0);
            assert_eq!((copy.form(), copy.bytes()), (thin.form(), thin.bytes()));
            assert_eq!(copy.clone().0, copy.0, "the copy is shared like any other");
            drop(last);
            assert_eq!(thin.clone().0, thin.0, "one went, so the next one shares again");
            assert_eq!(thin.count().load(Ordering::Relaxed), u16::MAX - 1);
            thin.count().store(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn the_bytes_are_there_for_the_last_owner_on_whatever_thread() {
        let rounds = if cfg!(miri) { 20 } else { 2_000 };
        for round in 0..rounds {
            let thin = Thin::tagged(1, &[b"shared ", b"bytes"]);
            thread::scope(|scope| {
                for _ in 0..3 {
                    let clone = thin.clone();
                    scope.spawn(move || {
                        let again = clone.clone();
                        drop(clone);
                        assert_eq!(again.bytes(), b"shared bytes", "round {round}");
                    });
                }
                drop(thin);
            });
        }
    }
}
