//! TLS 1.2 and 1.3 by rustls. In: certificate files. Out: an acceptor for each connection, of the files as they were
//! last read.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::{CertifiedKey, SingleCertAndKey},
    version::{TLS12, TLS13},
};
use tokio_rustls::TlsAcceptor;

use super::client_certificates;

/// The files of one certificate, in PEM form.
#[derive(Clone, Debug)]
pub struct TlsOptions {
    /// The certificate, then the intermediate certificates that lead to its root.
    pub certificates: PathBuf,
    /// The private key: PKCS #8, PKCS #1 or SEC 1.
    pub key: PathBuf,
    /// Authorities that clients' certificates have to lead to. With them clients are asked for one, and may have none;
    /// without them nobody is asked.
    pub client_authorities: Option<PathBuf>,
}

/// The TLS side of a server. Clones share what is read from the files.
#[derive(Clone)]
pub struct Tls {
    current: Arc<ArcSwap<Current>>,
}

/// What was read, and where.
struct Current {
    options: TlsOptions,
    config: Arc<ServerConfig>,
}

impl TlsOptions {
    /// All files that are read.
    pub fn files(&self) -> Vec<PathBuf> {
        [&self.certificates, &self.key].into_iter().chain(&self.client_authorities).cloned().collect()
    }
}

impl Tls {
    /// Reads the files and checks that key and certificate belong together.
    ///
    /// Errors name the file. The provider is chosen here and not taken from the process, so no
    /// other crate can change or forget it.
    pub fn load(options: TlsOptions) -> io::Result<Self> {
        let config = Arc::new(config(&options)?);
        Ok(Tls { current: Arc::new(ArcSwap::from_pointee(Current { options, config })) })
    }

    /// Reads the files again. New connections get what is in them; on an error everything stays as it was.
    pub fn reload(&self) -> io::Result<()> {
        let renewed = Tls::load(self.options())?;
        self.exchange(&renewed);
        Ok(())
    }

    /// Takes over what `other` has read, for new connections. Sessions are not resumed across that.
    pub fn exchange(&self, other: &Tls) {
        self.current.store(other.current.load_full());
    }

    /// The files in force.
    pub fn options(&self) -> TlsOptions {
        self.current.load().options.clone()
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.current.load().config.clone())
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("options", &self.current.load().options).finish_non_exhaustive()
    }
}

/// What new connections are accepted with.
fn config(options: &TlsOptions) -> io::Result<ServerConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let certified = read(options, &provider)?;
    let mut config = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(io::Error::other)?
        .with_client_cert_verifier(client_certificates::verifier(options.client_authorities.as_deref(), &provider)?)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // Early data can be replayed by an attacker, and pushes are not idempotent for a log.
    config.max_early_data_size = 0;
    Ok(config)
}

fn read(options: &TlsOptions, provider: &CryptoProvider) -> io::Result<CertifiedKey> {
    let TlsOptions { certificates, key, .. } = options;
    let chain = CertificateDer::pem_file_iter(certificates)
        .and_then(|entries| entries.collect::<Result<Vec<_>, _>>())
        .map_err(|error| invalid(certificates, "cannot be read as PEM certificates", &error))?;
    if chain.is_empty() {
        return Err(invalid(certificates, "holds no certificate", &"expected at least one CERTIFICATE section"));
    }
    let private = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| invalid(key, "cannot be read as a PEM private key", &error))?;
    CertifiedKey::from_der(chain, private, provider)
        .map_err(|error| invalid(key, "does not fit the certificate", &error))
}

pub(super) fn invalid(path: &Path, what: &str, error: &dyn fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{} {what}: {error}", path.display()))
}
