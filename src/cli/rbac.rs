//! `isthmus rbac`: the permissions that isthmus needs, derived from its watches, and the level at which
//! the API server serves its account.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use serde_json::{Value as Json, json};

use super::probe::Probe;
use super::settings::SettingsArgs;
use super::tls::WebhooksArg;
use super::{flow, policy, yaml};
use crate::cluster::watches;
use crate::meshmember::{GROUP, RESOURCE};
use crate::observe::{Ask, Seen};
use crate::report::policy_report::Api;
use crate::scout::{MANAGER, Secrets};
use crate::server::authority::NamespacedName;
use crate::settings::Settings;

const API: &str = "rbac.authorization.k8s.io";

#[derive(Debug, clap::Args)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(super) struct Args {
    /// The name of the roles. For a probe, the roles and the service account end in -probe.
    #[arg(long = "name", default_value = "isthmus", value_name = "NAME")]
    role: String,
    /// The service account that isthmus runs as [default: isthmus]; with --peer, that of the remote
    /// Secret [default: istio-reader-service-account].
    #[arg(long, value_name = "NAME")]
    service_account: Option<String>,
    /// The namespace of that service account [default: isthmus; with --peer, istio-system].
    #[arg(long, short, value_name = "NAME")]
    namespace: Option<String>,
    /// Also grant what `isthmus serve --tls-secret` needs, create that Secret, and restrict the
    /// service account to the fields of the webhook configurations that it may change.
    #[arg(long, env = "ISTHMUS_TLS_SECRET", value_name = "NAMESPACE/NAME")]
    tls_secret: Option<NamespacedName>,
    /// Also grant what `isthmus serve --ledger` needs, which creates that Lease.
    #[arg(
        long,
        env = "ISTHMUS_LEDGER",
        conflicts_with_all = ["probe", "scout", "peer"],
        value_name = "NAMESPACE/NAME"
    )]
    ledger: Option<NamespacedName>,
    #[command(flatten)]
    webhooks: WebhooksArg,
    /// Grant what `isthmus probe` needs instead, to a separate service account.
    #[arg(long)]
    probe: bool,
    /// Grant what `isthmus scout` needs instead, to a separate service account whose name, like
    /// that of the roles, ends in -scout.
    #[arg(long, conflicts_with_all = ["probe", "tls_secret"])]
    scout: bool,
    /// For a scout: also grant reading all Secrets in Istio's namespaces.
    #[arg(long, requires = "scout")]
    remote_secrets: bool,
    /// For a scout: also grant reading the Secrets of these names in Istio's namespaces.
    #[arg(
        long,
        value_delimiter = ',',
        requires = "scout",
        conflicts_with = "remote_secrets",
        value_name = "NAMES"
    )]
    secret_names: Vec<String>,
    /// For a scout: also grant keeping policy reports in this API.
    #[arg(long, requires = "scout", value_enum, value_name = "GROUP")]
    policy_reports: Option<Api>,
    /// Print a role for a peer instead, to be applied there: with it, the account of the peer's
    /// remote Secret may read ServiceCIDRs and two ConfigMaps, which tell more of its facts than
    /// Istio's own role does. The role's name ends in -peer.
    #[arg(long, conflicts_with_all = ["probe", "scout", "tls_secret"])]
    peer: bool,
    #[command(flatten)]
    settings: SettingsArgs,
}

pub(super) fn run(args: &Args) -> ExitCode {
    anstream::print!("{}", yaml::stream(&manifests(args)));
    ExitCode::SUCCESS
}

/// Rules by the namespace that they grant in; `None` for the whole cluster.
pub(super) type Grants = BTreeMap<Option<String>, Vec<Json>>;

fn manifests(args: &Args) -> Vec<Json> {
    let settings = args.settings.settings();
    let (name, grants) = if args.probe {
        (format!("{}-probe", args.role), probe(&settings))
    } else if args.scout {
        let secrets = match args.secret_names.as_slice() {
            _ if args.remote_secrets => Secrets::All,
            [] => Secrets::None,
            names => Secrets::Named(names.to_vec()),
        };
        let mut grants = scout(&settings, &secrets);
        let reports = args.policy_reports.iter().flat_map(|api| reports(*api));
        grants.entry(None).or_default().extend(reports);
        (format!("{}-scout", args.role), grants)
    } else if args.peer {
        (format!("{}-peer", args.role), peer(&settings))
    } else {
        let mut grants = watched(&settings);
        if let Some(secret) = &args.tls_secret {
            certificates(&mut grants, secret, &args.webhooks.name);
        }
        if let Some(lease) = &args.ledger {
            let group = "coordination.k8s.io";
            // Creating cannot be granted by name.
            let create = rule(group, &["leases"], &["create"], &[]);
            let keep = rule(group, &["leases"], &["get", "patch"], &[&lease.name]);
            grants.entry(Some(lease.namespace.clone())).or_default().extend([keep, create]);
        }
        (args.role.clone(), grants)
    };
    let (account, namespace) = if args.peer { READER } else { ("isthmus", "isthmus") };
    let account = args.service_account.as_deref().unwrap_or(account);
    let account = if args.probe || args.scout { &name } else { account };
    let namespace = args.namespace.as_deref().unwrap_or(namespace);
    let subject = json!({"kind": "ServiceAccount", "name": account, "namespace": namespace});
    let role = |(place, rules): (&Option<String>, &Vec<Json>)| {
        role(&name, place.as_deref(), rules, &subject)
    };
    let mut manifests: Vec<_> = grants.iter().flat_map(role).collect();
    if !args.probe && !args.scout && !args.peer {
        manifests.extend(flow::manifests(&name, &subject));
    }
    if let Some(secret) = args.tls_secret.as_ref().filter(|_| !args.probe) {
        let account = format!("system:serviceaccount:{namespace}:{account}");
        manifests.push(self::secret(secret));
        manifests.extend(policy::manifests(&name, &account, &args.webhooks.name));
    }
    manifests
}

/// What the watches read.
pub(super) fn watched(settings: &Settings) -> Grants {
    // The names of a resource, or `None` for any name, by namespace.
    let mut resources: BTreeMap<_, BTreeMap<_, Option<BTreeSet<_>>>> = BTreeMap::new();
    for watch in watches(settings) {
        let resource = (watch.document.group, watch.document.resource);
        let names = resources.entry(watch.namespace).or_default();
        let names = names.entry(resource).or_insert_with(|| Some(BTreeSet::new()));
        match (watch.document.select.only_name(), &mut *names) {
            (Some(name), Some(names)) => drop(names.insert(name)),
            _ => *names = None,
        }
    }
    let rule = |((group, resource), names): (_, Option<BTreeSet<_>>)| {
        // A list or a watch by `metadata.name` asks for that name.
        let names: Vec<_> = names.into_iter().flatten().collect();
        rule(group, &[resource], &["get", "list", "watch"], &names)
    };
    let rules = |(place, resources): (_, BTreeMap<_, _>)| {
        (place, resources.into_iter().map(rule).collect())
    };
    let namespaces: Vec<_> = resources.keys().flatten().cloned().collect();
    let namespaces: Vec<_> = namespaces.iter().map(String::as_str).collect();
    let mut grants: Grants = resources.into_iter().map(rules).collect();
    // To distinguish a missing namespace from a missing permission.
    let namespaces = self::rule("", &["namespaces"], &["get"], &namespaces);
    grants.entry(None).or_default().push(namespaces);
    grants
}

/// What being the certificate's authority takes.
fn certificates(grants: &mut Grants, secret: &NamespacedName, webhooks: &str) {
    let secrets = rule("", &["secrets"], &["get", "update"], &[&secret.name]);
    grants.entry(Some(secret.namespace.clone())).or_default().push(secrets);
    let configurations = ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"];
    let group = "admissionregistration.k8s.io";
    let rule = rule(group, &configurations, &["get", "patch"], &[webhooks]);
    grants.entry(None).or_default().push(rule);
}

/// An empty Secret, so that isthmus needs no right to create any. Applying it again leaves alone
/// what isthmus keeps in it.
fn secret(name: &NamespacedName) -> Json {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"namespace": name.namespace, "name": name.name},
        "type": "Opaque",
    })
}

/// What `isthmus probe` asks to create, for which a dry run takes the same right as the real thing.
fn probe(settings: &Settings) -> Grants {
    let mut grants = Grants::new();
    for probe in Probe::all(settings) {
        let rule = rule(probe.group(), &[probe.resource()], &["create"], &[]);
        grants.entry(probe.namespace().map(str::to_owned)).or_default().push(rule);
    }
    grants
}

/// What a scout reads and writes: the mesh as the webhook reads it, the cluster that it belongs to,
/// MeshMembers and Events, and remote Secrets as far as it may.
pub(super) fn scout(settings: &Settings, secrets: &Secrets) -> Grants {
    let mut grants = watched(settings);
    let asks = Seen::all(settings);
    let mut rights: Vec<_> = asks.iter().map(Ask::right).collect();
    rights.sort_by_key(|right| (right.namespace, right.group, right.resource, right.name));
    rights.dedup();
    for right in rights {
        let names: Vec<_> = right.name.into_iter().collect();
        let rule = rule(right.group, &[right.resource], &[right.verb], &names);
        grants.entry(right.namespace.map(str::to_owned)).or_default().push(rule);
    }
    let status = format!("{RESOURCE}/status");
    let everywhere = grants.entry(None).or_default();
    everywhere.push(rule(GROUP, &[RESOURCE], &["create", "patch", "delete"], &[]));
    everywhere.push(rule(GROUP, &[&status], &["patch"], &[]));
    everywhere.push(rule("", &["events"], &["create"], &[]));
    for namespace in settings.istio_namespaces.iter().collect::<BTreeSet<_>>() {
        let rule = match secrets {
            Secrets::None => continue,
            Secrets::All => rule("", &["secrets"], &["list", "watch"], &[]),
            Secrets::Named(names) => {
                // A list or a watch by `metadata.name` asks for that name.
                let names: Vec<_> = names.iter().map(String::as_str).collect();
                rule("", &["secrets"], &["list", "watch"], &names)
            }
        };
        grants.entry(Some(namespace.clone())).or_default().push(rule);
    }
    grants
}

/// What a scout that keeps policy reports writes of them: its own, by their name.
pub(super) fn reports(api: Api) -> [Json; 2] {
    let plurals = [false, true].map(|is_namespaced| api.plural(is_namespaced));
    let plurals = plurals.each_ref().map(String::as_str);
    [
        // Creating cannot be granted by name.
        rule(api.group(), &plurals, &["create"], &[]),
        rule(api.group(), &plurals, &["list", "patch", "delete"], &[MANAGER]),
    ]
}

/// The service account that Istio's remote Secrets are made of, and its namespace.
const READER: (&str, &str) = ("istio-reader-service-account", "istio-system");

/// What tells facts of a peer beyond the role that Istio gives the account of its remote Secret.
fn peer(settings: &Settings) -> Grants {
    let asks = Seen::all(settings);
    let mut grants = Grants::new();
    for right in asks.iter().map(Ask::right).filter(|right| !right.is_of_istio_reader) {
        let names: Vec<_> = right.name.into_iter().collect();
        let rule = rule(right.group, &[right.resource], &[right.verb], &names);
        grants.entry(right.namespace.map(str::to_owned)).or_default().push(rule);
    }
    grants
}

fn rule(group: &str, resources: &[&str], verbs: &[&str], names: &[&str]) -> Json {
    let mut rule = json!({"apiGroups": [group], "resources": resources, "verbs": verbs});
    if !names.is_empty() {
        rule["resourceNames"] = json!(names);
    }
    rule
}

fn role(name: &str, namespace: Option<&str>, rules: &[Json], subject: &Json) -> [Json; 2] {
    let (kind, metadata) = match namespace {
        Some(namespace) => ("Role", json!({"name": name, "namespace": namespace})),
        None => ("ClusterRole", json!({"name": name})),
    };
    let api_version = format!("{API}/v1");
    [
        json!({"apiVersion": api_version, "kind": kind, "metadata": metadata, "rules": rules}),
        json!({
            "apiVersion": api_version,
            "kind": format!("{kind}Binding"),
            "metadata": metadata,
            "roleRef": {"apiGroup": API, "kind": kind, "name": name},
            "subjects": [subject],
        }),
    ]
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: Args,
    }

    fn rules(arguments: &[&str]) -> Vec<(Json, Json)> {
        let arguments = std::iter::once(&"rbac").chain(arguments);
        let manifests = manifests(&Command::parse_from(arguments).args);
        let rules = manifests.iter().map(|manifest| (&manifest["metadata"], &manifest["rules"]));
        rules
            .flat_map(|(metadata, rules)| {
                let rules = rules.as_array().into_iter().flatten();
                rules.map(|rule| (metadata["namespace"].clone(), rule.clone()))
            })
            .collect()
    }

    #[test]
    fn secrets_are_read_by_name_only() {
        for (_, rule) in rules(&[]) {
            let secrets = rule["resources"] == json!(["secrets"]);
            let named = rule["resourceNames"] == json!(["d8-cluster-configuration"]);
            assert!(!secrets || named, "{rule}");
            let is_namespace = rule["resources"] == json!(["namespaces"]);
            let verbs = if is_namespace { json!(["get"]) } else { json!(["get", "list", "watch"]) };
            assert_eq!(rule["verbs"], verbs);
        }
    }

    #[test]
    fn a_namespace_of_members_that_holds_named_objects_too_grants_all_its_config_maps() {
        let rules = rules(&["--member-namespaces", "kube-system,kube-system"]);
        let maps = rules.iter().find(|(_, rule)| rule["resources"] == json!(["configmaps"]));
        assert!(maps.unwrap().1.get("resourceNames").is_none());
    }

    #[test]
    fn the_certificate_takes_one_secret_and_the_webhooks_of_one_name() {
        let arguments = ["--tls-secret", "guard/tls", "--tls-webhooks", "mesh"];
        let without = rules(&[]);
        let mut added = rules(&arguments);
        added.retain(|rule| !without.contains(rule));
        let configurations = ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"];
        let expected = [
            (
                json!(null),
                rule("admissionregistration.k8s.io", &configurations, &["get", "patch"], &["mesh"]),
            ),
            (json!("guard"), rule("", &["secrets"], &["get", "update"], &["tls"])),
        ];
        assert_eq!(added, expected);
    }

    #[test]
    fn a_scout_reads_secrets_only_as_it_is_told_and_writes_mesh_members_alone() {
        let istio = ["--scout", "--istio-namespaces=mesh"];
        let own = rule("", &["secrets"], &["get", "list", "watch"], &["d8-cluster-configuration"]);
        for (more, expected) in [
            (&[][..], vec![]),
            (&["--remote-secrets"], vec![rule("", &["secrets"], &["list", "watch"], &[])]),
            (
                &["--secret-names=b,c"],
                vec![rule("", &["secrets"], &["list", "watch"], &["b", "c"])],
            ),
        ] {
            let rules = rules(&[&istio[..], more].concat());
            let secrets = rules.iter().filter(|(_, rule)| rule["resources"] == json!(["secrets"]));
            let secrets: Vec<_> = secrets.filter(|(_, rule)| *rule != own).cloned().collect();
            let expected: Vec<_> = expected.into_iter().map(|rule| (json!("mesh"), rule)).collect();
            assert_eq!(secrets, expected);
            let reads = ["get", "list", "watch"];
            let writes = rules.iter().filter(|(_, rule)| {
                rule["verbs"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .any(|verb| !reads.contains(&verb.as_str().unwrap()))
            });
            let written: Vec<_> = writes.map(|(_, rule)| &rule["resources"][0]).collect();
            assert_eq!(written, ["meshmembers", "meshmembers/status", "events"]);
        }
    }

    #[test]
    fn a_peer_grants_a_few_names_and_no_secret() {
        let config_map = |namespace: &str, name: &str| {
            (json!(namespace), rule("", &["configmaps"], &["get"], &[name]))
        };
        let expected = [
            (json!(null), rule("networking.k8s.io", &["servicecidrs"], &["list"], &[])),
            config_map("d8-istio", "istio"),
            config_map("istio-system", "istio"),
            config_map("kube-system", "kubeadm-config"),
        ];
        assert_eq!(rules(&["--peer"]), expected);
        let manifests = manifests(&Command::parse_from(["rbac", "--peer"]).args);
        let subjects = manifests.iter().filter_map(|manifest| manifest.get("subjects"));
        let reader = json!([{"kind": "ServiceAccount", "name": READER.0, "namespace": READER.1}]);
        assert!(subjects.clone().count() == 4 && subjects.clone().all(|of| *of == reader));
    }

    #[test]
    fn a_probe_creates_and_does_nothing_else() {
        let expected = [
            (json!(null), rule("deckhouse.io", &["istiomulticlusters"], &["create"], &[])),
            (json!("far"), rule("", &["configmaps"], &["create"], &[])),
        ];
        assert_eq!(rules(&["--probe", "--member-namespaces", "far,near"]), expected);
    }
}
