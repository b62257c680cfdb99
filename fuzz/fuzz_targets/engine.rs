//! A whole history of an engine on a simulated disk, against a plain model; see
//! `emberkeep_fuzz::history`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| emberkeep_fuzz::history::run(data));
