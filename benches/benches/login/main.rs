//! Question: what does a pull with a password cost the server, beside one without?
//!
//! Workload: an image of ten layers is pulled by a client that asks for one thing after the other over one connection
//! for each pull (HEAD of the tag, manifest, configuration, layers), without credentials and with a password that
//! bcrypt hashed. Both from one server, a process of its own, whose policies let everybody read; a second server,
//! which gives no answers again, tells what of the difference is only that. Servers and ways take turns.
//!
//! What is printed is the processor time of the server for each pull, in user and kernel mode: the median of the
//! rounds, the lowest and the highest, and the median of the ratios to the pull without credentials of the same round.
//!
//! ```text
//!   cargo bench --workspace --bench login            nine rounds of all sizes, two minutes
//!   cargo bench --workspace --bench login -- 5       five rounds
//! ```

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use orlop_engine::{Algorithm, Digest};

mod server;

/// The server's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 9;
const LAYERS: usize = 10;
const SIZES: [(&str, usize); 4] = [("4 KiB", 4 << 10), ("256 KiB", 256 << 10), ("1 MiB", 1 << 20), ("8 MiB", 8 << 20)];

/// Bytes of layers that are pulled in one turn, within the bounds of pulls.
const TURN_BYTES: usize = 1 << 30;
const PULLS: std::ops::RangeInclusive<usize> = 8..=400;

/// Enough for every answer to be kept, and for the password to be known.
const WARM_UP_PULLS: usize = 4;

const LOGIN: &str = "Authorization: Basic YWxpY2U6YSBwYXNzd29yZA==\r\n";

/// The first argument of a server's process.
const SERVE: &str = "serve";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [mode, directory, repeats] = arguments.as_slice()
        && mode == SERVE
    {
        return server::serve(Path::new(directory), repeats == "true");
    }
    let rounds = arguments.iter().filter_map(|argument| argument.parse().ok()).next().unwrap_or(ROUNDS);
    println!("{:44} {:>30} {:>22}", "a pull of ten layers", "server's CPU-us (from, to)", "ratio (from, to)");
    for (label, size) in SIZES {
        compare(label, size, rounds);
    }
}

/// One way to pull from one server.
struct Way {
    name: &'static str,
    server: usize,
    credentials: &'static str,
    /// Microseconds of each round.
    spent: Vec<f64>,
}

fn compare(label: &str, size: usize, rounds: usize) {
    let servers = [true, false].map(Server::start);
    let image = Image::new(size);
    for server in &servers {
        image.push(server);
    }
    let way = |name, server, credentials| Way { name, server, credentials, spent: Vec::new() };
    let mut ways = [
        way("without credentials", 0, ""),
        way("with a password", 0, LOGIN),
        way("without credentials, no answer given again", 1, ""),
    ];
    let pulls = (TURN_BYTES / (size * LAYERS)).clamp(*PULLS.start(), *PULLS.end());
    for way in &ways {
        image.pull(&servers[way.server], way.credentials, WARM_UP_PULLS);
    }
    for round in 0..rounds {
        let turns = ways.len();
        for turn in 0..turns {
            let way = &mut ways[(round + turn) % turns];
            let server = &servers[way.server];
            let before = server.cpu_time();
            image.pull(server, way.credentials, pulls);
            way.spent.push((server.cpu_time() - before).as_secs_f64() * 1e6 / pulls as f64);
        }
    }
    let plain = ways[0].spent.clone();
    for way in &ways {
        let ratios = way.spent.iter().zip(&plain).map(|(spent, plain)| spent / plain).collect();
        let name = format!("{label}: {}", way.name);
        println!("{name:44} {:>30} {:>22}", spread(way.spent.clone(), 0), spread(ratios, 3));
    }
}

/// What is pulled.
struct Image {
    layers: Vec<(String, Vec<u8>)>,
    manifest: String,
}

impl Image {
    /// Ten layers of different bytes.
    fn new(size: usize) -> Self {
        let layer = |number: usize| {
            let mut state = number as u64 * 0x9e37_79b9_7f4a_7c15 + 1;
            let words = std::iter::repeat_with(|| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_le_bytes()
            });
            let content: Vec<u8> = words.take(size / 8).flatten().collect();
            (Digest::of(Algorithm::Sha256, &content).to_string(), content)
        };
        // The first one is the configuration.
        let layers: Vec<_> = (0..=LAYERS).map(layer).collect();
        let descriptor = |(digest, content): &(String, Vec<u8>)| {
            let kind = "application/vnd.oci.image.layer.v1.tar";
            format!(r#"{{"mediaType":"{kind}","digest":"{digest}","size":{}}}"#, content.len())
        };
        let listed: Vec<_> = layers[1..].iter().map(descriptor).collect();
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"{}","config":{},"layers":[{}]}}"#,
            server::MANIFEST,
            descriptor(&layers[0]),
            listed.join(",")
        );
        Image { layers, manifest }
    }

    fn push(&self, server: &Server) {
        let mut client = server.connect();
        for (digest, content) in &self.layers {
            let target = format!("/v2/app/blobs/uploads/?digest={digest}");
            assert_eq!(client.ask("POST", &target, LOGIN, content), 201);
        }
        let fields = format!("{LOGIN}Content-Type: {}\r\n", server::MANIFEST);
        assert_eq!(client.ask("PUT", "/v2/app/manifests/latest", &fields, self.manifest.as_bytes()), 201);
    }

    fn pull(&self, server: &Server, credentials: &str, times: usize) {
        let digest = Digest::of(Algorithm::Sha256, self.manifest.as_bytes());
        let fields = format!("{credentials}Accept: {}\r\nUser-Agent: bench\r\n", server::MANIFEST);
        for _ in 0..times {
            let mut client = server.connect();
            assert_eq!(client.ask("HEAD", "/v2/app/manifests/latest", &fields, &[]), 200);
            assert_eq!(client.ask("GET", &format!("/v2/app/manifests/{digest}"), &fields, &[]), 200);
            for (digest, _) in &self.layers {
                assert_eq!(client.ask("GET", &format!("/v2/app/blobs/{digest}"), &fields, &[]), 200);
            }
        }
    }
}

/// A server in a process of its own; it ends when its input does.
struct Server {
    child: Child,
    address: String,
    _directory: tempfile::TempDir,
}

impl Server {
    fn start(repeats: bool) -> Self {
        let parent = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let directory = tempfile::Builder::new().prefix("login-").tempdir_in(parent).expect("cargo's directory");
        let mut command = Command::new(std::env::current_exe().expect("it runs"));
        command.arg(SERVE).arg(directory.path()).arg(repeats.to_string());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("started");
        let mut address = String::new();
        let output = child.stdout.take().expect("piped");
        BufReader::new(output).read_line(&mut address).expect("it says where it is");
        Server { child, address: address.trim_end().to_owned(), _directory: directory }
    }

    fn connect(&self) -> Client {
        let stream = TcpStream::connect(&self.address).expect("accepted");
        stream.set_nodelay(true).expect("a socket");
        Client { stream: BufReader::with_capacity(256 << 10, stream) }
    }

    /// Processor time of all its threads, in nanoseconds as the scheduler counts it (proc_pid_schedstat(5)).
    fn cpu_time(&self) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("it runs");
        let of_task = |task: fs::DirEntry| {
            let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            text.split(' ').next().and_then(|nanoseconds| nanoseconds.parse().ok()).unwrap_or(0)
        };
        Duration::from_nanos(tasks.flatten().map(of_task).sum())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    /// Sends a request, reads the answer to its end and gives its status.
    fn ask(&mut self, method: &str, target: &str, fields: &str, body: &[u8]) -> u16 {
        let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        let head = format!("{method} {target} HTTP/1.1\r\nHost: a\r\n{fields}{length}\r\n");
        let stream = self.stream.get_mut();
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)).expect("sent");
        let mut status = 0;
        let mut left = 0;
        loop {
            let mut line = String::new();
            assert!(self.stream.read_line(&mut line).expect("received") > 0, "the server closed");
            if line == "\r\n" {
                break;
            }
            if status == 0 {
                status = line[9..12].parse().expect("a status");
            } else if let Some(value) = line.strip_prefix("content-length: ") {
                left = value.trim_end().parse().expect("a length");
            }
        }
        if method != "HEAD" {
            let read = std::io::copy(&mut (&mut self.stream).take(left), &mut std::io::sink()).expect("received");
            assert_eq!(read, left, "the whole answer");
        }
        status
    }
}

/// The median, and the extremes in parentheses.
fn spread(mut values: Vec<f64>, decimals: usize) -> String {
    values.sort_by(f64::total_cmp);
    let (Some(first), Some(last)) = (values.first(), values.last()) else { return String::new() };
    format!("{:.decimals$} ({first:.decimals$} to {last:.decimals$})", values[values.len() / 2])
}
