//! One request as metrics, the access log and traces see it, from its first byte to its last.
//!
//! An [`Observation`] is made when the head of a request is complete and reports when it is dropped,
//! so a request is counted exactly once on every path: answered, aborted, panicked, cut.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use http::{Method, StatusCode};
use tokio::time::Instant;

use super::{
    activity::Activity,
    trace::{Ended, Traced, Tracer},
};
use crate::{
    access::{Subject, SubjectSlot},
    metrics::{AbortCause, MethodClass, Metrics, RequestRecord, RouteClass},
};

/// Where the router writes what a request is about; found in the request's extensions.
#[derive(Clone, Debug, Default)]
pub struct RouteSlot(Arc<OnceLock<RouteClass>>);

impl RouteSlot {
    /// Names the route of this request. The first call counts.
    pub fn set(&self, route: RouteClass) {
        self.0.get_or_init(|| route);
    }

    /// The route named so far.
    pub fn get(&self) -> RouteClass {
        self.0.get().copied().unwrap_or(RouteClass::Other)
    }
}

/// What the observations of one connection share.
pub(super) struct Observer {
    pub(super) metrics: Arc<Metrics>,
    pub(super) activity: Arc<Activity>,
    pub(super) peer: SocketAddr,
    pub(super) tracer: Option<Arc<dyn Tracer>>,
}

/// How the route of a request becomes known.
enum Named {
    /// The router will write it there.
    Later(RouteSlot),
    Now(RouteClass),
}

pub(super) struct Observation {
    observer: Arc<Observer>,
    /// Behind a proxy.
    client: Option<IpAddr>,
    method: MethodClass,
    began: Instant,
    status: Option<StatusCode>,
    abort: Option<AbortCause>,
    route: Named,
    /// `None` for a request that has no body.
    bytes_in: Option<Arc<AtomicU64>>,
    pub(super) bytes_out: u64,
    /// `None` for most requests, and for all without a tracer.
    traced: Option<Box<Traced>>,
}

impl Observation {
    /// Begins with a complete request head, of a client behind a proxy or the peer itself.
    pub(super) fn begin(observer: Arc<Observer>, method: &Method, client: Option<IpAddr>) -> Self {
        let (route, bytes_in) = (Named::Later(RouteSlot::default()), Some(Arc::default()));
        Observation::of(observer, client, MethodClass::from(method), route, bytes_in)
    }

    /// Begins with a request without a body whose route is known.
    pub(super) fn repeat(
        observer: Arc<Observer>,
        client: Option<IpAddr>,
        method: MethodClass,
        route: RouteClass,
    ) -> Self {
        observer.metrics.repeated();
        Observation::of(observer, client, method, Named::Now(route), None)
    }

    fn of(
        observer: Arc<Observer>,
        client: Option<IpAddr>,
        method: MethodClass,
        route: Named,
        bytes_in: Option<Arc<AtomicU64>>,
    ) -> Self {
        observer.metrics.request_started();
        let began = observer.activity.request_started();
        Observation {
            observer,
            client,
            method,
            began,
            status: None,
            abort: Some(AbortCause::Connection),
            route,
            bytes_in,
            bytes_out: 0,
            traced: None,
        }
    }

    /// The request is one that is written down, if there is something.
    #[must_use]
    pub(super) fn traced(mut self, traced: Option<Box<Traced>>) -> Self {
        self.traced = traced;
        self
    }

    /// Where a trace wants to know who sent the request, if one does.
    pub(super) fn subject(&self) -> Option<SubjectSlot> {
        self.traced.as_ref().map(|traced| traced.subject())
    }

    /// Where the router writes the route.
    pub(super) fn slot(&self) -> RouteSlot {
        match &self.route {
            Named::Later(slot) => slot.clone(),
            Named::Now(_) => RouteSlot::default(),
        }
    }

    /// The route as far as it is known.
    pub(super) fn route(&self) -> RouteClass {
        match &self.route {
            Named::Later(slot) => slot.get(),
            Named::Now(route) => *route,
        }
    }

    /// Counts the bytes of the request's body.
    pub(super) fn bytes_in(&self) -> Arc<AtomicU64> {
        self.bytes_in.clone().unwrap_or_default()
    }

    /// The head of the answer is ready to be sent.
    pub(super) fn answered(&mut self, status: StatusCode) {
        self.status = Some(status);
        self.observer.metrics.first_byte(self.method, self.route(), self.began.elapsed());
    }

    /// The handler failed in the middle of the body.
    pub(super) fn failed(&mut self) {
        self.abort = Some(AbortCause::Body);
    }

    /// The client took no byte for too long.
    pub(super) fn stalled(&mut self) {
        self.abort = Some(AbortCause::Stalled);
    }

    /// The last byte of the answer was delivered.
    pub(super) fn complete(mut self) {
        self.abort = None;
    }
}

impl Drop for Observation {
    fn drop(&mut self) {
        if self.abort == Some(AbortCause::Connection) && self.observer.activity.stalled() {
            self.abort = Some(AbortCause::Stalled);
        }
        let duration = self.began.elapsed();
        let route = self.route();
        self.observer.activity.request_ended();
        self.observer.metrics.request_ended(RequestRecord {
            method: self.method,
            route,
            status: self.status.into(),
            duration,
            abort: self.abort,
        });
        let bytes_in = self.bytes_in.as_ref().map_or(0, |bytes| bytes.load(Ordering::Relaxed));
        if let Some(traced) = self.traced.take() {
            traced.end(Ended {
                duration,
                status: self.status,
                bytes_in,
                bytes_out: self.bytes_out,
                aborted: self.abort.map(AbortCause::as_str),
                subject: Subject::anonymous(),
            });
        }
        // Only fixed words and numbers: nothing a client chose can break a line of the log.
        tracing::info!(
            target: "orlop_api::access",
            method = self.method.as_str(),
            route = route.as_str(),
            status = self.status.map_or(0, |status| status.as_u16()),
            duration_us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX),
            bytes_in,
            bytes_out = self.bytes_out,
            aborted = self.abort.map_or("no", AbortCause::as_str),
            peer = %self.observer.peer,
            client = self.client.map(tracing::field::display),
            "request"
        );
    }
}

/// Answers of one HTTP/1 connection whose bytes are still on their way to the socket.
///
/// It belongs to the socket and to the service, never to an observation, so it goes away with the
/// connection; what is still in it then reports as aborted.
#[derive(Default)]
pub(super) struct Deliveries(Mutex<Vec<Observation>>);

impl Deliveries {
    /// The body has ended; the answer is complete once the socket is flushed. HTTP/1 answers one
    /// request at a time, so there is at most a handful of them.
    pub(super) fn push(&self, observation: Observation) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(observation);
    }

    /// The socket has taken everything.
    pub(super) fn delivered(&self) {
        let done = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        done.into_iter().for_each(Observation::complete);
    }
}
