//! What is compressed already, by its first bytes.

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

#[cfg(test)]
mod tests {
    use super::*;

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
