//! Where the mesh is read from: the cluster, a directory of files, or both.

use std::path::PathBuf;

use anyhow::{Context, bail};
use kube::Config;

use crate::cluster::{self, Contents};
use crate::settings::Settings;

/// Flags that every command takes that reads the mesh.
#[derive(Debug, clap::Args)]
pub(super) struct MeshArgs {
    /// A directory of YAML and JSON files that describe the mesh. Without it, the cluster that
    /// isthmus runs in, or that the kubeconfig selects, is read.
    #[arg(long, env = "ISTHMUS_INVENTORY", value_name = "DIR")]
    pub(super) inventory: Option<PathBuf>,
    /// Read the cluster of this kubeconfig, and add the inventory, if there is one.
    #[arg(long, env = "ISTHMUS_KUBECONFIG", value_name = "FILE")]
    pub(super) kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig.
    #[arg(long, env = "ISTHMUS_CONTEXT", value_name = "NAME")]
    pub(super) context: Option<String>,
    /// Read the cluster in addition to the inventory.
    #[arg(long, env = "ISTHMUS_CLUSTER")]
    cluster: bool,
}

impl MeshArgs {
    /// Whether a cluster is asked for by name.
    pub(super) fn names_cluster(&self) -> bool {
        self.cluster || self.kubeconfig.is_some() || self.context.is_some()
    }

    /// Whether a cluster is read.
    pub(super) fn reads_cluster(&self) -> bool {
        self.inventory.is_none() || self.names_cluster()
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
