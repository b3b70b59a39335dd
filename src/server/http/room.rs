//! What callers share, and how much of it each may have.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use foldhash::HashMap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout_at;

/// The share of unverified callers, if callers can be verified.
const STRANGERS: usize = 8;
/// Which part of it one source may have that is not verified.
const SOURCE: usize = 2;

/// How far the caller of a review is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum Caller {
    /// It has shown what only the API server has.
    Verified,
    /// It has not, and the API server could have.
    Stranger,
    /// Nobody can show anything: no way to verify callers is set up.
    Anybody,
}

/// A number of places, or of bytes. Whoever finds none is sent away and does not wait.
#[derive(Debug)]
pub(in crate::server) struct Room {
    size: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    strangers: usize,
    sources: HashMap<IpAddr, usize>,
}

/// A part of a room; given back when it is dropped.
#[derive(Debug)]
pub(in crate::server) struct Part {
    room: Arc<Room>,
    caller: Caller,
    source: IpAddr,
    size: usize,
}

impl Caller {
    /// Whether what it says is remembered beyond its own review.
    pub(in crate::server) fn is_remembered(self) -> bool {
        self == Self::Verified
    }
}

impl Room {
    /// A room of a size.
    pub(in crate::server) fn new(size: usize) -> Arc<Self> {
        Arc::new(Self { size, taken: Mutex::default() })
    }

    /// Takes nothing yet.
    pub(in crate::server) fn part(self: &Arc<Self>, caller: Caller, source: IpAddr) -> Part {
        Part { room: Arc::clone(self), caller, source, size: 0 }
    }

    /// How much of it is taken.
    pub(in crate::server) fn taken(&self) -> usize {
        self.lock().all
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Part {
    /// Takes more, if there is so much left for its caller.
    pub(in crate::server) fn grow(&mut self, by: usize) -> bool {
        let size = self.room.size;
        let mut taken = self.room.lock();
        let of_source = taken.sources.get(&self.source).copied().unwrap_or(0);
        let fits = |taken: usize, share: usize| taken + by <= (size / share).max(1);
        let may = fits(taken.all, 1)
            && (self.caller == Caller::Verified || fits(of_source, SOURCE))
            && (self.caller != Caller::Stranger || fits(taken.strangers, STRANGERS));
        if may && by > 0 {
            taken.all += by;
            if self.caller == Caller::Stranger {
                taken.strangers += by;
            }
            *taken.sources.entry(self.source).or_insert(0) += by;
            drop(taken);
            self.size += by;
        }
        may
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if self.size == 0 {
            return;
        }
        let mut taken = self.room.lock();
        taken.all -= self.size;
        if self.caller == Caller::Stranger {
            taken.strangers -= self.size;
        }
        if let Some(of_source) = taken.sources.get_mut(&self.source) {
            *of_source -= self.size;
            if *of_source == 0 {
                taken.sources.remove(&self.source);
            }
        }
    }
}

/// How many pieces of work of a kind are done at once. Whoever finds no turn waits for one;
/// strangers wait for each other, and take one at a time.
#[derive(Debug)]
pub(in crate::server) struct Turns {
    all: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
}

/// A turn; over when it is dropped.
#[derive(Debug)]
pub(in crate::server) struct Turn {
    _turn: OwnedSemaphorePermit,
    _stranger: Option<OwnedSemaphorePermit>,
}

impl Turns {
    pub(in crate::server) fn new(at_once: usize) -> Self {
        let (all, strangers) = (Semaphore::new(at_once), Semaphore::new(1));
        Self { all: Arc::new(all), strangers: Arc::new(strangers) }
    }

    /// Waits for a turn, until then at the latest.
    pub(in crate::server) async fn next(&self, caller: Caller, deadline: Instant) -> Option<Turn> {
        let turn = async {
            let stranger = match caller {
                Caller::Stranger => Some(Arc::clone(&self.strangers).acquire_owned().await.ok()?),
                Caller::Verified | Caller::Anybody => None,
            };
            let turn = Arc::clone(&self.all).acquire_owned().await.ok()?;
            Some(Turn { _turn: turn, _stranger: stranger })
        };
        timeout_at(deadline.into(), turn).await.ok().flatten()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn a_source_has_half_and_strangers_have_an_eighth() {
        let room = Room::new(64);
        let mut anybody = room.part(Caller::Anybody, address(1));
        assert!(anybody.grow(32) && !anybody.grow(1));
        assert!(!room.part(Caller::Anybody, address(1)).grow(1));
        let mut strangers: Vec<_> =
            (2..20).map(|last| room.part(Caller::Stranger, address(last))).collect();
        assert_eq!(strangers.iter_mut().filter_map(|part| part.grow(1).then_some(())).count(), 8);
        let mut verified = room.part(Caller::Verified, address(1));
        assert!(verified.grow(24) && !verified.grow(1), "all is taken");
        assert_eq!(room.taken(), 64);
        drop((anybody, strangers, verified));
        assert_eq!(room.taken(), 0);
        assert!(room.lock().sources.is_empty());
    }

    #[test]
    fn everyone_gets_at_least_one_slot() {
        let room = Room::new(1);
        for caller in [Caller::Verified, Caller::Stranger, Caller::Anybody] {
            let mut part = room.part(caller, address(1));
            assert!(part.grow(1) && !part.grow(1), "{caller:?}");
        }
    }

    #[tokio::test]
    async fn unverified_callers_queue_among_themselves() {
        let turns = Turns::new(2);
        let now = Instant::now();
        let later = now + Duration::from_mins(1);
        let stranger = turns.next(Caller::Stranger, later).await;
        assert!(stranger.is_some());
        assert!(turns.next(Caller::Stranger, now).await.is_none());
        let verified = turns.next(Caller::Verified, later).await;
        assert!(verified.is_some());
        assert!(turns.next(Caller::Verified, now).await.is_none());
        drop(stranger);
        assert!(turns.next(Caller::Stranger, later).await.is_some());
    }
}
