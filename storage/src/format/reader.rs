//! A cursor over bytes that are not trusted, and the varint that goes with it.

use super::Defect;

/// Takes values off the front of a slice; every step checks what is left.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the front of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes }
    }

    /// Bytes not yet taken.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// The next `n` bytes.
    ///
    /// # Errors
    /// `Truncated` if there are fewer.
    pub fn bytes(&mut self, n: usize) -> Result<&'a [u8], Defect> {
        let (taken, rest) = self.rest.split_at_checked(n).ok_or(Defect::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// The next `N` bytes as an array.
    ///
    /// # Errors
    /// `Truncated` if there are fewer.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Defect> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(Defect::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// One byte.
    ///
    /// # Errors
    /// `Truncated` at the end.
    pub fn u8(&mut self) -> Result<u8, Defect> {
        Ok(self.array::<1>()?[0])
    }

    /// A fixed 16-bit integer.
    ///
    /// # Errors
    /// `Truncated` at the end.
    pub fn u16(&mut self) -> Result<u16, Defect> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    /// A fixed 32-bit integer.
    ///
    /// # Errors
    /// `Truncated` at the end.
    pub fn u32(&mut self) -> Result<u32, Defect> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// A fixed 64-bit integer.
    ///
    /// # Errors
    /// `Truncated` at the end.
    pub fn u64(&mut self) -> Result<u64, Defect> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A varint.
    ///
    /// # Errors
    /// `Truncated` at the end, `Malformed` if it is longer than it need be or over 64 bits.
    pub fn varint(&mut self) -> Result<u64, Defect> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(Defect::Malformed);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                let shortest = bits != 0 || shift == 0;
                return if shortest { Ok(value) } else { Err(Defect::Malformed) };
            }
        }
        Err(Defect::Malformed)
    }

    /// A varint that counts or measures something, at most `max`.
    ///
    /// # Errors
    /// As [`varint`](Self::varint), and `Length` above `max`.
    pub fn length(&mut self, max: usize) -> Result<usize, Defect> {
        usize::try_from(self.varint()?).ok().filter(|&n| n <= max).ok_or(Defect::Length)
    }

    /// Nothing must be left.
    ///
    /// # Errors
    /// `Malformed` if something is.
    pub fn finish(self) -> Result<(), Defect> {
        if self.rest.is_empty() { Ok(()) } else { Err(Defect::Malformed) }
    }
}

/// Appends `value` as a varint.
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_varint_survives_the_round_trip(value: u64) {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            let mut r = Reader::new(&out);
            prop_assert_eq!(r.varint(), Ok(value));
            prop_assert_eq!(r.finish(), Ok(()));
        }

        #[test]
        fn what_decodes_is_the_shortest_form(bytes in proptest::collection::vec(any::<u8>(), 0..12)) {
            let mut r = Reader::new(&bytes);
            if let Ok(value) = r.varint() {
                let mut out = Vec::new();
                put_varint(&mut out, value);
                prop_assert_eq!(&out[..], &bytes[..bytes.len() - r.remaining()]);
            }
        }
    }

    #[test]
    fn an_overlong_varint_is_refused() {
        assert_eq!(Reader::new(&[0x80, 0x00]).varint(), Err(Defect::Malformed));
        assert_eq!(Reader::new(&[0xff; 10]).varint(), Err(Defect::Malformed));
        assert_eq!(Reader::new(&[0x80]).varint(), Err(Defect::Truncated));
    }
}
