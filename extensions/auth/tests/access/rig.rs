//! The registry of these tests, its users, and a client that hides nothing.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use http::{StatusCode, header::WWW_AUTHENTICATE};
use orlop_api::{
    Cors, Policy as ApiPolicy, Registry,
    access::{Action, Actions},
    front::Front,
    limits::Limits,
    server::Tls,
};
use orlop_auth::{Auth, Keys, Metrics, Options, Pattern, Policy, Repositories, Rights, Rules};
use orlop_engine::{Algorithm, Digest, Engine, IndexKind, io::Backend};
use orlop_gc::retention::Glob;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
    task::JoinHandle,
};

pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Longer than any answer takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// The cheapest bcrypt there is: the tests log in thousands of times.
const COST: u32 = 4;

const FULL: Actions = Actions::FULL;
const READ: Actions = Actions::of(&[Action::Read]);

pub const USERS: [&str; 7] = ["alice", "bob", "carol", "dave", "erin", "frank", "root"];

/// A registry that serves, on a store of its own.
pub struct Rig {
    pub address: SocketAddr,
    pub directory: TempDir,
    pub engine: Engine,
    pub auth: Arc<Auth>,
    stop: Option<oneshot::Sender<()>>,
    serving: Option<JoinHandle<()>>,
}

/// An answer as it came, without its date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: StatusCode,
    pub head: Vec<String>,
    pub body: String,
}

/// alice owns team-a, carol reads it, dave pushes new things to it, frank only moves its tags; bob owns team-b; erin
/// is nobody; root administers. `open` can be read by everybody, and everybody may do anything in `drop`. Tags that
/// begin with v never change in team-a.
pub fn policy() -> Policy {
    let rights = |user: &str, actions| Rights { users: vec![user.to_owned()], actions, ..Rights::default() };
    let pattern = |text: &str| Pattern::new(text).expect("a pattern");
    let team_a = Rules {
        policies: vec![
            rights("alice", FULL),
            rights("carol", READ),
            rights("dave", Actions::of(&[Action::Create])),
            rights("frank", Actions::of(&[Action::Update])),
        ],
        fixed_tags: vec![Glob::new("v*").expect("a glob")],
        ..Rules::default()
    };
    let team_b = Rules { policies: vec![rights("bob", FULL)], ..Rules::default() };
    let careful = Rules {
        policies: vec![rights("alice", FULL.union(Actions::of(&[Action::DetectManifestCollision])))],
        ..Rules::default()
    };
    let open = Rules { default: READ, anonymous: READ, ..Rules::default() };
    let drop_box = Rules { default: FULL, anonymous: FULL, ..Rules::default() };
    let repositories: Repositories = vec![
        (pattern("team-a/**"), team_a),
        (pattern("team-a/careful"), careful),
        (pattern("team-b/**"), team_b),
        (pattern("open/**"), open),
        (pattern("drop/**"), drop_box),
    ];
    Policy::new(
        repositories,
        rights("root", FULL),
        Vec::new(),
        Metrics { users: vec!["root".into()], ..Metrics::default() },
    )
}

/// The line of a user whose password is the name backwards.
pub fn line(user: &str) -> String {
    format!("{user}:{}\n", bcrypt::hash(password(user), COST).expect("a hash"))
}

pub fn password(user: &str) -> String {
    user.chars().rev().collect()
}

/// The header with a user's password; nothing for nobody.
pub fn login(user: Option<&str>) -> String {
    user.map_or(String::new(), |user| basic(user, &password(user)))
}

pub fn basic(user: &str, password: &str) -> String {
    format!("authorization: Basic {}\r\n", base64(format!("{user}:{password}").as_bytes()))
}

pub fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |group: &[u8]| {
        let bits = group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        let digit = |at: usize| if at <= group.len() { ALPHABET[(bits >> (18 - 6 * at) & 63) as usize] } else { b'=' };
        (0..4).map(|at| char::from(digit(at))).collect::<String>()
    };
    bytes.chunks(3).map(group).collect()
}

pub fn sha256(content: &str) -> String {
    Digest::of(Algorithm::Sha256, content.as_bytes()).to_string()
}

/// A directory with a file of the users of [`USERS`], and that file.
fn with_users() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let htpasswd = directory.path().join("htpasswd");
    std::fs::write(&htpasswd, USERS.map(line).concat()).expect("written");
    (directory, htpasswd)
}

impl Rig {
    pub async fn start() -> Self {
        Rig::with(Some(policy()), Duration::ZERO).await
    }

    pub async fn with(policy: Option<Policy>, fail_delay: Duration) -> Self {
        let options = Options { policy, fail_delay, ..Options::default() };
        Rig::serve(options, Front::default(), ApiPolicy::default()).await
    }

    /// With the users of [`USERS`], who may make keys.
    pub async fn with_keys() -> Self {
        let (directory, htpasswd) = with_users();
        let keys = Some(Keys::of_store(&directory.path().join("root")));
        Rig::open(directory, Options { htpasswd: Some(htpasswd), keys, policy: Some(policy()), ..Options::default() })
            .await
    }

    /// With the users in a file, whatever `options` say of them.
    pub async fn serve(options: Options, front: Front, policy: ApiPolicy) -> Self {
        let (directory, htpasswd) = with_users();
        let options = Options { htpasswd: Some(htpasswd), ..options };
        Rig::open_with(directory, options, policy, None, |registry| registry.with_front(front)).await
    }

    /// With what becomes of the path of a file with all users.
    pub async fn of_users(options: impl FnOnce(PathBuf) -> Options) -> Self {
        let (directory, htpasswd) = with_users();
        Rig::open(directory, options(htpasswd)).await
    }

    /// With users of any kind, and a store in `directory`.
    pub async fn open(directory: TempDir, options: Options) -> Self {
        Rig::over(directory, options, None, Front::default()).await
    }

    /// The same over TLS, if there is some, and behind what may stand in front.
    pub async fn over(directory: TempDir, options: Options, tls: Option<Tls>, front: Front) -> Self {
        Rig::open_with(directory, options, ApiPolicy::default(), tls, |registry| registry.with_front(front)).await
    }

    /// With these options, and the users in a file.
    pub async fn of(options: Options, cors: Option<Cors>) -> Self {
        let (directory, htpasswd) = with_users();
        let options = Options { htpasswd: Some(htpasswd), ..options };
        let allow = |registry: Registry| match cors {
            Some(cors) => registry.with_cors(cors),
            None => registry,
        };
        Rig::open_with(directory, options, ApiPolicy::default(), None, allow).await
    }

    async fn open_with(
        directory: TempDir,
        options: Options,
        policy: ApiPolicy,
        tls: Option<Tls>,
        set: impl FnOnce(Registry) -> Registry,
    ) -> Self {
        let auth = Arc::new(Auth::open(options).expect("usable"));
        let options =
            orlop_engine::Options { backend: Backend::Threads, index: IndexKind::Memory, ..Default::default() };
        let engine = Engine::open(&directory.path().join("root"), options).await.expect("an empty store opens");
        auth.load().expect("readable");
        let registry = Registry::new(engine.clone(), Limits::default(), policy);
        let registry = set(registry).with_access(auth.clone());
        let server = registry.bind(([127, 0, 0, 1], 0).into(), tls).expect("bound");
        let address = server.local_addr().expect("an address");
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(async move {
            server.run(async { drop(stopped.await) }).await.expect("served to the end");
        });
        Rig { address, directory, engine, auth, stop: Some(stop), serving: Some(serving) }
    }

    pub fn htpasswd(&self) -> PathBuf {
        self.directory.path().join("htpasswd")
    }

    /// Sends a request over a connection of its own. `fields` are header lines with their ends.
    pub async fn send(&self, method: &str, target: &str, fields: &str, body: &str) -> Answer {
        let length = if body.is_empty() && !matches!(method, "POST" | "PUT" | "PATCH") {
            String::new()
        } else {
            format!("content-length: {}\r\n", body.len())
        };
        let request =
            format!("{method} {target} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{fields}{length}\r\n{body}");
        let exchange = async {
            let mut stream = TcpStream::connect(self.address).await.expect("accepted");
            stream.write_all(request.as_bytes()).await.expect("sent");
            let mut received = Vec::new();
            stream.read_to_end(&mut received).await.expect("an answer to its end");
            received
        };
        let received = tokio::time::timeout(PATIENCE, exchange).await.expect("in time");
        Answer::read(&received)
    }

    /// Asks for `target` once for each of these fields over one connection, and gives what each is told.
    pub async fn pipeline(&self, target: &str, fields: &[&str]) -> Vec<u16> {
        let exchange = async {
            let mut stream = TcpStream::connect(self.address).await.expect("accepted");
            let mut told = Vec::new();
            let mut received = Vec::new();
            for fields in fields {
                let request = format!("GET {target} HTTP/1.1\r\nhost: a\r\n{fields}\r\n");
                stream.write_all(request.as_bytes()).await.expect("sent");
                // One answer after the other, so that each finds what became of those before it.
                loop {
                    if let Some(end) = received.windows(4).position(|window: &[u8]| window == b"\r\n\r\n") {
                        let answer = Answer::read(&received[..end + 4]);
                        let length = answer.header("content-length").map_or(0, |text| text.parse().expect("a length"));
                        if received.len() >= end + 4 + length {
                            told.push(answer.status.as_u16());
                            drop(received.drain(..end + 4 + length));
                            break;
                        }
                    }
                    let bytes = stream.read_buf(&mut received).await.expect("more");
                    assert!(bytes > 0, "closed after {told:?}");
                }
            }
            told
        };
        tokio::time::timeout(PATIENCE, exchange).await.expect("in time")
    }

    pub async fn as_user(&self, user: &str, method: &str, target: &str, body: &str) -> Answer {
        self.send(method, target, &login(Some(user)), body).await
    }

    pub async fn push_blob(&self, user: &str, repository: &str, content: &str) -> String {
        let digest = sha256(content);
        let target = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
        self.as_user(user, "POST", &target, content).await.expect(201);
        digest
    }

    /// Pushes an index without entries that differs by `note`; gives its digest and the answer.
    pub async fn push(&self, user: &str, repository: &str, reference: &str, note: &str) -> (String, Answer) {
        let document = document(note);
        let reference = if reference.is_empty() { sha256(&document) } else { reference.to_owned() };
        let fields = format!("{}content-type: {INDEX}\r\n", login(Some(user)));
        let answer = self.send("PUT", &format!("/v2/{repository}/manifests/{reference}"), &fields, &document).await;
        (sha256(&document), answer)
    }

    pub async fn stop(mut self) {
        drop(self.stop.take());
        self.serving.take().expect("it serves").await.expect("no panic");
        self.auth.close().await;
        self.engine.close().await.expect("closed");
    }
}

/// An index without entries.
pub fn document(note: &str) -> String {
    format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[],"annotations":{{"note":"{note}"}}}}"#)
}

impl Answer {
    pub fn read(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
        let status = head.get(9..12).and_then(|status| status.parse().ok()).expect("a status");
        let head = head.lines().skip(1).filter(|line| !line.starts_with("date:")).map(str::to_owned).collect();
        Answer { status, head, body: body.to_owned() }
    }

    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        self
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// The values of a field that may be there several times.
    pub fn headers<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        let field =
            move |line: &'a String| line.split_once(": ").filter(|(field, _)| *field == name).map(|(_, value)| value);
        self.head.iter().filter_map(field)
    }

    pub fn challenge(&self) -> &str {
        self.header(WWW_AUTHENTICATE.as_str()).unwrap_or_default()
    }
}
