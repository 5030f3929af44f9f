//! How many bytes namespaces have, and how many they may have.
//!
//! In: what joins and leaves namespaces, within the change that does it. Out: sums that are exact
//! after every commit, or the refusal of the change. Sizes are logical: content counts once in each
//! namespace that has it as a member, however often it is stored, from the commit that makes it a
//! member to the one that ends that.
//!
//! A quota is for a namespace and all below it (`a` is for `a` and `a/b`, the empty one for all);
//! every quota above a namespace must have room. Lowering one below what is used refuses more and
//! takes nothing away.

mod change;
mod forecast;
mod ledger;
mod opening;
mod survey;

pub(crate) use change::{limit_namespaces, replace};
pub(crate) use ledger::{admit, dismiss, grow, shrink};
pub(crate) use opening::prepare;
pub(crate) use survey::sizes;
pub use survey::{NamespaceSize, QuotaUse};

use crate::Namespace;

/// Most quotas of a store.
pub const QUOTAS_MAX: usize = 1_000;

/// Bytes that a namespace and all below it may have together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quota {
    /// A namespace; empty: the whole store.
    pub prefix: String,
    /// Logical bytes.
    pub bytes: u64,
}

/// The prefixes whose quotas are for a namespace, the shortest first.
fn prefixes(namespace: &Namespace) -> impl Iterator<Item = &str> {
    let text = namespace.as_str();
    let cuts = text.match_indices('/').map(|(at, _)| at).filter(|at| *at > 0).chain([text.len()]);
    std::iter::once("").chain(cuts.map(|at| &text[..at]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_for_whole_parts_of_a_namespace() {
        let of = |text| prefixes(&Namespace::new(text).expect("valid")).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(of("a"), ["", "a"]);
        assert_eq!(of("ab/c/d"), ["", "ab", "ab/c", "ab/c/d"]);
    }
}
