//! isthmus as its own certificate authority (CA): it creates its certificate, keeps it in a Secret
//! that all replicas share, and tells the API server whom to trust. The secret path that the API
//! server calls is kept in the same way.
//!
//! Each round reads the webhook configurations, then the Secret, and takes the next `step`, if
//! there is one, by a write that fails if the Secret has changed since. A CA is published before a
//! certificate signed by it is served, and for as long as one may be served.

mod health;
mod kept;
pub(crate) mod paths;
mod published;
mod step;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use axum::http::Response;
use axum::http::header::DATE;
use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;
use kube::client::ClientBuilder;
use kube::{Client, Config as Cluster};
use tokio::time::{sleep, timeout};
use tower::util::MapResponseLayer;

pub use health::Health;
pub use paths::SecretPath;
pub use step::Terms;

use super::tls::Certificate;
use crate::cluster::{Failure, Objects};
use kept::{Authority, Kept};
use paths::{Paths, REST};
use published::{Configurations, Publication, Published};
use step::{Situation, Step};

/// How long to wait after the first failure.
const FIRST_RETRY: Duration = Duration::from_millis(200);
/// How long to wait at most after a failure, so that what was put off by it is not put off for long.
const LAST_RETRY: Duration = Duration::from_secs(1);
/// How many paths are honoured at once; more than any course of steps has.
const MOST_PATHS: usize = 8;
/// How many steps may follow each other at once; more than any course of them has.
const STEPS: u32 = 16;
/// The message while another replica may restore what the Secret has lost.
const LOST: &str = "the Secret has lost its certificate; other replicas may put it back";

/// How the authority is set up.
#[derive(Debug)]
pub struct Config {
    /// How to reach the cluster.
    pub cluster: Cluster,
    /// The Secret that everything is kept in.
    pub secret: NamespacedName,
    /// The name of the webhook configurations.
    pub webhooks: String,
    /// Requirements for certificates.
    pub terms: Terms,
    /// How often to look.
    pub poll: Duration,
}

/// Where a Secret or a Lease is, written as `NAMESPACE/NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespacedName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// Keeps the certificate.
pub(super) struct Keeper {
    secrets: Objects<Secret>,
    configurations: Configurations,
    secret: NamespacedName,
    webhooks: String,
    terms: Terms,
    poll: Duration,
    certificate: Arc<Certificate>,
    health: Arc<Health>,
    paths: Arc<Paths>,
    /// What is shown, with the authorities that it is trusted by.
    held: Option<Kept>,
    /// The next CA, and since when it has been in every `caBundle`.
    next_published: Option<(Authority, Instant)>,
    /// Since when a certificate is missed that others may remember.
    missed: Option<Instant>,
    /// The authorities that the Secret knows no use of, and since when.
    unneeded: Option<(Vec<Authority>, Instant)>,
    /// The path that the Secret holds, and since when.
    path: Option<(SecretPath, Instant)>,
    /// The path that is in every webhook, and since when.
    path_published: Option<(SecretPath, Instant)>,
}

impl Keeper {
    pub(super) fn new(
        config: Config,
        certificate: Arc<Certificate>,
        paths: Arc<Paths>,
    ) -> anyhow::Result<Self> {
        let Config { cluster, secret, webhooks, terms, poll } = config;
        let client = client(cluster, Arc::clone(&certificate))?;
        Ok(Self {
            secrets: Api::namespaced(client.clone(), &secret.namespace).into(),
            configurations: Configurations::new(&client, webhooks.clone()),
            secret,
            webhooks,
            terms,
            poll,
            certificate,
            health: Arc::default(),
            paths,
            held: None,
            next_published: None,
            missed: None,
            unneeded: None,
            path: None,
            path_published: None,
        })
    }

    pub(super) fn health(&self) -> Arc<Health> {
        Arc::clone(&self.health)
    }

    /// Runs round after round until it is cancelled. `failed` is called for each round that fails.
    pub(super) async fn run(&mut self, failed: impl Fn()) {
        let mut retry = None;
        loop {
            let wait = match self.look().await {
                Ok(()) => {
                    if retry.take().is_some() {
                        tracing::info!("the certificate is kept as it should be again");
                    }
                    self.health.state().seen = Some(Instant::now());
                    self.poll
                }
                Err(trouble) => {
                    failed();
                    let why = self.explain(&trouble);
                    if retry.is_none() {
                        tracing::error!(why, "the certificate cannot be kept as it should be");
                    } else {
                        tracing::debug!(why, "the certificate still cannot be kept");
                    }
                    let wait = retry.map_or(FIRST_RETRY, |last: Duration| last * 2);
                    *retry.insert(wait.min(self.poll).min(LAST_RETRY))
                }
            };
            // Whoever calls what is not known here may have heard of it before.
            let asked = async {
                sleep(REST.min(wait)).await;
                self.paths.wanted().await;
            };
            let _ = timeout(wait, asked).await;
        }
    }

    /// Takes steps until there is none, then publishes and shows what the Secret holds.
    async fn look(&mut self) -> Result<(), Failure> {
        for _ in 0..STEPS {
            // Before the Secret: whoever publishes a later state than is read of it below changes
            // the configurations after this, and what is published here is then refused.
            let read = self.configurations.read().await;
            let secret = self.secrets.get(&self.secret.name).await?;
            let data = secret.as_ref().and_then(|secret| secret.data.as_ref());
            let kept = data.map(Kept::read).unwrap_or_default();
            self.honour(&kept);
            let (mut published, mut trouble) = match read {
                Ok(published) => (Some(published), None),
                Err(trouble) => (None, Some(trouble)),
            };
            let now = self.certificate.now();
            self.time(&kept, published.as_ref(), now);
            let trusted = published.as_ref().map(Published::authorities).unwrap_or_default();
            let situation = self.situation(&trusted, now);
            if let Some(step) = step::next(&kept, situation, &self.terms) {
                self.take(step, kept, secret, situation).await?;
                continue;
            }
            if !kept.is_usable(now) {
                return Err(Failure::Other(LOST.to_owned()));
            }
            if let Some(published) = &mut published {
                let has_spread =
                    self.path.is_some_and(|(_, since)| since.elapsed() >= self.poll * 2);
                let publication = Publication {
                    authorities: &kept.authorities,
                    path: kept.path,
                    until_known: kept.last_path.filter(|_| !has_spread),
                };
                match self.configurations.publish(published, &publication).await {
                    Ok(()) => {}
                    Err(conflict) if conflict.is_conflict() => continue,
                    Err(other) => trouble = Some(other),
                }
            }
            self.show(&kept, published.as_ref(), now);
            return trouble.map_or(Ok(()), Err);
        }
        Err(Failure::Other(
            "the Secret or the webhook configurations change again and again".into(),
        ))
    }

    /// Takes the time of what has to last for a while.
    fn time(&mut self, kept: &Kept, published: Option<&Published>, now: i64) {
        let next = kept.next(now).map(|next| next.authority);
        let next = next.filter(|next| published.is_some_and(|published| published.holds(next)));
        self.next_published =
            next.map(|next| timed(self.next_published.take(), next, Instant::now()));
        self.path = kept.path.map(|path| timed(self.path.take(), path, Instant::now()));
        // What was published counts as published while it cannot be read.
        let is_called = |path: &SecretPath| match (published, self.path_published) {
            (Some(published), _) => published.calls(*path),
            (None, last) => last.is_some_and(|(last, _)| last == *path),
        };
        let called = kept.path.filter(is_called);
        self.path_published =
            called.map(|path| timed(self.path_published.take(), path, Instant::now()));
        let unneeded: Vec<_> = kept.unneeded(now).into_iter().cloned().collect();
        self.unneeded = Some(timed(self.unneeded.take(), unneeded, Instant::now()));
        let is_missed = self.held.is_none()
            && !kept.is_usable(now)
            && published.is_none_or(|published| !published.is_blank());
        self.missed = is_missed.then(|| self.missed.unwrap_or_else(Instant::now));
    }

    /// What is known besides the Secret.
    fn situation<'a>(&'a self, published: &'a [Authority], now: i64) -> Situation<'a> {
        Situation {
            now,
            held: self.held.as_ref(),
            published,
            published_for: self.next_published.as_ref().map(|(_, since)| since.elapsed()),
            // They look as often as this one.
            others_may_know: self.missed.is_some_and(|since| since.elapsed() < self.poll * 2),
            all_have_looked: self
                .unneeded
                .as_ref()
                .is_some_and(|(_, since)| since.elapsed() >= self.terms.settle.max(self.poll * 3)),
            path_published_for: self.path_published.map(|(_, since)| since.elapsed()),
            path_is_suspect: self.paths.is_suspect(),
        }
    }

    /// Honours the path that the Secret holds, and those before it while they may still be called.
    fn honour(&self, kept: &Kept) {
        let Some(path) = kept.path else { return };
        let has_settled = self.path_published.is_some_and(|(published, since)| {
            published == path && since.elapsed() >= self.terms.settle
        });
        let mut honoured = vec![path];
        if !has_settled {
            let others = kept.last_path.into_iter().chain(self.paths.honoured());
            others.for_each(|other| {
                if !honoured.contains(&other) {
                    honoured.push(other);
                }
            });
        }
        honoured.truncate(MOST_PATHS);
        self.paths.honour(honoured);
    }

    /// Writes the state after a step, unless another replica was first.
    async fn take(
        &self,
        step: Step,
        kept: Kept,
        secret: Option<Secret>,
        situation: Situation<'_>,
    ) -> Result<(), Failure> {
        let kept = step
            .apply(kept, situation, &self.terms)
            .map_err(|error| Failure::Other(format!("cannot create a certificate: {error}")))?;
        let Some(mut secret) = secret else { return Err(Failure::Other(self.secret.missing())) };
        kept.write(secret.data.get_or_insert_default());
        match self.secrets.replace(&self.secret.name, &secret).await {
            Ok(()) => {
                tracing::info!(secret = %self.secret, "{}", step.message());
                if step == Step::ChangePath {
                    self.paths.trust();
                }
            }
            // It has changed, or exists no more.
            Err(late) if late.is_conflict() || late.is_not_found() => {}
            Err(other) => return Err(other),
        }
        Ok(())
    }

    /// Shows callers the certificate, unless they trust another one only.
    fn show(&mut self, kept: &Kept, published: Option<&Published>, now: i64) {
        let trusted = |kept: &Kept| {
            let leaf = kept.leaf.as_ref();
            leaf.is_some_and(|leaf| published.is_some_and(|p| p.trusts(leaf, now)))
        };
        let is_shown = |held: &Kept| match (&held.leaf, &kept.leaf) {
            (Some(held), Some(kept)) => held.is(kept),
            _ => false,
        };
        if step::is_to_be_shown(trusted(kept), self.held.as_ref().is_some_and(trusted)) {
            if let Some(leaf) = &kept.leaf
                && !self.held.as_ref().is_some_and(is_shown)
            {
                let until = leaf.loaded.validity.until;
                self.certificate.put(leaf.loaded.clone());
                tracing::info!(valid_until = until, "a new certificate is shown");
            }
            self.held = Some(kept.without_signers());
        }
        let Some(held) = &self.held else { return };
        let signs = |authority: &&Authority| {
            held.leaf.as_ref().is_some_and(|leaf| leaf.is_trusted([*authority], now))
        };
        let mut state = self.health.state();
        state.until = held.authorities.iter().find(signs).map(|signer| signer.validity.until);
        if published.is_some() {
            // What callers do not trust fails, and shows them the path.
            if let Some(path) = self.paths.first().filter(|_| !trusted(held)) {
                self.paths.suspect(path);
            }
            state.distrusted = (!trusted(held)).then(|| {
                let name = &self.webhooks;
                format!("the caBundle of webhook configuration {name} is not the certificate's")
            });
        }
    }

    fn explain(&self, trouble: &Failure) -> String {
        // The API server repeats what it refuses.
        let Self { secret, webhooks, .. } = self;
        let hint = if trouble.is_forbidden() {
            format!(
                "; `isthmus rbac --tls-secret {secret} --tls-webhooks {webhooks}` prints the required roles"
            )
        } else {
            String::new()
        };
        paths::hidden(&format!("{trouble}{hint}"))
    }
}

impl NamespacedName {
    /// The message if the Secret does not exist, which isthmus has no permission to create.
    fn missing(&self) -> String {
        let Self { namespace, name } = self;
        format!(
            "there is no Secret {self}; create it: kubectl --namespace {namespace} create secret generic {name}"
        )
    }
}

impl fmt::Display for NamespacedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl FromStr for NamespacedName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_name = |name: &str| {
            let is_of_it =
                |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
            !name.is_empty() && name.len() < 254 && name.chars().all(is_of_it)
        };
        match text.split_once('/') {
            Some((namespace, name)) if is_name(namespace) && is_name(name) => {
                Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
            }
            _ => Err(format!("{text:?} is not NAMESPACE/NAME, such as isthmus/isthmus-tls")),
        }
    }
}

/// Reaches the cluster, and takes the time of the API server from each of its answers.
fn client(cluster: Cluster, certificate: Arc<Certificate>) -> anyhow::Result<Client> {
    let builder = ClientBuilder::try_from(cluster).context("cannot reach the cluster")?;
    let timed = MapResponseLayer::new(move |response: Response<_>| {
        if let Some(date) = response.headers().get(DATE) {
            certificate.clock().tell(date);
        }
        response
    });
    Ok(builder.with_layer(&timed).build())
}

/// What is now, with the time since when it has been so.
fn timed<T: PartialEq, Time>(known: Option<(T, Time)>, is: T, now: Time) -> (T, Time) {
    match known {
        Some((known, since)) if known == is => (known, since),
        _ => (is, now),
    }
}
