//! The registry: an engine behind the distribution protocol. In: one HTTP request. Out: one answer.
//! Everything that goes wrong on the way has become a failure of the one table and then an answer;
//! the connection layer sees no errors.

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
};

use http::{Method, Request, Response, request::Parts};
use orlop_engine::Engine;

use crate::{
    access::{self, Access, Grant, Subject, SubjectSlot},
    body::ResponseBody,
    cors::Cors,
    current::Current,
    front::Front,
    handlers::{
        error_map::Failure,
        incoming::{self, Incoming},
        scope::{self, Scope},
    },
    health::Health,
    limits::Limits,
    maintenance::{Maintenance, Operators},
    metrics::{Metrics, Statistic, StatisticKind},
    pressure::Pressure,
    protocol::{Repository, Route, route::RouteError},
    router,
    server::{Server, ServerOptions, Tls, Tracer},
};

/// What a registry accepts, where the specification leaves the choice to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Policy {
    /// Accept manifests that name blobs or manifests the repository does not have. Off by default:
    /// then whatever can be pulled by a tag can be pulled completely. Mirrors that copy only some
    /// platforms of an index need it on (spec, "Push": a registry MAY reject).
    pub sparse_manifests: bool,
    /// Uploads belong to their repository alone: whoever may push to it and knows the random address of one can go on
    /// with it. Off by default: then they belong to the user who began them.
    pub shared_uploads: bool,
    /// From where operators may ask for collections.
    pub operators: Operators,
    /// Bytes of memory beyond which the process takes no requests that bring bytes: 503 with
    /// `Retry-After`. Pulls are told the same when it uses a sixth more. Default: no bound.
    pub memory_bytes_max: Option<u64>,
}

/// Answers requests. Cheap to clone; all clones are the same registry.
#[derive(Clone)]
pub struct Registry {
    pub(crate) engine: Engine,
    pub(crate) limits: Arc<Limits>,
    pub(crate) policy: Policy,
    pub(crate) pressure: Arc<Pressure>,
    pub(crate) health: Health,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) maintenance: Arc<OnceLock<Arc<dyn Maintenance>>>,
    /// `None`: everybody may do everything.
    pub(crate) access: Option<access::Shared>,
    /// `None`: pages of other origins may not read answers.
    cors: Option<Arc<Cors>>,
    repeats: bool,
    pub(crate) front: Arc<Front>,
    tracer: Arc<OnceLock<Arc<dyn Tracer>>>,
}

impl Registry {
    /// A registry over an open engine, with its own health and metrics. It is healthy once a
    /// [`Server`] runs it.
    pub fn new(engine: Engine, limits: Limits, policy: Policy) -> Self {
        let asked = engine.clone();
        let health = Health::new(move || asked.accepting().map_err(|error| error.to_string()));
        let counted = engine.clone();
        let maintenance = Arc::<OnceLock<Arc<dyn Maintenance>>>::default();
        let maintained = maintenance.clone();
        let tracer = Arc::<OnceLock<Arc<dyn Tracer>>>::default();
        let traced = tracer.clone();
        let metrics = Metrics::new(env!("CARGO_PKG_VERSION"), move || {
            let mut all = statistics(&counted);
            all.extend(maintained.get().map(|maintenance| maintenance.statistics()).unwrap_or_default());
            all.extend(traced.get().map(|tracer| tracer.statistics()).unwrap_or_default());
            all
        });
        let pressure = Arc::new(Pressure::new(policy.memory_bytes_max, limits.http1_buffer_bytes_max));
        Registry {
            engine,
            limits: Arc::new(limits),
            policy,
            pressure,
            health,
            metrics,
            maintenance,
            access: None,
            cors: None,
            repeats: true,
            front: Arc::default(),
            tracer,
        }
    }

    /// A registry of the same store, health and numbers with other limits, another policy and another front, and
    /// without access control and other origins; see [`Current::exchange`]. What clients have sent counts on.
    #[must_use]
    pub fn renewed(&self, limits: Limits, policy: Policy, front: Front) -> Self {
        let front = Arc::new(front.following(&self.front));
        Registry { limits: Arc::new(limits), policy, front, access: None, cors: None, ..self.clone() }
    }

    /// Whether answers that still hold are given again without asking the handlers; on by default. Clients cannot
    /// tell, except by the time it takes.
    #[must_use]
    pub fn with_repeats(self, repeats: bool) -> Self {
        Registry { repeats, ..self }
    }

    /// Lets operators ask for what `maintenance` can do. The first one given stays.
    #[must_use]
    pub fn with_maintenance(self, maintenance: Arc<dyn Maintenance>) -> Self {
        let _ = self.maintenance.set(maintenance);
        self
    }

    /// Says who stands between clients and the registry, and what they may ask for.
    #[must_use]
    pub fn with_front(self, front: Front) -> Self {
        Registry { front: Arc::new(front), ..self }
    }

    /// Has every request decided by `access` before anything of its body is read.
    #[must_use]
    pub fn with_access(self, access: Arc<dyn Access>) -> Self {
        Registry { access: Some(access), ..self }
    }

    /// Has requests written down as spans of traces. The first tracer given stays.
    #[must_use]
    pub fn with_tracer(self, tracer: Arc<dyn Tracer>) -> Self {
        let _ = self.tracer.set(tracer);
        self
    }

    /// Lets pages of other origins read answers.
    #[must_use]
    pub fn with_cors(self, cors: Cors) -> Self {
        Registry { cors: Some(Arc::new(cors)), ..self }
    }

    /// Binds a server for this registry. Port 0 lets the system choose; without `tls` it serves
    /// plain HTTP. Must be called within a tokio runtime.
    ///
    /// Errors: a limit out of its range, or an address that cannot be bound.
    pub fn bind(&self, address: SocketAddr, tls: Option<Tls>) -> std::io::Result<Server<Current>> {
        let invalid = |error| std::io::Error::new(std::io::ErrorKind::InvalidInput, error);
        let current = Current::new(self.clone()).map_err(invalid)?;
        let options = ServerOptions {
            address,
            tls,
            live: current.live().clone(),
            metrics: self.metrics.clone(),
            health: self.health.clone(),
            repeats: self.repeats,
            tracer: self.tracer.get().cloned(),
        };
        Server::bind(current, options)
    }

    /// Answers one request.
    pub async fn answer<B: Incoming>(&self, request: Request<B>) -> Response<ResponseBody> {
        let (mut head, mut body) = request.into_parts();
        let browser = self.access.as_ref().filter(|_| head.headers.contains_key(access::BROWSER));
        if browser.is_some() && head.extensions.get::<SubjectSlot>().is_none() {
            head.extensions.insert(SubjectSlot::default());
        }
        let base_path = &self.front.base_path;
        let has_route = base_path.is_empty() || self.strip(&mut head);
        let answered = match has_route {
            true => router::route(self, &head, &mut body).await,
            false => router::not_too_many(self, &head).and(Err(RouteError::NotARoute.into())),
        };
        let mut response = answered.unwrap_or_else(Failure::into_response);
        if let Some(access) = browser {
            let subject = head.extensions.get().map_or(Subject::anonymous(), SubjectSlot::get);
            let status = response.status();
            access.settle(&subject, &head, status, response.headers_mut());
        }
        if !base_path.is_empty() {
            base_path.prefix(response.headers_mut());
        }
        if let Some(cors) = &self.cors {
            cors.allow(&head, response.headers_mut());
        }
        incoming::drain(&head.headers, &mut body, self.limits.unread_bytes_max, &self.pressure).await;
        // RFC 9110 section 9.3.2: the headers of a GET without its content.
        if head.method == Method::HEAD {
            *response.body_mut() = ResponseBody::empty();
        }
        response
    }

    /// Takes the base path off. False for what is not below it, except for probes, which know nothing of it.
    fn strip(&self, head: &mut Parts) -> bool {
        match self.front.base_path.strip(&head.uri) {
            Some(uri) => head.uri = uri,
            None => return matches!(Route::parse(head.uri.path()), Ok(Route::Health(_))),
        }
        true
    }

    /// What stands before the routes.
    pub fn front(&self) -> &Front {
        &self.front
    }

    pub fn health(&self) -> &Health {
        &self.health
    }

    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    pub(crate) fn scope<'a>(&'a self, repository: &'a Repository, grant: &'a Grant) -> Scope<'a> {
        Scope {
            engine: &self.engine,
            limits: &self.limits,
            policy: self.policy,
            holders: None,
            pressure: &self.pressure,
            namespace: scope::namespace(repository),
            repository,
            grant,
        }
    }
}

/// The engine's counters and gauges for a scrape.
fn statistics(engine: &Engine) -> Vec<Statistic> {
    let counter = |(name, help, value)| Statistic { name, help, kind: StatisticKind::Counter, value, label: None };
    let mut statistics: Vec<Statistic> = engine.statistics().rows().into_iter().map(counter).collect();
    statistics.push(Statistic {
        name: "uploads_open",
        help: "Uploads that are running or can be resumed",
        kind: StatisticKind::Gauge,
        value: engine.uploads_open() as u64,
        label: None,
    });
    statistics.push(Statistic {
        name: "journal_whole",
        help: "1 if a lost index could be made again from the journal, else 0",
        kind: StatisticKind::Gauge,
        value: u64::from(engine.journal_is_whole()),
        label: None,
    });
    let quotas = engine.quotas();
    let gauge = |name, help, prefix: &str, value| {
        let label = Some(("prefix", prefix.to_owned()));
        Statistic { name, help, kind: StatisticKind::Gauge, value, label }
    };
    statistics.extend(quotas.iter().map(|quota| {
        gauge("quota_used_bytes", "Logical bytes of the repositories of a quota", &quota.prefix, quota.used_bytes)
    }));
    statistics.extend(
        quotas.iter().map(|quota| {
            gauge("quota_limit_bytes", "Logical bytes that a quota allows", &quota.prefix, quota.max_bytes)
        }),
    );
    statistics
}
