//! Everything that talks to an API server.

mod call;
mod config;
mod follow;
mod list;
mod live;
mod mirror;
mod objects;
mod observe;
mod once;
mod page;
mod peer;
mod reach;
mod told;
mod unreached;
mod watch;

pub(crate) use call::{Failure, answer};
pub use config::{as_kubectl, as_pod};
pub use follow::Watching;
pub(crate) use list::Selection;
pub(crate) use live::Live;
pub(crate) use mirror::Mirror;
pub(crate) use objects::Objects;
pub use observe::{Bounds, Shown, observe, observe_own};
pub use once::{Contents, Unread, read};
pub use page::{PageLease, Swapped, Written};
pub use peer::Dial;
pub(crate) use reach::Reach;
pub use told::Told;
pub use unreached::Unreached;
pub use watch::{Watch, known_by, watches};
