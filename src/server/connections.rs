//! Which connections are open, what each is doing, and which of them has to go.
//!
//! A client may take only so long for each step, and when there are too many connections the one
//! that has kept us waiting the longest makes room: slow and idle clients cost each other their
//! connections, never a review.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// How long a connection is kept between requests. Longer than Kubernetes' clients keep theirs
/// (90 s), so that it is they who close it: a request sent into a closing connection is lost.
const IDLE: Duration = Duration::from_mins(3);

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It is accepted, and has yet to agree on keys.
    Handshake,
    /// It has never sent a byte of a request.
    Fresh,
    /// It is between requests.
    Idle,
    /// A request's head is being received.
    Head,
    /// A request's body is being received.
    Body,
    /// Its request is being answered: it is us who is waited for.
    Review,
    /// The answer is being sent.
    Answer,
}

/// All connections of one listener.
#[derive(Debug)]
pub(super) struct Connections {
    capacity: usize,
    client_timeout: Duration,
    table: Mutex<Table>,
    ended: Notify,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    open: BTreeMap<u64, Arc<Connection>>,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    progress: Mutex<Progress>,
    close: Notify,
    /// Whether its client has shown a certificate that is asked for.
    certified: AtomicBool,
}

#[derive(Clone, Copy, Debug)]
struct Progress {
    phase: Phase,
    since: Instant,
    /// Whether it has had a request answered, and is worth more than one that has not.
    proven: bool,
}

/// An open connection; dropped when it ends.
#[derive(Debug)]
pub(super) struct Open {
    id: u64,
    connection: Arc<Connection>,
    connections: Arc<Connections>,
}

impl Connections {
    /// A table for so many, whose clients may take so long for each step.
    pub(super) fn new(capacity: usize, client_timeout: Duration) -> Arc<Self> {
        let (table, ended) = (Mutex::default(), Notify::new());
        Arc::new(Self { capacity, client_timeout, table, ended })
    }

    /// Enters a new connection; says whether another had to make room for it.
    pub(super) fn open(self: &Arc<Self>) -> (Open, bool) {
        let connection = Arc::new(Connection {
            progress: Mutex::new(Progress {
                phase: Phase::Handshake,
                since: Instant::now(),
                proven: false,
            }),
            close: Notify::new(),
            certified: AtomicBool::new(false),
        });
        let mut table = self.table();
        let evicted = table.open.len() >= self.capacity && table.evict();
        let id = table.next;
        table.next += 1;
        table.open.insert(id, Arc::clone(&connection));
        drop(table);
        (Open { id, connection, connections: Arc::clone(self) }, evicted)
    }

    /// Closes the connection that has kept us waiting the longest; false if there is none.
    pub(super) fn evict(&self) -> bool {
        self.table().evict()
    }

    /// Closes those whose clients take too long; says how many.
    pub(super) fn sweep(&self) -> usize {
        self.close_if(|progress| self.limit(progress.phase).is_some_and(|l| progress.lasts() > l))
    }

    /// Closes those that have no request under way.
    pub(super) fn close_quiet(&self) {
        self.close_if(|progress| !progress.is_under_way());
    }

    /// How many are open.
    pub(super) fn len(&self) -> usize {
        self.table().open.len()
    }

    /// Returns once none is open.
    pub(super) async fn none(&self) {
        loop {
            let ended = self.ended.notified();
            if self.len() == 0 {
                return;
            }
            ended.await;
        }
    }

    /// How long a client may take for a step.
    pub(super) fn client_timeout(&self) -> Duration {
        self.client_timeout
    }

    fn limit(&self, phase: Phase) -> Option<Duration> {
        match phase {
            Phase::Review => None,
            Phase::Idle => Some(IDLE.max(self.client_timeout)),
            // The request is told of its timeout first.
            Phase::Body => Some(self.client_timeout + Duration::from_secs(1)),
            Phase::Handshake | Phase::Fresh | Phase::Head | Phase::Answer => {
                Some(self.client_timeout)
            }
        }
    }

    fn close_if(&self, late: impl Fn(Progress) -> bool) -> usize {
        let table = self.table();
        let late = table.open.values().filter(|connection| late(*connection.progress()));
        late.map(|connection| connection.close.notify_one()).count()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn evict(&mut self) -> bool {
        let waited_for = |progress: &Progress| progress.phase != Phase::Review;
        let oldest = self
            .open
            .iter()
            .map(|(id, connection)| (*id, *connection.progress()))
            .filter(|(_, progress)| waited_for(progress))
            .min_by_key(|(_, progress)| (progress.proven, progress.since));
        let Some((id, _)) = oldest else { return false };
        // It leaves the table at once, so that the next one in evicts another.
        if let Some(connection) = self.open.remove(&id) {
            connection.close.notify_one();
        }
        true
    }
}

impl Progress {
    fn lasts(&self) -> Duration {
        self.since.elapsed()
    }

    fn is_under_way(&self) -> bool {
        matches!(self.phase, Phase::Head | Phase::Body | Phase::Review | Phase::Answer)
    }
}

impl Connection {
    /// Notes that its client has shown a certificate, and that it is good.
    pub(super) fn certify(&self) {
        self.certified.store(true, Ordering::Relaxed);
    }

    /// Whether it has.
    pub(super) fn is_certified(&self) -> bool {
        self.certified.load(Ordering::Relaxed)
    }

    /// Notes what it is doing now.
    pub(super) fn enter(&self, phase: Phase) {
        let mut progress = self.progress();
        progress.proven |= phase == Phase::Idle;
        if progress.phase != phase {
            progress.phase = phase;
            progress.since = Instant::now();
        }
    }

    /// Notes that bytes of its client have come.
    pub(super) fn received(&self) {
        if matches!(self.phase(), Phase::Fresh | Phase::Idle) {
            self.enter(Phase::Head);
        }
    }

    /// Notes that all written bytes are on their way.
    pub(super) fn flushed(&self) {
        if self.phase() == Phase::Answer {
            self.enter(Phase::Idle);
        }
    }

    /// What it is doing.
    pub(super) fn phase(&self) -> Phase {
        self.progress().phase
    }

    /// Returns once it is to be closed.
    pub(super) async fn closed(&self) {
        self.close.notified().await;
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::ops::Deref for Open {
    type Target = Arc<Connection>;

    fn deref(&self) -> &Self::Target {
        &self.connection
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.connections.table().open.remove(&self.id);
        self.connections.ended.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phases(opens: &[&Open]) -> Vec<bool> {
        let connections = &opens[0].connections;
        opens.iter().map(|open| connections.table().open.contains_key(&open.id)).collect()
    }

    #[test]
    fn who_kept_us_waiting_the_longest_makes_room() {
        let connections = Connections::new(3, Duration::from_secs(10));
        let (proven, _) = connections.open();
        proven.enter(Phase::Idle);
        let (reviewed, _) = connections.open();
        reviewed.enter(Phase::Review);
        let (slow, evicted) = connections.open();
        slow.enter(Phase::Body);
        assert!(!evicted);

        let (newer, evicted) = connections.open();
        assert!(evicted);
        assert_eq!(phases(&[&proven, &reviewed, &slow, &newer]), [true, true, false, true]);
        let (newest, _) = connections.open();
        assert_eq!(phases(&[&proven, &reviewed, &newer, &newest]), [true, true, false, true]);
        newest.enter(Phase::Review);
        let (last, _) = connections.open();
        assert_eq!(phases(&[&proven, &reviewed, &newest, &last]), [false, true, true, true]);
        drop((reviewed, newest, last));
        assert_eq!(connections.len(), 0);
    }

    #[test]
    fn a_client_may_take_only_so_long() {
        let connections = Connections::new(3, Duration::ZERO);
        let (shaking, _) = connections.open();
        assert_eq!(connections.sweep(), 1);
        shaking.enter(Phase::Review);
        assert_eq!(connections.sweep(), 0);
        shaking.enter(Phase::Answer);
        assert_eq!(connections.sweep(), 1);
        shaking.flushed();
        assert_eq!(connections.sweep(), 0, "idle connections are kept");
    }
}
