//! The processes that are measured: this executable in another role.
//!
//! A server of its own process has the memory, the threads and the start of a real one.

use std::{
    io::{self, BufRead, BufReader, Read},
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use orlop_api::{Policy, Registry, limits::Limits};
use orlop_engine::{Engine, Options};

use crate::{Outcome, client::Connection, plan::Plan};

/// How often a server's processor time is looked at while its background work ends.
const SETTLE_PERIOD: Duration = Duration::from_millis(500);
/// A server that used less than this share of one core in a period has settled.
const SETTLED_SHARE: f64 = 0.04;
const SETTLE_MAX: Duration = Duration::from_secs(300);

/// Serves the store at `root` on a port of the system's choice, which it prints, until standard
/// input ends.
pub fn serve(root: &Path) -> Outcome<()> {
    // As `orlop serve` does: resident memory is one of the questions.
    rustix::thread::disable_transparent_huge_pages(true)?;
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let engine = Engine::open(root, Options::default()).await?;
        let registry = Registry::new(engine.clone(), Limits::default(), Policy::default());
        let server = registry.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), None)?;
        println!("{}", server.local_addr()?.port());
        let (ended, stop) = tokio::sync::oneshot::channel::<()>();
        thread::spawn(move || {
            // Whatever is said there, or fails: the parent is gone.
            drop(io::stdin().read_to_end(&mut Vec::new()));
            drop(ended);
        });
        server.run(async move { drop(stop.await) }).await?;
        engine.close().await?;
        Ok(())
    })
}

/// Fills a store in another process, which is then killed.
pub fn fill(root: &Path, plan: Plan) -> Outcome<()> {
    let mut command = role("fill", root)?;
    command.arg("--blobs").arg(plan.blobs.to_string());
    if plan.documents {
        command.arg("--documents");
    }
    let mut filler = Guard(command.spawn()?);
    let said = first_line(&mut filler.0)?;
    if said != "filled" {
        return Err(format!("the store could not be filled: {:?}", filler.0.wait()?).into());
    }
    Ok(())
}

/// A running server. Dropping kills it; [`Server::stop`] lets it close its store.
pub struct Server {
    process: Guard,
    pub address: SocketAddr,
    /// From starting the process to its first answer.
    pub start: Duration,
}

impl Server {
    pub async fn start(root: &Path) -> Outcome<Server> {
        let started = Instant::now();
        let mut process = Guard(role("serve", root)?.spawn()?);
        let line = first_line(&mut process.0)?;
        let port: u16 = line.parse().map_err(|_| format!("the server of {} did not start", root.display()))?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let status = Connection::open(address).await?.exchange(b"GET /v2/ HTTP/1.1\r\nhost: scale\r\n\r\n").await?;
        let start = started.elapsed();
        if status != 200 { Err(format!("GET /v2/: {status}").into()) } else { Ok(Server { process, address, start }) }
    }

    /// Waits until the server does nothing any more, above all until compactions are through.
    pub fn settle(&self) -> Outcome<()> {
        let deadline = Instant::now() + SETTLE_MAX;
        let mut before = self.processor_ticks()?;
        while Instant::now() < deadline {
            thread::sleep(SETTLE_PERIOD);
            let now = self.processor_ticks()?;
            // Ticks are hundredths of a second wherever Linux runs.
            if ((now - before) as f64) < SETTLED_SHARE * SETTLE_PERIOD.as_secs_f64() * 100.0 {
                return Ok(());
            }
            before = now;
        }
        Err(format!("the server was not idle after {SETTLE_MAX:?}").into())
    }

    /// Resident memory in bytes.
    pub fn resident_bytes(&self) -> Outcome<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.0.id()))?;
        let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
        let kibibytes = kibibytes.ok_or("/proc has no VmRSS")?;
        Ok(kibibytes.trim().parse::<u64>()? << 10)
    }

    fn processor_ticks(&self) -> Outcome<u64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.0.id()))?;
        // The command in parentheses can contain spaces; user and system time are fields 14 and 15.
        let fields: Vec<&str> =
            stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
        match (fields.get(11), fields.get(12)) {
            (Some(user), Some(system)) => Ok(user.parse::<u64>()? + system.parse::<u64>()?),
            _ => Err("/proc has no processor times".into()),
        }
    }

    /// Stops as on a signal: requests end, the store is closed.
    pub fn stop(mut self) -> Outcome<()> {
        drop(self.process.0.stdin.take());
        let status = self.process.0.wait()?;
        if status.success() { Ok(()) } else { Err(format!("the server ended with {status}").into()) }
    }
}

/// Kills and reaps what is still running.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn role(name: &str, root: &Path) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--role").arg(name).arg("--root").arg(root);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    Ok(command)
}

fn first_line(child: &mut Child) -> Outcome<String> {
    let stdout: ChildStdout = child.stdout.take().ok_or("no standard output")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    Ok(line.trim().to_owned())
}
