//! TLS to a registry under load.
//!
//! In: whom to trust. Out: a connector, made once for all connections of a run, so that reading
//! certificates takes no time of what is measured.

use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};
use tokio_rustls::TlsConnector;

/// Where Linux distributions keep the certificates that everyone on the machine trusts: Debian and
/// Alpine, Fedora, SUSE.
const SYSTEM_FILES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem"];

/// Whose certificates are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust<'a> {
    /// Those that the system's certificates have signed.
    System,
    /// Those in this PEM file, or that they have signed.
    File(&'a Path),
    Anyone,
}

/// A connector that speaks HTTP/1.1.
/// Errors: certificates cannot be read, or there are none.
pub fn connector(trust: Trust<'_>) -> Result<TlsConnector, String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| format!("TLS cannot be set up: {error}"))?;
    let mut config = match trust {
        Trust::System => builder.with_root_certificates(system_roots()?),
        Trust::File(file) => builder.with_root_certificates(roots(file).map_err(|why| format!("--cacert {why}"))?),
        Trust::Anyone => builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate { provider })),
    }
    .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

fn system_roots() -> Result<RootCertStore, String> {
    let file = SYSTEM_FILES.iter().map(Path::new).find(|file| file.exists());
    let missing = || "the system has no certificates to trust; give --cacert FILE, or --insecure".to_owned();
    roots(file.ok_or_else(missing)?)
}

/// The certificates of a PEM file. Those that are of no use, as some of a system's are, are left
/// out. Errors: it cannot be read, or there is none.
fn roots(file: &Path) -> Result<RootCertStore, String> {
    let refused = |why: &dyn std::fmt::Display| format!("{}: {why}", file.display());
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(certificates.map_err(|error| refused(&error))?);
    if store.is_empty() {
        return Err(refused(&"has no certificate; expected PEM"));
    }
    Ok(store)
}

/// Takes every certificate, but checks that the server holds its key.
#[derive(Debug)]
struct AnyCertificate {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
