//! Lifetimes as clients write them.
#![no_main]

use emberkeep::node::expiry::Expiry;
use emberkeep_storage::UnixMillis;
use libfuzzer_sys::fuzz_target;

/// 2^53 ms: beyond it a JSON number is no longer exact.
const DEADLINE_MAX: u64 = 1 << 53;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let now = UnixMillis(1_700_000_000_000);
    match Expiry::parse_ttl(text) {
        Ok(Expiry::Never) => assert_eq!(text, "none"),
        Ok(ttl @ Expiry::In(span)) => {
            assert!(!span.is_zero(), "an entry that is gone before it is there");
            if let Ok(resolved) = ttl.resolved(now) {
                let deadline = resolved.deadline().expect("a span becomes an instant");
                assert_eq!(u128::from(deadline.0 - now.0), span.as_millis());
                assert!(deadline.0 < DEADLINE_MAX);
            }
        }
        Ok(other) => panic!("{text:?}: {other:?}"),
        Err(_) => {}
    }
    if let Ok(at) = Expiry::parse_expires_at(text, now) {
        let deadline = at.deadline().expect("an instant");
        assert!(deadline > now && deadline.0 < DEADLINE_MAX);
    }
});
