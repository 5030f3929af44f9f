//! A login under way: what only the browser that has begun it can show.

use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use http::{HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};

use super::CALLBACK_PATH;
use crate::{
    base64url,
    cookie::{self, Cookie, Site},
    logins::{KEY_BYTES, fill_random, random_key},
    seal::Sealer,
    sessions::now,
    spent::{ID_BYTES, Id, Span, Spent},
};

/// The cookie of a login under way; the name is zot's.
const NAME: &str = "statecookie";

/// How long somebody may take to log in at the provider.
const LIFETIME: Duration = Duration::from_secs(10 * 60);

/// What the sealed text is for.
const PURPOSE: &str = "login";

/// A login that was begun.
#[derive(Debug, Serialize, Deserialize)]
pub struct Pending {
    id: Id,
    begins: u64,
    pub provider: String,
    /// What the provider sends back (RFC 6749 section 10.12).
    pub state: String,
    /// What the provider puts into what it signs (OpenID Connect Core, section 3.1.2.1).
    pub nonce: String,
    /// What goes with the code (RFC 7636).
    pub verifier: String,
    /// Where the provider sends the browser back to.
    pub redirect_uri: String,
    /// Where the browser goes on afterwards; may be empty.
    pub destination: String,
}

impl Pending {
    pub fn new(provider: &str, redirect_uri: String, destination: String) -> Self {
        let mut id = [0; ID_BYTES];
        fill_random(&mut id);
        let random = || base64url::encode(&random_key());
        // A verifier has at least 43 characters (RFC 7636 section 4.1).
        const { assert!(KEY_BYTES >= 32) };
        let (state, nonce, verifier) = (random(), random(), random());
        let provider = provider.to_owned();
        Pending { id, begins: now(), provider, state, nonce, verifier, redirect_uri, destination }
    }

    /// The cookie for the browser. It is sent back with what comes from the provider, and with nothing else.
    pub fn cookie(&self, sealer: &Sealer, site: Site<'_>) -> HeaderValue {
        let content = serde_json::to_vec(self).expect("it has nothing that JSON cannot say");
        kept(&sealer.seal(PURPOSE, &content), LIFETIME, site)
    }

    /// The login that a browser has begun, if its time is not over.
    pub fn read(sealer: &Sealer, headers: &HeaderMap) -> Option<Self> {
        let content = sealer.open(PURPOSE, cookie::read(headers, NAME)?)?;
        serde_json::from_slice(&content).ok().filter(|pending: &Pending| now() < pending.span().ends)
    }

    pub fn is_state(&self, state: &str) -> bool {
        verify_slices_are_equal(self.state.as_bytes(), state.as_bytes()).is_ok()
    }

    /// Whether this is the first time that it comes back. There is no second one.
    pub fn spend(&self, spent: &Spent) -> bool {
        spent.spend(self.id, self.span(), now())
    }

    fn span(&self) -> Span {
        Span { begins: self.begins, ends: self.begins.saturating_add(LIFETIME.as_millis() as u64) }
    }
}

/// Makes the browser forget it.
pub fn forgotten(site: Site<'_>) -> HeaderValue {
    kept("", Duration::ZERO, site)
}

fn kept(value: &str, lifetime: Duration, site: Site<'_>) -> HeaderValue {
    let path = [site.base_path, CALLBACK_PATH].concat();
    Cookie { name: NAME, value, path: &path, lifetime, is_hidden: true, is_secure: site.is_secure }.value()
}

#[cfg(test)]
mod tests {
    use http::header::COOKIE;

    use super::*;

    const SITE: Site<'_> = Site { base_path: "/registry", is_secure: true };

    #[test]
    fn a_login_comes_back_once_to_the_browser_that_began_it() {
        let sealer = Sealer::random();
        let pending = Pending::new("oidc", "http://a/zot/auth/callback/oidc".into(), "/home".into());
        let cookie = pending.cookie(&sealer, SITE);
        let text = cookie.to_str().expect("ASCII");
        assert!(
            text.ends_with("; Path=/registry/zot/auth/callback; Max-Age=600; SameSite=Lax; HttpOnly; Secure"),
            "{text}"
        );
        assert!(!text.contains(&pending.verifier) && !text.contains(&pending.state));
        let sent = HeaderMap::from_iter([(COOKIE, cookie.clone())]);
        let found = Pending::read(&sealer, &sent).expect("the same");
        assert!(found.is_state(&pending.state) && !found.is_state("") && !found.is_state(&pending.nonce));
        let spent = Spent::new();
        assert!(found.spend(&spent) && !found.spend(&spent) && !pending.spend(&spent));
        assert!(Pending::read(&Sealer::random(), &sent).is_none());
        assert!(Pending::read(&sealer, &HeaderMap::new()).is_none());
        let session = sealer.seal("session", br#"{"id":[0]}"#);
        let field = HeaderValue::from_str(&format!("{NAME}={session}")).expect("a field");
        assert!(Pending::read(&sealer, &HeaderMap::from_iter([(COOKIE, field)])).is_none(), "of another purpose");
    }

    #[test]
    fn a_login_has_its_time() {
        let sealer = Sealer::random();
        let mut pending = Pending::new("oidc", String::new(), String::new());
        pending.begins -= LIFETIME.as_millis() as u64;
        let sent = HeaderMap::from_iter([(COOKIE, pending.cookie(&sealer, SITE))]);
        assert!(Pending::read(&sealer, &sent).is_none());
    }
}
