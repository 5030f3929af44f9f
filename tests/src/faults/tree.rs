//! The tree as those see it who use it, and beside it what of it is durable.
//!
//! In: operations on nodes. Out: what the kernel is told. Node numbers are never used twice.

use std::collections::BTreeMap;

use rustix::io::Errno;

use super::{
    Left,
    names::{Directories, Names},
    pages::File,
    wire::{Allocation, Attributes, Listed},
};
use crate::stream::Random;

pub const ROOT: u64 = 1;

const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const PERMISSIONS: u32 = 0o7777;

#[derive(Debug, Clone)]
enum Body {
    File(File),
    Directory(BTreeMap<String, u64>),
}

#[derive(Debug, Clone)]
struct Node {
    mode: u32,
    body: Body,
    /// Names that lead here.
    names: u32,
    /// The latest of them, or the one it had last.
    parent: Option<(u64, String)>,
}

#[derive(Debug, Clone)]
pub struct Tree {
    nodes: BTreeMap<u64, Node>,
    names: Names,
    last: u64,
}

impl Default for Tree {
    fn default() -> Self {
        let root = Node { mode: 0o755, body: Body::Directory(BTreeMap::new()), names: 1, parent: None };
        Tree { nodes: BTreeMap::from([(ROOT, root)]), names: Names::default(), last: ROOT }
    }
}

impl Tree {
    fn node(&self, node: u64) -> Result<&Node, Errno> {
        self.nodes.get(&node).ok_or(Errno::STALE)
    }

    fn directory(&self, node: u64) -> Result<&BTreeMap<String, u64>, Errno> {
        match &self.node(node)?.body {
            Body::Directory(entries) => Ok(entries),
            Body::File(_) => Err(Errno::NOTDIR),
        }
    }

    fn directory_mut(&mut self, node: u64) -> Result<&mut BTreeMap<String, u64>, Errno> {
        match self.nodes.get_mut(&node).map(|node| &mut node.body) {
            Some(Body::Directory(entries)) => Ok(entries),
            Some(Body::File(_)) => Err(Errno::NOTDIR),
            None => Err(Errno::STALE),
        }
    }

    pub fn file(&self, node: u64) -> Result<&File, Errno> {
        match &self.node(node)?.body {
            Body::File(file) => Ok(file),
            Body::Directory(_) => Err(Errno::ISDIR),
        }
    }

    pub fn file_mut(&mut self, node: u64) -> Result<&mut File, Errno> {
        match self.nodes.get_mut(&node).map(|node| &mut node.body) {
            Some(Body::File(file)) => Ok(file),
            Some(Body::Directory(_)) => Err(Errno::ISDIR),
            None => Err(Errno::STALE),
        }
    }

    pub fn attributes(&self, number: u64) -> Result<Attributes, Errno> {
        let node = self.node(number)?;
        let (size, kind, links, blocks) = match &node.body {
            Body::File(file) => (file.size(), REGULAR, node.names, file.blocks()),
            Body::Directory(_) => (0, DIRECTORY, 2, 0),
        };
        Ok(Attributes { node: number, size, mode: kind | node.mode & PERMISSIONS, links, blocks })
    }

    pub fn lookup(&self, directory: u64, name: &str) -> Result<Attributes, Errno> {
        let node = self.directory(directory)?.get(name).ok_or(Errno::NOENT)?;
        self.attributes(*node)
    }

    pub fn set_mode(&mut self, node: u64, mode: u32) -> Result<(), Errno> {
        self.nodes.get_mut(&node).ok_or(Errno::STALE)?.mode = mode;
        Ok(())
    }

    /// A path from the mount point; `None` for a node without a name.
    pub fn path(&self, node: u64) -> Option<String> {
        let mut parts = Vec::new();
        let mut at = node;
        while at != ROOT {
            let known = self.nodes.get(&at).filter(|node| node.names > 0)?;
            let (parent, name) = known.parent.as_ref()?;
            parts.push(name.as_str());
            at = *parent;
        }
        parts.reverse();
        Some(parts.join("/"))
    }

    /// The path of an entry, whether it is there or not.
    pub fn path_of(&self, directory: u64, name: &str) -> Option<String> {
        let parent = self.path(directory)?;
        Some(if parent.is_empty() { name.to_owned() } else { format!("{parent}/{name}") })
    }

    fn add(&mut self, mode: u32, body: Body) -> u64 {
        self.last += 1;
        self.nodes.insert(self.last, Node { mode, body, names: 0, parent: None });
        self.last
    }

    /// Sets what a name stands for, as everybody sees it.
    fn set(&mut self, directory: u64, name: &str, node: Option<u64>) -> Result<(), Errno> {
        let entries = self.directory_mut(directory)?;
        let before = match node {
            Some(node) => entries.insert(name.to_owned(), node),
            None => entries.remove(name),
        };
        if let Some(known) = before.and_then(|before| self.nodes.get_mut(&before)) {
            known.names -= 1;
        }
        if let Some(known) = node.and_then(|node| self.nodes.get_mut(&node)) {
            known.names += 1;
            known.parent = Some((directory, name.to_owned()));
        }
        Ok(())
    }

    fn name(&mut self, directory: u64, name: &str, node: u64) -> Result<(), Errno> {
        if self.directory(directory)?.contains_key(name) {
            return Err(Errno::EXIST);
        }
        self.set(directory, name, Some(node))?;
        self.names.change(vec![((directory, name.to_owned()), Some(node))]);
        Ok(())
    }

    /// A file without a name.
    pub fn create_unnamed(&mut self, mode: u32) -> Result<Attributes, Errno> {
        let node = self.add(mode, Body::File(File::default()));
        self.attributes(node)
    }

    pub fn create(&mut self, directory: u64, name: &str, mode: u32, is_exclusive: bool) -> Result<Attributes, Errno> {
        if let Some(node) = self.directory(directory)?.get(name) {
            return if is_exclusive { Err(Errno::EXIST) } else { self.attributes(*node) };
        }
        let node = self.add(mode, Body::File(File::default()));
        self.set(directory, name, Some(node))?;
        self.names.make((directory, name.to_owned()), node);
        self.attributes(node)
    }

    pub fn make_directory(&mut self, directory: u64, name: &str, mode: u32) -> Result<Attributes, Errno> {
        if self.directory(directory)?.contains_key(name) {
            return Err(Errno::EXIST);
        }
        let node = self.add(mode, Body::Directory(BTreeMap::new()));
        self.name(directory, name, node)?;
        self.attributes(node)
    }

    pub fn link(&mut self, node: u64, directory: u64, name: &str) -> Result<Attributes, Errno> {
        self.file(node)?;
        self.name(directory, name, node)?;
        self.attributes(node)
    }

    /// Removes a name, of a directory only if it is empty.
    pub fn unlink(&mut self, directory: u64, name: &str, is_directory: bool) -> Result<(), Errno> {
        let node = *self.directory(directory)?.get(name).ok_or(Errno::NOENT)?;
        match &self.node(node)?.body {
            Body::Directory(_) if !is_directory => return Err(Errno::ISDIR),
            Body::File(_) if is_directory => return Err(Errno::NOTDIR),
            Body::Directory(entries) if !entries.is_empty() => return Err(Errno::NOTEMPTY),
            Body::Directory(_) | Body::File(_) => {}
        }
        self.set(directory, name, None)?;
        self.names.change(vec![((directory, name.to_owned()), None)]);
        Ok(())
    }

    pub fn rename(&mut self, from: (u64, &str), to: (u64, &str), may_replace: bool) -> Result<(), Errno> {
        let node = *self.directory(from.0)?.get(from.1).ok_or(Errno::NOENT)?;
        let replaced = self.directory(to.0)?.get(to.1).copied();
        if let Some(replaced) = replaced {
            if !may_replace {
                return Err(Errno::EXIST);
            }
            if self.directory(replaced).is_ok_and(|entries| !entries.is_empty()) {
                return Err(Errno::NOTEMPTY);
            }
        }
        self.set(from.0, from.1, None)?;
        self.set(to.0, to.1, Some(node))?;
        let removed = ((from.0, from.1.to_owned()), None);
        self.names.change(vec![removed, ((to.0, to.1.to_owned()), Some(node))]);
        Ok(())
    }

    pub fn allocate(&mut self, node: u64, offset: u64, length: u64, how: Allocation) -> Result<(), Errno> {
        let file = self.file_mut(node)?;
        let end = offset.checked_add(length).ok_or(Errno::FBIG)?;
        match how {
            Allocation::Extend if end > file.size() => file.resize(end),
            Allocation::Extend | Allocation::KeepSize => {}
            Allocation::Punch => file.punch(offset..end),
            Allocation::Unknown => return Err(Errno::OPNOTSUPP),
        }
        Ok(())
    }

    /// `.` and `..` included.
    pub fn list(&self, directory: u64) -> Result<Vec<Listed>, Errno> {
        let dots = [".", ".."].map(|name| Listed { node: directory, is_directory: true, name: name.to_owned() });
        let entries = self.directory(directory)?.iter().map(|(name, node)| Listed {
            node: *node,
            is_directory: self.directory(*node).is_ok(),
            name: name.clone(),
        });
        Ok(dots.into_iter().chain(entries).collect())
    }

    pub fn sync_file(&mut self, node: u64) -> Result<(), Errno> {
        self.file_mut(node)?.sync();
        self.names.sync_file(node);
        Ok(())
    }

    pub fn sync_directory(&mut self, directory: u64) -> Result<(), Errno> {
        self.directory(directory)?;
        self.names.sync(directory);
        Ok(())
    }

    pub fn fail_sync_directory(&mut self, directory: u64) {
        self.names.fail_sync(directory);
    }

    /// The kernel forgot a node: a file that never had a name is gone then.
    pub fn forget(&mut self, node: u64) {
        if self.nodes.get(&node).is_some_and(|known| known.names == 0 && known.parent.is_none() && node != ROOT) {
            self.nodes.remove(&node);
        }
    }

    /// What is on the device after the power was cut.
    pub fn after_power_loss(&self, left: Left, random: &mut Random) -> Tree {
        let durable = self.names.after_power_loss(left, random);
        self.of_names(&durable, |file| file.after_power_loss(left, random))
    }

    /// As if everything had been synced.
    pub fn settled(&self) -> Tree {
        let names = self.nodes.iter().filter_map(|(number, node)| match &node.body {
            Body::Directory(entries) => Some((*number, entries.clone())),
            Body::File(_) => None,
        });
        self.of_names(&names.collect(), File::settled)
    }

    /// The tree that these names make, of what can be reached by them.
    fn of_names(&self, names: &Directories, mut file: impl FnMut(&File) -> File) -> Tree {
        let mut tree = Tree { last: self.last, names: Names::default(), ..Tree::default() };
        let mut durable = Directories::new();
        let mut directories = vec![ROOT];
        while let Some(directory) = directories.pop() {
            let entries = names.get(&directory).cloned().unwrap_or_default();
            for (name, number) in &entries {
                if !tree.nodes.contains_key(number) {
                    let Some(node) = self.nodes.get(number) else { continue };
                    let body = match &node.body {
                        Body::File(old) => Body::File(file(old)),
                        Body::Directory(_) => {
                            directories.push(*number);
                            Body::Directory(BTreeMap::new())
                        }
                    };
                    tree.nodes.insert(*number, Node { mode: node.mode, body, names: 0, parent: None });
                }
                tree.set(directory, name, Some(*number)).expect("the directory was just made");
            }
            durable.insert(directory, entries);
        }
        tree.names = Names::of(durable);
        tree
    }
}
