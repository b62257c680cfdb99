//! A policy of eviction of one's own: by age since creation.
//!
//! The oldest entry leaves, and overwriting does not make an entry younger: no value is ever based
//! on a key that has been here longer than the others. Shows all that a policy has to do.
//!
//! ```text
//! cargo run -p emberkeep-storage --example max_age
//! ```

use emberkeep_storage::{
    Components, Engine, Eviction, PolicyFactory, Settings, Write,
    evict::{List, Policy, Slab, Slot},
};

/// All entries of a stripe in the order in which they were created.
#[derive(Debug)]
struct MaxAge {
    queue: List,
}

impl MaxAge {
    fn new() -> MaxAge {
        // A policy may have several lists; each has a number of its own, from 1.
        MaxAge { queue: List::new(1) }
    }
}

impl Policy for MaxAge {
    fn on_insert(&mut self, slab: &mut Slab, slot: Slot) {
        self.queue.push(slab, slot);
    }

    /// Read or overwritten: neither makes it younger.
    fn on_hit(&mut self, _: &mut Slab, _: Slot) {}

    /// A list counts bytes, so it has to know when an entry changes its size.
    fn on_update(&mut self, _: &mut Slab, _: Slot, old_charge: u64, new_charge: u64) {
        self.queue.recharge(old_charge, new_charge);
    }

    fn on_remove(&mut self, slab: &mut Slab, slot: Slot, _evicted: bool) {
        self.queue.remove(slab, slot);
    }

    fn victim(&mut self, _: &mut Slab) -> Option<Slot> {
        self.queue.tail()
    }

    /// Nothing beside the place in the order has to survive a restart.
    fn hint(&self, _: &Slab, _: Slot) -> u8 {
        0
    }

    /// Called with the oldest first, so the order is as it was.
    fn restore(&mut self, slab: &mut Slab, slot: Slot, _hint: u8) {
        self.queue.push(slab, slot);
    }

    fn walk(&self, slab: &Slab, from: Option<Slot>, max: usize, out: &mut Vec<Slot>) {
        // The entry may have left since.
        let from = from.filter(|&slot| self.queue.holds(slab, slot));
        self.queue.walk(slab, from, max, out);
    }

    fn check(&self, slab: &Slab) -> usize {
        self.queue.check(slab)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let settings = Settings {
        max_items: Some(3),
        eviction: Eviction::Custom,
        segment_bytes: 1 << 20,
        ..Settings::new(dir.path().join("data"))
    };
    let open = || -> emberkeep_storage::Result<Engine> {
        let policy = PolicyFactory::new(|| Box::new(MaxAge::new()));
        Engine::open(settings.clone(), Components { policy: Some(policy), ..Components::os()? })
    };
    let engine = open()?;
    for key in ["first", "second", "third"] {
        engine.put(key, Write::new(b"old"))?.wait()?;
    }
    engine.put("first", Write::new(b"new"))?.wait()?;
    engine.checkpoint()?;
    engine.close()?;

    // The order outlives a restart.
    let engine = open()?;
    engine.put("fourth", Write::new(b"old"))?.wait()?;
    engine.check();
    for key in ["first", "second", "third", "fourth"] {
        let found = engine.get(key).wait()?.is_some();
        println!("{key}: {}", if found { "here" } else { "evicted" });
        assert_eq!(found, key != "first");
    }
    Ok(())
}

#[test]
fn the_oldest_leaves_although_it_was_overwritten() {
    main().unwrap();
}
