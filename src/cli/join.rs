//! `isthmus join`: whether clusters can form one mesh, before anything is written to any of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::bail;
use serde_json::json;

use super::audit::{Format, report_of};
use super::facts::{Gap, gaps, read_all};
use super::settings::SettingsArgs;
use super::{exit_code, print};
use crate::document;
use crate::mesh::{Mesh, ObjectRef, Place, Reading};
use crate::meshmember::{Fact, KIND, MeshMember, Observed, object_name};
use crate::report::diagnostic::{CheckReport, Diagnostic, Level};
use crate::report::printable;
use crate::review::{Reason, review_all};
use crate::rule::Finding;
use crate::settings::Settings;
use crate::syntax::Object;

/// Judge whether clusters can form one mesh, before they are joined.
///
/// Reads each context of the kubeconfig, as kubectl does, and judges all of them as one mesh, with
/// each as the local member. What is known of a cluster in part only is a warning where it clashes.
///
/// Exit status: 0 if nothing is denied, 1 if something is denied (with --strict, also if there are
/// warnings), 2 if a cluster cannot be read.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A context of the kubeconfig; at least two are needed.
    #[arg(long = "context", required = true, value_name = "NAME")]
    contexts: Vec<String>,
    /// The kubeconfig.
    #[arg(long, env = "ISTHMUS_KUBECONFIG", value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The output format.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Exit with 1 also if there are only warnings.
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    settings: SettingsArgs,
}

/// A cluster that is to join, by its name among the others.
struct Cluster {
    name: String,
    context: String,
    observed: Observed,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let distinct: BTreeSet<_> = args.contexts.iter().collect();
    if distinct.len() < args.contexts.len() {
        bail!("--context names one context twice");
    }
    if args.contexts.len() < 2 {
        bail!("--context is needed twice at least, once for each cluster");
    }
    let settings = args.settings.settings();
    let contexts: Vec<_> = args.contexts.iter().map(|context| Some(context.as_str())).collect();
    let read = read_all(args.kubeconfig.as_deref(), &contexts, &settings)?;
    let clusters = args.contexts.iter().zip(read).map(|(context, observed)| {
        let (name, context) = (object_name(context), context.clone());
        Cluster { name, context, observed }
    });
    let clusters: Vec<_> = clusters.collect();
    let report = judge(&clusters, &settings)?;
    let mut text = args.format.of(&report);
    if args.format == Format::Table {
        let is_denied = report.count(Level::Denial) > 0;
        let verdict = if is_denied { "cannot be joined as they are" } else { "can be joined" };
        text = format!("{}\n{text}These clusters {verdict}.\n", shown(&clusters));
    }
    print(&mut anstream::stdout(), &text)?;
    Ok(exit_code(&report, args.strict))
}

/// What the clusters are known by, with the sources.
fn shown(clusters: &[Cluster]) -> String {
    let mut rows = vec![["MEMBER", "FACT", "VALUE", "FROM"].map(str::to_owned)];
    for Cluster { name, observed, .. } in clusters {
        let mut name = name.clone();
        let one = |fact: &Fact<String>| (fact.exact, fact.value.clone(), fact.from.clone());
        let many =
            |fact: &Fact<Vec<String>>| (fact.exact, fact.value.join(", "), fact.from.clone());
        let facts = [
            ("cluster domain", observed.cluster_domain.as_ref().map(one)),
            ("pod subnets", observed.pod_subnets.as_ref().map(many)),
            ("service subnets", observed.service_subnets.as_ref().map(many)),
            ("network", observed.network.as_ref().map(one)),
        ];
        for (what, fact) in facts {
            let (value, from) = match fact {
                None => ("not known".to_owned(), String::new()),
                Some((_, value, from)) if value.is_empty() => ("none".to_owned(), from),
                Some((true, value, from)) => (value, from),
                Some((false, value, from)) => (format!("at least {value}"), from),
            };
            rows.push([std::mem::take(&mut name), what.to_owned(), value, from]);
        }
    }
    let width =
        |at: usize| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or_default();
    let [member, fact, value] = [0, 1, 2].map(width);
    let line = |[a, b, c, d]: &[String; 4]| {
        printable(format!("{a:member$}  {b:fact$}  {c:value$}  {d}").trim_end()) + "\n"
    };
    rows.iter().map(line).collect()
}

/// Judges the clusters as one mesh, with each as the local member; a clash that shows from both
/// sides is told once.
fn judge(clusters: &[Cluster], settings: &Settings) -> anyhow::Result<CheckReport> {
    let mut told: Vec<(Finding, Option<Reason>)> = Vec::new();
    for local in by_common_domain(clusters) {
        let local_member = local.name.clone();
        let settings = Arc::new(Settings { local_member, ..settings.clone() });
        let readings = clusters.iter().map(|cluster| reading(cluster, &settings));
        let readings = readings.collect::<anyhow::Result<Vec<_>>>()?;
        let (own, written): (Vec<_>, Vec<_>) =
            readings.iter().cloned().partition(|reading| *reading.object.name == *local.name);
        let before = Mesh::of(Arc::clone(&settings), own);
        let after = Mesh::of(settings, readings);
        let verdict = review_all(&before, &after, &written, Some(SystemTime::now().into()));
        let denials = verdict.denials.into_iter().map(|finding| (finding, None));
        let warnings = verdict.warnings.into_iter().map(|it| (it.finding, Some(it.because)));
        for (finding, because) in denials.chain(warnings) {
            let is_in_part = rests_on_part(&finding, clusters);
            let because = because.or(is_in_part.then_some(Reason::RuleWarns));
            if blames_the_majority(&finding, &told) {
                continue;
            }
            match told.iter_mut().find(|(other, _)| other.tells_the_same(&finding)) {
                // It is denied at one of the two clusters.
                Some((_, known)) => *known = known.filter(|_| because.is_some()),
                None => told.push((finding, because)),
            }
        }
    }
    let mut diagnostics: Vec<_> =
        told.iter().map(|(finding, because)| Diagnostic::of(finding, *because)).collect();
    diagnostics.extend(same_identity(clusters));
    for Cluster { name, observed, .. } in clusters {
        // What is not known at all, the rule tells already.
        for Gap { what, remedy, .. } in gaps(observed).iter().filter(|it| it.is_known_in_part) {
            diagnostics.push(diagnostic(Level::Warning, "UnknownFacts", name, what, remedy));
        }
    }
    Ok(report_of(diagnostics, clusters.len()))
}

/// The clusters, those first whose domain most of them have.
fn by_common_domain(clusters: &[Cluster]) -> Vec<&Cluster> {
    let domain = |cluster: &Cluster| {
        cluster.observed.cluster_domain.as_ref().map(|domain| domain.value.clone())
    };
    let mut counts = BTreeMap::new();
    for cluster in clusters {
        *counts.entry(domain(cluster)).or_insert(0_usize) += 1;
    }
    let mut clusters: Vec<_> = clusters.iter().collect();
    clusters.sort_by_key(|cluster| std::cmp::Reverse(counts[&domain(cluster)]));
    clusters
}

/// Whether a finding tells of a domain from the side of those that have the usual one: the other
/// side was told already.
fn blames_the_majority(finding: &Finding, told: &[(Finding, Option<Reason>)]) -> bool {
    let is_at_fault = |(known, _): &(Finding, _)| {
        known.rule == finding.rule
            && (known.member == finding.member || Some(&known.member) == finding.other.as_ref())
    };
    finding.rule == "ClusterDomainMismatch" && told.iter().any(is_at_fault)
}

/// What would be stated of a cluster, with what is known in part: an overlap in that is real.
fn reading(cluster: &Cluster, settings: &Settings) -> anyhow::Result<Reading> {
    let mut member = MeshMember::new(cluster.name.clone());
    let observed = &cluster.observed;
    let known = |fact: &Option<Fact<Vec<String>>>| {
        fact.as_ref().map(|fact| fact.value.clone()).unwrap_or_default()
    };
    member.spec = observed.stated();
    member.spec.pod_subnets = known(&observed.pod_subnets);
    member.spec.service_subnets = known(&observed.service_subnets);
    // Two that have one ID are not one member.
    member.spec.cluster_id = None;
    let text = json!(member).to_string();
    Ok(document::read(&Object::parse(&text)?, settings))
}

/// Whether a finding rests on subnets that are known in part: a single Node or Pod may claim any.
fn rests_on_part(finding: &Finding, clusters: &[Cluster]) -> bool {
    let is_in_part = |place: &Place| {
        let cluster = clusters.iter().find(|cluster| *cluster.name == *place.object.name);
        let observed = cluster.map(|cluster| &cluster.observed);
        let path = place.path().to_string();
        let fact = observed.and_then(|observed| match path.as_str() {
            path if path.starts_with("spec.podSubnets") => observed.pod_subnets.as_ref(),
            path if path.starts_with("spec.serviceSubnets") => observed.service_subnets.as_ref(),
            _ => None,
        });
        fact.is_some_and(|fact| !fact.exact)
    };
    is_in_part(&finding.place) || finding.against.as_ref().is_some_and(is_in_part)
}

/// Clusters that are one, or that Istio would take for one.
fn same_identity(clusters: &[Cluster]) -> Vec<Diagnostic> {
    let (mut uids, mut ids) = (BTreeMap::new(), BTreeMap::new());
    let mut told = Vec::new();
    for cluster in clusters {
        let Cluster { name, context, observed } = cluster;
        let other = uids.insert(&observed.uid.value, cluster);
        if let Some(other) = other {
            let message = format!(
                "contexts {} and {context} lead to one cluster: namespace kube-system has the UID {}",
                other.context, observed.uid.value
            );
            let remedy = "name the context of another cluster";
            told.push(diagnostic(Level::Denial, "DuplicateMember", name, &message, remedy));
            continue;
        }
        let Some(id) = observed.cluster_id.as_ref().filter(|id| id.exact) else { continue };
        if let Some(other) = ids.insert(&id.value, cluster) {
            let message = format!(
                "cluster ID {:?} ({}) is that of member {:?} as well, and Istio takes both for one cluster",
                id.value, id.from, other.name
            );
            let remedy = "set another global.multiCluster.clusterName where Istio is installed";
            told.push(diagnostic(Level::Denial, "DuplicateMember", name, &message, remedy));
        }
    }
    told
}

fn diagnostic(
    level: Level,
    code: &'static str,
    member: &str,
    message: &str,
    remedy: &str,
) -> Diagnostic {
    Diagnostic {
        member: Some(member.into()),
        object: Some(ObjectRef::new(KIND, None, member)),
        message: message.to_owned(),
        remedy: remedy.to_owned(),
        ..Diagnostic::new(level, code)
    }
}
