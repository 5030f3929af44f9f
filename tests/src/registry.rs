//! The registry under test: the binary `orlop` on a root and a port of its own.

use std::{
    env, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    Client, Repository, SmallDisk, disk,
    process::{Ended, Process, run},
    tls::Certificates,
};

/// Names an executable to test instead of the one that was built beside the tests.
const BINARY_OVERRIDE: &str = "ORLOP_BINARY";

/// Lines of its log that a failed test shows.
const SHOWN_LINES_MAX: usize = 20;

/// What moves the bytes to the disk, as in the configuration's `storage.io`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Io {
    #[default]
    Auto,
    Ring,
    Threads,
}

impl Io {
    fn as_str(self) -> &'static str {
        match self {
            Io::Auto => "auto",
            Io::Ring => "ring",
            Io::Threads => "threads",
        }
    }
}

/// How to start a registry.
#[derive(Debug, Clone, Default)]
pub struct Options {
    pub io: Io,
    /// HTTPS with a certificate made for the test.
    pub tls: bool,
    /// Further configuration, merged over the harness's own.
    pub config: Option<Value>,
    /// A file system of its own with so many bytes for the store. [`SmallDisk`] says what it needs.
    pub disk_bytes: Option<u64>,
    /// An existing directory for the store, which the test looks after.
    pub parent: Option<PathBuf>,
}

impl Options {
    pub fn io(io: Io) -> Self {
        Self { io, ..Self::default() }
    }

    pub fn tls() -> Self {
        Self { tls: true, ..Self::default() }
    }
}

/// A registry that serves, or one that was killed and can be started again on its root.
///
/// End each test with [`Registry::finish`]; dropping it unfinished fails the test.
pub struct Registry {
    process: Option<Process>,
    address: SocketAddr,
    options: Options,
    certificates: Option<Certificates>,
    // Unmounted before its directory is removed: fields are dropped in order.
    small_disk: Option<SmallDisk>,
    directory: TempDir,
    finished: bool,
}

impl Registry {
    /// Starts a registry on a fresh root and a free port and waits until it is ready.
    ///
    /// # Panics
    /// If it does not come up.
    pub async fn start(options: Options) -> Self {
        let mut registry = Self::prepare(options);
        registry.restart().await;
        registry
    }

    /// What [`Registry::start`] starts, still to be started.
    ///
    /// # Panics
    /// If its directory or its disk can't be made.
    pub fn prepare(options: Options) -> Self {
        let directory = disk::temporary_directory();
        let certificates = options.tls.then(|| Certificates::write(directory.path()));
        let mount = |bytes| SmallDisk::mount(directory.path(), bytes).unwrap_or_else(|error| panic!("{error}"));
        let small_disk = options.disk_bytes.map(mount);
        Self {
            process: None,
            address: ([127, 0, 0, 1], 0).into(),
            options,
            certificates,
            small_disk,
            directory,
            finished: false,
        }
    }

    /// Starts it again on the same root, after [`Registry::kill`] or [`Registry::stop`].
    ///
    /// # Panics
    /// If it still runs or does not come up.
    pub async fn restart(&mut self) {
        let mut command = self.serve_command();
        self.restart_by(&mut command).await;
    }

    /// Starts it again by a command that ends in [`Registry::serve_command`], such as a shell that
    /// sets limits before.
    ///
    /// # Panics
    /// If it still runs or does not come up.
    pub async fn restart_by(&mut self, command: &mut Command) {
        assert!(self.process.is_none(), "the registry still runs");
        let process = Process::spawn(command);
        self.address = process
            .wait_for_line(listening_address)
            .unwrap_or_else(|output| panic!("the registry never listened; it wrote:\n{output}"));
        self.process = Some(process);
        let ready = self.client().get("/readyz").await;
        assert_eq!(ready.status, 200, "/readyz once it listens: {ready:?}");
    }

    /// Like [`Registry::restart`], but gives up if `is_in_vain` before it listens: false then, and it
    /// is still to be killed. Errors: it ended, with what it wrote.
    ///
    /// # Panics
    /// If it still runs.
    pub fn try_restart(&mut self, is_in_vain: impl Fn() -> bool) -> Result<bool, String> {
        let mut command = self.serve_command();
        self.try_restart_by(&mut command, is_in_vain)
    }

    /// Like [`Registry::try_restart`], by a command that ends in [`Registry::serve_command`].
    ///
    /// # Panics
    /// If it still runs.
    pub fn try_restart_by(&mut self, command: &mut Command, is_in_vain: impl Fn() -> bool) -> Result<bool, String> {
        assert!(self.process.is_none(), "the registry still runs");
        let mut process = Process::spawn(command);
        match process.wait_for_line_unless(listening_address, is_in_vain) {
            Ok(address) => {
                self.address = address.unwrap_or(self.address);
                self.process = Some(process);
                Ok(address.is_some())
            }
            Err(output) => {
                process.wait();
                Err(output)
            }
        }
    }

    /// Starts it on the same root and kills it after a while, ready or not: a crash during recovery.
    pub async fn start_and_kill(&mut self, after: Duration) {
        assert!(self.process.is_none(), "the registry still runs");
        self.process = Some(Process::spawn(&mut self.serve_command()));
        tokio::time::sleep(after).await;
        self.kill();
    }

    /// Further configuration, from the next start on.
    pub fn reconfigure(&mut self, config: Value) {
        self.options.config = Some(config);
    }

    /// Further configuration, written to the file while it runs.
    pub fn rewrite(&mut self, config: Value) {
        self.reconfigure(config);
        self.write_config();
    }

    /// Sends a signal to the process that serves.
    pub fn signal(&self, signal: Signal) {
        self.running().signal(signal);
    }

    fn write_config(&self) -> PathBuf {
        let path = self.directory.path().join("config.json");
        let text = serde_json::to_vec_pretty(&self.config()).expect("a JSON value can be written");
        fs::write(&path, text).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
        path
    }

    /// The command that serves this root, with its configuration written anew.
    pub fn serve_command(&self) -> Command {
        let path = self.write_config();
        let mut command = Command::new(binary());
        command.arg("serve").arg(path).current_dir(self.directory.path());
        command
    }

    fn config(&self) -> Value {
        let mut config = json!({
            "storage": { "rootDirectory": self.root(), "io": self.options.io.as_str() },
            "http": { "address": "127.0.0.1", "port": "0" },
            "log": { "level": "info" },
        });
        if let Some(certificates) = &self.certificates {
            config["http"]["tls"] = json!({ "cert": certificates.cert(), "key": certificates.key() });
        }
        if let Some(further) = &self.options.config {
            merge(&mut config, further);
        }
        config
    }

    /// The store's directory.
    pub fn root(&self) -> PathBuf {
        let own = self.small_disk.as_ref().map_or(self.directory.path(), SmallDisk::path);
        self.options.parent.as_deref().unwrap_or(own).join("root")
    }

    /// The file system of its own, if it has one.
    pub fn small_disk(&self) -> Option<&SmallDisk> {
        self.small_disk.as_ref()
    }

    /// A directory for the test's own files, removed with the store.
    pub fn scratch(&self, name: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::create_dir_all(&path).unwrap_or_else(|error| panic!("cannot create {}: {error}", path.display()));
        path
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The CA that the clients are to trust; only with TLS.
    pub fn certificates(&self) -> Option<&Certificates> {
        self.certificates.as_ref()
    }

    /// A client over HTTP/1.1, with TLS if the registry has it.
    pub fn client(&self) -> Client {
        match &self.certificates {
            Some(certificates) => Client::tls(self.address, certificates, false),
            None => Client::plain(self.address),
        }
    }

    /// A client over HTTP/2 and TLS.
    ///
    /// # Panics
    /// If the registry was started without TLS.
    pub fn client_http2(&self) -> Client {
        let certificates = self.certificates.as_ref().expect("HTTP/2 is negotiated inside TLS");
        Client::tls(self.address, certificates, true)
    }

    pub fn repository(&self, name: &str) -> Repository {
        Repository::new(self.client(), name)
    }

    /// Resident memory of the process, in bytes, at its highest since the start.
    pub fn memory_peak_bytes(&self) -> u64 {
        let path = format!("/proc/{}/status", self.running().id());
        let status = fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {path}: {error}"));
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("/proc has VmHWM");
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("VmHWM is a number of kB");
        kib * 1024
    }

    /// Waits until its log has this, if it does not have it already.
    ///
    /// # Panics
    /// If it never does.
    pub fn wait_for_log(&self, part: &str) {
        let process = self.running();
        // What is written was put there before it is a line to wait for.
        if !process.output().contains(part) {
            let found = process.wait_for_line(|line| line.contains(part).then_some(()));
            found.unwrap_or_else(|output| panic!("never said {part:?}; it wrote:\n{output}"));
        }
    }

    /// The id of the process that serves.
    pub fn process_id(&self) -> u32 {
        self.running().id()
    }

    /// What the process has written so far: its log.
    pub fn output(&self) -> String {
        self.running().output()
    }

    fn running(&self) -> &Process {
        self.process.as_ref().expect("the registry was stopped")
    }

    /// SIGKILL: nothing is flushed, nothing is answered. Its root stays.
    pub fn kill(&mut self) {
        self.kill_while(|| {});
    }

    /// SIGKILL, then `meanwhile`, then waits for the end: for a process that waits for a disk that does
    /// not answer, and can't end before the disk is gone.
    pub fn kill_while(&mut self, meanwhile: impl FnOnce()) {
        let mut process = self.process.take().expect("the registry was stopped");
        process.signal(Signal::KILL);
        meanwhile();
        process.wait();
    }

    /// SIGTERM, and an exit with code 0. Its root stays.
    ///
    /// # Panics
    /// If it exits with another code, or not at all.
    pub fn stop(&mut self) -> String {
        let mut process = self.process.take().expect("the registry was stopped");
        process.signal(Signal::TERM);
        let status = process.wait();
        assert!(status.success(), "SIGTERM ended the registry with {status}; it wrote:\n{}", process.output());
        process.output()
    }

    /// `orlop check` over the root of a stopped registry.
    pub fn check(&self) -> Ended {
        assert!(self.process.is_none(), "check reads a store that no process has open");
        run(Command::new(binary()).arg("check").arg("--root").arg(self.root()))
    }

    /// What the index's own diagnostic log says, as far as it is there, and the names beside it.
    pub fn index_log(&self) -> String {
        let directory = self.root().join("index");
        let log = fs::read(directory.join("LOG")).unwrap_or_default();
        let names = fs::read_dir(&directory).into_iter().flatten().flatten();
        let mut names: Vec<String> = names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        format!("{}{}", String::from_utf8_lossy(&log), names.join(" "))
    }

    /// `orlop rebuild --replace` over the root of a registry that does not run.
    pub fn rebuild(&self) -> Ended {
        assert!(self.process.is_none(), "rebuild makes the index of a store that no process has open");
        run(Command::new(binary()).arg("rebuild").arg("--replace").arg("--root").arg(self.root()))
    }

    /// Stops the registry if it runs and asserts that the store breaks no invariant.
    ///
    /// # Panics
    /// If it does not stop cleanly or `orlop check` has findings.
    pub fn finish(mut self) {
        if self.process.is_some() {
            self.stop();
        }
        let checked = self.check();
        assert!(
            checked.status.success(),
            "orlop check ended with {}\n{}{}",
            checked.status,
            checked.stdout,
            checked.stderr
        );
        self.finished = true;
    }

    /// For a test whose disk lies: ends at once, whether it runs or not, and without a check.
    pub fn abandon(&mut self) {
        if self.process.is_some() {
            self.kill();
        }
        self.finished = true;
    }

    /// For a test that damaged the store on purpose: ends without a clean check.
    pub fn finish_damaged(mut self) {
        if self.process.is_some() {
            self.stop();
        }
        self.finished = true;
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        if thread::panicking() {
            if let Some(process) = &self.process {
                let output = process.output();
                let lines: Vec<&str> = output.lines().collect();
                let shown = &lines[lines.len().saturating_sub(SHOWN_LINES_MAX)..];
                eprintln!("--- the last the registry wrote:\n{}", shown.join("\n"));
            }
        } else {
            assert!(self.finished, "end the test with Registry::finish");
        }
    }
}

/// The executable under test: beside the directory that the test executable lies in.
///
/// # Panics
/// If it has not been built.
pub fn binary() -> PathBuf {
    if let Some(path) = env::var_os(BINARY_OVERRIDE) {
        return path.into();
    }
    let path = profile_directory().join("orlop");
    assert!(path.exists(), "{} is not there: run `make test`, which builds it before the tests", path.display());
    path
}

/// `target/release`, from `target/release/deps/<test executable>`.
pub(crate) fn profile_directory() -> PathBuf {
    let executable = env::current_exe().expect("the test knows its own executable");
    executable.ancestors().nth(2).map_or_else(|| Path::new(".").to_owned(), Path::to_owned)
}

/// The address in the log line `{"message":"listening","address":"127.0.0.1:PORT",...}`.
fn listening_address(line: &str) -> Option<SocketAddr> {
    let line: Value = serde_json::from_str(line).ok()?;
    (line["message"] == "listening").then(|| line["address"].as_str()?.parse().ok())?
}

/// Puts `over` on top of `base`, object by object.
fn merge(base: &mut Value, over: &Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                merge(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over.clone(),
    }
}
