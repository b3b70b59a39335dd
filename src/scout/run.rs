//! The rounds of a scout.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use jiff::Timestamp;
use kube::Client;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::clock::Clock;
use super::events::Told;
use super::judge::Judge;
use super::metrics::Metrics;
use super::peers::{MOST_PEERS, Peer, pause, peers};
use super::probes;
use super::reports::Reports;
use super::stored::{Home, Secrets, Stored};
use super::written::{IN_PART, Known, NO_SECRET, NOT_YET, Visit};
use crate::cluster::{Bounds, Dial, Failure, Shown, Unreached, observe};
use crate::meshmember::{Joined, MOST_FINDINGS, StandingFinding};
use crate::report::policy_report;
use crate::rule::{Finding, Severity};
use crate::settings::Settings;

/// How often it is looked who is due, and whether the mesh is to be judged.
const TICK: Duration = Duration::from_secs(1);
/// How long news are gathered.
const GATHERED: Duration = Duration::from_millis(50);
/// How many clusters are read at once.
const AT_ONCE: usize = 8;
/// What reading one may cost.
const BOUNDS: Bounds =
    Bounds { time: Duration::from_secs(15), answer: 2 << 20, whole: 16 << 20, at_once: 2 };
/// After how long a visit that has not ended is given up: something in it broke.
const LOST: Duration = Duration::from_mins(10);
/// After how long without a round the process is no good any more.
const STUCK: Duration = Duration::from_mins(10);

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
    /// For how long the MeshMember of a cluster stays that nothing joins any more.
    pub keep: Duration,
    /// In which API what stands wrong is reported, if it is.
    pub policy_reports: Option<policy_report::Api>,
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
    fn new() -> Self {
        let (is_ready, round) = (AtomicBool::new(false), Mutex::new(Instant::now()));
        Self { metrics: Metrics::new(), is_ready, round }
    }

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
    let state = Arc::new(State::new());
    tokio::spawn(probes::serve(listener, Arc::clone(&state)));
    let client = Client::try_from(config.cluster.clone()).context("cannot reach the cluster")?;
    let mut tasks = JoinSet::new();
    let mut scout = Scout::new(config, client, state, &mut tasks);
    tokio::select! {
        () = scout.run() => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        // Whoever starts this process again begins with all of them.
        _ = tasks.join_next() => bail!("a watch has ended"),
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
type Outcome = (String, u64, Result<Shown, Unreached>);

/// What stands wrong with a member.
#[derive(Default)]
struct Judged {
    counts: BTreeMap<(&'static str, Severity), i64>,
    /// The worst.
    findings: Vec<StandingFinding>,
}

struct Scout {
    config: Config,
    client: Client,
    home: Home,
    /// Notified of each change in the cluster that the scout belongs to.
    news: Arc<Notify>,
    judge: Judge,
    state: Arc<State>,
    places: Arc<Semaphore>,
    outcomes: (mpsc::Sender<Outcome>, mpsc::Receiver<Outcome>),
    visits: BTreeMap<String, Visits>,
    /// Since when it is known of members that what joined them is not there.
    gone: BTreeMap<String, Instant>,
    /// What stands wrong, by member, as it was judged last.
    judged: BTreeMap<String, Judged>,
    told: Told,
    reports: Option<Reports>,
    /// What was told last of the cluster's own failures.
    trouble: Option<String>,
    /// Whether as many clusters are joined as are looked at.
    is_full: bool,
    clock: Clock,
}

impl Scout {
    fn new(config: Config, client: Client, state: Arc<State>, tasks: &mut JoinSet<()>) -> Self {
        let Config { settings, secrets, .. } = &config;
        let news = Arc::new(Notify::new());
        let home = Home::new(&client, &settings.istio_namespaces, secrets, &news);
        home.watch(tasks);
        let errors = &state.metrics.errors;
        let reports = config.policy_reports;
        let reports = reports.map(|api| Reports::new(api, &client, errors.clone(), tasks));
        let clock = Clock::new(errors.clone());
        Self {
            home,
            news,
            judge: Judge::new(&client, settings, tasks),
            config,
            client,
            state,
            places: Arc::new(Semaphore::new(AT_ONCE)),
            outcomes: mpsc::channel(AT_ONCE),
            visits: BTreeMap::new(),
            gone: BTreeMap::new(),
            judged: BTreeMap::new(),
            told: Told::default(),
            reports,
            trouble: None,
            is_full: false,
            clock,
        }
    }

    async fn run(&mut self) {
        loop {
            *self.state.round.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
            let done = match self.home.listed() {
                Some(listed) => self.round(listed).await,
                None => Ok(()),
            };
            let trouble = done.err().map(|failure| failure.to_string());
            match trouble.or_else(|| self.home.trouble()) {
                Some(why) => self.fail(&why),
                None if self.home.listed().is_some() => {
                    self.state.is_ready.store(true, Ordering::Relaxed);
                    if self.trouble.take().is_some() {
                        tracing::info!("the cluster can be read and written again");
                    }
                }
                None => {}
            }
            tokio::select! {
                () = sleep(self.rest()) => {}
                () = self.news.notified() => sleep(GATHERED).await,
                Some(outcome) = self.outcomes.1.recv() => self.take(outcome),
            }
            while let Ok(outcome) = self.outcomes.1.try_recv() {
                self.take(outcome);
            }
        }
    }

    /// How long there is nothing to do where nothing happens.
    fn rest(&self) -> Duration {
        let waiting = self.visits.values().filter(|visits| visits.since.is_none());
        let next = waiting.map(|visits| visits.due.saturating_duration_since(Instant::now())).min();
        next.unwrap_or(TICK).clamp(GATHERED, TICK)
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

    /// Does what is to be done by what is known; it was listed after this.
    async fn round(&mut self, listed: Instant) -> Result<(), Failure> {
        let (mut members, secrets) = (self.home.members(), self.home.remote_secrets());
        let stated = members
            .iter()
            .filter_map(|(name, member)| Some((member.spec.cluster_id.clone()?, name.clone())));
        let mut peers = peers(&self.home.multiclusters(), &secrets, &stated.collect());
        drop(secrets);
        let is_full = peers.len() >= MOST_PEERS;
        if is_full && !self.is_full {
            self.state.metrics.errors.inc();
            tracing::error!(
                peers = MOST_PEERS,
                "as many clusters are joined as a scout reads; further ones are left out"
            );
        }
        self.is_full = is_full;
        let local = self.config.settings.local_member.clone();
        peers.remove(&local);
        self.send_out(&peers, &local);
        peers.retain(|name, peer| !self.is_home(name, peer, &local));
        self.state.metrics.peers.set(i64::try_from(peers.len()).unwrap_or(i64::MAX));
        // What cannot be written holds up nothing else.
        let mut written = Ok(());
        for name in peers.keys().chain(Some(&local).filter(|local| !local.is_empty())) {
            if !members.contains_key(name) && self.is_worth_writing(name, &peers, &local) {
                match self.home.create(name).await {
                    Ok(created) => drop(members.insert(name.clone(), created)),
                    Err(failure @ Failure::Other(_)) => return Err(failure),
                    Err(failure) => written = Err(failure),
                }
            }
        }
        written = written.and(self.write(&mut members, &peers, &local).await);
        if self.judge.is_due() {
            self.judge(&members).await;
            written = written.and(self.write(&mut members, &peers, &local).await);
        }
        written.and(self.tidy(&members, &peers, &local, listed).await)
    }

    /// Whether a Secret leads to the cluster that the scout belongs to: one set of Secrets may be
    /// applied everywhere.
    fn is_home(&self, name: &str, peer: &Peer, local: &str) -> bool {
        let uid = |name: &str| match self.visits.get(name).map(|visits| &visits.last) {
            Some(Visit::Shown(shown)) => Some(shown.observed.uid.value.clone()),
            _ => None,
        };
        let is_joined_by_secrets = peer.joined_by.iter().all(|joined| joined.kind == "Secret");
        is_joined_by_secrets && uid(name).is_some_and(|own| uid(local) == Some(own))
    }

    /// Whether enough is known of a member to write of it: of one that only a Secret joins, that it
    /// is not the local one.
    fn is_worth_writing(&self, name: &str, peers: &BTreeMap<String, Peer>, local: &str) -> bool {
        let is_declared = |peer: &Peer| peer.joined_by.iter().any(|joined| joined.kind != "Secret");
        let was_visited =
            |name: &str| self.visits.get(name).is_some_and(|visits| visits.last != NOT_YET);
        peers.get(name).is_some_and(is_declared)
            || was_visited(name) && (local.is_empty() || was_visited(local))
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
        let outcome = match &seen {
            Ok(shown) if shown.refused.is_empty() => "Read",
            Ok(_) => IN_PART,
            Err(error) => error.reason(),
        };
        self.state.metrics.visited(outcome);
        let Some(visits) = self.visits.get_mut(&name).filter(|it| it.digest == digest) else {
            return;
        };
        visits.since = None;
        let last = match seen {
            Ok(shown) => Visit::Shown(Box::new(shown)),
            Err(error) => Visit::Failed(error.reason(), error.to_string()),
        };
        let is_failed = matches!(last, Visit::Failed(..));
        if is_failed != matches!(visits.last, Visit::Failed(..)) {
            tracing::info!(member = name, outcome, "a member was visited");
        }
        // Rights that are being granted may be there in part.
        visits.failures = if outcome == "Read" { 0 } else { visits.failures.saturating_add(1) };
        visits.last = last;
        let pause = pause(self.config.interval, visits.failures, chance());
        visits.due = Instant::now() + pause;
    }

    /// Writes what the MeshMembers are to say, as far as that is anything new. One that cannot be
    /// written keeps none of the others from being written.
    async fn write(
        &mut self,
        members: &mut BTreeMap<String, Arc<Stored>>,
        peers: &BTreeMap<String, Peer>,
        local: &str,
    ) -> Result<(), Failure> {
        let mut failed = Ok(());
        for (name, stored) in members.iter_mut().filter(|(_, stored)| !stored.is_terminating) {
            let peer = peers.get(name);
            let is_visited = name == local || peer.is_some_and(|peer| peer.kubeconfig.is_some());
            let unvisited = if is_visited { &NOT_YET } else { &NO_SECRET };
            let visit = self.visits.get(name).map_or(unvisited, |visits| &visits.last);
            let known = Known {
                spec: &stored.spec,
                generation: stored.generation,
                status: stored.status.as_ref(),
                joined_by: peer.map(|peer| peer.joined_by.as_slice()).unwrap_or_default(),
                visit,
                findings: self.judged.get(name).map(|judged| judged.findings.as_slice()),
                now: Timestamp::now(),
            };
            let Some(status) = known.news() else { continue };
            match self.home.write(name, &status).await {
                Ok(written) => {
                    self.clock.compare(Timestamp::now(), written.written_at);
                    *stored = written;
                }
                // The watch will tell that it is gone.
                Err(failure) if failure.is_not_found() => {}
                Err(failure @ Failure::Other(_)) => return Err(failure),
                Err(failure) => failed = Err(failure),
            }
        }
        failed
    }

    /// Judges the mesh as it stands, and tells of what is denied.
    async fn judge(&mut self, members: &BTreeMap<String, Arc<Stored>>) {
        let versions = members.keys().map(|name| (name.clone(), self.home.version_of(name)));
        let standing = self.judge.judge(&versions.collect()).await;
        self.judged.retain(|name, _| members.contains_key(name));
        for (name, findings) in &standing {
            let mut judged = Judged::default();
            for (finding, severity) in findings {
                *judged.counts.entry((finding.rule, *severity)).or_insert(0) += 1;
                if *severity == Severity::Deny {
                    self.tell(finding).await;
                }
            }
            judged.findings = findings.iter().take(MOST_FINDINGS).map(told).collect();
            self.judged.insert(name.clone(), judged);
        }
        if let Some(reports) = &mut self.reports {
            reports.take(standing, members);
        }
        let counts = self.judged.iter().flat_map(|(name, judged)| {
            let counts = judged.counts.iter();
            counts.map(|((rule, severity), count)| ((*rule, *severity, name.clone()), *count))
        });
        self.state.metrics.show_standing(&counts.collect());
    }

    /// Tells of a finding at the object that is at fault. That nobody may be told is no reason to
    /// stop.
    async fn tell(&mut self, finding: &Finding) {
        let uid = self.judge.uid_of(&finding.place.object);
        let Some((namespace, event)) = self.told.event(finding, &uid, Timestamp::now()) else {
            return;
        };
        if let Err(failure) = self.home.tell(&namespace, &event).await {
            self.state.metrics.errors.inc();
            tracing::warn!(%failure, "an Event cannot be created");
        }
    }

    /// Deletes MeshMembers that nobody but a scout had to do with, once a list shows as well that
    /// what joined them is gone.
    async fn tidy(
        &mut self,
        members: &BTreeMap<String, Arc<Stored>>,
        peers: &BTreeMap<String, Peer>,
        local: &str,
        listed: Instant,
    ) -> Result<(), Failure> {
        let is_gone = |(name, stored): &(&String, &Arc<Stored>)| {
            let joined_by = stored.status.as_ref().map(|status| status.joined_by.as_slice());
            stored.is_ours
                && !stored.is_terminating
                && *name != local
                && !peers.contains_key(*name)
                && !self.may_return(stored)
                && self.can_tell(joined_by.unwrap_or_default())
        };
        let gone: Vec<_> = members.iter().filter(is_gone).collect();
        self.gone.retain(|name, _| gone.iter().any(|(gone, _)| *gone == name));
        for (name, stored) in gone {
            let since = *self.gone.entry(name.clone()).or_insert_with(|| {
                // Before anybody is asked: the list may begin at once.
                let now = Instant::now();
                self.home.list_anew();
                now
            });
            if listed <= since {
                continue;
            }
            match self.home.delete(name, stored).await {
                Ok(()) => tracing::info!(
                    member = name,
                    "a MeshMember of a cluster that is no longer known was deleted"
                ),
                // It has changed since.
                Err(failure) if failure.is_conflict() || failure.is_not_found() => {}
                Err(failure) => return Err(failure),
            }
        }
        Ok(())
    }

    /// Whether the cluster was seen so lately that its Secret may be restored: then it joins as the
    /// member that it was.
    fn may_return(&self, stored: &Stored) -> bool {
        let observed = stored.status.as_ref().and_then(|status| status.observed.as_ref());
        let age = observed.map(|observed| Timestamp::now().duration_since(observed.uid.at));
        age.is_some_and(|age| age.as_secs_f64() < self.config.keep.as_secs_f64())
    }

    /// Whether it can be told of all of these that they are gone.
    fn can_tell(&self, joined_by: &[Joined]) -> bool {
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

#[cfg(test)]
mod tests;
