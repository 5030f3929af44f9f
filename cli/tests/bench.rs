//! `orlop bench` against a real service, and against registries that misbehave.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Output, Stdio},
    thread,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// `orlop serve` on a store of its own; killed when dropped.
struct Service {
    process: Child,
    address: SocketAddr,
    _root: TempDir,
}

impl Service {
    fn start() -> Self {
        Self::start_with(&[])
    }

    fn start_with(arguments: &[&str]) -> Self {
        let root = tempfile::tempdir().expect("a scratch directory");
        let mut process = Command::new(env!("CARGO_BIN_EXE_orlop"))
            .args(["serve", "--addr", "127.0.0.1:0", "--root"])
            .arg(root.path())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary starts");
        let mut log = BufReader::new(process.stdout.take().expect("a pipe")).lines();
        let address = log
            .by_ref()
            .map(|line| serde_json::from_str::<Value>(&line.expect("text")).expect("JSON"))
            .find_map(|entry| entry["address"].as_str().and_then(|address| address.parse().ok()))
            .expect("it listens");
        // The log is read to its end, so that the service never waits for it.
        thread::spawn(move || log.for_each(drop));
        Self { process, address, _root: root }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The JSON at a path.
    fn get(&self, path: &str) -> Value {
        let mut stream = TcpStream::connect(self.address).expect("it listens");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{answer:?} has no JSON: {error}"))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Errors say that it has ended already.
        let _ = kill_process(Pid::from_child(&self.process), Signal::TERM);
        let _ = self.process.wait();
    }
}

/// A registry whose answers are written by a test: `answer` gets a request's head and returns what
/// follows `HTTP/1.1 ` in the answer, or nothing to break the connection.
fn stub(answer: fn(&str) -> Option<String>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.expect("a connection");
            thread::spawn(move || speak(&stream, answer));
        }
    });
    format!("http://{address}")
}

/// Answers requests until the peer or the test breaks off.
fn speak(stream: &TcpStream, answer: fn(&str) -> Option<String>) -> Option<()> {
    let (mut reader, mut writer) = (BufReader::new(stream), stream);
    loop {
        let (mut head, mut body_bytes) = (String::new(), 0);
        loop {
            let start = head.len();
            reader.read_line(&mut head).ok().filter(|&bytes| bytes > 0)?;
            let header = head[start..].trim().to_ascii_lowercase();
            if let Some(length) = header.strip_prefix("content-length:") {
                body_bytes = length.trim().parse().ok()?;
            }
            if header.is_empty() {
                break;
            }
        }
        std::io::copy(&mut reader.by_ref().take(body_bytes), &mut std::io::sink()).ok()?;
        write!(writer, "HTTP/1.1 {}", answer(&head)?).ok()?;
    }
}

/// Takes every upload.
fn accept(request: &str) -> Option<String> {
    let answer = match request.split_whitespace().next()? {
        "POST" => "202 Accepted\r\nLocation: /upload\r\nContent-Length: 0\r\n\r\n",
        "PUT" => "201 Created\r\nContent-Length: 0\r\n\r\n",
        "DELETE" => "202 Accepted\r\nContent-Length: 0\r\n\r\n",
        _ => "200 OK\r\nContent-Length: 0\r\n\r\n",
    };
    Some(answer.to_owned())
}

fn bench(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_orlop"));
    command.arg("bench").args(arguments).stdin(Stdio::null()).output().expect("the binary runs")
}

/// The exit code and the JSON of a run.
#[track_caller]
fn run(arguments: &[&str]) -> (Option<i32>, Value) {
    let output = bench(&[arguments, &["--output-format", "json"]].concat());
    let report = serde_json::from_slice(&output.stdout);
    let report = report.unwrap_or_else(|_| panic!("no JSON: {}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code(), report)
}

#[track_caller]
fn workload<'a>(report: &'a Value, name: &str) -> &'a Value {
    let workloads = report["workloads"].as_array().expect("a list");
    workloads.iter().find(|workload| workload["name"] == name).unwrap_or_else(|| panic!("no {name:?} in {report}"))
}

#[test]
fn every_workload_of_small_size_succeeds_and_cleans_up() {
    let service = Service::start();
    let filter = "^Get|1MB$|^orlop .*4KiB|^orlop .*1MiB|image|manifest|head|under";
    let (code, report) = run(&[&service.url(), "-c", "2", "-n", "5", "-r", "some/prefix", "-t", filter]);
    assert_eq!((code, &report["failed"]), (Some(0), &Value::Bool(false)), "{report}");
    let workloads = report["workloads"].as_array().expect("a list");
    assert_eq!(workloads.len(), 18, "{report}");
    for load in workloads {
        assert_eq!(load["failures"], Value::Array(vec![]), "{load}");
        assert!(load["requests_per_second"].as_f64() > Some(0.0), "{load}");
        if !load["name"].as_str().expect("a name").contains("under") {
            // Five are rounded down to a multiple of the workers.
            assert_eq!((&load["planned"], &load["completed"]), (&4.into(), &4.into()), "{load}");
        }
    }
    // The catalog goes on naming repositories that have been emptied.
    let catalog = service.get("/v2/_catalog");
    let repositories = catalog["repositories"].as_array().expect("a list");
    assert!(repositories.len() > 20, "{catalog}");
    for repository in repositories.iter().map(|name| name.as_str().expect("a name")) {
        assert!(repository.starts_with("some/prefix/"), "{repository}");
        assert_eq!(service.get(&format!("/v2/{repository}/tags/list"))["tags"], Value::Array(vec![]), "{repository}");
    }
}

#[test]
fn bytes_and_responses_are_those_that_the_workload_moves() {
    let service = Service::start();
    let url = service.url();
    let (_, report) = run(&[
        &url,
        "-c",
        "3",
        "-n",
        "6",
        "-t",
        "^orlop .*blob|5 layers|mounted|^Pull 1MB$|pushed 1MiB|slow",
        "--unique-bytes-max",
        "10000000",
    ]);
    let is = |name: &str, pointer: &str, value: u64| {
        let load = workload(&report, name);
        assert_eq!(load.pointer(pointer).and_then(Value::as_u64), Some(value), "{pointer} of {load}");
    };
    is("orlop push blob 4KiB", "/bytes_sent", 6 * 4096);
    is("orlop push blob 4KiB", "/responses/2xx", 12);
    is("orlop push blob 1MiB", "/bytes_sent", 6 << 20);
    is("orlop pull blob 1MiB", "/bytes_received", 6 << 20);
    is("orlop pull blob 1MiB", "/parts/ttfb/count", 6);
    is("orlop head blob", "/bytes_received", 0);
    is("orlop pull just pushed 1MiB", "/bytes_sent", 6 << 20);
    is("orlop pull just pushed 1MiB", "/bytes_received", 12 << 20);
    is("orlop pull just pushed 1MiB", "/completed", 6);
    is("orlop pull just pushed 1MiB", "/parts/push/count", 6);
    is("orlop pull just pushed 1MiB", "/parts/second pull/count", 6);
    // Each of the three pushes two seconds' worth; four others pull twice before that.
    is("orlop pull under slow pushes", "/workers", 7);
    is("orlop pull under slow pushes", "/bytes_sent", 6 * 65_536);
    is("orlop pull under slow pushes", "/parts/push/count", 6);
    is("orlop pull under slow pushes", "/parts/idle/count", 8);
    is("orlop push same image mounted", "/counts/blobs mounted", 6 * 4);
    is("orlop push image 1 of 5 layers new", "/counts/blobs sent", 6 * 2);
    is("orlop push image 1 of 5 layers new", "/counts/blobs skipped", 6 * 4);
    is("orlop push image 1 of 5 layers new", "/responses/4xx", 6 * 2);
    is("Pull 1MB", "/responses/2xx", 6 * 6);
    is("Pull 1MB", "/parts/ttfb layer GET/count", 6);
    // The limit on unique bytes leaves one request of one worker.
    is("orlop push blob 100MiB", "/bytes_sent", 100 << 20);
    is("orlop push blob 100MiB", "/workers", 1);
    is("orlop push blob 1GiB streamed", "/bytes_sent", 1 << 30);
}

#[test]
fn a_seed_pushes_the_same_again_and_another_does_not() {
    let service = Service::start();
    let url = service.url();
    let sent = |seed: &str| {
        let (code, report) = run(&[&url, "-n", "3", "-t", "5 layers", "--skip-cleanup", "--seed", seed]);
        assert_eq!(code, Some(0), "{report}");
        assert_eq!(report["parameters"]["seed"].to_string(), seed);
        workload(&report, "orlop push image 1 of 5 layers new")["counts"]["blobs sent"].clone()
    };
    assert_eq!(sent("7"), 6);
    assert_eq!(sent("7"), Value::Null, "everything was there");
    assert_eq!(sent("8"), 6);
    assert!(service.get("/v2/_catalog").to_string().contains("bench-"), "--skip-cleanup leaves what was pushed");
}

#[test]
fn a_time_ends_a_workload() {
    let service = Service::start();
    let (code, report) =
        run(&[&service.url(), "-c", "2", "--duration", "0.3", "-t", "orlop head|pull under|^Push Monolith 1MB"]);
    assert_eq!(code, Some(0), "{report}");
    for name in ["orlop head blob", "orlop pull under push", "Push Monolith 1MB"] {
        let load = workload(&report, name);
        assert!(load["completed"].as_u64() > Some(0), "{load}");
    }
    let load = workload(&report, "orlop head blob");
    assert!(load["measured_seconds"].as_f64() >= Some(0.3), "{load}");
    assert_eq!(load["planned"], Value::Null);
}

#[test]
fn slow_pushes_take_the_whole_time_and_pulls_are_measured_before_and_beside_them() {
    let service = Service::start();
    let (code, report) = run(&[
        &service.url(),
        "-c",
        "20",
        "--duration",
        "0.4",
        "--slow-push-rate",
        "100000",
        "-t",
        "slow pushes|under push",
    ]);
    assert_eq!(code, Some(0), "{report}");
    let load = workload(&report, "orlop pull under slow pushes");
    assert_eq!((&load["workers"], &load["bytes_sent"]), (&24.into(), &(20 * 40_000).into()), "{load}");
    assert_eq!(load["parts"]["push"]["count"], 20, "{load}");
    assert!(load["parts"]["push"]["min_us"].as_f64() >= Some(400_000.0), "{load}");
    for name in ["orlop pull under slow pushes", "orlop pull under push"] {
        let load = workload(&report, name);
        assert!(load["idle_seconds"].as_f64() >= Some(0.4), "{load}");
        assert!(load["parts"]["idle"]["count"].as_u64() > Some(0), "{load}");
        assert!(load["completed"].as_u64() > Some(0), "{load}");
    }
}

#[test]
fn a_failure_before_the_load_measures_nothing() {
    let url = stub(|request| if request.contains("/blobs/sha256") { None } else { accept(request) });
    let (code, report) = run(&[&url, "-c", "2", "-t", "under push", "--skip-cleanup"]);
    assert_eq!(code, Some(1), "{report}");
    let load = workload(&report, "orlop pull under push");
    assert_eq!((&load["failures"][0]["phase"], &load["measured_seconds"]), (&"idle".into(), &0.0.into()), "{load}");
}

#[test]
fn what_is_synchronized_on_demand_is_pulled_from_the_target() {
    let service = Service::start();
    let url = service.url();
    let (code, report) = run(&[&url, "-t", "Sync 100MB"]);
    assert_eq!(code, Some(0));
    assert_eq!(report["skipped"][0]["name"], "On-demand Sync 100MB");
    // A registry is its own upstream: what is pushed there can be pulled here.
    let (code, report) = run(&[&url, "-t", "Sync 100MB", "-u", &url, "--skip-cleanup"]);
    assert_eq!(code, Some(0), "{report}");
    let load = workload(&report, "On-demand Sync 100MB");
    assert!(load["bytes_received"].as_u64() > Some(100 << 20), "{load}");
}

#[test]
fn a_refused_request_is_listed_and_is_code_1() {
    let url = stub(|request| match request.split_whitespace().next()? {
        "PUT" => Some("507 Insufficient Storage\r\nContent-Length: 4\r\n\r\nfull".to_owned()),
        _ => accept(request),
    });
    let (code, report) = run(&[&url, "-n", "3", "-t", "push blob 4KiB"]);
    assert_eq!(code, Some(1), "{report}");
    let load = workload(&report, "orlop push blob 4KiB");
    assert_eq!((&load["failed"], &load["completed"], &load["responses"]["5xx"]), (&3.into(), &0.into(), &3.into()));
    assert_eq!(load["failures"][0]["message"], "PUT blob: status 507, expected 201: full");
    assert_eq!(load["failures"][0]["count"], 3);
}

#[test]
fn a_body_of_the_wrong_length_is_a_failure() {
    let url = stub(|request| match request.split_whitespace().nth(1)? {
        path if request.starts_with("GET") && path.contains("/blobs/") => {
            Some("200 OK\r\nContent-Length: 3\r\n\r\nabc".to_owned())
        }
        _ => accept(request),
    });
    let (code, report) = run(&[&url, "-t", "pull blob 4KiB"]);
    assert_eq!(code, Some(1), "{report}");
    let message = &workload(&report, "orlop pull blob 4KiB")["failures"][0]["message"];
    assert_eq!(message, "GET: 3 bytes came, expected 4096");
}

#[test]
fn a_registry_that_breaks_off_is_given_up() {
    let url = stub(|request| if request.starts_with("HEAD") { None } else { accept(request) });
    let (code, report) = run(&[&url, "-n", "1000", "-t", "head blob"]);
    assert_eq!(code, Some(1), "{report}");
    let load = workload(&report, "orlop head blob");
    assert_eq!((&load["failed"], &load["completed"], &load["planned"]), (&16.into(), &0.into(), &1000.into()));
}

#[test]
fn a_set_up_that_fails_measures_nothing() {
    let url = stub(|request| match request {
        request if request.starts_with("POST") => Some("401 Unauthorized\r\nContent-Length: 0\r\n\r\n".to_owned()),
        request => accept(request),
    });
    let (code, report) = run(&[&url, "-t", "get manifest"]);
    assert_eq!(code, Some(1), "{report}");
    let load = workload(&report, "orlop get manifest");
    assert_eq!((&load["failures"][0]["phase"], &load["measured_seconds"]), (&"set-up".into(), &0.0.into()), "{load}");
}

#[test]
fn a_registry_that_is_not_there_is_code_1() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    drop(listener);
    let output = bench(&[&address]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), error.lines().count()), (Some(1), 1), "{error}");
    assert!(error.contains(&format!("http://{address} is not usable")), "{error}");
}

#[test]
fn flags_that_cannot_be_followed_are_code_2() {
    let url = "http://127.0.0.1:1";
    for arguments in [
        &[][..],
        &[url, "-c", "4", "-n", "2"],
        &[url, "-n", "2", "--duration", "1"],
        &[url, "-t", "(a|b)"],
        &[url, "-t", "no such workload"],
        &[url, "-A", "nobody"],
        &["ftp://host"],
        &[url, "--seed", "281474976710656"],
        &[url, "--insecure", "--cacert", "any"],
        &["https://127.0.0.1:1", "--cacert", "/nothing/is/here"],
        &["https://127.0.0.1:1", "--cacert", "/dev/null"],
    ] {
        assert_eq!(bench(arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn names_are_listed_without_a_registry() {
    let names = |arguments: &[&str]| {
        let output = bench(arguments);
        assert!(output.status.success());
        String::from_utf8(output.stdout).expect("text").lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(names(&["-l"]).len(), 35);
    assert_eq!(names(&["-l", "-t", "^On-demand"]), ["On-demand Sync 100MB", "On-demand Sync 1GB"]);
}

#[test]
fn continuous_integration_gets_the_file_that_zb_writes() {
    let service = Service::start();
    let directory = tempfile::tempdir().expect("a scratch directory");
    let file = directory.path().join("ci-cd.json");
    let output = bench(&[&service.url(), "-t", "^Get Catalog$", "-o", "ci-cd", "--ci-cd-file", utf8(&file)]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("Test name: Get Catalog"), "{text}");
    let rows: Value = serde_json::from_slice(&fs::read(&file).expect("written")).expect("JSON");
    assert_eq!((&rows[0]["name"], &rows[0]["unit"]), (&"Get Catalog".into(), &"requests per sec".into()));
    assert!(rows[0]["value"].as_f64() > Some(0.0), "{rows}");
}

#[test]
fn credentials_are_sent_and_not_shown() {
    let url = stub(|request| match request.contains("authorization: Basic dXNlcjpzZWNyZXQ=\r\n") {
        true => accept(request),
        false => Some("401 Unauthorized\r\nContent-Length: 0\r\n\r\n".to_owned()),
    });
    let output = bench(&[&url, "-t", "head blob"]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(error.contains("GET /v2/: status 401, expected 200"), "{error}");

    let output = bench(&[&url, "-A", "user:secret", "-t", "head blob", "-o", "json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!String::from_utf8_lossy(&output.stdout).contains("secret"));
}

#[test]
fn progress_is_shown_on_request() {
    let url = stub(accept);
    let output = bench(&[&url, "-t", "head blob", "--duration", "1.5", "--progress"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("orlop head blob: measuring 1 s, "), "{errors}");
    let output = bench(&[&url, "-t", "head blob", "--duration", "1.5"]);
    assert!(output.stderr.is_empty(), "nothing is shown where nobody looks");
}

#[test]
fn a_registry_is_loaded_over_tls_if_its_certificate_is_trusted() {
    let directory = tempfile::tempdir().expect("a scratch directory");
    let names = ["cert.pem", "key.pem", "other.pem", "config.json"];
    let [cert, key, other, config] = names.map(|name| directory.path().join(name));
    let make = || rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let made = make();
    fs::write(&cert, made.cert.pem()).expect("written");
    fs::write(&other, make().cert.pem()).expect("written");
    fs::write(&key, made.signing_key.serialize_pem()).expect("written");
    fs::write(&config, format!(r#"{{"http": {{"tls": {{"cert": {cert:?}, "key": {key:?}}}}}}}"#)).expect("written");
    let service = Service::start_with(&[utf8(&config)]);
    let url = format!("https://localhost:{}", service.address.port());
    for trust in [&["--cacert", utf8(&cert)][..], &["--insecure"]] {
        let (code, report) = run(&[&[url.as_str(), "-n", "2", "-t", "^orlop pu.. blob 4KiB"], trust].concat());
        assert_eq!((code, report["url"].as_str()), (Some(0), Some(url.as_str())), "{report}");
    }
    for trust in [&["--cacert", utf8(&other)][..], &[]] {
        let output = bench(&[&[url.as_str(), "-t", "head blob"], trust].concat());
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && error.contains("certificate"), "{error}");
    }
}

fn utf8(path: &Path) -> &str {
    path.to_str().expect("scratch paths are UTF-8")
}
