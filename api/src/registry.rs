//! The registry: an engine behind the distribution protocol. In: one HTTP request. Out: one answer.
//! Everything that goes wrong on the way has become a failure of the one table and then an answer;
//! the connection layer sees no errors.

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
};

use http::{Method, Request, Response};
use orlop_engine::Engine;

use crate::{
    access::{self, Access, Grant},
    body::ResponseBody,
    current::Current,
    handlers::{
        incoming::{self, Incoming},
        scope::{self, Scope},
    },
    health::Health,
    limits::Limits,
    maintenance::{Maintenance, Operators},
    metrics::{Metrics, Statistic, StatisticKind},
    pressure::Pressure,
    protocol::Repository,
    router,
    server::{Server, ServerOptions, Tls},
};

/// What a registry accepts, where the specification leaves the choice to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Policy {
    /// Accept manifests that name blobs or manifests the repository does not have. Off by default:
    /// then whatever can be pulled by a tag can be pulled completely. Mirrors that copy only some
    /// platforms of an index need it on (spec, "Push": a registry MAY reject).
    pub sparse_manifests: bool,
    /// From where operators may ask for collections.
    pub operators: Operators,
    /// Bytes of memory beyond which the process takes no requests that bring bytes: 503 with
    /// `Retry-After`. Default: no bound.
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
    repeats: bool,
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
        let metrics = Metrics::new(env!("CARGO_PKG_VERSION"), move || {
            let mut all = statistics(&counted);
            all.extend(maintained.get().map(|maintenance| maintenance.statistics()).unwrap_or_default());
            all
        });
        let pressure = Arc::new(Pressure::new(policy.memory_bytes_max));
        Registry {
            engine,
            limits: Arc::new(limits),
            policy,
            pressure,
            health,
            metrics,
            maintenance,
            access: None,
            repeats: true,
        }
    }

    /// A registry of the same store, health and numbers with other limits and another policy, and without
    /// access control; see [`Current::exchange`].
    #[must_use]
    pub fn renewed(&self, limits: Limits, policy: Policy) -> Self {
        Registry { limits: Arc::new(limits), policy, access: None, ..self.clone() }
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

    /// Has every request decided by `access` before anything of its body is read.
    #[must_use]
    pub fn with_access(self, access: Arc<dyn Access>) -> Self {
        Registry { access: Some(access), ..self }
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
        };
        Server::bind(current, options)
    }

    /// Answers one request.
    pub async fn answer<B: Incoming>(&self, request: Request<B>) -> Response<ResponseBody> {
        let (head, mut body) = request.into_parts();
        let mut response = match router::route(self, &head, &mut body).await {
            Ok(response) => response,
            Err(failure) => failure.into_response(),
        };
        incoming::drain(&head.headers, &mut body, self.limits.unread_bytes_max).await;
        // RFC 9110 section 9.3.2: the headers of a GET without its content.
        if head.method == Method::HEAD {
            *response.body_mut() = ResponseBody::empty();
        }
        response
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
            may_repeat: false,
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
