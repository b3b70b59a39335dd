//! What is looked at again and again: the inventory and the certificate.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::app::App;
use super::metrics::metrics;
use super::supervise::of_blocking;
use super::tls::TlsSetup;
use crate::inventory::Inventory;
use crate::snapshot::{Snapshot, Source};

/// The name of the inventory among the sources.
pub(super) const INVENTORY: &str = "the inventory";
/// How often it is looked whether an admitted write was held for too long, and whether the mesh is
/// sound.
const EXPIRY: Duration = Duration::from_millis(500);

/// Gives up admitted writes that were never stored, until it is cancelled.
pub(super) async fn holds(app: &App) {
    loop {
        sleep(EXPIRY).await;
        let overdue = app.snapshot.overdue();
        if let Some(live) = app.live.as_ref().filter(|_| !overdue.is_empty()) {
            live.look(overdue, Snapshot::looked).await;
        }
    }
}

/// Returns once a fault has left the mesh half changed.
pub(super) async fn half_changed(app: &App) {
    while app.snapshot.is_sound() {
        sleep(EXPIRY).await;
    }
}

metrics! {
    /// What is counted of files.
    struct UpkeepMetrics {
        polls: Counter = "inventory_polls", "Checks of the inventory";
        objects: Gauge = "inventory_objects", "Objects that describe members";
        files: Gauge = "inventory_files", "Files of the inventory";
        bad_files: Gauge = "inventory_bad_files", "Files of the inventory that cannot be read";
        errors: Counter = "inventory_errors", "Times that a file of the inventory became invalid";
        certificate_errors: Counter = "certificate_errors",
            "Times that the certificate's files became invalid or the certificate could not be maintained";
    }
}

/// The inventory, and the mesh that is kept as it says.
pub(super) struct Files {
    app: Arc<App>,
    metrics: Arc<UpkeepMetrics>,
    kept: Arc<Mutex<Kept>>,
    every: Duration,
    /// Notified once it was read for the first time.
    loaded: Option<oneshot::Sender<()>>,
}

struct Kept {
    inventory: Inventory,
    /// Whether the mesh has yet to take in what it says.
    is_news: bool,
}

impl Files {
    pub(super) fn new(
        app: Arc<App>,
        metrics: Arc<UpkeepMetrics>,
        inventory: Inventory,
        every: Duration,
        loaded: oneshot::Sender<()>,
    ) -> Self {
        let kept = Arc::new(Mutex::new(Kept { inventory, is_news: false }));
        Self { app, metrics, kept, every, loaded: Some(loaded) }
    }

    /// Keeps the mesh in line with the inventory, until it is cancelled.
    pub(super) async fn keep(&mut self) {
        loop {
            let (app, metrics) = (Arc::clone(&self.app), Arc::clone(&self.metrics));
            let kept = Arc::clone(&self.kept);
            let look = move || {
                refresh(&app, &metrics, &mut kept.lock().unwrap_or_else(PoisonError::into_inner));
            };
            of_blocking(spawn_blocking(look).await).await;
            if let Some(loaded) = self.loaded.take() {
                let _ = loaded.send(());
            }
            sleep(self.every).await;
        }
    }
}

/// Reloads the certificate, the CA of callers and the paths from their files, until it is
/// cancelled.
pub(super) async fn certificate(
    app: &Arc<App>,
    metrics: &UpkeepMetrics,
    secured: &Arc<TlsSetup>,
    every: Duration,
) {
    loop {
        app.verification.rest(every).await;
        let (shared, secured) = (Arc::clone(app), Arc::clone(secured));
        let look = spawn_blocking(move || {
            let App { certificate, verification, .. } = &*shared;
            (certificate.refresh(), secured.refresh(), verification.refresh())
        });
        let (renewed, callers, paths) = of_blocking(look.await).await;
        match renewed {
            Ok(false) => {}
            Ok(true) => {
                let until = app.certificate.validity().map(|validity| validity.until);
                tracing::info!(valid_until = until, "the certificate has been renewed");
            }
            Err(error) => {
                metrics.certificate_errors.inc();
                tracing::error!(%error, "the certificate files are invalid; the last good certificate stays in use");
            }
        }
        match callers {
            Ok(false) => {}
            Ok(true) => tracing::info!("the CA for client certificates has changed"),
            Err(error) => {
                metrics.certificate_errors.inc();
                tracing::error!(%error, "the CA for client certificates is invalid; the last good one stays in use");
            }
        }
        match paths {
            Ok(false) => {}
            Ok(true) => tracing::info!("the secret path has changed"),
            Err(error) => {
                metrics.certificate_errors.inc();
                tracing::error!(%error, "the path file is invalid; the last good path stays in use");
            }
        }
    }
}

fn refresh(app: &App, metrics: &UpkeepMetrics, kept: &mut Kept) {
    let Kept { inventory, is_news } = kept;
    // What a fault leaves unsaid is taken for news.
    let was_news = std::mem::replace(is_news, true);
    let refresh = inventory.refresh();
    *is_news = was_news || refresh.changed;
    for error in &refresh.errors {
        metrics.errors.inc();
        tracing::error!(%error, "the inventory is invalid; its last valid content stays in use");
    }
    for path in &refresh.recovered {
        tracing::info!(path = %path.display(), "the inventory is valid again");
    }
    if *is_news {
        app.snapshot.replace(Source::Files, inventory.readings());
        let members = app.snapshot.read(crate::mesh::Mesh::len);
        let (files, objects) = (inventory.files(), inventory.objects());
        tracing::info!(members, objects, files, "the inventory has been read");
        for object in inventory.doubles() {
            tracing::warn!(object, "more than one file defines this object; the last one counts");
        }
        metrics.objects.set(i64::try_from(objects).unwrap_or(i64::MAX));
        metrics.files.set(i64::try_from(files).unwrap_or(i64::MAX));
        *is_news = false;
    }
    let bad = inventory.errors().count();
    metrics.bad_files.set(i64::try_from(bad).unwrap_or(i64::MAX));
    app.sources.looked_at(INVENTORY, inventory.missing(), bad == 0);
    metrics.polls.inc();
}
