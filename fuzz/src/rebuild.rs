//! A journal that somebody else wrote: any changes, in any order, in frames and files that are right,
//! wrong, missing or damaged. An index is made of it, or it is refused; what was made is a store.
//!
//! An input is a sequence of entries as in `records`: a byte for the table, one for the length of the
//! key and one for that of the value, then both. Greater bytes in place of a table's end a frame or a
//! file, delete, or harm what was written so far.

mod files;

use std::sync::Arc;

use orlop_engine::{
    Engine, Error, Options, check,
    index::MemoryIndex,
    io::SimDisk,
    rebuild::{self, Report},
};

use crate::{engine::RUNTIME, records::use_it, scratch::Scratch};

/// Bytes of an input that are used.
const BYTES_MAX: usize = 4096;

pub fn run(data: &[u8]) {
    let scratch = Scratch::new();
    let has_base = files::write(&data[..data.len().min(BYTES_MAX)], scratch.path());
    RUNTIME.block_on(async {
        let disk = SimDisk::new(0);
        let index = Arc::new(MemoryIndex::default());
        let rebuilt =
            rebuild::rebuild_parts(index.clone(), Arc::new(disk.clone()), scratch.path(), true, &mut |_| {}).await;
        let report = match rebuilt {
            Ok(report) => report,
            // Rows that no version wrote: said, and the index is of no use.
            Err(Error::Store { .. }) => return,
            Err(error) => panic!("a journal on a sound disk: {error}"),
        };
        assert!(has_base || !report.is_clean(), "a journal without a base is not the whole story");
        assert!(text_len(&report) < 1 << 20, "a report must not outgrow its journal");
        match check::check_parts(index.clone(), Arc::new(disk.clone())).await {
            Ok(found) => assert!(found.is_clean(), "{found}\nafter {report:?}"),
            Err(error) => panic!("the index that was made cannot be checked: {error}\nafter {report:?}"),
        }
        let engine = Engine::simulated(Arc::new(disk), index, Options::default()).await.expect("what was made opens");
        use_it(&engine).await;
    });
}

fn text_len(report: &Report) -> usize {
    report.findings.iter().map(String::len).sum()
}
