//! What stands on the garbage table.

use crate::{
    Digest, Namespace,
    commit::{decoded, malformed},
    error::Result,
    format::{CandidateRecord, keys},
    index::Pair,
};

/// Something that may be garbage.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Candidate {
    /// A member that is new or lost something; or no member any more, but others referred to it.
    Member { namespace: Namespace, digest: Digest },
    /// Content without a holder; or only its file is left.
    Content { digest: Digest },
    /// A namespace that lost a member.
    Namespace { namespace: Namespace },
}

/// Since when, in epochs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Since when nothing may keep it.
    pub since: u64,
    /// When a pusher or mounter was last told that it is there.
    pub told: Option<u64>,
}

/// One entry of the garbage table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub candidate: Candidate,
    pub standing: Standing,
}

impl Candidate {
    pub(super) fn key(&self) -> Vec<u8> {
        match self {
            Candidate::Member { namespace, digest } => keys::candidate(namespace, digest),
            Candidate::Content { digest } => keys::unheld(digest),
            Candidate::Namespace { namespace } => keys::emptied(namespace),
        }
    }

    /// Errors: `Store` for a key that no version wrote.
    pub(super) fn of_key(key: &[u8]) -> Result<Self> {
        if let Some(digest) = key.strip_prefix(&[0]) {
            return match Digest::decode(digest) {
                Some((digest, [])) => Ok(Candidate::Content { digest }),
                _ => Err(malformed("garbage key")),
            };
        }
        match keys::split_namespace(key) {
            Some((namespace, [])) => Ok(Candidate::Namespace { namespace }),
            Some((namespace, digest)) => match Digest::decode(digest) {
                Some((digest, [])) => Ok(Candidate::Member { namespace, digest }),
                _ => Err(malformed("garbage key")),
            },
            None => Err(malformed("garbage key")),
        }
    }
}

impl Entry {
    pub(crate) fn of_pair((key, value): &Pair) -> Result<Self> {
        Ok(Entry { candidate: Candidate::of_key(key)?, standing: standing(value)? })
    }
}

pub(super) fn standing(value: &[u8]) -> Result<Standing> {
    let CandidateRecord { since, told } = decoded(CandidateRecord::decode(value))?;
    Ok(Standing { since, told })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Algorithm;

    #[test]
    fn keys_come_apart_again() {
        let digest = Digest::of(Algorithm::Sha512, b"x");
        let namespace = Namespace::new("a/b").expect("valid");
        for candidate in [
            Candidate::Member { namespace: namespace.clone(), digest },
            Candidate::Content { digest },
            Candidate::Namespace { namespace },
        ] {
            assert_eq!(Candidate::of_key(&candidate.key()).expect("own key"), candidate);
        }
        for key in [b"".as_slice(), b"a", b"\0", b"\0\x01", b"a\0\x01\x02"] {
            assert!(Candidate::of_key(key).is_err(), "{key:?}");
        }
    }
}
