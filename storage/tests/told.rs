//! What the engine tells a program that asks: which entries it removes by itself.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use emberkeep_storage::{Engine, Expiry, Fsync, Key, Reason, Settings, Write};

use crate::lab::{Lab, small};

type Told = Arc<Mutex<Vec<(Reason, u16, Vec<u8>)>>>;

fn listen(engine: &Engine) -> Told {
    let told = Told::default();
    let to = told.clone();
    engine.on_removal(Some(Arc::new(move |reason: Reason, key: Key<'_>| {
        to.lock().unwrap().push((reason, key.namespace, key.bytes.to_vec()));
    })));
    told
}

fn put(engine: &Engine, key: &str, expiry: Expiry) {
    engine.put(key, Write { expiry, ..Write::new(b"v") }).unwrap().wait().unwrap();
}

fn taken(told: &Told) -> Vec<(Reason, u16, Vec<u8>)> {
    std::mem::take(&mut *told.lock().unwrap())
}

const SOON: Expiry = Expiry::In(Duration::from_secs(1));

#[test]
fn an_entry_that_expires_is_told_once_when_it_is_removed() {
    for fsync in [Fsync::Always, Fsync::Never] {
        let lab = Lab::new(small(fsync));
        let engine = lab.open().unwrap();
        let told = listen(&engine);
        put(&engine, "swept", SOON);
        put(&engine, "met", SOON);
        lab.pass(Duration::from_secs(2));
        assert!(engine.get("swept").wait().unwrap().is_none());
        assert_eq!(taken(&told), [], "a read removes nothing");
        put(&engine, "met", Expiry::Never);
        assert_eq!(taken(&told), [(Reason::Expired, 0, b"met".to_vec())]);
        engine.step().unwrap();
        assert_eq!(taken(&told), [(Reason::Expired, 0, b"swept".to_vec())]);
        engine.step().unwrap();
        assert_eq!(taken(&told), []);
    }
}

#[test]
fn an_entry_that_is_evicted_is_told_and_what_a_client_ends_is_not() {
    let lab = Lab::new(Settings { max_items: Some(2), stripes: Some(1), ..small(Fsync::Always) });
    let engine = lab.open().unwrap();
    let told = listen(&engine);
    for key in ["a", "b", "c"] {
        put(&engine, key, Expiry::Never);
    }
    let gone = taken(&told);
    assert!(matches!(&gone[..], [(Reason::Evicted, 0, _)]), "{gone:?}");
    engine.delete("c", emberkeep_storage::Condition::Always, None).unwrap().wait().unwrap();
    engine.flush(None, None).unwrap().wait().unwrap();
    assert_eq!(taken(&told), []);
}

#[test]
fn nobody_is_told_after_the_listener_is_taken_away() {
    let lab = Lab::new(small(Fsync::Always));
    let engine = lab.open().unwrap();
    let told = listen(&engine);
    engine.on_removal(None);
    put(&engine, "k", SOON);
    lab.pass(Duration::from_secs(2));
    engine.step().unwrap();
    assert_eq!((taken(&told), engine.stats().expired), (vec![], 1));
}
