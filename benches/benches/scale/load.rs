//! Requests against one server, each timed by itself.

use std::{
    net::SocketAddr,
    time::{Duration, Instant, SystemTime},
};

use orlop_engine::{Algorithm, Digest};
use tokio::task::JoinSet;

use crate::{
    Outcome,
    client::Connection,
    latency::Latencies,
    plan::{self, CONTENT_BYTES, Plan, RUN_BLOBS, Random},
};

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Blobs that are there, in the repository that has them.
    Existing,
    /// Digests that no repository has.
    Absent,
}

/// HEADs for random blobs.
#[derive(Clone, Copy)]
pub struct Heads {
    pub target: Target,
    /// Each sends its next request when it has the answer to the last.
    pub connections: u64,
    pub requests: u64,
}

/// Sends them. Errors: any status but the expected one.
pub async fn heads(address: SocketAddr, plan: Plan, heads: Heads, seed: u64) -> Outcome<Latencies> {
    let Heads { target, connections, requests } = heads;
    let mut workers = JoinSet::new();
    for worker in 0..connections {
        let mut random = Random::new(seed * connections + worker);
        let count = requests.div_ceil(connections);
        let asked: Vec<Vec<u8>> = (0..count).map(|_| head(plan, target, &mut random)).collect();
        let connection = Connection::open(address).await?;
        workers.spawn_local(ask(connection, asked, if target == Target::Existing { 200 } else { 404 }));
    }
    let start = Instant::now();
    let mut latencies = Latencies::default();
    while let Some(timed) = workers.join_next().await {
        latencies.extend(timed??);
    }
    latencies.took += start.elapsed();
    Ok(latencies)
}

fn head(plan: Plan, target: Target, random: &mut Random) -> Vec<u8> {
    let number = random.below(plan.blobs);
    let digest = match target {
        Target::Existing => plan::digest(number),
        Target::Absent => plan::absent(number),
    };
    let repository = plan::repository(number / RUN_BLOBS);
    format!("HEAD /v2/{repository}/blobs/{digest} HTTP/1.1\r\nhost: scale\r\n\r\n").into_bytes()
}

async fn ask(mut connection: Connection, requests: Vec<Vec<u8>>, expected: u16) -> Result<Vec<Duration>, String> {
    let mut timed = Vec::with_capacity(requests.len());
    for request in requests {
        let start = Instant::now();
        let status = connection.exchange(&request).await.map_err(|error| error.to_string())?;
        timed.push(start.elapsed());
        if status != expected {
            return Err(format!("{expected} expected, {status} found: {}", String::from_utf8_lossy(&request)));
        }
    }
    Ok(timed)
}

/// Pushes manifests to one server over one connection.
pub struct Pusher {
    connection: Connection,
    plan: Plan,
    random: Random,
    /// Makes manifests and tags those of this run of the tool.
    nonce: u128,
    pushed: u64,
    pub latencies: Latencies,
}

impl Pusher {
    pub async fn new(address: SocketAddr, plan: Plan) -> Outcome<Self> {
        let nonce = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_nanos();
        let connection = Connection::open(address).await?;
        Ok(Pusher { connection, plan, random: Random::new(7), nonce, pushed: 0, latencies: Latencies::default() })
    }

    /// Pushes `count` manifests, one after the other, each by a new tag into a random repository,
    /// with a config and a layer that the repository has.
    pub async fn push(&mut self, count: u64) -> Outcome<()> {
        for _ in 0..count {
            let request = self.request();
            let start = Instant::now();
            let status = self.connection.exchange(&request).await?;
            let took = start.elapsed();
            self.latencies.extend(vec![took]);
            self.latencies.took += took;
            if status != 201 {
                return Err(format!("201 expected, {status} found: {}", String::from_utf8_lossy(&request)).into());
            }
        }
        Ok(())
    }

    fn request(&mut self) -> Vec<u8> {
        let run = self.random.below(self.plan.runs());
        let [config, layer] = [0; 2].map(|_| plan::digest(run * RUN_BLOBS + self.random.below(RUN_BLOBS)));
        self.pushed += 1;
        let tag = format!("{:x}-{}", self.nonce, self.pushed);
        let body = format!(
            r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{},"layers":[{}],"annotations":{{"tag":"{tag}"}}}}"#,
            descriptor(CONFIG, &config),
            descriptor(LAYER, &layer),
        );
        let repository = plan::repository(run);
        let length = body.len();
        format!(
            "PUT /v2/{repository}/manifests/{tag} HTTP/1.1\r\nhost: scale\r\ncontent-type: {MANIFEST}\r\ncontent-length: {length}\r\n\r\n{body}"
        )
        .into_bytes()
    }
}

fn descriptor(media_type: &str, digest: &Digest) -> String {
    debug_assert_eq!(digest.algorithm(), Algorithm::Sha256);
    format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{CONTENT_BYTES}}}"#)
}
