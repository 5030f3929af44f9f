//! What stands between the network and the routes: proxies that requests came through, how many requests a client
//! may send, and the path that all routes are below.
//!
//! In: where a connection comes from and the head of a request. Out: who the client is, whether his request is
//! taken, and its path as the routes know it. Nothing here knows what a route means, and nothing costs anything
//! that is not configured.

mod base_path;
mod by_client;
mod network;
mod proxies;
mod rates;

pub(crate) use self::rates::TooMany;
pub use self::{
    base_path::{BasePath, BasePathError},
    by_client::{ByClient, Fades},
    network::{Network, NetworkError},
    proxies::{ForwardedBy, Proxies, Seen, Unreadable},
    rates::{Rate, Rates},
};

/// All of it; by default there is nothing.
#[derive(Debug, Default)]
pub struct Front {
    pub proxies: Proxies,
    /// `None`: as many requests as one can send.
    pub rates: Option<Rates>,
    pub base_path: BasePath,
}

impl Front {
    /// The same, with what `running` has counted.
    #[must_use]
    pub fn following(self, running: &Front) -> Front {
        let rates = match (self.rates, &running.rates) {
            (Some(rates), Some(running)) => Some(rates.following(running)),
            (rates, _) => rates,
        };
        Front { rates, ..self }
    }
}
