//! `isthmus facts`: what a cluster shows of itself, as the file in which it would be stated.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use clap::ValueEnum;
use futures_util::future::try_join_all;
use serde_json::json;

use super::kube::KubeArgs;
use super::settings::SettingsArgs;
use super::{print, yaml};
use crate::cluster::{Bounds, as_kubectl, observe_own};
use crate::meshmember::{DEFAULT_CLUSTER_ID, MeshMember, Observed, Status, object_name};
use crate::settings::Settings;

/// Print what a cluster shows of itself, as a MeshMember.
///
/// Reads the cluster that the kubeconfig selects, as kubectl does. What is known as a whole is in
/// the spec, ready for an inventory or for kubectl apply; the status has every fact with its source.
/// What is known in part, or not at all, is listed on standard error. No Secret is read.
///
/// Exit status: 0, or 2 if the cluster cannot be read.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    kube: KubeArgs,
    /// The name of the member; by default the cluster ID that Istio has, else the context.
    #[arg(long, value_name = "NAME")]
    member: Option<String>,
    /// The output format.
    #[arg(long, short, value_enum, default_value_t = Output::Yaml)]
    output: Output,
    #[command(flatten)]
    settings: SettingsArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// YAML.
    Yaml,
    /// JSON.
    Json,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let settings = args.settings.settings();
    let context = args.kube.context.as_deref();
    let read = read_all(args.kube.kubeconfig.as_deref(), &[context], &settings)?;
    let Some(observed) = read.into_iter().next() else { return Ok(ExitCode::from(super::FAILED)) };
    for Gap { what, remedy, .. } in gaps(&observed) {
        anstream::eprintln!("isthmus: {what}; {remedy}");
    }
    let name = args.member.clone().unwrap_or_else(|| {
        let id = observed.cluster_id.as_ref().map(|id| id.value.as_str());
        let id = id.filter(|id| *id != DEFAULT_CLUSTER_ID);
        object_name(id.or(context).unwrap_or(&settings.local_member))
    });
    let mut member = MeshMember::new(name);
    member.spec = observed.stated();
    member.status = Some(Status { observed: Some(observed), ..Status::default() });
    let value = json!(member);
    let text = match args.output {
        Output::Yaml => yaml::stream(&[value]),
        Output::Json => format!("{value:#}\n"),
    };
    print(&mut std::io::stdout(), &text)?;
    Ok(ExitCode::SUCCESS)
}

/// Reads the clusters of these contexts, all at once.
pub(super) fn read_all(
    kubeconfig: Option<&Path>,
    contexts: &[Option<&str>],
    settings: &Settings,
) -> anyhow::Result<Vec<Observed>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let reads = contexts.iter().map(|context| async move {
        let config = as_kubectl(kubeconfig, *context).await?;
        let place = match context {
            Some(context) => format!("--context {context}"),
            None => format!("the cluster at {}", config.cluster_url),
        };
        let observed = observe_own(config, settings, &Bounds::default()).await;
        observed.map_err(|error| anyhow!("{place}: {error}"))
    });
    runtime.context("cannot start")?.block_on(try_join_all(reads))
}

/// A fact that is not known of a cluster as a whole.
pub(super) struct Gap {
    /// What is known of it.
    pub(super) what: String,
    /// What to do about it.
    pub(super) remedy: String,
    /// Whether anything is known of it.
    pub(super) is_known_in_part: bool,
}

/// What is not known of a cluster as a whole.
pub(super) fn gaps(observed: &Observed) -> Vec<Gap> {
    let part = |from: &str, value: &str| format!("known in part only, from {from}: {value}");
    let domain = match &observed.cluster_domain {
        Some(fact) if fact.exact => None,
        fact => Some(fact.as_ref().map(|fact| part(&fact.from, &fact.value))),
    };
    let subnets =
        [("podSubnets", &observed.pod_subnets), ("serviceSubnets", &observed.service_subnets)];
    let subnets = subnets.into_iter().filter_map(|(field, fact)| match fact {
        Some(fact) if fact.exact => None,
        fact => Some((field, fact.as_ref().map(|fact| part(&fact.from, &fact.value.join(", "))))),
    });
    let domain = domain.map(|known| ("clusterDomain", known));
    let gaps = domain.into_iter().chain(subnets);
    gaps.map(|(field, known)| Gap {
        is_known_in_part: known.is_some(),
        what: format!("{field}: {}", known.as_deref().unwrap_or("not known")),
        remedy: format!("state it in spec.{field}"),
    })
    .collect()
}
