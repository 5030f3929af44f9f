//! A registry in this process on a socket, for targets that speak HTTP.
//!
//! Its store is in memory and grows with every input, so that it is replaced now and then.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use orlop_api::{Policy, Registry, limits::Limits};
use orlop_engine::{Engine, Options, index::MemoryIndex, io::SimDisk};
use tokio::sync::oneshot;

use crate::engine::RUNTIME;

/// Inputs that one registry serves.
const INPUTS_MAX: u64 = 10_000;

/// An exchange that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// Short, so that what waits for a time-out is an input's fault and not the fuzzer's time; long enough for a
/// client that the machine has no time for.
const TIMEOUT_MS: u64 = 4_000;

struct Running {
    address: SocketAddr,
    registry: Registry,
    inputs: u64,
    /// Dropping it stops the server.
    _stop: oneshot::Sender<()>,
}

static RUNNING: Mutex<Option<Running>> = Mutex::new(None);

/// The registry for one input, and a number that no other input has got from it.
pub fn registry() -> (SocketAddr, Registry, u64) {
    let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    if running.as_ref().is_none_or(|running| running.inputs == INPUTS_MAX) {
        *running = Some(start());
    }
    let running = running.as_mut().expect("just started");
    running.inputs += 1;
    (running.address, running.registry.clone(), running.inputs)
}

fn start() -> Running {
    RUNTIME.block_on(async {
        let (disk, index) = (Arc::new(SimDisk::new(0)), Arc::new(MemoryIndex::default()));
        let engine = Engine::simulated(disk, index, Options::default()).await.expect("it opens");
        let limits = Limits {
            header_timeout_ms: TIMEOUT_MS,
            idle_timeout_ms: TIMEOUT_MS,
            progress_window_ms: TIMEOUT_MS,
            stall_timeout_ms: TIMEOUT_MS,
            drain_timeout_ms: 100,
            ..Limits::default()
        };
        let registry = Registry::new(engine, limits, Policy::default());
        let server = registry.bind(([127, 0, 0, 1], 0).into(), None).expect("a port is free");
        let address = server.local_addr().expect("it is bound");
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(server.run(async {
            let _ = stopped.await;
        }));
        Running { address, registry, inputs: 0, _stop: stop }
    })
}

/// No handler has panicked: the server survives it, so a count has to tell.
pub fn assert_no_panic(registry: &Registry) {
    let metrics = registry.metrics().encode();
    let panics = metrics.lines().find_map(|line| line.strip_prefix("orlop_http_handler_panics_total "));
    assert!(panics.is_none_or(|panics| panics == "0"), "a handler panicked");
}

/// A connection with patience.
pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the server accepts connections");
    stream.set_read_timeout(Some(PATIENCE)).expect("the option is taken");
    stream.set_write_timeout(Some(PATIENCE)).expect("the option is taken");
    stream.set_nodelay(true).expect("the option is taken");
    stream
}

/// What a client does after its last byte.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// It says that there are no more.
    End,
    /// It waits for the server.
    Wait,
}

/// Sends bytes; everything that comes back until the server ends the connection.
pub fn exchange(address: SocketAddr, sent: &[u8], after: After) -> Vec<u8> {
    let mut stream = connect(address);
    // The server may have closed before it has everything.
    let written = stream.write_all(sent);
    if after == After::End {
        let _ = written.and_then(|()| stream.shutdown(Shutdown::Write));
    }
    let mut received = Vec::new();
    match stream.read_to_end(&mut received) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        Err(error) => panic!("the server does not end the connection: {error}"),
    }
    received
}
