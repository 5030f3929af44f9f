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
    Cors, Registry,
    server::{Tls, TlsOptions},
};
use orlop_engine::Engine;
use orlop_gc::{Collector, Scrubber};

use crate::{
    args,
    collector::Maintained,
    config::{self, Address, Config},
    exit::{Exit, Failure},
    hint, huge_pages, log, open_files, private,
    signals::Signals,
};

/// Serves until a signal. Errors: the configuration, the address, the store; see [`Exit`].
pub async fn run(arguments: &args::Serve) -> Result<(), Failure> {
    #[cfg_attr(not(feature = "auth"), expect(unused_mut, reason = "only access is taken out of it"))]
    let mut config = Config::load(arguments.config.as_deref(), arguments.flags())?;
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
    let signals =
        Signals::listen().map_err(|error| Failure::new(Exit::Failed, format!("cannot receive signals: {error}")))?;

    #[cfg(feature = "auth")]
    let access = std::mem::take(&mut config.access);
    #[cfg(feature = "auth")]
    let has_logins = access.has_users();
    #[cfg(not(feature = "auth"))]
    let has_logins = false;
    let cors = config.allow_origin.as_deref().map(|text| Cors::new(text, has_logins)).transpose();
    let cors = cors.map_err(|error| Failure::new(Exit::Configuration, format!("\"http.allowOrigin\": {error}")))?;
    let Config { root, engine: options, address, tls, mut limits, policy, front, collection, retention, scrub, .. } =
        config;
    open_files::leave_room(&mut limits, open_files_max);
    let tls = load(&tls)?;
    // Before anything is opened: a file of users that cannot be used must not let everybody in.
    #[cfg(feature = "auth")]
    let access = access.open(&root)?.map(Arc::new);
    let scheme = if tls.is_some() { "https" } else { "http" };
    let address = resolve(&address).await?;
    let engine = Engine::open(&root, options).await.map_err(|error| Failure::engine(&root, &error))?;
    // Now that nobody else has the store.
    #[cfg(feature = "auth")]
    if let Some(Err(error)) = access.as_ref().map(|access| access.load()) {
        let failure = Failure::new(Exit::Root, error.to_string());
        return engine.close().await.map_err(|error| Failure::engine(&root, &error)).and(Err(failure));
    }

    let collector = Collector::governed(engine.clone(), collection.options(&retention), Arc::new(retention));
    let registry = Registry::new(engine.clone(), limits, policy).with_front(front);
    #[cfg(feature = "auth")]
    let registry = match &access {
        Some(access) => registry.with_access(access.clone()),
        None => registry,
    };
    let registry = match cors {
        Some(cors) => registry.with_cors(cors),
        None => registry,
    };
    let scrubber = Scrubber::new(engine.clone(), scrub.options());
    let registry =
        registry.with_maintenance(Arc::new(Maintained { collector: collector.clone(), scrubber: scrubber.clone() }));
    let bound = registry.bind(address, tls).and_then(|server| Ok((server.local_addr()?, server)));
    let served = match bound {
        Ok((address, server)) => {
            announce(address, scheme, &root, &engine, arguments.hint);
            let collecting = collector.spawn(collection.schedule());
            let scrubbing = scrubber.spawn().map_err(|error| Failure::engine(&root, &error))?;
            let served = server.run(signals.stop()).await;
            scrubbing.stop().await;
            collecting.stop().await;
            served.map_err(|error| Failure::new(Exit::Failed, format!("serving failed: {error}")))
        }
        Err(error) => Err(bind_failure(address, &error)),
    };
    #[cfg(feature = "auth")]
    if let Some(access) = access {
        access.close().await;
    }
    let closed = engine.close().await.map_err(|error| Failure::engine(&root, &error));
    tracing::info!("stopped");
    served.and(closed)
}

/// Reads certificate and key, if HTTPS was asked for.
fn load(tls: &config::Tls) -> Result<Option<Tls>, Failure> {
    let Some((certificates, key)) = tls.files() else {
        return Ok(None);
    };
    let options = TlsOptions {
        certificates: certificates.to_owned(),
        key: key.to_owned(),
        client_authorities: tls.client_authorities().map(Path::to_owned),
    };
    let unusable = |error| Failure::new(Exit::Configuration, format!("\"http.tls\": {error}"));
    Tls::load(options).map(Some).map_err(unusable)
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
