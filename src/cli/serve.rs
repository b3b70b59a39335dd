//! `isthmus serve`: the webhook.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;

use super::banner;
use super::log::{self, LogFormat};
use super::mesh::MeshArgs;
use super::settings::SettingsArgs;
use crate::server::{Certificate, Config, Ended, Limits, Server, Source, duration};
use crate::watch;

/// The status of a process that a second signal ended.
const ABORTED: u8 = 143;
/// The most threads that answer; each has a share of the memory and of the listening sockets.
const MOST_WORKERS: usize = 8;

/// What to say to those who name no mesh.
const NO_MESH: &str = "give the directory that describes the mesh, --inventory DIR, or the cluster to watch, --kubeconfig FILE or --context NAME";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    mesh: MeshArgs,
    /// How often the inventory is looked at.
    #[arg(
        long,
        env = "ISTHMUS_INVENTORY_POLL",
        default_value = "2s",
        value_parser = positive,
        value_name = "DURATION"
    )]
    inventory_poll: Duration,
    /// How long an admitted write counts that the cluster does not tell of.
    #[arg(
        long,
        env = "ISTHMUS_HOLD",
        default_value = "10s",
        value_parser = positive,
        value_name = "DURATION"
    )]
    hold: Duration,
    /// Where the webhook listens, in HTTPS.
    #[arg(long, env = "ISTHMUS_LISTEN", default_value = "0.0.0.0:8443", value_name = "ADDRESS")]
    listen: String,
    /// Where probes and metrics are served, in HTTP.
    #[arg(long, env = "ISTHMUS_ADMIN", default_value = "0.0.0.0:8080", value_name = "ADDRESS")]
    admin: String,
    /// The certificate in PEM, those that lead to its authority after it. Without one, that of
    /// `isthmus certs` is used, or one is made for this run.
    #[arg(long, env = "ISTHMUS_TLS_CERT", requires = "tls_key", value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key in PEM.
    #[arg(long, env = "ISTHMUS_TLS_KEY", requires = "tls_cert", value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// How often the certificate's files are looked at.
    #[arg(
        long,
        env = "ISTHMUS_TLS_POLL",
        default_value = "10s",
        value_parser = positive,
        value_name = "DURATION"
    )]
    tls_poll: Duration,
    /// Where `isthmus certs` wrote certificates for development.
    #[arg(long, env = "ISTHMUS_CERTS_DIR", default_value = "certs", value_name = "DIR")]
    certs_dir: PathBuf,
    /// How long to go on answering, no longer ready, before the process ends.
    #[arg(
        long,
        env = "ISTHMUS_DRAIN_DELAY",
        default_value = "0s",
        value_parser = duration::parse,
        value_name = "DURATION"
    )]
    drain_delay: Duration,
    /// How many connections may be open; beyond it the one that waits the longest is closed.
    #[arg(
        long,
        env = "ISTHMUS_MAX_CONNECTIONS",
        default_value = "1024",
        value_parser = clap::value_parser!(u32).range(1..=1_000_000),
        value_name = "NUMBER"
    )]
    max_connections: u32,
    /// How many reviews may be under way; beyond it callers are asked to come back.
    #[arg(
        long,
        env = "ISTHMUS_MAX_REVIEWS",
        default_value = "256",
        value_parser = clap::value_parser!(u32).range(1..=1_000_000),
        value_name = "NUMBER"
    )]
    max_reviews: u32,
    /// How many MiB all large bodies may take together; beyond it callers are asked to come back.
    #[arg(
        long,
        env = "ISTHMUS_MAX_BODY_MEMORY",
        default_value = "64",
        value_parser = clap::value_parser!(u32).range(1..=65_536),
        value_name = "MIB"
    )]
    max_body_memory: u32,
    /// How long a client may take for each of: a handshake, a request's head, its body.
    #[arg(
        long,
        env = "ISTHMUS_CLIENT_TIMEOUT",
        default_value = "10s",
        value_parser = positive,
        value_name = "DURATION"
    )]
    client_timeout: Duration,
    /// What log lines look like; by default human on a terminal and JSON elsewhere.
    #[arg(long, env = "ISTHMUS_LOG_FORMAT", value_enum, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
    /// What is logged: error, warn, info, debug, or a filter such as `isthmus=debug`.
    #[arg(long, env = "ISTHMUS_LOG", default_value = "info", value_name = "FILTER")]
    log: String,
    #[command(flatten)]
    settings: SettingsArgs,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    args.mesh.check()?;
    log::init(args.log_format, &args.log).context("--log")?;
    let certificate = certificate(args)?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let workers = cores.clamp(2, MOST_WORKERS);
    let config = Config {
        settings: args.settings.settings(),
        inventory: args.mesh.inventory.clone(),
        inventory_poll: args.inventory_poll,
        cluster: None,
        hold: args.hold,
        listen: args.listen.clone(),
        admin: args.admin.clone(),
        certificate: Arc::clone(&certificate),
        tls_poll: args.tls_poll,
        drain_delay: args.drain_delay,
        limits: Limits {
            connections: args.max_connections as usize,
            reviews: args.max_reviews as usize,
            body_memory: (args.max_body_memory as usize) << 20,
            client_timeout: args.client_timeout,
        },
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .max_blocking_threads(workers + 4)
        .enable_all()
        .build()
        .context("cannot start")?;
    let ended = runtime.block_on(async {
        let cluster = cluster(&args.mesh).await?;
        serve(Config { cluster, ..config }).await
    });
    // What is left is cut short, or has nothing to say any more.
    runtime.shutdown_background();
    Ok(match ended? {
        Ended::Drained => ExitCode::SUCCESS,
        Ended::Aborted => ExitCode::from(ABORTED),
    })
}

/// The cluster to watch, if one is to be watched.
async fn cluster(mesh: &MeshArgs) -> anyhow::Result<Option<kube::Config>> {
    if !mesh.reads_cluster() {
        return Ok(None);
    }
    let config = watch::as_pod(mesh.kubeconfig.as_deref(), mesh.context.as_deref()).await;
    if mesh.names_cluster() { config } else { config.context(NO_MESH) }.map(Some)
}

async fn serve(config: Config) -> anyhow::Result<Ended> {
    let server = Server::bind(config).await?;
    let (webhook, admin) = (server.webhook_address()?, server.admin_address()?);
    print(&banner::addresses(webhook, admin));
    server.run(|mesh| print(&banner::guarded(mesh, webhook))).await
}

/// Prints for people; that nobody listens is no reason to stop serving.
fn print(text: &str) {
    let mut out = anstream::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn certificate(args: &Args) -> anyhow::Result<Arc<Certificate>> {
    if let (Some(certificate), Some(key)) = (args.tls_cert.clone(), args.tls_key.clone()) {
        return Ok(Certificate::load(Source::Files { certificate, key })?);
    }
    if let Some(certificate) = development(&args.certs_dir) {
        return Ok(certificate);
    }
    tracing::info!("a certificate is made for this run");
    Ok(Certificate::load(Source::SelfSigned)?)
}

/// The certificate that `isthmus certs` wrote, if it is there and valid.
fn development(directory: &Path) -> Option<Arc<Certificate>> {
    let [certificate, key] = ["tls.pem", "tls-key.pem"].map(|file| directory.join(file));
    if !certificate.exists() && !key.exists() {
        return None;
    }
    let place = directory.display().to_string();
    let why = match Certificate::load(Source::Files { certificate, key }) {
        Ok(loaded) => match loaded.fault() {
            None => {
                tracing::info!(directory = place, "the certificate of `isthmus certs` is used");
                return Some(loaded);
            }
            Some(fault) => fault,
        },
        Err(error) => error.to_string(),
    };
    tracing::warn!(directory = place, why, "the certificate of `isthmus certs` cannot be used");
    None
}

fn positive(text: &str) -> Result<Duration, String> {
    match duration::parse(text)? {
        Duration::ZERO => Err("it must be longer than nothing".to_owned()),
        duration => Ok(duration),
    }
}
