//! What is published to the API server: the `caBundle` of every webhook, which says whom to trust,
//! and the secret path at the end of its `service.path` or `url`, which says what to call.
//!
//! It is set by a JSON patch that names the configuration's resourceVersion: that owns nothing but
//! the bundles and paths, and creates nothing. Server-side apply would come to own the webhooks' entries
//! too, and who installs the configurations could then not take one of its webhooks away.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use json_patch::Patch as JsonPatch;
use kube::Client;
use kube::core::{DynamicObject, GroupVersionKind};
use serde_json::{Value as Json, json};

use super::kept::{Authority, Leaf, bundle};
use super::paths::SecretPath;
use crate::cluster::{Failure, Objects};

/// The kinds of configuration, with what is called where no path is stated.
static KINDS: [Kind; 2] = [
    Kind {
        name: "ValidatingWebhookConfiguration",
        plural: "validatingwebhookconfigurations",
        path: "/validate",
    },
    Kind {
        name: "MutatingWebhookConfiguration",
        plural: "mutatingwebhookconfigurations",
        path: "/mutate",
    },
];
/// Who owns the bundles and paths, as the API server keeps account of it.
const FIELD_MANAGER: &str = "isthmus-certificates";

struct Kind {
    name: &'static str,
    plural: &'static str,
    path: &'static str,
}

/// The configurations of one name.
pub(super) struct Configurations {
    kinds: [(&'static Kind, Objects<DynamicObject>); 2],
    name: String,
    /// Those that were missing when they were last looked for.
    missing: Vec<&'static str>,
}

/// The configurations that there are, as they were read.
pub(super) struct Published(Vec<Configuration>);

struct Configuration {
    kind: &'static Kind,
    objects: Objects<DynamicObject>,
    resource_version: String,
    bundles: Vec<Bundle>,
    calls: Vec<Called>,
}

#[derive(Default)]
struct Bundle {
    text: String,
    authorities: Vec<Authority>,
}

/// Where a webhook is called.
struct Called {
    /// The field that says so.
    field: &'static str,
    /// What it says, without a secret path.
    base: String,
    path: Option<SecretPath>,
}

/// What to publish to callers.
pub(super) struct Publication<'a> {
    /// Whom to trust.
    pub(super) authorities: &'a [Authority],
    /// What to call.
    pub(super) path: Option<SecretPath>,
    /// What may be called until all who answer know the path.
    pub(super) until_known: Option<SecretPath>,
}

impl Configurations {
    pub(super) fn new(client: &Client, name: String) -> Self {
        let kinds = KINDS.each_ref().map(|kind| {
            let of = GroupVersionKind::gvk("admissionregistration.k8s.io", "v1", kind.name);
            (kind, Objects::of_kind(client, &of, kind.plural, None))
        });
        Self { kinds, name, missing: Vec::new() }
    }

    /// Reads those that there are; tells once of each that is not.
    pub(super) async fn read(&mut self) -> Result<Published, Failure> {
        let mut found = Vec::new();
        let mut missing = Vec::new();
        for (kind, objects) in &self.kinds {
            match objects.get(&self.name).await? {
                Some(object) => found.push(Configuration::of(kind, objects.clone(), &object)),
                None => missing.push(kind.name),
            }
        }
        for kind in missing.iter().filter(|kind| !self.missing.contains(kind)) {
            let name = &self.name;
            tracing::info!(kind, name, "this webhook configuration does not exist; waiting for it");
        }
        self.missing = missing;
        Ok(Published(found))
    }

    /// Has callers trust these authorities and no other, and call this path.
    pub(super) async fn publish(
        &self,
        published: &mut Published,
        publication: &Publication<'_>,
    ) -> Result<(), Failure> {
        let text = STANDARD.encode(bundle(publication.authorities));
        for configuration in &mut published.0 {
            let Some(patch) = configuration.patch(&text, publication)? else { continue };
            let objects = configuration.objects.clone();
            let patched = objects.patch(&self.name, FIELD_MANAGER, patch).await?;
            *configuration = Configuration::of(configuration.kind, objects, &patched);
            let (kind, name) = (configuration.kind.name, &self.name);
            tracing::info!(
                kind,
                name,
                "the CA bundle and the path are published in the webhook configuration"
            );
        }
        Ok(())
    }
}

impl Published {
    /// Whether every webhook's caller trusts this certificate now.
    pub(super) fn trusts(&self, leaf: &Leaf, now: i64) -> bool {
        self.bundles().all(|bundle| leaf.is_trusted(&bundle.authorities, now))
    }

    /// Whether the `caBundle` of every webhook contains this CA.
    pub(super) fn holds(&self, authority: &Authority) -> bool {
        self.bundles().all(|bundle| bundle.authorities.contains(authority))
    }

    /// The CAs in the `caBundle` of any webhook.
    pub(super) fn authorities(&self) -> Vec<Authority> {
        let mut all: Vec<Authority> = Vec::new();
        for authority in self.bundles().flat_map(|bundle| &bundle.authorities) {
            if !all.contains(authority) {
                all.push(authority.clone());
            }
        }
        all
    }

    /// Whether every `caBundle` is empty.
    pub(super) fn is_blank(&self) -> bool {
        self.bundles().all(|bundle| bundle.authorities.is_empty())
    }

    /// Whether every webhook has this path.
    pub(super) fn calls(&self, path: SecretPath) -> bool {
        let mut calls = self.0.iter().flat_map(|configuration| &configuration.calls);
        calls.all(|called| called.path == Some(path))
    }

    fn bundles(&self) -> impl Iterator<Item = &Bundle> {
        self.0.iter().flat_map(|configuration| &configuration.bundles)
    }
}

impl Configuration {
    fn of(kind: &'static Kind, objects: Objects<DynamicObject>, object: &DynamicObject) -> Self {
        let webhooks = object.data["webhooks"].as_array();
        let called = |webhook: &Json| Called::of(&webhook["clientConfig"], kind.path);
        let calls = webhooks.into_iter().flatten().map(called).collect();
        let bundle = |webhook: &Json| Bundle::of(&webhook["clientConfig"]["caBundle"]);
        let bundles = webhooks.into_iter().flatten().map(bundle).collect();
        let resource_version = object.metadata.resource_version.clone().unwrap_or_default();
        Self { kind, objects, resource_version, bundles, calls }
    }

    /// What puts this text into every bundle, and the path behind what is called, if they are not
    /// there.
    fn patch(
        &self,
        text: &str,
        publication: &Publication<'_>,
    ) -> Result<Option<JsonPatch>, Failure> {
        let change = |at: usize, field: &str, value: &str| {
            let path = format!("/webhooks/{at}/clientConfig/{field}");
            json!({"op": "add", "path": path, "value": value})
        };
        let others = self.bundles.iter().enumerate().filter(|(_, bundle)| bundle.text != text);
        let mut changes: Vec<_> = others.map(|(at, _)| change(at, "caBundle", text)).collect();
        if let Some(path) = publication.path {
            let calls = self.calls.iter().enumerate();
            let others = calls.filter(|(_, called)| {
                called.path != Some(path)
                    && (called.path.is_none() || called.path != publication.until_known)
            });
            changes.extend(others.map(|(at, called)| {
                change(at, called.field, &format!("{}/{}", called.base, path.reveal()))
            }));
        }
        if changes.is_empty() {
            return Ok(None);
        }
        // Whoever has changed it since it was read is not overruled: the API server refuses this.
        let path = "/metadata/resourceVersion";
        let unchanged = json!({"op": "replace", "path": path, "value": self.resource_version});
        changes.insert(0, unchanged);
        let patch = serde_json::from_value(changes.into());
        patch.map(Some).map_err(|error| Failure::Other(error.to_string()))
    }
}

impl Called {
    fn of(client: &Json, usual: &str) -> Self {
        let (field, text) = match client["url"].as_str() {
            Some(url) => ("url", url),
            None => ("service/path", client["service"]["path"].as_str().unwrap_or_default()),
        };
        let secret =
            text.rsplit_once('/').and_then(|(base, last)| Some((base, SecretPath::parse(last)?)));
        let (base, path) = secret.map_or((text, None), |(base, path)| (base, Some(path)));
        let base = base.trim_end_matches('/');
        // What comes after the scheme and the host.
        let stated = base
            .split_once("://")
            .map_or(base, |(_, rest)| rest.find('/').map_or("", |at| &rest[at..]));
        let usual = if stated.is_empty() { usual } else { "" };
        Self { field, base: format!("{base}{usual}"), path }
    }
}

impl Bundle {
    fn of(value: &Json) -> Self {
        let text = value.as_str().unwrap_or_default().to_owned();
        let authorities = Authority::all(&STANDARD.decode(&text).unwrap_or_default());
        Self { text, authorities }
    }
}
