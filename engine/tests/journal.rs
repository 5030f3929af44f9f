//! The journal, and indexes made again from it: through cuts, damage, crashes and failures.

#[path = "journal/common.rs"]
mod common;
#[path = "journal/cuts.rs"]
mod cuts;
#[path = "journal/damage.rs"]
mod damage;
#[path = "journal/openings.rs"]
mod openings;
