//! One request as metrics and the access log see it, from its first byte to its last.
//!
//! An [`Observation`] is made when the head of a request is complete and reports when it is dropped,
//! so a request is counted exactly once on every path: answered, aborted, panicked, cut.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use http::{Method, StatusCode};
use tokio::time::Instant;

use super::activity::Activity;
use crate::metrics::{AbortCause, MethodClass, Metrics, RequestRecord, RouteClass};

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

pub(super) struct Observation {
    metrics: Arc<Metrics>,
    activity: Arc<Activity>,
    method: MethodClass,
    peer: SocketAddr,
    began: Instant,
    status: Option<StatusCode>,
    abort: Option<AbortCause>,
    pub(super) route: RouteSlot,
    pub(super) bytes_in: Arc<AtomicU64>,
    pub(super) bytes_out: u64,
}

impl Observation {
    /// Begins with a complete request head.
    pub(super) fn begin(metrics: Arc<Metrics>, activity: Arc<Activity>, method: &Method, peer: SocketAddr) -> Self {
        metrics.request_started();
        let began = activity.request_started();
        Observation {
            metrics,
            activity,
            method: MethodClass::from(method),
            peer,
            began,
            status: None,
            abort: Some(AbortCause::Connection),
            route: RouteSlot::default(),
            bytes_in: Arc::default(),
            bytes_out: 0,
        }
    }

    /// The head of the answer is ready to be sent.
    pub(super) fn answered(&mut self, status: StatusCode) {
        self.status = Some(status);
        self.metrics.first_byte(self.method, self.route.get(), self.began.elapsed());
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
        if self.abort == Some(AbortCause::Connection) && self.activity.stalled() {
            self.abort = Some(AbortCause::Stalled);
        }
        let duration = self.began.elapsed();
        let route = self.route.get();
        self.activity.request_ended();
        self.metrics.request_ended(RequestRecord {
            method: self.method,
            route,
            status: self.status.into(),
            duration,
            abort: self.abort,
        });
        // Only fixed words and numbers: nothing a client chose can break a line of the log.
        tracing::info!(
            target: "orlop_api::access",
            method = self.method.as_str(),
            route = route.as_str(),
            status = self.status.map_or(0, |status| status.as_u16()),
            duration_us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX),
            bytes_in = self.bytes_in.load(Ordering::Relaxed),
            bytes_out = self.bytes_out,
            aborted = self.abort.map_or("no", AbortCause::as_str),
            peer = %self.peer,
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
