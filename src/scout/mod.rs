//! The scout: it goes to the members of the mesh from time to time, and keeps in MeshMembers what
//! they show.
//!
//! Several of them do no harm: each writes what it sees by itself, and nothing that stands already.

mod clock;
mod events;
mod judge;
mod metrics;
mod peers;
mod probes;
mod reports;
mod run;
mod stored;
mod written;

pub use run::{Config, run};
pub use stored::{MANAGER, Secrets};
