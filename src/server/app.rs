//! What all parts of the server share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::authority;
use super::caller::Verification;
use super::metrics::Metrics;
use super::sample::Sample;
use super::supervise::Supervisor;
use super::tls::Certificate;
use crate::mesh::Mesh;
use crate::settings::Settings;
use crate::snapshot::Snapshot;
use crate::standing::Standing;

/// The unit in which the memory of large bodies is counted, in bytes.
pub(super) const MEMORY_UNIT: usize = 64 << 10;

/// How many reviews of large bodies are made at once. Reading one may take twenty times its size.
const LARGE_REVIEWS: usize = 2;

/// How much is done at once, and how long a client is waited for.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How many connections may be open.
    pub connections: usize,
    /// How many reviews may be under way.
    pub reviews: usize,
    /// How many bytes all large bodies may take together.
    pub body_memory: usize,
    /// How long a client may take for a handshake, a request's head, its body, or an answer.
    pub client_timeout: Duration,
}

/// What all parts of the server share.
pub(super) struct App {
    /// What an operator decides for the mesh.
    pub(super) settings: Arc<Settings>,
    /// The mesh that reviews are held against.
    pub(super) snapshot: Arc<Snapshot>,
    /// How well that is known.
    pub(super) standing: Arc<Standing>,
    /// How long an admitted write counts that is not observed; nothing where no cluster is watched.
    pub(super) hold: Option<Duration>,
    /// How callers show who they are.
    pub(super) verification: Verification,
    pub(super) metrics: Metrics,
    pub(super) certificate: Arc<Certificate>,
    /// How the authority of the certificate stands, where isthmus is that itself.
    authority: Option<Arc<authority::Standing>>,
    pub(super) limits: Limits,
    /// Room for large bodies, in units of [`MEMORY_UNIT`].
    pub(super) memory: Arc<Semaphore>,
    /// How many reviews may be under way, those of large bodies waiting for each other included.
    pub(super) reviews: Arc<Semaphore>,
    /// How many reviews of large bodies are made at once.
    pub(super) large_reviews: Arc<Semaphore>,
    /// Who watches over the background tasks.
    pub(super) supervisor: Arc<Supervisor>,
    /// Which calls that are no reviews are logged.
    pub(super) sample: Sample,
    draining: AtomicBool,
}

impl App {
    pub(super) fn new(
        settings: Arc<Settings>,
        standing: Arc<Standing>,
        hold: Option<Duration>,
        verification: Verification,
        certificate: Arc<Certificate>,
        authority: Option<Arc<authority::Standing>>,
        limits: Limits,
    ) -> Self {
        let supervisor = Arc::<Supervisor>::default();
        let mut metrics = Metrics::new(authority.is_some());
        metrics.add_tasks(&supervisor.ended);
        Self {
            snapshot: Arc::new(Snapshot::new(Mesh::new(Arc::clone(&settings)))),
            settings,
            standing,
            hold,
            verification,
            metrics,
            certificate,
            authority,
            limits,
            memory: Arc::new(Semaphore::new(limits.body_memory / MEMORY_UNIT)),
            reviews: Arc::new(Semaphore::new(limits.reviews)),
            large_reviews: Arc::new(Semaphore::new(LARGE_REVIEWS)),
            supervisor,
            sample: Sample::default(),
            draining: AtomicBool::new(false),
        }
    }

    /// Why a review cannot be answered now; empty if it can.
    pub(super) fn faults(&self) -> Vec<String> {
        if !self.snapshot.is_sound() {
            return vec!["a fault of isthmus itself has left the mesh half changed".to_owned()];
        }
        self.standing.missing().into_iter().chain(self.certificate.fault()).collect()
    }

    /// Why no more reviews should be sent here; empty if they should.
    pub(super) fn unready(&self) -> Vec<String> {
        let draining = self.is_draining().then(|| "it is shutting down".to_owned());
        // One that calls nevertheless is answered.
        let distrusted = self.authority.as_ref().and_then(|authority| authority.distrusted());
        let failing = self.supervisor.failing();
        draining.into_iter().chain(self.faults()).chain(distrusted).chain(failing).collect()
    }

    /// Whether this process is about to end.
    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Begins the end.
    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// The metrics' page, as of now.
    pub(super) fn metrics_page(&self) -> String {
        self.metrics.inventory_age.set(self.standing.age());
        let number = |count| i64::try_from(count).unwrap_or(i64::MAX);
        let (watched, held) = self.snapshot.counts();
        self.metrics.watched_objects.set(number(watched));
        self.metrics.held_writes.set(number(held));
        self.metrics.lost_watches.set(number(self.standing.lost()));
        let members = self.snapshot.read(Mesh::len);
        self.metrics.inventory_members.set(number(members));
        let room = self.limits.body_memory / MEMORY_UNIT;
        let taken = (room - self.memory.available_permits()) * MEMORY_UNIT;
        self.metrics.body_memory.set(number(taken));
        let expiry = self.certificate.validity().map(|validity| validity.until);
        self.metrics.certificate_expiry.set(expiry.unwrap_or_default());
        if let Some(authority) = &self.authority {
            self.metrics.authority_expiry.set(authority.authority_until());
            self.metrics.certificate_age.set(authority.age());
        }
        self.metrics.ready.set(self.unready().is_empty().into());
        self.metrics.render()
    }
}
