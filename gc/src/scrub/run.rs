//! One pass through all content.

use std::{
    fmt, io,
    ops::ControlFlow,
    time::{Duration, Instant},
};

use orlop_engine::{
    Digest, Engine, Error, Result,
    damage::Flaw,
    scrub::{Condemned, Inspector, Look, Pass, Verdict},
};
use serde::Serialize;

use super::{ScrubOptions, pace::Pace};
use crate::collection::Flow;

/// Digests read from the index at a time.
const PAGE: usize = 64;

/// How often progress is written down.
const SAVE_PERIOD: Duration = Duration::from_secs(5);

/// How often a blob is looked at whose damage a second look does not confirm.
const LOOKS_MAX: u32 = 3;

/// Other files that are tried before a file that is not there counts as lost: if none of so many can be
/// read, and no other can, the device is gone.
const PROBES_MAX: usize = 16;

/// Digests among which other files are looked for.
const PROBE_DIGESTS_MAX: usize = 1024;

/// A pass, for people.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct PassReport {
    pub started_unix_ms: u64,
    /// `None`: it goes on, or was interrupted.
    pub ended_unix_ms: Option<u64>,
    /// Blobs that were looked at.
    pub blobs: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// Blobs that it found damaged.
    pub damaged: u64,
    /// Blobs that were known to be damaged and still are.
    pub known: u64,
    /// Blobs that were known to be damaged, and whose bytes are all right.
    pub recovered: u64,
    /// Blobs that could not be looked at.
    pub skipped: u64,
}

impl From<Pass> for PassReport {
    fn from(pass: Pass) -> Self {
        PassReport {
            started_unix_ms: pass.started.unix_ms,
            ended_unix_ms: pass.ended.map(|ended| ended.unix_ms),
            blobs: pass.blobs,
            bytes: pass.bytes,
            damaged: pass.damaged,
            known: pass.known,
            recovered: pass.recovered,
            skipped: pass.skipped,
        }
    }
}

impl fmt::Display for PassReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} blobs looked at, {} bytes read: {} found damaged", self.blobs, self.bytes, self.damaged)?;
        for (count, what) in
            [(self.known, "still damaged"), (self.recovered, "sound again"), (self.skipped, "not to be told")]
        {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        Ok(())
    }
}

/// Runs a pass to its end, or until `progress` says to stop: from the start, or from where an earlier one
/// stopped. It reads on the thread that drives this future, which blocks meanwhile.
///
/// Errors: those of the index; `Io` if the device seems to be gone. What was done until then is done, and
/// the next pass can take it up.
pub async fn scrub(
    engine: &Engine,
    options: &ScrubOptions,
    resume: bool,
    progress: &mut (dyn FnMut(&PassReport) -> Flow + Send),
) -> Result<PassReport> {
    let begun = engine.passes().await?.current.filter(|_| resume);
    let pass = begun.unwrap_or_else(|| Pass { started: engine.clock(), ..Pass::default() });
    let inspector = engine.inspector();
    let mut wait = async |wait| {
        tokio::time::sleep(wait).await;
    };
    let pass = run(&inspector, options, pass, &mut |pass| progress(&pass.into()), &mut wait).await?;
    Ok(pass.into())
}

/// Goes on with a pass. `progress` is told of every read and says whether to go on; `wait` waits, or returns
/// early if `progress` is going to say no.
pub(super) async fn run(
    inspector: &Inspector,
    options: &ScrubOptions,
    pass: Pass,
    progress: &mut dyn FnMut(Pass) -> Flow,
    wait: &mut impl AsyncFnMut(Duration),
) -> Result<Pass> {
    let began = Instant::now();
    let pace = Pace::new(options.rate_bytes_max);
    let mut run = Run { inspector, pass, pace, began, saved: began, reached: None, progress, wait };
    let outcome = run.all().await;
    let pass = run.pass;
    if !matches!(outcome, Ok(ControlFlow::Continue(()))) {
        let noted = inspector.engine().note_pass(pass).await;
        return outcome.and(noted).map(|()| pass);
    }
    Ok(pass)
}

struct Run<'a, W> {
    inspector: &'a Inspector,
    pass: Pass,
    pace: Pace,
    began: Instant,
    /// When progress was last written down.
    saved: Instant,
    /// A file that could be read.
    reached: Option<Digest>,
    progress: &'a mut dyn FnMut(Pass) -> Flow,
    wait: &'a mut W,
}

impl<W: AsyncFnMut(Duration)> Run<'_, W> {
    async fn all(&mut self) -> Result<Flow> {
        loop {
            let page = self.inspector.digests(self.pass.cursor.as_ref(), PAGE).await?;
            if page.is_empty() {
                self.pass.ended = Some(self.inspector.engine().clock());
                self.pass.cursor = None;
                self.inspector.engine().note_pass(self.pass).await?;
                return Ok(Flow::Continue(()));
            }
            for digest in page {
                if self.blob(&digest).await?.is_break() {
                    return Ok(Flow::Break(()));
                }
                self.pass.cursor = Some(digest);
                if self.saved.elapsed() >= SAVE_PERIOD {
                    self.inspector.engine().note_pass(self.pass).await?;
                    self.saved = Instant::now();
                }
            }
        }
    }

    /// Looks at one blob, and acts on what was seen.
    async fn blob(&mut self, digest: &Digest) -> Result<Flow> {
        for _ in 0..LOOKS_MAX {
            let look = self.look(digest).await?;
            let is_decided = match &look.verdict {
                Verdict::Stopped => return Ok(Flow::Break(())),
                Verdict::Gone => return Ok(Flow::Continue(())),
                Verdict::Unclear(reason) => {
                    tracing::warn!(%digest, reason, "the scrub could not look at this content");
                    break;
                }
                Verdict::Sound => self.sound(&look).await?,
                Verdict::Flawed { flaw, .. } => self.flawed(&look, *flaw).await?,
            };
            if is_decided {
                self.pass.blobs += 1;
                return Ok(Flow::Continue(()));
            }
        }
        self.pass.blobs += 1;
        self.pass.skipped += 1;
        Ok(Flow::Continue(()))
    }

    async fn look(&mut self, digest: &Digest) -> Result<Look> {
        let Run { inspector, pass, pace, began, progress, wait, .. } = self;
        let mut paced = async |bytes: u64| {
            pass.bytes += bytes;
            let flow = progress(*pass);
            let due = pace.spend(began.elapsed(), bytes);
            if flow.is_break() || due.is_zero() {
                return flow;
            }
            wait(due).await;
            progress(*pass)
        };
        inspector.look(digest, &mut paced).await
    }

    async fn sound(&mut self, look: &Look) -> Result<bool> {
        if !look.is_known {
            self.reached = self.reached.filter(|_| !look.is_file).or(look.is_file.then_some(look.digest));
            return Ok(true);
        }
        let is_recovered = self.inspector.recover(look).await?;
        self.pass.recovered += u64::from(is_recovered);
        Ok(is_recovered)
    }

    async fn flawed(&mut self, look: &Look, flaw: Flaw) -> Result<bool> {
        let may_be_device = look.is_file && !look.is_known && matches!(flaw, Flaw::Missing | Flaw::Unreadable);
        if may_be_device && self.is_device_gone().await? {
            let reason = "none of the files can be read, the device seems to be gone; nothing was marked as damaged";
            return Err(Error::Io { context: "the scrub", source: io::Error::other(reason) });
        }
        match self.inspector.condemn(look).await? {
            Condemned::New => self.pass.damaged += 1,
            Condemned::Known => self.pass.known += 1,
            Condemned::Unconfirmed => {
                tracing::info!(digest = %look.digest, flaw = flaw.as_str(), "a second look found nothing of it");
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether no other file can be read either: then it is not the files that are lost.
    async fn is_device_gone(&mut self) -> Result<bool> {
        if let Some(reached) = &self.reached
            && self.inspector.reaches(reached).await? == Some(true)
        {
            return Ok(false);
        }
        self.reached = None;
        let mut unreached = 0;
        let mut looked_at = 0;
        let mut after = None;
        while unreached < PROBES_MAX && looked_at < PROBE_DIGESTS_MAX {
            let page = self.inspector.digests(after.as_ref(), PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(*last);
            looked_at += page.len();
            for digest in page {
                match self.inspector.reaches(&digest).await? {
                    Some(true) => {
                        self.reached = Some(digest);
                        return Ok(false);
                    }
                    Some(false) => unreached += 1,
                    None => {}
                }
            }
        }
        Ok(unreached >= PROBES_MAX)
    }
}
