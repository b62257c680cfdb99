//! CRC-32 (IEEE 802.3, the polynomial of zlib), plain and seeded with the data set's salt.

/// CRC-32 of the parts, one behind the other.
pub fn crc32(parts: &[&[u8]]) -> u32 {
    seeded(0, parts)
}

/// The secret number of a data set, mixed into the checksum of every header, so that a value
/// which imitates a frame never parses as one. Shown nowhere.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Salt(pub u64);

impl Salt {
    /// CRC-32 of the parts, seeded with the salt.
    pub fn crc32(self, parts: &[&[u8]]) -> u32 {
        seeded(crc32fast::hash(&self.0.to_le_bytes()), parts)
    }
}

impl std::fmt::Debug for Salt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Salt(..)")
    }
}

fn seeded(seed: u32, parts: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(seed);
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, bit by bit.
    fn oracle(mut crc: u32, bytes: &[u8]) -> u32 {
        crc = !crc;
        for byte in bytes {
            crc ^= u32::from(*byte);
            for _ in 0..8 {
                crc = (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
            }
        }
        !crc
    }

    #[test]
    fn the_library_computes_crc32_at_every_length_and_alignment() {
        let bytes: Vec<u8> = (0..1200u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        for start in 0..16 {
            for end in (start..bytes.len()).step_by(7) {
                let part = &bytes[start..end];
                assert_eq!(crc32(&[part]), oracle(0, part), "start={start} end={end}");
            }
        }
        let seed = crc32fast::hash(&7u64.to_le_bytes());
        assert_eq!(Salt(7).crc32(&[&bytes[..100], &bytes[100..]]), oracle(seed, &bytes));
    }
}
