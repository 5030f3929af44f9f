//! The binary as an operator meets it: exit codes, error lines, the log, signals.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, ChildStdout, Command, Output, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

fn scratch() -> TempDir {
    tempfile::tempdir().expect("a scratch directory")
}

/// How long a command that should end by itself may take, on a loaded machine.
const COMMAND_TIME_MAX: Duration = Duration::from_secs(60);

/// Runs a command to its end; one that does not end is killed and fails the test.
fn orlop(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_orlop"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let process = command.spawn().expect("the binary starts");
    let id = Pid::from_child(&process);
    let (ended, end) = mpsc::channel::<()>();
    let watch = thread::spawn(move || {
        let late = end.recv_timeout(COMMAND_TIME_MAX) == Err(RecvTimeoutError::Timeout);
        if late {
            // An error says that it has ended meanwhile.
            let _ = kill_process(id, Signal::KILL);
        }
        late
    });
    let output = process.wait_with_output().expect("the binary runs");
    drop(ended);
    let late = watch.join().expect("the watch does not panic");
    assert!(!late, "{arguments:?} did not end: {}", String::from_utf8_lossy(&output.stderr));
    output
}

fn utf8(path: &Path) -> &str {
    path.to_str().expect("scratch paths are UTF-8")
}

/// The command ends with `code` and one line on standard error that has every one of `parts`.
#[track_caller]
fn fails(arguments: &[&str], code: i32, parts: &[&str]) {
    let output = orlop(arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {error}");
    assert_eq!(error.lines().count(), 1, "{error:?} is not one line");
    for part in parts {
        assert!(error.contains(part), "{part:?} is not in: {error}");
    }
}

/// A service that runs until it is told to stop; killed if a test fails before that.
struct Service {
    process: Child,
    log: BufReader<ChildStdout>,
    listening: Value,
}

impl Service {
    /// Starts `orlop serve` on a free port and waits until it listens.
    fn start(root: &Path) -> Self {
        Self::start_with(&["--root", utf8(root), "--addr", "127.0.0.1:0"])
    }

    fn start_with(arguments: &[&str]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_orlop"))
            .arg("serve")
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let log = BufReader::new(process.stdout.take().expect("a pipe"));
        let mut service = Self { process, log, listening: Value::Null };
        service.listening = service.wait_for("listening");
        service
    }

    /// Reads the log up to the line with this message.
    fn wait_for(&mut self, message: &str) -> Value {
        let mut line = String::new();
        while self.log.read_line(&mut line).expect("the log is text") > 0 {
            let entry: Value =
                serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?} is no JSON: {error}"));
            if entry["message"].as_str().is_some_and(|text| text.starts_with(message)) {
                return entry;
            }
            line.clear();
        }
        let mut errors = String::new();
        let _ = self.process.stderr.take().map(|mut stderr| stderr.read_to_string(&mut errors));
        panic!("the service ended without saying {message:?}: {errors}");
    }

    fn address(&self) -> SocketAddr {
        self.listening["address"].as_str().expect("a string").parse().expect("an address")
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).expect("the process is there");
    }

    /// Waits for the end; gives the exit code, the rest of the log and standard error.
    fn end(mut self) -> (Option<i32>, String, String) {
        let mut rest = String::new();
        self.log.read_to_string(&mut rest).expect("the log is text");
        let mut errors = String::new();
        let mut stderr = self.process.stderr.take().expect("a pipe");
        stderr.read_to_string(&mut errors).expect("errors are text");
        let status = self.process.wait().expect("the process ends");
        (status.code(), rest, errors)
    }

    fn stop(self) {
        self.signal(Signal::TERM);
        let (code, log, errors) = self.end();
        assert_eq!(code, Some(0), "{log}{errors}");
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Errors say that it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn version_is_that_of_the_package() {
    let output = orlop(&["--version"]);
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("orlop {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn help_lists_the_exit_codes() {
    for arguments in [&["--help"][..], &["serve", "--help"], &["check", "--help"], &["verify", "--help"]] {
        let output = orlop(arguments);
        assert!(output.status.success());
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("5    the root is in use by another process"), "{arguments:?}: {text}");
    }
}

#[test]
fn verify_accepts_every_example() {
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")).expect("the examples") {
        let path = entry.expect("an entry").path();
        let output = orlop(&["verify", utf8(&path)]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{}: ok\n", path.display()));
    }
}

#[test]
fn a_bad_configuration_is_code_2_for_every_command() {
    let directory = scratch();
    let file = directory.path().join("c.json");
    fs::write(&file, r#"{"http": {"prot": "80"}}"#).expect("written");
    for command in ["verify", "serve", "check", "gc"] {
        fails(&[command, utf8(&file)], 2, &["c.json", "\"http.prot\"", "\"http.port\""]);
    }
    let missing = directory.path().join("missing.json");
    fails(&["serve", utf8(&missing)], 2, &["missing.json"]);
}

#[test]
fn a_bad_command_line_is_code_2() {
    for arguments in [&["serve", "--addr", "8080"][..], &["serve", "--unknown"], &["launch"], &[]] {
        assert_eq!(orlop(arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn a_taken_port_is_code_3() {
    let directory = scratch();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    fails(&["serve", "--root", utf8(directory.path()), "--addr", &address], 3, &[&address, "taken"]);
}

#[test]
fn a_root_that_cannot_be_made_is_code_4() {
    let directory = scratch();
    let file = directory.path().join("file");
    fs::write(&file, "not a directory").expect("written");
    let root = file.join("root");
    fails(&["serve", "--root", utf8(&root), "--addr", "127.0.0.1:0"], 4, &[utf8(&root)]);
    fails(&["check", "--root", utf8(&root)], 4, &[utf8(&root)]);
}

#[test]
fn check_does_not_make_a_missing_root() {
    let directory = scratch();
    let root = directory.path().join("missing");
    fails(&["check", "--root", utf8(&root)], 4, &[utf8(&root)]);
    assert!(!root.exists());
}

#[test]
fn a_root_in_use_is_code_5() {
    let directory = scratch();
    let service = Service::start(directory.path());
    fails(&["serve", "--root", utf8(directory.path()), "--addr", "127.0.0.1:0"], 5, &[utf8(directory.path())]);
    fails(&["check", "--root", utf8(directory.path())], 5, &[utf8(directory.path())]);
    service.stop();
}

#[test]
fn a_damaged_index_is_code_6() {
    let directory = scratch();
    Service::start(directory.path()).stop();
    // RocksDB finds everything else through this file.
    fs::write(directory.path().join("index/CURRENT"), "nonsense").expect("written");
    fails(&["serve", "--root", utf8(directory.path()), "--addr", "127.0.0.1:0"], 6, &[utf8(directory.path()), "index"]);
    fails(&["check", "--root", utf8(directory.path())], 6, &[utf8(directory.path()), "index"]);
}

#[test]
fn a_foreign_format_is_code_7() {
    let directory = scratch();
    Service::start(directory.path()).stop();
    fs::write(directory.path().join("FORMAT"), "another store 9\n").expect("written");
    fails(
        &["serve", "--root", utf8(directory.path()), "--addr", "127.0.0.1:0"],
        7,
        &[utf8(directory.path()), "another store 9"],
    );
}

#[test]
fn certificates_that_cannot_be_used_are_code_2() {
    let directory = scratch();
    let (file, cert) = (directory.path().join("c.json"), directory.path().join("cert.pem"));
    fs::write(&file, format!(r#"{{"http": {{"port": 0, "tls": {{"cert": {cert:?}, "key": {cert:?}}}}}}}"#))
        .expect("written");
    let root = directory.path().join("root");
    fails(&["serve", utf8(&file), "--root", utf8(&root)], 2, &["http.tls", "cert.pem"]);
    fs::write(&cert, "not a certificate").expect("written");
    fails(&["serve", utf8(&file), "--root", utf8(&root)], 2, &["http.tls", "cert.pem"]);
    assert!(!root.exists(), "nothing is made before the configuration is known to be good");
}

#[test]
fn listening_is_said_once_with_what_scripts_need() {
    let directory = scratch();
    let service = Service::start(directory.path());
    assert_eq!(service.listening["scheme"], "http");
    assert_eq!(service.listening["root"], utf8(directory.path()));
    assert!(service.listening["io"].is_string(), "{}", service.listening);
    TcpStream::connect(service.address()).expect("it listens where it says");

    service.signal(Signal::TERM);
    let (code, log, _) = service.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("\"listening\""), "{log}");
    assert!(log.contains("\"stopped\""), "{log}");
}

#[test]
fn every_ending_signal_is_graceful() {
    let directory = scratch();
    for signal in [Signal::TERM, Signal::INT] {
        let service = Service::start(directory.path());
        service.signal(signal);
        let (code, log, errors) = service.end();
        assert_eq!(code, Some(0), "{signal:?}: {log}{errors}");
    }
}

#[test]
fn a_hangup_ends_nothing() {
    let directory = scratch();
    let mut service = Service::start(directory.path());
    service.signal(Signal::HUP);
    service.wait_for("there is no configuration file");
    service.stop();
}

#[test]
fn the_schema_is_json_and_describes_the_keys() {
    let output = orlop(&["schema"]);
    assert!(output.status.success());
    let schema: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(schema["properties"]["http"]["properties"]["tls"]["properties"]["cert"]["type"], "string");
    assert_eq!(schema["additionalProperties"], false);
}

#[test]
fn verify_takes_every_format_and_lists_what_is_ignored() {
    let directory = scratch();
    for (name, text) in [
        ("c.json", r#"{"storage": {"gc": true}, "cluster": {"members": []}}"#),
        ("c.toml", "[storage]\ngc = true\n[cluster]\nmembers = []\n"),
        ("c.yaml", "storage: {gc: true}\ncluster: {members: []}\n"),
        ("c.conf", "storage:\n  gc: true\ncluster:\n  members: []\n"),
    ] {
        let file = directory.path().join(name);
        fs::write(&file, text).expect("written");
        fails(&["verify", utf8(&file)], 2, &[name, "\"cluster\" is not supported"]);
        let output = orlop(&["verify", "--ignore-unsupported", utf8(&file)]);
        let shown = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        let lines: Vec<&str> = shown.lines().collect();
        assert!(
            lines.len() == 2 && lines[0].contains("\"cluster\" is ignored") && lines[1].ends_with(": ok"),
            "{shown}"
        );
    }
}

#[test]
fn the_hint_goes_to_standard_error() {
    let directory = scratch();
    let service = Service::start_with(&["--root", utf8(directory.path()), "--addr", "127.0.0.1:0", "--hint"]);
    let push = format!("docker push {}/alpine", service.address());
    service.signal(Signal::TERM);
    let (_, log, errors) = service.end();
    assert!(errors.contains(&push), "{errors}");
    assert!(!log.contains(&push), "{log}");
}

#[test]
fn the_log_goes_to_the_file_that_is_named() {
    let directory = scratch();
    let log = directory.path().join("orlop.log");
    let file = directory.path().join("c.json");
    let root = directory.path().join("root");
    fs::write(&log, "{\"message\":\"earlier\"}\n").expect("written");
    fs::write(
        &file,
        format!(
            r#"{{"http": {{"port": "0"}}, "storage": {{"rootDirectory": {root:?}}}, "log": {{"output": {log:?}, "level": "info"}}}}"#
        ),
    )
    .expect("written");

    // An address that is taken ends the service by itself, with the log written.
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    let output = orlop(&["serve", utf8(&file), "--addr", &address]);
    assert_eq!(output.status.code(), Some(3));
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
    let text = fs::read_to_string(&log).expect("the log");
    assert!(text.starts_with("{\"message\":\"earlier\"}\n"), "{text}");
    assert!(text.contains("\"stopped\""), "{text}");
}

#[test]
fn a_store_checks_clean_after_a_stop() {
    let directory = scratch();
    Service::start(directory.path()).stop();
    let output = orlop(&["check", "--root", utf8(directory.path())]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(!text.trim().is_empty());
}

#[test]
fn a_second_signal_ends_at_once() {
    let directory = scratch();
    let mut service = Service::start(directory.path());
    // A request that never ends: the service answers "100 Continue" once it is in its hands.
    let mut client = TcpStream::connect(service.address()).expect("it listens");
    let digest = format!("sha256:{}", "0".repeat(64));
    write!(
        client,
        "POST /v2/a/blobs/uploads/?digest={digest} HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n\
         Content-Type: application/octet-stream\r\nContent-Length: 1000\r\n\r\n"
    )
    .expect("sent");
    let mut answer = [0; 12];
    client.read_exact(&mut answer).expect("an interim answer");
    assert_eq!(&answer, b"HTTP/1.1 100");

    service.signal(Signal::TERM);
    service.wait_for("stopping");
    service.signal(Signal::INT);
    let (code, log, _) = service.end();
    assert_eq!(code, Some(130), "{log}");
}

/// Sends one request to the service and gives the status line.
fn request(service: &Service, head: &str, body: &str) -> String {
    let mut client = TcpStream::connect(service.address()).expect("it listens");
    let length = body.len();
    write!(client, "{head}\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}")
        .expect("sent");
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("an answer");
    answer.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn retention_explains_every_tag() {
    let directory = scratch();
    let root = directory.path().join("root");
    let file = directory.path().join("c.json");
    let policies = r#"[{"repositories": ["app"], "keepTags": [
        {"patterns": ["^v"], "mostRecentlyPushedCount": 1},
        {"patterns": ["^v", "^old$"], "pulledWithin": "1h"},
        {"patterns": ["^latest$"]}
    ]}]"#;
    let text = format!(r#"{{"storage": {{"rootDirectory": {root:?}, "retention": {{"policies": {policies}}}}}}}"#);
    fs::write(&file, text).expect("written");

    let service = Service::start_with(&[utf8(&file), "--addr", "127.0.0.1:0"]);
    let document = r#"{"schemaVersion":2,"manifests":[]}"#;
    for target in ["app/manifests/latest", "app/manifests/nightly", "app/manifests/v1", "other/manifests/any"] {
        let head = format!("PUT /v2/{target} HTTP/1.1\r\nContent-Type: application/vnd.oci.image.index.v1+json");
        assert!(request(&service, &head, document).contains("201"), "{target}");
    }
    for _ in 0..3 {
        assert!(request(&service, "GET /v2/app/manifests/latest HTTP/1.1", "").contains("200"));
    }
    fails(&["retention", utf8(&file), "--explain", "app"], 5, &[utf8(&root)]);
    service.stop();

    let output = orlop(&["retention", utf8(&file), "--explain", "app", "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let json: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&json["repository"], &json["policy"], &json["dryRun"]), (&"app".into(), &0.into(), &false.into()));
    let tags = json["tags"].as_array().expect("a list");
    let section = "storage.retention.policies[0].keepTags";
    for (tag, name, decision, rule) in [
        (&tags[0], "latest", "keep", &format!("{section}[2].patterns")),
        (&tags[1], "nightly", "delete", &section.to_owned()),
        (&tags[2], "v1", "keep", &format!("{section}[0].mostRecentlyPushedCount")),
    ] {
        assert_eq!((tag["tag"].as_str(), tag["decision"].as_str()), (Some(name), Some(decision)), "{tag}");
        assert_eq!(tag["rule"].as_str(), Some(rule.as_str()), "{tag}");
        assert_eq!(tag["pulls"], 3, "the three tags are of one manifest: {tag}");
        assert!(tag["lastPulledAgeMs"].is_u64() && tag["pushedAgeMs"].is_u64(), "{tag}");
    }

    let output = orlop(&["retention", utf8(&file), "--explain", "app"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(text.lines().count(), 5, "{text}");
    assert!(
        text.lines().any(|line| line.starts_with("nightly  delete") && line.contains("no pattern matches")),
        "{text}"
    );
    assert!(text.ends_with("app: 2 kept, 1 to be deleted\n"), "{text}");
    let output = orlop(&["retention", utf8(&file), "--explain", "other"]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("no policy is for this repository"));
    fails(&["retention", utf8(&file), "--explain", "none"], 2, &["no repository \"none\""]);
    let check = orlop(&["check", "--root", utf8(&root)]);
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
}

#[test]
fn quotas_refuse_pushes_and_their_use_is_shown() {
    let directory = scratch();
    let root = directory.path().join("root");
    let file = directory.path().join("c.json");
    let limits = r#""maxRepos": 2, "quotas": [{"prefix": "team", "bytes": 100}]"#;
    fs::write(&file, format!(r#"{{"storage": {{"rootDirectory": {root:?}, {limits}}}}}"#)).expect("written");
    let service = Service::start_with(&[utf8(&file), "--addr", "127.0.0.1:0"]);
    let document =
        |annotation: &str| format!(r#"{{"schemaVersion":2,"manifests":[],"annotations":{{"a":"{annotation}"}}}}"#);
    let push = |target: &str, document: &str| {
        let head = format!("PUT /v2/{target} HTTP/1.1\r\nContent-Type: application/vnd.oci.image.index.v1+json");
        request(&service, &head, document)
    };
    let (first, second) = (document("0"), document("12345678"));
    assert!(push("team/app/manifests/a", &first).contains("201"));
    assert!(push("team/app/manifests/b", &first).contains("201"), "what is there takes no more");
    assert!(push("team/app/manifests/c", &second).contains("403"));
    assert!(push("other/manifests/a", &second).contains("201"));
    assert!(push("third/manifests/a", &second).contains("429"));
    let mut client = TcpStream::connect(service.address()).expect("it listens");
    write!(client, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").expect("sent");
    let mut metrics = String::new();
    client.read_to_string(&mut metrics).expect("an answer");
    let used = format!("orlop_quota_used_bytes{{prefix=\"team\"}} {}\n", first.len());
    assert!(metrics.contains(&used), "{metrics}");
    assert!(metrics.contains("orlop_quota_limit_bytes{prefix=\"team\"} 100\n"), "{metrics}");
    service.stop();

    let output = orlop(&["usage", utf8(&file), "--json"]);
    let json: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(json["quotas"][0]["usedBytes"], first.len());
    assert_eq!(json["repositories"][0]["repository"], "other");
    assert_eq!(json["repositories"][1]["bytes"], first.len());
    let text = String::from_utf8(orlop(&["usage", "--root", utf8(&root)]).stdout).expect("text");
    assert_eq!(text.lines().count(), 5, "{text}");
    assert!(text.ends_with("team/app\n"), "{text}");
    let check = orlop(&["check", "--root", utf8(&root)]);
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
}

/// Sends one request and gives the whole answer.
fn ask(address: SocketAddr, method: &str, path: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: orlop\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer in text");
    answer
}

/// The digest of `abc` (FIPS 180-2, appendix B.1).
const ABC: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

#[test]
fn gc_takes_what_nothing_needs_once_nobody_relies_on_it() {
    let directory = scratch();
    let root = directory.path().join("root");
    let config = directory.path().join("config.json");
    // Leases of a second, counted in epochs of an eighth; no run by itself.
    let text = format!(
        r#"{{"storage": {{"rootDirectory": {root:?}, "gc": false, "gcDelay": "0s", "gcLease": "1s"}},
            "http": {{"address": "127.0.0.1", "port": "0"}}}}"#
    );
    fs::write(&config, text).expect("written");
    let service = Service::start_with(&[utf8(&config)]);
    let path = format!("/v2/a/blobs/uploads/?digest={ABC}");
    assert!(ask(service.address(), "POST", &path, b"abc").starts_with("HTTP/1.1 201"));
    let status = ask(service.address(), "GET", "/v2/_orlop/gc", b"");
    assert!(status.contains("\"runs\":0"), "{status}");
    // As long as the lease holds, a run that is asked for takes nothing; afterwards it does. Not more
    // often than the log's pipe can take without being read.
    const POLLS_MAX: u32 = 100;
    let mut service = service;
    for poll in 1.. {
        let started = ask(service.address(), "POST", "/v2/_orlop/gc", b"");
        assert!(started.starts_with("HTTP/1.1 202") || started.starts_with("HTTP/1.1 409"), "{started}");
        let metrics = ask(service.address(), "GET", "/metrics", b"");
        if metrics.contains("orlop_blobs_collected_total 1\n") {
            break;
        }
        assert!(poll < POLLS_MAX, "the lease does not end: {started}");
        thread::sleep(Duration::from_millis(100));
    }
    let audited = service.wait_for("collected");
    assert_eq!((&audited["target"], &audited["reason"]), (&"audit".into(), &"unneeded".into()), "{audited}");
    assert_eq!((&audited["namespace"], &audited["digest"]), (&"a".into(), &ABC.into()), "{audited}");
    assert!(ask(service.address(), "GET", &format!("/v2/a/blobs/{ABC}"), b"").starts_with("HTTP/1.1 404"));
    assert!(ask(service.address(), "POST", &path, b"abc").starts_with("HTTP/1.1 201"), "pushed again");
    service.stop();

    // The lease of a push is kept offline as well.
    let output = orlop(&["gc", utf8(&config), "--dry-run", "--json"]);
    let plan: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&plan["totals"]["members"], &plan["waiting"]["leased"]), (&0.into(), &1.into()), "{plan}");
    let output = orlop(&["gc", utf8(&config), "--now"]);
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && report.contains("removed 0 members"), "{report}");
    let output = orlop(&["check", utf8(&config)]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 blobs (3 bytes)"));
}

#[test]
fn gc_does_not_make_a_missing_root() {
    let directory = scratch();
    let missing = directory.path().join("missing");
    fails(&["gc", "--root", utf8(&missing)], 4, &["missing"]);
    assert!(!missing.exists());
}
