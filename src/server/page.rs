//! The map of the mesh as a page, made anew only once the mesh has changed.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use axum::body::Bytes;
use prometheus_client::metrics::counter::Counter;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

use super::metrics::metrics;
use super::supervise::of_blocking;
use crate::map::{Survey, html};
use crate::mesh::MemberName;
use crate::snapshot::Snapshot;

/// How old a page becomes of which nothing but the ages of facts has changed.
const AGE: Duration = Duration::from_mins(1);
/// How much longer than making a page takes it is shown after that, whatever changes.
const REST: u32 = 20;
/// How many members are judged while the mesh stands still: whoever changes it waits that long.
const AT_ONCE: usize = 32;

metrics! {
    /// What is counted of pages.
    struct PageMetrics {
        made: Counter = "mesh_pages", "Times that the page of the mesh was made";
    }
}

/// The page as it was made last.
pub(super) struct MeshPage {
    snapshot: Arc<Snapshot>,
    metrics: PageMetrics,
    kept: Mutex<Option<Kept>>,
}

struct Kept {
    page: Bytes,
    revision: u64,
    made: Instant,
    /// Until when it is shown, whatever changes.
    rest: Instant,
}

impl Kept {
    fn is_current(&self, revision: u64) -> bool {
        let now = Instant::now();
        now < self.rest || (self.revision == revision && now < self.made + AGE)
    }
}

impl MeshPage {
    pub(super) fn new(snapshot: Arc<Snapshot>, metrics: PageMetrics) -> Self {
        Self { snapshot, metrics, kept: Mutex::new(None) }
    }

    /// The page. Only one is made at a time, and is kept even if nobody waits for it any more.
    pub(super) async fn current(self: &Arc<Self>) -> Bytes {
        let page = Arc::clone(self);
        of_blocking(tokio::spawn(async move { page.kept_or_made().await }).await).await
    }

    async fn kept_or_made(&self) -> Bytes {
        let mut kept = self.kept.lock().await;
        let revision = self.snapshot.revision();
        if let Some(kept) = kept.as_ref().filter(|kept| kept.is_current(revision)) {
            return kept.page.clone();
        }
        let begun = Instant::now();
        let snapshot = Arc::clone(&self.snapshot);
        let page = of_blocking(spawn_blocking(move || made(&snapshot)).await).await;
        self.metrics.made.inc();
        let made = Instant::now();
        let rest = made + begun.elapsed() * REST;
        *kept = Some(Kept { page: page.clone(), revision, made, rest });
        page
    }
}

fn made(snapshot: &Snapshot) -> Bytes {
    let names: Vec<MemberName> =
        snapshot.read(|mesh| mesh.members().into_iter().map(|it| Arc::clone(it.name())).collect());
    let mut survey = Survey::at(Some(SystemTime::now().into()));
    for names in names.chunks(AT_ONCE) {
        snapshot.read(|mesh| {
            for member in names.iter().filter_map(|name| mesh.member(name)) {
                survey.see(mesh, member);
            }
        });
    }
    html(&survey.map()).into()
}
