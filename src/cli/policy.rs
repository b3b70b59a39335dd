//! What holds isthmus's own account to the `caBundle` and the path of its webhooks, whatever its
//! role lets it patch: a ValidatingAdmissionPolicy. A role cannot tell one field from another.

use serde_json::{Value as Json, json};

/// The fields of a webhook that must not change, besides its name and `clientConfig`.
const FIELDS: [&str; 10] = [
    "admissionReviewVersions",
    "failurePolicy",
    "matchConditions",
    "matchPolicy",
    "namespaceSelector",
    "objectSelector",
    "reinvocationPolicy",
    "rules",
    "sideEffects",
    "timeoutSeconds",
];
/// The metadata that must stay as they are.
const METADATA: [&str; 4] = ["annotations", "finalizers", "labels", "ownerReferences"];
/// The message of a denial.
const MESSAGE: &str = "isthmus may change only the caBundle and the path of its own webhooks";

/// The policy for an account that keeps the webhook configurations of one name.
pub(super) fn spec(username: &str, webhooks: &str) -> Json {
    let is_isthmus = format!("request.userInfo.username == {username:?}");
    let is_own = format!("request.operation == \"UPDATE\" && request.name == {webhooks:?}");
    let kept = METADATA.map(|field| same("object.metadata", "oldObject.metadata", field));
    let names = "object.webhooks.map(w, w.name) == oldObject.webhooks.map(o, o.name)";
    let mut same_webhook = vec!["o.name == w.name".to_owned()];
    same_webhook.extend(FIELDS.map(|field| same("w", "o", field)));
    let (new, old) = ("w.clientConfig", "o.clientConfig");
    same_webhook.push(format!("has({new}.service) == has({old}.service)"));
    same_webhook.push(format!("has({new}.url) == has({old}.url)"));
    let (service, before) = (format!("{new}.service"), format!("{old}.service"));
    let addressed = ["name", "namespace", "port"].map(|field| same(&service, &before, field));
    let path = |service: &str| format!("{service}.?path.orValue(\"\")");
    let leads_there = leads_to_the_same(&path(&service), &path(&before));
    let to_service = format!("{} && {leads_there}", addressed.join(" && "));
    same_webhook.push(format!("(!has({service}) || ({to_service}))"));
    let (url, before) = (format!("{new}.url"), format!("{old}.url"));
    // A host could be taken for a secret path.
    let to_host = format!("url({url}).getHost() == url({before}).getHost()");
    let to_url = format!("{to_host} && {}", leads_to_the_same(&url, &before));
    same_webhook.push(format!("(!has({new}.url) || ({to_url}))"));
    let webhooks = format!(
        "object.webhooks.all(w, oldObject.webhooks.exists(o, {}))",
        same_webhook.join(" && ")
    );
    // The later ones are about an object that is there before and after.
    let both = "request.operation != \"UPDATE\" || ";
    let validations = [
        is_own,
        format!("{both}({})", kept.join(" && ")),
        format!("{both}({names} && {webhooks})"),
    ];
    json!({
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": [{
            "apiGroups": ["admissionregistration.k8s.io"],
            "apiVersions": ["*"],
            "operations": ["*"],
            "resources": ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"],
        }]},
        "matchConditions": [{"name": "is-isthmus", "expression": is_isthmus}],
        "validations": validations
            .map(|expression| json!({"expression": expression, "message": MESSAGE})),
    })
}

/// The policy and its binding, as manifests.
pub(super) fn manifests(name: &str, username: &str, webhooks: &str) -> [Json; 2] {
    let manifest = |kind: &str, spec: Json| {
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": kind,
            "metadata": {"name": name},
            "spec": spec,
        })
    };
    [
        manifest("ValidatingAdmissionPolicy", spec(username, webhooks)),
        manifest(
            "ValidatingAdmissionPolicyBinding",
            json!({"policyName": name, "validationActions": ["Deny"]}),
        ),
    ]
}

/// Whether a field that may be absent is the same in both.
fn same(new: &str, old: &str, field: &str) -> String {
    format!("{new}.?{field} == {old}.?{field}")
}

/// Whether two addresses differ in secret paths only, or in the usual path before one where there
/// was none.
fn leads_to_the_same(new: &str, old: &str) -> String {
    let of = |text: &str| {
        format!("{text}.split(\"/\").filter(s, s != \"\" && !s.matches(\"^[0-9a-f]{{32}}$\"))")
    };
    let (new, old) = (of(new), of(old));
    let same = ["", " + [\"validate\"]", " + [\"mutate\"]"];
    format!("({})", same.map(|usual| format!("{new} == {old}{usual}")).join(" || "))
}
