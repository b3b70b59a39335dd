//! What all parts of the server share.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::authority::Health;
use super::http::Http;
use super::http::room::{Room, Turns};
use super::ledger::Ledger;
use super::metrics::{metrics, registry, render};
use super::page::MeshPage;
use super::supervise::Supervisor;
use super::tls::Certificate;
use super::webhook::backstage::Backstage;
use super::webhook::caller::Verification;
use super::webhook::metrics::ReviewMetrics;
use crate::cluster::{self, Live, Reach};
use crate::mesh::Mesh;
use crate::pending::LONGEST;
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

metrics! {
    /// How things stand, as of the moment they are asked about.
    struct StateMetrics {
        members: Gauge = "inventory_members", "Members of the mesh";
        age: Gauge<f64, AtomicU64> = "inventory_age_seconds",
            "Time since the inventory, or what is known of the cluster, was last known to be complete";
        watched_objects: Gauge = "watched_objects", "Objects of the cluster that describe members";
        lost_watches: Gauge = "lost_watches", "Watches of the cluster that are interrupted";
        held_writes: Gauge = "held_writes", "Admitted writes that the watch has not reported yet";
        certificate_expiry: Gauge = "certificate_expiry_timestamp_seconds",
            "Expiry of the certificate, in seconds since 1970";
        ready: Gauge = "ready", "Whether reviews are answered";
    }
}

metrics! {
    /// How the authority of the certificate stands, where isthmus is that itself.
    struct AuthorityMetrics {
        expiry: Gauge = "certificate_authority_expiry_timestamp_seconds",
            "Expiry of the certificate authority (CA), in seconds since 1970";
        age: Gauge<f64, AtomicU64> = "certificate_sync_age_seconds",
            "Time since the certificate and the caBundles were last seen to match";
    }
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
    /// The page that the replicas share, if they do.
    pub(super) ledger: Option<Arc<Ledger>>,
    /// What reads other clusters that writes lead to, if that is done.
    pub(super) reach: Option<Reach>,
    /// How callers show who they are.
    pub(super) verification: Verification,
    pub(super) http: Arc<Http>,
    pub(super) metrics: ReviewMetrics,
    state: StateMetrics,
    authority_metrics: Option<AuthorityMetrics>,
    /// What shows the metrics of all parts.
    pub(super) registry: Registry,
    pub(super) certificate: Arc<Certificate>,
    /// How the authority of the certificate stands, where isthmus is that itself.
    authority: Option<Arc<Health>>,
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
    /// The page of the mesh, if it is served.
    pub(super) page: Option<Arc<MeshPage>>,
}

impl App {
    pub(super) fn new(
        settings: Arc<Settings>,
        sources: Arc<Sources>,
        hold: Option<Duration>,
        verification: Verification,
        certificate: Arc<Certificate>,
        authority: Option<Arc<Health>>,
        limits: Limits,
    ) -> io::Result<Self> {
        let mut registry = registry();
        let supervisor = Arc::new(Supervisor::new(&mut registry));
        let mesh = Mesh::new(Arc::clone(&settings));
        let watches = hold.map(|_| cluster::watches(&settings)).unwrap_or_default();
        let snapshot = Snapshot::holding(mesh, hold.unwrap_or(LONGEST));
        let snapshot = snapshot.known_by(cluster::known_by(&watches));
        Ok(Self {
            snapshot: Arc::new(snapshot),
            settings,
            sources,
            hold,
            live: None,
            ledger: None,
            reach: None,
            verification,
            http: Arc::new(Http::new(limits.client_timeout, &mut registry)),
            metrics: ReviewMetrics::shown_by(&mut registry),
            state: StateMetrics::shown_by(&mut registry),
            authority_metrics: authority
                .as_ref()
                .map(|_| AuthorityMetrics::shown_by(&mut registry)),
            registry,
            certificate,
            authority,
            limits,
            memory: Room::new(limits.body_memory),
            reviews: Room::new(limits.reviews),
            medium_reviews: Turns::new(MEDIUM_REVIEWS),
            large_reviews: Turns::new(LARGE_REVIEWS),
            backstage: Backstage::new(LARGE_REVIEWS)?,
            supervisor,
            page: None,
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
        let draining = self.http.is_draining().then(|| "it is shutting down".to_owned());
        // One that calls nevertheless is answered.
        let distrusted = self.authority.as_ref().and_then(|authority| authority.distrusted());
        // What is half changed is looked at by nobody.
        let page = self.snapshot.is_sound().then(|| self.snapshot.page()).flatten();
        let superseded = page.and_then(|page| page.unready());
        let failing = self.supervisor.failing();
        let others = distrusted.into_iter().chain(superseded).chain(failing);
        draining.into_iter().chain(self.faults()).chain(others).collect()
    }

    /// Shows also how many lines of the log were lost.
    pub(super) fn show_lost_log_lines(&mut self, lost: Counter) {
        let help = "Log lines that were not written: nobody read them in time, or writing failed";
        self.registry.register("lost_log_lines", help, lost);
    }

    /// The metrics' page, as of now.
    pub(super) fn metrics_page(&self) -> String {
        let number = |count| i64::try_from(count).unwrap_or(i64::MAX);
        let (watched, held) = self.snapshot.counts();
        let state = &self.state;
        state.age.set(self.sources.age());
        state.watched_objects.set(number(watched));
        state.held_writes.set(number(held));
        state.lost_watches.set(number(self.sources.lost()));
        state.members.set(number(self.snapshot.read(Mesh::len)));
        self.metrics.body_memory(number(self.memory.taken()));
        let expiry = self.certificate.validity().map(|validity| validity.until);
        state.certificate_expiry.set(expiry.unwrap_or_default());
        if let (Some(authority), Some(metrics)) = (&self.authority, &self.authority_metrics) {
            metrics.expiry.set(authority.authority_until());
            metrics.age.set(authority.age());
        }
        if let Some(ledger) = &self.ledger {
            ledger.show();
        }
        state.ready.set(self.unready().is_empty().into());
        render(&self.registry)
    }
}
