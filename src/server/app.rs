//! What all parts of the server share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::metrics::Metrics;
use super::tls::Certificate;
use crate::mesh::Mesh;
use crate::snapshot::Snapshot;

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
    /// The mesh that reviews are held against.
    pub(super) snapshot: Snapshot,
    pub(super) metrics: Metrics,
    pub(super) certificate: Arc<Certificate>,
    pub(super) limits: Limits,
    /// Room for large bodies, in units of [`MEMORY_UNIT`].
    pub(super) memory: Arc<Semaphore>,
    /// How many reviews may be under way, those of large bodies waiting for each other included.
    pub(super) reviews: Arc<Semaphore>,
    /// How many reviews of large bodies are made at once.
    pub(super) large_reviews: Arc<Semaphore>,
    draining: AtomicBool,
    inventory: Mutex<Inventory>,
}

/// How the inventory stands.
#[derive(Default)]
struct Inventory {
    /// Why part of the mesh is unknown; nothing once all of it was read.
    missing: Option<String>,
    /// When it was last known to be complete.
    complete: Option<Instant>,
}

impl App {
    pub(super) fn new(snapshot: Snapshot, certificate: Arc<Certificate>, limits: Limits) -> Self {
        let missing = Some("not read yet".to_owned());
        Self {
            snapshot,
            metrics: Metrics::new(),
            certificate,
            limits,
            memory: Arc::new(Semaphore::new(limits.body_memory / MEMORY_UNIT)),
            reviews: Arc::new(Semaphore::new(limits.reviews)),
            large_reviews: Arc::new(Semaphore::new(LARGE_REVIEWS)),
            draining: AtomicBool::new(false),
            inventory: Mutex::new(Inventory { missing, complete: None }),
        }
    }

    /// Why a review cannot be answered now; empty if it can.
    pub(super) fn faults(&self) -> Vec<String> {
        let inventory = self.inventory().missing.clone();
        let inventory = inventory.map(|why| format!("the inventory is not read: {why}"));
        inventory.into_iter().chain(self.certificate.fault()).collect()
    }

    /// Why no more reviews should be sent here; empty if they should.
    pub(super) fn unready(&self) -> Vec<String> {
        let draining = self.is_draining().then(|| "it is shutting down".to_owned());
        draining.into_iter().chain(self.faults()).collect()
    }

    /// Whether this process is about to end.
    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Begins the end.
    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Notes how the inventory stands. What was read once is known from then on, however old.
    pub(super) fn inventory_read(&self, missing: Option<String>, complete: bool) {
        let mut inventory = self.inventory();
        if inventory.missing.is_some() {
            inventory.missing = missing;
        }
        if complete {
            inventory.complete = Some(Instant::now());
        }
    }

    /// The metrics' page, as of now.
    pub(super) fn metrics_page(&self) -> String {
        let age = self.inventory().complete.map_or(f64::INFINITY, |at| at.elapsed().as_secs_f64());
        self.metrics.inventory_age.set(age);
        let members = self.snapshot.read(Mesh::len);
        self.metrics.inventory_members.set(i64::try_from(members).unwrap_or(i64::MAX));
        let room = self.limits.body_memory / MEMORY_UNIT;
        let taken = (room - self.memory.available_permits()) * MEMORY_UNIT;
        self.metrics.body_memory.set(i64::try_from(taken).unwrap_or(i64::MAX));
        self.metrics.certificate_expiry.set(self.certificate.validity().until);
        self.metrics.ready.set(self.unready().is_empty().into());
        self.metrics.render()
    }

    fn inventory(&self) -> MutexGuard<'_, Inventory> {
        self.inventory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
