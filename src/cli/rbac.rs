//! `isthmus rbac`: what isthmus must be allowed to read, folded from its watches.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use serde_json::{Value as Json, json};

use super::settings::SettingsArgs;
use super::yaml;
use crate::settings::Settings;
use crate::watch::watches;

const API: &str = "rbac.authorization.k8s.io";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The service account that isthmus runs as.
    #[arg(long, default_value = "isthmus", value_name = "NAME")]
    service_account: String,
    /// The namespace of that service account.
    #[arg(long, short, default_value = "isthmus", value_name = "NAME")]
    namespace: String,
    #[command(flatten)]
    settings: SettingsArgs,
}

pub(super) fn run(args: &Args) -> ExitCode {
    let manifests = manifests(&args.settings.settings(), &args.namespace, &args.service_account);
    anstream::print!("{}", yaml::stream(&manifests));
    ExitCode::SUCCESS
}

/// Roles with the names they grant, by where they grant them; `None` for every name.
type Grants = BTreeMap<Option<String>, BTreeMap<(&'static str, &'static str), Names>>;
type Names = Option<BTreeSet<&'static str>>;

fn manifests(settings: &Settings, namespace: &str, account: &str) -> Vec<Json> {
    let mut grants = Grants::new();
    for watch in watches(settings) {
        let resource = (watch.document.group, watch.document.resource);
        let names = grants.entry(watch.namespace).or_default();
        let names = names.entry(resource).or_insert_with(|| Some(BTreeSet::new()));
        match (watch.name, &mut *names) {
            (Some(name), Some(names)) => drop(names.insert(name)),
            _ => *names = None,
        }
    }
    let namespaces: BTreeSet<_> = grants.keys().flatten().collect();
    let namespaces = json!({
        "apiGroups": [""],
        "resources": ["namespaces"],
        "resourceNames": namespaces,
        // To tell a namespace that is not there from one that nobody may read.
        "verbs": ["get"],
    });
    let subject = json!({"kind": "ServiceAccount", "name": account, "namespace": namespace});
    let roles = grants.iter().flat_map(|(place, rules)| {
        let namespaces = place.is_none().then(|| namespaces.clone());
        let rules: Vec<_> = rules.iter().map(rule).chain(namespaces).collect();
        role(place.as_deref(), &rules, &subject)
    });
    roles.collect()
}

fn rule(((group, resource), names): (&(&str, &str), &Names)) -> Json {
    let verbs = ["get", "list", "watch"];
    let mut rule = json!({"apiGroups": [group], "resources": [resource], "verbs": verbs});
    // A list or a watch by `metadata.name` asks for that name.
    if let Some(names) = names {
        rule["resourceNames"] = json!(names);
    }
    rule
}

fn role(namespace: Option<&str>, rules: &[Json], subject: &Json) -> [Json; 2] {
    let (kind, metadata) = match namespace {
        Some(namespace) => ("Role", json!({"name": "isthmus", "namespace": namespace})),
        None => ("ClusterRole", json!({"name": "isthmus"})),
    };
    let api_version = format!("{API}/v1");
    [
        json!({"apiVersion": api_version, "kind": kind, "metadata": metadata, "rules": rules}),
        json!({
            "apiVersion": api_version,
            "kind": format!("{kind}Binding"),
            "metadata": metadata,
            "roleRef": {"apiGroup": API, "kind": kind, "name": "isthmus"},
            "subjects": [subject],
        }),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_read_by_name_only() {
        for manifest in manifests(&Settings::default(), "isthmus", "isthmus") {
            for rule in manifest["rules"].as_array().into_iter().flatten() {
                let secrets = rule["resources"] == json!(["secrets"]);
                let named = rule["resourceNames"] == json!(["d8-cluster-configuration"]);
                assert!(!secrets || named, "{rule}");
                let is_named = rule["resources"] == json!(["namespaces"]);
                let verbs = if is_named { json!(["get"]) } else { json!(["get", "list", "watch"]) };
                assert_eq!(rule["verbs"], verbs);
            }
        }
    }

    #[test]
    fn a_namespace_of_members_that_holds_named_objects_too_grants_all_its_config_maps() {
        let member_namespaces = vec!["kube-system".to_owned(), "kube-system".to_owned()];
        let settings = Settings { member_namespaces, ..Settings::default() };
        let manifests = manifests(&settings, "isthmus", "isthmus");
        let role = manifests.iter().find(|manifest| manifest["kind"] == "Role").unwrap();
        let rules = role["rules"].as_array().unwrap();
        let maps = rules.iter().find(|rule| rule["resources"] == json!(["configmaps"])).unwrap();
        assert!(maps.get("resourceNames").is_none());
    }
}
