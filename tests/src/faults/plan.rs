//! What is to go wrong, and when.

use rustix::io::Errno;

use super::{Class, Kind};

/// What becomes of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    /// Nothing is done, and this is the answer. A sync that fails loses what it was to make durable.
    Error(Errno),
    /// Half of a write is done.
    Short,
    /// One bit of what is read is wrong.
    Flip,
}

/// The `at`-th operation of these kinds, counted from when the fault is set, meets harm.
#[derive(Debug, Clone)]
pub struct Fault {
    pub at: u64,
    pub kinds: Vec<Kind>,
    /// All if `None`.
    pub class: Option<Class>,
    pub harm: Harm,
    /// Whether all later ones meet it too.
    pub lasts: bool,
}

/// A fault under way.
#[derive(Debug, Default)]
pub struct Plan {
    fault: Option<Fault>,
    seen: u64,
}

impl Plan {
    pub fn set(&mut self, fault: Option<Fault>) {
        *self = Plan { fault, seen: 0 };
    }

    /// Operations that could have met the fault.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// Whether all operations that come after the first harm meet it too.
    pub fn lasts(&self) -> bool {
        self.fault.as_ref().is_some_and(|fault| fault.lasts)
    }

    /// What becomes of the next operation.
    pub fn next(&mut self, kind: Kind, class: Class) -> Option<Harm> {
        let fault = self.fault.as_ref()?;
        if !fault.kinds.contains(&kind) || fault.class.is_some_and(|wanted| wanted != class) {
            return None;
        }
        self.seen += 1;
        (self.seen == fault.at || fault.lasts && self.seen > fault.at).then_some(fault.harm)
    }
}
