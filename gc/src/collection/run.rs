//! A run: plans and sweeps in turns, until the table holds nothing more that may go.

use std::{ops::ControlFlow, time::Instant};

use orlop_engine::{
    Engine, Result,
    collect::{Candidate, QuietUpload, STEPS_MAX, Swept},
};

use super::{
    options::Options,
    pace::Pace,
    plan::{Kind, Plan, Reason, Removal, Totals},
    planner,
    report::Report,
};

/// Turns through the whole table in one run, if plans of a part of it leave something for the next.
const TURNS_MAX: u32 = 16;

/// Whether a run goes on.
pub type Flow = ControlFlow<()>;

/// Is told how far a run is after every few steps, and says whether to go on.
pub trait Progress: Send {
    fn at(&mut self, so_far: &Report) -> Flow;
}

impl<F: FnMut(&Report) -> Flow + Send> Progress for F {
    fn at(&mut self, so_far: &Report) -> Flow {
        self(so_far)
    }
}

/// What a run would remove now, up to `options.plan_removals_max` removals. Changes nothing.
pub async fn plan(engine: &Engine, options: &Options) -> Result<Plan> {
    let mut plan = plan_after(engine, options, None).await?;
    for removal in quiet_uploads(engine, options) {
        plan.totals.add(&removal);
        plan.removals.push(removal);
    }
    Ok(plan)
}

/// Uploads that a run would discard now.
pub(super) fn quiet_uploads(engine: &Engine, options: &Options) -> Vec<Removal> {
    let removal = |upload: QuietUpload| Removal {
        kind: Kind::Upload,
        reason: Reason::Abandoned,
        namespace: Some(upload.namespace),
        digest: None,
        bytes: upload.offset,
    };
    engine.quiet_uploads(options.delay).into_iter().map(removal).collect()
}

pub(super) async fn plan_after(engine: &Engine, options: &Options, after: Option<Candidate>) -> Result<Plan> {
    let options = options.clone();
    engine.survey(move |view| planner::plan(view, &options, after)).await
}

/// Runs a collection to its end, or until `progress` says to stop; then the report says so.
///
/// Errors: those of the index. What was done until then is done; the rest stays on the table.
pub async fn collect(engine: &Engine, options: &Options, progress: &mut dyn Progress) -> Result<Report> {
    let began = Instant::now();
    let mut run = Run { engine, options, progress, report: Report { epoch: engine.epoch(), ..Report::default() } };
    let flow = run.all().await?;
    let mut report = run.report;
    report.is_complete = flow.is_continue();
    report.duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(report)
}

struct Run<'a> {
    engine: &'a Engine,
    options: &'a Options,
    progress: &'a mut dyn Progress,
    report: Report,
}

impl Run<'_> {
    async fn all(&mut self) -> Result<Flow> {
        for _ in 0..TURNS_MAX {
            let before = self.report.removed.members;
            let (flow, plans) = self.turn().await?;
            if flow.is_break() {
                return Ok(flow);
            }
            // One plan for the whole table misses nothing. Several see only what falls within
            // their own part.
            if plans == 1 || self.report.removed.members == before {
                break;
            }
        }
        if self.uploads().await?.is_break() {
            return Ok(Flow::Break(()));
        }
        self.orphans().await
    }

    /// Once through the table. Gives the number of plans it took.
    async fn turn(&mut self) -> Result<(Flow, u32)> {
        let mut after = None;
        let mut plans = 0;
        self.report.waiting = super::plan::Waiting::default();
        loop {
            let mut plan = plan_after(self.engine, self.options, after).await?;
            plans += 1;
            self.report.looked_at += plan.looked_at;
            self.report.waiting += plan.waiting;
            if self.sweep(&plan).await?.is_break() {
                return Ok((Flow::Break(()), plans));
            }
            after = plan.next.take();
            if after.is_none() {
                return Ok((Flow::Continue(()), plans));
            }
        }
    }

    async fn sweep(&mut self, plan: &Plan) -> Result<Flow> {
        let mut pace = Pace::new(self.options.rests);
        for steps in plan.steps.chunks(STEPS_MAX) {
            pace.rest().await;
            let sweeps = steps.iter().map(|step| step.sweep.clone()).collect();
            let swept = self.engine.sweep(sweeps).await?;
            for (step, swept) in steps.iter().zip(swept) {
                match (step.removal, swept) {
                    (Some(removal), Swept::Done { bytes }) => {
                        let planned = &plan.removals[removal];
                        self.removed(&Removal { bytes, ..planned.clone() });
                    }
                    (Some(_), Swept::Kept) => self.report.kept += 1,
                    (None, Swept::Done { .. }) => self.report.settled += 1,
                    (None, Swept::Kept) => {}
                }
            }
            if self.progress.at(&self.report).is_break() {
                return Ok(Flow::Break(()));
            }
        }
        Ok(Flow::Continue(()))
    }

    async fn uploads(&mut self) -> Result<Flow> {
        for upload in self.engine.quiet_uploads(self.options.delay) {
            if self.engine.discard_quiet_upload(upload.id, self.options.delay).await? {
                self.removed(&Removal {
                    kind: Kind::Upload,
                    reason: Reason::Abandoned,
                    namespace: Some(upload.namespace),
                    digest: None,
                    bytes: upload.offset,
                });
            }
            if self.progress.at(&self.report).is_break() {
                return Ok(Flow::Break(()));
            }
        }
        Ok(Flow::Continue(()))
    }

    /// After an unclean end, files without a record. The only search through the store, and once.
    async fn orphans(&mut self) -> Result<Flow> {
        if !self.engine.may_have_orphans().await? {
            return Ok(Flow::Continue(()));
        }
        for shard in self.engine.orphan_shards().await? {
            for (digest, bytes) in self.engine.sweep_orphans(shard).await? {
                self.removed(&Removal {
                    kind: Kind::Content,
                    reason: Reason::Unrecorded,
                    namespace: None,
                    digest: Some(digest),
                    bytes,
                });
            }
            if self.progress.at(&self.report).is_break() {
                return Ok(Flow::Break(()));
            }
        }
        self.engine.orphans_swept().await?;
        Ok(Flow::Continue(()))
    }

    /// Every removal is in the audit log with its reason.
    fn removed(&mut self, removal: &Removal) {
        self.report.count(removal);
        let Removal { kind, reason, namespace, digest, bytes } = removal;
        tracing::info!(
            target: "audit",
            subject = "collection",
            action = "collect",
            result = "removed",
            kind = kind.as_str(),
            namespace = namespace.as_ref().map(tracing::field::display),
            digest = digest.as_ref().map(tracing::field::display),
            bytes,
            reason = reason.as_str(),
            "collected"
        );
    }
}

impl Report {
    /// Whether nothing was removed.
    pub fn is_empty(&self) -> bool {
        self.removed == Totals::default()
    }
}
