//! What all parts of the server share.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::authority;
use super::backstage::Backstage;
use super::caller::Verification;
use super::metrics::Metrics;
use super::room::{Room, Turns};
use super::sample::Sample;
use super::supervise::Supervisor;
use super::tls::Certificate;
use crate::cluster::Live;
use crate::mesh::Mesh;
use crate::settings::Settings;
use crate::snapshot::Snapshot;
use crate::sources::Sources;

/// How many reviews of large bodies are made at once. What is made of one is bounded, but by
/// megabytes.
const LARGE_REVIEWS: usize = 2;
/// How many of medium ones, which take milliseconds.
const MEDIUM_REVIEWS: usize = 4;

/// How much is done at once, and how long a client is waited for.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How many connections may be open.
    pub connections: usize,
    /// How many reviews may be under way, large ones not counted.
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
    pub(super) sources: Arc<Sources>,
    /// How long an admitted write counts, at most, that the watch does not report; nothing where no
    /// cluster is watched.
    pub(super) hold: Option<Duration>,
    /// What reads single objects of the cluster, where one is watched.
    pub(super) live: Option<Arc<Live>>,
    /// How callers show who they are.
    pub(super) verification: Verification,
    pub(super) metrics: Metrics,
    pub(super) certificate: Arc<Certificate>,
    /// How the authority of the certificate stands, where isthmus is that itself.
    authority: Option<Arc<authority::Standing>>,
    pub(super) limits: Limits,
    /// Room for large bodies, in bytes.
    pub(super) memory: Arc<Room>,
    /// Places for reviews that are not large.
    pub(super) reviews: Arc<Room>,
    /// Whose turn it is among the reviews that are neither large nor small.
    pub(super) medium_reviews: Turns,
    /// Whose turn it is among the large ones.
    pub(super) large_reviews: Turns,
    /// Where large reviews are made.
    pub(super) backstage: Backstage,
    /// Who watches over the background tasks.
    pub(super) supervisor: Arc<Supervisor>,
    /// Which calls that are no reviews are logged.
    pub(super) sample: Sample,
    draining: AtomicBool,
}

impl App {
    pub(super) fn new(
        settings: Arc<Settings>,
        sources: Arc<Sources>,
        hold: Option<Duration>,
        verification: Verification,
        certificate: Arc<Certificate>,
        authority: Option<Arc<authority::Standing>>,
        limits: Limits,
    ) -> io::Result<Self> {
        let supervisor = Arc::<Supervisor>::default();
        let mut metrics = Metrics::new(authority.is_some());
        metrics.add_tasks(&supervisor.ended);
        Ok(Self {
            snapshot: Arc::new(Snapshot::new(Mesh::new(Arc::clone(&settings)))),
            settings,
            sources,
            hold,
            live: None,
            verification,
            metrics,
            certificate,
            authority,
            limits,
            memory: Room::new(limits.body_memory),
            reviews: Room::new(limits.reviews),
            medium_reviews: Turns::new(MEDIUM_REVIEWS),
            large_reviews: Turns::new(LARGE_REVIEWS),
            backstage: Backstage::new(LARGE_REVIEWS)?,
            supervisor,
            sample: Sample::default(),
            draining: AtomicBool::new(false),
        })
    }

    /// Why a review cannot be answered now; empty if it can.
    pub(super) fn faults(&self) -> Vec<String> {
        if !self.snapshot.is_sound() {
            return vec!["a bug in isthmus has left the mesh half changed".to_owned()];
        }
        self.sources.missing().into_iter().chain(self.certificate.fault()).collect()
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
        self.metrics.inventory_age.set(self.sources.age());
        let number = |count| i64::try_from(count).unwrap_or(i64::MAX);
        let (watched, held) = self.snapshot.counts();
        self.metrics.watched_objects.set(number(watched));
        self.metrics.held_writes.set(number(held));
        self.metrics.lost_watches.set(number(self.sources.lost()));
        let members = self.snapshot.read(Mesh::len);
        self.metrics.inventory_members.set(number(members));
        self.metrics.body_memory.set(number(self.memory.taken()));
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
