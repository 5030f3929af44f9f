//! What a piece of work took, and what several rounds of it say together.

use std::time::{Duration, Instant};

#[derive(Clone, Copy)]
pub struct Spent {
    pub elapsed: Duration,
    /// Processor time of the process, in user and in kernel mode.
    pub cpu: Duration,
}

impl Spent {
    /// What `work` takes. What it made is given up afterwards: freeing the blocks of a file can take
    /// longer than writing them.
    pub fn on<T>(work: impl FnOnce() -> T) -> Self {
        let (start, cpu) = (Instant::now(), cpu_time());
        let made = work();
        let spent = Spent { elapsed: start.elapsed(), cpu: cpu_time().saturating_sub(cpu) };
        drop(made);
        spent
    }

    /// Of one of `count` equal parts.
    #[allow(dead_code, reason = "not every bench has parts")]
    pub fn per(self, count: usize) -> Self {
        let count = u32::try_from(count).expect("a bench's count");
        Spent { elapsed: self.elapsed / count, cpu: self.cpu / count }
    }
}

fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for writing.
    let outcome = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    assert_eq!(outcome, 0, "every Linux has this clock");
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// The median, and the extremes in parentheses, with as many decimals.
pub fn spread(mut values: Vec<f64>, decimals: usize) -> String {
    values.sort_by(f64::total_cmp);
    let Some(median) = values.get(values.len() / 2) else { return String::new() };
    let [first, .., last] = values[..] else { return format!("{median:.decimals$}") };
    format!("{median:.decimals$} ({first:.decimals$} to {last:.decimals$})")
}
