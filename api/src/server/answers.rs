//! Answers that were given before and may be given again.
//!
//! In: answers to plain requests whose handler says how to find out whether they still hold. Out: the
//! same bytes of status and headers, without routing, parsing and formatting anything again.
//!
//! This is no cache that may be stale: whoever takes an answer from here asks [`Repeat::again`], and what it
//! does not vouch for at that moment is forgotten. An answer is kept when its request comes for the second time
//! within memory of [`SEEN`] others, so that what is asked once takes neither time nor memory.
//!
//! What is allowed is not the handler's to vouch for later: an answer is of one [`Generation`] of the rules, and
//! is worth nothing in the next. Invariant: once [`Live::advance`] has returned, no answer is given that was made
//! before it was called, whenever it was kept.
//!
//! An answer to somebody who showed a name and a password is for whoever shows the same, and only while whoever knows
//! users vouches for it at that moment ([`Lasting`]). Passwords are not kept: their hash under a key of this process
//! is, which is worth nothing elsewhere.

use std::{
    fmt::Write as _,
    hash::{BuildHasher, Hash, Hasher, RandomState},
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING},
};
use quick_cache::{Equivalent, Weighter, sync::Cache};

use super::{
    live::{Generation, Live},
    plain::{Credentials, Plain},
};
use crate::{access::Subject, metrics::RouteClass};

/// What all answers together may take, in bytes: some 3,000 documents of 4 KiB, or 20,000 heads.
const BYTES_MAX: u64 = 16 << 20;

/// Expected answers, for the cache's tables.
const ANSWERS_EXPECTED: usize = 4096;

/// What an answer takes beside its texts and its body, in bytes.
const ANSWER_BYTES: usize = 576;

/// Bytes of a hash, and of the key that it is made with.
const HASH_BYTES: usize = 32;

/// How many requests are remembered as seen once, in 64 KiB.
const SEEN: usize = 1 << 14;

/// How an answer can be given again. Handlers put it, as [`Repeatable`], into the extensions of an answer to a
/// request that has [`MayRepeat`] in its own.
pub trait Repeat<B>: Send + Sync + 'static {
    /// The body of the same answer, if the handler would answer the same now, head and body, to everybody of
    /// [`Holders`], whatever his address; with everything that answering entails, such as counts and promises. `None`
    /// if that is not known at once: the request then goes to the handler. Never waits.
    fn again(&self) -> Option<Repeated<B>>;

    /// Bytes in memory that are kept for it.
    fn bytes_kept(&self) -> usize;
}

/// A body that is sent again.
pub enum Repeated<B> {
    /// All of it; empty where the answer has no body.
    Memory(Bytes),
    Stream(B),
}

/// Says that the answer may be given again; in the extensions of an answer.
pub struct Repeatable<B>(pub Arc<dyn Repeat<B>>);

impl<B> Clone for Repeatable<B> {
    fn clone(&self) -> Self {
        Repeatable(self.0.clone())
    }
}

/// To whom an answer may be given again; in its extensions beside [`Repeatable`]. Without it the answer is for
/// everybody who asks without credentials, and for nobody else.
#[derive(Clone)]
pub enum Holders {
    /// Whoever asks the same, with the same credentials or without.
    Everybody,
    /// Whoever brings the same credentials, while they hold.
    Same(Arc<dyn Lasting>),
}

/// How long what was found out about credentials holds.
pub trait Lasting: Send + Sync + 'static {
    /// Whether a client that brings the same credentials now would be taken for the same user, with nothing that has
    /// to be done for it. Never waits.
    fn holds(&self, client: IpAddr) -> Holds;

    /// That user.
    fn subject(&self) -> &Subject;
}

/// What is known of credentials without looking them up again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    Yes,
    /// The handler has to find out; it may become known again.
    Unknown,
    /// Never again.
    Over,
}

/// Says that the same was asked before, so that it pays to be [`Repeatable`]; in the extensions of a request.
#[derive(Clone, Copy, Debug)]
pub struct MayRepeat;

/// An answer to one plain request.
pub(super) struct Answer<B> {
    /// Status line and fields, without the date and the empty line after it.
    pub(super) head: Vec<u8>,
    pub(super) status: StatusCode,
    pub(super) route: RouteClass,
    pub(super) repeat: Arc<dyn Repeat<B>>,
    /// `None` for an answer that depends on no credentials.
    pub(super) lasting: Option<Arc<dyn Lasting>>,
    /// Read before the handler was asked.
    pub(super) generation: Generation,
}

/// What is known of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    First,
    /// It came before.
    Repeated,
    /// There is an answer.
    Answered,
}

/// The answers of one server.
pub(super) struct Answers<B> {
    kept: Cache<Key, Arc<Answer<B>>, ByBytes>,
    /// Marks of requests seen once, at the place that their hash gives; 0 is none.
    seen: Box<[AtomicU32]>,
    hasher: RandomState,
    secret: [u8; HASH_BYTES],
    live: Arc<Live>,
}

/// A plain request, as an answer to it is found.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Asked<'a> {
    is_head: bool,
    target: &'a [u8],
    none_match: &'a [u8],
    /// The hash of the credentials.
    credentials: Option<[u8; HASH_BYTES]>,
}

/// The same with texts of its own.
pub(super) struct Key {
    pub(super) is_head: bool,
    target: Box<[u8]>,
    none_match: Box<[u8]>,
    credentials: Option<[u8; HASH_BYTES]>,
}

impl Key {
    pub(super) fn has_credentials(&self) -> bool {
        self.credentials.is_some()
    }

    fn asked(&self) -> Asked<'_> {
        let Key { is_head, target, none_match, credentials } = self;
        Asked { is_head: *is_head, target, none_match, credentials: *credentials }
    }
}

impl From<Asked<'_>> for Key {
    fn from(Asked { is_head, target, none_match, credentials }: Asked<'_>) -> Self {
        Key { is_head, target: target.into(), none_match: none_match.into(), credentials }
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.asked().hash(state);
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.asked() == other.asked()
    }
}

impl Eq for Key {}

impl Equivalent<Key> for Asked<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        *self == key.asked()
    }
}

#[derive(Clone)]
struct ByBytes;

impl<B: 'static> Weighter<Key, Arc<Answer<B>>> for ByBytes {
    fn weight(&self, key: &Key, answer: &Arc<Answer<B>>) -> u64 {
        let texts = key.target.len() + key.none_match.len() + answer.head.len();
        (ANSWER_BYTES + texts + answer.repeat.bytes_kept()) as u64
    }
}

impl<B: 'static> Answers<B> {
    pub(super) fn new(live: Arc<Live>) -> Self {
        Answers {
            kept: Cache::with_weighter(ANSWERS_EXPECTED, BYTES_MAX, ByBytes),
            seen: (0..SEEN).map(|_| AtomicU32::new(0)).collect(),
            hasher: RandomState::new(),
            secret: secret(),
            live,
        }
    }

    /// A request as its answer is found.
    pub(super) fn asked<'a>(&self, plain: &Plain<'a>) -> Asked<'a> {
        let Plain { is_head, target, none_match, credentials: Credentials(credentials) } = *plain;
        let hash = || *blake3::keyed_hash(&self.secret, credentials).as_bytes();
        Asked { is_head, target, none_match, credentials: (!credentials.is_empty()).then(hash) }
    }

    /// The generation of an answer that is going to be asked for now. Read it before the rules that it is made by.
    pub(super) fn generation(&self) -> Generation {
        self.live.generation()
    }

    /// One of an earlier generation makes room when its place is taken, or with what was not asked for longest.
    pub(super) fn get(&self, request: &Asked<'_>, generation: Generation) -> Option<Arc<Answer<B>>> {
        self.kept.get(request).filter(|answer| answer.generation == generation)
    }

    /// What is known of a request, which counts as seen from now on.
    pub(super) fn note(&self, request: &Asked<'_>, generation: Generation) -> Standing {
        if self.get(request, generation).is_some() {
            return Standing::Answered;
        }
        // The place and the mark are of different bits. A mark that another request left by chance only has
        // one answer kept a request too early.
        let hash = self.hasher.hash_one(request);
        let place = &self.seen[hash as usize % self.seen.len()];
        let mark = (hash >> 32) as u32 | 1;
        if place.swap(mark, Ordering::Relaxed) == mark { Standing::Repeated } else { Standing::First }
    }

    pub(super) fn keep(&self, request: Key, answer: Answer<B>) {
        self.kept.insert(request, Arc::new(answer));
    }

    pub(super) fn forget(&self, request: &Asked<'_>) {
        self.kept.remove(request);
    }
}

/// What nobody can guess.
fn secret() -> [u8; HASH_BYTES] {
    let mut secret = [0; HASH_BYTES];
    let mut filled = 0;
    while filled < secret.len() {
        // So few bytes come whole once the system has its entropy (getrandom(2)); an interruption before that is
        // nothing to give up for.
        filled += rustix::rand::getrandom(&mut secret[filled..], rustix::rand::GetRandomFlags::empty()).unwrap_or(0);
    }
    secret
}

/// The head of an answer as hyper writes it, up to the date. `None` for an answer whose head also depends on
/// the connection or whose end is not announced.
pub(super) fn head<B>(response: &Response<B>, is_head: bool) -> Option<Vec<u8>> {
    let (status, fields) = (response.status(), response.headers());
    let framed = fields.contains_key(CONTENT_LENGTH) != (status == StatusCode::NOT_MODIFIED);
    let of_connection = [CONNECTION, TRANSFER_ENCODING, DATE].iter().any(|name| fields.contains_key(name));
    if !framed || of_connection || status.is_informational() {
        return None;
    }
    let mut line = String::with_capacity(64);
    write!(line, "HTTP/1.1 {} {}\r\n", status.as_str(), status.canonical_reason()?).ok()?;
    let mut head = line.into_bytes();
    head.reserve(fields.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum());
    // Of a body that is empty, and not only left out, hyper writes the length itself, as the last field.
    let is_empty = |length: &HeaderValue| !is_head && length == "0";
    let last = fields.get(CONTENT_LENGTH).filter(|length| is_empty(length)).map(|length| (&CONTENT_LENGTH, length));
    let first = fields.iter().filter(|(name, _)| last.is_none() || *name != CONTENT_LENGTH);
    for (name, value) in first.chain(last) {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    Some(head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    struct Fixed;

    impl Repeat<()> for Fixed {
        fn again(&self) -> Option<Repeated<()>> {
            Some(Repeated::Memory(Bytes::new()))
        }

        fn bytes_kept(&self) -> usize {
            4096
        }
    }

    fn answer(generation: Generation) -> Answer<()> {
        let (status, route, repeat) = (StatusCode::OK, RouteClass::Blob, Arc::new(Fixed));
        Answer { head: vec![0; 300], status, route, repeat, lasting: None, generation }
    }

    fn answers() -> Answers<()> {
        Answers::new(Live::new(Limits::default()).unwrap())
    }

    fn plain(target: &str) -> Asked<'_> {
        Asked { is_head: false, target: target.as_bytes(), none_match: b"", credentials: None }
    }

    #[test]
    fn an_answer_is_of_one_password_only() {
        let answers = answers();
        let with = |credentials: &'static [u8]| {
            let credentials = Credentials(credentials);
            answers.asked(&Plain { is_head: false, target: b"/a", none_match: b"", credentials })
        };
        answers.keep(with(b"Basic a").into(), answer(answers.generation()));
        assert!(answers.get(&with(b"Basic a"), answers.generation()).is_some());
        assert!(answers.get(&with(b"Basic b"), answers.generation()).is_none());
        assert!(answers.get(&with(b"basic a"), answers.generation()).is_none());
        assert!(answers.get(&with(b""), answers.generation()).is_none());
        assert_eq!(answers.note(&with(b""), answers.generation()), Standing::First);
    }

    #[test]
    fn an_answer_is_of_one_request_only() {
        let answers = answers();
        assert_eq!(answers.note(&plain("/a"), answers.generation()), Standing::First);
        assert_eq!(answers.note(&plain("/a"), answers.generation()), Standing::Repeated);
        answers.keep(plain("/a").into(), answer(answers.generation()));
        assert_eq!(answers.note(&plain("/a"), answers.generation()), Standing::Answered);
        assert!(answers.get(&plain("/a"), answers.generation()).is_some());
        assert!(answers.get(&plain("/a/"), answers.generation()).is_none());
        assert!(answers.get(&Asked { is_head: true, ..plain("/a") }, answers.generation()).is_none());
        assert!(answers.get(&Asked { none_match: b"x", ..plain("/a") }, answers.generation()).is_none());
        // What is where one text ends and the next begins matters.
        answers.keep(Asked { none_match: b"bc", ..plain("/a") }.into(), answer(answers.generation()));
        assert!(answers.get(&Asked { none_match: b"c", ..plain("/ab") }, answers.generation()).is_none());
        answers.forget(&plain("/a"));
        assert!(answers.get(&plain("/a"), answers.generation()).is_none());
    }

    #[test]
    fn an_answer_that_was_begun_by_other_rules_is_never_given() {
        let answers = answers();
        answers.keep(plain("/a").into(), answer(answers.generation()));
        let begun = answers.generation();
        answers.live.advance();
        assert!(answers.get(&plain("/a"), answers.generation()).is_none(), "kept before");
        assert_eq!(answers.note(&plain("/a"), answers.generation()), Standing::First, "and not counted as there");
        answers.keep(plain("/b").into(), answer(begun));
        assert!(answers.get(&plain("/b"), answers.generation()).is_none(), "begun before, and kept after");
        answers.keep(plain("/a").into(), answer(answers.generation()));
        assert!(answers.get(&plain("/a"), answers.generation()).is_some());
    }

    #[test]
    fn answers_are_bounded() {
        let answers = answers();
        for number in 0..20_000 {
            answers.keep(plain(&format!("/{number}")).into(), answer(answers.generation()));
            assert!(answers.kept.weight() <= BYTES_MAX);
        }
        assert!(answers.kept.weight() > BYTES_MAX / 2, "they are kept: {}", answers.kept.weight());
    }

    #[test]
    fn a_head_is_kept_if_it_says_all_and_nothing_of_the_connection() {
        let mut response = Response::new(());
        assert_eq!(head(&response, false), None, "no length");
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("5"));
        assert_eq!(head(&response, false).unwrap(), b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n");
        for (name, value) in [(CONNECTION, "close"), (TRANSFER_ENCODING, "chunked"), (DATE, "now")] {
            let mut response = response.clone();
            response.headers_mut().insert(name, HeaderValue::from_static(value));
            assert_eq!(head(&response, false), None);
        }
        let mut empty = Response::new(());
        empty.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        empty.headers_mut().insert("a", HeaderValue::from_static("b"));
        assert_eq!(head(&empty, false).unwrap(), b"HTTP/1.1 200 OK\r\na: b\r\ncontent-length: 0\r\n");
        assert_eq!(head(&empty, true).unwrap(), b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\na: b\r\n");
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        assert_eq!(head(&response, false), None, "an announced body that does not come");
        response.headers_mut().clear();
        assert_eq!(head(&response, false).unwrap(), b"HTTP/1.1 304 Not Modified\r\n");
    }
}
