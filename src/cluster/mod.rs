//! Everything that talks to an API server.

mod config;
mod follow;
mod once;
mod watch;

pub use config::{as_kubectl, as_pod};
pub use follow::Watching;
pub use once::{Unread, read};
pub(crate) use watch::reason;
pub use watch::{Watch, watches};
