//! Remote Secrets: by the kubeconfigs in them Istio reaches the other clusters of the mesh.
//!
//! Nothing of a kubeconfig is ever told but the names in it and the host of its server. All that is
//! said of one is said at its key: a place within it would lead reports to show its lines.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::Deserialize;

use super::kubeconfig::{Access, insecure_options};
use crate::document::elsewhere::{Destination, Way};
use crate::document::entry::{Document, Label, Registration, Scope, Select};
use crate::document::toolkit::{Notes, common_annotations, fields, rendered, shortened};
use crate::mesh::{About, Fact, Fault, Reading, SecretKey, by_cluster_id};
use crate::settings::Settings;
use crate::syntax::{Key, Node, Object, Path, Position, Segment, Value, yaml_document};
use crate::value::{Invalid, Moment};

/// The label by which Istio knows a remote Secret.
const LABEL: Label = Label { key: "istio/multiCluster", value: Some("true") };
/// The annotation that repeats the cluster ID.
const CLUSTER: &str = "networking.istio.io/cluster";
/// What `istioctl create-remote-secret --type=config` prints: the label is there, but it leads
/// Istio to its configuration and not to a cluster.
const CONFIG_SECRET: &str = "istio-kubeconfig";
/// Where Deckhouse renders remote Secrets.
const DECKHOUSE: &str = "d8-istio";
/// How Deckhouse and istioctl call them, by what follows: Deckhouse by the name of the member, and
/// istioctl by the cluster ID.
const PREFIX: &str = "istio-remote-secret-";
/// How values begin that SOPS has encrypted.
const SOPS: &[u8] = b"ENC[";
const ISTIOCTL: &str = "print the Secret with `istioctl create-remote-secret`";

pub(crate) const DOCUMENT: Document = Document {
    name: "remote Secret",
    kind: "Secret",
    group: "",
    versions: &["v1"],
    resource: "secrets",
    select: Select::labelled(Scope::AllNamespaces, LABEL),
    keys: &[],
    webhook: Some(Registration {
        timeout_seconds: Some(10),
        ..Registration::of("remoteSecrets", "Ignore")
    }),
    says: "the members whose cluster IDs are its keys, which it joins to the mesh: whether Istio can use the kubeconfig of each",
    read,
    canonical: &[],
};

fn read(object: &Object<'_>, settings: &Settings, reading: &mut Reading) {
    if object.name() == CONFIG_SECRET {
        return;
    }
    let namespace: &str = &object.metadata.namespace;
    let is_ours =
        namespace.is_empty() || settings.istio_namespaces.iter().any(|it| it == namespace);
    if !is_ours {
        let why = Invalid::new(
            "Istio reads remote Secrets only in its own namespace, and silently ignores this one",
            format!("move it to {}", settings.istio_namespaces.join(" or ")),
        );
        let mut notes = Notes::new(reading, object.name().into());
        return notes.doubt_at(About::RemoteSecret, &["metadata", "namespace"], why);
    }
    let data = {
        let mut notes = Notes::new(reading, object.name().into());
        fields(object, ["data"], &mut notes)
    };
    let top = data.top();
    let Some(Value::Map(entries)) = top.node.and_then(|it| it.get("data")).map(|data| &data.value)
    else {
        return;
    };
    let is_only = entries.len() == 1;
    let mut servers = BTreeMap::new();
    for (key, node) in entries {
        let id: &str = &key.text;
        let mut notes = Notes::new(reading, by_cluster_id(id));
        notes.claim_at(at_key(id), Fact::ClusterId(id.into()));
        if let Some(name) = object.name().strip_prefix(PREFIX).filter(|_| namespace == DECKHOUSE) {
            notes.claim_at(Path::NAME, Fact::Alias(name.into()));
        }
        common_annotations(object, &mut notes);
        if object.metadata.is_owned || namespace == DECKHOUSE {
            rendered(object, &mut notes);
        }
        let mut secret = RemoteSecret { path: at_key(id), notes: &mut notes };
        let joins =
            SecretKey { namespace: namespace.into(), name: object.name().into(), key: id.into() };
        secret.claim(Fact::RemoteSecret(Arc::new(joins)));
        secret.check_key(id);
        if let Some(stated) = object.annotation(CLUSTER).filter(|stated| is_only && *stated != id) {
            let problem =
                format!("annotation {CLUSTER} is {:?}, unlike the key", shortened(stated));
            secret.doubt("annotation", problem, format!("write {}", shortened(id)));
        }
        if let Some(server) = secret.read(node, object, settings) {
            if let Some(other) = servers.get(&server) {
                let problem = format!("key {other:?} leads to the same API server, {server}");
                secret.doubt("same server", problem, "write one key for each cluster");
            } else {
                servers.insert(server, shortened(id));
            }
        }
    }
}

/// Where its kubeconfigs lead, as far as they can be read and Istio follows them.
pub(crate) fn destinations(object: &Object<'_>, settings: &Settings) -> Vec<Destination> {
    let namespace: &str = &object.metadata.namespace;
    if object.name() == CONFIG_SECRET
        || !settings.istio_namespaces.iter().any(|ours| ours == namespace)
    {
        return Vec::new();
    }
    let Ok(Some(Node { value: Value::Map(entries), .. })) = object.field("data") else {
        return Vec::new();
    };
    let destination = |(key, node): &(Key<'_>, Node<'_>)| {
        let text = String::from_utf8(STANDARD.decode(node.text()?).ok()?).ok()?;
        let server = {
            let root = yaml_document(&text, &object.budget).ok()?;
            Access::of(&root).ok()?.server()
        };
        Some(Destination {
            subject: by_cluster_id(&key.text),
            path: at_key(&key.text),
            way: Way::Kubeconfig(text.into()),
            server: server.map(Into::into),
        })
    };
    entries.iter().filter_map(destination).collect()
}

/// The place of a key, at which everything is told of its kubeconfig.
fn at_key(key: &str) -> Path {
    let segments = [Segment::Key("data".into()), Segment::Key(shortened(key).into())];
    Path::new(segments.into(), Position::NONE)
}

/// One key of a remote Secret.
struct RemoteSecret<'r, 'n> {
    path: Path,
    notes: &'n mut Notes<'r>,
}

impl RemoteSecret<'_, '_> {
    /// Reads the kubeconfig; gives its API server.
    fn read(
        &mut self,
        node: &Node<'_>,
        object: &Object<'_>,
        settings: &Settings,
    ) -> Option<String> {
        let Some(text) = node.text() else {
            self.fault("type", "must be a string", ISTIOCTL);
            return None;
        };
        let decoded = STANDARD.decode(text);
        if decoded.as_deref().unwrap_or(text.as_bytes()).starts_with(SOPS) {
            let problem = "is encrypted with SOPS, so it is not checked";
            self.doubt("encrypted", problem, "check the output of `sops --decrypt`");
            return None;
        }
        let Ok(bytes) = decoded else {
            let remedy = "encode it with `base64 -w0`, or use stringData";
            self.fault("base64", "is not base64", remedy);
            return None;
        };
        let Ok(text) = String::from_utf8(bytes) else {
            self.fault("utf-8", "is not UTF-8 text", ISTIOCTL);
            return None;
        };
        if text.trim().is_empty() {
            self.fault("empty", "the kubeconfig is empty, and Istio ignores the cluster", ISTIOCTL);
            return None;
        }
        // An error of the parser may repeat what it has read.
        let Ok(root) = yaml_document(&text, &object.budget) else {
            self.fault(
                "yaml",
                "the kubeconfig is not one YAML document with unique keys",
                ISTIOCTL,
            );
            return None;
        };
        self.check_options(&root, settings);
        let access = match Access::of(&root) {
            Ok(access) => access,
            Err(Invalid { problem, remedy }) => {
                let told = format!("the kubeconfig cannot be used: {problem}");
                self.fault(&problem, told, remedy);
                return None;
            }
        };
        if access.is_insecure() {
            let problem = "insecure-skip-tls-verify is set, so anybody on the way can pose as this cluster and read the token";
            self.doubt("insecure", problem, "write certificate-authority-data instead");
        }
        if let Some(end) = access.token().and_then(expiry) {
            self.claim(Fact::Expires(end));
        }
        access.server()
    }

    /// Istio takes no user that would have it read a file or run a program.
    fn check_options(&mut self, root: &Node<'_>, settings: &Settings) {
        let allowed = &settings.allowed_kubeconfig_options;
        for (option, field) in insecure_options(root) {
            if allowed.contains(&option) {
                continue;
            }
            let what = if field == "auth-provider" {
                format!("auth-provider {:?}", shortened(&option))
            } else {
                field.clone()
            };
            let problem = format!("a user has {what}, so Istio refuses the kubeconfig");
            let remedy = format!(
                "write a token; or, if istiod allows it (PILOT_INSECURE_MULTICLUSTER_KUBECONFIG_OPTIONS), add {} to allowedKubeconfigOptions",
                shortened(&option)
            );
            self.fault(&option, problem, remedy);
        }
    }

    /// Istio takes any ID, but not everything that is called after it.
    fn check_key(&mut self, id: &str) {
        let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let ends = [id.bytes().next(), id.bytes().last()];
        let is_label = id.len() <= 63
            && ends.iter().all(|end| end.is_some_and(is_inner))
            && id.bytes().all(|byte| is_inner(byte) || byte == b'-');
        if !is_label {
            let problem = format!("cluster ID {:?} is not a DNS label", shortened(id));
            let remedy = "name the cluster with lower-case letters, digits and dashes (RFC 1123), unless Istio in it has this very ID";
            self.doubt("id", problem, remedy);
        }
    }

    fn claim(&mut self, fact: Fact) {
        self.notes.claim_at(self.path.clone(), fact);
    }

    /// Notes what Istio refuses or cannot use. `what` tells it from other faults of the key.
    fn fault(&mut self, what: &str, problem: impl Into<String>, remedy: impl Into<String>) {
        self.note(what, problem.into(), remedy.into(), false);
    }

    fn doubt(&mut self, what: &str, problem: impl Into<String>, remedy: impl Into<String>) {
        self.note(what, problem.into(), remedy.into(), true);
    }

    fn note(&mut self, what: &str, problem: String, remedy: String, harmless: bool) {
        let why = Invalid::new(problem, remedy);
        let fault = Fault { harmless, ..Fault::new(About::RemoteSecret, what, why) };
        let Notes { reading, member, .. } = &mut *self.notes;
        reading.fault(member, self.path.clone(), fault);
    }
}

/// When a bearer token ends that is a JSON Web Token. Its signature is for the API server to check.
fn expiry(token: &str) -> Option<Moment> {
    #[derive(Deserialize)]
    struct Claims {
        exp: f64,
    }
    let mut parts = token.trim().split('.');
    let (_, claims, _) = (parts.next()?, parts.next()?, parts.next()?);
    let claims = URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?;
    let Claims { exp } = serde_json::from_slice(&claims).ok()?;
    #[allow(clippy::cast_possible_truncation, reason = "a cast of a float saturates")]
    Some(Moment::of_unix(exp as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_is_a_jwt_tells_when_it_ends() {
        let token = |claims: &str| format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims));
        assert_eq!(expiry(&token(r#"{"exp":1793534400}"#)), Some(Moment::of_unix(1_793_534_400)));
        assert_eq!(expiry(&token(r#"{"exp":1.7935344e9}"#)), Some(Moment::of_unix(1_793_534_400)));
        assert_eq!(expiry(&token(r#"{"exp":1e300}"#)), Some(Moment::of_unix(i64::MAX)));
        for none in
            [token("{}"), token("[]"), token(r#"{"exp":"1"}"#), "e30.e30".to_owned(), "x".into()]
        {
            assert_eq!(expiry(&none), None, "{none}");
        }
    }
}
