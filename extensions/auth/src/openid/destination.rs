//! Where a browser goes after a login: to a page of the registry, or of an origin that the operator names. Anywhere
//! else it would carry somebody to a page that looks like ours (open redirect, CWE-601).

use openidconnect::url::{Origin, Url};

use super::ProviderError;

/// Where it goes if it is not to go where it was asked to.
const HOME: &str = "/";

/// Stands for whatever origin the registry has: what is relative must stay there.
const HERE: &str = "http://registry.invalid/";

/// The longest address that is taken, in bytes: it is kept in a cookie.
const BYTES_MAX: usize = 1024;

/// The origins of others that browsers may be sent to.
pub struct Destinations(Vec<Origin>);

impl Destinations {
    /// Errors: a text that is no origin, or more than one.
    pub fn new(origins: &[String]) -> Result<Self, ProviderError> {
        let origin = |text: &String| match Url::parse(text) {
            Ok(url) if is_web(&url) && url.path() == "/" && url.query().is_none() && url.fragment().is_none() => {
                Ok(url.origin())
            }
            _ => Err(ProviderError::Origin { text: text.clone() }),
        };
        origins.iter().map(origin).collect::<Result<_, _>>().map(Destinations)
    }

    /// Where somebody is sent who asks for `wanted`, as browsers read it; empty if he asks for nothing. `external` is
    /// the origin of the registry itself, where that is configured, and `base_path` the path that it is below.
    pub fn of(&self, wanted: &str, external: Option<&str>, base_path: &str) -> String {
        if wanted.is_empty() {
            return String::new();
        }
        self.allowed(wanted, external).unwrap_or_else(|| [base_path, HOME].concat())
    }

    fn allowed(&self, wanted: &str, external: Option<&str>) -> Option<String> {
        // What browsers read as a slash, or leave out before they read (WHATWG URL, "basic URL parser").
        let is_tricky = |character: char| character == '\\' || character.is_control() || character.is_whitespace();
        if wanted.len() > BYTES_MAX || wanted.contains(is_tricky) || wanted.starts_with("//") {
            return None;
        }
        if wanted.starts_with('/') {
            let here = Url::parse(HERE).expect("it is an address");
            let url = here.join(wanted).ok().filter(|url| url.origin() == here.origin())?;
            // Of a path with dots no more is left than browsers would leave: `/.//evil` is not to become `//evil`.
            return Some(url[openidconnect::url::Position::BeforePath..].to_owned())
                .filter(|path| !path.starts_with("//"));
        }
        let url = Url::parse(wanted).ok().filter(is_web)?;
        let external = external.and_then(|text| Url::parse(text).ok()).map(|url| url.origin());
        let is_known = self.0.contains(&url.origin()) || external.is_some_and(|origin| origin == url.origin());
        is_known.then(|| url.into())
    }
}

/// Whether it is a page, and nothing of it is a name or a password: they make hosts look like others.
fn is_web(url: &Url) -> bool {
    let has_user = !url.username().is_empty() || url.password().is_some();
    matches!(url.scheme(), "http" | "https") && url.has_host() && !has_user
}

#[cfg(test)]
mod tests {
    use super::*;

    fn destinations() -> Destinations {
        Destinations::new(&["https://UI.example.org".to_owned(), "http://localhost:3000/".to_owned()]).expect("origins")
    }

    #[test]
    fn pages_of_our_own_are_reached() {
        let external = Some("https://registry.example.org");
        for (wanted, place) in [
            ("", ""),
            ("/", "/"),
            ("/home?x=1#y", "/home?x=1#y"),
            ("/a/../b", "/b"),
            ("https://ui.example.org/home", "https://ui.example.org/home"),
            ("https://ui.example.org:443/home", "https://ui.example.org/home"),
            ("http://localhost:3000", "http://localhost:3000/"),
            ("https://registry.example.org/x", "https://registry.example.org/x"),
        ] {
            assert_eq!(destinations().of(wanted, external, ""), place, "{wanted}");
        }
        assert_eq!(destinations().of("https://registry.example.org/x", None, "/r"), "/r/");
    }

    /// CVE-2024-22244: a login that ends on somebody else's page.
    #[test]
    fn nobody_is_sent_elsewhere() {
        let long = format!("/{}", "a".repeat(BYTES_MAX));
        for wanted in [
            "https://evil.example",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "/\t/evil.example",
            "/%09/../\n/evil.example",
            " /home",
            "/home\r\nSet-Cookie: a=b",
            "javascript:alert(1)",
            "data:text/html,x",
            "https:evil.example",
            "https:/evil.example",
            "http://ui.example.org/",
            "https://ui.example.org:8443/",
            "https://ui.example.org.evil.example/",
            "https://ui.example.org@evil.example/",
            "https://user@ui.example.org/",
            "ui.example.org",
            "home",
            "?x",
            "/.//evil.example",
            "/a/..//evil.example",
            "ftp://ui.example.org/",
            &long,
        ] {
            assert_eq!(destinations().of(wanted, Some("https://registry.example.org"), ""), "/", "{wanted}");
        }
        assert_eq!(destinations().of("/%09/evil", None, ""), "/%09/evil", "a path with a tab that nobody leaves out");
    }
}
