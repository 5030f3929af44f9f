//! Tokens of a token server that decides by itself who may do what (distribution token specification).
//!
//! In: a token that was taken apart. Out: whoever holds it, with what it allows, whatever the policies say.

use std::{path::PathBuf, sync::Arc};

use orlop_api::access::Subject;

use super::{
    claims::{self, Expected},
    file::{FileError, KeyFile, State},
    jws::Jws,
    known::Holder,
};
use crate::evidence::{Evidence, Extent};

/// What can be set from outside.
#[derive(Debug, Clone)]
pub struct DistributionOptions {
    /// A certificate, public keys, or a set of keys in JSON.
    pub keys: PathBuf,
    /// What is asked of the tokens; nothing, as in zot, by default.
    pub expected: Expected,
}

pub struct Distribution {
    file: Arc<KeyFile>,
    expected: Expected,
}

impl Distribution {
    /// Errors: a file that cannot be used.
    pub fn open(options: DistributionOptions) -> Result<Self, FileError> {
        Ok(Distribution { file: KeyFile::open(&options.keys)?, expected: options.expected })
    }

    pub async fn keys(&self) -> State {
        self.file.current().await
    }

    /// How often the keys have changed.
    pub fn changes(&self) -> u64 {
        self.file.changes()
    }

    /// Whoever holds a token that one of the keys has signed.
    pub fn holder(&self, token: &Jws<'_>, keys: &State, now: u64) -> Option<Holder> {
        let until = self.expected.holds_until(&token.claims, now)?;
        if !keys.keys.have_signed(token) {
            return None;
        }
        let (scopes, first_end) = claims::access(&token.claims, now);
        // A token for nobody in particular has no name (distribution token specification, "sub").
        let subject = match claims::text(&token.claims, "sub").filter(|name| super::is_name(name)) {
            Some(name) => Subject::user(name, Vec::new()),
            None => Subject::anonymous(),
        };
        let evidence = Evidence {
            extent: Extent::Instead(scopes),
            claims: Some(Arc::new(token.claims.clone())),
            ..Evidence::default()
        };
        let until = first_end.map_or(until, |end| end.min(until));
        Some(Holder { subject: subject.with_evidence(Arc::new(evidence)), until })
    }
}
