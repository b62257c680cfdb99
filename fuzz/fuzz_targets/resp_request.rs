//! Requests of the Redis protocol: the same ones, or the same error, however the bytes are cut, and no
//! memory for what was only announced.
//!
//! First byte: whether arguments may be longer than any input, and how many bytes follow that say where
//! to cut. The rest comes from the wire.
#![no_main]

use std::alloc::System;

use cap::Cap;
use emberkeep::resp::parse::{Broken, Parser};
use libfuzzer_sys::fuzz_target;

/// Counts what is allocated.
#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, usize::MAX);

/// What a byte that came may cost: one-letter words of a line are a range of 16 bytes for two of them, in
/// a list that has doubled before.
const COST_MAX: usize = 40;
/// What a message of an error, and the least that a list has, cost.
const COST_FIXED: usize = 1024;

type Request = Vec<Vec<u8>>;
type Outcome = (Vec<Request>, Result<(), Broken>);

fuzz_target!(|data: &[u8]| {
    let Some((&how, rest)) = data.split_first() else { return };
    let arg_len_max = if how & 1 == 0 { 100 } else { usize::MAX >> 1 };
    let (cuts, wire) = rest.split_at(usize::from(how >> 1).min(rest.len()));
    let whole = requests(arg_len_max, wire, &mut std::iter::once(wire.len()));
    let mut cuts = cuts.iter().map(|cut| 1 + usize::from(*cut)).chain(std::iter::repeat(1));
    assert_eq!(requests(arg_len_max, wire, &mut cuts), whole, "{}", wire.escape_ascii());
    assert_eq!(again(&whole.0), whole.0);
});

/// Reads all of `wire` as a connection does, in portions of these lengths.
fn requests(arg_len_max: usize, wire: &[u8], portions: &mut dyn Iterator<Item = usize>) -> Outcome {
    let mut parser = Parser::new(arg_len_max);
    let mut found = Vec::new();
    let (mut from, mut end) = (0, 0);
    while end < wire.len() {
        end += portions.next().expect("portions for all of it").min(wire.len() - end);
        loop {
            let before = MEMORY.total_allocated();
            let next = parser.next(&wire[from..end]);
            let cost = MEMORY.total_allocated() - before;
            assert!(cost <= COST_FIXED + COST_MAX * (end - from), "{cost} for {} bytes", end - from);
            match next {
                Ok(Some(len)) => {
                    found.push(parser.args(&wire[from..end]).iter().map(<[u8]>::to_vec).collect());
                    from += len;
                }
                Ok(None) => break,
                Err(broken) => return (found, Err(broken)),
            }
        }
    }
    (found, Ok(()))
}

/// What was found, written as arrays and read once more.
fn again(requests_found: &[Request]) -> Vec<Request> {
    let mut wire = Vec::new();
    for request in requests_found {
        wire.extend(format!("*{}\r\n", request.len()).bytes());
        for arg in request {
            wire.extend(format!("${}\r\n", arg.len()).bytes().chain(arg.iter().copied()).chain(*b"\r\n"));
        }
    }
    let (found, end) = requests(usize::MAX >> 1, &wire, &mut std::iter::once(wire.len()));
    assert_eq!(end, Ok(()));
    found
}
