//! Answers the kernel, one request after the other, on a few threads.
//!
//! In: requests from /dev/fuse. Out: answers, or silence once the power is cut: whoever waits then is in
//! the middle of an operation, which is not done, as on a machine that goes dark.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    os::fd::{AsFd, OwnedFd},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{JoinHandle, spawn},
    time::Duration,
};

use rustix::io::Errno;

use super::{
    Class, Fault, Harm, Kind, Operation,
    plan::Plan,
    rules::{self, Subject},
    tree::Tree,
    wire::{Call, Listed, REQUEST_BYTES_MAX, Reply, Request, answer},
};

/// Requests answered at the same time; a store's uploads, its index and its journal are fewer.
const THREADS: usize = 4;

/// The latest operations, kept to be shown.
const RECENT_MAX: usize = 64;

/// What the device is said to have, in blocks of 4 KiB: 4 GiB, half of it free.
const BLOCKS: u64 = 1 << 20;

#[derive(Default)]
pub struct State {
    pub tree: Tree,
    pub plan: Plan,
    /// Syncs that are answered and not done: the lie that a rig must find.
    pub ignored: Option<(Kind, Class)>,
    /// Operations since the mount, and those that change something.
    operations: u64,
    pub changes: u64,
    /// The power is cut before this one.
    pub cut_at: Option<u64>,
    pub cut: Option<Operation>,
    pub hit: Option<Operation>,
    pub broken: Vec<String>,
    /// Directories of the index of which a sync has failed, if others would succeed.
    failed: BTreeSet<u64>,
    pub recent: VecDeque<Operation>,
    pub counts: BTreeMap<(Kind, Class), u64>,
    listings: BTreeMap<u64, Vec<Listed>>,
    handle: u64,
    is_over: bool,
}

/// What the threads and their owner share.
#[derive(Default)]
pub struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// A file system, as requests and their answers.
pub(crate) trait Answering: Send + Sync + 'static {
    /// Does what a request asks for. `None` if there is no answer.
    fn handle(&self, request: Request) -> Option<Vec<u8>>;
}

/// Waits for the power to be cut.
#[derive(Clone)]
pub struct Gate(pub(super) Arc<Shared>);

impl Gate {
    /// Whether it was cut within `patience`.
    pub fn wait(&self, patience: Duration) -> bool {
        let state = self.0.lock();
        let waiting = |state: &mut State| state.cut.is_none();
        let (state, _) =
            self.0.changed.wait_timeout_while(state, patience, waiting).unwrap_or_else(PoisonError::into_inner);
        state.cut.is_some()
    }

    pub fn is_cut(&self) -> bool {
        self.0.lock().cut.is_some()
    }
}

impl Shared {
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// No request is answered any more, and none waits.
    pub fn end(&self) {
        self.lock().is_over = true;
        self.changed.notify_all();
    }
}

impl Answering for Shared {
    fn handle(&self, request: Request) -> Option<Vec<u8>> {
        let mut state = self.lock();
        let operation = state.count(&request);
        if state.cut.is_some() {
            self.changed.notify_all();
            let waiting = |state: &mut State| !state.is_over;
            state = self.changed.wait_while(state, waiting).unwrap_or_else(PoisonError::into_inner);
        }
        if state.is_over {
            return None;
        }
        let unique = request.unique;
        let result = match operation {
            Some(operation) => state.perform(request, operation),
            None => state.inform(request)?,
        };
        Some(answer(unique, result))
    }
}

impl State {
    /// From here on, with this tree and nothing planned.
    pub fn begin(tree: Tree) -> Self {
        State { tree, ..State::default() }
    }

    pub fn set_fault(&mut self, fault: Option<Fault>) {
        self.hit = None;
        self.plan.set(fault);
    }

    /// What the request does, if that counts; cuts the power if this is the moment.
    fn count(&mut self, request: &Request) -> Option<Operation> {
        let (kind, node, path) = self.subject(request)?;
        let class = Class::of(path.as_deref());
        if self.cut.is_none()
            && let Some(rule) = rules::broken(&self.tree, kind, Subject { node, path: path.as_deref() })
        {
            self.broken.push(rule);
        }
        let shown = path.unwrap_or_default();
        let operation = Operation { number: self.operations + 1, kind, class, path: shown };
        let is_changing = Kind::CHANGING.contains(&kind);
        if is_changing && self.cut.is_none() && self.cut_at.is_some_and(|at| self.changes + 1 >= at) {
            self.cut = Some(operation.clone());
        }
        if self.cut.is_none() {
            self.operations += 1;
            self.changes += u64::from(is_changing);
            *self.counts.entry((kind, class)).or_default() += 1;
            self.recent.truncate(RECENT_MAX - 1);
            self.recent.push_front(operation.clone());
        }
        Some(operation)
    }

    fn subject(&self, request: &Request) -> Option<(Kind, Option<u64>, Option<String>)> {
        let node = request.node;
        let itself = |kind| Some((kind, Some(node), self.tree.path(node)));
        let entry = |kind, name: &str| Some((kind, None, self.tree.path_of(node, name)));
        match &request.call {
            Call::Open => itself(Kind::Open),
            Call::Read { .. } => itself(Kind::Read),
            Call::Write { .. } => itself(Kind::Write),
            Call::SetAttributes { size: Some(_), .. } => itself(Kind::Resize),
            Call::Allocate { .. } => itself(Kind::Allocate),
            Call::Sync => itself(Kind::Sync),
            Call::SyncDirectory => itself(Kind::SyncDirectory),
            Call::OpenDirectory => itself(Kind::List),
            Call::Create { name, .. } => entry(Kind::Create, name),
            Call::CreateUnnamed { .. } => Some((Kind::CreateUnnamed, None, None)),
            Call::MakeDirectory { name, .. } => entry(Kind::MakeDirectory, name),
            Call::Unlink(name) | Call::RemoveDirectory(name) => entry(Kind::Unlink, name),
            Call::Link { node: linked, name } => Some((Kind::Link, Some(*linked), self.tree.path_of(node, name))),
            Call::Rename { name, to, new, .. } => {
                let renamed = self.tree.lookup(node, name).ok().map(|attributes| attributes.node);
                Some((Kind::Rename, renamed, self.tree.path_of(*to, new)))
            }
            _ => None,
        }
    }

    /// An operation that counts.
    fn perform(&mut self, request: Request, operation: Operation) -> Result<Reply, Errno> {
        let (kind, class) = (operation.kind, operation.class);
        let harm = self.plan.next(kind, class);
        if harm.is_some() {
            self.hit.get_or_insert(operation);
        }
        let node = request.node;
        match (harm, kind) {
            (Some(Harm::Error(errno)), Kind::Sync) => {
                self.tree.file_mut(node)?.fail_sync();
                return Err(errno);
            }
            (Some(Harm::Error(errno)), Kind::SyncDirectory) => {
                self.tree.fail_sync_directory(node);
                if class == Class::Index && !self.plan.lasts() {
                    self.failed.insert(node);
                }
                return Err(errno);
            }
            (None, Kind::SyncDirectory) if self.failed.contains(&node) => {
                self.broken.push(
                    "the index's directory is synced after a sync of it failed, which may have lost names".to_owned(),
                );
            }
            (Some(Harm::Error(errno)), _) => return Err(errno),
            (Some(Harm::Short | Harm::Flip) | None, _) => {}
        }
        // Content is the same before and after it has its name.
        let of_content = (Kind::Sync, Class::Upload);
        let lies = self.ignored == Some((kind, class))
            || (self.ignored == Some(of_content) && (kind, class) == (Kind::Sync, Class::Blob));
        if lies {
            return Ok(Reply::empty());
        }
        match request.call {
            Call::Open => Ok(Reply::empty().opened(0)),
            Call::Read { offset, length } => {
                let mut bytes = self.tree.file(node)?.read(offset, length);
                if harm == Some(Harm::Flip) {
                    let middle = bytes.len() / 2;
                    bytes.get_mut(middle).into_iter().for_each(|byte| *byte ^= 1);
                }
                Ok(Reply::bytes(bytes))
            }
            Call::Write { offset, mut bytes, is_synced, is_direct } => {
                if harm == Some(Harm::Short) {
                    let step = if is_direct { 512 } else { 1 };
                    bytes.truncate((bytes.len() / 2).next_multiple_of(step).max(step));
                }
                self.tree.file_mut(node)?.write(offset, &bytes);
                if is_synced {
                    self.tree.sync_file(node)?;
                }
                Ok(Reply::written(bytes.len()))
            }
            Call::SetAttributes { mode, size } => {
                self.set_attributes(node, mode, size)?;
                self.tree.attributes(node).map(|attributes| Reply::known(&attributes))
            }
            Call::Allocate { offset, length, how } => {
                self.tree.allocate(node, offset, length, how).map(|()| Reply::empty())
            }
            Call::Sync => self.tree.sync_file(node).map(|()| Reply::empty()),
            Call::SyncDirectory => self.tree.sync_directory(node).map(|()| Reply::empty()),
            call => self.change_names(node, call),
        }
    }

    fn set_attributes(&mut self, node: u64, mode: Option<u32>, size: Option<u64>) -> Result<(), Errno> {
        if let Some(mode) = mode {
            self.tree.set_mode(node, mode)?;
        }
        if let Some(size) = size {
            self.tree.file_mut(node)?.resize(size);
        }
        Ok(())
    }

    fn change_names(&mut self, node: u64, call: Call) -> Result<Reply, Errno> {
        let tree = &mut self.tree;
        let made = match call {
            Call::Create { name, mode, is_exclusive } => {
                let made = tree.create(node, &name, mode, is_exclusive)?;
                return Ok(Reply::entry(&made).opened(0));
            }
            Call::CreateUnnamed { mode } => return Ok(Reply::entry(&tree.create_unnamed(mode)?).opened(0)),
            Call::MakeDirectory { name, mode } => tree.make_directory(node, &name, mode)?,
            Call::Link { node: linked, name } => tree.link(linked, node, &name)?,
            Call::Unlink(name) => return tree.unlink(node, &name, false).map(|()| Reply::empty()),
            Call::RemoveDirectory(name) => return tree.unlink(node, &name, true).map(|()| Reply::empty()),
            Call::Rename { name, to, new, may_replace } => {
                return tree.rename((node, &name), (to, &new), may_replace).map(|()| Reply::empty());
            }
            Call::OpenDirectory => {
                self.handle += 1;
                self.listings.insert(self.handle, tree.list(node)?);
                return Ok(Reply::empty().opened(self.handle));
            }
            _ => return Err(Errno::NOSYS),
        };
        Ok(Reply::entry(&made))
    }

    /// What changes nothing, or nothing that could be lost.
    fn inform(&mut self, request: Request) -> Option<Result<Reply, Errno>> {
        let node = request.node;
        let result = match request.call {
            Call::Start { minor, flags } => Ok(Reply::start(minor, flags)),
            Call::Forget => {
                self.tree.forget(node);
                return None;
            }
            Call::ForgetMany(nodes) => {
                nodes.into_iter().for_each(|node| self.tree.forget(node));
                return None;
            }
            Call::Interrupt => return None,
            Call::Lookup(name) => self.tree.lookup(node, &name).map(|attributes| Reply::entry(&attributes)),
            Call::Attributes => self.tree.attributes(node).map(|attributes| Reply::known(&attributes)),
            Call::SetAttributes { mode, size } => {
                let set = self.set_attributes(node, mode, size);
                set.and_then(|()| self.tree.attributes(node)).map(|attributes| Reply::known(&attributes))
            }
            Call::ReadDirectory { handle, from, length } => match self.listings.get(&handle) {
                Some(entries) => Ok(Reply::listing(entries, from, length)),
                None => Err(Errno::BADF),
            },
            Call::CloseDirectory { handle } => {
                self.listings.remove(&handle);
                Ok(Reply::empty())
            }
            Call::Statistics => Ok(Reply::statistics(BLOCKS, BLOCKS / 2)),
            Call::Close => Ok(Reply::empty()),
            Call::Strange(operation) => {
                self.broken.push(format!("a link or a device is made (operation {operation} of the protocol)"));
                Err(Errno::PERM)
            }
            _ => Err(Errno::NOSYS),
        };
        Some(result)
    }
}

/// Answers until the mount is gone, several requests at a time.
pub(crate) fn serve<T: Answering>(device: OwnedFd, answering: &Arc<T>) -> Vec<JoinHandle<()>> {
    let device = Arc::new(device);
    let thread = |_| {
        let (device, answering) = (Arc::clone(&device), Arc::clone(answering));
        spawn(move || {
            let mut buffer = vec![0; REQUEST_BYTES_MAX];
            loop {
                let length = match rustix::io::read(device.as_fd(), &mut buffer) {
                    Ok(length) => length,
                    // A request that was taken back before it was read, or a signal.
                    Err(Errno::NOENT | Errno::INTR | Errno::AGAIN) => continue,
                    Err(_) => return,
                };
                let Some(request) = Request::read(&buffer[..length]) else { return };
                if let Some(bytes) = answering.handle(request) {
                    // Whoever asked may be gone, or the whole mount.
                    let _ = rustix::io::write(device.as_fd(), &bytes);
                }
            }
        })
    };
    (0..THREADS).map(thread).collect()
}
