//! What the policy lets isthmus's account change of webhook configurations, whatever its roles do.

use serde_json::{Value as Json, json};

use crate::support::api::Api;
use crate::support::guarded::isthmus;
use crate::support::plane::Plane;
use crate::support::replicas::{CONFIGURATIONS, Replicas};
use crate::support::wait_for;

const REGISTRATION: &str = "/apis/admissionregistration.k8s.io/v1";
const BINDING: &str = "clusterrolebinding/isthmus-tests";
const REFUSED: &str = "isthmus may change only the caBundle and the path of its own webhooks";
const SECRET: &str = "00112233445566778899aabbccddeeff";

/// The account of isthmus, which may do anything as far as its roles go.
struct Account<'a> {
    plane: &'a Plane,
    token: String,
}

impl<'a> Account<'a> {
    fn new(plane: &'a Plane) -> Self {
        let admin = ["--clusterrole=cluster-admin", "--serviceaccount=isthmus:isthmus"];
        let create = ["create", "clusterrolebinding", "isthmus-tests"];
        plane.kubectl(&[&create[..], &admin].concat(), "").ok();
        let token = plane.kubectl(&["create", "token", "isthmus", "-n=isthmus"], "").ok();
        Self { plane, token: token.trim().to_owned() }
    }

    /// What the API server says, and in which words.
    fn send(&self, method: &str, path: &str, content: &str, body: &Json) -> (u16, String) {
        let content = format!("Content-Type: application/{content}");
        let mut api = Api::by(self.plane.api(), &self.token);
        let answer = api.send_as(method, path, &content, body);
        (answer.status, answer.text())
    }

    fn patch(&self, path: &str, changes: &Json) -> (u16, String) {
        self.send("PATCH", &format!("{path}?dryRun=All"), "json-patch+json", changes)
    }

    #[track_caller]
    fn is_refused(&self, path: &str, changes: &Json) {
        let (status, told) = self.patch(path, changes);
        assert_eq!(status, 422, "{changes}: {told}");
        assert!(told.contains(REFUSED), "{changes}: {told}");
    }

    #[track_caller]
    fn passes(&self, path: &str, changes: &Json) {
        let (status, told) = self.patch(path, changes);
        assert_eq!(status, 200, "{changes}: {told}");
    }
}

impl Drop for Account<'_> {
    fn drop(&mut self) {
        let _ = self.plane.kubectl(&["delete", BINDING], "");
    }
}

fn set(field: &str, value: impl Into<Json>) -> Json {
    json!([{"op": "add", "path": format!("/{field}"), "value": value.into()}])
}

/// The configurations, which isthmus does not touch here, of two webhooks each.
fn registered(replicas: &Replicas) -> [Json; 2] {
    let mut configurations = replicas.configurations(0);
    for (configuration, hook) in configurations.iter_mut().zip(["validate", "mutate"]) {
        let webhook = |at: usize, client: Json| {
            let mut webhook = json!({
                "name": format!("replica-{at}.isthmus.dev"), "admissionReviewVersions": ["v1"],
                "clientConfig": client, "failurePolicy": "Fail", "sideEffects": "NoneOnDryRun",
                "matchConditions": [{"name": "one", "expression": "true"}],
                "namespaceSelector": {"matchLabels": {"nobody": "has-this"}},
                "rules": [{
                    "apiGroups": ["deckhouse.io"], "apiVersions": ["v1alpha1"],
                    "operations": ["CREATE"], "resources": ["nothings"],
                }],
            });
            if hook == "mutate" {
                webhook["reinvocationPolicy"] = "Never".into();
            }
            webhook
        };
        configuration["metadata"]["labels"] = json!({"a": "b"});
        configuration["metadata"]["annotations"] = json!({"a": "b"});
        configuration["webhooks"] = json!([
            webhook(0, json!({"service": {"namespace": "isthmus", "name": "isthmus"}})),
            webhook(1, json!({"url": format!("https://isthmus.example.com:8443/at/{hook}")})),
            webhook(
                2,
                json!({"service": {
                    "namespace": "isthmus", "name": "isthmus", "path": format!("/{hook}/{SECRET}"),
                }})
            ),
        ]);
    }
    configurations
}

#[test]
fn isthmus_may_change_only_bundles_and_paths() {
    let replicas = Replicas::unregistered(0, &[]);
    let account = Account::new(replicas.plane);
    let webhooks = registered(&replicas);
    for manifest in &webhooks {
        replicas.plane.kubectl(&["create", "-f", "-"], &manifest.to_string()).ok();
    }
    let [validating, _] = CONFIGURATIONS;
    wait_for("the policy", || {
        let (status, _) = account.patch(validating, &set("webhooks/0/failurePolicy", "Ignore"));
        (status == 422).then_some(())
    });
    for (path, hook) in CONFIGURATIONS.into_iter().zip(["validate", "mutate"]) {
        let client = |at: u32, field: &str| format!("webhooks/{at}/clientConfig/{field}");
        let url = format!("https://isthmus.example.com:8443/at/{hook}");
        for changes in [
            set(&client(0, "caBundle"), "bm90aGluZw=="),
            set(&client(0, "service/path"), format!("/{hook}/{SECRET}")),
            set(&client(1, "url"), format!("{url}/{SECRET}")),
            set(&client(2, "service/path"), format!("/{hook}/{}", SECRET.replace('0', "f"))),
            set(&client(2, "service/path"), format!("/{hook}")),
        ] {
            account.passes(path, &changes);
        }

        for changes in [
            set("webhooks/0/failurePolicy", "Ignore"),
            set("webhooks/0/matchPolicy", "Exact"),
            set("webhooks/0/sideEffects", "None"),
            set("webhooks/0/timeoutSeconds", 29),
            set("webhooks/0/admissionReviewVersions", json!(["v1", "v2"])),
            set("webhooks/0/namespaceSelector", json!({})),
            set("webhooks/0/objectSelector", json!({"matchLabels": {"a": "b"}})),
            set("webhooks/0/matchConditions/0/expression", "false"),
            json!([{"op": "remove", "path": "/webhooks/0/matchConditions"}]),
            set("webhooks/0/rules/0/resources", json!(["*"])),
            set("webhooks/0/rules/0/operations", json!(["*"])),
            set(
                "webhooks/0/rules/-",
                json!({
                    "apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*"],
                }),
            ),
            set("webhooks/0/name", "other.isthmus.dev"),
            json!([{"op": "remove", "path": "/webhooks/0"}]),
            json!([{"op": "copy", "from": "/webhooks/0", "path": "/webhooks/-"},
                   {"op": "replace", "path": "/webhooks/3/name", "value": "more.isthmus.dev"}]),
            json!([{"op": "move", "from": "/webhooks/0", "path": "/webhooks/2"}]),
            set(&client(0, "service/name"), "another"),
            set(&client(0, "service/namespace"), "default"),
            set(&client(0, "service/port"), 8443),
            set(&client(0, "service/path"), "/elsewhere"),
            set(&client(2, "service/path"), format!("/elsewhere/{SECRET}")),
            set("webhooks/0/clientConfig", json!({"url": "https://evil.example.com/"})),
            set("webhooks/1/clientConfig", json!({"service": {"namespace": "a", "name": "b"}})),
            set(&client(1, "url"), url.replace("isthmus.", "evil.")),
            set(&client(1, "url"), url.replace("8443", "8444")),
            set(&client(1, "url"), url.replace("https://", &format!("https://{SECRET}/"))),
            set(&client(1, "url"), url.replace("https://", "https://evil.com/")),
            set(&client(1, "url"), format!("https://isthmus.example.com:8443/other/{SECRET}")),
            set(&client(1, "url"), format!("{url}/{}", SECRET.to_uppercase())),
            set("metadata/labels/a", "c"),
            set("metadata/annotations/cert-manager.io~1inject-ca-from", "a/b"),
            set("metadata/finalizers", json!(["isthmus.dev/stay"])),
            set(
                "metadata/ownerReferences",
                json!([{
                    "apiVersion": "v1", "kind": "Namespace", "name": "isthmus", "uid": "1",
                }]),
            ),
        ] {
            account.is_refused(path, &changes);
        }
        if hook == "mutate" {
            account.is_refused(path, &set("webhooks/0/reinvocationPolicy", "IfNeeded"));
        }

        // Another one, a new one, and none.
        let list = path.trim_end_matches("/isthmus");
        let kind = &webhooks[usize::from(hook == "mutate")];
        let mut another = kind.clone();
        another["metadata"]["name"] = "another".into();
        replicas.plane.kubectl(&["create", "-f", "-"], &another.to_string()).ok();
        let bundle = set("webhooks/0/clientConfig/caBundle", "bm90aGluZw==");
        account.is_refused(&format!("{list}/another"), &bundle);
        another["metadata"]["name"] = "new".into();
        for (method, place) in [("POST", list), ("DELETE", path), ("DELETE", list)] {
            let place = format!("{place}?dryRun=All");
            let body = if method == "POST" { another.clone() } else { Json::Null };
            let (status, told) = account.send(method, &place, "json", &body);
            assert!(status == 422 && told.contains(REFUSED), "{method} {place}: {status} {told}");
        }
        // Others are not held to anything.
        replicas.api().merge(path, &json!({"metadata": {"labels": {"a": "c"}}}));
    }
}

#[test]
fn the_policy_knows_every_field_of_a_webhook() {
    let replicas = Replicas::unregistered(0, &[]);
    let printed = isthmus(&["rbac", "--tls-secret=isthmus/isthmus-tls"]);
    let found = replicas.api().get(&format!("/openapi/v3{REGISTRATION}"));
    let schemas = &found["components"]["schemas"];
    let mut known = 0;
    for kind in ["ValidatingWebhook", "MutatingWebhook", "WebhookClientConfig", "ServiceReference"]
    {
        let schema = &schemas[format!("io.k8s.api.admissionregistration.v1.{kind}")];
        for field in schema["properties"].as_object().expect(kind).keys() {
            let is_named = ["w.?", "w.", ".service.?", ".clientConfig."]
                .into_iter()
                .any(|before| printed.contains(&format!("{before}{field}")));
            assert!(is_named || field == "caBundle", "{kind}: {field}");
            known += 1;
        }
    }
    assert!(known > 25, "{known}");
    // As the API server sees it, nothing in it is wrong.
    let policy = wait_for("the policy to be looked at", || {
        let found =
            replicas.api().get(&format!("{REGISTRATION}/validatingadmissionpolicies/isthmus"));
        found["spec"]["validations"].is_array().then_some(found)
    });
    assert!(policy["status"]["typeChecking"]["expressionWarnings"].is_null(), "{policy}");
}
