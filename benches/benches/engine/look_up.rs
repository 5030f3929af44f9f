//! Question: what does the index cost a request, and how much of it is RocksDB?
//!
//! Workload: a store of 10,000 documents of 500 bytes, opened again so that they lie in the
//! index's files, and one document of 4 KiB that is asked for over and over. `find` is a HEAD by
//! digest, `resolve` a name's digest, `open` a name's whole content, `miss` a digest that is not
//! there.
//! Baseline: the same engine over the in-memory index (`memory`).

use std::{cell::LazyCell, hint::black_box};

use criterion::{Criterion, Throughput};
use orlop_engine::{Batch, Digest, IndexKind, Options};

use crate::{
    content::{Content, KIB},
    store::{Store, document, namespace},
};

const DOCUMENTS: usize = 10_000;
const DOCUMENT_BYTES: usize = 500;

/// Documents of one commit while the store is filled.
const BATCH_DOCUMENTS: usize = 1000;

const HOT_BYTES: usize = 4 * KIB;
const HOT_NAME: &str = "hot";

struct Filled {
    store: Store,
    hot: Digest,
    absent: Digest,
}

pub fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("look_up");
    group.throughput(Throughput::Elements(1));
    for (index, kind) in [("rocks", IndexKind::Rocks), ("memory", IndexKind::Memory)] {
        let filled = LazyCell::new(|| fill(kind));
        group.bench_function(format!("find/{index}"), |bencher| {
            let Filled { store, hot, .. } = &*filled;
            let hot = *hot;
            bencher.iter_custom(|iterations| {
                store.repeat(iterations, move |engine| async move {
                    black_box(engine.find(&namespace(), &hot).await.expect("found"));
                })
            });
        });
        group.bench_function(format!("resolve/{index}"), |bencher| {
            bencher.iter_custom(|iterations| {
                filled.store.repeat(iterations, |engine| async move {
                    black_box(engine.resolve(&namespace(), HOT_NAME).await.expect("resolved"));
                })
            });
        });
        group.bench_function(format!("open/{index}"), |bencher| {
            bencher.iter_custom(|iterations| {
                filled.store.repeat(iterations, |engine| async move {
                    let blob = engine.resolve_open(&namespace(), HOT_NAME).await.expect("opened");
                    black_box(blob.bytes(HOT_BYTES).await.expect("read"));
                })
            });
        });
        group.bench_function(format!("miss/{index}"), |bencher| {
            let absent = filled.absent;
            bencher.iter_custom(|iterations| {
                filled.store.repeat(iterations, move |engine| async move {
                    engine.find(&namespace(), &absent).await.expect_err("not there");
                })
            });
        });
    }
    group.finish();
}

fn fill(index: IndexKind) -> Filled {
    let options = Options { index, ..Options::default() };
    let mut store = Store::open(&options).expect("the store opens");
    let engine = store.engine();
    let hot = store.run(async move {
        let mut content = Content::new(DOCUMENT_BYTES);
        for _ in 0..DOCUMENTS / BATCH_DOCUMENTS {
            let mut batch = Batch::new(namespace());
            for _ in 0..BATCH_DOCUMENTS {
                let digest = content.renew();
                let sealed = engine.seal_bytes(digest, content.to_bytes()).await.expect("sealed");
                batch = batch.document(sealed, b"bench".to_vec(), Vec::new()).bind(digest.hex(), digest);
            }
            let _receipt = engine.commit(batch).await.expect("committed");
        }
        let mut content = Content::new(HOT_BYTES);
        let hot = content.renew();
        let batch = document(&engine, HOT_NAME.to_owned(), content.to_bytes()).await.expect("sealed");
        let _receipt = engine.commit(batch).await.expect("committed");
        hot
    });
    // The index in memory would be empty afterwards.
    if index != IndexKind::Memory {
        store.reopen(&options).expect("the store opens");
    }
    Filled { store, hot, absent: Content::new(HOT_BYTES).renew() }
}
