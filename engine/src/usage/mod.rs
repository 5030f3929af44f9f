//! How often and when documents were pulled, without a write for each pull.
//!
//! In: [`Pulls::note`], called for every pull, touches memory only. Out: rows of the table `Usage`,
//! written by the commit thread once a minute, when the store is closed, and earlier when many
//! documents wait. What has become true: a row has every pull that was noted before a
//! [`flush`] began. A crash loses the pulls since the last one: at most a minute of them.

mod facade;
mod pulls;
mod survey;

pub(crate) use pulls::{Pulls, flush, tend};
#[cfg(feature = "rocks")]
pub use survey::Survey;
pub use survey::{DocumentUse, NameUse, Usage};
use survey::{document_use, names_used, unnamed_documents};
