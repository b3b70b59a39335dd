//! What a cluster has, read once for a command that ends.

use anyhow::Context;
use kube::Config;

use crate::mesh::Reading;
use crate::settings::Settings;
use crate::watch;

/// Reads what every object of the cluster says.
pub(super) fn read(
    config: impl Future<Output = anyhow::Result<Config>>,
    settings: &Settings,
) -> anyhow::Result<Vec<Reading>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime
        .context("cannot start")?
        .block_on(async { Ok(watch::read(config.await?, settings).await?) })
}
