//! What the scout reads and writes in the cluster that it belongs to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use kube::api::{
    Api, DeleteParams, DynamicObject, ObjectMeta, Patch, PatchParams, PostParams, Preconditions,
};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, ResourceExt};
use serde_json::json;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::peers::RemoteSecret;
use crate::cluster::{Failure, Mirror, Selection, answer};
use crate::meshmember::{GROUP, KIND, MeshMember, RESOURCE, Spec, Status, VERSION};

/// Who the fields of what the scout writes belong to.
pub const MANAGER: &str = "isthmus-scout";
/// The label of MeshMembers that the scout created.
const LABEL: (&str, &str) = ("app.kubernetes.io/managed-by", MANAGER);
/// How Istio knows a remote Secret.
const REMOTE_SECRETS: &str = "istio/multiCluster=true";
/// A remote Secret that leads Istio to its configuration, and not to a cluster.
const CONFIG_SECRET: &str = "istio-kubeconfig";
/// The largest kubeconfig that is followed, in bytes.
const LARGEST_KUBECONFIG: usize = 64 << 10;

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
pub(super) struct Stored {
    pub(super) spec: Spec,
    pub(super) status: Option<Status>,
    pub(super) generation: Option<i64>,
    uid: Option<String>,
    version: Option<String>,
    /// Whether nobody but a scout has anything to do with it.
    pub(super) is_ours: bool,
    pub(super) is_terminating: bool,
    /// When a scout wrote the status last, by the clock of the API server.
    pub(super) written_at: Option<Timestamp>,
}

impl From<DynamicObject> for Stored {
    fn from(object: DynamicObject) -> Self {
        let DynamicObject { metadata, mut data, .. } = object;
        // What somebody else may have put there is as if it were not.
        let spec = serde_json::from_value(data["spec"].take()).unwrap_or_default();
        let status = serde_json::from_value(data["status"].take()).ok();
        let is_ours = spec == Spec::default() && is_ours(&metadata);
        let fields = metadata.managed_fields.iter().flatten();
        let by_scouts = fields.filter(|it| it.manager.as_deref() == Some(MANAGER));
        let written_at = by_scouts.filter_map(|it| it.time.as_ref()).map(|time| time.0).max();
        Self {
            spec,
            status,
            is_ours,
            written_at,
            generation: metadata.generation,
            is_terminating: metadata.deletion_timestamp.is_some(),
            uid: metadata.uid,
            version: metadata.resource_version,
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

/// The cluster that the scout belongs to, as watches tell of it.
pub(super) struct Home {
    client: Client,
    api: Api<DynamicObject>,
    members: Arc<Mirror<Stored>>,
    multiclusters: Arc<Mirror<()>>,
    secrets: Vec<Arc<Mirror<RemoteSecret>>>,
}

impl Home {
    /// Nothing is known of it yet; `news` is notified of each change.
    pub(super) fn new(
        client: &Client,
        istio_namespaces: &[String],
        secrets: &Secrets,
        news: &Arc<Notify>,
    ) -> Self {
        let api = |group: &str, version: &str, kind: &str, plural: &str| {
            let kind = GroupVersionKind::gvk(group, version, kind);
            let resource = ApiResource::from_gvk_with_plural(&kind, plural);
            Api::all_with(client.clone(), &resource)
        };
        let members = api(GROUP, VERSION, KIND, RESOURCE);
        let multiclusters =
            api("deckhouse.io", "v1alpha1", "IstioMulticluster", "istiomulticlusters");
        let all = |api: Api<DynamicObject>| Selection { api, fields: None, labels: None };
        let istio_namespaces: BTreeSet<_> = istio_namespaces.iter().collect();
        let secrets = istio_namespaces
            .into_iter()
            .flat_map(|namespace| selections(client, namespace, secrets));
        Self {
            members: Mirror::new(all(members.clone()), Stored::from, news),
            multiclusters: Mirror::new(all(multiclusters), drop, news),
            secrets: secrets.map(|secrets| Mirror::new(secrets, remote_secret, news)).collect(),
            api: members,
            client: client.clone(),
        }
    }

    /// Begins the watches, which never end.
    pub(super) fn watch(&self, tasks: &mut JoinSet<()>) {
        let (members, multiclusters) = (Arc::clone(&self.members), Arc::clone(&self.multiclusters));
        tasks.spawn(async move { members.follow().await });
        tasks.spawn(async move { multiclusters.follow().await });
        for secrets in self.secrets.iter().map(Arc::clone) {
            tasks.spawn(async move { secrets.follow().await });
        }
    }

    /// Since when lists of all that joins members have been brought to their end, the first of them;
    /// nothing while anything has yet to be listed.
    pub(super) fn listed(&self) -> Option<Instant> {
        self.members.listed()?;
        let secrets = self.secrets.iter().map(|secrets| secrets.listed());
        secrets.chain([self.multiclusters.listed()]).min().flatten()
    }

    /// Asks for lists of what joins members.
    pub(super) fn list_anew(&self) {
        self.multiclusters.list_anew();
        self.secrets.iter().for_each(|secrets| secrets.list_anew());
    }

    /// Why a watch is not under way.
    pub(super) fn trouble(&self) -> Option<String> {
        let secrets = self.secrets.iter().find_map(|secrets| secrets.trouble());
        self.members.trouble().or_else(|| self.multiclusters.trouble()).or(secrets)
    }

    /// The MeshMembers by name.
    pub(super) fn members(&self) -> BTreeMap<String, Arc<Stored>> {
        self.members.objects()
    }

    /// In which version a MeshMember is known.
    pub(super) fn version_of(&self, name: &str) -> Option<u64> {
        self.members.version_of(name)
    }

    /// The names of the IstioMulticlusters, if the cluster knows such.
    pub(super) fn multiclusters(&self) -> Vec<String> {
        self.multiclusters.objects().into_keys().collect()
    }

    /// The remote Secrets that may be read.
    pub(super) fn remote_secrets(&self) -> Vec<Arc<RemoteSecret>> {
        let all = self.secrets.iter().flat_map(|secrets| secrets.objects().into_values());
        all.filter(|secret| secret.name != CONFIG_SECRET).collect()
    }

    /// Creates a MeshMember that states nothing.
    pub(super) async fn create(&self, name: &str) -> Result<Arc<Stored>, Failure> {
        let mut member = json!(MeshMember::new(name));
        member["metadata"]["labels"][LABEL.0] = LABEL.1.into();
        let params = PatchParams::apply(MANAGER);
        let created = answer(self.api.patch(name, &params, &Patch::Apply(member))).await?;
        self.members.learn(created)
    }

    /// Writes the status of one.
    pub(super) async fn write(&self, name: &str, status: &Status) -> Result<Arc<Stored>, Failure> {
        let patch = json!({
            "apiVersion": format!("{GROUP}/{VERSION}"),
            "kind": KIND,
            "metadata": {"name": name},
            "status": status,
        });
        let params = PatchParams::apply(MANAGER).force();
        let written = answer(self.api.patch_status(name, &params, &Patch::Apply(patch))).await?;
        self.members.learn(written)
    }

    /// Deletes one as it was seen, and no later version of it.
    pub(super) async fn delete(&self, name: &str, stored: &Stored) -> Result<(), Failure> {
        let preconditions =
            Preconditions { uid: stored.uid.clone(), resource_version: stored.version.clone() };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        answer(self.api.delete(name, &params)).await.map(drop)
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

/// The remote Secrets of a namespace that may be read.
fn selections(client: &Client, namespace: &str, secrets: &Secrets) -> Vec<Selection> {
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "Secret"));
    let selection = |name: Option<&String>| Selection {
        api: Api::namespaced_with(client.clone(), namespace, &kind),
        // By its name, one may be listed and watched that nothing more than that is granted of.
        fields: name.map(|name| format!("metadata.name={name}")),
        labels: name.is_none().then(|| REMOTE_SECRETS.to_owned()),
    };
    match secrets {
        Secrets::None => Vec::new(),
        Secrets::All => vec![selection(None)],
        Secrets::Named(names) => names.iter().map(Some).map(selection).collect(),
    }
}

fn remote_secret(mut secret: DynamicObject) -> RemoteSecret {
    let (name, data) = (secret.name_any(), secret.data["data"].take());
    let kubeconfigs = data.as_object().into_iter().flatten().map(|(id, text)| {
        let bytes = text.as_str().and_then(|text| STANDARD.decode(text).ok());
        let bytes = bytes.filter(|bytes| bytes.len() <= LARGEST_KUBECONFIG);
        // One that is not text leads nowhere, as an empty one.
        let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
        (id.clone(), Arc::from(text))
    });
    let kubeconfigs = kubeconfigs.collect();
    RemoteSecret { namespace: secret.namespace().unwrap_or_default(), name, kubeconfigs }
}
