//! A client with repositories of its own: chooses what to do, does it, and knows what must come out.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use http::{Method, Request};

use super::{Change, Event, Facts, Journal, Key, Line, Violation, content::mix};
use crate::{
    Answer, Client, Kept,
    http::{Body, Failure, full, request},
    stream::Random,
};

/// Uploads that a worker leaves open at most before it takes one up again.
pub const SESSIONS_MAX: usize = 4;

/// Content that all workers push, so that it meets itself.
const SHARED_CONTENTS: u64 = 64;

/// What a whole rig shares.
#[derive(Debug)]
pub struct World {
    pub rig: &'static str,
    pub seed: u64,
    pub workers: u64,
    /// Operations begun, by all workers.
    pub operations: AtomicU64,
    /// Set before the registry is killed: from then on no answer is an answer.
    pub is_dying: AtomicBool,
    /// Whether the disk may be full: 507 is then a right answer to what needs space.
    pub may_be_full: bool,
    /// Whether the disk may refuse anything: an error of the server's is then a right answer, and so is
    /// none.
    pub may_fail: AtomicBool,
    /// Where a rig's own time stands: each line of the journal tells it. 0 where a rig has none.
    pub clock: Arc<AtomicU64>,
}

impl World {
    pub fn new(rig: &'static str, seed: u64, workers: u64) -> Self {
        let (operations, is_dying, may_fail) = (AtomicU64::new(0), AtomicBool::new(false), AtomicBool::new(false));
        World { rig, seed, workers, operations, is_dying, may_be_full: false, may_fail, clock: Arc::default() }
    }
}

/// What a worker did.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    pub operations: u64,
    /// Changes that were acknowledged.
    pub acknowledged: u64,
    /// Answers that were compared byte by byte, and their bytes.
    pub reads: u64,
    pub bytes_read: u64,
    /// Changes that were refused because the disk is full.
    pub full: u64,
    /// Operations that ended with an error of the server's, where the disk may fail.
    pub failed: u64,
    /// Changes whose answer never came: how many were there afterwards, and how many not.
    pub settled_after: u64,
    pub settled_before: u64,
    /// Uploads taken up again, after a crash or without one.
    pub resumed: u64,
}

impl Tally {
    pub fn add(&mut self, other: Tally) {
        self.operations += other.operations;
        self.acknowledged += other.acknowledged;
        self.reads += other.reads;
        self.bytes_read += other.bytes_read;
        self.full += other.full;
        self.failed += other.failed;
        self.settled_after += other.settled_after;
        self.settled_before += other.settled_before;
        self.resumed += other.resumed;
    }
}

/// Why a worker did not come to the end of what it was doing.
#[derive(Debug)]
pub enum Stop {
    /// The registry was killed.
    Gone,
    /// The disk is full.
    Full,
    /// The disk fails.
    Failed,
    Broken(Violation),
}

pub type Step<T = ()> = Result<T, Stop>;

pub struct Worker {
    pub(super) number: u64,
    pub(super) world: Arc<World>,
    pub(super) client: Client,
    pub(super) kept: Kept,
    pub(super) facts: Facts,
    pub(super) random: Random,
    pub(super) operation: u64,
    pub(super) tally: Tally,
    journal: Arc<Journal>,
}

impl Worker {
    pub fn new(world: &Arc<World>, number: u64, journal: &Arc<Journal>, address: SocketAddr) -> Self {
        Worker {
            number,
            world: world.clone(),
            client: Client::plain(address),
            kept: Kept::new(address),
            facts: Facts::default(),
            random: Random(mix(world.seed ^ mix(number))),
            operation: 0,
            tally: Tally::default(),
            journal: journal.clone(),
        }
    }

    /// A worker that goes on where another one stopped.
    #[must_use]
    pub fn after(mut self, other: &Worker) -> Self {
        self.facts = other.facts.clone();
        self.operation = other.operation;
        self
    }

    /// A worker that knows what these lines of a journal tell of it, and goes on from there.
    #[must_use]
    pub fn knowing<'a>(mut self, lines: impl IntoIterator<Item = &'a Line>) -> Self {
        for line in lines.into_iter().filter(|line| line.worker == self.number) {
            self.facts.apply(&line.event);
            self.operation = line.operation;
        }
        self
    }

    /// The registry was started again.
    pub fn reconnect(&mut self, address: SocketAddr) {
        self.client = Client::plain(address);
        self.kept = Kept::new(address);
    }

    pub fn tally(&self) -> Tally {
        self.tally
    }

    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// One operation after the other until `is_over`, the registry is killed, or a promise is broken.
    pub async fn run(&mut self, is_over: impl Fn() -> bool) -> Result<(), Violation> {
        while !is_over() {
            match self.operate().await {
                Ok(()) => {}
                Err(Stop::Full) => self.tally.full += 1,
                Err(Stop::Failed) => self.tally.failed += 1,
                Err(Stop::Gone) => return Ok(()),
                Err(Stop::Broken(violation)) => return Err(violation),
            }
        }
        Ok(())
    }

    /// One operation. Everything it chooses follows from the seed, the worker and its number, and
    /// from what is there.
    async fn operate(&mut self) -> Step {
        self.operation += 1;
        self.tally.operations += 1;
        self.world.operations.fetch_add(1, Ordering::Relaxed);
        self.random = Random(mix(self.world.seed ^ mix(self.number ^ mix(self.operation))));
        if self.facts.open().is_some() {
            return self.settle().await;
        }
        if self.facts.sessions().len() >= SESSIONS_MAX {
            return self.resume_any().await;
        }
        match self.random.below(100) {
            0..12 => self.push_by_session().await,
            12..18 => self.push_at_once().await,
            18..26 => self.push_in_chunks().await,
            26..32 => self.leave_open().await,
            32..36 => self.resume_any().await,
            36..42 => self.mount_own().await,
            42..46 => self.mount_foreign().await,
            46..54 => self.put_image().await,
            54..58 => self.put_index().await,
            58..62 => self.put_referrer().await,
            62..80 => self.read_any().await,
            80..84 => self.list().await,
            84..92 => self.delete_any().await,
            92..94 => self.cancel().await,
            _ => self.be_hostile().await,
        }
    }

    /// One of this worker's repositories.
    pub(super) fn repository(&mut self) -> String {
        let part = if self.random.below(2) == 0 { "a" } else { "b" };
        repository(self.number, part)
    }

    /// Content nobody has pushed yet, or content that all workers push.
    pub(super) fn choose_content(&mut self) -> super::Content {
        let seed = self.world.seed;
        if self.random.below(4) == 0 {
            return shared_content(seed, self.random.below(SHARED_CONTENTS));
        }
        super::Content::choose(mix(seed ^ self.number), self.operation, &mut self.random)
    }

    /// One of what there is.
    pub(super) fn choose(&mut self, is_wanted: impl Fn(&Key) -> bool) -> Option<(Key, String)> {
        let count = self.facts.present().filter(|(key, _)| is_wanted(key)).count() as u64;
        let chosen = self.random.below(count.max(1)) as usize;
        let found = self.facts.present().filter(|(key, _)| is_wanted(key)).nth(chosen);
        found.map(|(key, digest)| (key.clone(), digest.to_owned()))
    }

    pub(super) fn note(&mut self, event: Event) {
        self.facts.apply(&event);
        // After an answer was received, and before a request is sent.
        let at = self.world.clock.load(Ordering::SeqCst);
        self.journal.append(&Line { worker: self.number, operation: self.operation, at, event });
    }

    pub(super) fn sync_journal(&self) {
        self.journal.sync();
    }

    /// Asks for a change: `done` are the statuses that say that it is so, `refused` those that say it
    /// is not.
    pub(super) async fn change(
        &mut self,
        change: Change,
        request: Request<Body>,
        done: &[u16],
        refused: &[u16],
    ) -> Step<Answer> {
        let what = format!("{} {}", request.method(), request.uri());
        self.note(Event::Asked(change));
        let answer = self.send(request).await?;
        let status = answer.status.as_u16();
        if done.contains(&status) {
            self.note(Event::Done);
            self.tally.acknowledged += 1;
        } else if refused.contains(&status) {
            self.note(Event::Refused);
        } else {
            return Err(self.unexpected(&what, &answer));
        }
        Ok(answer)
    }

    /// Asks for something that must be answered with this status.
    pub(super) async fn expect(&mut self, request: Request<Body>, status: u16) -> Step<Answer> {
        let what = format!("{} {}", request.method(), request.uri());
        let answer = self.send(request).await?;
        if answer.status == status { Ok(answer) } else { Err(self.unexpected(&what, &answer)) }
    }

    pub(super) async fn call(&mut self, method: Method, path: &str, status: u16) -> Step<Answer> {
        let body = if method == Method::POST { full("") } else { crate::http::empty() };
        self.expect(request(method, path, body), status).await
    }

    pub(super) async fn send(&mut self, request: Request<Body>) -> Step<Answer> {
        let what = format!("{} {}", request.method(), request.uri());
        match self.kept.send(request).await {
            Ok(answer) => Ok(answer),
            Err(failure) => Err(self.no_answer(&what, &failure)),
        }
    }

    pub(super) fn no_answer(&self, what: &str, failure: &Failure) -> Stop {
        match self.is_dying() {
            true => Stop::Gone,
            false if self.may_fail() => Stop::Failed,
            false => self.broken(format!("{what}: no answer: {failure}")),
        }
    }

    pub(super) fn is_dying(&self) -> bool {
        self.world.is_dying.load(Ordering::SeqCst)
    }

    pub(super) fn may_fail(&self) -> bool {
        self.world.may_fail.load(Ordering::SeqCst)
    }

    /// 507 for want of space is no violation where the disk may be full.
    pub(super) fn unexpected(&self, what: &str, answer: &Answer) -> Stop {
        if self.world.may_be_full && answer.status == 507 {
            return Stop::Full;
        }
        if self.may_fail() && answer.status.is_server_error() {
            return Stop::Failed;
        }
        self.broken(format!("{what}: {answer:?}"))
    }

    pub(super) fn broken(&self, what: String) -> Stop {
        let (rig, seed) = (self.world.rig, self.world.seed);
        Stop::Broken(Violation { rig, seed, worker: self.number, operation: self.operation, what })
    }
}

/// The name of a worker's repository.
pub fn repository(worker: u64, part: &str) -> String {
    format!("verify/{worker}/{part}")
}

/// Content number `id` of those that all workers push.
pub fn shared_content(seed: u64, id: u64) -> super::Content {
    super::Content::choose(seed, id, &mut Random(mix(seed ^ id)))
}

/// One of the contents that all workers push.
pub fn choose_shared(seed: u64, random: &mut Random) -> super::Content {
    shared_content(seed, random.below(SHARED_CONTENTS))
}
