//! A MANIFEST. First byte even: as it is. Odd: as the body behind a head with a right checksum.
#![no_main]

use emberkeep_storage::format::{FORMAT_VERSION, checksum::crc32, manifest::Manifest};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((mode, bytes)) = data.split_first() else { return };
    let bytes = if mode % 2 == 0 { bytes.to_vec() } else { behind_a_head(bytes) };
    if let Ok((generation, manifest)) = Manifest::decode(&bytes) {
        let again = manifest.encode(generation);
        assert_eq!(again, bytes[..again.len()], "what decodes is what we write");
    }
});

fn behind_a_head(body: &[u8]) -> Vec<u8> {
    let mut out = b"EMBRKMAN".to_vec();
    out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    out.extend_from_slice(&[0; 2]);
    out.extend_from_slice(&(body.len() as u32).to_le_bytes());
    out.extend_from_slice(&7u64.to_le_bytes());
    out.extend_from_slice(&crc32(&[&out, body]).to_le_bytes());
    out.extend_from_slice(body);
    out
}
