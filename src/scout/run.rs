//! The rounds of a scout.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use jiff::Timestamp;
use kube::Client;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::sleep;
use tokio::try_join;

use super::events::Told;
use super::metrics::Metrics;
use super::peers::{Peer, pause, peers};
use super::probes;
use super::stored::{Home, Secrets, Stored};
use super::written::{Known, NO_SECRET, NOT_YET, Visit};
use crate::cluster::{self, Bounds, Contents, Dial, Failure, Unreached, observe};
use crate::mesh::{Mesh, ObjectRef};
use crate::meshmember::{Observed, StandingFinding};
use crate::review::standing_findings;
use crate::rule::{Finding, Severity};
use crate::settings::Settings;

/// How often it is looked what joins members.
const ROUND: Duration = Duration::from_secs(3);
/// How often the mesh is judged where nothing has changed.
const AUDIT: Duration = Duration::from_secs(30);
/// How many clusters are read at once.
const AT_ONCE: usize = 8;
/// What reading one may cost.
const BOUNDS: Bounds =
    Bounds { time: Duration::from_secs(15), answer: 2 << 20, whole: 16 << 20, at_once: 2 };
/// After how long a visit that has not ended is given up: something in it broke.
const LOST: Duration = Duration::from_mins(10);
/// For how many rounds in a row a member must be gone before its MeshMember is deleted.
const GONE: u32 = 2;
/// After how long without a round the process is no good any more.
const STUCK: Duration = Duration::from_mins(10);
/// How many findings of one member are kept.
const MOST_FINDINGS: usize = 64;

/// How a scout is set up.
pub struct Config {
    /// What an operator decides for the mesh.
    pub settings: Settings,
    /// The cluster that it belongs to.
    pub cluster: kube::Config,
    /// Which remote Secrets it may read.
    pub secrets: Secrets,
    /// How often each member is visited.
    pub interval: Duration,
    /// Where probes and metrics are, as `host:port`.
    pub admin: String,
    /// How other clusters are connected to.
    pub dial: Dial,
}

/// How a scout does.
pub(super) struct State {
    pub(super) metrics: Metrics,
    is_ready: AtomicBool,
    /// When the last round began.
    round: Mutex<Instant>,
}

impl State {
    pub(super) fn is_ready(&self) -> bool {
        self.is_ready.load(Ordering::Relaxed)
    }

    pub(super) fn is_live(&self) -> bool {
        self.round.lock().unwrap_or_else(PoisonError::into_inner).elapsed() < STUCK
    }
}

/// Runs until a signal ends it. `show` is given the address of probes and metrics.
pub async fn run(config: Config, show: impl FnOnce(SocketAddr)) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for signals")?;
    let listener = TcpListener::bind(&config.admin).await;
    let listener = listener.with_context(|| format!("cannot listen on {}", config.admin))?;
    show(listener.local_addr()?);
    let state = Arc::new(State {
        metrics: Metrics::new(),
        is_ready: AtomicBool::new(false),
        round: Mutex::new(Instant::now()),
    });
    tokio::spawn(probes::serve(listener, Arc::clone(&state)));
    let client = Client::try_from(config.cluster.clone()).context("cannot reach the cluster")?;
    let mut scout = Scout::new(config, client, state);
    tokio::select! {
        () = scout.run() => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopped");
    Ok(())
}

/// What is known of one member's visits.
struct Visits {
    /// Which way to the cluster was taken.
    digest: u64,
    due: Instant,
    /// Since when one is under way.
    since: Option<Instant>,
    failures: u32,
    last: Visit,
}

/// What a visit came to: of whom, by which way, and what was seen.
type Outcome = (String, u64, Result<Observed, Unreached>);

struct Scout {
    config: Config,
    client: Client,
    home: Home,
    state: Arc<State>,
    places: Arc<Semaphore>,
    outcomes: (mpsc::Sender<Outcome>, mpsc::Receiver<Outcome>),
    visits: BTreeMap<String, Visits>,
    /// For how many rounds in a row what joined a member was not there.
    gone: BTreeMap<String, u32>,
    /// What stands wrong, by member, as it was judged last.
    findings: Option<BTreeMap<String, Vec<StandingFinding>>>,
    judged: Option<Instant>,
    told: Told,
    /// What was told last of the cluster's own failures.
    trouble: Option<String>,
}

impl Scout {
    fn new(config: Config, client: Client, state: Arc<State>) -> Self {
        let namespaces = &config.settings.istio_namespaces;
        Self {
            home: Home::new(client.clone(), namespaces, config.secrets.clone()),
            config,
            client,
            state,
            places: Arc::new(Semaphore::new(AT_ONCE)),
            outcomes: mpsc::channel(AT_ONCE),
            visits: BTreeMap::new(),
            gone: BTreeMap::new(),
            findings: None,
            judged: None,
            told: Told::default(),
            trouble: None,
        }
    }

    async fn run(&mut self) {
        let mut has_news = false;
        loop {
            *self.state.round.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
            match self.round(has_news).await {
                Ok(()) => {
                    self.state.is_ready.store(true, Ordering::Relaxed);
                    if self.trouble.take().is_some() {
                        tracing::info!("the cluster can be read and written again");
                    }
                }
                Err(failure) => self.fail(&failure.to_string()),
            }
            has_news = tokio::select! {
                () = sleep(ROUND) => false,
                Some(outcome) = self.outcomes.1.recv() => {
                    self.take(outcome);
                    true
                }
            };
            while let Ok(outcome) = self.outcomes.1.try_recv() {
                self.take(outcome);
                has_news = true;
            }
        }
    }

    /// Tells once of each failure of the cluster that the scout belongs to.
    fn fail(&mut self, why: &str) {
        self.state.metrics.errors.inc();
        if self.trouble.as_deref() != Some(why) {
            tracing::error!(
                why,
                "the cluster cannot be read or written; `isthmus rbac --scout` prints the roles that are needed"
            );
            self.trouble = Some(why.to_owned());
        }
    }

    async fn round(&mut self, has_news: bool) -> Result<(), Failure> {
        let (mut members, multiclusters, secrets) =
            try_join!(self.home.members(), self.home.multiclusters(), self.home.remote_secrets())?;
        let stated = members
            .iter()
            .filter_map(|(name, member)| Some((member.spec.cluster_id.clone()?, name.clone())));
        let mut peers = peers(&multiclusters, &secrets, &stated.collect());
        drop(secrets);
        let local = self.config.settings.local_member.clone();
        peers.remove(&local);
        self.send_out(&peers, &local);
        peers.retain(|name, peer| !self.is_home(name, peer, &local));
        self.state.metrics.peers.set(i64::try_from(peers.len()).unwrap_or(i64::MAX));
        for name in peers.keys().chain(Some(&local).filter(|local| !local.is_empty())) {
            if !members.contains_key(name) && self.is_worth_writing(name, &peers) {
                self.home.create(name).await?;
                members.insert(name.clone(), Stored::new());
            }
        }
        self.write(&mut members, &peers, &local).await?;
        let is_due = self.judged.is_none_or(|judged| judged.elapsed() >= AUDIT);
        if has_news || is_due {
            self.judge(&members).await?;
            self.write(&mut members, &peers, &local).await?;
        }
        self.tidy(&members, &peers, &local).await
    }

    /// Whether a Secret leads to the cluster that the scout belongs to: one set of Secrets may be
    /// applied everywhere.
    fn is_home(&self, name: &str, peer: &Peer, local: &str) -> bool {
        let uid = |name: &str| match self.visits.get(name).map(|visits| &visits.last) {
            Some(Visit::Shown(observed)) => Some(observed.uid.value.clone()),
            _ => None,
        };
        let is_joined_by_secrets = peer.joined_by.iter().all(|joined| joined.kind == "Secret");
        is_joined_by_secrets && uid(name).is_some_and(|own| uid(local) == Some(own))
    }

    /// Whether enough is known of a member to write of it: of one that only a Secret joins, that it
    /// is not the local one.
    fn is_worth_writing(&self, name: &str, peers: &BTreeMap<String, Peer>) -> bool {
        let is_declared = |peer: &Peer| peer.joined_by.iter().any(|joined| joined.kind != "Secret");
        peers.get(name).is_some_and(is_declared)
            || self.visits.get(name).is_some_and(|visits| visits.last != NOT_YET)
    }

    /// Sends out whoever is due.
    fn send_out(&mut self, peers: &BTreeMap<String, Peer>, local: &str) {
        self.visits.retain(|name, _| peers.contains_key(name) || name == local);
        if !local.is_empty() {
            self.visit(local, 0, None);
        }
        for (name, peer) in peers {
            match &peer.kubeconfig {
                Some(kubeconfig) => self.visit(name, peer.digest(), Some(Arc::clone(kubeconfig))),
                None => drop(self.visits.remove(name)),
            }
        }
        let failed = |visits: &&Visits| matches!(visits.last, Visit::Failed(..));
        let failed = self.visits.values().filter(failed).count();
        self.state.metrics.unreachable.set(i64::try_from(failed).unwrap_or(i64::MAX));
    }

    /// Goes to a member if it is due, or another way leads there; without a kubeconfig, to the
    /// cluster that the scout belongs to.
    fn visit(&mut self, name: &str, digest: u64, kubeconfig: Option<Arc<str>>) {
        let now = Instant::now();
        let visits = self.visits.entry(name.to_owned()).or_insert_with(|| Visits {
            digest,
            due: now,
            since: None,
            failures: 0,
            last: NOT_YET,
        });
        if visits.digest != digest {
            (visits.digest, visits.due, visits.since, visits.failures) = (digest, now, None, 0);
        }
        let is_under_way = visits.since.is_some_and(|since| since.elapsed() < LOST);
        if is_under_way || visits.due > now {
            return;
        }
        visits.since = Some(now);
        let (name, places, sender) =
            (name.to_owned(), Arc::clone(&self.places), self.outcomes.0.clone());
        let (client, dial) = (self.client.clone(), self.config.dial.clone());
        let settings = self.config.settings.clone();
        tokio::spawn(async move {
            let Ok(_place) = places.acquire_owned().await else { return };
            let seen = match kubeconfig.map(|kubeconfig| dial.client(&kubeconfig)) {
                None => observe(&client, &settings, &BOUNDS).await,
                Some(Ok(client)) => observe(&client, &settings, &BOUNDS).await,
                Some(Err(error)) => Err(error),
            };
            let _ = sender.send((name, digest, seen)).await;
        });
    }

    /// Takes in what a visit came to, unless another way leads there by now.
    fn take(&mut self, (name, digest, seen): Outcome) {
        let outcome = seen.as_ref().map_or_else(Unreached::reason, |_| "Read");
        self.state.metrics.visited(outcome);
        let Some(visits) = self.visits.get_mut(&name).filter(|it| it.digest == digest) else {
            return;
        };
        visits.since = None;
        let last = match seen {
            Ok(observed) => Visit::Shown(Box::new(observed)),
            Err(error) => Visit::Failed(error.reason(), error.to_string()),
        };
        let is_failed = matches!(last, Visit::Failed(..));
        if is_failed != matches!(visits.last, Visit::Failed(..)) {
            tracing::info!(member = name, outcome, "a member was visited");
        }
        visits.failures = if is_failed { visits.failures.saturating_add(1) } else { 0 };
        visits.last = last;
        let pause = pause(self.config.interval, visits.failures, chance());
        visits.due = Instant::now() + pause;
    }

    /// Writes what the MeshMembers are to say, as far as that is anything new.
    async fn write(
        &mut self,
        members: &mut BTreeMap<String, Stored>,
        peers: &BTreeMap<String, Peer>,
        local: &str,
    ) -> Result<(), Failure> {
        for (name, stored) in members.iter_mut().filter(|(_, stored)| !stored.is_terminating) {
            let peer = peers.get(name);
            let is_visited = name == local || peer.is_some_and(|peer| peer.kubeconfig.is_some());
            let unvisited = if is_visited { &NOT_YET } else { &NO_SECRET };
            let visit = self.visits.get(name).map_or(unvisited, |visits| &visits.last);
            let findings = self.findings.as_ref();
            let findings = findings.and_then(|all| all.get(name)).map(Vec::as_slice);
            let known = Known {
                spec: &stored.spec,
                generation: stored.generation,
                status: stored.status.as_ref(),
                joined_by: peer.map(|peer| peer.joined_by.as_slice()).unwrap_or_default(),
                visit,
                findings,
                now: Timestamp::now(),
            };
            if let Some(status) = known.news() {
                self.home.write(name, &status).await?;
                stored.status = Some(status);
            }
        }
        Ok(())
    }

    /// Judges the mesh as it stands, and tells of what is denied.
    async fn judge(&mut self, members: &BTreeMap<String, Stored>) -> Result<(), Failure> {
        let settings = self.config.settings.clone();
        let readings = cluster::read(self.config.cluster.clone(), &settings).await;
        let Contents { readings, serves_peers } =
            readings.map_err(|error| Failure::Other(error.to_string()))?;
        let uids: BTreeMap<ObjectRef, Box<str>> = readings
            .iter()
            .map(|reading| (ObjectRef::clone(&reading.object), reading.uid.clone()))
            .collect();
        let mut mesh = Mesh::of(Arc::new(settings.clone()), readings);
        mesh.serve_peers(serves_peers);
        let names: BTreeSet<String> = mesh
            .members()
            .iter()
            .map(|member| member.name().to_string())
            .chain(members.keys().cloned())
            .collect();
        let now = SystemTime::now().into();
        let (mut counts, mut standing) = (BTreeMap::new(), BTreeMap::new());
        for name in names {
            let mut findings = standing_findings(&mesh, &name, Some(now));
            // A clash with a peer is told at the peer.
            let is_told_elsewhere =
                |finding: &Finding| settings.is_local(&finding.member) && finding.other.is_some();
            findings.retain(|(finding, _)| !is_told_elsewhere(finding));
            findings
                .sort_by_key(|(finding, severity)| (std::cmp::Reverse(*severity), finding.rule));
            for (finding, severity) in &findings {
                *counts.entry((finding.rule, *severity, name.clone())).or_insert(0) += 1;
                if *severity == Severity::Deny {
                    self.tell(finding, &uids).await;
                }
            }
            findings.truncate(MOST_FINDINGS);
            standing.insert(name, findings.iter().map(told).collect());
        }
        self.state.metrics.show_standing(&counts);
        self.findings = Some(standing);
        self.judged = Some(Instant::now());
        Ok(())
    }

    /// Tells of a finding at the object that is at fault. That nobody may be told is no reason to
    /// stop.
    async fn tell(&mut self, finding: &Finding, uids: &BTreeMap<ObjectRef, Box<str>>) {
        let uid = uids.get(&*finding.place.object).map(|uid| &**uid).unwrap_or_default();
        let Some((namespace, event)) = self.told.event(finding, uid, Timestamp::now()) else {
            return;
        };
        if let Err(failure) = self.home.tell(&namespace, &event).await {
            self.state.metrics.errors.inc();
            tracing::warn!(%failure, "an Event cannot be created");
        }
    }

    /// Deletes MeshMembers that nobody but a scout had to do with, once what joined them is gone for
    /// good.
    async fn tidy(
        &mut self,
        members: &BTreeMap<String, Stored>,
        peers: &BTreeMap<String, Peer>,
        local: &str,
    ) -> Result<(), Failure> {
        let is_gone = |(name, stored): &(&String, &Stored)| {
            let joined_by = stored.status.as_ref().map(|status| status.joined_by.as_slice());
            stored.is_ours
                && !stored.is_terminating
                && *name != local
                && !peers.contains_key(*name)
                && self.can_tell(joined_by.unwrap_or_default())
        };
        let gone: Vec<_> = members.iter().filter(is_gone).collect();
        self.gone.retain(|name, _| gone.iter().any(|(gone, _)| *gone == name));
        for (name, stored) in gone {
            let rounds = self.gone.entry(name.clone()).or_insert(0);
            *rounds += 1;
            if *rounds < GONE {
                continue;
            }
            match self.home.delete(name, stored).await {
                Ok(()) => tracing::info!(member = name, "a MeshMember of nobody was deleted"),
                // It has changed since.
                Err(failure) if failure.is_conflict() || failure.is_not_found() => {}
                Err(failure) => return Err(failure),
            }
        }
        Ok(())
    }

    /// Whether it can be told of all of these that they are gone.
    fn can_tell(&self, joined_by: &[crate::meshmember::Joined]) -> bool {
        joined_by.iter().all(|joined| match &self.config.secrets {
            _ if joined.kind != "Secret" => true,
            Secrets::All => true,
            Secrets::Named(names) => names.contains(&joined.name),
            Secrets::None => false,
        })
    }
}

/// A finding as a status has it.
fn told((finding, severity): &(Finding, Severity)) -> StandingFinding {
    StandingFinding {
        rule: finding.rule.to_owned(),
        severity: severity.to_string(),
        object: finding.place.object.to_string(),
        field: finding.place.path().to_string(),
        message: crate::report::sentence(finding).chars().take(1024).collect(),
    }
}

/// A number from 0 to 1 that is another one each time.
fn chance() -> f64 {
    let number = u32::try_from(RandomState::new().hash_one(0) >> 32).unwrap_or_default();
    f64::from(number) / f64::from(u32::MAX)
}
