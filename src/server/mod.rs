//! The server: the webhook over HTTPS, probes and metrics over HTTP, and the upkeep of both.

mod admin;
mod app;
pub mod authority;
mod findings;
mod http;
mod ledger;
mod metrics;
mod page;
mod supervise;
#[cfg(test)]
mod tests;
mod tls;
mod upkeep;
mod webhook;

use std::future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use kube::Client;
use prometheus_client::metrics::counter::Counter;
use tokio::net::{TcpListener, TcpSocket, lookup_host};
use tokio::runtime::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

pub use app::Limits;
pub use authority::SecretPath;
pub use ledger::LedgerConfig;
pub use tls::{Callers, Certificate, CertificateSource, Issued, TlsError, Validity, issue};

use crate::cluster::{self, Dial, Live, Reach, Told, Watch};
use crate::inventory::Inventory;
use crate::mesh::Mesh;
use crate::pending;
use crate::settings::Settings;
use crate::sources::{Need, Sources};
use admin::Admin;
use app::App;
use authority::Keeper;
use findings::FindingMetrics;
use http::connections::Connections;
use http::listener::{Answers, Endpoint};
use ledger::{Ledger, PageKeeper};
use page::{MeshPage, PageMetrics};
use supervise::{Supervisor, Weight};
use tls::TlsSetup;
use upkeep::UpkeepMetrics;
use webhook::caller::Verification;
use webhook::route::Webhook;

/// The backlog of connections to accept, as far as the kernel allows it (`net.core.somaxconn`):
/// enough for a second with thousands of new ones.
const BACKLOG: u32 = 4096;
/// How many connections the admin endpoint keeps: enough that a probe is answered before all
/// others have been replaced.
const ADMIN_CONNECTIONS: usize = 256;
/// How long a client of it may take for a request: the longest that a probe usually waits.
const ADMIN_TIMEOUT: Duration = Duration::from_secs(3);
/// File descriptors besides the webhook's connections.
const OTHER_DESCRIPTORS: usize = ADMIN_CONNECTIONS + 64;
/// The log message if anyone may claim to be the API server.
const UNVERIFIED: &str = "callers cannot be verified, so admitted writes are not remembered until the watch reports them, and clusters that a write leads to are not read: set --tls-client-ca, --tls-secret or --tls-path-file";
/// The log message where this replica does not know what others admit.
const ALONE: &str = "this replica does not know what other replicas have just admitted: with more than one, set --ledger";
/// Which part of the reviews may wait for other clusters: all others find room.
const REACHING: usize = 4;
/// How often connections are looked at while they end.
const DRAIN_STEP: Duration = Duration::from_millis(10);

/// Why a process ends that has lost its mesh.
const HALF_CHANGED: &str = "a bug in isthmus has left the mesh half changed; the process exits and reads it afresh when it starts again";

/// How a server is set up.
#[derive(Debug)]
pub struct Config {
    /// What an operator decides for the mesh.
    pub settings: Settings,
    /// The directory of manifests, if there is one.
    pub inventory: Option<PathBuf>,
    /// How often it is looked at.
    pub inventory_poll: Duration,
    /// The cluster to watch, if there is one.
    pub cluster: Option<kube::Config>,
    /// How long an admitted write counts, at most, that the watch does not report as stored.
    pub hold: Duration,
    /// Where replicas share what they admit, if they do.
    pub ledger: Option<LedgerConfig>,
    /// Where the webhook listens, as `host:port`.
    pub listen: String,
    /// Where the admin endpoint listens.
    pub admin: String,
    /// The certificate.
    pub certificate: Arc<Certificate>,
    /// How often its files are looked at.
    pub tls_poll: Duration,
    /// How it is kept in the cluster, if it is.
    pub authority: Option<authority::Config>,
    /// Who may call the webhook, where not everybody may.
    pub callers: Option<Callers>,
    /// The file of the secret path that the API server calls, if it is in one.
    pub path_file: Option<PathBuf>,
    /// How long to keep serving after the signal to end.
    pub drain_delay: Duration,
    /// How much is done at once.
    pub limits: Limits,
    /// How many log lines were lost.
    pub lost_log_lines: Counter,
    /// Whether the admin endpoint serves the page of the mesh.
    pub mesh_page: bool,
}

/// A server that listens already.
pub struct Server {
    config: Config,
    webhook: TcpListener,
    admin: TcpListener,
    signals: Signals,
}

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Nothing was under way any more.
    Drained,
    /// A second signal cut short what was.
    Aborted,
}

impl Server {
    /// Takes the addresses.
    pub async fn bind(mut config: Config) -> anyhow::Result<Self> {
        let signals = Signals::new().context("cannot wait for signals")?;
        let bind = async |address: &str| {
            listen(address).await.with_context(|| format!("cannot listen on {address}"))
        };
        let webhook = bind(&config.listen).await?;
        let admin = bind(&config.admin).await?;
        config.limits.connections = affordable(config.limits.connections);
        Ok(Self { config, webhook, admin, signals })
    }

    /// Where the webhook listens.
    pub fn webhook_address(&self) -> std::io::Result<SocketAddr> {
        self.webhook.local_addr()
    }

    /// Where the admin endpoint listens.
    pub fn admin_address(&self) -> std::io::Result<SocketAddr> {
        self.admin.local_addr()
    }

    /// Serves until a signal ends it. Once the inventory is read for the first time, `show` is
    /// given what is guarded.
    pub async fn run(self, show: impl FnOnce(&Mesh)) -> anyhow::Result<Ended> {
        self.start()?.until_the_end(show).await
    }

    /// Begins all that is done at the same time.
    fn start(self) -> anyhow::Result<Running> {
        let Self { config, webhook, admin, signals } = self;
        ensure!(
            config.ledger.is_none() || config.cluster.is_some(),
            "--ledger needs a cluster to watch"
        );
        let settings = Arc::new(config.settings);
        let watches =
            config.cluster.as_ref().map(|_| cluster::watches(&settings)).unwrap_or_default();
        let sources = watches.iter().map(ToString::to_string);
        let files = config.inventory.iter().map(|_| upkeep::INVENTORY.to_owned());
        let are_kept = config.authority.is_some();
        let verification = Verification::new(config.callers.is_some(), are_kept, config.path_file)?;
        if config.cluster.is_some() && !verification.is_set_up() {
            tracing::warn!("{UNVERIFIED}");
        }
        let keeper = config.authority.map(|authority| {
            Keeper::new(authority, Arc::clone(&config.certificate), Arc::clone(&verification.paths))
        });
        let keeper = keeper.transpose()?;
        let mut app = App::new(
            Arc::clone(&settings),
            Arc::new(Sources::new(files.chain(sources).map(|name| (name, Need::Required)))),
            config.cluster.as_ref().map(|_| config.hold),
            verification,
            Arc::clone(&config.certificate),
            keeper.as_ref().map(Keeper::health),
            config.limits,
        )?;
        app.show_lost_log_lines(config.lost_log_lines);
        let counted = FindingMetrics::shown_by(&mut app.registry);
        let metrics = Arc::new(UpkeepMetrics::shown_by(&mut app.registry));
        if config.mesh_page {
            let metrics = PageMetrics::shown_by(&mut app.registry);
            app.page = Some(Arc::new(MeshPage::new(Arc::clone(&app.snapshot), metrics)));
        }
        let client = config.cluster.map(Client::try_from).transpose();
        let client = client.context("cannot reach the cluster")?;
        let told = client.as_ref().map(|client| know(&mut app, client, &watches, config.ledger));
        reach_elsewhere(&mut app)?;
        let app = Arc::new(app);
        let secured = Arc::new(TlsSetup::new(Arc::clone(&config.certificate), config.callers)?);
        let (endpoint, admin_endpoint) = endpoints(&app, &secured);
        let connections = Arc::clone(&endpoint.connections);

        let supervisor = Arc::clone(&app.supervisor);
        let vital = Weight::Vital;
        let (loaded, first_load) = oneshot::channel();
        match config.inventory {
            Some(directory) => {
                let inventory = Inventory::new(directory, settings);
                let every = config.inventory_poll;
                let files = upkeep::Files::new(
                    Arc::clone(&app),
                    Arc::clone(&metrics),
                    inventory,
                    every,
                    loaded,
                );
                supervisor.spawn("inventory", vital, files, |files| Box::pin(files.keep()));
            }
            None => drop(loaded),
        }
        if let Some((client, told)) = client.zip(told) {
            follow(&app, &client, watches, &told);
        }
        let counted = (Arc::clone(&app), counted);
        supervisor.spawn("findings", Weight::Apart, counted, |(app, metrics)| {
            Box::pin(findings::count_standing(app, metrics))
        });
        if let Some(keeper) = keeper {
            let kept = (keeper, Arc::clone(&metrics));
            supervisor.spawn("keeper", vital, kept, |(keeper, metrics)| {
                Box::pin(keeper.run(|| {
                    metrics.certificate_errors.inc();
                }))
            });
        }
        let files = (Arc::clone(&app), metrics, secured, config.tls_poll);
        supervisor.spawn("certificate", vital, files, |(app, metrics, secured, every)| {
            Box::pin(upkeep::certificate(app, metrics, secured, *every))
        });
        let accepting = serve(&supervisor, ["accept", "sweep"], endpoint, webhook);
        let (apart, admin) = (apart().context("cannot serve probes")?, admin.into_std()?);
        let within = apart.enter();
        let admin = TcpListener::from_std(admin)?;
        serve(&supervisor, ["accept admin", "sweep admin"], admin_endpoint, admin);
        drop(within);
        let drain_delay = config.drain_delay;
        Ok(Running { app, signals, connections, first_load, accepting, drain_delay })
    }
}

/// A server that serves.
struct Running {
    app: Arc<App>,
    signals: Signals,
    connections: Arc<Connections>,
    /// Tells when the inventory has been read for the first time.
    first_load: oneshot::Receiver<()>,
    accepting: JoinHandle<()>,
    drain_delay: Duration,
}

impl Running {
    /// Serves until a signal ends it, or a fault that only a restart can repair.
    async fn until_the_end(self, show: impl FnOnce(&Mesh)) -> anyhow::Result<Ended> {
        let app = Arc::clone(&self.app);
        tokio::select! {
            // First, for all else needs the mesh.
            biased;
            () = upkeep::half_changed(&app) => Err(anyhow!(HALF_CHANGED)),
            ended = self.until_drained(show) => Ok(ended),
        }
    }

    async fn until_drained(self, show: impl FnOnce(&Mesh)) -> Ended {
        let Self { app, mut signals, connections, first_load, accepting, drain_delay } = self;
        let is_read = async {
            let _ = first_load.await;
            if app.hold.is_some() {
                app.sources.complete().await;
            }
        };
        tokio::select! {
            () = is_read => {
                app.snapshot.read(show);
                signals.next().await;
            }
            () = signals.next() => {}
        }
        tracing::info!("shutting down");
        app.http.drain();
        let drained = async {
            sleep(drain_delay).await;
            accepting.abort();
            let _ = accepting.await;
            // A connection whose answer was made before the end was known goes quiet only later.
            while timeout(DRAIN_STEP, connections.none()).await.is_err() {
                connections.close_quiet();
            }
        };
        let ended = tokio::select! {
            () = drained => Ended::Drained,
            () = signals.next() => Ended::Aborted,
        };
        tracing::info!(aborted = ended == Ended::Aborted, "stopped");
        ended
    }
}

/// Has objects of the cluster read one by one, and what is admitted shared with other replicas.
fn know(
    app: &mut App,
    client: &Client,
    watches: &[Watch],
    ledger: Option<LedgerConfig>,
) -> Arc<Told> {
    let told = Arc::new(Told::new(Arc::clone(&app.snapshot), watches));
    let (settings, snapshot) = (Arc::clone(&app.settings), Arc::clone(&app.snapshot));
    let live = Live::new(client.clone(), watches.to_vec(), settings, snapshot);
    let live = app.live.insert(Arc::new(live));
    match ledger {
        Some(ledger) => {
            let (snapshot, longest) = (&app.snapshot, app.hold.unwrap_or(pending::LONGEST));
            let parts = (snapshot, &told, &*live);
            let kind = (&*app.settings, longest);
            let registry = &mut app.registry;
            let ledger = Ledger::new(ledger, client.clone(), parts, kind, watches, registry);
            app.ledger = Some(Arc::new(ledger));
        }
        None => tracing::info!("{ALONE}"),
    }
    told
}

/// Begins what keeps the mesh, and the ledger, in line with the cluster.
fn follow(app: &Arc<App>, client: &Client, watches: Vec<Watch>, told: &Arc<Told>) {
    let (supervisor, vital) = (&app.supervisor, Weight::Vital);
    for watch in watches {
        let name = format!("watch {watch}");
        let (told, sources) = (Arc::clone(told), Arc::clone(&app.sources));
        let watching = watch.over(client.clone(), told, sources);
        supervisor.spawn(&name, vital, watching, |watching| Box::pin(watching.run()));
    }
    if let Some(ledger) = &app.ledger {
        let keeper = PageKeeper::new(ledger);
        supervisor.spawn("ledger", vital, keeper, |keeper| Box::pin(keeper.keep()));
    }
    supervisor.spawn("holds", vital, Arc::clone(app), |app| Box::pin(upkeep::holds(app)));
}

/// Has other clusters read that writes lead to, where the API server can be told from others.
fn reach_elsewhere(app: &mut App) -> anyhow::Result<()> {
    if app.settings.reach && app.verification.is_set_up() {
        let writes = app.limits.reviews / REACHING;
        let reach = Reach::new(Arc::clone(&app.settings), Dial::default(), writes);
        let reach = reach.context("cannot start")?;
        let help = "Other clusters read for a write that leads to them, by outcome";
        app.registry.register("reaches", help, reach.outcomes());
        app.reach = Some(reach);
    }
    Ok(())
}

/// Listens on the first address of these that can be had.
async fn listen(address: &str) -> std::io::Result<TcpListener> {
    let mut listening = Err(std::io::ErrorKind::AddrNotAvailable.into());
    for address in lookup_host(address).await? {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // A port that was in use until a moment ago can be had again.
        socket.set_reuseaddr(true)?;
        listening = socket.bind(address).and_then(|()| socket.listen(BACKLOG));
        if listening.is_ok() {
            break;
        }
    }
    listening
}

/// Accepts connections, and closes those whose clients take too long.
fn serve<A: Answers>(
    supervisor: &Arc<Supervisor>,
    [accept, sweep]: [&str; 2],
    endpoint: Endpoint<A>,
    listener: TcpListener,
) -> JoinHandle<()> {
    let swept = endpoint.clone();
    supervisor.spawn(sweep, Weight::Vital, swept, |endpoint| Box::pin(endpoint.sweep()));
    supervisor.spawn(accept, Weight::Vital, (endpoint, listener), |(endpoint, listener)| {
        Box::pin(endpoint.accept(listener))
    })
}

/// The sockets of the webhook and of those who run it.
fn endpoints(app: &Arc<App>, secured: &Arc<TlsSetup>) -> (Endpoint<Webhook>, Endpoint<Admin>) {
    let Limits { connections, client_timeout, .. } = app.limits;
    let webhook = Endpoint {
        http: Arc::clone(&app.http),
        answers: Webhook::new(app),
        tls: Some(Arc::clone(secured)),
        connections: Connections::new(connections, client_timeout, app.verification.is_set_up()),
    };
    let timeout = client_timeout.min(ADMIN_TIMEOUT);
    let admin = Endpoint {
        http: Arc::clone(&app.http),
        answers: Admin::new(app),
        tls: None,
        connections: Connections::new(ADMIN_CONNECTIONS, timeout, false),
    };
    (webhook, admin)
}

/// A thread of its own for probes and metrics: whatever keeps all others busy, they are answered.
fn apart() -> std::io::Result<Handle> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    let run = move || runtime.block_on(future::pending::<()>());
    std::thread::Builder::new().name("admin".to_owned()).spawn(run)?;
    Ok(handle)
}

/// The signals that end a process.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        Ok(Self { terminate, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// How many connections there are file descriptors for, once as many as allowed are asked for.
fn affordable(connections: usize) -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let wanted = connections + OTHER_DESCRIPTORS;
    let limit = getrlimit(Resource::Nofile);
    let most = |limit: Option<u64>| {
        limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
    };
    if most(limit.current) >= wanted {
        return connections;
    }
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let descriptors = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => most(limit.maximum),
        Err(_) => most(limit.current),
    };
    if descriptors >= wanted {
        return connections;
    }
    let affordable = descriptors.saturating_sub(OTHER_DESCRIPTORS).max(1);
    tracing::warn!(connections, affordable, "too few file descriptors for so many connections");
    affordable
}
