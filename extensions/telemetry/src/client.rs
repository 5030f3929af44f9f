//! Batches on their way to the collector.
//!
//! In: the body of a request. Out: what the collector says of it, in bounded time and memory. Redirects are answers
//! like any other, so that fields with credentials go nowhere but to the address that the operator has named.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client as Pool, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};

use crate::options::{Endpoint, Headers};

/// How long one attempt may take, from looking up the name to the last byte of the answer.
pub const ATTEMPT_TIME_MAX: Duration = Duration::from_secs(10);

/// The longest answer in bytes; an error in it is some hundred bytes.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Why a batch is not there.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("the collector cannot be asked: {0}")]
    Unreachable(String),
    #[error("the collector has not answered within {} seconds", ATTEMPT_TIME_MAX.as_secs())]
    TooSlow,
    #[error("the collector answered {0}, expected 200")]
    Status(StatusCode),
}

impl ExportError {
    /// Whether the same may succeed later (OTLP, "Failures", and what is between us and the collector).
    pub fn may_pass(&self) -> bool {
        match self {
            ExportError::Unreachable(_) => true,
            // The next batch would find the same, with a longer queue behind it.
            ExportError::TooSlow => false,
            ExportError::Status(status) => matches!(status.as_u16(), 429 | 502 | 503 | 504),
        }
    }
}

/// One collector.
#[derive(Debug)]
pub struct Client {
    pool: Pool<HttpsConnector<HttpConnector>, Full<Bytes>>,
    endpoint: Endpoint,
    headers: Headers,
}

impl Client {
    /// Trusts the roots of the system.
    ///
    /// Errors: TLS cannot be set up.
    pub fn new(endpoint: Endpoint, headers: Headers) -> io::Result<Self> {
        let mut roots = RootCertStore::empty();
        // There may be none, and then an http:// address is all that can be reached.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let tls = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_connect_timeout(Some(ATTEMPT_TIME_MAX));
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(connector);
        let pool = Pool::builder(TokioExecutor::new()).pool_max_idle_per_host(1).build(connector);
        Ok(Client { pool, endpoint, headers })
    }

    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Posts a batch. Gives how many of its spans the collector says that it did not want.
    pub async fn send(&self, body: Bytes) -> Result<usize, ExportError> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.endpoint.uri().clone();
        *request.headers_mut() = self.headers.map().clone();
        request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let exchange = async {
            let answer = self.pool.request(request).await.map_err(|error| ExportError::Unreachable(chain(&error)))?;
            match answer.status() {
                status if status.is_success() => {}
                status => return Err(ExportError::Status(status)),
            }
            // The batch is there, whatever becomes of the rest of the answer.
            let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
            Ok(body.map_or(0, |body| rejected(&body.to_bytes())))
        };
        tokio::time::timeout(ATTEMPT_TIME_MAX, exchange).await.unwrap_or(Err(ExportError::TooSlow))
    }
}

/// How many spans an answer says that were not wanted (OTLP, "Partial Success").
fn rejected(answer: &[u8]) -> usize {
    let answer: serde_json::Value = serde_json::from_slice(answer).unwrap_or_default();
    let count = &answer["partialSuccess"]["rejectedSpans"];
    // 64-bit numbers are strings, in this encoding; not everybody keeps to it.
    let count = count.as_str().and_then(|text| text.parse().ok()).or(count.as_u64());
    count.and_then(|count| usize::try_from(count).ok()).unwrap_or(0)
}

/// An error with what caused it: the cause is what an operator can do something about.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_wanted_is_read_from_either_spelling() {
        for (answer, count) in [
            ("{}", 0),
            ("", 0),
            ("[1", 0),
            (r#"{"partialSuccess": {}}"#, 0),
            (r#"{"partialSuccess": {"rejectedSpans": "3", "errorMessage": "no"}}"#, 3),
            (r#"{"partialSuccess": {"rejectedSpans": 4}}"#, 4),
            (r#"{"partialSuccess": {"rejectedSpans": "-1"}}"#, 0),
        ] {
            assert_eq!(rejected(answer.as_bytes()), count, "{answer}");
        }
    }
}
