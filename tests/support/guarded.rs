//! A cluster that isthmus guards.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use isthmus::ledger::Page;
use isthmus::mesh::Reading;
use serde_json::{Value as Json, json};

use super::api::{Api, MEMBERS};
use super::plane::{Output, Plane, Turn, exclusive};
use crate::support::objects::{self, secret, with, yaml};
use crate::support::process::{Server, command};
use crate::support::{TempDir, data, wait_for};

/// The custom resources.
pub(crate) const CRDS: &str = include_str!("crds.yaml");

/// What replicas are told that share a ledger.
pub(crate) const SHARING: &str = "--ledger=isthmus/isthmus-ledger";
/// Where that is.
pub(crate) const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/isthmus/leases";
pub(crate) const LEDGER: &str =
    "/apis/coordination.k8s.io/v1/namespaces/isthmus/leases/isthmus-ledger";

/// The secret path by which isthmus knows the API server.
const PATH: &str = "5ec2e7000000000000000000000000af";
/// What the API server calls by it.
pub(crate) const VALIDATE: &str = "/validate/5ec2e7000000000000000000000000af";

/// A control plane for one test alone, with isthmus before it.
pub(crate) struct Guarded {
    pub(crate) isthmus: Server,
    pub(crate) plane: &'static Plane,
    kubeconfig: PathBuf,
    certs: TempDir,
    _turn: Option<Turn>,
}

impl Guarded {
    /// An empty cluster, and isthmus before it.
    pub(crate) fn start() -> Self {
        Self::start_with(CRDS, "Fail")
    }

    /// An empty cluster with these custom resources, and isthmus before it.
    pub(crate) fn start_with(crds: &str, failure_policy: &str) -> Self {
        Self::start_by(crds, failure_policy, &[])
    }

    /// The same, isthmus being started with more arguments.
    pub(crate) fn start_by(crds: &str, failure_policy: &str, args: &[&str]) -> Self {
        let guarded = Self::launch(crds, args);
        if crds == CRDS {
            guarded.register(failure_policy);
        }
        guarded
    }

    /// An empty cluster that isthmus watches, but whose API server does not ask it.
    pub(crate) fn start_unasked() -> Self {
        let guarded = Self::launch(CRDS, &[]);
        // Until the API server has noticed that nobody is to be asked any more.
        let mut api = guarded.plane.admin();
        let wrong = with(objects::multicluster("x"), &["spec", "metadataEndpoint"], "https://x");
        wait_for("the webhooks to be gone", || {
            (api.try_create(MEMBERS, &wrong).status == 201).then_some(())
        });
        guarded
    }

    /// The same, whose API server asks nobody, and where replicas to come may share a ledger.
    pub(crate) fn start_unregistered() -> Self {
        let (plane, turn) = exclusive();
        Self::launch_in(plane, Some(turn), CRDS, (&[], &[SHARING]))
    }

    /// The same in a cluster that the test has already.
    pub(crate) fn start_in(plane: &'static Plane, args: &[&str]) -> Self {
        let guarded = Self::launch_in(plane, None, CRDS, (args, &[]));
        guarded.register("Fail");
        guarded
    }

    fn launch(crds: &str, args: &[&str]) -> Self {
        let (plane, turn) = exclusive();
        // A ledger takes a right, and a Lease.
        let ledger = args.iter().copied().find(|arg| arg.starts_with("--ledger="));
        Self::launch_in(plane, Some(turn), crds, (args, ledger.as_slice()))
    }

    fn launch_in(
        plane: &'static Plane,
        turn: Option<Turn>,
        crds: &str,
        (args, rights): (&[&str], &[&str]),
    ) -> Self {
        clear(plane, crds);
        let certs = TempDir::new();
        let directory = certs.path().to_str().unwrap().to_owned();
        isthmus(&["certs", "--certs-dir", &directory]);
        certs.write("path", PATH);
        let kubeconfig = grant(plane, rights);
        if rights.contains(&SHARING) {
            begin_ledger(plane);
        }
        let isthmus = watching(&kubeconfig, &certs, args);
        Self { isthmus, plane, kubeconfig, certs, _turn: turn }
    }

    /// Has the API server ask isthmus, and waits until it does.
    pub(crate) fn register(&self, failure_policy: &str) {
        self.register_at(self.isthmus.webhook, failure_policy);
    }

    /// The same, where isthmus is asked at another address.
    pub(crate) fn register_at(&self, address: SocketAddr, failure_policy: &str) {
        self.kubectl(&["apply", "-f", "-"], &self.webhooks(address, failure_policy)).ok();
        wait_asked(self.plane);
    }

    /// What has the API server ask isthmus at an address.
    fn webhooks(&self, address: SocketAddr, failure_policy: &str) -> String {
        isthmus(&[
            "webhooks",
            "--failure-policy",
            failure_policy,
            "--url",
            &format!("https://{address}"),
            "--ca",
            self.certs.path().join("ca.pem").to_str().unwrap(),
            "--path-file",
            self.certs.path().join("path").to_str().unwrap(),
        ])
    }

    /// The same, where what is asked there is only about objects of which this holds; another part
    /// has another name.
    pub(crate) fn register_part(&self, address: SocketAddr, name: &str, expression: &str) {
        let webhooks = self.webhooks(address, "Fail");
        let convert = ["create", "--dry-run=client", "-o=json", "-f", "-"];
        let converted = self.kubectl(&convert, &webhooks).ok();
        for configuration in serde_json::Deserializer::from_str(&converted).into_iter::<Json>() {
            let mut configuration = configuration.unwrap();
            configuration["metadata"]["name"] = format!("isthmus-{name}").into();
            for webhook in configuration["webhooks"].as_array_mut().unwrap() {
                let part = json!({"name": "part", "expression": expression});
                match webhook["matchConditions"].as_array_mut() {
                    Some(conditions) => conditions.push(part),
                    None => webhook["matchConditions"] = json!([part]),
                }
            }
            self.kubectl(&["apply", "-f", "-"], &configuration.to_string()).ok();
        }
    }

    /// What isthmus answers to a review of the API server's.
    #[track_caller]
    pub(crate) fn asks(&self, review: &Json) -> Json {
        self.isthmus.review(VALIDATE, review)
    }

    pub(crate) fn kubectl(&self, args: &[&str], stdin: &str) -> Output {
        self.plane.kubectl(args, stdin)
    }

    /// One more isthmus that guards the cluster, with the same certificate.
    pub(crate) fn replica(&self) -> Server {
        self.replica_with(&[])
    }

    /// The same with more arguments.
    pub(crate) fn replica_with(&self, args: &[&str]) -> Server {
        watching(&self.kubeconfig, &self.certs, args)
    }

    /// A kubeconfig of isthmus that leads to the cluster by another address.
    pub(crate) fn kubeconfig_by(&self, address: SocketAddr) -> PathBuf {
        let text = std::fs::read_to_string(&self.kubeconfig).unwrap();
        let path = self.certs.path().join("by-another-address.kubeconfig");
        let api = self.plane.api();
        // Its certificate is for its own address.
        let by = format!("'https://{address}', tls-server-name: '{}'", api.ip());
        let text = text.replace(&format!("'https://{api}'"), &by);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// The same, which reaches the cluster by another address.
    pub(crate) fn replica_by(&self, address: SocketAddr, args: &[&str]) -> Server {
        watching(&self.kubeconfig_by(address), &self.certs, args)
    }

    /// What another command of isthmus prints in a directory, with the rights that the server has.
    pub(crate) fn run(&self, directory: &Path, args: &[&str]) -> Ran {
        let run = command(directory).args(args).env("KUBECONFIG", &self.kubeconfig).output();
        Ran::from(run.unwrap())
    }

    /// Waits until the custom resources are served.
    pub(crate) fn wait_established(&self) {
        wait_established(self.plane);
    }

    /// Creates objects.
    pub(crate) fn create(&self, manifests: &str) -> Output {
        self.kubectl(&["create", "-f", "-"], manifests)
    }

    /// Waits until isthmus has seen so many objects of the cluster, and holds nothing more.
    pub(crate) fn wait_watched(&self, objects: u32) {
        self.isthmus.wait_metric("isthmus_watched_objects", objects.into());
        self.isthmus.wait_metric("isthmus_held_writes", 0.0);
    }
}

/// An isthmus that watches the cluster, known to the API server by this directory's certificate and
/// path.
fn watching(kubeconfig: &Path, certs: &TempDir, args: &[&str]) -> Server {
    let (directory, path) = (certs.path(), certs.path().join("path"));
    let [kubeconfig, directory, path] =
        [kubeconfig, directory, &path].map(|path| path.to_str().unwrap());
    let watched = ["--kubeconfig", kubeconfig, "--certs-dir", directory, "--tls-path-file", path];
    let isthmus = Server::launch_with(&[&watched, args].concat());
    isthmus.wait_ready();
    isthmus
}

/// An IstioMulticluster as people write it.
pub(crate) fn member(name: &str, endpoint: &str) -> String {
    yaml(&with(objects::multicluster(name), &["spec", "metadataEndpoint"], endpoint))
}

/// One that says more of itself by annotations under `isthmus.dev/`.
pub(crate) fn described(name: &str, gateway: bool, annotations: &[(&str, &str)]) -> String {
    yaml(&objects::described(name, gateway, annotations))
}

/// The Secret in which Deckhouse keeps the local member's configuration, with these pods.
pub(crate) fn local(pods: &str) -> String {
    let configuration = data("seed/cluster-configuration.yaml").replace("10.111.0.0/16", pods);
    let mut object = secret("kube-system", "d8-cluster-configuration", Json::Null);
    object["stringData"]["cluster-configuration.yaml"] = configuration.into();
    object.as_object_mut().unwrap().remove("data");
    yaml(&object)
}

/// Waits until the API server has noticed that isthmus is to be asked.
pub(crate) fn wait_asked(plane: &Plane) {
    let mut api = plane.admin();
    let probe = |endpoint: &str| {
        with(objects::multicluster("probe"), &["spec", "metadataEndpoint"], endpoint)
    };
    let refused = probe("https://istio.probe.example.com");
    wait_for("the validating webhook", || {
        let answer = api.try_create(MEMBERS, &refused);
        answer.text().contains("[InvalidMetadataEndpoint]").then_some(())
    });
    // The resource's own pattern refuses what is not put right.
    let changed = probe("HTTPS://istio.probe.example.com/metadata/");
    wait_for("the mutating webhook", || {
        (api.try_create(MEMBERS, &changed).status == 201).then_some(())
    });
}

pub(crate) fn wait_established(plane: &Plane) {
    let wait = ["wait", "--for=condition=Established", "crd", "--all", "--timeout=5m"];
    plane.kubectl(&wait, "").ok();
    // What kubectl and Helm discover is put together later, for a new group up to a minute.
    wait_for("discovery", || {
        let found = plane.kubectl(&["api-resources", "-o=name"], "").stdout;
        let is_found = |name: &str| found.lines().any(|line| line == name);
        definitions(&mut plane.admin()).iter().all(|(name, _)| is_found(name)).then_some(())
    });
}

/// Leaves nothing of an earlier test.
pub(crate) fn clear(plane: &Plane, crds: &str) {
    unguard(plane);
    let mut api = plane.admin();
    if crds == CRDS {
        // Others are installed by the tests that need them.
        for (name, _) in definitions(&mut api) {
            if !crds.contains(&format!("name: {name}")) {
                plane.kubectl(&["delete", "crd", &name], "").ok();
            }
        }
        let mut applied = plane.definitions.lock().unwrap_or_else(PoisonError::into_inner);
        if *applied != Some(definitions(&mut api)) {
            // A resource that was stored in another version cannot go back to this one.
            if !plane.kubectl(&["apply", "-f", "-"], crds).succeeded {
                delete_definitions(plane);
                plane.kubectl(&["apply", "-f", "-"], crds).ok();
            }
            wait_established(plane);
            *applied = Some(definitions(&mut api));
        }
        drop(applied);
        for resource in [
            "deckhouse.io/v1alpha1/istiomulticlusters",
            "deckhouse.io/v1alpha1/moduleconfigs",
            "deckhouse.io/v1/clusterconfigurations",
            "clusterregistry.k8s.io/v1alpha1/namespaces/istio-system/clusters",
        ] {
            api.clear(&format!("/apis/{resource}"));
        }
    } else {
        delete_definitions(plane);
    }
    for (path, name) in [
        ("/api/v1/namespaces", "isthmus"),
        ("/api/v1/namespaces", "istio-system"),
        ("/api/v1/namespaces/isthmus/serviceaccounts", "isthmus"),
    ] {
        let made = api.create(path, &json!({"metadata": {"name": name}}));
        assert!([201, 409].contains(&made.status), "{}", made.text());
    }
    for path in [
        "/api/v1/namespaces/isthmus/configmaps",
        "/api/v1/namespaces/isthmus/secrets",
        "/apis/coordination.k8s.io/v1/namespaces/isthmus/leases",
        "/api/v1/namespaces/istio-system/configmaps",
        "/api/v1/namespaces/istio-system/secrets",
        "/api/v1/namespaces/istio-system/endpoints",
        "/apis/discovery.k8s.io/v1/namespaces/istio-system/endpointslices",
        "/api/v1/namespaces/kube-system/secrets/d8-cluster-configuration",
        "/api/v1/namespaces/kube-system/configmaps/kubeadm-config",
        "/api/v1/namespaces/kube-system/configmaps/d8-cluster-uuid",
    ] {
        api.clear(path);
    }
}

/// The definitions by their names, and what tells whether they are as they were.
fn definitions(api: &mut Api) -> Vec<(String, Json)> {
    let found = api.get("/apis/apiextensions.k8s.io/v1/customresourcedefinitions");
    let items = found["items"].as_array().unwrap().iter().map(|item| &item["metadata"]);
    let definition = |metadata: &Json| {
        let name = metadata["name"].as_str().unwrap().to_owned();
        (name, json!([metadata["uid"], metadata["generation"]]))
    };
    items.map(definition).collect()
}

/// Has the API server ask no webhook any more.
pub(super) fn unguard(plane: &Plane) {
    for kind in ["validatingwebhookconfigurations", "mutatingwebhookconfigurations"] {
        plane.admin().clear(&format!("/apis/admissionregistration.k8s.io/v1/{kind}"));
    }
}

/// One by one, as kubectl does it: deleted as a collection, they leave their objects behind.
fn delete_definitions(plane: &Plane) {
    plane.kubectl(&["delete", "crd", "--all"], "").ok();
}

/// What came of a command of isthmus.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<std::process::Output> for Ran {
    fn from(output: std::process::Output) -> Self {
        Self {
            status: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// Gives the service account of isthmus the roles that `isthmus rbac` prints, and leads to the
/// cluster as that account.
pub(crate) fn grant(plane: &Plane, args: &[&str]) -> PathBuf {
    let roles = isthmus(&[&["rbac"], args].concat());
    let granted = plane.kubectl(&["apply", "-f", "-"], &roles);
    // Of the two namespaces that Istio may have, a cluster has one.
    let absent = |line: &str| line.contains("namespaces \"d8-istio\" not found");
    assert!(granted.stderr.lines().all(absent), "{granted:?}");
    let account = "/api/v1/namespaces/isthmus/serviceaccounts/isthmus/token";
    let token = plane.admin().create(account, &json!({"spec": {}}));
    assert_eq!(token.status, 201, "{}", token.text());
    let token: Json = serde_json::from_slice(&token.body).unwrap();
    plane.kubeconfig("isthmus", token["status"]["token"].as_str().unwrap())
}

/// Makes a ledger as it is where replicas have long shared it: a new one has writes wait.
fn begin_ledger(plane: &Plane) {
    let mut api = plane.admin();
    let made = api.create(LEASES, &json!({"metadata": {"name": "isthmus-ledger"}}));
    assert_eq!(made.status, 201, "{}", made.text());
    let made: Json = serde_json::from_slice(&made.body).unwrap();
    let page = Page::<Arc<Reading>>::new(1, &"earlier".into());
    let page = Page { is_proven: true, ..page }.to_text(made["metadata"]["uid"].as_str().unwrap());
    let annotations =
        json!({"isthmus.dev/page": page, "isthmus.dev/page-nonce": format!("{:032x}", 1)});
    api.merge(LEDGER, &json!({"metadata": {"annotations": annotations}}));
}

/// What the built program prints.
pub(crate) fn isthmus(args: &[&str]) -> String {
    let directory = TempDir::new();
    let output = command(directory.path()).args(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
