//! Users who show a certificate, over TLS, with curl as the client.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use orlop_api::{
    front::{Front, Proxies},
    server::{Tls, TlsOptions},
};
use orlop_auth::{Attribute, CertificateRules, Options};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType,
    date_time_ymd,
};
use rustls::{
    ClientConfig, HandshakeKind, RootCertStore, SupportedProtocolVersion,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    version::{TLS12, TLS13},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use crate::rig::{Answer, Rig, line, password, policy, sha256};

type Authority = CertifiedIssuer<'static, KeyPair>;

/// A registry that believes one authority, and the certificates that clients may have.
struct Secure {
    rig: Rig,
    files: TempDir,
    authority: Authority,
}

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signed")
}

/// A certificate that clients of this name may show.
fn client(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

impl Secure {
    async fn start(rules: CertificateRules) -> Self {
        Secure::behind(rules, Front::default()).await
    }

    async fn behind(rules: CertificateRules, front: Front) -> Self {
        let files = tempfile::tempdir().expect("a directory");
        let authority = authority("authority");
        let key = KeyPair::generate().expect("a key");
        let server = CertificateParams::new(["localhost".to_owned()]).expect("a name");
        let server = server.signed_by(&key, &authority).expect("signed");
        let path = |name: &str| files.path().join(name);
        fs::write(path("ca.pem"), authority.pem()).expect("written");
        fs::write(path("server.pem"), server.pem()).expect("written");
        fs::write(path("server.key"), key.serialize_pem()).expect("written");
        let tls = TlsOptions {
            certificates: path("server.pem"),
            key: path("server.key"),
            client_authorities: Some(path("ca.pem")),
        };
        let tls = Tls::load(tls).expect("usable");
        let directory = tempfile::tempdir().expect("a directory");
        let htpasswd = directory.path().join("htpasswd");
        fs::write(&htpasswd, [line("bob"), line("root")].concat()).expect("written");
        let options = Options {
            htpasswd: Some(htpasswd),
            certificates: Some(rules),
            policy: Some(policy()),
            ..Options::default()
        };
        Secure { rig: Rig::over(directory, options, Some(tls), front).await, files, authority }
    }

    /// Writes a certificate with its key, and gives the path of the file with both.
    fn write(&self, file: &str, params: CertificateParams, authority: &Authority, chain: &str) -> PathBuf {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, authority).expect("signed");
        let path = self.files.path().join(file);
        fs::write(&path, [&certificate.pem(), chain, &key.serialize_pem()].concat()).expect("written");
        path
    }

    /// What curl is told at `target`, once for each time it asks over one connection; nothing if there is no
    /// connection.
    async fn curl(&self, certificate: Option<&Path>, more: &[&str], target: &str, times: usize) -> Vec<u16> {
        let mut command = Command::new("curl");
        command.args(["--silent", "--http1.1", "--max-time", "60", "--write-out", "%{http_code} "]);
        command.arg("--cacert").arg(self.files.path().join("ca.pem")).args(more);
        if let Some(path) = certificate {
            command.arg("--cert").arg(path);
        }
        for _ in 0..times {
            command.args(["--output", "/dev/null"]);
            command.arg(format!("https://localhost:{}{target}", self.rig.address.port()));
        }
        let asked = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic");
        let answered = asked.expect("curl runs; without it: run scripts/setup test");
        let text = String::from_utf8(answered.stdout).expect("digits");
        let codes = text.split_whitespace().map(|code| code.parse().expect("a status"));
        codes.filter(|code| *code != 0).collect()
    }

    async fn status(&self, certificate: Option<&Path>, target: &str) -> Option<u16> {
        self.curl(certificate, &[], target, 1).await.first().copied()
    }
}

const TEAM: &str = "/v2/team-a/x/tags/list";
const OPEN: &str = "/v2/open/x/tags/list";

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_says_who_somebody_is() {
    let secure = Secure::start(CertificateRules::default()).await;
    let alice = secure.write("alice.pem", client("alice"), &secure.authority, "");
    let erin = secure.write("erin.pem", client("erin"), &secure.authority, "");
    assert_eq!(secure.status(Some(&alice), TEAM).await, Some(404), "she may read, and there is nothing");
    assert_eq!(secure.status(Some(&erin), TEAM).await, Some(403), "he is known, and may not");
    assert_eq!(secure.status(None, TEAM).await, Some(401), "nobody in particular");
    assert_eq!(secure.status(None, OPEN).await, Some(404), "what everybody may read");
    // A password is what somebody says now.
    let login = format!("bob:{}", password("bob"));
    for (login, status) in [(login.as_str(), 403), ("bob:wrong", 401)] {
        assert_eq!(secure.curl(Some(&alice), &["--user", login], TEAM, 1).await, [status], "{login}");
    }
    secure.rig.stop().await;
}

/// S-73: a certificate that is not believed is no certificate of nobody: the connection fails.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_not_believed_ends_the_handshake() {
    let secure = Secure::start(CertificateRules::default()).await;
    let other = authority("authority");
    let foreign = secure.write("foreign.pem", client("alice"), &other, "");
    let mut params = client("alice");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let server = secure.write("server-use.pem", params, &secure.authority, "");
    let mut params = client("alice");
    (params.not_before, params.not_after) = (date_time_ymd(2990, 1, 1), date_time_ymd(2999, 1, 1));
    let early = secure.write("early.pem", params, &secure.authority, "");
    let mut params = client("alice");
    (params.not_before, params.not_after) = (date_time_ymd(1990, 1, 1), date_time_ymd(1999, 1, 1));
    let late = secure.write("late.pem", params, &secure.authority, "");
    // A certificate of a client signs no others.
    let key = KeyPair::generate().expect("a key");
    let leaf = CertifiedIssuer::signed_by(client("bob"), key, &secure.authority).expect("signed");
    let by_leaf = secure.write("by-leaf.pem", client("alice"), &leaf, &leaf.pem());
    for path in [&foreign, &server, &early, &late, &by_leaf] {
        assert_eq!(secure.status(Some(path), OPEN).await, None, "{}", path.display());
    }
    secure.rig.stop().await;
}

/// S-73: a long chain costs no time that matters.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_chain_is_given_up_soon() {
    let secure = Secure::start(CertificateRules::default()).await;
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let next = |number: usize, issuer: &Authority| {
        let mut params = params.clone();
        params.distinguished_name.push(DnType::CommonName, format!("authority {number}"));
        CertifiedIssuer::signed_by(params, KeyPair::generate().expect("a key"), issuer).expect("signed")
    };
    let mut chain = vec![next(0, &secure.authority)];
    for number in 1..100 {
        let issuer = chain.last().expect("one");
        chain.push(next(number, issuer));
    }
    let text: String = chain.iter().rev().map(|issuer| issuer.pem()).collect();
    let path = secure.write("long.pem", client("alice"), chain.last().expect("one"), &text);
    let began = Instant::now();
    assert_eq!(secure.status(Some(&path), OPEN).await, None);
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    let short: String = chain[..2].iter().rev().map(|issuer| issuer.pem()).collect();
    let path = secure.write("short.pem", client("alice"), &chain[1], &short);
    assert_eq!(secure.status(Some(&path), TEAM).await, Some(404), "a chain as others have it");
    secure.rig.stop().await;
}

/// S-73: a certificate that is believed and has no name that could be a user's is refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_without_a_name_is_not_nobody() {
    let rules = CertificateRules { attributes: vec![Attribute::Uri, Attribute::CommonName], ..Default::default() };
    let secure = Secure::start(rules).await;
    let mut params = client("somebody");
    params.subject_alt_names = vec![SanType::URI("alice".try_into().expect("ASCII"))];
    let by_uri = secure.write("uri.pem", params, &secure.authority, "");
    assert_eq!(secure.status(Some(&by_uri), TEAM).await, Some(404));
    let nul = secure.write("nul.pem", client("alice\0.example.org"), &secure.authority, "");
    assert_eq!(secure.status(Some(&nul), TEAM).await, Some(401));
    assert_eq!(secure.status(Some(&nul), OPEN).await, Some(401), "also where nobody needs a name");
    secure.rig.stop().await;
}

/// What is asked often is answered from what is kept, which is for everybody: never with what somebody may see.
#[tokio::test(flavor = "multi_thread")]
async fn answers_to_somebody_are_given_to_nobody_else() {
    let secure = Secure::start(CertificateRules::default()).await;
    let alice = secure.write("alice.pem", client("alice"), &secure.authority, "");
    let erin = secure.write("erin.pem", client("erin"), &secure.authority, "");
    let digest = sha256("");
    let login = format!("root:{}", password("root"));
    let pushed = ["--user", login.as_str(), "--request", "POST", "--data", ""];
    for (repository, nobody, others) in [("team-a/x", 401, 403), ("open/x", 200, 200)] {
        let target = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
        assert_eq!(secure.curl(None, &pushed, &target, 1).await, [201]);
        let blob = format!("/v2/{repository}/blobs/{digest}");
        for _ in 0..2 {
            assert_eq!(secure.curl(Some(&alice), &[], &blob, 4).await, [200; 4], "{repository}");
            assert_eq!(secure.curl(None, &[], &blob, 4).await, [nobody; 4], "{repository}");
            assert_eq!(secure.curl(Some(&erin), &[], &blob, 4).await, [others; 4], "{repository}");
        }
    }
    secure.rig.stop().await;
}

/// A session that is resumed is that of whoever began it.
#[tokio::test(flavor = "multi_thread")]
async fn a_resumed_session_is_of_the_same_client() {
    let secure = Secure::start(CertificateRules::default()).await;
    let alice = secure.write("alice.pem", client("alice"), &secure.authority, "");
    for version in [&TLS12, &TLS13] {
        let with = config(&secure, version, Some(&alice));
        let without = config(&secure, version, None);
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Resumed] {
            let (answer, found) = get(&secure, &with, TEAM).await;
            assert_eq!((answer.status.as_u16(), found), (404, kind), "{version:?}");
            let (answer, found) = get(&secure, &without, TEAM).await;
            assert_eq!((answer.status.as_u16(), found), (401, kind), "{version:?}");
        }
    }
    secure.rig.stop().await;
}

/// A client that remembers its sessions.
fn config(
    secure: &Secure,
    version: &'static SupportedProtocolVersion,
    certificate: Option<&Path>,
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(secure.authority.der().clone()).expect("a certificate");
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[version])
        .expect("supported")
        .with_root_certificates(roots);
    Arc::new(match certificate {
        Some(path) => {
            let chain = CertificateDer::pem_file_iter(path).expect("there").collect::<Result<_, _>>().expect("PEM");
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(path).expect("a key")).expect("usable")
        }
        None => builder.with_no_client_auth(),
    })
}

async fn get(secure: &Secure, config: &Arc<ClientConfig>, target: &str) -> (Answer, HandshakeKind) {
    let stream = TcpStream::connect(secure.rig.address).await.expect("accepted");
    let name = ServerName::try_from("localhost").expect("a name");
    let mut stream = TlsConnector::from(config.clone()).connect(name, stream).await.expect("a handshake");
    let request = format!("GET {target} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut received = Vec::new();
    stream.read_to_end(&mut received).await.expect("an answer to its end");
    (Answer::read(&received), stream.get_ref().1.handshake_kind().expect("it is over"))
}

/// S-71: only the connection says whose certificate it has, whatever a proxy would write.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_in_a_header_is_none() {
    let secure = Secure::start(CertificateRules::default()).await;
    for header in ["x-ssl-client-cert: alice", "x-forwarded-client-cert: Subject=\"CN=alice\"", "client-cert: :YQ==:"] {
        assert_eq!(secure.curl(None, &["--header", header], TEAM, 1).await, [401], "{header}");
    }
    secure.rig.stop().await;
}

/// S-71: a trusted proxy shows a certificate of its own, which is not that of whoever it asks for.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_a_proxy_is_not_its_clients() {
    let proxies = Proxies { trusted: vec!["127.0.0.0/8".parse().expect("a network")], ..Proxies::default() };
    let secure = Secure::behind(CertificateRules::default(), Front { proxies, ..Front::default() }).await;
    let alice = secure.write("alice.pem", client("alice"), &secure.authority, "");
    let of = async |fields: &[&str]| secure.curl(Some(&alice), fields, TEAM, 1).await;
    assert_eq!(of(&["--header", "x-forwarded-for: 192.0.2.1"]).await, [401]);
    assert_eq!(of(&[]).await, [404], "what it asks for itself");
    let login = format!("alice:{}", password("alice"));
    assert_eq!(of(&["--header", "x-forwarded-for: 192.0.2.1", "--user", &login]).await, [401], "no user of the file");
    let login = format!("root:{}", password("root"));
    assert_eq!(of(&["--header", "x-forwarded-for: 192.0.2.1", "--user", &login]).await, [404]);
    secure.rig.stop().await;
}
