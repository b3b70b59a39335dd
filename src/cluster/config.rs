//! How to reach the cluster.

use std::env;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig};

/// How long one watch call lasts, in seconds. When nothing changes, its end is what shows that the
/// API server is alive: bookmarks only come about once a minute.
pub(super) const CALL: u32 = 15;
/// How long the API server may be silent on a connection from which data is expected. It is shorter
/// than kube's own timeout of a watch call, after which kube silently starts the next call.
pub(super) const SILENCE: Duration = Duration::from_secs(CALL as u64 + 3);
/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(10);

/// What failed in a pod that connects to its own cluster.
const AS_POD: &str = "cannot connect to the cluster that this pod runs in";
/// What to say to those who name no cluster.
const NO_CLUSTER: &str =
    "no cluster is configured: set --kubeconfig FILE, --context NAME or KUBECONFIG";

/// As a pod of it, unless a kubeconfig or a context is named.
pub async fn as_pod(file: Option<&Path>, context: Option<&str>) -> anyhow::Result<Config> {
    let config = match named(file, context).await? {
        Some(config) => config,
        None => Config::incluster().context(AS_POD)?,
    };
    Ok(impatient(config))
}

/// The same, with connections that are closed when nothing arrives: also idle ones in the pool,
/// which could be dead without anyone noticing.
fn impatient(mut config: Config) -> Config {
    config.connect_timeout = Some(CONNECT);
    config.read_timeout = Some(SILENCE);
    config.write_timeout = Some(SILENCE);
    // Before a call, silence is expected.
    config.reset_reader_on_write = true;
    config
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
        // Outside of a pod, what kube says of its environment would only distract.
        (None, _) if env::var_os("KUBERNETES_SERVICE_HOST").is_none() => bail!(NO_CLUSTER),
        (None, _) => return Config::incluster().context(AS_POD),
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
