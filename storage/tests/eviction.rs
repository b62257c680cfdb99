//! Eviction as a user of the engine sees it: limits, refusals, switching, restarts.

use std::time::Duration;

use emberkeep_storage::{
    Condition, DeleteOutcome, Engine, ErrorKind, Eviction, Expiry, Fsync, Settings, Write,
};

use crate::lab::{Lab, small};

fn bounded(eviction: Eviction, max_items: u64, stripes: usize) -> Settings {
    Settings { eviction, max_items: Some(max_items), stripes: Some(stripes), ..small(Fsync::Always) }
}

fn put(engine: &Engine, key: u32) -> emberkeep_storage::Result<()> {
    engine.put(&key.to_be_bytes()[..], Write::new(b"value"))?.wait().map(|_| ())
}

fn has(engine: &Engine, key: u32) -> bool {
    engine.get(&key.to_be_bytes()[..]).wait().unwrap().is_some()
}

fn held(engine: &Engine, keys: u32) -> Vec<u32> {
    (0..keys).filter(|key| engine.peek(&key.to_be_bytes()[..]).wait().unwrap().is_some()).collect()
}

#[test]
fn a_full_cache_holds_exactly_as_many_items_as_it_may() {
    for eviction in Eviction::ALL.into_iter().filter(|&eviction| eviction != Eviction::NoEviction) {
        for stripes in [1, 4] {
            let lab = Lab::new(bounded(eviction, 50, stripes));
            let engine = lab.open().unwrap();
            for key in 0..300 {
                put(&engine, key).unwrap();
                has(&engine, key / 3);
                assert_eq!(engine.stats().items, u64::from(key + 1).min(50), "{eviction:?}");
            }
            engine.check();
        }
    }
}

#[test]
fn a_limit_in_bytes_holds_for_every_policy() {
    for eviction in Eviction::ALL.into_iter().filter(|&eviction| eviction != Eviction::NoEviction) {
        let max_bytes = Some(64 << 10);
        let lab = Lab::new(Settings { eviction, max_bytes, max_items: None, ..small(Fsync::Never) });
        let engine = lab.open().unwrap();
        for key in 0..500u32 {
            let value = vec![7; key as usize * 37 % 4000];
            engine.put(&key.to_be_bytes()[..], Write::new(&value)).unwrap().wait().unwrap();
            has(&engine, key / 2);
            assert!(engine.stats().bytes <= 64 << 10, "{eviction:?}");
        }
        assert!(engine.stats().items > 10, "{eviction:?}");
        engine.check();
    }
}

#[test]
fn with_noeviction_a_write_that_needs_room_is_refused_and_says_what_to_do() {
    let lab = Lab::new(bounded(Eviction::NoEviction, 3, 2));
    let engine = lab.open().unwrap();
    (0..3).for_each(|key| put(&engine, key).unwrap());
    let refused = put(&engine, 3).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Full);
    assert!(
        refused.to_string().contains("noeviction") && refused.to_string().contains("delete"),
        "{refused}"
    );
    assert_eq!(held(&engine, 4), [0, 1, 2]);
    // What needs no room works.
    put(&engine, 1).unwrap();
    let deleted = engine.delete(&1u32.to_be_bytes()[..], Condition::Always, None).unwrap().wait().unwrap();
    assert_eq!(deleted.outcome, DeleteOutcome::Deleted);
    put(&engine, 3).unwrap();
    assert_eq!(held(&engine, 4), [0, 2, 3]);
    assert_eq!(engine.stats().evictions, 0);
}

#[test]
fn with_noeviction_what_has_expired_makes_room() {
    let lab = Lab::new(bounded(Eviction::NoEviction, 3, 2));
    let engine = lab.open().unwrap();
    for key in 0..3u32 {
        let expiry = if key == 1 { Expiry::In(Duration::from_secs(1)) } else { Expiry::Never };
        let write = Write { expiry, ..Write::new(b"value") };
        engine.put(&key.to_be_bytes()[..], write).unwrap().wait().unwrap();
    }
    assert_eq!(put(&engine, 3).unwrap_err().kind(), ErrorKind::Full);
    lab.clock.advance(Duration::from_secs(2));
    put(&engine, 3).unwrap();
    assert_eq!(held(&engine, 4), [0, 2, 3]);
    assert_eq!((engine.stats().expired, engine.stats().evictions), (1, 0));
}

#[test]
fn a_switch_loses_nothing_and_the_new_policy_decides_from_then_on() {
    let lab = Lab::new(bounded(Eviction::Fifo, 20, 1));
    let engine = lab.open().unwrap();
    (0..20).for_each(|key| put(&engine, key).unwrap());
    for eviction in Eviction::ALL.into_iter().chain([Eviction::Lru]) {
        engine.set_eviction(eviction).unwrap();
        assert_eq!(engine.eviction(), eviction);
        engine.check();
        assert_eq!(held(&engine, 20).len(), 20);
    }
    assert!(has(&engine, 0));
    put(&engine, 20).unwrap();
    assert_eq!(held(&engine, 21), [&[0][..], &(2..=20).collect::<Vec<_>>()].concat());
    engine.set_eviction(Eviction::NoEviction).unwrap();
    assert_eq!(put(&engine, 21).unwrap_err().kind(), ErrorKind::Full);
    assert_eq!(engine.settings().eviction, Eviction::Fifo, "the settings are those of the start");
}

#[test]
fn a_custom_policy_without_its_factory_is_refused() {
    let lab = Lab::new(bounded(Eviction::Custom, 20, 1));
    let refused = lab.open().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    assert!(refused.to_string().contains("factory"), "{refused}");
    let lab = Lab::new(bounded(Eviction::Lru, 20, 1));
    let engine = lab.open().unwrap();
    assert_eq!(engine.set_eviction(Eviction::Custom).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(engine.eviction(), Eviction::Lru);
}

/// Who would leave first after a restart is who would have left first without one.
#[test]
fn the_order_of_eviction_comes_back_from_a_snapshot() {
    let warm = [
        Eviction::S3Fifo,
        Eviction::Lru,
        Eviction::Lfu,
        Eviction::Ttl,
        Eviction::Sieve,
        Eviction::WTinyLfu,
        Eviction::Fifo,
    ];
    for eviction in warm {
        // The order after half of it has left; what was evicted before the snapshot leaves no trace.
        let order = |restart: bool| {
            let lab = Lab::new(bounded(eviction, 40, 1));
            let mut engine = lab.open().unwrap();
            for key in 0..40u32 {
                let expiry = Expiry::In(Duration::from_secs(u64::from(40 - key) * 3600));
                let write = Write { expiry, ..Write::new(b"value") };
                engine.put(&key.to_be_bytes()[..], write).unwrap().wait().unwrap();
            }
            for n in 0..200 {
                has(&engine, n * n % 37);
            }
            if restart {
                engine.checkpoint().unwrap();
                engine.close().unwrap();
                engine = lab.open().unwrap();
            }
            (100..120).for_each(|key| put(&engine, key).unwrap());
            held(&engine, 40)
        };
        assert_eq!(order(true), order(false), "{eviction:?}");
    }
}
