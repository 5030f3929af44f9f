//! The workloads by name, and how much of each a run does.

use std::time::Duration;

use serde::Serialize;

use super::{
    client::Problem,
    content::{GIB, KIB, MIB},
    own,
    pace::Slow,
    registry::Transfer,
    worker::Worker,
    zot,
};

/// Requests per second that contents are prepared for when a workload runs for a given time. A
/// faster registry ends the workload early, which the report says.
const PREPARED_PER_SECOND: f64 = 20_000.0;

/// A kind of load, repeated.
#[derive(Debug, Clone, Copy)]
pub struct Workload {
    pub name: &'static str,
    pub job: Job,
}

#[derive(Debug, Clone, Copy)]
pub enum Job {
    Zot(zot::Job),
    Own(own::Job),
}

/// What one repetition was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A request of the workload.
    Counted,
    /// A request of the workload with something around it: its own time.
    Took(Duration),
    /// Load under which others are measured; its time goes into this part.
    Aside(&'static str),
    /// Nothing was done: the worker is at its end.
    Spent,
}

/// The time that requests per second are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RateBasis {
    /// Set-up, requests and cleanup, as zb counts.
    Whole,
    /// The requests alone.
    Measured,
}

/// How much is asked for: a number of requests or a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Amount {
    Requests(u64),
    Time(Duration),
}

/// What is asked of every workload.
#[derive(Debug, Clone, Copy)]
pub struct Ask {
    pub concurrency: u64,
    pub amount: Amount,
    /// Of unique content, in each workload.
    pub unique_bytes_max: u64,
    pub slow_push_rate: u64,
}

/// How much of a workload is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    pub workers: u64,
    /// Requests of each worker; none if only the time ends it.
    pub quota: Option<u64>,
    pub time: Option<Duration>,
    /// Whether the limit on unique bytes has made it fewer requests or workers than asked for.
    pub cut: bool,
}

const fn zot(name: &'static str, job: zot::Job) -> Workload {
    Workload { name, job: Job::Zot(job) }
}

const fn own(name: &'static str, job: own::Job) -> Workload {
    Workload { name, job: Job::Own(job) }
}

const fn push(mix: zot::Mix) -> zot::Job {
    zot::Job::Push { mix, how: Transfer::Monolith }
}

const fn push_chunk(mix: zot::Mix) -> zot::Job {
    zot::Job::Push { mix, how: Transfer::Chunk }
}

const fn push_blob(bytes: u64) -> own::Job {
    own::Job::PushBlob { bytes, how: Transfer::Monolith }
}

pub static WORKLOADS: [Workload; 35] = [
    zot("Get Catalog", zot::Job::Catalog),
    zot("Push Monolith 1MB", push(zot::ONE)),
    zot("Push Monolith 10MB", push(zot::TEN)),
    zot("Push Monolith 100MB", push(zot::HUNDRED)),
    zot("Push Chunk Streamed 1MB", push_chunk(zot::ONE)),
    zot("Push Chunk Streamed 10MB", push_chunk(zot::TEN)),
    zot("Push Chunk Streamed 100MB", push_chunk(zot::HUNDRED)),
    zot("Pull 1MB", zot::Job::Pull { mix: zot::ONE }),
    zot("Pull 10MB", zot::Job::Pull { mix: zot::TEN }),
    zot("Pull 100MB", zot::Job::Pull { mix: zot::HUNDRED }),
    zot("Pull Mixed 20% 1MB, 70% 10MB, 10% 100MB", zot::Job::Pull { mix: zot::MOSTLY_TEN }),
    zot("Push Monolith Mixed 20% 1MB, 70% 10MB, 10% 100MB", push(zot::MOSTLY_TEN)),
    zot("Push Chunk Mixed 33% 1MB, 33% 10MB, 33% 100MB", push_chunk(zot::EVEN)),
    zot("Pull 75% and Push 25% Mixed 1MB", zot::Job::PullAndPush { mix: zot::ONE }),
    zot("Pull 75% and Push 25% Mixed 10MB", zot::Job::PullAndPush { mix: zot::TEN }),
    zot("Pull 75% and Push 25% Mixed 100MB", zot::Job::PullAndPush { mix: zot::HUNDRED }),
    zot("On-demand Sync 100MB", zot::Job::Sync { bytes: 100 * MIB }),
    zot("On-demand Sync 1GB", zot::Job::Sync { bytes: GIB }),
    own("orlop push blob 4KiB", push_blob(4 * KIB)),
    own("orlop push blob 1MiB", push_blob(MIB)),
    own("orlop push blob 100MiB", push_blob(100 * MIB)),
    own("orlop push blob 1GiB streamed", own::Job::PushBlob { bytes: GIB, how: Transfer::Streamed }),
    own("orlop push image 3x1MiB", own::Job::PushImage),
    own("orlop push same image mounted", own::Job::PushMounted),
    own("orlop push same image again", own::Job::PushAgain),
    own("orlop push image 1 of 5 layers new", own::Job::PushNewLayer),
    own("orlop pull blob 4KiB", own::Job::PullBlob { bytes: 4 * KIB }),
    own("orlop pull blob 1MiB", own::Job::PullBlob { bytes: MIB }),
    own("orlop pull blob 100MiB", own::Job::PullBlob { bytes: 100 * MIB }),
    own("orlop get manifest", own::Job::GetManifest),
    own("orlop head blob", own::Job::HeadBlob),
    own("orlop pull just pushed 1MiB", own::Job::PullPushed { bytes: MIB }),
    own("orlop pull just pushed 100MiB", own::Job::PullPushed { bytes: 100 * MIB }),
    own("orlop pull under push", own::Job::PullUnderPush),
    own("orlop pull under slow pushes", own::Job::PullUnderSlowPushes),
];

impl Workload {
    pub fn needs_upstream(&self) -> bool {
        matches!(self.job, Job::Zot(zot::Job::Sync { .. }))
    }
}

impl Job {
    pub fn basis(self) -> RateBasis {
        match self {
            Self::Zot(_) => RateBasis::Whole,
            Self::Own(_) => RateBasis::Measured,
        }
    }

    /// Whether some workers make load for the others, which are measured without it first.
    pub fn is_loaded(self) -> bool {
        matches!(self, Self::Own(job) if job.pullers(1) > 0)
    }

    pub fn is_pusher(self, index: u64) -> bool {
        matches!(self, Self::Own(job) if job.is_pusher(index))
    }

    pub fn plan(self, ask: &Ask) -> Plan {
        let concurrency = match self {
            Self::Zot(_) => ask.concurrency,
            Self::Own(job) => job.pushers(ask.concurrency),
        };
        let unique = match self {
            Self::Zot(_) => None,
            Self::Own(job) => job.unique_bytes(&Slow::new(ask.slow_push_rate, ask.amount)),
        };
        let (asked, time) = match ask.amount {
            Amount::Requests(requests) => (Some(requests), None),
            // Each is as long as the time.
            Amount::Time(time) if self.is_slow() => (Some(concurrency), Some(time)),
            // As many as are prepared for; nothing is prepared where nothing is unique.
            Amount::Time(time) => (unique.map(|_| (time.as_secs_f64() * PREPARED_PER_SECOND) as u64), Some(time)),
        };
        let allowed = unique.map_or(u64::MAX, |bytes| (ask.unique_bytes_max / bytes).max(1));
        let requests = asked.map(|asked| asked.clamp(1, allowed));
        let cut = requests < asked && (time.is_none() || self.is_slow());
        let loaders = concurrency.clamp(1, requests.unwrap_or(u64::MAX));
        let pullers = match self {
            Self::Zot(_) => 0,
            Self::Own(job) => job.pullers(loaders),
        };
        Plan { workers: loaders + pullers, quota: requests.map(|requests| requests / loaders), time, cut }
    }

    fn is_slow(self) -> bool {
        matches!(self, Self::Own(own::Job::PullUnderSlowPushes))
    }

    /// Makes what all clocks leave out.
    pub fn prepare(self, worker: &Worker) {
        if let Self::Zot(job) = self {
            job.prepare(worker);
        }
    }

    pub async fn set_up(self, worker: &mut Worker) -> Result<(), Problem> {
        match self {
            Self::Zot(job) => job.set_up(worker).await,
            Self::Own(job) => job.set_up(worker).await,
        }
    }

    pub async fn step(self, worker: &mut Worker, index: u64) -> Result<Step, Problem> {
        match self {
            Self::Zot(job) => job.step(worker, index).await,
            Self::Own(job) => job.step(worker, index).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn ask(concurrency: u64, amount: Amount, unique_bytes_max: u64) -> Ask {
        Ask { concurrency, amount, unique_bytes_max, slow_push_rate: 64 * KIB }
    }

    #[test]
    fn names_are_unique_and_tell_whose_they_are() {
        let names: HashSet<&str> = WORKLOADS.iter().map(|workload| workload.name).collect();
        assert_eq!(names.len(), WORKLOADS.len());
        for workload in &WORKLOADS {
            assert_eq!(workload.name.starts_with("orlop "), matches!(workload.job, Job::Own(_)), "{}", workload.name);
        }
        assert_eq!(WORKLOADS.iter().filter(|workload| matches!(workload.job, Job::Zot(_))).count(), 18);
    }

    #[test]
    fn requests_are_shared_out_evenly_and_rounded_down() {
        let job = Job::Zot(push(zot::HUNDRED));
        let plan = job.plan(&ask(3, Amount::Requests(10), 1));
        assert_eq!(plan, Plan { workers: 3, quota: Some(3), time: None, cut: false });
        let time = Duration::from_secs(5);
        assert_eq!(job.plan(&ask(3, Amount::Time(time), 1)).quota, None);
    }

    #[test]
    fn unique_bytes_are_limited() {
        let job = Job::Own(push_blob(GIB));
        let plan = job.plan(&ask(10, Amount::Requests(100), 4 * GIB));
        assert_eq!(plan, Plan { workers: 4, quota: Some(1), time: None, cut: true });
        let plan = job.plan(&ask(10, Amount::Requests(100), 1));
        assert_eq!((plan.workers, plan.quota), (1, Some(1)));
        let time = Duration::from_secs(2);
        let plan = Job::Own(push_blob(4 * KIB)).plan(&ask(10, Amount::Time(time), 4 * GIB));
        assert_eq!(plan, Plan { workers: 10, quota: Some(4000), time: Some(time), cut: false });
    }

    #[test]
    fn a_paired_workload_has_both_kinds_of_workers() {
        let job = Job::Own(own::Job::PullUnderPush);
        for (concurrency, workers, quota) in [(1, 2, 10), (2, 2, 10), (5, 4, 5), (100, 20, 1)] {
            let plan = job.plan(&ask(concurrency, Amount::Requests(10), GIB));
            assert_eq!((plan.workers, plan.quota), (workers, Some(quota)), "{concurrency}");
        }
        assert!(job.is_pusher(1) && !job.is_pusher(0));
    }

    #[test]
    fn slow_pushes_last_as_long_as_is_asked_for() {
        let job = Job::Own(own::Job::PullUnderSlowPushes);
        let time = Duration::from_secs(3);
        let plan = job.plan(&ask(1000, Amount::Time(time), GIB));
        assert_eq!(plan, Plan { workers: 1004, quota: Some(1), time: Some(time), cut: false });
        assert_eq!((0..plan.workers).filter(|&index| job.is_pusher(index)).count(), 1000);
        // Of 192 KiB each, five fit.
        let plan = job.plan(&ask(1000, Amount::Time(time), MIB));
        assert_eq!(plan, Plan { workers: 9, quota: Some(1), time: Some(time), cut: true });
        // Of one second each, sixteen.
        let plan = job.plan(&ask(2, Amount::Requests(100), MIB));
        assert_eq!(plan, Plan { workers: 6, quota: Some(8), time: None, cut: true });
    }
}
