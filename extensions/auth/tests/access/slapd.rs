//! A real directory: OpenLDAP's slapd as Debian has it, on a port and a directory of its own.

use std::{
    env, fs,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use orlop_auth::ldap::{LOGIN_TIME_MAX, LdapOptions, REMEMBERED, Security};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

pub const BASE: &str = "ou=people,dc=example,dc=org";
pub const LOOKUP: &str = "cn=lookup,dc=example,dc=org";
/// Who may change entries.
pub const ADMIN: &str = "cn=admin,dc=example,dc=org";
pub const ADMIN_PASSWORD: &str = "administer";
pub const LOOKUP_PASSWORD: &str = "look it up";

/// Longer than it takes to come up on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Another process may take a port between its choice and its use.
const ATTEMPTS_MAX: usize = 5;

/// A directory that serves until it is dropped.
pub struct Slapd {
    pub directory: TempDir,
    /// The one for `ldap://`, then the one for `ldaps://`.
    pub ports: [u16; 2],
    process: Child,
}

impl Slapd {
    /// A directory with the entries of [`entries`] and a certificate for `localhost`.
    pub fn start(more: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        certificates(directory.path());
        fs::create_dir(directory.path().join("database")).expect("made");
        fs::write(directory.path().join("slapd.conf"), configuration(directory.path())).expect("written");
        fs::write(directory.path().join("entries.ldif"), [entries(), more.to_owned()].concat()).expect("written");
        let account = format!(r#"{{"bindDN": "{LOOKUP}", "bindPassword": "{LOOKUP_PASSWORD}"}}"#);
        fs::write(directory.path().join("lookup.json"), account).expect("written");
        let added =
            program("slapadd").args(["-f", "slapd.conf", "-l", "entries.ldif"]).current_dir(&directory).output();
        let added = added.expect("slapadd runs");
        assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
        for _ in 0..ATTEMPTS_MAX {
            let ports = [free_port(), free_port()];
            let process = spawn(directory.path(), ports);
            if let Some(process) = answering(process, ports) {
                return Slapd { directory, ports, process };
            }
        }
        panic!("slapd does not come up: {}", fs::read_to_string(directory.path().join("log")).unwrap_or_default());
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Where its users are, over a connection that everybody can read, with nothing remembered.
    pub fn options(&self) -> LdapOptions {
        LdapOptions {
            host: "localhost".to_owned(),
            port: self.ports[0],
            security: Security::Plain,
            authorities: None,
            skip_verify: false,
            credentials: Some(self.path("lookup.json")),
            base: BASE.to_owned(),
            subtree: true,
            user_attribute: "uid".to_owned(),
            user_filter: None,
            group_attribute: Some("memberOf".to_owned()),
            remembered: Duration::ZERO,
            login_time_max: LOGIN_TIME_MAX,
        }
    }

    /// The same, and logins are remembered as they are in a registry.
    pub fn remembering(&self) -> LdapOptions {
        LdapOptions { remembered: REMEMBERED, ..self.options() }
    }

    /// Ends it as if its machine were gone.
    pub fn stop(&mut self) {
        self.process.kill().expect("killed");
        self.process.wait().expect("ended");
    }
}

impl Drop for Slapd {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn spawn(directory: &Path, [plain, tls]: [u16; 2]) -> Child {
    let log = fs::File::create(directory.join("log")).expect("a file");
    let urls = format!("ldap://127.0.0.1:{plain}/ ldaps://127.0.0.1:{tls}/");
    let mut command = program("slapd");
    command.args(["-f", "slapd.conf", "-d", "none", "-h", &urls]).current_dir(directory);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().expect("slapd runs")
}

/// The process, once it answers at both ports.
fn answering(mut process: Child, ports: [u16; 2]) -> Option<Child> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if process.try_wait().expect("a child").is_some() {
            return None;
        }
        if ports.iter().all(|port| TcpStream::connect(("127.0.0.1", *port)).is_ok()) {
            return Some(process);
        }
        std::thread::yield_now();
    }
    process.kill().expect("killed");
    process.wait().expect("ended");
    None
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

/// Where scripts/slapd unpacked it.
fn unpacked() -> PathBuf {
    let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let base = || env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home).map(|base| base.join("orlop"));
    let cache = env::var_os("ORLOP_CACHE").map(PathBuf::from).or_else(base).expect("HOME is set");
    let path = cache.join("slapd");
    assert!(path.join("complete").exists(), "{} is not there: run scripts/setup test", path.display());
    path
}

fn program(name: &str) -> Command {
    let root = unpacked();
    let mut command = Command::new(root.join("usr/sbin").join(name));
    let libraries = ["usr/lib", "lib"].map(|path| root.join(path)).map(|path| {
        let inside = fs::read_dir(&path).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
        // One of them for the processor, as Debian lays them out.
        inside.filter(|path| path.to_string_lossy().ends_with("-gnu")).chain([path]).collect::<Vec<_>>()
    });
    let libraries = env::join_paths(libraries.concat()).expect("paths without colons");
    command.env("LD_LIBRARY_PATH", libraries);
    command
}

fn configuration(directory: &Path) -> String {
    let (root, directory) = (unpacked(), directory.display());
    let root = root.display();
    format!(
        "include {root}/etc/ldap/schema/core.schema\n\
         include {root}/etc/ldap/schema/cosine.schema\n\
         include {root}/etc/ldap/schema/inetorgperson.schema\n\
         modulepath {root}/usr/lib/ldap\n\
         moduleload back_mdb.so\n\
         moduleload memberof.so\n\
         TLSCACertificateFile {directory}/ca.pem\n\
         TLSCertificateFile {directory}/certificate.pem\n\
         TLSCertificateKeyFile {directory}/key.pem\n\
         allow bind_anon_dn\n\
         database mdb\n\
         suffix \"dc=example,dc=org\"\n\
         rootdn \"{ADMIN}\"\n\
         rootpw {ADMIN_PASSWORD}\n\
         directory {directory}/database\n\
         maxsize 16777216\n\
         overlay memberof\n\
         access to attrs=userPassword by anonymous auth by * none\n\
         access to * by dn.exact=\"{LOOKUP}\" read by * none\n"
    )
}

/// What everybody has: alice is in two groups, bob in none; `deep` is below another entry, `twin` is there twice, and
/// the names of some mean something in filters and in names of entries.
fn entries() -> String {
    let person = |name: &str, uid: &str, more: &str| {
        format!(
            "dn: {name}\nobjectClass: inetOrgPerson\ncn: x\nsn: x\nuid: {uid}\nuserPassword: {}\n{more}\n",
            password(uid)
        )
    };
    let mut text = format!(
        "dn: dc=example,dc=org\nobjectClass: dcObject\nobjectClass: organization\no: x\ndc: example\n\n\
         dn: {LOOKUP}\nobjectClass: organizationalRole\nobjectClass: simpleSecurityObject\ncn: lookup\n\
         userPassword: {LOOKUP_PASSWORD}\n\n\
         dn: {BASE}\nobjectClass: organizationalUnit\nou: people\n\n\
         dn: ou=staff,{BASE}\nobjectClass: organizationalUnit\nou: staff\n\n"
    );
    let groups =
        "memberOf: cn=developers,ou=groups,dc=example,dc=org\nmemberOf: cn=admins,ou=groups,dc=example,dc=org\n";
    text += &person(&format!("uid=alice,{BASE}"), "alice", &format!("employeeType: staff\n{groups}"));
    text += &person(&format!("uid=bob,{BASE}"), "bob", "employeeType: guest\n");
    text += &person(&format!("uid=deep,ou=staff,{BASE}"), "deep", "");
    text += &person(&format!("uid=twin,{BASE}"), "twin", "");
    text += &person(&format!("uid=twin,ou=staff,{BASE}"), "twin", "");
    text += &person(&format!("uid=a*b,{BASE}"), "a*b", "");
    text += &person(&format!("uid=c\\,d\\+e\\\"f\\\\g,{BASE}"), "c,d+e\"f\\g", "");
    text += &person(&format!("uid=(h)=#,{BASE}"), "(h)=#", "");
    // Nobody can log in who has no password.
    text += &format!("dn: uid=mute,{BASE}\nobjectClass: inetOrgPerson\ncn: x\nsn: x\nuid: mute\n\n");
    text
}

/// The password of a user: his name backwards.
pub fn password(user: &str) -> String {
    user.chars().rev().collect()
}

/// An authority, and what it signed for `localhost`.
fn certificates(directory: &Path) {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().expect("a key")).expect("signed");
    let key = KeyPair::generate().expect("a key");
    let server = CertificateParams::new(["localhost".to_owned()]).expect("a name");
    let server = server.signed_by(&key, &authority).expect("signed");
    let write = |name: &str, text: String| fs::write(directory.join(name), text).expect("written");
    write("ca.pem", authority.pem());
    write("certificate.pem", server.pem());
    write("key.pem", key.serialize_pem());
}
