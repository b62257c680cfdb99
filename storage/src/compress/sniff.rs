//! What cannot be compressed: by its first bytes, or because all bytes are about equally frequent.

/// Offset and bytes that a format begins with. Formats that people put into caches.
const MAGICS: &[(usize, &[u8])] = &[
    (0, b"\x28\xb5\x2f\xfd"),   // zstd
    (0, b"\x1f\x8b\x08"),       // gzip
    (0, b"\x04\x22\x4d\x18"),   // lz4
    (0, b"\xfd7zXZ\x00"),       // xz
    (0, b"7z\xbc\xaf\x27\x1c"), // 7z
    (4, b"1AY&SY"),             // bzip2
    (0, b"PK\x03\x04"),         // zip, and documents that are zips
    (0, b"\xff\xd8\xff"),       // JPEG
    (0, b"\x89PNG\r\n\x1a\n"),  // PNG
    (0, b"GIF87a"),             // GIF
    (0, b"GIF89a"),             // GIF
    (8, b"WEBP"),               // WebP, in RIFF
    (4, b"ftyp"),               // MP4, MOV, AVIF, HEIC
    (0, b"\x1a\x45\xdf\xa3"),   // Matroska, WebM
    (0, b"OggS"),               // Ogg
    (0, b"fLaC"),               // FLAC
    (0, b"ID3\x03"),            // MP3
    (0, b"ID3\x04"),            // MP3
    (0, b"wOFF"),               // web fonts
    (0, b"wOF2"),               // web fonts
];

pub(super) fn is_compressed(value: &[u8]) -> bool {
    MAGICS.iter().any(|(at, magic)| value.get(*at..).is_some_and(|rest| rest.starts_with(magic)))
}

/// What is looked at first: nearly all that can be compressed is told by it.
const SAMPLE_LEN: usize = 512;

/// Whether the bytes are as frequent as those of noise are, which is what encrypted and compressed values
/// look like. A fourth of what trying takes. Shorter than 512 bytes: no.
///
/// The sum of the squares of the frequencies is compared with that of `n` random bytes, which is
/// `n + n (n - 1) / 256`, within four standard deviations. Less is no noise either, but a pattern.
pub(super) fn is_noise(value: &[u8]) -> bool {
    let middle = value.len().saturating_sub(SAMPLE_LEN) / 2;
    let sample = value.get(middle..middle + SAMPLE_LEN);
    sample.is_some_and(is_evenly_spread) && is_evenly_spread(value)
}

fn is_evenly_spread(bytes: &[u8]) -> bool {
    let mut counts = [0u32; 256];
    bytes.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
    let squares: u64 = counts.iter().map(|&count| u64::from(count) * u64::from(count)).sum();
    let n = bytes.len() as u64;
    let expected = n + n * n.saturating_sub(1) / 256;
    // A standard deviation is n / 256 times the root of 2 x 255.
    squares.abs_diff(expected) <= n * 91 / 256
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn noise(seed: u8, len: usize) -> Vec<u8> {
        // Two halves that differ, as those of a real seed do.
        let mut random = Random::from_seed(std::array::from_fn(|n| seed + 64 * (n / 16) as u8));
        (0..len.div_ceil(8)).flat_map(|_| random.next_u64().to_le_bytes()).take(len).collect()
    }

    #[test]
    fn noise_is_known_and_what_shrinks_is_not_noise() {
        for len in [512, 1000, 1024, 4096, 30_000] {
            let known = (0..50).filter(|&seed| is_noise(&noise(seed, len))).count();
            assert!(known >= 48, "len={len} known={known} of 50");
            let noise = noise(7, len);
            let hex: Vec<u8> = noise.iter().flat_map(|b| format!("{b:02x}").into_bytes()).take(len).collect();
            let halves = [&noise[..len / 2], &noise[..len / 2]].concat();
            let counting: Vec<u8> = (0..len).map(|n| n as u8).collect();
            let numbers: Vec<u8> =
                noise.chunks(2).flat_map(|b| [b[0], b[0] ^ b[1], 0, 0]).take(len).collect();
            for (name, value) in
                [("hex", hex), ("halves", halves), ("counting", counting), ("numbers", numbers)]
            {
                assert!(!is_noise(&value), "{name} len={len}");
            }
        }
        assert!(!is_noise(&noise(1, 511)));
        assert!(!is_noise(b""));
    }

    #[test]
    fn media_and_archives_are_known_and_text_is_not() {
        for start in [&b"\xff\xd8\xff\xe0\0\x10JFIF"[..], b"RIFF\x24\0\0\0WEBPVP8 ", b"\0\0\0\x20ftypisom"] {
            assert!(is_compressed(start), "{start:?}");
        }
        for start in [&b""[..], b"PK", b"{\"type\":\"ftyp\"}", b"RIFF\x24\0\0\0WAVEfmt ", b"GIF is a format"]
        {
            assert!(!is_compressed(start), "{start:?}");
        }
    }
}
