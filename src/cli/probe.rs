//! `isthmus probe`: whether the API server calls isthmus, shown by a denial.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow};
use kube::Client;
use kube::core::GroupVersionKind;
use serde_json::{Value as Json, json};

use super::kube::KubeArgs;
use super::settings::SettingsArgs;
use crate::cluster::{Failure, Objects};
use crate::server::authority::paths::hidden;
use crate::settings::Settings;

/// The name of what is asked about. Nothing of this name is ever stored.
const NAME: &str = "isthmus-probe";
/// How long the API server may take; longer than any webhook's timeout.
const PATIENCE: Duration = Duration::from_secs(40);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    kube: KubeArgs,
    #[command(flatten)]
    settings: SettingsArgs,
}

/// An object that isthmus refuses, whatever the mesh.
pub(super) struct Probe {
    kind: GroupVersionKind,
    resource: &'static str,
    namespace: Option<String>,
    object: Json,
    /// The rule that it breaks.
    rule: &'static str,
}

/// What came of asking.
#[derive(Debug)]
enum Outcome {
    /// isthmus has refused it, and said this.
    Refused(String),
    /// Nobody has.
    Admitted,
    /// The resource is not served.
    NotServed,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(probe(args))
}

async fn probe(args: &Args) -> anyhow::Result<ExitCode> {
    let config = args.kube.as_kubectl().await.context(
        "no cluster is configured: set --kubeconfig FILE or --context NAME, or run this in the cluster",
    )?;
    let client = Client::try_from(config).context("cannot reach the cluster")?;
    let settings = args.settings.settings();
    for probe in Probe::all(&settings) {
        match probe.ask(&client).await? {
            Outcome::Refused(told) => {
                anstream::println!("guarded: isthmus denied a dry run of {probe}:\n  {told}");
                return Ok(ExitCode::SUCCESS);
            }
            Outcome::Admitted => {
                anstream::println!(
                    "NOT guarded: the API server admitted a dry run of {probe}, which breaks {}.\n{LOOK_AT}",
                    probe.rule
                );
                return Ok(ExitCode::from(1));
            }
            Outcome::NotServed => {}
        }
    }
    Err(anyhow!(
        "nothing to probe with: the cluster has neither the resource IstioMulticluster nor a namespace of --member-namespaces"
    ))
}

/// What to look at when what is bad is admitted.
const LOOK_AT: &str = "Either isthmus is not called, or it does not answer and the failure policy is Ignore. Check:
  kubectl get validatingwebhookconfigurations -o yaml          do webhooks of isthmus.dev exist, does each have a caBundle, does a selector exclude this object?
  kubectl get pods -A -l app.kubernetes.io/name=isthmus        is isthmus ready? If not, see its log and /readyz
  apiserver_admission_webhook_fail_open_count                  the API server's metric of writes that were admitted unchecked";

impl Probe {
    /// What may be asked, the first choice first.
    pub(super) fn all(settings: &Settings) -> Vec<Self> {
        let member = Self {
            kind: GroupVersionKind::gvk("deckhouse.io", "v1alpha1", "IstioMulticluster"),
            resource: "istiomulticlusters",
            namespace: None,
            // The resource's own pattern takes it, so that it gets as far as isthmus.
            object: json!({"spec": {"metadataEndpoint": "https://isthmus-probe.invalid"}}),
            rule: "InvalidMetadataEndpoint",
        };
        let described = settings.member_namespaces.first().map(|namespace| Self {
            kind: GroupVersionKind::gvk("", "v1", "ConfigMap"),
            resource: "configmaps",
            namespace: Some(namespace.clone()),
            object: json!({
                "metadata": {"labels": {"isthmus.dev/member": NAME}},
                "data": {"ClusterConfiguration": "no ClusterConfiguration"},
            }),
            rule: "InvalidDocument",
        });
        std::iter::once(member).chain(described).collect()
    }

    pub(super) fn group(&self) -> &str {
        &self.kind.group
    }

    pub(super) fn resource(&self) -> &'static str {
        self.resource
    }

    pub(super) fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    async fn ask(&self, client: &Client) -> anyhow::Result<Outcome> {
        let objects = Objects::of_kind(client, &self.kind, self.resource, self.namespace());
        let mut object = self.object.clone();
        object["apiVersion"] = self.kind.api_version().into();
        object["kind"] = self.kind.kind.clone().into();
        object["metadata"]["name"] = NAME.into();
        let object = serde_json::from_value(object)?;
        match objects.try_create(&object, PATIENCE).await {
            Ok(()) => Ok(Outcome::Admitted),
            Err(failure) => self.outcome(&failure),
        }
    }

    fn outcome(&self, failure: &Failure) -> anyhow::Result<Outcome> {
        let Failure::Status(status) = failure else {
            return Err(anyhow!("cannot call the API server: {failure}"));
        };
        let causes = status.details.iter().flat_map(|details| &details.causes);
        let mut causes = causes.filter(|cause| cause.reason == self.rule);
        if let Some(cause) = causes.next() {
            return Ok(Outcome::Refused(cause.message.clone()));
        }
        // The API server shows what it called.
        let message = &hidden(&status.message);
        // A namespace that does not exist is reported by its name.
        if failure.is_not_found() && self.namespace.is_none() {
            return Ok(Outcome::NotServed);
        }
        Err(if failure.is_not_found() {
            anyhow!(
                "cannot probe with {self}: {message}. Create the namespace, or set another with --member-namespaces"
            )
        } else if failure.is_forbidden() {
            anyhow!(
                "cannot probe with {self}: {message}. `isthmus rbac --probe` prints the roles that are needed"
            )
        } else if message.contains("failed calling webhook") {
            anyhow!(
                "the API server rejects {self}, but isthmus did not deny it: {message}. Check that isthmus is ready, that the webhook's address leads to it, and that the caBundle is that of its certificate authority"
            )
        } else {
            anyhow!("the API server rejects {self}, but isthmus did not deny it: {message}")
        })
    }
}

impl std::fmt::Display for Probe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{NAME}", self.kind.kind),
            None => write!(f, "{} {NAME}", self.kind.kind),
        }
    }
}
