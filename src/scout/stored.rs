//! What the scout reads and writes in the cluster that it belongs to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Event, Namespace, Secret};
use kube::api::{
    Api, DeleteParams, DynamicObject, ListParams, ObjectMeta, Patch, PatchParams, PostParams,
    Preconditions,
};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, ResourceExt};
use serde_json::json;

use super::peers::RemoteSecret;
use crate::cluster::{Failure, answer};
use crate::meshmember::{GROUP, KIND, MeshMember, RESOURCE, Spec, Status, VERSION};

/// Who the fields of what the scout writes belong to.
const MANAGER: &str = "isthmus-scout";
/// The label of MeshMembers that the scout created.
const LABEL: (&str, &str) = ("app.kubernetes.io/managed-by", MANAGER);
/// How Istio knows a remote Secret.
const REMOTE_SECRETS: &str = "istio/multiCluster=true";
/// A remote Secret that leads Istio to its configuration, and not to a cluster.
const CONFIG_SECRET: &str = "istio-kubeconfig";
/// The most objects of a kind that are looked at.
const MOST_OBJECTS: u32 = 5000;

/// Which remote Secrets may be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Secrets {
    /// None.
    None,
    /// All that are labelled so, in Istio's namespaces.
    All,
    /// Those of these names, in Istio's namespaces.
    Named(Vec<String>),
}

/// A MeshMember as it is stored.
#[derive(Clone)]
pub(super) struct Stored {
    pub(super) spec: Spec,
    pub(super) status: Option<Status>,
    pub(super) generation: Option<i64>,
    uid: Option<String>,
    version: Option<String>,
    /// Whether nobody but a scout has anything to do with it.
    pub(super) is_ours: bool,
    pub(super) is_terminating: bool,
}

impl From<DynamicObject> for Stored {
    fn from(object: DynamicObject) -> Self {
        let DynamicObject { metadata, mut data, .. } = object;
        // What somebody else may have put there is as if it were not.
        let spec = serde_json::from_value(data["spec"].take()).unwrap_or_default();
        let status = serde_json::from_value(data["status"].take()).ok();
        let is_ours = spec == Spec::default() && is_ours(&metadata);
        Self {
            spec,
            status,
            is_ours,
            generation: metadata.generation,
            is_terminating: metadata.deletion_timestamp.is_some(),
            uid: metadata.uid,
            version: metadata.resource_version,
        }
    }
}

impl Stored {
    /// One that has just been created.
    pub(super) fn new() -> Self {
        Self {
            spec: Spec::default(),
            status: None,
            generation: Some(1),
            uid: None,
            version: None,
            is_ours: false,
            is_terminating: false,
        }
    }
}

fn is_ours(metadata: &ObjectMeta) -> bool {
    let label = metadata.labels.as_ref().and_then(|labels| labels.get(LABEL.0));
    let mut managers = metadata.managed_fields.iter().flatten().map(|it| it.manager.as_deref());
    let has_finalizers = metadata.finalizers.as_ref().is_some_and(|all| !all.is_empty());
    label.is_some_and(|label| label == LABEL.1)
        && managers.all(|manager| manager == Some(MANAGER))
        && !has_finalizers
}

/// The cluster that the scout belongs to.
pub(super) struct Home {
    client: Client,
    members: Api<DynamicObject>,
    multiclusters: Api<DynamicObject>,
    istio_namespaces: BTreeSet<String>,
    secrets: Secrets,
}

impl Home {
    pub(super) fn new(client: Client, istio_namespaces: &[String], secrets: Secrets) -> Self {
        let api = |group: &str, version: &str, kind: &str, plural: &str| {
            let kind = GroupVersionKind::gvk(group, version, kind);
            let resource = ApiResource::from_gvk_with_plural(&kind, plural);
            Api::all_with(client.clone(), &resource)
        };
        Self {
            members: api(GROUP, VERSION, KIND, RESOURCE),
            multiclusters: api(
                "deckhouse.io",
                "v1alpha1",
                "IstioMulticluster",
                "istiomulticlusters",
            ),
            istio_namespaces: istio_namespaces.iter().cloned().collect(),
            secrets,
            client,
        }
    }

    /// The MeshMembers by name.
    pub(super) async fn members(&self) -> Result<BTreeMap<String, Stored>, Failure> {
        let listed = answer(self.members.list(&ListParams::default().limit(MOST_OBJECTS))).await?;
        Ok(listed.into_iter().map(|object| (object.name_any(), object.into())).collect())
    }

    /// The names of the IstioMulticlusters, if the cluster knows such.
    pub(super) async fn multiclusters(&self) -> Result<Vec<String>, Failure> {
        let params = ListParams::default().limit(MOST_OBJECTS);
        match answer(self.multiclusters.list_metadata(&params)).await {
            Ok(listed) => Ok(listed.iter().map(ResourceExt::name_any).collect()),
            Err(failure) if failure.is_not_found() => Ok(Vec::new()),
            Err(failure) => Err(failure),
        }
    }

    /// The remote Secrets that may be read.
    pub(super) async fn remote_secrets(&self) -> Result<Vec<RemoteSecret>, Failure> {
        let mut found = Vec::new();
        for namespace in &self.istio_namespaces {
            match self.remote_secrets_in(namespace).await {
                Ok(secrets) => found.extend(secrets),
                // Nobody has rights in a namespace that is not there.
                Err(failure) if failure.is_forbidden() && !self.has(namespace).await => {}
                Err(failure) => return Err(failure),
            }
        }
        found.retain(|secret| secret.name != CONFIG_SECRET);
        Ok(found)
    }

    async fn remote_secrets_in(&self, namespace: &str) -> Result<Vec<RemoteSecret>, Failure> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let mut found = Vec::new();
        match &self.secrets {
            Secrets::None => {}
            Secrets::All => {
                let params = ListParams::default().labels(REMOTE_SECRETS).limit(MOST_OBJECTS);
                let listed = answer(secrets.list(&params)).await?;
                found.extend(listed.into_iter().map(|secret| remote_secret(namespace, secret)));
            }
            Secrets::Named(names) => {
                for name in names {
                    let secret = answer(secrets.get_opt(name)).await?;
                    found.extend(secret.map(|secret| remote_secret(namespace, secret)));
                }
            }
        }
        Ok(found)
    }

    async fn has(&self, namespace: &str) -> bool {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        !answer(namespaces.get_metadata(namespace)).await.is_err_and(|why| why.is_not_found())
    }

    /// Creates a MeshMember that states nothing.
    pub(super) async fn create(&self, name: &str) -> Result<(), Failure> {
        let mut member = json!(MeshMember::new(name));
        member["metadata"]["labels"][LABEL.0] = LABEL.1.into();
        let params = PatchParams::apply(MANAGER);
        answer(self.members.patch(name, &params, &Patch::Apply(member))).await.map(drop)
    }

    /// Writes the status of one.
    pub(super) async fn write(&self, name: &str, status: &Status) -> Result<(), Failure> {
        let patch = json!({
            "apiVersion": format!("{GROUP}/{VERSION}"),
            "kind": KIND,
            "metadata": {"name": name},
            "status": status,
        });
        let params = PatchParams::apply(MANAGER).force();
        answer(self.members.patch_status(name, &params, &Patch::Apply(patch))).await.map(drop)
    }

    /// Deletes one as it was seen, and no later version of it.
    pub(super) async fn delete(&self, name: &str, stored: &Stored) -> Result<(), Failure> {
        let preconditions =
            Preconditions { uid: stored.uid.clone(), resource_version: stored.version.clone() };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        answer(self.members.delete(name, &params)).await.map(drop)
    }

    /// Creates an Event; one that is there already stays.
    pub(super) async fn tell(&self, namespace: &str, event: &Event) -> Result<(), Failure> {
        let events: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        match answer(events.create(&PostParams::default(), event)).await {
            Err(failure) if !failure.is_conflict() => Err(failure),
            _ => Ok(()),
        }
    }
}

fn remote_secret(namespace: &str, secret: Secret) -> RemoteSecret {
    let name = secret.name_any();
    let kubeconfigs = secret.data.into_iter().flatten().map(|(id, bytes)| {
        // One that is not text leads nowhere, as an empty one.
        (id, Arc::from(String::from_utf8(bytes.0).unwrap_or_default()))
    });
    RemoteSecret { namespace: namespace.to_owned(), name, kubeconfigs: kubeconfigs.collect() }
}
