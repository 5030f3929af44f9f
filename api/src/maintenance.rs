//! What operators ask of a running registry: the seam to whoever collects and scrubs.
//!
//! This crate knows the paths, who may use them and how the answer travels; what a collection or a scrub
//! is, and what its report says, is known where it is implemented.

use std::{future::Future, net::IpAddr, pin::Pin};

use http::{HeaderMap, HeaderName, header::FORWARDED};

use crate::metrics::Statistic;

/// A document that takes reading the store.
pub type Document<'a> = Pin<Box<dyn Future<Output = orlop_engine::Result<String>> + Send + 'a>>;

/// Carries out what operators ask for.
pub trait Maintenance: Send + Sync + 'static {
    /// Asks for a collection. False: one is under way or asked for already.
    fn start_collection(&self) -> bool;

    /// What collection does and did, as a JSON document.
    fn collection(&self) -> String;

    /// Asks for a scrub. False: one is under way or asked for already.
    fn start_scrub(&self) -> bool {
        false
    }

    /// What the scrub does and did, and the blobs that are damaged, as a JSON document. `None` if nobody
    /// scrubs.
    fn scrub(&self) -> Option<Document<'_>> {
        None
    }

    /// Numbers for a scrape; must not block.
    fn statistics(&self) -> Vec<Statistic>;
}

/// From where operators may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Operators {
    /// From the machine itself, and not through a proxy.
    #[default]
    Loopback,
    /// From everywhere: something in front of the registry decides.
    Anywhere,
    /// From nowhere.
    Nowhere,
}

/// Says that a request came through a proxy, as [`FORWARDED`] does: then the peer is not the client.
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

impl Operators {
    /// Whether a request from `peer` with these headers may be an operator's.
    pub fn admit(self, peer: Option<IpAddr>, headers: &HeaderMap) -> bool {
        let is_forwarded = [FORWARDED, X_FORWARDED_FOR].iter().any(|name| headers.contains_key(name));
        match self {
            Operators::Loopback => !is_forwarded && peer.is_some_and(|peer| peer.to_canonical().is_loopback()),
            Operators::Anywhere => true,
            Operators::Nowhere => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_the_machine_itself_is_admitted_unless_said_otherwise() {
        let none = HeaderMap::new();
        let mut forwarded = HeaderMap::new();
        forwarded.insert(X_FORWARDED_FOR, HeaderValue::from_static("192.0.2.1"));
        let address = |text: &str| Some(text.parse::<IpAddr>().expect("an address"));
        for (peer, headers, is_local) in [
            (address("127.0.0.1"), &none, true),
            (address("127.1.2.3"), &none, true),
            (address("::1"), &none, true),
            (address("::ffff:127.0.0.1"), &none, true),
            (address("::ffff:192.0.2.1"), &none, false),
            (address("192.0.2.1"), &none, false),
            (address("127.0.0.1"), &forwarded, false),
            (None, &none, false),
        ] {
            assert_eq!(Operators::Loopback.admit(peer, headers), is_local, "{peer:?}");
            assert!(Operators::Anywhere.admit(peer, headers));
            assert!(!Operators::Nowhere.admit(peer, headers));
        }
    }
}
