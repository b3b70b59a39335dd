//! What clusters show of themselves: objects as kubeadm, the kubelet and Istio leave them.

use serde_json::{Value as Json, json};

use super::guarded::unguard;
use super::plane::Plane;
use super::wait_for;

/// What a test has a cluster show.
pub(crate) struct Showing {
    pub(crate) plane: &'static Plane,
}

impl Showing {
    /// A cluster that shows nothing yet, whatever an earlier test had it show.
    pub(crate) fn nothing(plane: &'static Plane) -> Self {
        let mut api = plane.admin();
        // The API server goes on asking an earlier test's isthmus for a moment.
        unguard(plane);
        let maps = "/api/v1/namespaces/kube-system/configmaps";
        let map =
            json!({"metadata": {"name": "kubeadm-config"}, "data": {"ClusterConfiguration": ""}});
        api.clear(&format!("{maps}/kubeadm-config"));
        wait_for("an API server that asks nobody", || {
            (api.try_create(maps, &map).status == 201).then_some(())
        });
        for path in [
            "/api/v1/nodes",
            "/api/v1/namespaces/default/pods",
            "/api/v1/namespaces/kube-system/pods",
            "/api/v1/namespaces/istio-system/pods",
            "/api/v1/namespaces/d8-istio/pods",
            "/api/v1/namespaces/tenant/pods",
            "/api/v1/namespaces/kube-system/configmaps/kubeadm-config",
            "/api/v1/namespaces/istio-system/configmaps/istio",
        ] {
            api.clear(path);
        }
        for namespace in ["istio-system", "tenant"] {
            let made = api.create("/api/v1/namespaces", &json!({"metadata": {"name": namespace}}));
            assert!([201, 409].contains(&made.status), "{}", made.text());
        }
        // No controller makes these here, and without them there is no Pod.
        for namespace in ["default", "istio-system", "tenant"] {
            let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts");
            let made = api.create(&path, &json!({"metadata": {"name": "default"}}));
            assert!([201, 409].contains(&made.status), "{}", made.text());
        }
        let showing = Self { plane };
        showing.network(None);
        showing
    }

    /// What kubeadm was told, in `networking`.
    pub(crate) fn kubeadm(&self, networking: &str) -> &Self {
        let text = format!(
            "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\nnetworking: {networking}\n"
        );
        let mut api = self.plane.admin();
        api.clear("/api/v1/namespaces/kube-system/configmaps/kubeadm-config");
        let map =
            json!({"metadata": {"name": "kubeadm-config"}, "data": {"ClusterConfiguration": text}});
        self.create("/api/v1/namespaces/kube-system/configmaps", &map)
    }

    /// What a component of the control plane was started with, in its mirror Pod.
    pub(crate) fn control_plane(&self, component: &str, flag: &str) -> &Self {
        let pod = json!({
            "metadata": {
                "name": format!("{component}-m"),
                "labels": {"component": component},
                "annotations": {"kubernetes.io/config.mirror": "x"},
                "ownerReferences": [
                    {"apiVersion": "v1", "kind": "Node", "name": "m", "uid": "u", "controller": true},
                ],
            },
            "spec": {
                "hostNetwork": true,
                "nodeName": "m",
                "containers": [{"name": "c", "image": "c", "command": [component, flag]}],
            },
        });
        self.create("/api/v1/namespaces/kube-system/pods", &pod)
    }

    /// istiod, which serves this domain and calls the cluster so.
    pub(crate) fn istiod(&self, domain: &str, cluster_id: &str) -> &Self {
        let container = json!({
            "name": "discovery",
            "image": "istiod",
            "args": ["discovery", "--domain", domain, "--log_output_level=default:info"],
            "env": [{"name": "CLUSTER_ID", "value": cluster_id}],
        });
        self.pod("istio-system", "istiod-1", "istiod", &container)
    }

    /// It has Deckhouse's namespace of Istio, with nothing in it.
    pub(crate) fn deckhouse(&self) -> &Self {
        let mut api = self.plane.admin();
        let made = api.create("/api/v1/namespaces", &json!({"metadata": {"name": "d8-istio"}}));
        assert!([201, 409].contains(&made.status), "{}", made.text());
        let accounts = "/api/v1/namespaces/d8-istio/serviceaccounts";
        let made = api.create(accounts, &json!({"metadata": {"name": "default"}}));
        assert!([201, 409].contains(&made.status), "{}", made.text());
        self
    }

    /// Deckhouse's api-proxy, which knows the domain and the UUID of the cluster.
    pub(crate) fn api_proxy(&self, domain: &str, uuid: &str) -> &Self {
        let env = json!([
            {"name": "CLUSTER_DOMAIN", "value": domain},
            {"name": "CLUSTER_UUID", "value": uuid},
        ]);
        let container = json!({"name": "api-proxy", "image": "api-proxy", "env": env});
        self.pod("d8-istio", "api-proxy-1", "api-proxy", &container)
    }

    /// A Pod with an app.
    pub(crate) fn pod(&self, namespace: &str, name: &str, app: &str, container: &Json) -> &Self {
        let pod = json!({
            "metadata": {"name": name, "labels": {"app": app}},
            "spec": {"containers": [container]},
        });
        self.create(&format!("/api/v1/namespaces/{namespace}/pods"), &pod)
    }

    /// A Pod that runs and has this address.
    pub(crate) fn running(&self, namespace: &str, name: &str, ip: &str) -> &Self {
        self.pod(namespace, name, "app", &json!({"name": "c", "image": "c"}));
        let status = json!({"status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]}});
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}/status");
        self.plane.admin().merge(&path, &status);
        self
    }

    /// A Node with this range of its Pods.
    pub(crate) fn node(&self, name: &str, pods: &str) -> &Self {
        let spec = json!({"podCIDR": pods, "podCIDRs": [pods]});
        self.create("/api/v1/nodes", &json!({"metadata": {"name": name}, "spec": spec}))
    }

    /// The network in the label of Istio's namespace.
    pub(crate) fn network(&self, network: Option<&str>) -> &Self {
        let labels = json!({"metadata": {"labels": {"topology.istio.io/network": network}}});
        self.plane.admin().merge("/api/v1/namespaces/istio-system", &labels);
        self
    }

    /// The UID of namespace `kube-system`.
    pub(crate) fn uid(&self) -> String {
        let namespace = self.plane.admin().get("/api/v1/namespaces/kube-system");
        namespace["metadata"]["uid"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    pub(crate) fn create(&self, collection: &str, object: &Json) -> &Self {
        let made = self.plane.admin().create(collection, object);
        assert_eq!(made.status, 201, "{}", made.text());
        self
    }
}
