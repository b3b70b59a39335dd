//! `isthmus webhooks`: the webhook configurations, derived from the documents.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value as Json, json};

use super::settings::SettingsArgs;
use super::{failure_policy, yaml};
use crate::document::{DOCUMENTS, Document, Label, Scope};
use crate::server::SecretPath;
use crate::settings::Settings;

/// The domain of the webhooks' names.
const DOMAIN: &str = "isthmus.dev";
/// The label that every namespace has with its own name.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The name of both configurations.
    #[arg(long, default_value = "isthmus", value_name = "NAME")]
    name: String,
    /// The CA that verifies the webhook's certificate; a file in PEM.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The service to call.
    #[arg(long, default_value = "isthmus", value_name = "NAME")]
    service: String,
    /// The namespace of that service.
    #[arg(long, short, default_value = "isthmus", value_name = "NAME")]
    namespace: String,
    /// The URL to call instead of a service, such as https://192.0.2.1:8443.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The file of `isthmus serve --tls-path-file`; the path in its first line is called.
    #[arg(long, value_name = "FILE", conflicts_with = "no_path")]
    path_file: Option<PathBuf>,
    /// Leave out the path, which `isthmus serve --tls-secret` sets, so that applying this again
    /// does not remove it. With --url, the address always has a path.
    #[arg(long)]
    no_path: bool,
    /// The failure policy while isthmus does not answer: Fail rejects writes, Ignore stores them
    /// unchecked. May be set for one group: mutating (default Ignore), customResources (Fail),
    /// configMaps (Fail), kubeSystem (Ignore), endpoints (Ignore), remoteSecrets (Ignore).
    #[arg(
        long,
        value_delimiter = ',',
        value_parser = failure_policy::parse,
        value_name = "[GROUP=]POLICY"
    )]
    failure_policy: Vec<failure_policy::Choice>,
    /// How many seconds the API server waits for a response.
    #[arg(
        long,
        default_value = "5",
        value_parser = clap::value_parser!(u8).range(1..=30),
        value_name = "SECONDS"
    )]
    timeout: u8,
    #[command(flatten)]
    settings: SettingsArgs,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let settings = args.settings.settings();
    let policy = |group: &str| failure_policy::policy(group, &args.failure_policy);
    let configuration = |kind: &str, path: &str, mut webhooks: Vec<Json>| {
        let client = client_config(args, path)?;
        for webhook in &mut webhooks {
            webhook["clientConfig"] = client.clone();
            if webhook["timeoutSeconds"].is_null() {
                webhook["timeoutSeconds"] = args.timeout.into();
            }
        }
        anyhow::Ok(json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": kind,
            "metadata": {"name": args.name},
            "webhooks": webhooks,
        }))
    };
    let manifests = [
        configuration("ValidatingWebhookConfiguration", "validate", validating(&settings, policy))?,
        configuration("MutatingWebhookConfiguration", "mutate", mutating(&settings, policy))?,
    ];
    anstream::print!("{}", yaml::stream(&manifests));
    Ok(ExitCode::SUCCESS)
}

/// The validating webhooks, except for `clientConfig` and the usual timeout.
pub(super) fn validating<'a>(
    settings: &Settings,
    policy: impl Fn(&'static str) -> &'a str,
) -> Vec<Json> {
    let webhook = |document: &Document| {
        let group = document.webhook?.group;
        let mut webhook = webhook(document, settings)?;
        webhook["failurePolicy"] = policy(group).into();
        // What was admitted is held, which a dry run is not.
        webhook["sideEffects"] = "NoneOnDryRun".into();
        Some(webhook)
    };
    DOCUMENTS.iter().filter_map(webhook).collect()
}

/// The mutating webhooks, likewise.
pub(super) fn mutating<'a>(
    settings: &Settings,
    policy: impl Fn(&'static str) -> &'a str,
) -> Vec<Json> {
    let webhook = |document: &Document| {
        let mut webhook = webhook(document, settings)?;
        webhook["failurePolicy"] = policy(failure_policy::MUTATING).into();
        webhook["sideEffects"] = "None".into();
        webhook["reinvocationPolicy"] = "IfNeeded".into();
        Some(webhook)
    };
    let canonicalized = DOCUMENTS.iter().filter(|document| document.is_canonicalized());
    canonicalized.filter_map(webhook).collect()
}

fn client_config(args: &Args, hook: &str) -> anyhow::Result<Json> {
    let secret =
        args.path_file.as_deref().map(SecretPath::read).transpose().context("--path-file")?;
    let secret = secret.and_then(|paths| paths.first().map(|path| format!("/{}", path.reveal())));
    let path = format!("{hook}{}", secret.unwrap_or_default());
    let mut config = match &args.url {
        Some(url) if !url.starts_with("https://") => bail!("--url {url}: it must be https"),
        Some(url) => json!({"url": format!("{}/{path}", url.trim_end_matches('/'))}),
        None if args.no_path => {
            json!({"service": {"name": args.service, "namespace": args.namespace}})
        }
        None => json!({"service": {
            "name": args.service,
            "namespace": args.namespace,
            "path": format!("/{path}"),
        }}),
    };
    if let Some(file) = &args.ca {
        let pem = std::fs::read(file).with_context(|| format!("--ca {}", file.display()))?;
        config["caBundle"] = STANDARD.encode(pem).into();
    }
    Ok(config)
}

/// The webhook of a document; nothing if it has none, or there is no namespace to ask about.
fn webhook(document: &Document, settings: &Settings) -> Option<Json> {
    let registration = document.webhook?;
    let select = &document.select;
    let namespaces = select.namespaces(settings);
    // A selector without values would be rejected.
    if namespaces.as_ref().is_some_and(BTreeSet::is_empty) {
        return None;
    }
    let is_anywhere = select.scope == Scope::AllNamespaces;
    let scope = if select.is_namespaced() { "Namespaced" } else { "Cluster" };
    let mut webhook = json!({
        "name": format!("{}.{DOMAIN}", document.name.to_lowercase().replace(' ', "-")),
        "admissionReviewVersions": ["v1"],
        "matchPolicy": "Equivalent",
        "rules": [{
            "apiGroups": [document.group],
            "apiVersions": document.versions,
            "operations": ["CREATE", "UPDATE"],
            "resources": [document.resource],
            "scope": scope,
        }],
    });
    let conditions = [
        ("has-the-name", (!select.names.is_empty()).then(|| is_named(select.names))),
        ("has-the-label", select.label.filter(|_| !is_anywhere).map(has_label)),
        ("has-a-key", (!document.keys.is_empty()).then(|| has_a_key(document.keys))),
    ];
    let conditions: Vec<_> = conditions
        .into_iter()
        .filter_map(|(name, expression)| Some(json!({"name": name, "expression": expression?})))
        .collect();
    if let Some(seconds) = registration.timeout_seconds {
        webhook["timeoutSeconds"] = seconds.into();
    }
    if let Some(Label { key, value: Some(value) }) = select.label.filter(|_| is_anywhere) {
        // Of all objects of the cluster: a selector is cheaper than a condition.
        webhook["objectSelector"] = json!({"matchLabels": {key: value}});
    }
    if !conditions.is_empty() {
        webhook["matchConditions"] = conditions.into();
    }
    if let Some(namespaces) = namespaces {
        let namespaces: Vec<_> = namespaces.into_iter().collect();
        let is_one = json!({"key": NAMESPACE_NAME, "operator": "In", "values": namespaces});
        webhook["namespaceSelector"] = json!({"matchExpressions": [is_one]});
    }
    Some(webhook)
}

/// The name of the object: a generated name is set by the time that validation runs.
fn is_named(names: &[&str]) -> String {
    let one = |name: &&str| match name.strip_suffix('*') {
        Some(start) => format!("object.metadata.name.startsWith({start:?})"),
        None => format!("object.metadata.name == {name:?}"),
    };
    names.iter().map(one).collect::<Vec<_>>().join(" || ")
}

/// Before or after the write, so that the removal of the label is noticed too.
fn has_label(label: Label) -> String {
    let Label { key, value, .. } = label;
    before_or_after(|object| {
        let labels = format!("{object}.metadata.labels");
        let is = value.map(|value| format!(" && {labels}[{key:?}] == {value:?}"));
        format!("has({labels}) && {key:?} in {labels}{}", is.unwrap_or_default())
    })
}

/// Likewise: without its keys an object says nothing any more, which may unmask what others say.
fn has_a_key(keys: &[&str]) -> String {
    before_or_after(|object| {
        let one = |key: &&str| format!("{key:?} in {object}.data");
        let any = keys.iter().map(one).collect::<Vec<_>>().join(" || ");
        format!("has({object}.data) && ({any})")
    })
}

fn before_or_after(condition: impl Fn(&str) -> String) -> String {
    let of = |object: &str| format!("({object} != null && {})", condition(object));
    format!("{} || {}", of("object"), of("oldObject"))
}
