//! Stores with a journal, and indexes made from it beside the one that was collected.

use std::{path::Path, sync::Arc};

use orlop_engine::{
    Engine, check,
    index::{Index, MemoryIndex, Table},
    rebuild::rebuild_parts,
};

use crate::common::Parts;

pub async fn open(parts: &Parts, journal: Option<&Path>) -> Engine {
    let Some(journal) = journal else { return parts.open().await };
    let (disk, index) = (Arc::new(parts.disk.clone()), parts.index.clone());
    Engine::simulated_with_journal(disk, index, journal, parts.options.clone()).await.expect("opens")
}

/// Makes another index from the journal of a closed store and compares all rows: only garbage, which is
/// looked at anew, uploads, which are dropped, and quotas, which an opening brings, may differ.
pub async fn assert_rebuilds(parts: &Parts, journal: &Path) {
    let (index, disk) = (Arc::new(MemoryIndex::default()), Arc::new(parts.disk.crash(0)));
    let report = rebuild_parts(index.clone(), disk.clone(), journal, true, &mut |_| {}).await.expect("rebuilt");
    assert!(report.is_clean(), "{report:?}");
    for table in Table::ALL {
        if matches!(table, Table::Meta | Table::Garbage | Table::Uploads) {
            continue;
        }
        let rows = |index: &MemoryIndex| index.snapshot().scan(table, &[], None, usize::MAX).expect("memory");
        let mut expected = rows(&parts.index);
        expected.retain(|(key, _)| table != Table::Sizes || key[0] != 0);
        assert_eq!(rows(&index), expected, "{table:?}");
    }
    let checked = check::check_parts(index, disk).await.expect("runs");
    assert!(checked.is_clean(), "{checked}");
}
