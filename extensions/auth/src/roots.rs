//! Authorities whose certificates are believed.

use std::{fmt::Display, io, path::Path};

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

/// Those of the system. There may be none.
pub fn of_system() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

/// Those of a file in PEM form. Errors: it cannot be read, or has no certificate.
pub fn of_file(path: &Path) -> io::Result<RootCertStore> {
    let name = path.display().to_string();
    let unreadable = |error: io::Error| io::Error::new(error.kind(), format!("{name}: {error}"));
    of_pem(&name, &std::fs::read(path).map_err(unreadable)?)
}

/// Those of `pem`, which an error calls `name`. Errors: it has no certificate.
pub fn of_pem(name: &str, pem: &[u8]) -> io::Result<RootCertStore> {
    let invalid = |reason: &dyn Display| io::Error::new(io::ErrorKind::InvalidInput, format!("{name}: {reason}"));
    let certificates = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| invalid(&format_args!("cannot be read as PEM certificates: {error}")))?;
    if certificates.is_empty() {
        return Err(invalid(&"holds no certificate, expected at least one CERTIFICATE section"));
    }
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate).map_err(|error| invalid(&error))?;
    }
    Ok(roots)
}
