//! Policy reports of what stands wrong, kept up to date in the cluster by a task of their own: that
//! they cannot be written holds up nothing else.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use kube::api::{
    Api, DeleteParams, DynamicObject, ListParams, ObjectMeta, Patch, PatchParams, Preconditions,
};
use kube::core::{ApiResource, GroupVersionKind};
use prometheus_client::metrics::counter::Counter;
use serde_json::Value as Json;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::judge::Standing;
use super::stored::{MANAGER, Stored};
use crate::cluster::{Failure, answer};
use crate::report::diagnostic::Diagnostic;
use crate::report::policy_report::{self, LABEL, policy_reports};
use crate::review::Reason;
use crate::rule::Severity;

/// How long changes are gathered.
const GATHERED: Duration = Duration::from_secs(2);
/// How often it is looked whether what was written still stands.
const REFRESH: Duration = Duration::from_mins(5);
/// How long to wait after the first failure, and after many.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));
/// How many reports are listed at once.
const PAGE: u32 = 50;

/// What there is to report.
pub(super) struct Reports {
    api: policy_report::Api,
    found: Standing,
    wanted: watch::Sender<Option<Vec<Json>>>,
}

impl Reports {
    /// Nothing yet. What is to be written is written by a task, which never ends.
    pub(super) fn new(
        api: policy_report::Api,
        client: &Client,
        errors: Counter,
        tasks: &mut JoinSet<()>,
    ) -> Self {
        let (wanted, told) = watch::channel(None);
        let kinds = [false, true].map(|is_namespaced| {
            let kind = GroupVersionKind::gvk(api.group(), api.version(), api.kind(is_namespaced));
            ApiResource::from_gvk_with_plural(&kind, &api.plural(is_namespaced))
        });
        let mut writer = Writer {
            client: client.clone(),
            kinds,
            errors,
            written: BTreeMap::new(),
            trouble: None,
        };
        tasks.spawn(async move { writer.keep(told).await });
        Self { api, found: Standing::new(), wanted }
    }

    /// Takes in what stands wrong. What was found of these members before stays until they are judged
    /// anew; nothing is told before each of them has been judged.
    pub(super) fn take(&mut self, standing: Standing, members: &BTreeMap<String, Arc<Stored>>) {
        self.found.retain(|name, _| members.contains_key(name));
        self.found.extend(standing);
        let is_first = self.wanted.borrow().is_none();
        if is_first && !members.keys().all(|name| self.found.contains_key(name)) {
            return;
        }
        let reports = policy_reports(&diagnostics(&self.found), self.api, MANAGER);
        self.wanted.send_if_modified(|wanted| {
            let is_new = wanted.as_ref() != Some(&reports);
            if is_new {
                *wanted = Some(reports);
            }
            is_new
        });
    }
}

/// What is told, the worst first. A clash is seen from both its sides, maybe more seriously from one.
fn diagnostics(found: &Standing) -> Vec<Diagnostic> {
    let mut found: Vec<_> = found.values().flatten().collect();
    found.sort_by_key(|(finding, severity)| {
        (Reverse(*severity), finding.rule, &finding.place.object)
    });
    let mut seen = BTreeSet::new();
    found.retain(|(finding, _)| seen.insert((finding.key(), finding.extent)));
    let told = found.into_iter().map(|(finding, severity)| {
        let is_mild = *severity == Severity::Warn;
        Diagnostic::of(finding, is_mild.then_some(Reason::RuleWarns))
    });
    told.collect()
}

/// Writes reports.
struct Writer {
    client: Client,
    /// Those of the objects without a namespace, and those in one.
    kinds: [ApiResource; 2],
    errors: Counter,
    /// What was written, by namespace, each with the version that this led to.
    written: BTreeMap<Option<String>, (Json, Option<String>)>,
    /// What was told last of failures.
    trouble: Option<String>,
}

impl Writer {
    async fn keep(&mut self, mut wanted: watch::Receiver<Option<Vec<Json>>>) {
        let mut wait = BACKOFF.0;
        while wanted.wait_for(Option::is_some).await.is_ok() {
            let reports = wanted.borrow_and_update().clone().unwrap_or_default();
            let Err(failure) = self.write(&reports).await else {
                wait = BACKOFF.0;
                if self.trouble.take().is_some() {
                    tracing::info!("policy reports are written again");
                }
                sleep(GATHERED).await;
                // Nobody can end the task by that but who ends all.
                let _ = timeout(REFRESH, wanted.changed()).await;
                continue;
            };
            self.fail(&failure.to_string());
            sleep(wait).await;
            wait = (wait * 2).min(BACKOFF.1);
        }
    }

    /// Tells once of each failure.
    fn fail(&mut self, why: &str) {
        self.errors.inc();
        if self.trouble.as_deref() != Some(why) {
            tracing::error!(
                why,
                "policy reports cannot be written; `isthmus rbac --scout --policy-reports` prints the roles that are needed"
            );
            self.trouble = Some(why.to_owned());
        }
    }

    /// Writes what does not stand already, and deletes what is true no more. What cannot be written
    /// holds up nothing else.
    async fn write(&mut self, reports: &[Json]) -> Result<(), Failure> {
        let mut standing = self.standing().await?;
        let mut done = Ok(());
        for report in reports {
            let namespace = report["metadata"]["namespace"].as_str().map(str::to_owned);
            let stands = standing.remove(&namespace).map(|stands| stands.resource_version);
            let is_written = |(known, version): &(Json, Option<String>)| {
                known == report && stands.as_ref() == Some(version)
            };
            if self.written.get(&namespace).is_some_and(is_written) {
                continue;
            }
            let params = PatchParams::apply(MANAGER).force();
            let api = self.reports_in(namespace.as_deref());
            match answer(api.patch(MANAGER, &params, &Patch::Apply(report))).await {
                Ok(now) => {
                    let version = now.metadata.resource_version;
                    self.written.insert(namespace, (report.clone(), version));
                }
                Err(failure @ Failure::Other(_)) => return Err(failure),
                Err(failure) => done = Err(failure),
            }
        }
        for (namespace, ObjectMeta { uid, resource_version, .. }) in standing {
            let preconditions = Some(Preconditions { uid, resource_version });
            let params = DeleteParams { preconditions, ..DeleteParams::default() };
            let api = self.reports_in(namespace.as_deref());
            self.written.remove(&namespace);
            match answer(api.delete(MANAGER, &params)).await {
                // Somebody else was faster.
                Err(failure) if !failure.is_not_found() && !failure.is_conflict() => {
                    done = Err(failure);
                }
                _ => {}
            }
        }
        done
    }

    fn reports_in(&self, namespace: Option<&str>) -> Api<DynamicObject> {
        let [cluster, namespaced] = &self.kinds;
        match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, namespaced),
            None => Api::all_with(self.client.clone(), cluster),
        }
    }

    /// The reports that scouts have written, by namespace.
    async fn standing(&self) -> Result<BTreeMap<Option<String>, ObjectMeta>, Failure> {
        let mut standing = BTreeMap::new();
        for kind in &self.kinds {
            let api: Api<DynamicObject> = Api::all_with(self.client.clone(), kind);
            // By their name, they may be listed where nothing more is granted.
            let mut params = ListParams::default()
                .fields(&format!("metadata.name={MANAGER}"))
                .labels(&format!("{LABEL}={MANAGER}"))
                .limit(PAGE);
            loop {
                let page = match answer(api.list_metadata(&params)).await {
                    Err(failure) if failure.is_not_found() => {
                        let why =
                            format!("the cluster has no resource {}.{}", kind.plural, kind.group);
                        return Err(Failure::Other(why));
                    }
                    page => page?,
                };
                let found = page.items.into_iter().map(|report| report.metadata);
                standing.extend(found.map(|report| (report.namespace.clone(), report)));
                params.continue_token = page.metadata.continue_.filter(|next| !next.is_empty());
                if params.continue_token.is_none() {
                    break;
                }
            }
        }
        Ok(standing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mesh::{ObjectRef, Place};
    use crate::report::diagnostic::Level;
    use crate::rule::Finding;
    use crate::syntax::Path;

    fn clash(one: &str, other: &str, severity: Severity) -> (Finding, Severity) {
        let place =
            |name: &str| Place::new(Arc::new(ObjectRef::new("MeshMember", None, name)), Path::NAME);
        let finding = Finding {
            rule: "SubnetOverlap",
            severity,
            member: one.into(),
            place: place(one),
            against: Some(place(other)),
            other: Some(other.into()),
            because: None,
            emptied: None,
            extent: None,
            value: None,
            message: "overlaps".to_owned(),
            remedy: String::new(),
        };
        (finding, severity)
    }

    #[test]
    fn a_clash_is_told_once_and_as_seriously_as_either_side_sees_it() {
        let found = Standing::from([
            ("a".to_owned(), vec![clash("a", "b", Severity::Warn)]),
            ("b".to_owned(), vec![clash("b", "a", Severity::Deny)]),
            ("c".to_owned(), vec![clash("c", "a", Severity::Warn)]),
        ]);
        let told = diagnostics(&found);
        let told: Vec<_> = told.iter().map(|it| (it.level, it.member.as_deref())).collect();
        assert_eq!(told, [(Level::Denial, Some("b")), (Level::Warning, Some("c"))]);
    }
}
