//! The commit thread: the only writer of the index.
//!
//! Changes wait in a bounded queue. The thread takes all that wait (up to a group's size), lets
//! each decide on top of the ones before it, writes the group as one atomic batch with one sync,
//! and only then answers: also with a refusal, which may rest on a change that nobody can see before, and
//! which would never have been if the write fails. While it syncs, the next group gathers: the slower the disk, the larger
//! the groups.

use std::sync::{Arc, OnceLock};

use tokio::sync::{mpsc, oneshot};

use super::transaction::{Overlay, Transaction, to_changes};
use crate::{
    error::{Error, Result},
    index::{Durability, Index, IndexError},
    io::Space,
    journal::Appender,
    options::Options,
    read::Marks,
    schedule::{
        self, Mutex,
        thread::{self, JoinHandle},
    },
    statistics::{Counters, add},
    store::index_error,
};

/// Bytes of keys and values after which a group is closed.
const GROUP_BYTES_MAX: usize = 8 << 20;

type Decide = Box<dyn FnOnce(&mut Transaction<'_>) -> Result<()> + Send>;

struct Request {
    decide: Decide,
    durability: Durability,
    reply: oneshot::Sender<Result<()>>,
}

/// The handle to the commit thread.
pub(crate) struct Committer {
    queue: Mutex<Option<mpsc::Sender<Request>>>,
    /// Set once, by the first failed write: nothing is acknowledged after it.
    stopped: Arc<OnceLock<String>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Committer {
    /// Starts the thread.
    pub fn start(targets: Targets, options: &Options, counters: Arc<Counters>) -> Result<Self> {
        let (queue, requests) = mpsc::channel(options.commit_queue_max);
        let stopped = Arc::new(OnceLock::new());
        let group_max = options.commit_group_max;
        let worker = Worker { targets, requests, group_max, stopped: stopped.clone(), counters };
        let thread = thread::Builder::new()
            .name("commit".to_owned())
            .spawn(move || worker.run())
            .map_err(|source| Error::io("starting the commit thread", source))?;
        Ok(Committer { queue: Mutex::new(Some(queue)), stopped, thread: Mutex::new(Some(thread)) })
    }

    /// Runs `decide` on the commit thread; what it wrote is visible when this returns `Ok`, and
    /// durable if `Synced`. An error of `decide` leaves nothing behind. If the caller goes away the
    /// change is still carried out whole.
    pub async fn run<F>(&self, durability: Durability, decide: F) -> Result<()>
    where
        F: FnOnce(&mut Transaction<'_>) -> Result<()> + Send + 'static,
    {
        let queue = self.queue.lock().expect("no panic holds it").clone().ok_or_else(|| self.stopped_error())?;
        let (reply, answer) = oneshot::channel();
        schedule::point();
        let request = Request { decide: Box::new(decide), durability, reply };
        queue.send(request).await.map_err(|_| self.stopped_error())?;
        drop(queue);
        // No answer is given only if the thread panicked, at whatever point of this change.
        answer.await.map_err(|_| Error::InDoubt { reason: "the commit thread ended".to_owned() })?
    }

    /// Why nothing is accepted any more.
    pub fn stopped(&self) -> Option<&str> {
        self.stopped.get().map(String::as_str)
    }

    fn stopped_error(&self) -> Error {
        Error::Stopped { reason: self.stopped().unwrap_or("the store is closed").to_owned() }
    }

    /// Lets waiting changes finish and ends the thread. May block; later changes get `Stopped`.
    pub fn close(&self) {
        drop(self.queue.lock().expect("no panic holds it").take());
        let thread = self.thread.lock().expect("no panic holds it").take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the commit thread panicked");
        }
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.close();
    }
}

/// What the thread writes to, and whom it tells.
pub(crate) struct Targets {
    pub index: Arc<dyn Index>,
    /// Gets every group before the index does.
    pub journal: Option<Appender>,
    pub marks: Arc<Marks>,
    /// `None` where there is no file system to look at.
    pub space: Option<Arc<Space>>,
}

struct Worker {
    targets: Targets,
    requests: mpsc::Receiver<Request>,
    group_max: usize,
    stopped: Arc<OnceLock<String>>,
    counters: Arc<Counters>,
}

impl Worker {
    fn run(mut self) {
        while let Some(first) = schedule::receive(&mut self.requests) {
            if let Some(reason) = self.stopped.get() {
                refuse(first.reply, reason);
                continue;
            }
            self.commit_group(first);
        }
    }

    fn commit_group(&mut self, first: Request) {
        let mut overlay = Overlay::new();
        let mut bytes = 0;
        let mut durability = Durability::Buffered;
        let mut accepted = Vec::new();
        // Decided on top of changes that nobody else can see yet.
        let mut refused = Vec::new();
        let mut next = Some(first);
        while let Some(request) = next {
            let mut transaction = Transaction::new(&*self.targets.index, &overlay);
            match (request.decide)(&mut transaction) {
                Ok(()) => {
                    let own = transaction.into_overlay();
                    bytes += own
                        .iter()
                        .map(|((_, key), value)| key.len() + value.as_ref().map_or(0, Vec::len))
                        .sum::<usize>();
                    overlay.extend(own);
                    if request.durability == Durability::Synced {
                        durability = Durability::Synced;
                    }
                    accepted.push(request.reply);
                }
                Err(error) if accepted.is_empty() => drop(request.reply.send(Err(error))),
                Err(error) => refused.push((request.reply, error)),
            }
            let full = accepted.len() >= self.group_max || bytes >= GROUP_BYTES_MAX;
            next = if full { None } else { self.requests.try_recv().ok() };
        }
        if accepted.is_empty() {
            return;
        }
        add(&self.counters.commits, accepted.len() as u64);
        if durability == Durability::Synced {
            add(&self.counters.commit_syncs, 1);
        }
        if let Some(space) = &self.targets.space {
            space.tend();
        }
        // Before the index: what is acknowledged then survives the end of the process in both, and
        // the next opening cuts off what the index did not get.
        if let Some(journal) = &mut self.targets.journal {
            journal.append(&mut overlay);
        }
        let changes = to_changes(overlay);
        self.targets.marks.begin(&changes);
        let written = self.targets.index.write(&changes, durability);
        // Also after a failure: what became of the write is unknown.
        self.targets.marks.end(&changes);
        schedule::point();
        match written {
            Ok(_) => {
                accepted.into_iter().for_each(|reply| drop(reply.send(Ok(()))));
                refused.into_iter().for_each(|(reply, error)| drop(reply.send(Err(error))));
            }
            Err(error) => {
                self.stop(&error, accepted);
                // They rest on what may never have been, and changed nothing.
                refused.into_iter().for_each(|(reply, _)| refuse(reply, &error.to_string()));
            }
        }
    }

    /// A failed write or sync is final: what became of the group is unknown until the store is
    /// opened again, so nobody in it is told that it succeeded and nothing is accepted after it.
    fn stop(&self, error: &IndexError, group: Vec<oneshot::Sender<Result<()>>>) {
        let reason = error.to_string();
        tracing::error!(%reason, "the index could not be written; no more changes are accepted");
        // Before anybody learns of it: what comes after the answers must know that the store stopped.
        drop(self.stopped.set(reason.clone()));
        let no_space = matches!(error, IndexError::NoSpace(_));
        for reply in group {
            if no_space {
                drop(reply.send(Err(index_error(IndexError::NoSpace(reason.clone())))));
            } else {
                drop(reply.send(Err(Error::InDoubt { reason: reason.clone() })));
            }
        }
    }
}

fn refuse(reply: oneshot::Sender<Result<()>>, reason: &str) {
    drop(reply.send(Err(Error::Stopped { reason: reason.to_owned() })));
}

#[cfg(test)]
mod tests;
