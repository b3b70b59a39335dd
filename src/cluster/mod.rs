//! Everything that talks to an API server.

mod call;
mod config;
mod follow;
mod live;
mod once;
mod watch;

pub(crate) use call::{Failure, answer, within};
pub use config::{as_kubectl, as_pod};
pub use follow::Watching;
pub(crate) use live::Live;
pub use once::{Unread, read};
pub use watch::{Watch, watches};
