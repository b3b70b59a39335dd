//! Other clusters, read while a write waits that leads to them: by few at once, not for long, and
//! not again for whoever repeats the write. It is done on a thread of its own that gives way, so
//! that whatever they answer, or do not, slows nothing else.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use foldhash::HashMap;
use jiff::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use rustix::process::nice;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::time::{timeout, timeout_at};

use super::observe::{Bounds, observe, read_metadata};
use super::peer::Dial;
use super::unreached::Unreached;
use crate::document::{Sight, Way};
use crate::settings::Settings;

/// How many clusters are read at once.
const AT_ONCE: usize = 8;
/// How many are read for one write.
const MOST_OF_ONE: usize = 8;
/// What reading one may cost, apart from the time that is set.
const BOUNDS: Bounds =
    Bounds { time: Duration::ZERO, answer: 1 << 20, whole: 4 << 20, at_once: AT_ONCE };
/// How long it counts what was seen, and that nothing was.
const KEPT: (Duration, Duration) = (Duration::from_mins(1), Duration::from_secs(10));
/// How many outcomes are kept.
const MOST_KEPT: usize = 256;
/// How many names are looked up at once.
const RESOLVERS: usize = 8;
/// How much its thread gives way, as of nice(1).
const NICENESS: i32 = 10;

/// Reads other clusters.
pub(crate) struct Reach {
    shared: Arc<Shared>,
    thread: Handle,
    /// Ends the thread when it is dropped.
    _end: oneshot::Sender<()>,
}

struct Shared {
    settings: Arc<Settings>,
    dial: Dial,
    places: Semaphore,
    /// How many writes may wait.
    waiting: Semaphore,
    flights: Mutex<HashMap<u128, Flight>>,
    /// What tells ways apart without keeping the credentials in them.
    hashers: [RandomState; 2],
    outcomes: Family<Labels, Counter>,
}

/// How clusters were read.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct Labels {
    outcome: &'static str,
}

/// What came of reading a cluster.
type Outcome = Result<Sight, Unreached>;

/// A cluster that is being read, or was.
struct Flight {
    since: Instant,
    outcome: watch::Receiver<Option<Outcome>>,
}

impl Flight {
    fn counts(&self) -> bool {
        let kept = match &*self.outcome.borrow() {
            Some(Err(_)) => KEPT.1,
            // One that has broken off tells that to whoever waits.
            None if self.outcome.has_changed().is_err() => return false,
            _ => KEPT.0,
        };
        self.since.elapsed() < kept
    }
}

impl Reach {
    /// Reads clusters for so many writes at once.
    pub(crate) fn new(settings: Arc<Settings>, dial: Dial, writes: usize) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .max_blocking_threads(RESOLVERS)
            .enable_all()
            .build()?;
        let (thread, (end, ended)) = (runtime.handle().clone(), oneshot::channel::<()>());
        std::thread::Builder::new().name("reach".to_owned()).spawn(move || {
            let _ = nice(NICENESS);
            let _ = runtime.block_on(ended);
            // Nobody waits for what is still under way.
            runtime.shutdown_background();
        })?;
        let shared = Shared {
            settings,
            dial,
            places: Semaphore::new(AT_ONCE),
            waiting: Semaphore::new(writes.max(1)),
            flights: Mutex::default(),
            hashers: [RandomState::new(), RandomState::new()],
            outcomes: Family::default(),
        };
        Ok(Self { shared: Arc::new(shared), thread, _end: end })
    }

    /// How clusters were read so far.
    pub(crate) fn outcomes(&self) -> Family<Labels, Counter> {
        Family::clone(&self.shared.outcomes)
    }

    /// What clusters show to which these ways lead, in their order, after so long at most.
    pub(crate) async fn read(&self, ways: &[&Way], time: Duration) -> Vec<Outcome> {
        let Ok(_waits) = self.shared.waiting.try_acquire() else {
            return vec![Err(Unreached::Busy); ways.len()];
        };
        let until = tokio::time::Instant::now() + time;
        let flights: Vec<_> = ways.iter().take(MOST_OF_ONE).map(|way| self.flight(way)).collect();
        let mut outcomes = Vec::with_capacity(ways.len());
        for mut flight in flights {
            let landed = timeout_at(until, flight.wait_for(Option::is_some)).await;
            outcomes.push(match landed.map(|landed| landed.map(|outcome| outcome.clone())) {
                Ok(Ok(Some(outcome))) => outcome,
                Ok(_) => Err(Unreached::Connection),
                Err(_) => Err(Unreached::Slow),
            });
        }
        outcomes.resize(ways.len(), Err(Unreached::Busy));
        outcomes
    }

    /// What comes of reading a cluster: what is known still, or what is on the way already.
    fn flight(&self, way: &Way) -> watch::Receiver<Option<Outcome>> {
        let [high, low] = self.shared.hashers.each_ref().map(|hasher| hasher.hash_one(way));
        let key = u128::from(high) << 64 | u128::from(low);
        let mut flights = self.shared.flights.lock().unwrap_or_else(PoisonError::into_inner);
        flights.retain(|_, flight| flight.counts());
        if let Some(flight) = flights.get(&key) {
            return flight.outcome.clone();
        }
        if flights.len() >= MOST_KEPT
            && let Some(oldest) = flights.iter().min_by_key(|(_, it)| it.since).map(|(key, _)| *key)
        {
            flights.remove(&oldest);
        }
        let (sender, outcome) = watch::channel(None);
        let flight = Flight { since: Instant::now(), outcome: outcome.clone() };
        flights.insert(key, flight);
        drop(flights);
        let (shared, way) = (Arc::clone(&self.shared), way.clone());
        self.thread.spawn(async move {
            let outcome = shared.visit(&way).await;
            let labels =
                Labels { outcome: outcome.as_ref().map_or_else(Unreached::reason, |_| "Read") };
            tracing::info!(outcome = labels.outcome, "a cluster was read that a write leads to");
            shared.outcomes.get_or_create(&labels).inc();
            // Whoever waited for it may be gone.
            let _ = sender.send(Some(outcome));
        });
        outcome
    }
}

impl Shared {
    async fn visit(&self, way: &Way) -> Outcome {
        let begun = Instant::now();
        let time = self.settings.reach_timeout;
        // Who waits longer would have no time left.
        let place = timeout(time / 2, self.places.acquire()).await;
        let Ok(Ok(_place)) = place else { return Err(Unreached::Busy) };
        let time = time.saturating_sub(begun.elapsed());
        match way {
            Way::Kubeconfig(kubeconfig) => {
                let client = self.dial.client(kubeconfig)?;
                let bounds = Bounds { time, ..BOUNDS };
                let shown = observe(&client, &self.settings, &bounds).await?;
                Ok(Sight::Facts(Arc::new(shown.observed)))
            }
            Way::Metadata { endpoint, authority, is_insecure } => {
                let client = self.dial.client_of_metadata(endpoint, authority, *is_insecure)?;
                let uuid = read_metadata(&client, time).await?;
                Ok(Sight::Uuid(uuid, Timestamp::now()))
            }
        }
    }
}
