//! What the tests share: a store in memory with a journal in a directory, a history, comparisons.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use orlop_engine::{
    Algorithm, Batch, Digest, Edge, Engine, Namespace, Options, Removal, check,
    index::{Index, MemoryIndex, Table},
    io::SimDisk,
    rebuild::{Report, rebuild_parts},
};
use tempfile::TempDir;

/// Content up to so many bytes is inline.
pub const INLINE_MAX: usize = 100;

pub type Rows = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

pub fn namespace(text: &str) -> Namespace {
    Namespace::new(text).expect("a valid namespace")
}

/// Content that is inline if `number` is even, and a file if it is odd.
pub fn content(number: u64) -> Bytes {
    let text = format!("content {number}");
    if number.is_multiple_of(2) { text.into() } else { text.repeat(20).into() }
}

pub fn digest_of(content: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, content)
}

/// A store in memory; its journal is in a directory.
pub struct Parts {
    pub disk: SimDisk,
    pub index: Arc<MemoryIndex>,
    pub journal: PathBuf,
    pub scratch: TempDir,
}

impl Parts {
    pub fn new() -> Self {
        let scratch = tempfile::tempdir().expect("a directory");
        let journal = scratch.path().join("journal");
        Parts { disk: SimDisk::new(1), index: Arc::default(), journal, scratch }
    }

    pub async fn open(&self) -> Engine {
        let options = Options { inline_bytes_max: INLINE_MAX, ..Options::default() };
        let disk = Arc::new(self.disk.clone());
        Engine::simulated_with_journal(disk, self.index.clone(), &self.journal, options).await.expect("opens")
    }

    /// Opens it as a version without a journal would.
    pub async fn open_without(&self) -> Engine {
        let options = Options { inline_bytes_max: INLINE_MAX, ..Options::default() };
        Engine::simulated(Arc::new(self.disk.clone()), self.index.clone(), options).await.expect("opens")
    }

    /// A copy of the journal, as it is.
    pub fn copy(&self, name: &str) -> PathBuf {
        let copy = self.scratch.path().join(name);
        let _ = fs::remove_dir_all(&copy);
        copy_directory(&self.journal, &copy);
        copy
    }

    /// Makes an index from a journal and checks it.
    pub async fn rebuild(&self, journal: &Path, verify: bool) -> (Arc<MemoryIndex>, Report) {
        let (index, report) = self.rebuild_unchecked(journal, verify).await;
        let disk = Arc::new(self.disk.crash(0));
        let checked = check::check_parts(index.clone(), disk).await.expect("runs");
        assert!(checked.is_clean(), "{checked}\nafter {report:?}");
        assert_eq!(
            (checked.members, checked.names, checked.edges, checked.damaged),
            (report.members, report.names, report.edges, report.damaged)
        );
        (index, report)
    }

    /// Makes an index from a journal.
    pub async fn rebuild_unchecked(&self, journal: &Path, verify: bool) -> (Arc<MemoryIndex>, Report) {
        let index = Arc::new(MemoryIndex::default());
        // A copy, because uploads are dropped.
        let disk = Arc::new(self.disk.crash(0));
        let report = rebuild_parts(index.clone(), disk, journal, verify, &mut |_| {}).await.expect("rebuilt");
        (index, report)
    }

    /// The journal gives exactly what the index has.
    pub async fn assert_rebuilds(&self) {
        let (rebuilt, report) = self.rebuild(&self.journal, true).await;
        assert!(report.is_clean(), "{report:?}");
        assert_eq!(rows(&*rebuilt), rows(&*self.index));
        assert_leased(&*rebuilt, &*self.index);
    }
}

pub fn copy_directory(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("readable") {
        let entry = entry.expect("readable");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("known").is_dir() {
            copy_directory(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copied");
        }
    }
}

/// The files of the log in their order.
pub fn logs(journal: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(journal).expect("readable").map(|entry| entry.expect("readable").path());
    let is_log = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("log-"));
    let mut logs: Vec<PathBuf> = entries.filter(is_log).collect();
    logs.sort();
    logs
}

/// The parts of the base.
pub fn base_parts(journal: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(journal).expect("readable").map(|entry| entry.expect("readable").path());
    let is_base = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("base-"));
    let bases: Vec<PathBuf> = entries.filter(is_base).collect();
    assert_eq!(bases.len(), 1, "{bases:?}");
    fs::read_dir(&bases[0]).expect("readable").map(|entry| entry.expect("readable").path()).collect()
}

/// Everything that must come back as it was. Uploads are dropped, garbage is looked at anew, and what the
/// index says about itself is its own.
pub fn rows(index: &dyn Index) -> Rows {
    let mut rows = Rows::new();
    for table in Table::ALL {
        if matches!(table, Table::Meta | Table::Garbage | Table::Uploads) {
            continue;
        }
        for (key, value) in index.snapshot().scan(table, &[], None, usize::MAX).expect("memory") {
            rows.insert((table, key), value);
        }
    }
    rows
}

fn number(index: &dyn Index, key: &[u8]) -> u64 {
    let value = index.get(Table::Meta, key).expect("memory");
    value.map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().expect("64 bits")))
}

/// The number of the last change that an index says it has in the journal.
pub fn sequence(index: &dyn Index) -> u64 {
    let value = index.get(Table::Meta, b"journal").expect("memory").expect("there is a journal");
    u64::from_le_bytes(value[value.len() - 8..].try_into().expect("64 bits"))
}

/// Time went on, and whatever collection knew of members and contents it knows again, later.
fn assert_leased(rebuilt: &dyn Index, before: &dyn Index) {
    let epoch = number(rebuilt, b"epoch");
    assert_eq!(epoch, number(before, b"epoch") + 1);
    assert!(number(rebuilt, b"clock") >= number(before, b"clock"));
    for (key, _) in before.snapshot().scan(Table::Garbage, &[], None, usize::MAX).expect("memory") {
        let is_there = match key.strip_prefix(&[0]) {
            Some(digest) => before.get(Table::Blobs, digest).expect("memory").is_some(),
            None => before.get(Table::Members, &key).expect("memory").is_some() || key.ends_with(&[0]),
        };
        let entry = rebuilt.get(Table::Garbage, &key).expect("memory");
        assert!(entry.is_some() || !is_there, "{key:?} is not looked at any more");
        let since = entry.map(|entry| u64::from_le_bytes(entry[..8].try_into().expect("64 bits")));
        assert!(since.is_none_or(|since| since == epoch), "{key:?} is older than the rebuild");
    }
}

pub async fn push(engine: &Engine, ns: &Namespace, content: &[u8]) -> Digest {
    let digest = digest_of(content);
    let id = engine.begin(ns, Algorithm::Sha256).await.expect("begun");
    let mut upload = engine.resume(ns, id).await.expect("resumed");
    upload.append(content).await.expect("appended");
    let sealed = upload.seal(&digest).await.expect("sealed");
    let _ = engine.commit(Batch::new(ns.clone()).blob(sealed)).await.expect("committed");
    digest
}

pub async fn push_document(engine: &Engine, ns: &Namespace, content: &[u8], edges: Vec<Edge>, name: &str) -> Digest {
    let digest = digest_of(content);
    let sealed = engine.seal_bytes(digest, Bytes::copy_from_slice(content)).await.expect("sealed");
    let batch = Batch::new(ns.clone()).document(sealed, b"type".to_vec(), edges).bind(name, digest);
    let _ = engine.commit(batch).await.expect("committed");
    digest
}

/// Some of everything: shared content, names that move, what refers, deletions, an epoch, a pull. After
/// each change `seen` is called.
pub async fn history(engine: &Engine, mut seen: impl FnMut()) {
    let (a, b) = (namespace("a"), namespace("a/b"));
    let mut parts = Vec::new();
    for number in 0..4 {
        parts.push(push(engine, &a, &content(number)).await);
        seen();
    }
    let _ = engine.commit(Batch::new(b.clone()).mount(parts[1], vec![a.clone()])).await.expect("mounted");
    seen();
    let needs = |from: usize| parts[from..].iter().map(|part| Edge::needs(*part)).collect::<Vec<_>>();
    let first = push_document(engine, &a, b"first", needs(0), "latest").await;
    seen();
    let second = push_document(engine, &a, b"second", needs(1), "latest").await;
    seen();
    let sparse = vec![Edge::needs(second), Edge::needs_sparse(digest_of(b"never pushed"))];
    push_document(engine, &a, b"index", sparse, "all").await;
    seen();
    let refers = vec![Edge::refers(second, b"payload".to_vec())];
    push_document(engine, &a, b"note", refers, "note").await;
    seen();
    let refers = vec![Edge::refers(digest_of(b"never pushed"), b"other payload".to_vec())];
    push_document(engine, &b, b"early", refers, "early").await;
    seen();
    engine.advance_epoch().await.expect("advanced");
    seen();
    engine.note_pull(&a, &second);
    engine.record_pulls().await.expect("recorded");
    seen();
    // Pushed again with another payload.
    let refers = vec![Edge::refers(second, b"new payload".to_vec())];
    push_document(engine, &a, b"note", refers, "note").await;
    seen();
    let _ = engine.commit(Batch::new(a.clone()).unbind("note")).await.expect("unbound");
    seen();
    let _ = engine.commit(Batch::new(a.clone()).remove(first, Removal::Always)).await.expect("removed");
    seen();
    let _ = engine.commit(Batch::new(b.clone()).remove(parts[1], Removal::Always)).await.expect("removed");
    seen();
}
