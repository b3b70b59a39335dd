//! What the Helm chart is generated from: the webhooks and the roles, with placeholders for
//! namespaces and failure policies.

use std::collections::BTreeMap;

use serde_json::json;

use super::{policy, rbac, webhooks, yaml};
use crate::report::policy_report::Api;
use crate::scout::Secrets;
use crate::settings::{SETTINGS, Setting, Settings};

/// The file `manifests/isthmus/files/documents.yaml`.
///
/// In it, `istioNamespaces` and `memberNamespaces` are placeholders for the namespaces of these
/// values; no namespace has such a name, with capitals. Likewise the name of a webhook group stands
/// for its failure policy, and `fullName` and others for names of the release.
pub fn documents() -> String {
    let settings = Settings {
        istio_namespaces: vec!["istioNamespaces".to_owned()],
        member_namespaces: vec!["memberNamespaces".to_owned()],
        ..Settings::default()
    };
    let role = |(namespace, rules): (Option<String>, Vec<serde_json::Value>)| json!({"namespace": namespace, "rules": rules});
    let roles = rbac::watched(&settings).into_iter().map(role);
    // The values say which remote Secrets it may read.
    let scout = rbac::scout(&settings, &Secrets::None).into_iter().map(role);
    let documents = json!({
        "validating": webhooks::validating(&settings, |group| group),
        "mutating": webhooks::mutating(&settings, |group| group),
        "settings": SETTINGS.iter().map(flag).collect::<Vec<_>>(),
        "roles": roles.collect::<Vec<_>>(),
        "scoutRoles": scout.collect::<Vec<_>>(),
        "scoutReports": Api::ALL.map(|api| (api.group(), rbac::reports(api))).into_iter().collect::<BTreeMap<_, _>>(),
        "policy": policy::spec("system:serviceaccount:releaseNamespace:serviceAccount", "fullName"),
    });
    let text = yaml::stream(&[documents]);
    let text = text.trim_start_matches("---\n");
    format!(
        "# Written by `make golden`: what isthmus reads and asks for. A test holds it equal.\n{text}"
    )
}

/// The flag that a value of the chart is handed on by.
fn flag(setting: &Setting) -> serde_json::Value {
    json!({"value": setting.name(), "flag": setting.flag()})
}
