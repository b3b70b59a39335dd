//! `isthmus serve`: the webhook.

use std::io::stdout;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;

use super::banner;
use super::failure_policy::{self, Groups};
use super::lines::{Lines, ToTheLast};
use super::log::{self, LogFormat};
use super::mesh::MeshArgs;
use super::settings::SettingsArgs;
use super::tls::TlsArgs;
use super::{FAILED, told};
use crate::pending;
use crate::server::authority::NamespacedName;
use crate::server::{Config, Ended, LedgerConfig, Limits, Server};
use crate::value::duration;

/// The status of a process that a second signal ended.
const ABORTED: u8 = 143;
/// The most threads that answer; each has a share of the memory and of the listening sockets.
const MOST_WORKERS: usize = 8;
/// The most threads for what takes longer: reviews of larger bodies, files, and the mesh's audit.
const BLOCKING_THREADS: usize = 16;

/// What to say to those who name no mesh.
const NO_MESH: &str = "set the directory that describes the mesh (--inventory DIR) or the cluster to watch (--kubeconfig FILE or --context NAME)";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    mesh: MeshArgs,
    /// How often the inventory is checked for changes.
    #[arg(
        long,
        env = "ISTHMUS_INVENTORY_POLL",
        default_value = "2s",
        value_parser = duration::positive,
        value_name = "DURATION"
    )]
    inventory_poll: Duration,
    /// How long an admitted write counts, at most, that the watch does not report as stored.
    #[arg(
        long,
        env = "ISTHMUS_HOLD",
        default_value = "45s",
        value_parser = hold,
        value_name = "DURATION"
    )]
    hold: Duration,
    /// The Lease in which all replicas share what they have admitted and do not see stored yet, so
    /// that of two writes that clash never both are stored. Without it, each replica knows only what
    /// it has admitted itself.
    #[arg(long, env = "ISTHMUS_LEDGER", value_name = "NAMESPACE/NAME")]
    ledger: Option<NamespacedName>,
    /// The groups of webhooks whose writes are judged as by a single replica while the ledger cannot
    /// be used; those of all other groups get 503: customResources, kubeSystem, configMaps,
    /// endpoints, remoteSecrets, or all of them (all), or none [default: those whose failure policy is
    /// Ignore by default].
    #[arg(
        long,
        env = "ISTHMUS_LEDGER_OPTIONAL",
        requires = "ledger",
        value_parser = failure_policy::groups_of,
        value_name = "GROUPS"
    )]
    ledger_optional: Option<Groups>,
    /// The address of the webhook, over HTTPS.
    #[arg(long, env = "ISTHMUS_LISTEN", default_value = "0.0.0.0:8443", value_name = "ADDRESS")]
    listen: String,
    /// The address of probes and metrics, over HTTP.
    #[arg(long, env = "ISTHMUS_ADMIN", default_value = "0.0.0.0:8080", value_name = "ADDRESS")]
    admin: String,
    /// Serve the page of `isthmus map` at /mesh of the admin address: whoever reaches it sees the
    /// names, networks and subnets of all members.
    #[arg(long, env = "ISTHMUS_MESH_PAGE")]
    mesh_page: bool,
    /// For how long to keep answering, while not ready, before the process shuts down.
    #[arg(
        long,
        env = "ISTHMUS_DRAIN_DELAY",
        default_value = "0s",
        value_parser = duration::parse,
        value_name = "DURATION"
    )]
    drain_delay: Duration,
    /// The maximum number of open connections; beyond it, the source with the most connections
    /// loses one.
    #[arg(
        long,
        env = "ISTHMUS_MAX_CONNECTIONS",
        default_value = "1024",
        value_parser = clap::value_parser!(u32).range(4..=1_000_000),
        value_name = "NUMBER"
    )]
    max_connections: u32,
    /// The maximum number of reviews in flight, except large ones; more are shed with 503, and
    /// callers retry.
    #[arg(
        long,
        env = "ISTHMUS_MAX_REVIEWS",
        default_value = "256",
        value_parser = clap::value_parser!(u32).range(1..=1_000_000),
        value_name = "NUMBER"
    )]
    max_reviews: u32,
    /// The maximum memory of all large bodies together, in MiB; more are shed with 503, and callers
    /// retry.
    #[arg(
        long,
        env = "ISTHMUS_MAX_BODY_MEMORY",
        default_value = "32",
        value_parser = clap::value_parser!(u32).range(1..=65_536),
        value_name = "MIB"
    )]
    max_body_memory: u32,
    /// How long a client may take for each of: the TLS handshake, the request head, the request
    /// body.
    #[arg(
        long,
        env = "ISTHMUS_CLIENT_TIMEOUT",
        default_value = "10s",
        value_parser = duration::positive,
        value_name = "DURATION"
    )]
    client_timeout: Duration,
    /// The log format; by default human on a terminal and JSON elsewhere.
    #[arg(long, env = "ISTHMUS_LOG_FORMAT", value_enum, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
    /// The log level: error, warn, info, debug, or a filter such as `isthmus=debug`.
    #[arg(long, env = "ISTHMUS_LOG", default_value = "info", value_name = "FILTER")]
    log: String,
    #[command(flatten)]
    tls: TlsArgs,
    #[command(flatten)]
    settings: SettingsArgs,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    args.mesh.check()?;
    args.tls.check()?;
    // If nobody reads them, reviews are answered all the same, and the process can end.
    let log = ToTheLast(log::init(args.log_format, &args.log).context("--log")?);
    let out = ToTheLast(Lines::to(stdout()).context("cannot start")?);
    Ok(match until_the_end(args, &log.0, &out.0) {
        Ok(Ended::Drained) => ExitCode::SUCCESS,
        Ok(Ended::Aborted) => ExitCode::from(ABORTED),
        Err(error) => {
            log.0.print(&format!("isthmus: {}\n", told(&error)));
            ExitCode::from(FAILED)
        }
    })
}

fn until_the_end(args: &Args, log: &Lines, out: &Lines) -> anyhow::Result<Ended> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let workers = cores.clamp(2, MOST_WORKERS);
    let config = Config {
        settings: args.settings.settings(),
        inventory: args.mesh.inventory.clone(),
        inventory_poll: args.inventory_poll,
        cluster: None,
        hold: args.hold,
        ledger: args.ledger.clone().map(|lease| LedgerConfig {
            lease,
            optional: args.ledger_optional.clone().unwrap_or_default().0,
        }),
        listen: args.listen.clone(),
        admin: args.admin.clone(),
        certificate: args.tls.certificate()?,
        tls_poll: args.tls.poll(),
        authority: None,
        callers: args.tls.callers(),
        path_file: args.tls.path_file(),
        drain_delay: args.drain_delay,
        limits: Limits {
            connections: args.max_connections as usize,
            reviews: args.max_reviews as usize,
            body_memory: (args.max_body_memory as usize) << 20,
            client_timeout: args.client_timeout,
        },
        lost_log_lines: log.lost(),
        mesh_page: args.mesh_page,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .max_blocking_threads(BLOCKING_THREADS)
        .enable_all()
        .build()
        .context("cannot start")?;
    let ended = runtime.block_on(async {
        let cluster = watched(&args.mesh).await?;
        let named = async || args.mesh.kube.as_pod().await.context("--tls-secret needs a cluster");
        let authority = args.tls.authority(named).await?;
        serve(Config { cluster, authority, ..config }, out).await
    });
    // What is left is cut short, or has nothing to say any more.
    runtime.shutdown_background();
    ended
}

/// The cluster to watch, if there is one.
async fn watched(mesh: &MeshArgs) -> anyhow::Result<Option<kube::Config>> {
    if !mesh.reads_cluster() {
        return Ok(None);
    }
    let config = mesh.kube.as_pod().await;
    if mesh.names_cluster() { config } else { config.context(NO_MESH) }.map(Some)
}

async fn serve(config: Config, out: &Lines) -> anyhow::Result<Ended> {
    let has_page = config.mesh_page;
    let server = Server::bind(config).await?;
    let (webhook, admin) = (server.webhook_address()?, server.admin_address()?);
    out.print(&banner::addresses(webhook, admin, has_page));
    server.run(|mesh| out.print(&banner::guarded(mesh, webhook))).await
}

/// How long a write may be held: as long as an API server may take to store it, or less.
fn hold(text: &str) -> Result<Duration, String> {
    let hold = duration::positive(text)?;
    let longest = pending::LONGEST;
    if hold > longest { Err(format!("must be at most {} s", longest.as_secs())) } else { Ok(hold) }
}
