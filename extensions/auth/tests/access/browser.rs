//! A browser with a page of zot's web interface: it keeps cookies as browsers do, and goes where it is sent.

use std::collections::BTreeMap;

use crate::rig::{Answer, Rig};

/// The field that pages of the web interface send with each request.
pub const INTERFACE: &str = "x-zot-api-client: zot-ui\r\n";

#[derive(Debug, Clone, Default)]
pub struct Browser {
    /// By name; the paths are those of the registry.
    pub cookies: BTreeMap<String, String>,
}

impl Browser {
    pub fn new() -> Self {
        Browser::default()
    }

    /// A request of a page of the interface.
    pub async fn ask(&mut self, rig: &Rig, method: &str, target: &str) -> Answer {
        self.send(rig, method, target, INTERFACE).await
    }

    /// A request with these fields, and the cookies.
    pub async fn send(&mut self, rig: &Rig, method: &str, target: &str, fields: &str) -> Answer {
        let pairs: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookies = if pairs.is_empty() { String::new() } else { format!("cookie: {}\r\n", pairs.join("; ")) };
        let answer = rig.send(method, target, &format!("{cookies}{fields}"), "").await;
        self.keep(&answer);
        answer
    }

    fn keep(&mut self, answer: &Answer) {
        for cookie in answer.headers("set-cookie") {
            let (pair, attributes) = cookie.split_once("; ").expect("attributes");
            let (name, value) = pair.split_once('=').expect("a value");
            if attributes.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
    }
}

/// Where an answer sends a browser.
pub fn place(answer: &Answer) -> &str {
    answer.header("location").expect("a place")
}

/// The value of a parameter of an address, as it is written there.
pub fn parameter<'a>(address: &'a str, name: &str) -> Option<&'a str> {
    let (_, query) = address.split_once('?')?;
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}
