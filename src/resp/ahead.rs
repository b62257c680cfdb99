//! Looks at the requests of a pipeline before they are run, and has the entries of their keys fetched from
//! memory, so that they wait for it together and not one after the other.
//!
//! Nothing depends on it. What is wrong with a request, and whether its first argument is a key at all, is
//! for those who run it to see.

use std::cell::RefCell;

use emberkeep_storage::Key;

use super::parse::Parser;
use crate::node::Node;

/// Requests that are looked at in one go: about as many misses as a core waits for at once.
const AHEAD: usize = 16;

thread_local! {
    static SCOUT: RefCell<Parser> = RefCell::new(Parser::new(usize::MAX >> 1));
}

/// Fetches the entries of the first requests in `pending`, of which the first one is whole. Gives how many
/// requests those are, at least one.
pub(super) fn fetch(node: &Node, namespace: u16, pending: &[u8]) -> usize {
    let mut keys = [&[][..]; AHEAD];
    let (mut seen, mut at) = (0, 0);
    SCOUT.with_borrow_mut(|scout| {
        scout.forget();
        while seen < AHEAD
            && let Ok(Some(len)) = scout.next(&pending[at..])
        {
            keys[seen] = scout.key_range().map_or(&[], |(from, to)| &pending[at + from..at + to]);
            seen += 1;
            at += len;
        }
    });
    // One alone is looked up just as fast.
    if seen > 1 {
        node.prefetch(keys[..seen].iter().map(|bytes| Key { namespace, bytes }));
    }
    seen.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_requests_are_counted_up_to_the_first_that_is_not() {
        let (node, get) = (Node::simulated(), b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n");
        assert_eq!(fetch(&node, 0, get), 1);
        assert_eq!(fetch(&node, 0, &[&get[..], &get[..], &get[..9]].concat()), 2);
        assert_eq!(fetch(&node, 0, &[&get[..], b"PING\r\n", b"*1\r\n$4\r\nPING\r\n", b"?"].concat()), 3);
        assert_eq!(fetch(&node, 0, &[&get[..], b"*1\r\n$x\r\n", &get[..]].concat()), 1);
        assert_eq!(fetch(&node, 0, &get.repeat(AHEAD + 1)), AHEAD);
        // What the last look has left half seen is forgotten.
        assert_eq!(fetch(&node, 0, &[&get[..], b"*3\r\n$3\r\nSET\r\n$1"].concat()), 1);
        assert_eq!(fetch(&node, 0, &get.repeat(2)), 2);
    }
}
