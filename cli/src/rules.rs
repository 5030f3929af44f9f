//! What requests go by, made of the configuration in one way: at the start and each time the file is read again.
//!
//! In: a configuration, and the access control in force, if there is one. Out: a registry that goes by it. What has
//! become true once [`Rules::open`] has returned: nothing can fail any more. A key that is used here is checked, and
//! takes effect, in both cases.

#[cfg(feature = "auth")]
use std::sync::Arc;

#[cfg(feature = "auth")]
use orlop_api::access::Access;
use orlop_api::{Cors, Policy, Registry, front::Front, limits::Limits};
#[cfg(feature = "auth")]
use orlop_auth::Auth;
use orlop_engine::Engine;

use crate::{
    config::Config,
    exit::{Exit, Failure},
};

/// Checked and open, and not in force yet.
pub struct Rules {
    limits: Limits,
    policy: Policy,
    front: Front,
    cors: Option<Cors>,
    #[cfg(feature = "auth")]
    pub auth: Option<Arc<Auth>>,
}

impl Rules {
    /// Takes out of the configuration what it needs, and reads the files that are named there. What `running` knows is
    /// taken over. Errors: what cannot be used.
    pub fn open(config: &mut Config, #[cfg(feature = "auth")] running: Option<&Auth>) -> Result<Self, Failure> {
        config.limits.check().map_err(|error| Failure::new(Exit::Configuration, error))?;
        Ok(Rules {
            cors: cors(config)?,
            limits: config.limits.clone(),
            policy: config.policy,
            front: std::mem::take(&mut config.front),
            #[cfg(feature = "auth")]
            auth: std::mem::take(&mut config.access).open(&config.root, running)?.map(Arc::new),
        })
    }

    /// The first registry over a store.
    pub fn begin(self, engine: Engine) -> Registry {
        let registry = Registry::new(engine, self.limits.clone(), self.policy);
        self.renew(&registry)
    }

    /// The next registry over the store of `running`.
    pub fn renew(self, running: &Registry) -> Registry {
        let registry = running.renewed(self.limits, self.policy, self.front);
        let registry = match self.cors {
            Some(cors) => registry.with_cors(cors),
            None => registry,
        };
        #[cfg(feature = "auth")]
        let registry = match self.auth {
            Some(auth) => registry.with_access(auth as Arc<dyn Access>),
            None => registry,
        };
        registry
    }
}

/// Pages of which origins may read answers; with what they keep for the registry only where people log in.
/// Errors: a text that names no origins.
fn cors(config: &Config) -> Result<Option<Cors>, Failure> {
    #[cfg(feature = "auth")]
    let has_logins = config.access.has_users();
    #[cfg(not(feature = "auth"))]
    let has_logins = false;
    let cors = config.allow_origin.as_deref().map(|text| Cors::new(text, has_logins)).transpose();
    cors.map_err(|error| Failure::new(Exit::Configuration, format!("\"http.allowOrigin\": {error}")))
}
