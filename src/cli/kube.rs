//! The flags that select a cluster.

use std::path::PathBuf;

use kube::Config;

use crate::cluster;

/// Flags of every command that reads one cluster.
#[derive(Debug, clap::Args)]
pub(super) struct KubeArgs {
    /// The kubeconfig of the cluster.
    #[arg(long, env = "ISTHMUS_KUBECONFIG", value_name = "FILE")]
    pub(super) kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig.
    #[arg(long, env = "ISTHMUS_CONTEXT", value_name = "NAME")]
    pub(super) context: Option<String>,
}

impl KubeArgs {
    /// Whether a cluster is selected.
    pub(super) fn is_given(&self) -> bool {
        self.kubeconfig.is_some() || self.context.is_some()
    }

    /// The cluster for a command that a person runs.
    pub(super) async fn as_kubectl(&self) -> anyhow::Result<Config> {
        cluster::as_kubectl(self.kubeconfig.as_deref(), self.context.as_deref()).await
    }

    /// The cluster for a command that runs in a pod of it unless another is selected.
    pub(super) async fn as_pod(&self) -> anyhow::Result<Config> {
        cluster::as_pod(self.kubeconfig.as_deref(), self.context.as_deref()).await
    }
}
