use proptest::prelude::*;

use super::*;
use crate::random::Random;

fn settings(codec: Option<Codec>, level: Option<u32>) -> Settings {
    Settings { compress: codec, compress_level: level, compress_threshold: 64, ..Settings::new("unused") }
}

fn text(len: usize) -> Vec<u8> {
    let lines =
        (0..).flat_map(|n| format!("{{\"id\":{n},\"name\":\"user {}\"}}\n", n * 7919 % 1000).into_bytes());
    lines.take(len).collect()
}

fn noise(len: usize) -> Vec<u8> {
    let mut random = Random::from_seed([3; 32]);
    (0..len).map(|_| random.next_u64() as u8).collect()
}

fn packed(codec: Codec, value: &[u8]) -> (Vec<u8>, Encoding) {
    let Packed { stored, encoding } = pack(&settings(Some(codec), None), value);
    (stored.into_owned(), encoding.expect("it shrinks"))
}

const CODECS: [Codec; 2] = [Codec::Zstd, Codec::Gzip];

proptest! {
    #[test]
    fn what_is_packed_comes_back(
        words in proptest::collection::vec(0u8..12, 0..3000),
        rest in proptest::collection::vec(any::<u8>(), 0..300),
        gzip: bool,
        level in 1u32..=9,
    ) {
        let value: Vec<u8> = words.iter().flat_map(|w| [b'a' + w, b'=', b'0' + w % 3]).chain(rest).collect();
        let codec = if gzip { Codec::Gzip } else { Codec::Zstd };
        let Packed { stored, encoding } = pack(&settings(Some(codec), Some(level)), &value);
        match encoding {
            None => prop_assert_eq!(&*stored, &value[..]),
            Some(encoding) => {
                prop_assert!(stored.len() * 100 <= value.len() * KEPT_MAX_PERCENT);
                prop_assert_eq!(inflate(&stored, encoding).unwrap(), value);
            }
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_never_give_another_length(
        stored in proptest::collection::vec(any::<u8>(), 0..200),
        codec: u8,
        raw_len: u32,
        start in 0usize..3,
    ) {
        let start = [&[][..], &[0x28, 0xb5, 0x2f, 0xfd, 0x60], &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff]][start];
        let stored = [start, &stored].concat();
        for codec in [codec, ZSTD, GZIP] {
            if let Ok(raw) = inflate(&stored, Encoding { codec, raw_len }) {
                prop_assert_eq!(raw.len(), raw_len as usize);
            }
        }
    }
}

#[test]
fn every_level_of_every_codec_gives_back_values_of_every_size() {
    for codec in CODECS {
        for level in [*codec.levels().start(), codec.level_default(), *codec.levels().end()] {
            for len in [200, 1000, 4096, 70_000, 300_000] {
                let value = text(len);
                let Packed { stored, encoding } = pack(&settings(Some(codec), Some(level)), &value);
                let encoding = encoding.unwrap_or_else(|| panic!("{codec:?} {level} {len} does not shrink"));
                assert_eq!(codec_of(encoding), Some(codec));
                assert!(inflate(&stored, encoding).unwrap() == value, "{codec:?} {level} {len}");
            }
        }
    }
}

#[test]
fn what_is_small_or_does_not_shrink_is_left_as_it_came() {
    let left = |codec, value: &[u8]| {
        let packed = pack(&settings(codec, None), value);
        packed.encoding.is_none() && matches!(packed.stored, Cow::Borrowed(stored) if stored == value)
    };
    for codec in CODECS {
        assert!(left(Some(codec), &[b'x'; 63]), "below the threshold");
        assert!(!left(Some(codec), &[b'x'; 64]), "at the threshold");
        assert!(left(Some(codec), &noise(4096)), "noise");
        assert!(left(Some(codec), &noise(100_000)), "much noise");
        let media = [b"\x89PNG\r\n\x1a\n", &text(5000)[..]].concat();
        assert!(left(Some(codec), &media), "by its first bytes");
        // Saves some 5 %: inflating it at every read costs more than that.
        let hardly = [noise(3000), text(150)].concat();
        assert!(left(Some(codec), &hardly), "92 % is too much");
        // The piece that is tried is noise.
        let around = [text(30_000), noise(40_000), text(30_000)].concat();
        assert!(left(Some(codec), &around), "the middle is tried first");
        // Base64 of noise shrinks by a quarter, but only where letters are coded.
        let letters: Vec<u8> = noise(50_000)
            .iter()
            .map(|b| b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/=-"[usize::from(b % 40)])
            .collect();
        assert!(!left(Some(codec), &letters), "letters");
    }
    assert!(left(None, &text(5000)), "nothing is compressed without a codec");
}

#[test]
fn a_context_that_ran_out_of_room_is_as_good_as_new() {
    for (codec, level) in CODECS.iter().flat_map(|codec| codec.levels().map(|level| (*codec, level))) {
        let settings = settings(Some(codec), Some(level));
        let good = pack(&settings, &text(5000)).stored.into_owned();
        // What is left over of a cut stream may add up.
        for _ in 0..50 {
            assert!(pack(&settings, &noise(5000)).encoding.is_none());
        }
        assert_eq!(*pack(&settings, &text(5000)).stored, good[..]);
    }
    for codec in CODECS {
        let good = packed(codec, &text(5000));
        for _ in 0..3 {
            assert!(inflate(&good.0[..20], good.1).is_err());
            assert_eq!(inflate(&good.0, good.1).unwrap(), text(5000));
        }
    }
}

#[test]
fn a_stream_of_another_length_than_recorded_is_damage() {
    for codec in CODECS {
        let (stored, encoding) = packed(codec, &text(5000));
        for raw_len in [0, 4999, 5001, u32::MAX] {
            let error = inflate(&stored, Encoding { raw_len, ..encoding }).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{codec:?} {raw_len}: {error}");
        }
        for end in 0..stored.len() {
            assert!(inflate(&stored[..end], encoding).is_err(), "{codec:?} cut at {end}");
        }
        let longer = [&stored[..], &stored].concat();
        assert!(inflate(&longer, encoding).is_err(), "{codec:?} twice");
    }
}

/// The announced length is a lie, and the true one is larger: nothing beyond it is written.
#[test]
fn a_stream_that_gives_more_than_it_announces_is_damage() {
    let (mut gzip, encoding) = packed(Codec::Gzip, &text(5000));
    let at = gzip.len() - 4;
    gzip[at..].copy_from_slice(&100u32.to_le_bytes());
    assert!(inflate(&gzip, Encoding { raw_len: 100, ..encoding }).is_err());
    // A second frame behind one that says what was recorded.
    let (first, encoding) = packed(Codec::Zstd, &text(100));
    let (second, _) = packed(Codec::Zstd, &text(5000));
    assert!(inflate(&[first, second].concat(), encoding).is_err());
}

#[test]
fn a_codec_of_a_newer_release_is_told_as_such() {
    let error = inflate(b"whatever", Encoding { codec: 3, raw_len: 10 }).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("codec=3"), "{error}");
}

/// Other programs must be able to read what a client gets as `Content-Encoding: gzip`.
#[test]
fn a_gzip_stream_is_one_for_others_too() {
    use std::io::Read;
    let value = text(5000);
    let (stored, _) = packed(Codec::Gzip, &value);
    let mut read = Vec::new();
    flate2::read::GzDecoder::new(&stored[..]).read_to_end(&mut read).unwrap();
    assert_eq!(read, value);
}

#[test]
fn what_was_done_is_counted() {
    let tally = Tally::default();
    for (codec, value) in [
        (Codec::Zstd, text(5000)),
        (Codec::Gzip, text(300)),
        (Codec::Gzip, noise(500)),
        (Codec::Zstd, text(9)),
    ] {
        pack_counted(&settings(Some(codec), None), &tally, &value);
    }
    let stats = tally.stats();
    assert_eq!((stats.zstd.values, stats.zstd.raw_bytes), (1, 5000));
    assert_eq!((stats.gzip.values, stats.gzip.raw_bytes), (1, 300));
    assert_eq!(stats.left_raw, 1);
    assert!(stats.zstd.ratio().unwrap() > 2.0 && stats.gzip.stored_bytes < 300);
    assert_eq!(CodecStats::default().ratio(), None);
}
