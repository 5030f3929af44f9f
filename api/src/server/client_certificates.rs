//! Certificates of clients: asked for if there are authorities for them, and believed if they lead to one.
//!
//! A client without a certificate is let in as nobody in particular. One whose certificate is not believed (another
//! authority, not its time, not made for clients) is not let in at all: its handshake fails.

use std::{io, path::Path, sync::Arc};

use rustls::{
    RootCertStore,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, pem::PemObject},
    server::{NoClientAuth, WebPkiClientVerifier, danger::ClientCertVerifier},
};

use super::tls::invalid;

/// Believes what leads to the authorities in a PEM file, or, without one, asks nobody. How much work a chain may make
/// is bounded by rustls: a few certificates deep, and a number of signatures.
///
/// Errors: the file cannot be read, or has no certificate.
pub(super) fn verifier(
    authorities: Option<&Path>,
    provider: &Arc<CryptoProvider>,
) -> io::Result<Arc<dyn ClientCertVerifier>> {
    let Some(path) = authorities else { return Ok(Arc::new(NoClientAuth)) };
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(|entries| entries.collect::<Result<Vec<_>, _>>())
        .map_err(|error| invalid(path, "cannot be read as PEM certificates", &error))?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate).map_err(|error| invalid(path, "holds a certificate that is none", &error))?;
    }
    if roots.is_empty() {
        return Err(invalid(path, "holds no certificate", &"expected at least one CERTIFICATE section"));
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .allow_unauthenticated()
        .build()
        .map_err(|error| invalid(path, "cannot be used for the certificates of clients", &error))
}
