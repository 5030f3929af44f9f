//! The engine as its callers see it, over real disks, the simulated one, and through crashes.

#[path = "store/adopt.rs"]
mod adopt;
#[path = "store/common.rs"]
mod common;
#[path = "store/content.rs"]
mod content;
#[path = "store/crash.rs"]
mod crash;
#[path = "store/crowds.rs"]
mod crowds;
#[path = "store/damage.rs"]
mod damage;
#[path = "store/grounds.rs"]
mod grounds;
#[path = "store/guards.rs"]
mod guards;
#[path = "store/hot.rs"]
mod hot;
#[path = "store/index_rot.rs"]
mod index_rot;
#[path = "store/names.rs"]
mod names;
#[path = "store/quotas.rs"]
mod quotas;
#[path = "store/rebuild.rs"]
mod rebuild;
#[path = "store/reservations.rs"]
mod reservations;
#[path = "store/rot.rs"]
mod rot;
#[path = "store/uploads.rs"]
mod uploads;
#[path = "store/usage.rs"]
mod usage;
