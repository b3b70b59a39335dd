//! `isthmus plan`: subnets for clusters that are still to be made.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::ValueEnum;
use serde_json::{Value as Json, json};

use super::check::RepositoryArgs;
use super::mesh::MeshArgs;
use super::settings::SettingsArgs;
use super::{print, yaml};
use crate::mesh::{Fact, Mesh, ObjectRef, Reading};
use crate::meshmember::MeshMember;
use crate::plan::{Need, NoRoom, Planned, plan};
use crate::syntax::Path;
use crate::value::{ClusterDomain, Subnet};

/// Where subnets are looked for unless something else is said, in this order.
const RANGES: [&str; 3] = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"];
/// The domain of a mesh of which none is known.
const DOMAIN: &str = "cluster.local";
/// How many clusters are planned at most.
const MOST: usize = 10_000;

/// Plan subnets for new clusters: free in the mesh as it is, and clear of each other.
///
/// Reads the clusters of a repository as `isthmus check` does, by --member or isthmus.yaml; without
/// either, the mesh is read as `isthmus audit` does. The same mesh gives the same plan.
///
/// Exit status: 0 if all clusters have subnets, 1 if there is not enough room, 2 if something cannot
/// be read or used.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The names of the new clusters.
    #[arg(value_name = "NAME", value_parser = name)]
    names: Vec<Arc<str>>,
    /// How many clusters to plan, if they have no names yet.
    #[arg(long, default_value_t = 1, conflicts_with = "names")]
    count: usize,
    /// The size of each pod subnet, as a prefix length.
    #[arg(long, value_name = "/LENGTH", default_value = "/16", value_parser = length)]
    pods: u8,
    /// The size of each service subnet, as a prefix length.
    #[arg(long, value_name = "/LENGTH", default_value = "/16", value_parser = length)]
    services: u8,
    /// The range to take them from; may be repeated, the first one that has room counts. Without
    /// it, the private IPv4 ranges of RFC 1918.
    #[arg(long, value_name = "CIDR", value_parser = range)]
    from: Vec<Subnet>,
    /// The output format.
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
    #[command(flatten)]
    repository: RepositoryArgs,
    #[command(flatten)]
    mesh: MeshArgs,
    #[command(flatten)]
    settings: SettingsArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A line for each cluster.
    Table,
    /// ClusterConfigurations for dhctl.
    Deckhouse,
    /// ClusterConfigurations for kubeadm.
    Kubeadm,
    /// MeshMembers.
    Meshmember,
    /// One JSON object.
    Json,
}

fn name(text: &str) -> Result<Arc<str>, String> {
    match ClusterDomain::parse(text) {
        Ok(name) if name.to_string() == text => Ok(text.into()),
        _ => Err("a name has only lower-case letters, digits, - and .".to_owned()),
    }
}

fn length(text: &str) -> Result<u8, String> {
    let length = text.strip_prefix('/').unwrap_or(text).parse();
    length.map_err(|_| format!("{text:?} is not a prefix length such as /16"))
}

fn range(text: &str) -> Result<Subnet, String> {
    Subnet::parse(text).map_err(|why| format!("{}; {}", why.problem, why.remedy))
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut mesh = mesh(args)?;
    let domain = domain(&mesh);
    let ranges = match args.from.as_slice() {
        [] => RANGES.iter().map(|text| Subnet::parse(text).ok()).collect(),
        given => Some(given.to_vec()),
    };
    let ranges: Vec<Subnet> = ranges.context("no range to take subnets from")?;
    let longest = if ranges.iter().any(|range| range.is_ipv4()) { 32 } else { 128 };
    for (flag, length) in [("--pods", args.pods), ("--services", args.services)] {
        if length > longest {
            bail!("{flag} /{length}: an address has {longest} bits");
        }
    }
    let names = names(args, &mesh)?;
    let need = Need { pods: args.pods, services: args.services };
    let (planned, missing) = plan(&mut mesh, &names, need, &ranges);
    print(&mut anstream::stdout(), &shown(args.output, &planned, &domain))?;
    let Some(missing) = missing else { return Ok(ExitCode::SUCCESS) };
    anstream::eprintln!("isthmus: {}", told(&missing, planned.len(), names.len(), &ranges));
    Ok(ExitCode::from(1))
}

/// The mesh as it is: what every cluster of the repository sees, or what is read of a cluster.
fn mesh(args: &Args) -> anyhow::Result<Mesh> {
    let settings = Arc::new(args.settings.settings());
    if !args.mesh.is_given() {
        let mut seen = Vec::new();
        let repository = args.repository.meshes(&[], &args.settings, |mesh| {
            for member in mesh.members() {
                let object = ObjectRef::new("View", None, seen.len().to_string());
                let mut reading = Reading::new(object);
                for (at, claim) in member.claims().iter().enumerate() {
                    // The first says that there is such a member.
                    if at == 0 || matches!(claim.fact, Fact::Subnet(..) | Fact::ClusterDomain(_)) {
                        reading.claim(member.name(), Path::NAME, claim.fact.clone());
                    }
                }
                seen.push(reading);
            }
        })?;
        if repository.is_some() {
            return Ok(Mesh::of(settings, seen));
        }
    }
    let readings = args.mesh.contents(&settings)?.readings;
    Ok(Mesh::of(settings, readings))
}

/// The names that are given, or as many that no member has.
fn names(args: &Args, mesh: &Mesh) -> anyhow::Result<Vec<Arc<str>>> {
    if args.count > MOST {
        bail!("--count {}: at most {MOST} clusters are planned at once", args.count);
    }
    if let Some(name) = args.names.iter().find(|name| mesh.member(name).is_some()) {
        bail!("{name} is a member of the mesh already; plan only clusters that are new");
    }
    if !args.names.is_empty() {
        return Ok(args.names.clone());
    }
    let names = (1..).map(|number| Arc::from(format!("cluster-{number}")));
    Ok(names.filter(|name: &Arc<str>| mesh.member(name).is_none()).take(args.count).collect())
}

/// The cluster domain of the mesh: that of the local member, else the one that most members state.
fn domain(mesh: &Mesh) -> String {
    let domains = |claims: &[crate::mesh::Claim]| -> Vec<String> {
        claims
            .iter()
            .filter_map(|it| Fact::cluster_domain(&it.fact))
            .map(ToString::to_string)
            .collect()
    };
    let local = mesh.view().local().map(|local| domains(local.claims())).unwrap_or_default();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for domain in mesh.members().iter().flat_map(|member| domains(member.claims())) {
        *counts.entry(domain).or_default() += 1;
    }
    let most = counts.into_iter().max_by(|(a, m), (b, n)| m.cmp(n).then(b.cmp(a)));
    local.into_iter().next().or(most.map(|(domain, _)| domain)).unwrap_or_else(|| DOMAIN.to_owned())
}

fn shown(format: Format, planned: &[Planned], domain: &str) -> String {
    match format {
        Format::Table => table(planned),
        Format::Deckhouse => {
            // It has no field for the name.
            let of = |it: &Planned| {
                format!("---\n# {}\n", it.name) + &yaml::document(&deckhouse(it, domain))
            };
            planned.iter().map(of).collect()
        }
        Format::Kubeadm => yaml::stream(&each(planned, |it| kubeadm(it, domain))),
        Format::Meshmember => yaml::stream(&each(planned, |it| mesh_member(it, domain))),
        Format::Json => {
            let clusters = each(planned, |it| {
                json!({
                    "name": *it.name,
                    "podSubnet": it.pods.to_string(),
                    "serviceSubnet": it.services.to_string(),
                })
            });
            format!("{:#}\n", json!({"clusterDomain": domain, "clusters": clusters}))
        }
    }
}

fn each(planned: &[Planned], of: impl Fn(&Planned) -> Json) -> Vec<Json> {
    planned.iter().map(of).collect()
}

fn table(planned: &[Planned]) -> String {
    let head = ("NAME".to_owned(), "PODS".to_owned(), "SERVICES".to_owned());
    let lines = planned
        .iter()
        .map(|it| (it.name.to_string(), it.pods.to_string(), it.services.to_string()));
    let lines: Vec<_> = std::iter::once(head).chain(lines).collect();
    let width =
        |of: fn(&(String, String, String)) -> usize| lines.iter().map(of).max().unwrap_or(0);
    let (name, pods) = (width(|line| line.0.len()), width(|line| line.1.len()));
    let mut text = String::new();
    for (first, second, third) in &lines {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{first:name$}   {second:pods$}   {third}");
    }
    text
}

/// What dhctl is given, with what it demands besides the network.
fn deckhouse(planned: &Planned, domain: &str) -> Json {
    json!({
        "apiVersion": "deckhouse.io/v1",
        "kind": "ClusterConfiguration",
        "clusterType": "Static",
        "kubernetesVersion": "Automatic",
        "clusterDomain": domain,
        "podSubnetCIDR": planned.pods.to_string(),
        "serviceSubnetCIDR": planned.services.to_string(),
    })
}

fn kubeadm(planned: &Planned, domain: &str) -> Json {
    json!({
        "apiVersion": "kubeadm.k8s.io/v1beta4",
        "kind": "ClusterConfiguration",
        "clusterName": *planned.name,
        "networking": {
            "dnsDomain": domain,
            "podSubnet": planned.pods.to_string(),
            "serviceSubnet": planned.services.to_string(),
        },
    })
}

fn mesh_member(planned: &Planned, domain: &str) -> Json {
    let mut member = MeshMember::new(&*planned.name);
    member.spec.cluster_domain = Some(domain.to_owned());
    member.spec.pod_subnets = vec![planned.pods.to_string()];
    member.spec.service_subnets = vec![planned.services.to_string()];
    // It is plain data, which can always be written.
    serde_json::to_value(member).unwrap_or_default()
}

fn told(missing: &NoRoom, planned: usize, wanted: usize, ranges: &[Subnet]) -> String {
    let ranges: Vec<_> = ranges.iter().map(ToString::to_string).collect();
    let NoRoom { role, length, largest } = missing;
    let largest = match largest {
        Some(free) => format!("; the largest that is free is a /{}: {free}", free.prefix_len()),
        None => String::new(),
    };
    format!(
        "{planned} of {wanted} clusters fit in {}: no /{length} is free for a {role}{largest}",
        ranges.join(", ")
    )
}
