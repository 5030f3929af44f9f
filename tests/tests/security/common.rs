//! What the attacks share: their scale, a registry with limits of its own, bytes on a bare socket,
//! and what a process takes.

use std::{
    env, fmt, fs,
    time::{Duration, Instant},
};

use orlop_tests::{Client, Options, Registry, process::PATIENCE};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    runtime::Builder,
    task::spawn_blocking,
    time::{sleep, timeout},
};

/// Sets how many connections or requests an attack makes.
const CONNECTIONS: &str = "ORLOP_ATTACK_CONNECTIONS";

/// Sets for how many seconds a flood goes on.
const SECONDS: &str = "ORLOP_ATTACK_SECONDS";

/// What `make test` attacks with unless a case says otherwise.
pub const CONNECTIONS_DEFAULT: usize = 200;

/// Clock ticks in a second of `/proc/PID/stat`: fixed in the kernel's interface to programs.
const TICKS_PER_SECOND: f64 = 100.0;

/// The size of an attack: what the environment says, or `default`.
pub fn connections(default: usize) -> usize {
    number(CONNECTIONS).unwrap_or(default)
}

pub fn flood_time() -> Duration {
    Duration::from_secs(number(SECONDS).unwrap_or(1) as u64)
}

fn number(name: &str) -> Option<usize> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}, a whole number was expected")))
}

/// Options with these limits of `docs/limits.md`.
pub fn limits(limits: Value) -> Options {
    Options { config: Some(json!({ "http": { "limits": limits } })), ..Options::default() }
}

pub async fn start() -> Registry {
    Registry::start(Options::default()).await
}

/// Bytes on a bare connection, and whatever comes back.
pub struct Wire {
    pub stream: TcpStream,
    received: Vec<u8>,
}

/// The head and the body of an answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Wire {
    pub async fn open(registry: &Registry) -> Self {
        Self::of(TcpStream::connect(registry.address()).await)
    }

    /// A client whose system takes no more than a few KiB in advance. (Here the system's memory for sockets is that of
    /// the registry's as well.)
    pub async fn open_clamped(registry: &Registry) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4 << 10).expect("a new socket takes the option");
        Self::of(socket.connect(registry.address()).await)
    }

    fn of(connected: std::io::Result<TcpStream>) -> Self {
        let stream = connected.expect("the registry accepts connections");
        stream.set_nodelay(true).expect("a connected socket takes the option");
        Self { stream, received: Vec::new() }
    }

    /// Sends bytes; false if the registry has closed.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        within(self.stream.write_all(bytes.as_ref())).await.is_ok()
    }

    /// The head of the next answer, which is all of it after a HEAD; empty when the connection ends first.
    pub async fn head(&mut self) -> String {
        let end = loop {
            if let Some(at) = self.received.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            if self.more().await == 0 {
                return String::new();
            }
        };
        String::from_utf8(self.received.drain(..end).collect()).expect("heads are ASCII")
    }

    /// The next answer with a Content-Length or without a body; `None` when the connection ends first.
    pub async fn reply(&mut self) -> Option<Reply> {
        let head = self.head().await;
        if head.is_empty() {
            return None;
        }
        let status = head[9..12].parse().expect("a status");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length = length.map_or(0, |length| length.parse().expect("a length"));
        while self.received.len() < length {
            if self.more().await == 0 {
                return None;
            }
        }
        Some(Reply { status, head, body: self.received.drain(..length).collect() })
    }

    /// Everything until the connection ends, whether in order or by a reset.
    pub async fn rest(&mut self) -> Vec<u8> {
        while self.more().await > 0 {}
        std::mem::take(&mut self.received)
    }

    async fn more(&mut self) -> usize {
        let mut buffer = vec![0; 64 << 10];
        let read = within(self.stream.read(&mut buffer)).await.unwrap_or(0);
        self.received.extend_from_slice(&buffer[..read]);
        read
    }
}

/// The status of the one answer to `request`, which may be anything; `None` if there was none.
pub async fn status_of(registry: &Registry, request: impl AsRef<[u8]>) -> Option<u16> {
    let mut wire = Wire::open(registry).await;
    wire.send(request).await;
    wire.reply().await.map(|reply| reply.status)
}

/// `future`, which must end in time.
pub async fn within<F: Future>(future: F) -> F::Output {
    timeout(PATIENCE, future).await.expect("within the patience of the test")
}

/// Asks again and again until `holds`; for what the registry does on its own account.
pub async fn until<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "it never came about that {what}");
        tokio::task::yield_now().await;
    }
}

/// Resident memory of a process in bytes, as the kernel counts it now.
pub fn resident_bytes(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("/proc has VmRSS");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("VmRSS is a number of kB") * 1024
}

/// Processor time that a process has used.
pub fn processor_time(process: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).expect("the process runs");
    // The name in parentheses may hold anything; the fields after it are numbers (proc_pid_stat(5)).
    let fields: Vec<&str> = stat[stat.rfind(')').expect("a name") + 1..].split_ascii_whitespace().collect();
    let ticks = |at: usize| fields[at].parse::<f64>().expect("a number of ticks");
    Duration::from_secs_f64((ticks(11) + ticks(12)) / TICKS_PER_SECOND)
}

/// Descriptors that a process has open.
pub fn open_files(process: u32) -> usize {
    fs::read_dir(format!("/proc/{process}/fd")).expect("the process runs").count()
}

/// Waits until the registry's metrics have a line that starts with `name` and whose value `holds` likes.
pub async fn metric(registry: &Registry, name: &str, holds: impl Fn(u64) -> bool) {
    let client = registry.client();
    until(&format!("the metric {name} is as expected"), async || {
        let text = client.get("/metrics").await.expect(200);
        let text = String::from_utf8(text.body.to_vec()).expect("metrics are text");
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        holds(value.unwrap_or(0))
    })
    .await;
}

/// How long requests took.
pub struct Waits(Vec<Duration>);

impl fmt::Display for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |part: usize| self.0[(self.0.len() - 1) * part / 100];
        write!(f, "{:?} (half), {:?} (99 %), {:?} (longest)", at(50), at(99), at(100))
    }
}

/// What a client waits for one small request after the other, on a thread that has nothing else to do.
pub async fn others(client: &Client, time: Duration) -> Waits {
    let client = client.clone();
    let asking = async move {
        let (begin, mut waits) = (Instant::now(), Vec::new());
        while begin.elapsed() < time {
            let asked = Instant::now();
            client.get("/v2/").await.expect(200);
            waits.push(asked.elapsed());
            sleep(Duration::from_millis(10)).await;
        }
        waits.sort();
        Waits(waits)
    };
    let runtime = || Builder::new_current_thread().enable_all().build().expect("a runtime");
    spawn_blocking(move || runtime().block_on(asking)).await.expect("others are served")
}
