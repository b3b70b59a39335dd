//! What the replicas have admitted and may not see stored yet: one page that all of them change by
//! compare-and-swap and judge against.
//!
//! A [`Clerk`] is what one replica knows of the page, and decides what it does next. It reads no
//! clock and calls nobody: it is told the time, what the watches have seen, what calls of the API
//! server came to, and says which call to make. `tests/explore` runs several of them against each
//! other through millions of schedules.
//!
//! Promised is this and no more: of two writes that clash, never both are stored, as long as an API
//! server stores a write within [`pending::LONGEST`](crate::pending::LONGEST) of its review or not at all. What each safeguard is for
//! is said at [`Safeguard`].

mod admit;
mod clerk;
mod page;
mod text;

use std::sync::Arc;
use std::time::Duration;

pub use admit::{Ask, Found, Judge, Step, Wait, Why};
pub use clerk::{Clerk, Due, Expected, Listed, Outcome, Settled, Sight, Swap};
pub use page::{Cache, Entry, Page, Stored, Watched};
pub use text::{bytes_of, checksum, written};

/// The most entries of one user that are not settled: a controller that makes two hundred objects in a
/// second has fewer, as they are stored within half a second. They take no more bytes than are free.
pub const MOST_OF_USER: usize = 128;
/// The most entries that a write is judged against in every combination.
pub const MOST_RELATED: usize = 6;
/// The most bytes of the entries of a page that replicas share.
pub const MOST_BYTES: usize = 64 << 10;

/// What keeps two writes that clash from both being stored, or a write from waiting for ever. A
/// clerk has all of them; the explorer leaves out one at a time and has to find the failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Safeguard {
    /// A swap is tested by the page's nonce: a restored etcd repeats versions.
    Nonce,
    /// Only the uid of a creation or the version that an update replaces proves a write to be over,
    /// never that the object says the same.
    Identity,
    /// A replica whose watch has not seen what another one has seen stored does not judge.
    Floors,
    /// A creation enters though its name seems to exist: that object may be deleted before.
    Creations,
    /// A write is judged with every combination of pending ones: they take away as well as add.
    Worlds,
    /// An entry counts for as long as an API server may take to store it.
    Longest,
    /// Before an entry is given up, a swap is committed: etcd may have stood still.
    Barrier,
    /// Before an entry is given up, its object is read.
    Look,
    /// While entries may have been lost, nothing that changes claims is admitted.
    Quarantine,
    /// Once the page is another one, what was seen before does not count.
    Relist,
    /// A page that has gone back is begun anew, so that every replica hears of it.
    Regress,
    /// A page that is begun anew says so until it has lasted long enough, for those who come later.
    Proven,
    /// A repeated write counts from its last review on.
    Restamp,
    /// What this replica is about to enter counts as well.
    Own,
    /// What was judged against a page enters that page alone.
    Stale,
    /// A denial rests on what is read at that moment, and so does calling a fault an old one.
    Confirm,
    /// Replicas that read or judge otherwise do not admit.
    Digest,
    /// What replicas of another kind have entered is taken as unknown.
    Opaque,
    /// A resource that is not served satisfies a floor only after a while.
    Absent,
    /// An object that leaves one watch for another one counts as gone for neither of them alone.
    Moves,
}

impl Safeguard {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::Nonce,
        Self::Identity,
        Self::Floors,
        Self::Creations,
        Self::Worlds,
        Self::Longest,
        Self::Barrier,
        Self::Look,
        Self::Quarantine,
        Self::Relist,
        Self::Regress,
        Self::Proven,
        Self::Restamp,
        Self::Own,
        Self::Stale,
        Self::Confirm,
        Self::Digest,
        Self::Opaque,
        Self::Absent,
        Self::Moves,
    ];
}

/// How a clerk is set up.
#[derive(Clone, Debug)]
pub struct Setup {
    /// What tells replicas apart that read or judge otherwise: their settings and their version.
    pub digest: Arc<str>,
    /// How long a write counts that is not known to be over.
    pub longest: Duration,
    /// The watches that a verdict rests on.
    pub watches: Vec<Arc<str>>,
    /// How many bytes all entries may take.
    pub most_bytes: usize,
    /// What is left out, by the explorer alone.
    pub without: Option<Safeguard>,
}

#[cfg(test)]
mod tests;
