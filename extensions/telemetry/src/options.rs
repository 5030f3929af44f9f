//! Where traces go, and which requests have one.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue, Uri, header};

/// The share of requests without a caller's decision that have a trace.
pub const SAMPLE_DEFAULT: f64 = 0.01;

/// What the specification adds to the address of a collector (OTLP, section "OTLP/HTTP Request").
const TRACES_PATH: &str = "/v1/traces";

/// Fields that belong to the request itself.
const OWN_FIELDS: [HeaderName; 6] = [
    header::CONNECTION,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::HOST,
    header::TRANSFER_ENCODING,
];

/// Everything that can be chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    pub endpoint: Endpoint,
    pub headers: Headers,
    pub sample: Sample,
    /// `service.name` of all spans.
    pub service_name: String,
    /// `service.version` of all spans.
    pub service_version: &'static str,
    /// What comes before the path of each route; empty if nothing does.
    pub base_path: String,
}

/// The address that spans are posted to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint(Uri);

/// Why a text is no such address. What was written is not shown: there may be a password in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    #[error("expected the address of a collector that takes OTLP over HTTP, such as \"http://127.0.0.1:4318\"")]
    Form,
    #[error("it has a name or password before the host; put credentials into \"headers\"")]
    Credentials,
    #[error("it has a query or a fragment; put credentials into \"headers\"")]
    Query,
}

impl Endpoint {
    /// The address of a collector, or of its path for traces: `/v1/traces` is added if it is not there.
    pub fn new(text: &str) -> Result<Self, EndpointError> {
        if text.contains('#') {
            return Err(EndpointError::Query);
        }
        let uri: Uri = text.parse().map_err(|_| EndpointError::Form)?;
        let authority = uri.authority().ok_or(EndpointError::Form)?;
        let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https"));
        let scheme = scheme.ok_or(EndpointError::Form)?;
        if authority.as_str().contains('@') {
            return Err(EndpointError::Credentials);
        }
        if uri.query().is_some() {
            return Err(EndpointError::Query);
        }
        let path = uri.path().trim_end_matches('/');
        let path = path.strip_suffix(TRACES_PATH).unwrap_or(path);
        let whole = format!("{scheme}://{authority}{path}{TRACES_PATH}");
        whole.parse().map(Endpoint).map_err(|_| EndpointError::Form)
    }

    pub fn uri(&self) -> &Uri {
        &self.0
    }
}

/// Fields that are sent along with spans. Their values may be secret and are never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(HeaderMap);

/// Why a field cannot be sent. Values are not shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    #[error("this is no name of a header field; expected letters, digits and '-'")]
    Name,
    #[error("the value has characters that no header field may have")]
    Value,
    #[error("this field belongs to the request itself and cannot be chosen")]
    Own,
    #[error("this field is there twice; upper and lower case are the same")]
    Twice,
}

impl Headers {
    pub fn insert(&mut self, name: &str, value: &str) -> Result<(), HeaderError> {
        let name = HeaderName::try_from(name).map_err(|_| HeaderError::Name)?;
        if OWN_FIELDS.contains(&name) {
            return Err(HeaderError::Own);
        }
        let mut value = HeaderValue::try_from(value).map_err(|_| HeaderError::Value)?;
        value.set_sensitive(true);
        match self.0.insert(name, value) {
            None => Ok(()),
            Some(_) => Err(HeaderError::Twice),
        }
    }

    pub(crate) fn map(&self) -> &HeaderMap {
        &self.0
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}

/// A share of all traces.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample(f64);

/// Not a number from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a number from 0 to 1, such as 0.01 for one request in a hundred")]
pub struct SampleError;

impl Sample {
    pub fn new(share: f64) -> Result<Self, SampleError> {
        if (0.0..=1.0).contains(&share) { Ok(Sample(share)) } else { Err(SampleError) }
    }

    pub fn share(self) -> f64 {
        self.0
    }

    /// Of a trace's 63 lowest random bits, those that are less than this are sampled: other services that sample by
    /// the same share of the same trace decide alike.
    pub(crate) fn threshold(self) -> u64 {
        // Exact at both ends: 0 takes nothing, and 2^63 is more than any 63 bits.
        (self.0 * (1_u64 << 63) as f64) as u64
    }
}

impl Default for Sample {
    fn default() -> Self {
        Sample(SAMPLE_DEFAULT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_the_collector_or_its_path() {
        for (text, uri) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("http://a:4318/", "http://a:4318/v1/traces"),
            ("https://a/otlp", "https://a/otlp/v1/traces"),
            ("https://a/otlp/v1/traces", "https://a/otlp/v1/traces"),
            ("http://[::1]:4318/v1/traces/", "http://[::1]:4318/v1/traces"),
        ] {
            assert_eq!(Endpoint::new(text).expect(text).uri().to_string(), uri);
        }
        for (text, error) in [
            ("", EndpointError::Form),
            ("127.0.0.1:4318", EndpointError::Form),
            ("/v1/traces", EndpointError::Form),
            ("grpc://a:4317", EndpointError::Form),
            ("http://", EndpointError::Form),
            ("http://a b", EndpointError::Form),
            ("http://user:secret@a", EndpointError::Credentials),
            ("http://a/?key=secret", EndpointError::Query),
            ("http://a/#secret", EndpointError::Query),
        ] {
            assert_eq!(Endpoint::new(text), Err(error), "{text:?}");
            assert!(!error.to_string().contains("secret"));
        }
    }

    #[test]
    fn values_of_headers_are_never_shown() {
        let mut headers = Headers::default();
        headers.insert("Authorization", "Bearer secret").expect("a field");
        assert_eq!(headers.insert("authorization", "x"), Err(HeaderError::Twice));
        assert_eq!(headers.insert("a b", "x"), Err(HeaderError::Name));
        assert_eq!(headers.insert("a", "secret\n"), Err(HeaderError::Value));
        assert_eq!(headers.insert("Content-Type", "text/plain"), Err(HeaderError::Own));
        assert_eq!(format!("{headers:?}"), "[\"authorization\"]");
        assert!(!format!("{:?}", headers.map()).contains("secret"));
    }

    #[test]
    fn a_share_is_between_none_and_all() {
        assert_eq!(Sample::new(0.0).expect("none").threshold(), 0);
        assert_eq!(Sample::new(1.0).expect("all").threshold(), 1 << 63);
        assert_eq!(Sample::new(0.25).expect("a quarter").threshold(), 1 << 61);
        for share in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            assert_eq!(Sample::new(share), Err(SampleError), "{share}");
        }
    }
}
