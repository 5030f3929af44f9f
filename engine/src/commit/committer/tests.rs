//! What a group answers, and when.

use std::{
    future::Future,
    sync::mpsc,
    task::{Context, Poll, Waker},
};

use super::*;
use crate::{
    error::What,
    index::{Cached, Changes, MemoryIndex, Outcome, Snapshot, Table, Value},
};

/// An index that says when it is asked to write, and then waits until it may.
struct Gated {
    index: MemoryIndex,
    asked: mpsc::Sender<()>,
    may_write: std::sync::Mutex<mpsc::Receiver<bool>>,
}

impl Index for Gated {
    fn get(&self, table: Table, key: &[u8]) -> std::result::Result<Option<Value>, IndexError> {
        self.index.get(table, key)
    }

    fn get_cached(&self, table: Table, key: &[u8]) -> std::result::Result<Cached, IndexError> {
        self.index.get_cached(table, key)
    }

    fn snapshot(&self) -> Box<dyn Snapshot + '_> {
        self.index.snapshot()
    }

    fn write(&self, changes: &Changes, durability: Durability) -> std::result::Result<Outcome, IndexError> {
        self.asked.send(()).expect("the test listens");
        match self.may_write.lock().expect("no panic holds it").recv().expect("the test says") {
            true => self.index.write(changes, durability),
            false => Err(IndexError::Io("as the test wants".to_owned())),
        }
    }

    fn estimate(&self, table: Table) -> u64 {
        self.index.estimate(table)
    }
}

/// A change that succeeds once.
fn take(transaction: &mut Transaction<'_>) -> Result<()> {
    if transaction.contains(Table::Meta, b"taken")? {
        return Err(Error::NotFound { what: What::Name });
    }
    transaction.put(Table::Meta, b"taken".to_vec(), Vec::new());
    Ok(())
}

fn poll<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Has two changes in one group, of which the second is refused because of the first. Gives their answers.
async fn answers(is_written: bool) -> (Result<()>, Result<()>) {
    let ((asked, was_asked), (may, may_write)) = (mpsc::channel(), mpsc::channel());
    let index = Arc::new(Gated { index: MemoryIndex::default(), asked, may_write: may_write.into() });
    let targets = Targets { index, journal: None, marks: Arc::new(Marks::new()), space: None };
    let committer = Committer::start(targets, &Options::default(), Arc::default()).expect("a thread");
    let before = committer.run(Durability::Buffered, |transaction| {
        transaction.put(Table::Meta, b"before".to_vec(), Vec::new());
        Ok(())
    });
    let (mut before, first, second) =
        (Box::pin(before), committer.run(Durability::Synced, take), committer.run(Durability::Synced, take));
    let (mut first, mut second) = (Box::pin(first), Box::pin(second));
    assert!(poll(before.as_mut()).is_pending());
    was_asked.recv().expect("the thread writes");
    // Both wait while the thread writes, so they share the next group.
    assert!(poll(first.as_mut()).is_pending() && poll(second.as_mut()).is_pending());
    may.send(true).expect("the thread waits");
    was_asked.recv().expect("the thread writes");
    assert!(poll(second.as_mut()).is_pending(), "it was refused for what nobody can see yet");
    may.send(is_written).expect("the thread waits");
    before.await.expect("written");
    (first.await, second.await)
}

#[tokio::test]
async fn a_refusal_waits_for_what_it_rests_on() {
    let (first, second) = answers(true).await;
    assert!(first.is_ok());
    assert!(matches!(second, Err(Error::NotFound { .. })), "{second:?}");
}

#[tokio::test]
async fn nothing_is_refused_for_what_never_was() {
    let (first, second) = answers(false).await;
    assert!(matches!(first, Err(Error::InDoubt { .. })), "{first:?}");
    assert!(matches!(second, Err(Error::Stopped { .. })), "{second:?}");
}
