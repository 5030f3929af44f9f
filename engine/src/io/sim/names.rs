//! The names of a simulated disk: which are there now, and which are durable.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::{Hash, Hasher},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{content::Content, random::Random};
use crate::io::{Entry, EntryKind, Linked, StorePath};

/// A file, shared by its names and its handles; without either it is gone.
#[derive(Debug)]
pub(super) struct File(Mutex<Content>);

impl File {
    pub(super) fn new(content: Content) -> Arc<Self> {
        Arc::new(File(Mutex::new(content)))
    }

    pub(super) fn content(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a name stood for: first what is durable, last what is there now, between them whatever
/// was there in between and may surface after a crash.
type Versions = Vec<Option<Arc<File>>>;

#[derive(Debug, Default)]
pub(super) struct Names {
    files: BTreeMap<StorePath, Versions>,
    directories: BTreeSet<StorePath>,
}

impl Names {
    /// The file that has this name now.
    pub(super) fn file(&self, path: &StorePath) -> Option<&Arc<File>> {
        self.files.get(path)?.last()?.as_ref()
    }

    pub(super) fn is_directory(&self, path: &StorePath) -> bool {
        path.is_root() || self.directories.contains(path)
    }

    /// Gives a name; the parent directories it makes are durable at once, as [`Disk::link`]
    /// promises.
    ///
    /// [`Disk::link`]: crate::io::Disk::link
    pub(super) fn link(&mut self, path: &StorePath, file: &Arc<File>) -> io::Result<Linked> {
        self.check_parents(path)?;
        let mut parent = path.parent();
        while !parent.is_root() {
            self.directories.insert(parent.clone());
            parent = parent.parent();
        }
        if self.file(path).is_some() || self.is_directory(path) {
            return Ok(Linked::Exists);
        }
        self.files.entry(path.clone()).or_insert_with(|| vec![None]).push(Some(Arc::clone(file)));
        Ok(Linked::New)
    }

    pub(super) fn unlink(&mut self, path: &StorePath) -> io::Result<()> {
        self.check_parents(path)?;
        if self.is_directory(path) {
            return Err(io::Error::from_raw_os_error(libc::EISDIR));
        }
        if self.file(path).is_some() {
            self.files.entry(path.clone()).or_default().push(None);
        }
        Ok(())
    }

    /// Makes the names in `directory` durable.
    pub(super) fn sync(&mut self, directory: &StorePath) {
        self.files.retain(|path, versions| {
            if path.parent() == *directory {
                versions.drain(..versions.len() - 1);
            }
            versions.len() > 1 || versions[0].is_some()
        });
    }

    pub(super) fn list(&self, directory: &StorePath) -> io::Result<Vec<Entry>> {
        self.check_parents(directory)?;
        if self.file(directory).is_some() {
            return Err(not_a_directory(directory));
        }
        let name = |path: &StorePath| path.as_str().rsplit('/').next().unwrap_or_default().to_owned();
        let directories = self.directories.iter().filter(|path| path.parent() == *directory);
        let directories = directories.map(|path| Entry { name: name(path), size: 0, kind: EntryKind::Directory });
        let files = self.files.keys().filter(|path| path.parent() == *directory).filter_map(|path| {
            let size = self.file(path)?.content().len() as u64;
            Some(Entry { name: name(path), size, kind: EntryKind::File })
        });
        Ok(directories.chain(files).collect())
    }

    /// Errors: `InvalidData` if a parent of `path` is a file.
    pub(super) fn check_parents(&self, path: &StorePath) -> io::Result<()> {
        let mut parent = path.parent();
        while !parent.is_root() {
            if self.file(&parent).is_some() {
                return Err(not_a_directory(&parent));
            }
            parent = parent.parent();
        }
        Ok(())
    }

    /// Tells a hasher all names and bytes as they are now.
    pub(super) fn hash(&self, hasher: &mut impl Hasher) {
        self.directories.hash(hasher);
        for path in self.files.keys() {
            let Some(file) = self.file(path) else { continue };
            let content = file.content();
            (path, content.read(0, content.len())).hash(hasher);
        }
    }

    /// How much a crash now may leave in more than one way.
    pub(super) fn uncertain(&self) -> usize {
        let of_name = |versions: &Versions| {
            let files = versions.iter().flatten().map(|file| file.content().uncertain());
            versions.len() - 1 + files.sum::<usize>()
        };
        self.files.values().map(of_name).sum()
    }

    /// What is there after a crash now: every name as it was at some moment since it was last
    /// durable, independently of the others.
    pub(super) fn crashed(&self, random: &mut Random) -> Names {
        let mut crashed = Names { files: BTreeMap::new(), directories: self.directories.clone() };
        // A file with two names must stay one file.
        let mut files: HashMap<*const File, Arc<File>> = HashMap::new();
        for (path, versions) in &self.files {
            let Some(before) = &versions[random.below(versions.len())] else { continue };
            let after = files.entry(Arc::as_ptr(before)).or_insert_with(|| File::new(before.content().crashed(random)));
            let after = Arc::clone(after);
            crashed.files.insert(path.clone(), vec![Some(after)]);
        }
        crashed
    }
}

fn not_a_directory(path: &StorePath) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{path:?} is a file; a directory was expected"))
}
