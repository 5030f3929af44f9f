//! What the whole-registry tests stand on: the real binary in a process of its own, a raw HTTP
//! client, a real image, and a look at the disk behind the registry's back.
//!
//! Nothing here knows how the registry works inside. In: the executable `orlop` that `make test`
//! built. Every test ends with [`Registry::finish`], which asserts a clean stop and runs
//! `orlop check` over the store.

pub mod block;
pub mod collection;
pub mod collector;
pub mod disk;
pub mod faults;
pub mod http;
pub mod kept;
pub mod layout;
pub mod process;
pub mod programs;
pub mod registry;
pub mod repository;
pub mod rig;
pub mod small_disk;
pub mod stream;
pub mod tls;
pub mod verify;
pub mod zot;

pub use collector::Collector;
pub use http::{Answer, Client};
pub use kept::Kept;
pub use layout::Layout;
pub use registry::{Io, Options, Registry};
pub use repository::Repository;
pub use small_disk::SmallDisk;
pub use zot::ZotRoot;
