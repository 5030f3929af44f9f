//! From one snapshot to a plan.
//!
//! Begins with the entries of the garbage table, never with the store: what it looks at are the
//! entries, what keeps them, and what falls with those that nothing keeps. That order (a document
//! before what it needs) is the order of the steps.

use std::collections::{BTreeMap, HashMap, HashSet};

use orlop_engine::{
    Digest, Namespace, Result,
    collect::{Candidate, Cause, Entry, Member, Standing, Sweep, View},
};

use super::{
    options::{Options, Unnamed},
    pace::Pace,
    plan::{Kind, Plan, Reason, Removal, Step, Totals, Waiting},
};

/// Entries brought by one look into the table.
const PAGE: usize = 1024;

/// Referring documents brought by one look.
const REFERRING_PAGE: usize = 1024;

/// Makes the plan for the entries after `after`.
pub(super) fn plan(view: &View<'_>, options: &Options, after: Option<Candidate>) -> Result<Plan> {
    let mut planner = Planner {
        view,
        options,
        gone: HashSet::new(),
        gone_in: HashMap::new(),
        visits: Vec::new(),
        fallen: HashMap::new(),
        losing: HashMap::new(),
        namespaces: BTreeMap::new(),
        pace: Pace::new(options.rests),
        plan: Plan {
            epoch: view.epoch(),
            looked_at: 0,
            totals: Totals::default(),
            waiting: Waiting::default(),
            removals: Vec::new(),
            is_whole: true,
            steps: Vec::new(),
            next: None,
        },
    };
    planner.entries(after)?;
    planner.contents()?;
    planner.empty_namespaces()?;
    Ok(planner.plan)
}

struct Planner<'a> {
    view: &'a View<'a>,
    options: &'a Options,
    /// Members that go.
    gone: HashSet<(Namespace, Digest)>,
    /// How many of them by namespace: bounds how much must be looked at to find another one.
    gone_in: HashMap<Namespace, usize>,
    /// Members to be looked at.
    visits: Vec<Visit>,
    /// What lost a document that goes, and since when at the latest.
    fallen: HashMap<(Namespace, Digest), u64>,
    /// Content that loses holders: since when, and how many.
    losing: HashMap<Digest, (u64, usize)>,
    /// Namespaces that lost members, since when.
    namespaces: BTreeMap<Namespace, u64>,
    pace: Pace,
    plan: Plan,
}

struct Visit {
    namespace: Namespace,
    digest: Digest,
    standing: Standing,
    /// It stands on the table itself, and is not only about to.
    is_entry: bool,
}

impl Planner<'_> {
    fn entries(&mut self, mut after: Option<Candidate>) -> Result<()> {
        loop {
            let entries = self.view.entries(after.as_ref(), PAGE)?;
            let is_last = entries.len() < PAGE;
            for entry in entries {
                if self.plan.steps.len() >= self.options.plan_removals_max {
                    self.plan.is_whole = false;
                    self.plan.next = after;
                    return Ok(());
                }
                after = Some(entry.candidate.clone());
                self.plan.looked_at += 1;
                self.entry(entry)?;
            }
            if is_last {
                return Ok(());
            }
        }
    }

    fn entry(&mut self, Entry { candidate, mut standing }: Entry) -> Result<()> {
        match candidate {
            Candidate::Member { namespace, digest } => {
                // A document that goes before it may have needed it until later.
                let fallen = self.fallen.get(&(namespace.clone(), digest)).copied();
                standing.since = standing.since.max(fallen.unwrap_or(0));
                self.visits.push(Visit { namespace, digest, standing, is_entry: true });
                while let Some(visit) = self.visits.pop() {
                    self.visit(visit)?;
                    self.pace.rest_blocking();
                }
            }
            Candidate::Content { digest } => {
                self.losing.entry(digest).or_insert((standing.since, 0));
            }
            Candidate::Namespace { namespace } => {
                self.namespaces.entry(namespace).or_insert(standing.since);
            }
        }
        Ok(())
    }

    fn visit(&mut self, visit: Visit) -> Result<()> {
        let Visit { namespace, digest, standing, is_entry } = &visit;
        if self.gone.contains(&(namespace.clone(), *digest)) {
            return Ok(());
        }
        let Some(member) = self.view.member(namespace, digest)? else {
            return if *is_entry { self.target_is_gone(namespace, digest, standing.since) } else { Ok(()) };
        };
        let delay = if member.label.is_empty() { self.options.delay } else { self.options.document_delay };
        // The entry remembers a lease and a loss for their whole time, whatever keeps it now.
        if self.view.is_lease_recorded(standing) {
            self.plan.waiting.leased += 1;
            return Ok(());
        }
        let targets = if member.label.is_empty() { Vec::new() } else { self.view.refers_to(namespace, digest)? };
        // A target that is gone says since when, until that is noted at what referred to it.
        let since = self.latest_loss(namespace, &targets, standing.since)?;
        if since.saturating_add(delay) > self.plan.epoch {
            self.plan.waiting.young += 1;
            return Ok(());
        }
        if self.is_kept(namespace, digest)? || self.is_any_there(namespace, &targets)? {
            if *is_entry {
                self.settle(namespace, digest, standing.since);
            }
            return Ok(());
        }
        if self.view.is_leased(namespace, digest, standing) {
            self.plan.waiting.leased += 1;
            return Ok(());
        }
        match self.cause(namespace, digest, &member, !targets.is_empty()) {
            Some(cause) => self.remove(namespace, digest, since, cause, delay),
            None => {
                self.plan.waiting.ruled += 1;
                Ok(())
            }
        }
    }

    /// Whether a name, or a document that stays, keeps a member.
    fn is_kept(&self, namespace: &Namespace, digest: &Digest) -> Result<bool> {
        if self.view.is_named(namespace, digest)? {
            return Ok(true);
        }
        // One more than those that go is enough to find one that stays.
        let going = self.gone_in.get(namespace).copied().unwrap_or(0);
        let needed_by = self.view.needed_by(namespace, digest, going + 1)?;
        Ok(needed_by.into_iter().any(|by| !self.gone.contains(&(namespace.clone(), by))))
    }

    fn is_any_there(&self, namespace: &Namespace, targets: &[Digest]) -> Result<bool> {
        for target in targets {
            let is_going = self.gone.contains(&(namespace.clone(), *target));
            if !is_going && self.view.member(namespace, target)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn latest_loss(&self, namespace: &Namespace, targets: &[Digest], mut since: u64) -> Result<u64> {
        for target in targets {
            let gone = Candidate::Member { namespace: namespace.clone(), digest: *target };
            since = since.max(self.view.standing(&gone)?.map_or(0, |gone| gone.since));
        }
        Ok(since)
    }

    /// Why a member that nothing keeps may go; `None` if a rule keeps it.
    fn cause(&self, namespace: &Namespace, digest: &Digest, member: &Member, refers: bool) -> Option<Cause> {
        if member.label.is_empty() {
            return Some(Cause::Unneeded);
        }
        let rules = self.options.keep.rules(namespace);
        let (may_go, cause) = match refers {
            true => (rules.delete_referring, Cause::TargetGone),
            false => (rules.delete_unnamed, Cause::Unnamed),
        };
        let unnamed =
            Unnamed { namespace, digest, label: &member.label, since_clock_ms: member.since_clock_ms, refers };
        (may_go && !self.options.keep.keeps(&unnamed)).then_some(cause)
    }

    fn remove(&mut self, ns: &Namespace, digest: &Digest, since: u64, cause: Cause, delay: u64) -> Result<()> {
        self.gone.insert((ns.clone(), *digest));
        *self.gone_in.entry(ns.clone()).or_default() += 1;
        let reason = match cause {
            Cause::Unneeded => Reason::Unneeded,
            Cause::Unnamed => Reason::Unnamed,
            Cause::TargetGone => Reason::Orphaned,
        };
        let sweep = Sweep::Member { namespace: ns.clone(), digest: *digest, cause, delay };
        let removal =
            Removal { kind: Kind::Member, reason, namespace: Some(ns.clone()), digest: Some(*digest), bytes: 0 };
        self.step(sweep, removal);
        // The last holder to go decides since when nobody holds it.
        let (held_until, holders_going) = self.losing.entry(*digest).or_insert((since, 0));
        *held_until = since;
        *holders_going += 1;
        self.namespaces.insert(ns.clone(), since);
        for target in self.view.needs(ns, digest)? {
            self.falls(ns, target, since)?;
        }
        if self.view.referring(ns, digest, None, 1)?.is_empty() {
            return Ok(());
        }
        self.target_is_gone(ns, digest, since)
    }

    /// Something lost a document that needed it, or what it refers to: it is looked at again.
    fn falls(&mut self, namespace: &Namespace, digest: Digest, since: u64) -> Result<()> {
        let candidate = Candidate::Member { namespace: namespace.clone(), digest };
        let own = self.view.standing(&candidate)?;
        let latest = self.fallen.entry((namespace.clone(), digest)).or_insert(since);
        *latest = since.max(*latest);
        let standing =
            Standing { since: own.map_or(*latest, |own| own.since.max(*latest)), told: own.and_then(|own| own.told) };
        self.visits.push(Visit { namespace: namespace.clone(), digest, standing, is_entry: false });
        Ok(())
    }

    /// What referred to something that is gone comes onto the table; then the target goes off it.
    fn target_is_gone(&mut self, namespace: &Namespace, target: &Digest, since: u64) -> Result<()> {
        let is_referred_to = !self.view.referring(namespace, target, None, 1)?.is_empty();
        if is_referred_to && !self.options.keep.rules(namespace).delete_referring {
            // The entry stays: the rule may change.
            self.plan.waiting.ruled += 1;
            return Ok(());
        }
        let mut after: Option<Digest> = None;
        loop {
            let page = self.view.referring(namespace, target, after.as_ref(), REFERRING_PAGE)?;
            for digest in &page {
                let sweep = Sweep::Suspect { namespace: namespace.clone(), digest: *digest, since };
                self.plan.steps.push(Step { sweep, removal: None });
                self.falls(namespace, *digest, since)?;
            }
            after = page.last().copied();
            if page.len() < REFERRING_PAGE {
                break;
            }
        }
        if since < self.plan.epoch {
            self.settle(namespace, target, since);
        }
        Ok(())
    }

    fn settle(&mut self, namespace: &Namespace, digest: &Digest, since: u64) {
        let sweep = Sweep::Settle { namespace: namespace.clone(), digest: *digest, since };
        self.plan.steps.push(Step { sweep, removal: None });
    }

    /// Content that nobody holds when all of this is done.
    fn contents(&mut self) -> Result<()> {
        let mut losing: Vec<_> = std::mem::take(&mut self.losing).into_iter().collect();
        losing.sort_unstable_by_key(|(digest, _)| *digest);
        for (digest, (since, holders_going)) in losing {
            self.pace.rest_blocking();
            let holders = self.view.holders(&digest, holders_going + 1)?;
            if holders.into_iter().any(|holder| !self.gone.contains(&(holder, digest))) {
                continue;
            }
            if since.saturating_add(self.options.delay) > self.plan.epoch {
                self.plan.waiting.young += 1;
            } else if self.view.is_pinned(&digest) {
                self.plan.waiting.leased += 1;
            } else {
                let size = self.view.size(&digest)?;
                let reason = if size.is_some() { Reason::Unheld } else { Reason::Unrecorded };
                let removal = Removal {
                    kind: Kind::Content,
                    reason,
                    namespace: None,
                    digest: Some(digest),
                    bytes: size.unwrap_or(0),
                };
                self.step(Sweep::Content { digest, delay: self.options.delay }, removal);
            }
        }
        Ok(())
    }

    fn empty_namespaces(&mut self) -> Result<()> {
        for (namespace, since) in std::mem::take(&mut self.namespaces) {
            if since.saturating_add(self.options.delay) > self.plan.epoch {
                self.plan.waiting.young += 1;
                continue;
            }
            let going = self.gone_in.get(&namespace).copied().unwrap_or(0);
            let members = self.view.members(&namespace, going + 1)?;
            let is_empty = members.into_iter().all(|member| self.gone.contains(&(namespace.clone(), member)));
            let sweep = Sweep::Namespace { namespace: namespace.clone(), delay: self.options.delay };
            if is_empty {
                let removal = Removal {
                    kind: Kind::Namespace,
                    reason: Reason::Empty,
                    namespace: Some(namespace),
                    digest: None,
                    bytes: 0,
                };
                self.step(sweep, removal);
            } else {
                self.plan.steps.push(Step { sweep, removal: None });
            }
        }
        Ok(())
    }

    fn step(&mut self, sweep: Sweep, removal: Removal) {
        self.plan.totals.add(&removal);
        self.plan.steps.push(Step { sweep, removal: Some(self.plan.removals.len()) });
        self.plan.removals.push(removal);
    }
}
