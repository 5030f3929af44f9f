//! A small provider of OpenID Connect: its document and its keys, over HTTP or HTTPS.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

/// A provider, or a token server; ends with the runtime.
pub struct Issuer {
    pub address: SocketAddr,
    scheme: &'static str,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// Answers by path; others are 404.
    answers: Vec<(String, String)>,
    /// The heads and bodies of all requests.
    requests: Vec<String>,
}

impl Issuer {
    pub async fn start() -> Self {
        Issuer::listen(None).await
    }

    /// With a certificate for 127.0.0.1, which comes with it in PEM form.
    pub async fn start_tls() -> (Self, String) {
        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(
                vec![cert.der().clone()],
                rustls::pki_types::PrivateKeyDer::try_from(signing_key.serialize_der()).expect("a key"),
            )
            .expect("a configuration");
        (Issuer::listen(Some(TlsAcceptor::from(Arc::new(config)))).await, cert.pem())
    }

    async fn listen(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("an address");
        let (scheme, state) = (if tls.is_some() { "https" } else { "http" }, Arc::new(Mutex::new(State::default())));
        let served = state.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (state, tls) = (served.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, &state).await,
                        // A client that does not trust the certificate goes away.
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => serve(stream, &state).await,
                            Err(_) => None,
                        },
                    }
                });
            }
        });
        Issuer { address, scheme, state }
    }

    /// Its address, as it is in its tokens.
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    pub fn answers(&self, path: &str, body: &Value) {
        let mut state = self.state.lock().expect("no panic");
        state.answers.retain(|(known, _)| known != path);
        let body = body.to_string();
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
        state.answers.push((path.to_owned(), answer));
    }

    /// Answers with a status and these fields, and no body.
    pub fn answers_with(&self, path: &str, status: &str) {
        let mut state = self.state.lock().expect("no panic");
        state.answers.retain(|(known, _)| known != path);
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        state.answers.push((path.to_owned(), answer));
    }

    /// Serves its document, and these keys.
    pub fn has_keys(&self, keys: &[Value]) {
        let url = self.url();
        let document = json!({"issuer": url, "jwks_uri": format!("{url}/keys"), "token_endpoint": format!("{url}/t")});
        self.answers("/.well-known/openid-configuration", &document);
        self.answers("/keys", &json!({ "keys": keys }));
    }

    pub fn requests(&self) -> Vec<String> {
        self.state.lock().expect("no panic").requests.clone()
    }
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, state: &Mutex<State>) -> Option<()> {
    let mut request = Vec::new();
    let is_whole = |request: &[u8]| {
        let text = String::from_utf8_lossy(request).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
        let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        body.len() >= length.unwrap_or(0)
    };
    while !is_whole(&request) {
        let mut bytes = [0; 4096];
        match stream.read(&mut bytes).await.ok()? {
            0 => return None,
            count => request.extend_from_slice(&bytes[..count]),
        }
    }
    let request = String::from_utf8_lossy(&request).into_owned();
    let path = request.split(' ').nth(1)?.split('?').next()?.to_owned();
    let answer = {
        let mut state = state.lock().expect("no panic");
        state.requests.push(request);
        let found = state.answers.iter().find(|(known, _)| *known == path).map(|(_, answer)| answer.clone());
        found.unwrap_or_else(|| "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned())
    };
    stream.write_all(answer.as_bytes()).await.ok()?;
    stream.shutdown().await.ok()
}
