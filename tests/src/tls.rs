//! A certificate authority and a server certificate, made anew for each test.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject},
};

/// PEM files in a directory of their own, laid out as skopeo's `--cert-dir` wants it.
#[derive(Debug, Clone)]
pub struct Certificates {
    directory: PathBuf,
}

impl Certificates {
    /// Writes a CA and a certificate for 127.0.0.1 and localhost below `parent`.
    ///
    /// # Panics
    /// If they cannot be made or written.
    pub fn write(parent: &Path) -> Self {
        let certificates = Self { directory: parent.join("tls") };
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        authority.distinguished_name.push(DnType::CommonName, "orlop test authority");
        let key = KeyPair::generate().expect("a key can be made");
        let authority = CertifiedIssuer::self_signed(authority, key).expect("a CA can sign itself");

        let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
        let mut server = CertificateParams::new(names).expect("plain names");
        server.distinguished_name.push(DnType::CommonName, "orlop test registry");
        let key = KeyPair::generate().expect("a key can be made");
        let server = server.signed_by(&key, &authority).expect("the CA can sign");

        fs::create_dir_all(certificates.trust()).expect("the directory can be made");
        let files = [
            (certificates.ca(), authority.pem()),
            (certificates.cert(), server.pem()),
            (certificates.key(), key.serialize_pem()),
        ];
        for (path, text) in files {
            fs::write(&path, text).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
        }
        certificates
    }

    /// The directory with nothing but the CA in it.
    pub fn trust(&self) -> PathBuf {
        self.directory.join("trust")
    }

    pub fn ca(&self) -> PathBuf {
        self.trust().join("ca.crt")
    }

    pub fn cert(&self) -> PathBuf {
        self.directory.join("server.pem")
    }

    pub fn key(&self) -> PathBuf {
        self.directory.join("server.key")
    }

    /// A client's side of TLS that trusts this CA alone and offers `protocol` in ALPN.
    ///
    /// # Panics
    /// If the CA cannot be read back.
    pub fn client_config(&self, protocol: &str) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_file(self.ca()).expect("the CA was written as PEM");
        roots.add(authority).expect("the CA is a certificate");
        let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider has TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        Arc::new(config)
    }
}
