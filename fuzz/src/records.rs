//! What lies in the index, when somebody else wrote it: any keys and values in any table.
//!
//! An input is a sequence of entries: a byte for the table, one for the length of the key and one for
//! that of the value, then both. The checker and the engine say what is wrong, or go on; neither fails
//! in any other way, and neither changes what it could not read.

use std::sync::Arc;

use orlop_engine::{
    Batch, Engine, Namespace, Options, check,
    index::{Changes, Durability, Index, MemoryIndex, Table},
    io::SimDisk,
};

use crate::engine::RUNTIME;

/// Entries of one input; the rest of it is ignored.
const ENTRIES_MAX: usize = 64;

pub fn run(data: &[u8]) {
    let mut changes = Changes::default();
    let mut rest = data;
    while let [table, key, value, more @ ..] = rest {
        if changes.writes.len() == ENTRIES_MAX {
            break;
        }
        let (key, more) = more.split_at(more.len().min(usize::from(*key)));
        let (value, more) = more.split_at(more.len().min(usize::from(*value)));
        let table = Table::ALL[usize::from(*table) % Table::ALL.len()];
        changes.writes.push((table, key.to_vec(), Some(value.to_vec())));
        rest = more;
    }
    RUNTIME.block_on(async {
        let (disk, index) = (SimDisk::new(0), Arc::new(MemoryIndex::default()));
        // A store like any other, before somebody meddled with it.
        let engine = Engine::simulated(Arc::new(disk.clone()), index.clone(), Options::default()).await.expect("opens");
        engine.close().await.expect("closes");
        drop(engine);
        index.write(&changes, Durability::Synced).expect("memory can be written");
        if let Ok(report) = check::check_parts(index.clone(), Arc::new(disk.clone())).await {
            assert!(report.to_string().len() < 1 << 20, "a report must not outgrow its store");
        }
        let opened = Engine::simulated(Arc::new(disk), index, Options::default()).await;
        let Ok(engine) = opened else { return };
        use_it(&engine).await;
    });
}

/// Everything that reads the index by itself; errors are as good as answers.
pub(crate) async fn use_it(engine: &Engine) {
    let mut namespaces = engine.namespaces(None, 100).await.unwrap_or_default();
    namespaces.extend(["a".to_owned(), "b".to_owned()]);
    for name in namespaces {
        let Ok(namespace) = Namespace::new(&name) else { continue };
        for named in engine.names(&namespace, None, 100).await.unwrap_or_default() {
            let _ = engine.resolve_open(&namespace, &named.name).await;
            let _ = engine.referring(&namespace, &named.digest, None, 100).await;
            let _ = engine.find(&namespace, &named.digest).await;
        }
        let _ = engine.commit(Batch::new(namespace.clone()).unbind("a")).await;
    }
    let _ = engine.close().await;
}
