//! Which connections are open, what each is doing, and which of them has to go.
//!
//! They are kept in three pools, and none takes the room of another: those that have yet to agree
//! on keys, those of strangers, and those that have proven by a verified review whose they are. A
//! pool that is full makes room in itself: of the source that has most connections in it, the one
//! that has kept us waiting the longest is closed. So a flood costs those who make it their own
//! connections, and a newcomer has the time to become known.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use foldhash::HashMap;
use tokio::sync::Notify;

/// How long a connection is kept between requests. Longer than Kubernetes' clients keep theirs
/// (90 s), so that it is they who close it: a request sent into a closing connection is lost.
const IDLE: Duration = Duration::from_mins(3);
/// How many sources of verified reviews are remembered: more than there are API servers.
const MOST_KNOWN: usize = 32;

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum Phase {
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

/// Which pool a connection is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Group {
    Arriving,
    Stranger,
    Proven,
}

impl Group {
    const ALL: [Self; 3] = [Self::Arriving, Self::Stranger, Self::Proven];
}

/// What it took to let a connection into a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum Entry {
    /// Nothing.
    Free,
    /// Another one is closed.
    Made,
    /// All others are being answered, and it has to stay out.
    None,
}

/// All connections of one listener.
#[derive(Debug)]
pub(in crate::server) struct Connections {
    client_timeout: Duration,
    verifies: bool,
    table: Mutex<Table>,
    ended: Notify,
}

#[derive(Debug)]
struct Table {
    next: u64,
    pools: [Pool; 3],
    /// Where verified reviews came from; whoever shares such an address is closed last.
    known: VecDeque<IpAddr>,
}

#[derive(Debug)]
struct Pool {
    room: usize,
    /// How many one source may have.
    share: usize,
    open: usize,
    sources: HashMap<IpAddr, BTreeMap<u64, Arc<Connection>>>,
}

/// One connection.
#[derive(Debug)]
pub(in crate::server) struct Connection {
    source: IpAddr,
    progress: Mutex<Progress>,
    close: Notify,
    /// Whether its client has shown a certificate that is asked for.
    certified: AtomicBool,
}

#[derive(Clone, Copy, Debug)]
struct Progress {
    phase: Phase,
    since: Instant,
}

/// An open connection; dropped when it ends.
#[derive(Debug)]
pub(in crate::server) struct Open {
    id: u64,
    connection: Arc<Connection>,
    connections: Arc<Connections>,
}

impl Connections {
    /// A table for this many connections, whose clients may take this long for each step. If
    /// callers can be verified, half of the capacity is for those that are; otherwise all share it.
    pub(in crate::server) fn new(
        capacity: usize,
        client_timeout: Duration,
        verifies: bool,
    ) -> Arc<Self> {
        let quarter = (capacity / 4).max(1);
        let strangers = if verifies { quarter } else { capacity - quarter };
        let proven = if verifies { capacity - 2 * quarter } else { 0 };
        let pools = [
            Pool::new(quarter, quarter.div_ceil(2)),
            Pool::new(strangers, strangers.div_ceil(2)),
            Pool::new(proven, proven),
        ];
        let table = Mutex::new(Table { next: 0, pools, known: VecDeque::new() });
        Arc::new(Self { client_timeout, verifies, table, ended: Notify::new() })
    }

    /// Enters a new connection.
    pub(in crate::server) fn open(self: &Arc<Self>, source: IpAddr) -> (Open, Entry) {
        // One address in both notations is one source.
        let source = source.to_canonical();
        let progress = Progress { phase: Phase::Handshake, since: Instant::now() };
        let progress = Mutex::new(progress);
        let (close, certified) = (Notify::new(), AtomicBool::new(false));
        let connection = Arc::new(Connection { source, progress, close, certified });
        let mut table = self.table();
        let id = table.next;
        table.next += 1;
        let room = table.enter(Group::Arriving, id, &connection);
        drop(table);
        (Open { id, connection, connections: Arc::clone(self) }, room)
    }

    /// Closes a connection so that there is room for another; false if there is none.
    pub(in crate::server) fn evict(&self) -> bool {
        let mut table = self.table();
        let Table { pools, known, .. } = &mut *table;
        pools.iter_mut().any(|pool| pool.evict(known))
    }

    /// Closes those whose clients take too long; says how many.
    pub(in crate::server) fn sweep(&self) -> usize {
        self.close_if(|group, progress| {
            let limit = self.limit(group, progress.phase);
            limit.is_some_and(|limit| progress.since.elapsed() > limit)
        })
    }

    /// Closes those that have no request under way.
    pub(in crate::server) fn close_quiet(&self) {
        self.close_if(|_, progress| !progress.is_under_way());
    }

    /// How many are open.
    pub(in crate::server) fn len(&self) -> usize {
        self.table().pools.iter().map(|pool| pool.open).sum()
    }

    /// Returns once none is open.
    pub(in crate::server) async fn none(&self) {
        loop {
            let ended = self.ended.notified();
            if self.len() == 0 {
                return;
            }
            ended.await;
        }
    }

    /// How long a client may take for a step.
    pub(in crate::server) fn client_timeout(&self) -> Duration {
        self.client_timeout
    }

    fn limit(&self, group: Group, phase: Phase) -> Option<Duration> {
        match phase {
            Phase::Review => None,
            // Who might have proven itself and has not is not the API server.
            Phase::Idle if self.verifies && group == Group::Stranger => Some(self.client_timeout),
            Phase::Idle => Some(IDLE.max(self.client_timeout)),
            // The request gets its timeout response first.
            Phase::Body => Some(self.client_timeout + Duration::from_secs(1)),
            Phase::Handshake | Phase::Fresh | Phase::Head | Phase::Answer => {
                Some(self.client_timeout)
            }
        }
    }

    fn close_if(&self, is_late: impl Fn(Group, Progress) -> bool) -> usize {
        let table = self.table();
        let mut closed = 0;
        for group in Group::ALL {
            let open = table.pools[group as usize].sources.values().flat_map(BTreeMap::values);
            for connection in open.filter(|open| is_late(group, *open.progress())) {
                connection.close.notify_one();
                closed += 1;
            }
        }
        closed
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn enter(&mut self, group: Group, id: u64, connection: &Arc<Connection>) -> Entry {
        let pool = &mut self.pools[group as usize];
        let source = connection.source;
        // All API servers may come through one address.
        let has_its_share = !self.known.contains(&source) && pool.held(source) >= pool.share;
        let room = if has_its_share {
            pool.evict_of(source).then_some(Entry::Made)
        } else if pool.open >= pool.room {
            pool.evict(&self.known).then_some(Entry::Made)
        } else {
            Some(Entry::Free)
        };
        let Some(room) = room else { return Entry::None };
        pool.insert(id, connection);
        room
    }

    fn leave(&mut self, open: &Open) -> Option<Group> {
        let mut all = Group::ALL.into_iter();
        all.find(|group| self.pools[*group as usize].remove(open.id, open.source()).is_some())
    }

    fn remember(&mut self, source: IpAddr) {
        self.known.retain(|known| *known != source);
        self.known.truncate(MOST_KNOWN - 1);
        self.known.push_front(source);
    }
}

impl Pool {
    fn new(room: usize, share: usize) -> Self {
        Self { room, share, open: 0, sources: HashMap::default() }
    }

    fn held(&self, source: IpAddr) -> usize {
        self.sources.get(&source).map_or(0, BTreeMap::len)
    }

    fn has(&self, open: &Open) -> bool {
        self.sources.get(&open.source()).is_some_and(|held| held.contains_key(&open.id))
    }

    fn insert(&mut self, id: u64, connection: &Arc<Connection>) {
        let held = self.sources.entry(connection.source).or_default();
        self.open += usize::from(held.insert(id, Arc::clone(connection)).is_none());
    }

    fn remove(&mut self, id: u64, source: IpAddr) -> Option<Arc<Connection>> {
        let held = self.sources.get_mut(&source)?;
        let connection = held.remove(&id)?;
        self.open -= 1;
        if held.is_empty() {
            self.sources.remove(&source);
        }
        Some(connection)
    }

    /// Closes a connection of the source that has most of them, unknown ones first; false if all
    /// are being answered.
    fn evict(&mut self, known: &VecDeque<IpAddr>) -> bool {
        #[allow(clippy::iter_over_hash_type, reason = "sorted right below, where it matters")]
        let mut sources: Vec<_> = self
            .sources
            .iter()
            .map(|(source, held)| (known.contains(source), Reverse(held.len()), *source))
            .collect();
        if let Some((.., worst)) = sources.iter().min()
            && self.evict_of(*worst)
        {
            return true;
        }
        sources.sort_unstable();
        sources.into_iter().any(|(.., source)| self.evict_of(source))
    }

    /// Closes the connection of a source that has kept us waiting the longest.
    fn evict_of(&mut self, source: IpAddr) -> bool {
        let held = self.sources.get(&source).into_iter().flatten();
        let worst = held
            .map(|(id, connection)| (*id, *connection.progress()))
            .filter(|(_, progress)| progress.phase != Phase::Review)
            .min_by_key(|(_, progress)| progress.since);
        // It leaves the table at once, so that the next one in evicts another.
        let evicted = worst.and_then(|(id, _)| self.remove(id, source));
        evicted.inspect(|connection| connection.close.notify_one()).is_some()
    }
}

impl Progress {
    fn is_under_way(self) -> bool {
        matches!(self.phase, Phase::Head | Phase::Body | Phase::Review | Phase::Answer)
    }
}

impl Connection {
    /// Notes that its client has shown a certificate, and that it is good.
    pub(in crate::server) fn certify(&self) {
        self.certified.store(true, Ordering::Relaxed);
    }

    /// Whether it has.
    pub(in crate::server) fn is_certified(&self) -> bool {
        self.certified.load(Ordering::Relaxed)
    }

    /// Notes what it is doing now.
    pub(in crate::server) fn enter(&self, phase: Phase) {
        let mut progress = self.progress();
        if progress.phase != phase {
            *progress = Progress { phase, since: Instant::now() };
        }
    }

    /// Notes that bytes of its client have come.
    pub(in crate::server) fn received(&self) {
        if matches!(self.phase(), Phase::Fresh | Phase::Idle) {
            self.enter(Phase::Head);
        }
    }

    /// Notes that all written bytes are on their way.
    pub(in crate::server) fn flushed(&self) {
        if self.phase() == Phase::Answer {
            self.enter(Phase::Idle);
        }
    }

    /// What it is doing.
    pub(in crate::server) fn phase(&self) -> Phase {
        self.progress().phase
    }

    /// Returns once it is to be closed.
    pub(in crate::server) async fn closed(&self) {
        self.close.notified().await;
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// Where it comes from.
    pub(in crate::server) fn source(&self) -> IpAddr {
        self.connection.source
    }

    /// Notes that it may send requests from now on.
    pub(in crate::server) fn arrived(&self) -> Entry {
        self.enter(Phase::Fresh);
        self.move_to(&mut self.connections.table(), Group::Stranger)
    }

    /// Notes that a verified review has come by it.
    pub(in crate::server) fn proven(&self) -> Entry {
        let mut table = self.connections.table();
        if table.pools[Group::Proven as usize].has(self) {
            return Entry::Free;
        }
        table.remember(self.source());
        self.move_to(&mut table, Group::Proven)
    }

    fn move_to(&self, table: &mut Table, group: Group) -> Entry {
        // One that has been closed meanwhile is in no pool.
        let Some(before) = table.leave(self) else { return Entry::None };
        let room = table.enter(group, self.id, &self.connection);
        if room == Entry::None {
            table.pools[before as usize].insert(self.id, &self.connection);
        }
        room
    }
}

impl std::ops::Deref for Open {
    type Target = Connection;

    fn deref(&self) -> &Self::Target {
        &self.connection
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.connections.table().leave(self);
        self.connections.ended.notify_waiters();
    }
}

#[cfg(test)]
mod tests;
