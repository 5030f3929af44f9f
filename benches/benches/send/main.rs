//! Question: which way of handing hot content to a socket costs least, with and without a check of
//! every byte, and what does the send buffer towards a client on the same machine change?
//!
//! Workload: one connection over loopback, whose client reads and drops; content of 1 MiB and of
//! 100 MiB, sent again and again, in the page cache all the time. Ways: `memory` (what was verified
//! before), `pooled` (read into a buffer), `mapped` (pages of the file), `sendfile` (of the file, and
//! of an anonymous file in memory); `+crc` checks each chunk of 64 KiB before it is sent. The send
//! buffer is the kernel's own choice or 512 KiB.
//!
//! Rounds are interleaved. What is printed is the median of the rounds, the lowest and the highest,
//! and the processor time of the sending thread for each GB.
//!
//! ```text
//!   cargo bench -p orlop-benches --bench send            five rounds, half a minute
//!   cargo bench -p orlop-benches --bench send -- 3       three rounds
//! ```

use std::{
    io::Read,
    net::{TcpListener, TcpStream},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use rustix::net::sockopt::set_socket_send_buffer_size;

mod ways;

use ways::{Content, WAYS, Way};

const ROUNDS: usize = 5;
const SIZES: [(&str, u64); 2] = [("1 MiB", 1 << 20), ("100 MiB", 100 << 20)];
/// Of one measurement.
const TOTAL_BYTES: u64 = 2_000 << 20;
/// The kernel doubles it for its own use.
const SMALL_SEND_BYTES: usize = 512 << 10;

/// What one measurement gave.
struct Sent {
    gb_per_s: f64,
    cpu_s_per_gb: f64,
}

struct Row {
    name: String,
    content: usize,
    way: Way,
    small_buffer: bool,
    rounds: Vec<Sent>,
}

fn main() {
    let rounds = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(ROUNDS);
    let parent = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let directory = tempfile::Builder::new().prefix("send-").tempdir_in(parent).expect("cargo's temporary directory");
    let contents = SIZES.map(|(_, size)| Content::new(directory.path(), size).expect("content is made"));
    let mut rows = Vec::new();
    for (content, (size, _)) in SIZES.iter().enumerate() {
        for small_buffer in [false, true] {
            let buffer = if small_buffer { "512 KiB" } else { "kernel's" };
            for (name, way) in WAYS {
                let name = format!("{size}, buffer {buffer}: {name}");
                rows.push(Row { name, content, way: *way, small_buffer, rounds: Vec::new() });
            }
        }
    }
    for round in 0..rounds {
        for turn in 0..rows.len() {
            let count = rows.len();
            let row = &mut rows[(turn + round * 5) % count];
            let sent = measure(&contents[row.content], row.way, row.small_buffer);
            row.rounds.push(sent);
        }
    }
    println!("{:52} {:>22} {:>24}", "", "GB/s (from, to)", "sender's CPU-s per GB");
    for row in &rows {
        let speeds = spread(row.rounds.iter().map(|sent| sent.gb_per_s).collect(), 2);
        let costs = spread(row.rounds.iter().map(|sent| sent.cpu_s_per_gb).collect(), 3);
        println!("{:52} {speeds:>22} {costs:>24}", row.name);
    }
}

fn measure(content: &Content, way: Way, small_buffer: bool) -> Sent {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut client = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
    let (server, _) = listener.accept().expect("accepted");
    if small_buffer {
        set_socket_send_buffer_size(&server, SMALL_SEND_BYTES).expect("set");
    }
    let receiver = thread::spawn(move || {
        let mut buffer = vec![0; 256 << 10];
        let mut received = 0;
        loop {
            match client.read(&mut buffer).expect("received") {
                0 => return received,
                count => received += count as u64,
            }
        }
    });
    let times = TOTAL_BYTES / content.size();
    let (begin, cpu) = (Instant::now(), cpu_time());
    for _ in 0..times {
        way(content, &server).expect("sent");
    }
    let cpu = cpu_time() - cpu;
    drop(server);
    assert_eq!(receiver.join().expect("the receiver ends"), times * content.size());
    let gb = (times * content.size()) as f64 / 1e9;
    Sent { gb_per_s: gb / begin.elapsed().as_secs_f64(), cpu_s_per_gb: cpu.as_secs_f64() / gb }
}

/// Processor time of this thread, in user and in kernel mode.
fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for writing.
    let outcome = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(outcome, 0, "every Linux has this clock");
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// The median, and the extremes in parentheses.
fn spread(mut values: Vec<f64>, decimals: usize) -> String {
    values.sort_by(f64::total_cmp);
    let (Some(first), Some(last)) = (values.first(), values.last()) else { return String::new() };
    format!("{:.decimals$} ({first:.decimals$} to {last:.decimals$})", values[values.len() / 2])
}
