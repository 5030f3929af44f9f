//! A slow, obviously right collection: it looks at everything, again and again, until nothing more
//! goes. It knows no garbage table, no snapshot and no order.

use std::collections::{BTreeMap, BTreeSet};

use orlop_gc::Rules;

use crate::common::LEASE;

/// A member: the namespace's number and the content's.
pub type Id = (u8, u8);

#[derive(Debug, Clone, Default)]
pub struct Member {
    pub is_document: bool,
    pub needs: BTreeSet<u8>,
    pub refers: BTreeSet<u8>,
    /// When it last lost something that could have kept it, or was pushed.
    pub since: u64,
    /// When somebody was last told that it is there.
    pub told: u64,
}

#[derive(Debug, Clone, Default)]
pub struct Model {
    pub epoch: u64,
    pub members: BTreeMap<Id, Member>,
    pub names: BTreeMap<(u8, u8), u8>,
    pub rules: Rules,
    pub delay: u64,
    pub document_delay: u64,
}

impl Model {
    /// Somebody was told that a member is there.
    pub fn tell(&mut self, id: Id) {
        let epoch = self.epoch;
        if let Some(member) = self.members.get_mut(&id) {
            member.told = epoch;
        }
    }

    /// Plain content was pushed or mounted.
    pub fn join(&mut self, id: Id) {
        let epoch = self.epoch;
        let member = self.members.entry(id).or_default();
        (member.since, member.told) = (epoch, epoch);
    }

    /// A document was pushed, with what it says now.
    pub fn document(&mut self, id: Id, needs: &BTreeSet<u8>, refers: &BTreeSet<u8>) {
        self.join(id);
        let member = self.members.get_mut(&id).expect("joined");
        member.is_document = true;
        member.refers = refers.clone();
        let lost = std::mem::replace(&mut member.needs, needs.clone());
        let epoch = self.epoch;
        lost.into_iter().for_each(|target| self.lose((id.0, target), epoch));
    }

    pub fn bind(&mut self, ns: u8, name: u8, target: u8) {
        if let Some(old) = self.names.insert((ns, name), target)
            && old != target
        {
            self.lose((ns, old), self.epoch);
        }
    }

    pub fn unbind(&mut self, ns: u8, name: u8) {
        if let Some(old) = self.names.remove(&(ns, name)) {
            self.lose((ns, old), self.epoch);
        }
    }

    pub fn remove(&mut self, id: Id) {
        self.names.retain(|(ns, _), target| (*ns, *target) != id);
        self.take_out(id, self.epoch);
    }

    fn lose(&mut self, id: Id, since: u64) {
        if let Some(member) = self.members.get_mut(&id) {
            member.since = member.since.max(since);
        }
    }

    fn take_out(&mut self, id: Id, since: u64) {
        let Some(gone) = self.members.remove(&id) else { return };
        gone.needs.into_iter().for_each(|target| self.lose((id.0, target), since));
        let referring: Vec<Id> = self
            .members
            .iter()
            .filter(|(by, member)| by.0 == id.0 && member.refers.contains(&id.1))
            .map(|(by, _)| *by)
            .collect();
        referring.into_iter().for_each(|by| self.lose(by, since));
    }

    fn may_go(&self, id: Id, member: &Member) -> bool {
        let is_named = self.names.iter().any(|((ns, _), target)| (*ns, *target) == id);
        let is_needed = self.members.iter().any(|(by, other)| by.0 == id.0 && other.needs.contains(&id.1));
        let is_target_there = member.refers.iter().any(|target| self.members.contains_key(&(id.0, *target)));
        let delay = if member.is_document { self.document_delay } else { self.delay };
        let rule = match (member.is_document, member.refers.is_empty()) {
            (false, _) => true,
            (true, true) => self.rules.delete_unnamed,
            (true, false) => self.rules.delete_referring,
        };
        let is_leased = member.told + LEASE >= self.epoch;
        !is_named && !is_needed && !is_target_there && rule && !is_leased && member.since + delay <= self.epoch
    }

    /// Takes out whatever may go, one after the other. Gives how many went.
    pub fn collect(&mut self) -> u64 {
        let mut gone = 0;
        while let Some((id, since)) =
            self.members.iter().find(|(id, member)| self.may_go(**id, member)).map(|(id, member)| (*id, member.since))
        {
            self.take_out(id, since);
            gone += 1;
        }
        gone
    }
}
