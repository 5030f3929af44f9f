//! Requests to other servers: providers of logins, and issuers of tokens.
//!
//! In: a request to an address that the operator has named, or that such a server has named in turn. Out: the whole
//! answer, which is bounded in size and time. Redirects are answers like any other and never followed: a server that
//! is asked must not choose who is asked next (server-side request forgery).

use std::{io, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::{ClientConfig, crypto::aws_lc_rs};

use crate::roots;

/// How long a request may take, from looking up the name to the last byte of the answer.
const TIME_MAX: Duration = Duration::from_secs(10);

/// The longest answer, in bytes. Sets of keys and documents of users have some ten thousand.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Connections to one server that are kept for the next request.
const IDLE_MAX: usize = 4;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    #[error("{uri}: expected an https:// address, or an http:// one where that is allowed")]
    Address { uri: Uri },
    #[error("{uri}: no answer within {} seconds", TIME_MAX.as_secs())]
    TooSlow { uri: Uri },
    #[error("{uri}: {reason}")]
    Failed { uri: Uri, reason: String },
}

/// Asks other servers. Cheap to clone; clones share their connections.
#[derive(Clone)]
pub struct Outbound {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Outbound {
    /// Trusts the roots of the system and those of `authorities`, a file in PEM form.
    ///
    /// Errors: the file cannot be read, or has no certificate.
    pub fn new(authorities: Option<&Path>) -> io::Result<Self> {
        match authorities {
            None => Outbound::with(None),
            Some(path) => {
                let name = path.display().to_string();
                let unreadable = |error: io::Error| io::Error::new(error.kind(), format!("{name}: {error}"));
                Outbound::trusting(&name, &std::fs::read(path).map_err(unreadable)?)
            }
        }
    }

    /// Trusts the roots of the system and those of `pem`, which an error calls `name`.
    ///
    /// Errors: there is no certificate in it.
    pub fn trusting(name: &str, pem: &[u8]) -> io::Result<Self> {
        Outbound::with(Some((name, pem)))
    }

    fn with(authorities: Option<(&str, &[u8])>) -> io::Result<Self> {
        // A system without roots of its own can still reach what the file vouches for.
        let mut roots = roots::of_system();
        if let Some((name, pem)) = authorities {
            roots.extend(roots::of_pem(name, pem)?.roots);
        }
        let tls = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_connect_timeout(Some(TIME_MAX));
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(IDLE_MAX).build(connector);
        Ok(Outbound { client })
    }

    /// Sends a request and reads the whole answer, whatever its status.
    ///
    /// Errors: an address that is not HTTP, a server that cannot be reached or trusted, that is too slow, or that
    /// answers too much.
    pub async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, OutboundError> {
        let uri = request.uri().clone();
        if !matches!(uri.scheme_str(), Some("https" | "http")) || uri.host().is_none() {
            return Err(OutboundError::Address { uri });
        }
        let failed = |reason: String| OutboundError::Failed { uri: uri.clone(), reason };
        let exchange = async {
            let answer = self.client.request(request.map(Full::new)).await.map_err(|error| failed(chain(&error)))?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| failed(format!("the answer cannot be read: {error}")))?;
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        match tokio::time::timeout(TIME_MAX, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(OutboundError::TooSlow { uri }),
        }
    }

    /// GETs a document; any status but 200 is an error.
    pub async fn get(&self, uri: Uri) -> Result<Bytes, OutboundError> {
        let failed = |reason: String| OutboundError::Failed { uri: uri.clone(), reason };
        let request = Request::get(&uri).body(Bytes::new()).map_err(|error| failed(error.to_string()))?;
        let answer = self.send(request).await?;
        match answer.status() {
            http::StatusCode::OK => Ok(answer.into_body()),
            status => Err(failed(format!("answered {status}, expected 200"))),
        }
    }
}

/// An error with what caused it: the cause is what an operator can do something about.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
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
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    /// Answers one request with `answer`, and gives the address.
    async fn server(answer: Vec<u8>) -> Uri {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a client");
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await;
            // A client that has had enough goes away.
            let _ = stream.write_all(&answer).await;
        });
        format!("http://{address}/keys").parse().expect("an address")
    }

    #[tokio::test]
    async fn an_answer_comes_whole_or_not_at_all() {
        let outbound = Outbound::new(None).expect("a client");
        let good = server(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}".to_vec()).await;
        assert_eq!(outbound.get(good).await.expect("an answer"), "{}");
        let moved =
            server(b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n".to_vec());
        let error = outbound.get(moved.await).await.expect_err("not followed").to_string();
        assert!(error.contains("302"), "{error}");
        let length = ANSWER_BYTES_MAX + 1;
        let mut long = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n").into_bytes();
        long.resize(long.len() + length, b' ');
        let error = outbound.get(server(long).await).await.expect_err("too long").to_string();
        assert!(error.contains("length limit"), "{error}");
        let error = outbound.get(Uri::from_static("ftp://a/b")).await.expect_err("no HTTP").to_string();
        assert!(error.contains("https://"), "{error}");
        let gone = outbound.get(Uri::from_static("http://127.0.0.1:1/")).await.expect_err("nobody there").to_string();
        assert!(gone.contains("refused"), "{gone}");
    }

    #[test]
    fn a_file_without_certificates_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("ca.pem");
        for text in ["", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"] {
            std::fs::write(&path, text).expect("written");
            let error = Outbound::new(Some(&path)).map(drop).expect_err("refused").to_string();
            assert!(error.contains("ca.pem"), "{error}");
        }
        assert!(Outbound::new(Some(&directory.path().join("none"))).is_err());
    }
}
