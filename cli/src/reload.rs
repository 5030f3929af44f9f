//! Reading the configuration again while the service runs.
//!
//! In: SIGHUP, a change of the configuration file, or one of the files of the certificate. What has become true
//! afterwards: everything that can change without a new start is as the file says, all of it at once or, with a file
//! that cannot be used, nothing; the log says which keys changed, and which wait for the next start.

#[cfg(feature = "auth")]
use std::sync::{Mutex, PoisonError};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use orlop_api::{
    Current,
    server::{Tls, TlsOptions},
};
#[cfg(feature = "auth")]
use orlop_auth::Auth;
use orlop_engine::{Allowances, Engine};
use orlop_gc::{Collector, Scrubber};
use tokio::{
    runtime::Handle,
    time::{MissedTickBehavior, interval},
};

use crate::{
    config::{self, Config, Flags, changes, described::Effect, value::Value},
    exit::{Exit, Failure},
    log, open_files,
    rules::Rules,
    signals::Hangup,
    watch::Watched,
};

/// How often files are looked at. A change counts at the second look that finds it.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Where the configuration comes from.
pub struct Source {
    pub file: Option<PathBuf>,
    pub flags: Flags,
    /// What is known of the file. Make it before the file is read.
    pub watched: Option<Watched>,
}

/// What runs, and can be told to run otherwise.
pub struct Running {
    pub current: Current,
    /// Where the store is that is served, whatever the file says by now.
    pub root: PathBuf,
    pub engine: Engine,
    pub collector: Collector,
    pub scrubber: Scrubber,
    pub tls: Option<Tls>,
    #[cfg(feature = "auth")]
    pub auth: InForce,
    pub open_files_max: u64,
}

/// The access control in force, for whoever reads the configuration again and whoever ends it all.
#[cfg(feature = "auth")]
#[derive(Clone)]
pub struct InForce(Arc<Mutex<Option<Arc<Auth>>>>);

#[cfg(feature = "auth")]
impl InForce {
    pub fn new(auth: Option<Arc<Auth>>) -> Self {
        InForce(Arc::new(Mutex::new(auth)))
    }

    pub fn get(&self) -> Option<Arc<Auth>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, auth: Option<Arc<Auth>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = auth;
    }
}

/// Brings what runs up to what is configured.
pub struct Reloader {
    source: Source,
    running: Running,
    /// The file at the start, by which what waits for the next start is told.
    started: Value,
    /// The file as it was last taken.
    taken: Value,
    notes: Vec<String>,
    certificate: Vec<Watched>,
}

/// A configuration of which nothing is in force yet, and nothing can fail any more but the store.
struct Prepared {
    config: Config,
    rules: Rules,
    allowances: Allowances,
    logs: log::Opened,
    /// Read from other files than before.
    tls: Option<Tls>,
}

impl Reloader {
    /// `document` and `notes` are those of the configuration that runs.
    pub fn new(source: Source, running: Running, document: Value, notes: Vec<String>) -> Self {
        let certificate = watch_all(running.tls.as_ref());
        Reloader { source, running, started: document.clone(), taken: document, notes, certificate }
    }

    /// Looks and listens until it is dropped.
    pub async fn run(mut self, mut hangup: Hangup) {
        let mut looks = interval(LOOK_INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_asked = tokio::select! {
                () = hangup.next() => true,
                _ = looks.tick() => false,
            };
            // Files may be large, and on a disk that is slow.
            let looked = tokio::task::spawn_blocking(move || {
                self.look(is_asked);
                self
            });
            match looked.await {
                Ok(reloader) => self = reloader,
                Err(error) => {
                    if error.is_panic() {
                        tracing::error!("reading the configuration again failed badly; it is not tried any more");
                    }
                    return;
                }
            }
        }
    }

    fn look(&mut self, is_asked: bool) {
        if is_asked {
            log::reopen();
            // Before they are read: what comes later is new again.
            self.source.watched = self.source.file.as_deref().map(Watched::new);
            self.certificate = watch_all(self.running.tls.as_ref());
        }
        let is_new = self.source.watched.as_mut().is_some_and(Watched::has_changed);
        if is_asked || is_new {
            self.reload(is_asked);
        }
        // All of them are looked at, whichever has changed.
        let changed = self.certificate.iter_mut().filter_map(|file| file.has_changed().then_some(())).count();
        if is_asked || changed > 0 {
            self.reload_certificate();
        }
    }

    fn reload(&mut self, is_asked: bool) {
        let Some(file) = self.source.file.clone() else {
            tracing::info!("there is no configuration file to be read again");
            return;
        };
        let prepared = match self.prepare(&file) {
            Ok(prepared) => prepared,
            Err(error) => {
                tracing::error!(%error, "the configuration stays as it was");
                return;
            }
        };
        let document = prepared.config.document.clone();
        let live = changes::between(&self.taken, &document, Effect::Live);
        let mut waiting = changes::between(&self.started, &document, Effect::Restart);
        if prepared.config.tls.files().is_some() != self.running.tls.is_some() {
            waiting.push("http.tls".to_owned());
        }
        for note in prepared.config.notes.iter().filter(|note| !self.notes.contains(note)) {
            tracing::warn!(note, "configuration");
        }
        self.notes = prepared.config.notes.clone();
        if (is_asked || !live.is_empty())
            && let Err(error) = self.apply(prepared, &live)
        {
            tracing::error!(%error, "the configuration stays as it was");
            return;
        }
        self.taken = document;
        if !waiting.is_empty() {
            tracing::warn!(keys = waiting.join(", "), "these keys take effect with the next start");
        }
        tracing::info!(file = %file.display(), changed = live.join(", "), "the configuration was read again");
    }

    /// Reads everything that can fail. Errors: what is wrong with it.
    fn prepare(&self, file: &Path) -> Result<Prepared, Failure> {
        let mut config = Config::load(Some(file), self.source.flags.clone())?;
        config.root.clone_from(&self.running.root);
        open_files::leave_room(&mut config.limits, self.running.open_files_max);
        let tls = match (&self.running.tls, options(&config.tls)) {
            (Some(tls), Some(options)) if options.files() != tls.options().files() => Some(load(options)?),
            _ => None,
        };
        Ok(Prepared {
            tls,
            allowances: Allowances::from(&config.engine),
            rules: self.rules(&mut config)?,
            logs: log::open(&config.log)?,
            config,
        })
    }

    /// What requests go by as the file says it, with what is known by what is in force.
    #[cfg(feature = "auth")]
    fn rules(&self, config: &mut Config) -> Result<Rules, Failure> {
        let running = self.running.auth.get();
        let rules = Rules::open(config, running.as_deref())?;
        if let Some(auth) = rules.auth.as_ref().filter(|_| !running.is_some_and(|running| running.has_keys())) {
            auth.load().map_err(|error| Failure::new(Exit::Root, error.to_string()))?;
        }
        Ok(rules)
    }

    #[cfg(not(feature = "auth"))]
    fn rules(&self, config: &mut Config) -> Result<Rules, Failure> {
        Rules::open(config)
    }

    /// Errors: what the store says; then nothing has changed.
    fn apply(&mut self, prepared: Prepared, live: &[String]) -> Result<(), Failure> {
        let Prepared { config, rules, allowances, logs, tls } = prepared;
        let allowed = Handle::current().block_on(self.running.engine.allow(allowances));
        allowed.map_err(|error| Failure::engine(&config.root, &error))?;
        log::exchange(logs);
        #[cfg(feature = "auth")]
        {
            if rules.auth.is_none() && self.running.auth.get().is_some() {
                tracing::warn!("there is no access control any more: everybody may do everything");
            }
            self.running.auth.set(rules.auth.clone());
        }
        let next = rules.renew(&self.running.current.registry());
        self.running.current.exchange(next).map_err(|error| Failure::new(Exit::Configuration, error))?;
        if let (Some(running), Some(renewed)) = (&self.running.tls, tls) {
            running.exchange(&renewed);
            self.certificate = watch_all(Some(running));
        }
        let has_changed = |begin: &str| live.iter().any(|key| key.starts_with(begin));
        if has_changed("storage.gc") || has_changed(config::retention::KEY) {
            let options = config.collection.options(&config.retention);
            self.running.collector.change(options, Arc::new(config.retention), config.collection.schedule());
        }
        if has_changed("extensions.scrub") {
            self.running.scrubber.change(config.scrub.options());
        }
        Ok(())
    }

    fn reload_certificate(&self) {
        let Some(tls) = &self.running.tls else { return };
        match tls.reload() {
            Ok(()) => tracing::info!("the certificate and its key were read again"),
            Err(error) => tracing::error!(%error, "the certificate and its key stay as they were"),
        }
    }
}

fn watch_all(tls: Option<&Tls>) -> Vec<Watched> {
    let files = tls.map(|tls| tls.options().files()).unwrap_or_default();
    files.iter().map(|file| Watched::new(file)).collect()
}

/// What HTTPS is served with, if it was asked for.
pub fn options(tls: &config::Tls) -> Option<TlsOptions> {
    let (certificates, key) = tls.files()?;
    Some(TlsOptions {
        certificates: certificates.to_owned(),
        key: key.to_owned(),
        client_authorities: tls.client_authorities().map(Path::to_owned),
    })
}

/// Reads certificate and key.
pub fn load(options: TlsOptions) -> Result<Tls, Failure> {
    Tls::load(options).map_err(|error| Failure::new(Exit::Configuration, format!("\"http.tls\": {error}")))
}
