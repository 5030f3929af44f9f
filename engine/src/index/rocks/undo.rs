//! Compactions whose tables a failed sync has lost.
//!
//! In: the directory of a database that nobody has open and that names a table which is not there. Became true: its
//! list of files does not name the compactions at its end whose tables are missing, if what they replaced is there.
//!
//! All of RocksDB syncs its directory through one descriptor, and Linux reports a failure to one of those who wait.
//! If that is a write of a change, then a compaction which had made its file a moment before knows nothing of it: it
//! syncs the directory again, successfully, and names a table whose name never reaches the device. The index stops at
//! such a failure, and its background work with it, but a compaction that is just ending may come first.
//!
//! A compaction changes nothing that can be read. Without it the list names the tables that it replaced, which hold
//! the same, and the same logs: nothing that was acknowledged rests on it. So it may be undone as long as all those
//! tables are there. Nothing else may be: a table that was written from a log, for one, names the logs that are of no
//! use any more.

use std::{collections::BTreeMap, io, path::Path};

use super::{
    edits::{Edit, edits},
    versions,
};

/// Cuts compactions off the end of the list of files until all tables that it names are there. False, and nothing
/// was changed, if there is nothing to cut or that would not be enough.
///
/// Errors: the list can't be read, cut or synced.
pub(super) fn undo_compactions(root: &Path) -> io::Result<bool> {
    let Some((path, bytes)) = versions::read(root)? else { return Ok(false) };
    let Some(edits) = edits(&bytes) else { return Ok(false) };
    let is_there = |number: u64| root.join(format!("{number:06}.sst")).exists();
    let Some(kept) = sound(&edits, is_there) else { return Ok(false) };
    let Some(first) = edits.get(kept) else { return Ok(false) };
    tracing::warn!(
        path = %path.display(),
        compactions = edits.len() - kept,
        "compactions have lost their tables, as a failed sync can do; what they replaced is there and counts again"
    );
    versions::cut(&path, first.at)?;
    Ok(true)
}

/// How many changes are left when just those are undone that must be, so that all tables are there. `None` if other
/// changes than compactions were among them.
fn sound(edits: &[Edit], is_there: impl Fn(u64) -> bool) -> Option<usize> {
    let mut kept = edits.len();
    while let Some(lost) = lost_at(&edits[..kept], &is_there) {
        kept = lost;
    }
    edits[kept..].iter().all(|edit| edit.is_compaction).then_some(kept)
}

/// The first change that a table comes from which the list names in the end and which is missing.
fn lost_at(edits: &[Edit], is_there: &impl Fn(u64) -> bool) -> Option<usize> {
    let mut named = BTreeMap::new();
    for (at, edit) in edits.iter().enumerate() {
        // A table that moves to another level is both.
        for number in &edit.removed {
            named.remove(number);
        }
        named.extend(edit.added.iter().map(|number| (*number, at)));
    }
    named.into_iter().filter(|(number, _)| !is_there(*number)).map(|(_, at)| at).min()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{
        super::{
            edits::tests::{compaction, flush},
            versions::tests::record,
        },
        *,
    };

    /// Two tables from logs; then one that replaces them, and one that replaces that.
    fn list() -> Vec<Vec<u8>> {
        [flush(11), flush(12), compaction(&[11, 12], &[13]), compaction(&[13], &[14])].map(|edit| record(&edit)).into()
    }

    /// Undoes what must be in a directory with such a list and such tables. Gives how many changes are left.
    fn left(list: &[Vec<u8>], tables: &[u64]) -> Option<usize> {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("CURRENT"), "MANIFEST-000001\n").unwrap();
        fs::write(root.path().join("MANIFEST-000001"), list.concat()).unwrap();
        for number in tables {
            fs::write(root.path().join(format!("{number:06}.sst")), []).unwrap();
        }
        let changed = undo_compactions(root.path()).unwrap();
        let now = fs::read(root.path().join("MANIFEST-000001")).unwrap();
        assert_eq!(changed, now != list.concat());
        let sizes = list.iter().scan(0, |sum, record| {
            *sum += record.len();
            Some(*sum)
        });
        let left = sizes.filter(|end| *end <= now.len()).count();
        assert_eq!(now, list[..left].concat(), "whole changes are cut off");
        changed.then_some(left)
    }

    #[test]
    fn compactions_are_undone_as_long_as_what_they_replaced_is_there() {
        let list = list();
        assert_eq!(left(&list, &[14]), None, "nothing is missing");
        assert_eq!(left(&list, &[13]), Some(3));
        assert_eq!(left(&list, &[11, 12, 13]), Some(3), "no more than must be");
        assert_eq!(left(&list, &[11, 12]), Some(2));
        assert_eq!(left(&list, &[11]), None, "a table from a log");
        assert_eq!(left(&list, &[]), None);
        let end = [list[3].as_slice(), &record(&flush(15))[..15]].concat();
        let early: Vec<Vec<u8>> = [&list[..3], &[end]].concat();
        assert_eq!(left(&early, &[13]), Some(3), "a change that ends early was never made");
    }

    #[test]
    fn nothing_else_is_undone() {
        let mut list = list();
        list.push(record(&flush(15)));
        assert_eq!(left(&list, &[13, 15]), None, "a table from a log came after");
        assert_eq!(left(&list, &[14]), None, "it is lost itself");
        let mut odd = self::list();
        odd.push(record(&[99, 1]));
        assert_eq!(left(&odd, &[13]), None, "a change that is not known");
        let mut damaged = self::list();
        damaged[3][9] ^= 1;
        damaged.push(record(&compaction(&[14], &[16])));
        assert_eq!(left(&damaged, &[13]), None, "a change that is damaged");
    }

    #[test]
    fn a_table_that_moved_and_is_lost_takes_its_first_change_with_it() {
        let moved = [flush(11), compaction(&[11], &[12]), compaction(&[12], &[12])].map(|edit| record(&edit));
        assert_eq!(left(&moved, &[12]), None);
        assert_eq!(left(&moved, &[11]), Some(1));
    }
}
