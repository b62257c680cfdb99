//! A frame and its payload. First byte: 0 as it is, 1 with right checksums, else with right
//! checksums, length and reserved fields, so that nearly every input reaches the payload.
#![no_main]

use emberkeep_fuzz::{SALT, assert_canonical, assert_canonical_payload, fix_checksums};
use emberkeep_storage::format::{
    frame::{ALIGN, HEADER_LEN, STREAM, decode},
    payload,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((mode, bytes)) = data.split_first() else { return };
    let mut bytes = bytes.to_vec();
    if *mode > 1 && bytes.len() >= HEADER_LEN {
        let payload_len = (bytes.len() - HEADER_LEN) as u32;
        bytes[8..12].copy_from_slice(&payload_len.to_le_bytes());
        bytes[13..16].fill(0);
        bytes[28..32].copy_from_slice(&STREAM.to_le_bytes());
        bytes[36..40].fill(0);
        bytes.resize(bytes.len().next_multiple_of(ALIGN), 0);
    }
    if *mode > 0 {
        fix_checksums(&mut bytes);
    }
    let Ok(frame) = decode(&bytes, SALT) else { return };
    assert_canonical(&bytes, &frame);
    if let Ok(payload) = payload::decode(&frame) {
        assert_canonical_payload(&frame, &payload);
    }
});
