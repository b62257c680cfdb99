//! Values to compress: documents as services cache them, and noise. The same in every run.
//!
//! Documents of one kind share field names and vocabulary, and differ in what is in them: random
//! ids and tokens, names, prices, times, sentences. So they shrink as real ones do, not to nothing.

use std::fmt::Write;

const NAMES: [&str; 16] = [
    "Amara", "Björn", "Chidi", "Dolores", "Emre", "Fatima", "Giulia", "Hiroshi", "Ines", "Jan", "Keiko",
    "Luca", "Mei", "Nadia", "Oleg", "Priya",
];
const WORDS: [&str; 24] = [
    "delivery",
    "blue",
    "the",
    "was",
    "late",
    "please",
    "leave",
    "parcel",
    "with",
    "neighbour",
    "size",
    "medium",
    "return",
    "refund",
    "cotton",
    "steel",
    "very",
    "good",
    "broken",
    "again",
    "charger",
    "shipped",
    "from",
    "order",
];
const STATES: [&str; 5] = ["pending", "paid", "shipped", "delivered", "returned"];

/// A kind of value.
#[derive(Clone, Copy)]
pub enum Kind {
    Json(usize),
    Noise(usize),
}

impl Kind {
    pub fn name(self) -> String {
        match self {
            Kind::Json(len) if len < 1024 => format!("JSON {len} B"),
            Kind::Json(len) => format!("JSON {} KiB", len >> 10),
            Kind::Noise(len) => format!("random {} KiB", len >> 10),
        }
    }

    /// So many different values of exactly this length.
    pub fn values(self, count: u64) -> Vec<Vec<u8>> {
        (1..=count)
            .map(|n| {
                let mut random = Random(n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
                match self {
                    Kind::Json(len) => json(&mut random, len).into_bytes(),
                    Kind::Noise(len) => (0..len).map(|_| random.next() as u8).collect(),
                }
            })
            .collect()
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn of<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len() as u64) as usize]
    }
}

/// An order with as many positions as fit, and a note that fills the rest.
fn json(random: &mut Random, len: usize) -> String {
    let name = random.of(&NAMES);
    let mut out = format!(
        r#"{{"order_id":"{:016x}","state":"{}","customer":{{"id":{},"name":"{name}","email":"{}.{}@example.com"}},"created_at":"2026-{:02}-{:02}T{:02}:{:02}:{:02}Z","positions":["#,
        random.next(),
        random.of(&STATES),
        random.below(1 << 24),
        name.to_lowercase(),
        random.below(1000),
        1 + random.below(12),
        1 + random.below(28),
        random.below(24),
        random.below(60),
        random.below(60),
    );
    const END: &str = r#"],"note":""}"#;
    let mut separator = "";
    loop {
        let position = position(random);
        if out.len() + separator.len() + position.len() + END.len() > len {
            break;
        }
        out += separator;
        out += &position;
        separator = ",";
    }
    out += r#"],"note":""#;
    while out.len() + 2 < len {
        let word = random.of(&WORDS);
        let room = len - 2 - out.len();
        out += &word[..word.len().min(room)];
        if out.len() + 2 < len {
            out += " ";
        }
    }
    out += r#""}"#;
    assert_eq!(out.len(), len);
    out
}

fn position(random: &mut Random) -> String {
    let mut out = format!(
        r#"{{"sku":"{:08x}","title":"{} {} {}","quantity":{},"unit_price":{}.{:02},"in_stock":{},"tags":["#,
        random.next() as u32,
        random.of(&WORDS),
        random.of(&WORDS),
        random.of(&WORDS),
        1 + random.below(4),
        random.below(300),
        random.below(100),
        random.below(8) > 0,
    );
    for i in 0..random.below(4) {
        let separator = if i == 0 { "" } else { "," };
        write!(out, r#"{separator}"{}""#, random.of(&WORDS)).expect("strings do not fail");
    }
    out += "]}";
    out
}
