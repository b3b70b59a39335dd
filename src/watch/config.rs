//! How to reach the cluster.

use std::env;
use std::path::Path;

use anyhow::Context;
use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig};

/// What to say to those who name no cluster.
const NO_CLUSTER: &str =
    "no cluster is named: give --kubeconfig FILE or --context NAME, or set KUBECONFIG";

/// As a pod of it, unless a kubeconfig or a context is named.
pub async fn as_pod(file: Option<&Path>, context: Option<&str>) -> anyhow::Result<Config> {
    match named(file, context).await? {
        Some(config) => Ok(config),
        None => Config::incluster().context("cannot reach the cluster as a pod of it"),
    }
}

/// As kubectl does: by the kubeconfig or the context that is named, else by that of `KUBECONFIG` or
/// of the home directory, else as a pod of it.
pub async fn as_kubectl(file: Option<&Path>, context: Option<&str>) -> anyhow::Result<Config> {
    if let Some(config) = named(file, context).await? {
        return Ok(config);
    }
    let of_environment = env::var_os("KUBECONFIG").filter(|paths| !paths.is_empty());
    let of_home = env::home_dir().map(|home| home.join(".kube/config"));
    let place = match (&of_environment, &of_home) {
        (Some(paths), _) => format!("KUBECONFIG={}", paths.display()),
        (None, Some(path)) if path.exists() => path.display().to_string(),
        (None, _) => return Config::incluster().context(NO_CLUSTER),
    };
    Config::from_kubeconfig(&KubeConfigOptions::default()).await.context(place)
}

async fn named(file: Option<&Path>, context: Option<&str>) -> anyhow::Result<Option<Config>> {
    let options = KubeConfigOptions { context: context.map(str::to_owned), ..Default::default() };
    if let Some(file) = file {
        let place = || format!("--kubeconfig {}", file.display());
        let kubeconfig = Kubeconfig::read_from(file).with_context(place)?;
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
        return config.with_context(place).map(Some);
    }
    let Some(context) = context else { return Ok(None) };
    let config = Config::from_kubeconfig(&options).await;
    config.with_context(|| format!("--context {context}")).map(Some)
}
