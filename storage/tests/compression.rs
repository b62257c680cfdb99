//! Compressed values: the same bytes come back, whatever stops in between, whatever the settings
//! say by then; and nobody but the engine decides what is compressed.

use emberkeep_storage::{
    Action, ActionOutcome, BatchOp, BatchOutcome, Codec, Condition, Engine, ErrorKind, Expiry, Fsync, Incr,
    IncrOutcome, PutOutcome, Settings, Write, compress,
    format::{op::Op, payload::Payload},
    offline::walk::walk,
    sim::choice::Choice,
};

use crate::lab::{Lab, small};

fn compressing(codec: Option<Codec>, fsync: Fsync) -> Settings {
    Settings { compress: codec, compress_threshold: 64, ..small(fsync) }
}

fn text(seed: usize, len: usize) -> Vec<u8> {
    let lines = (seed..).flat_map(|n| format!("{{\"id\":{n},\"at\":{}}}\n", n * 7919).into_bytes());
    lines.take(len).collect()
}

fn put(engine: &Engine, key: &str, value: &[u8]) {
    engine.put(key, Write::new(value)).unwrap().wait().unwrap();
}

fn value(engine: &Engine, key: &str) -> Vec<u8> {
    engine.get(key).wait().unwrap().expect("it is there").value().unwrap().to_vec()
}

const CODECS: [Option<Codec>; 3] = [None, Some(Codec::Zstd), Some(Codec::Gzip)];

#[test]
fn a_value_is_stored_smaller_and_read_as_it_was_put() {
    for codec in [Codec::Zstd, Codec::Gzip] {
        let engine = Lab::new(compressing(Some(codec), Fsync::Always)).open().unwrap();
        let written = text(1, 5000);
        put(&engine, "k", &written);
        let entry = engine.get("k").wait().unwrap().unwrap();
        assert_eq!((entry.codec(), entry.value_len()), (Some(codec), 5000));
        assert!(entry.stored().len() < 2500, "{entry:?}");
        assert_eq!(entry.value().unwrap()[..], written);
        assert_eq!(compress::inflate(&entry.stored(), entry.encoding().unwrap()).unwrap(), written);
        // The log and the memory hold what is stored.
        let stats = engine.stats();
        assert!(stats.bytes < 3000 && stats.log_bytes < 3500, "{stats:?}");
    }
}

/// Kill, power cut, snapshot, replay on top of it, a clean stop: with every codec, and with a
/// codec after every other.
#[test]
fn every_value_survives_every_stop_and_every_change_of_the_codec() {
    let mut lab = Lab::new(small(Fsync::Always));
    let mut written = Vec::new();
    for round in 0..9 {
        // Every codec follows every codec.
        let codec = CODECS[[0, 1, 2, 0, 2, 1, 1, 0, 0][round]];
        lab.settings = compressing(codec, Fsync::Always);
        let engine = lab.open_seeded(round as u64).unwrap();
        for len in [63, 64, 500, 3000] {
            let key = format!("{round}-{len}");
            put(&engine, &key, &text(round * 1000 + len, len));
            written.push((key, text(round * 1000 + len, len)));
            if len == 500 && round % 2 == 0 {
                engine.checkpoint().unwrap();
            }
        }
        if round % 3 == 0 {
            engine.close().unwrap();
        }
        lab.disk = match round % 3 {
            1 => lab.disk.after_kill(),
            _ => lab.disk.image(lab.disk.op_count(), &Choice::None),
        };
        drop(engine);
        let again = lab.open_seeded(100 + round as u64).unwrap();
        for (key, wanted) in &written {
            assert!(value(&again, key) == *wanted, "round {round}: {key}");
        }
        again.check();
    }
}

#[test]
fn a_batch_compresses_its_values_too() {
    let engine = Lab::new(compressing(Some(Codec::Zstd), Fsync::Always)).open().unwrap();
    let (a, b) = (text(1, 4000), text(2, 100));
    let ops = [
        BatchOp { key: "a".into(), action: Action::Put(Write::new(&a)) },
        BatchOp { key: "a".into(), action: Action::Touch(Expiry::Never, Condition::Present) },
        BatchOp {
            key: "b".into(),
            action: Action::Put(Write { condition: Condition::Absent, ..Write::new(&b) }),
        },
        BatchOp { key: "n".into(), action: Action::Incr(5, Incr::default()) },
    ];
    let done = engine.batch(&ops, None).unwrap().wait().unwrap();
    let BatchOutcome::Applied(outcomes) = done.outcome else { panic!("{:?}", done.outcome) };
    assert_eq!(outcomes[0], ActionOutcome::Put(PutOutcome::Created));
    assert_eq!((value(&engine, "a"), value(&engine, "b"), value(&engine, "n")), (a, b, b"5".to_vec()));
    assert_eq!(engine.get("a").wait().unwrap().unwrap().codec(), Some(Codec::Zstd));
    assert_eq!(engine.stats().compression.zstd.values, 2);
}

#[test]
fn a_compressed_value_is_no_counter_and_a_counter_is_never_compressed() {
    let engine = Lab::new(compressing(Some(Codec::Zstd), Fsync::Always)).open().unwrap();
    put(&engine, "digits", &[b'1'; 4000]);
    assert_eq!(engine.get("digits").wait().unwrap().unwrap().codec(), Some(Codec::Zstd));
    let incr = |key: &str| engine.incr(key, 1, Incr::default()).unwrap().wait().unwrap().outcome;
    assert_eq!(incr("digits"), IncrOutcome::NotAnInteger);
    put(&engine, "n", i64::MIN.to_string().as_bytes());
    assert_eq!(incr("n"), IncrOutcome::Value(i64::MIN + 1));
    assert_eq!(engine.get("n").wait().unwrap().unwrap().codec(), None);
}

/// A value that shrinks to nothing is as long as it came.
#[test]
fn the_limit_is_that_of_the_value_as_it_came() {
    let settings = Settings { max_value_bytes: 10_000, ..compressing(Some(Codec::Zstd), Fsync::Always) };
    let engine = Lab::new(settings).open().unwrap();
    let refused = engine.put("k", Write::new(&[0; 10_001])).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    assert_eq!(engine.prepare("k", &Write::new(&[0; 10_001])).unwrap_err().kind(), ErrorKind::Invalid);
    put(&engine, "k", &[0; 10_000]);
    assert!(engine.get("k").wait().unwrap().unwrap().stored().len() < 100);
}

/// What a client writes is bytes and nothing else, also if they look like what the engine stores.
#[test]
fn a_stream_that_a_client_made_is_a_value_like_any_other() {
    let bomb =
        compress::pack(&compressing(Some(Codec::Zstd), Fsync::Always), &vec![0; 1 << 20]).stored.into_owned();
    for codec in CODECS {
        let engine = Lab::new(compressing(codec, Fsync::Always)).open().unwrap();
        put(&engine, "k", &bomb);
        let entry = engine.get("k").wait().unwrap().unwrap();
        assert_eq!((entry.codec(), entry.value_len()), (None, bomb.len()));
        assert_eq!(entry.value().unwrap()[..], bomb);
    }
}

#[test]
fn what_is_prepared_once_may_be_written_many_times() {
    let engine = Lab::new(compressing(Some(Codec::Gzip), Fsync::Always)).open().unwrap();
    let written = text(1, 3000);
    let prepared = engine.prepare("k", &Write::new(&written)).unwrap();
    for wanted in [PutOutcome::Created, PutOutcome::Replaced] {
        let put = engine.put_prepared(&prepared, Expiry::Never, Condition::Always, None).unwrap();
        assert_eq!(put.wait().unwrap().outcome, wanted);
    }
    assert_eq!(value(&engine, "k"), written);
    assert_eq!(engine.stats().compression.gzip.values, 1);
}

#[test]
fn the_log_holds_the_stored_bytes_with_codec_and_length() {
    let lab = Lab::new(compressing(Some(Codec::Gzip), Fsync::Always));
    let engine = lab.open().unwrap();
    put(&engine, "k", &text(1, 3000));
    engine.close().unwrap();
    let directory = emberkeep_storage::offline::Directory::open(
        std::sync::Arc::new(lab.disk.clone()),
        crate::lab::DIR.as_ref(),
    )
    .unwrap();
    let mut found = 0;
    walk(
        &directory,
        &mut |seen| {
            if let Payload::Op(Op::Put(put)) = seen.payload {
                let encoding = put.encoding.expect("it is compressed");
                assert_eq!(encoding.raw_len, 3000);
                assert_eq!(compress::inflate(put.value, encoding).unwrap(), text(1, 3000));
                found += 1;
            }
            std::ops::ControlFlow::Continue(())
        },
        &|_, _| {},
    )
    .unwrap();
    assert_eq!(found, 1);
}
