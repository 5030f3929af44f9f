//! `orlop serve`: opens the store, listens, and stops when asked.
//!
//! In: a configuration. In this order: log, TLS provider, file limit, store, listener, service,
//! store closed. What has become true at each step is needed by the next; they are undone in
//! reverse.

use std::{
    io::{self, IsTerminal},
    net::SocketAddr,
    path::Path,
    sync::Arc,
};

use orlop_api::{
    Current,
    server::{Server, Tls},
};
use orlop_engine::Engine;
use orlop_gc::{Collector, Scrubber};
#[cfg(feature = "telemetry")]
use orlop_telemetry::Telemetry;

#[cfg(feature = "auth")]
use crate::reload::InForce;
use crate::{
    args,
    collector::Maintained,
    config::{self, Address, Config},
    exit::{Exit, Failure},
    hint, huge_pages, log, open_files, private,
    reload::{self, Reloader, Running, Source},
    rules::Rules,
    signals::{Hangup, Signals},
    watch::Watched,
};

/// Serves until a signal. Errors: the configuration, the address, the store; see [`Exit`].
pub async fn run(arguments: &args::Serve) -> Result<(), Failure> {
    let source = Source {
        watched: arguments.config.as_deref().map(Watched::new),
        file: arguments.config.clone(),
        flags: arguments.flags(),
    };
    let mut config = Config::load(source.file.as_deref(), source.flags.clone())?;
    log::start(&config.log)?;
    for note in &config.notes {
        tracing::warn!(note, "configuration");
    }
    // An error says that a provider is installed already, which is all that is wanted.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let open_files_max = open_files::raise_limit();
    private::keep();
    huge_pages::disable();
    // Before the store is opened, so that a signal while it recovers is not lost.
    let (signals, hangup) = listen().map_err(|error| Failure::new(Exit::Failed, error))?;
    open_files::leave_room(&mut config.limits, open_files_max);
    let tls = load(&config.tls)?;
    let root = config.root.clone();
    // Before anything is opened: a file of users that cannot be used must not let everybody in.
    #[cfg(feature = "auth")]
    let rules = Rules::open(&mut config, None)?;
    #[cfg(not(feature = "auth"))]
    let rules = Rules::open(&mut config)?;
    #[cfg(feature = "auth")]
    let auth = InForce::new(rules.auth.clone());
    #[cfg(feature = "telemetry")]
    let traces = traces(&mut config)?;
    let address = resolve(&config.address).await?;
    let options = std::mem::take(&mut config.engine);
    let engine = Engine::open(&root, options).await.map_err(|error| Failure::engine(&root, &error))?;
    // Now that nobody else has the store.
    #[cfg(feature = "auth")]
    if let Some(Err(error)) = auth.get().map(|auth| auth.load()) {
        let failure = Failure::new(Exit::Root, error.to_string());
        return engine.close().await.map_err(|error| Failure::engine(&root, &error)).and(Err(failure));
    }

    let retention = Arc::new(std::mem::take(&mut config.retention));
    let collector = Collector::governed(engine.clone(), config.collection.options(&retention), retention);
    let scrubber = Scrubber::new(engine.clone(), config.scrub.options());
    let maintained = Maintained { collector: collector.clone(), scrubber: scrubber.clone() };
    let registry = rules.begin(engine.clone()).with_maintenance(Arc::new(maintained));
    #[cfg(feature = "telemetry")]
    let registry = match traces.clone() {
        Some(traces) => registry.with_tracer(traces),
        None => registry,
    };
    let bound = registry.bind(address, tls.clone()).and_then(|server| Ok((server.local_addr()?, server)));
    let served = match bound {
        Ok((address, server)) => {
            let scheme = if tls.is_some() { "https" } else { "http" };
            announce(address, scheme, &root, &engine, arguments.hint);
            let running = Running {
                current: (**server.handler()).clone(),
                root: root.clone(),
                engine: engine.clone(),
                collector,
                scrubber,
                tls,
                #[cfg(feature = "auth")]
                auth: auth.clone(),
                open_files_max,
            };
            work(server, running, source, config, (signals, hangup)).await
        }
        Err(error) => Err(bind_failure(address, &error)),
    };
    #[cfg(feature = "telemetry")]
    if let Some(traces) = traces {
        traces.close().await;
    }
    #[cfg(feature = "auth")]
    if let Some(auth) = auth.get() {
        auth.close().await;
    }
    let closed = engine.close().await.map_err(|error| Failure::engine(&root, &error));
    tracing::info!("stopped");
    served.and(closed)
}

/// Serves, and does what is done beside it, until a signal.
async fn work(
    server: Server<Current>,
    running: Running,
    source: Source,
    config: Config,
    (signals, hangup): (Signals, Hangup),
) -> Result<(), Failure> {
    let collecting = running.collector.spawn(config.collection.schedule());
    let scrubbing = running.scrubber.spawn().map_err(|error| Failure::engine(&config.root, &error))?;
    let reloader = Reloader::new(source, running, config.document, config.notes);
    let reloading = tokio::spawn(reloader.run(hangup));
    let served = server.run(signals.stop()).await;
    reloading.abort();
    scrubbing.stop().await;
    collecting.stop().await;
    served.map_err(|error| Failure::new(Exit::Failed, format!("serving failed: {error}")))
}

/// Begins to export traces, if that was asked for. Errors: TLS cannot be set up.
#[cfg(feature = "telemetry")]
fn traces(config: &mut Config) -> Result<Option<Arc<Telemetry>>, Failure> {
    let Some(options) = config.traces.take() else { return Ok(None) };
    let (endpoint, sample) = (options.endpoint.uri().to_string(), options.sample.share());
    let failed = |error| Failure::new(Exit::Failed, format!("\"log.traces\": {error}"));
    let traces = Telemetry::start(options).map_err(failed)?;
    tracing::info!(endpoint, sample, "requests are traced");
    Ok(Some(Arc::new(traces)))
}

/// From now on signals are ours.
fn listen() -> Result<(Signals, Hangup), String> {
    let cannot = |error| format!("cannot receive signals: {error}");
    Ok((Signals::listen().map_err(cannot)?, Hangup::listen().map_err(cannot)?))
}

/// Reads certificate and key, if HTTPS was asked for.
fn load(tls: &config::Tls) -> Result<Option<Tls>, Failure> {
    reload::options(tls).map(reload::load).transpose()
}

/// Looks a host name up; the first address wins.
async fn resolve(address: &Address) -> Result<SocketAddr, Failure> {
    let failed = |reason: &str| Failure::new(Exit::Address, format!("cannot look up {address}: {reason}"));
    let mut found = tokio::net::lookup_host((address.host.as_str(), address.port))
        .await
        .map_err(|error| failed(&error.to_string()))?;
    found.next().ok_or_else(|| failed("the name has no address"))
}

/// Tells operators and scripts where the service is, once it can be reached.
fn announce(address: SocketAddr, scheme: &str, root: &Path, engine: &Engine, hint: bool) {
    let (backend, note) = engine.backend();
    tracing::info!(
        %address,
        scheme,
        root = %root.display(),
        io = %backend,
        note,
        version = env!("CARGO_PKG_VERSION"),
        "listening"
    );
    if hint || io::stderr().is_terminal() {
        eprint!("{}", hint::text(address, scheme));
    }
}

fn bind_failure(address: SocketAddr, error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::AddrInUse => Failure::new(
            Exit::Address,
            format!("{address} is taken by another process; stop it or choose another port"),
        ),
        io::ErrorKind::PermissionDenied => Failure::new(
            Exit::Address,
            format!("not allowed to listen on {address}; ports below 1024 need a privilege"),
        ),
        io::ErrorKind::AddrNotAvailable => {
            Failure::new(Exit::Address, format!("{address} is not an address of this machine"))
        }
        _ => Failure::new(Exit::Failed, format!("cannot listen on {address}: {error}")),
    }
}
