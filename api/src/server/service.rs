//! One request: what every request and every answer of the server gets, whatever the handler does.
//!
//! In: hyper's request. Out: the handler's answer with the common headers, 500 when it panicked, or
//! 400 when the request is ambiguous.
//! The request is observed from here to the end of its body.

use std::{
    any::Any,
    convert::Infallible,
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
};

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version,
    header::{self, CONTENT_SECURITY_POLICY, X_CONTENT_TYPE_OPTIONS},
};
use hyper::body::Incoming;

use super::{
    Handler, Peer,
    answers::{self, Answer, Answers, Holders, Key, MayRepeat, Repeatable, Standing},
    audit::Audited,
    live::Generation,
    observation::{Deliveries, Observation, Observer},
    plain::Plain,
    request_body::RequestBody,
    response_body::{Delivery, ResponseBody},
    streams::Owed,
    trace::Traced,
};
use crate::{
    front::{Front, Seen, Unreadable},
    limits::Limits,
    metrics::RouteClass,
};

/// Tells clients that this is a registry; the distribution specification calls it legacy, clients
/// still look for it.
const DISTRIBUTION_API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");

/// Content is whatever somebody pushed: a browser that opens it runs nothing of it, and gives it no
/// origin of its own (Content Security Policy Level 3, section 6.2.4).
const NOTHING_RUNS: HeaderValue = HeaderValue::from_static("default-src 'none'; sandbox");

/// What the requests of one connection share.
pub(super) struct Service<H: Handler> {
    pub(super) handler: Arc<H>,
    pub(super) limits: Arc<Limits>,
    pub(super) observer: Arc<Observer>,
    pub(super) peer: Peer,
    pub(super) deliveries: Arc<Deliveries>,
    /// HTTP/2: answers are complete when their stream took them, not when the socket is flushed.
    pub(super) multiplexed: bool,
    /// Where answers are kept that may be given again on this connection.
    pub(super) answers: Option<Arc<Answers<H::Body>>>,
}

/// What a request is decided by, taken once with its head.
struct Begun<R> {
    rules: R,
    /// Read before the rules: they are at least as new. `None` where no answers are kept.
    generation: Option<Generation>,
    /// What was said of the client could be read.
    is_readable: bool,
}

/// Where an answer is to be kept, and of which generation it is going to be.
struct Place {
    key: Key,
    generation: Generation,
}

/// The answer to one request under way. On the heap, because hyper keeps room for it in every
/// connection: inline, an idle connection would cost as much memory as a busy one.
type Answering<H> =
    Pin<Box<dyn Future<Output = Result<Response<ResponseBody<<H as Handler>::Body>>, Infallible>> + Send>>;

impl<H: Handler> Service<H> {
    /// Answers one request. The observation begins before the future runs, so that a request whose
    /// connection ends first is counted as well.
    pub(super) fn call(self: Arc<Self>, mut request: Request<Incoming>) -> Answering<H> {
        let generation = self.answers.as_ref().map(|answers| answers.generation());
        let rules = self.handler.rules();
        let front = rules.as_ref();
        let (peer, is_readable) = match self.peer_of(front, request.headers()) {
            Ok(peer) => (peer, true),
            Err(Unreadable) => (self.peer.clone(), false),
        };
        let told = self.is_proxy(front).then_some(peer.client);
        let observation = Observation::begin(self.observer.clone(), request.method(), told);
        let begun = Begun { rules, generation, is_readable };
        let audited = Audited::begin(request.method(), request.uri(), peer.client);
        let subject = audited.as_ref().map(Audited::subject);
        let traced = Traced::begin(self.observer.tracer.as_ref(), &request, &peer, subject.clone());
        let observation = observation.traced(traced);
        if let Some(subject) = subject.or_else(|| observation.subject()) {
            request.extensions_mut().insert(subject);
        }
        request.extensions_mut().insert(peer);
        Box::pin(async move {
            let response = self.answer(request, observation, begun).await;
            if let Some(audited) = audited {
                audited.answered(response.status());
            }
            Ok(response)
        })
    }

    /// Who sends a request with these headers.
    fn peer_of(&self, front: &Front, headers: &HeaderMap) -> Result<Peer, Unreadable> {
        let values = |name: &str| headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
        Ok(match self.seen(front, values).transpose()? {
            None => self.peer.clone(),
            Some(Seen { client, scheme }) => {
                let Peer { address, client: proxy, scheme: own, certificate, tls_version } = &self.peer;
                // A proxy that shows a certificate speaks for itself with it, and not for whoever is behind it; nor is
                // its TLS theirs.
                let is_own = client == *proxy;
                let certificate = certificate.as_ref().filter(|_| is_own).cloned();
                let tls_version = tls_version.filter(|_| is_own);
                let scheme = scheme.unwrap_or_else(|| own.clone());
                Peer { address: *address, client, scheme, certificate, tls_version }
            }
        })
    }

    /// What a trusted proxy says of a request, by the values that its header fields have.
    pub(super) fn seen<'a>(
        &self,
        front: &Front,
        values: impl Fn(&str) -> Vec<&'a [u8]>,
    ) -> Option<Result<Seen, Unreadable>> {
        self.is_proxy(front).then(|| front.proxies.see(self.peer.client, values))
    }

    /// The connection comes from a proxy that is trusted, so that each of its requests says who the client is.
    pub(super) fn is_proxy(&self, front: &Front) -> bool {
        front.proxies.trusts(self.peer.client)
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        mut observation: Observation,
        begun: Begun<H::Rules>,
    ) -> Response<ResponseBody<H::Body>> {
        let head = request.method() == Method::HEAD;
        let Begun { rules, generation, is_readable } = begun;
        let is_ambiguous = !is_readable || is_ambiguous(&request);
        let (standing, place) = self.standing(&request, generation);
        let mut request = request.map(|incoming| RequestBody::new(incoming, &self.limits, observation.bytes_in()));
        request.extensions_mut().insert(observation.slot());
        if place.is_some() {
            request.extensions_mut().insert(MayRepeat);
        }

        let mut response = if is_ambiguous { ambiguous() } else { self.handle(rules, request, &observation).await };
        let headers = response.headers_mut();
        if self.multiplexed {
            // RFC 9113 section 8.2.2: connections are not for single requests to close.
            headers.remove(header::CONNECTION);
        }
        headers.insert(DISTRIBUTION_API_VERSION, HeaderValue::from_static("registry/2.0"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(CONTENT_SECURITY_POLICY, NOTHING_RUNS);

        let status = response.status();
        observation.answered(status);
        let kept = place.is_some_and(|place| self.keep(place, &mut response, observation.route()));
        if kept || standing == Standing::Answered {
            self.observer.activity.leave();
        }
        let bodiless = head || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let delivery = match self.multiplexed {
            false => Delivery::Socket(self.deliveries.clone()),
            true => Delivery::Stream(Owed::current()),
        };
        response.map(|body| ResponseBody::new(body, bodiless, delivery, observation))
    }

    /// What is known of a request, and where its answer is to be kept if it should be.
    fn standing(&self, request: &Request<Incoming>, generation: Option<Generation>) -> (Standing, Option<Place>) {
        let Some((answers, generation)) = self.answers.as_ref().zip(generation) else { return (Standing::First, None) };
        let Some(plain) = Plain::of(request) else { return (Standing::First, None) };
        let asked = answers.asked(&plain);
        let standing = answers.note(&asked, generation);
        (standing, (standing == Standing::Repeated).then(|| Place { key: asked.into(), generation }))
    }

    /// Keeps an answer if its handler says how it can be given again; tells whether.
    fn keep(&self, place: Place, response: &mut Response<Option<H::Body>>, route: RouteClass) -> bool {
        let repeat = response.extensions_mut().remove::<Repeatable<H::Body>>();
        let holders = response.extensions_mut().remove::<Holders>();
        let (Some(answers), Some(Repeatable(repeat))) = (&self.answers, repeat) else { return false };
        let lasting = match (holders, place.key.has_credentials()) {
            (Some(Holders::Everybody), _) | (None, false) => None,
            (Some(Holders::Same(lasting)), true) => Some(lasting),
            (Some(Holders::Same(_)), false) | (None, true) => return false,
        };
        let Some(head) = answers::head(response, place.key.is_head) else { return false };
        let (status, generation) = (response.status(), place.generation);
        answers.keep(place.key, Answer { head, status, route, repeat, lasting, generation });
        true
    }

    /// The answer of the handler, or 500 when it panicked.
    async fn handle(
        &self,
        rules: H::Rules,
        request: Request<RequestBody>,
        observation: &Observation,
    ) -> Response<Option<H::Body>> {
        match caught(async { self.handler.handle(rules, request).await }).await {
            Ok(response) => response.map(Some),
            Err(panic) => {
                self.observer.metrics.panicked();
                let route = observation.route().as_str();
                tracing::error!(route, panic = message(&*panic), "a handler panicked");
                empty(StatusCode::INTERNAL_SERVER_ERROR)
            }
        }
    }
}

/// Whether servers could disagree about whom an HTTP/1.1 request is for, or where it ends. It must have
/// exactly one Host (RFC 9112 section 3.2), and a transfer coding that is chunked and nothing else
/// (section 6.1): hyper leaves the first to us and looks only at the end of the second.
fn is_ambiguous<B>(request: &Request<B>) -> bool {
    let headers = request.headers();
    let is_chunked = |value: &HeaderValue| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked");
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let is_framed = codings.next().is_none_or(is_chunked) && codings.next().is_none();
    request.version() == Version::HTTP_11 && (headers.get_all(header::HOST).iter().count() != 1 || !is_framed)
}

/// The answer to an ambiguous request, and to one of which cannot be read whose it is. What follows it on the connection is anybody's guess.
fn ambiguous<B>() -> Response<Option<B>> {
    let mut response = empty(StatusCode::BAD_REQUEST);
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// An answer of the server itself. It has no body, so that it needs none of the handler's type.
fn empty<B>(status: StatusCode) -> Response<Option<B>> {
    let mut response = Response::new(None);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    response
}

/// Runs a future to its end or its panic. What it shares with others must keep its own invariants,
/// as it must under cancellation anyway.
async fn caught<T>(future: impl Future<Output = T>) -> Result<T, Box<dyn Any + Send>> {
    let mut future = pin!(future);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}

/// The text of a panic.
fn message(panic: &(dyn Any + Send)) -> &str {
    if let Some(text) = panic.downcast_ref::<&str>() {
        text
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text
    } else {
        "a value that is not text"
    }
}
