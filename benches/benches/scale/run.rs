//! The order of a run: fill, starts, HEADs, pushes, memory, size.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::{
    Outcome,
    args::{Arguments, Stage},
    latency::{Latencies, Summary},
    load::{self, Heads, Pusher, Target},
    plan::Plan,
    process::{self, Server},
    report::Report,
    size::{self, IndexBytes},
};

/// Both stores are asked in so many turns, so that what else happens on the machine meets both.
const TURNS: u64 = 10;

/// Keep-alive connections that ask at once: they keep two cores busy.
const CONNECTIONS: u64 = 16;

/// Names the plan that a kept store was filled with.
const FILLED: &str = "filled";

/// The directories of a run.
struct Stores {
    full: PathBuf,
    empty: PathBuf,
    directory: PathBuf,
    /// Removed with the run, unless the store is kept.
    _temporary: Option<TempDir>,
}

pub async fn run(arguments: &Arguments) -> Outcome<()> {
    let stores = Stores::new(arguments.store.as_deref())?;
    let wanted = |stage: Stage| arguments.stage.is_none_or(|only| only == stage);
    let mut report = Report::new(arguments.plan);
    if wanted(Stage::Fill) {
        fill(&stores, arguments.plan, &mut report).await?;
    }
    if wanted(Stage::Measure) {
        stores.check(arguments.plan)?;
        starts(&stores, arguments, &mut report).await?;
        warm(&stores, arguments, &mut report).await?;
    }
    if wanted(Stage::Compact) {
        stores.check(arguments.plan)?;
        let tables = size::compact(&stores.full)?;
        report.compacted(IndexBytes::of(&stores.full)?, &tables);
    }
    print!("{report}");
    match &arguments.json {
        Some(path) => Ok(fs::write(path, report.json())?),
        None => Ok(()),
    }
}

impl Stores {
    fn new(kept: Option<&Path>) -> Outcome<Self> {
        // Not in the system's temporary directory, which is in memory on many machines.
        let parent = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let temporary = match kept {
            Some(_) => None,
            None => Some(tempfile::Builder::new().prefix("scale-").tempdir_in(parent)?),
        };
        let directory = kept.or(temporary.as_ref().map(TempDir::path)).unwrap_or(parent).to_owned();
        fs::create_dir_all(&directory)?;
        Ok(Stores { full: directory.join("full"), empty: directory.join("empty"), directory, _temporary: temporary })
    }

    fn note(&self) -> PathBuf {
        self.directory.join(FILLED)
    }

    /// Whether there is a store, filled with this plan. Errors: filled with another one, or partly.
    fn is_filled(&self, plan: Plan) -> Outcome<bool> {
        match fs::read_to_string(self.note()) {
            Ok(found) if found == format!("{plan:?}") => Ok(true),
            Ok(found) => Err(format!("{} has {found}, not {plan:?}", self.directory.display()).into()),
            Err(_) if self.full.exists() => {
                Err(format!("{} was not filled to the end; remove it", self.directory.display()).into())
            }
            Err(_) => Ok(false),
        }
    }

    fn check(&self, plan: Plan) -> Outcome<()> {
        if self.is_filled(plan)? { Ok(()) } else { Err("there is no store yet: --stage fill".into()) }
    }
}

/// Fills both stores, unless they are kept from an earlier run, and measures what only a store that
/// was just filled can tell.
async fn fill(stores: &Stores, plan: Plan, report: &mut Report) -> Outcome<()> {
    if stores.is_filled(plan)? {
        return Ok(());
    }
    eprintln!("filling {} with {} blobs", stores.full.display(), plan.blobs);
    process::fill(&stores.empty, Plan::empty())?;
    let start = std::time::Instant::now();
    process::fill(&stores.full, plan)?;
    report.filled(start.elapsed());
    fs::write(stores.note(), format!("{plan:?}"))?;
    let server = Server::start(&stores.full).await?;
    report.start("start after a kill", server.start);
    server.settle()?;
    server.stop()?;
    report.as_it_stands(IndexBytes::of(&stores.full)?);
    Ok(())
}

/// Clean starts, and the first requests after them with nothing in memory.
async fn starts(stores: &Stores, arguments: &Arguments, report: &mut Report) -> Outcome<()> {
    let server = Server::start(&stores.full).await?;
    report.start("start after a stop", server.start);
    server.settle()?;
    server.stop()?;
    for (target, name) in [(Target::Existing, "HEAD existing"), (Target::Absent, "HEAD absent")] {
        let heads = Heads { target, connections: CONNECTIONS, requests: arguments.requests.div_ceil(TURNS) };
        size::drop_from_memory(&stores.full)?;
        let server = Server::start(&stores.full).await?;
        if target == Target::Existing {
            report.start("start, nothing in memory", server.start);
        }
        let cold = load::heads(server.address, arguments.plan, heads, 1).await?;
        report.latency(&format!("{name}, nothing in memory"), Some(cold.summary()), None);
        server.stop()?;
    }
    Ok(())
}

/// Both servers side by side, their files in the page cache as a server with memory to spare has
/// them after a while.
async fn warm(stores: &Stores, arguments: &Arguments, report: &mut Report) -> Outcome<()> {
    size::load_into_memory(&stores.full)?;
    let (full, empty) = (Server::start(&stores.full).await?, Server::start(&stores.empty).await?);
    report.memory("resident after the start", full.resident_bytes()?, empty.resident_bytes()?);
    let both = [(full.address, arguments.plan), (empty.address, Plan::empty())];
    for (name, target, connections) in [
        ("HEAD existing", Target::Existing, CONNECTIONS),
        ("HEAD absent", Target::Absent, CONNECTIONS),
        ("HEAD existing, 1 connection", Target::Existing, 1),
    ] {
        let requests = arguments.requests.div_ceil(TURNS) * connections.min(4) / 4;
        let [full, empty] = in_turns(both, Heads { target, connections, requests }).await?;
        report.latency(name, Some(full), Some(empty));
    }
    let mut pushers =
        [Pusher::new(full.address, arguments.plan).await?, Pusher::new(empty.address, Plan::empty()).await?];
    for _ in 0..TURNS {
        for pusher in &mut pushers {
            pusher.push(arguments.pushes.div_ceil(TURNS)).await?;
        }
    }
    let [pushed_full, pushed_empty] = pushers.map(|pusher| pusher.latencies.summary());
    report.latency("manifest push", Some(pushed_full), Some(pushed_empty));
    report.memory("resident after the load", full.resident_bytes()?, empty.resident_bytes()?);
    full.stop()?;
    empty.stop()
}

/// Asks two servers in turns.
async fn in_turns(servers: [(SocketAddr, Plan); 2], heads: Heads) -> Outcome<[Summary; 2]> {
    let mut sums = [Latencies::default(), Latencies::default()];
    // Turn 0 warms up and does not count.
    for turn in 0..=TURNS {
        for ((address, plan), sum) in servers.into_iter().zip(&mut sums) {
            let measured = load::heads(address, plan, heads, 2 + turn).await?;
            if turn > 0 {
                sum.merge(measured);
            }
        }
    }
    Ok(sums.map(Latencies::summary))
}
