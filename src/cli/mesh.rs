//! Where the mesh is read from: the cluster, a directory of files, or both.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use kube::Config;

use super::kube::KubeArgs;
use crate::cluster::{self, Contents};
use crate::inventory::Inventory;
use crate::mesh::Reading;
use crate::settings::Settings;

/// Flags that every command takes that reads the mesh.
#[derive(Debug, clap::Args)]
pub(super) struct MeshArgs {
    /// A directory of YAML and JSON files that describe the mesh. Without it, the cluster that
    /// isthmus runs in, or that the kubeconfig selects, is read; with both, files add what the
    /// cluster does not have.
    #[arg(long, env = "ISTHMUS_INVENTORY", value_name = "DIR")]
    pub(super) inventory: Option<PathBuf>,
    #[command(flatten)]
    pub(super) kube: KubeArgs,
    /// Read the cluster in addition to the inventory.
    #[arg(long, env = "ISTHMUS_CLUSTER")]
    cluster: bool,
}

impl MeshArgs {
    /// Whether a cluster is asked for by name.
    pub(super) fn names_cluster(&self) -> bool {
        self.cluster || self.kube.is_given()
    }

    /// Whether it is said where the mesh is.
    pub(super) fn is_given(&self) -> bool {
        self.inventory.is_some() || self.names_cluster()
    }

    /// Whether a cluster is read.
    pub(super) fn reads_cluster(&self) -> bool {
        self.inventory.is_none() || self.names_cluster()
    }

    /// What every object says: those of files first, then those of the cluster, which count where
    /// both have one.
    pub(super) fn contents(&self, settings: &Arc<Settings>) -> anyhow::Result<Contents> {
        self.check()?;
        let readings = match &self.inventory {
            Some(directory) => of_files(directory, settings)?,
            None => Vec::new(),
        };
        let mut contents = Contents { readings, serves_peers: false };
        if self.reads_cluster() {
            let cluster = of_cluster(self.kube.as_kubectl(), settings)?;
            contents.readings.extend(cluster.readings);
            contents.serves_peers = cluster.serves_peers;
        }
        Ok(contents)
    }

    /// Refuses an inventory that is not there.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        match &self.inventory {
            Some(inventory) if !inventory.is_dir() => {
                bail!("--inventory {}: there is no such directory", inventory.display())
            }
            _ => Ok(()),
        }
    }
}

/// Reads what every object of the cluster says.
pub(super) fn of_cluster(
    config: impl Future<Output = anyhow::Result<Config>>,
    settings: &Settings,
) -> anyhow::Result<Contents> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime
        .context("cannot start")?
        .block_on(async { Ok(cluster::read(config.await?, settings).await?) })
}

fn of_files(directory: &Path, settings: &Arc<Settings>) -> anyhow::Result<Vec<Reading>> {
    let mut inventory = Inventory::new(directory.to_owned(), Arc::clone(settings));
    inventory.refresh();
    let errors: Vec<_> = inventory.errors().collect();
    if !errors.is_empty() {
        bail!("--inventory {}: {}", directory.display(), errors.join("; "));
    }
    Ok(inventory.readings().cloned().collect())
}
