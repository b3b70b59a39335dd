//! A release in a real cluster, in which the tests play the kubelet: what the Deployment says is
//! run beside the API server, with the rights and by the name of its service account.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value as Json, json};

use super::helm::{IMAGE, chart, helm};
use super::registry::certified;
use crate::support::guarded::{CRDS, clear, wait_asked, wait_established};
use crate::support::plane::{ADMIN, Output, Plane, Turn, binary, exclusive};
use crate::support::process::Server;
use crate::support::relay::Relay;
use crate::support::scouting::Scout;
use crate::support::{TempDir, wait_for};

/// The custom resources of others.
const OTHERS: &str = include_str!("crds.yaml");
/// What a release leaves behind that was not uninstalled, and what other tests have made.
const LEFT: &[(&str, &[&str])] = &[
    ("api/v1", &["pods", "services", "serviceaccounts", "secrets", "configmaps"]),
    ("apis/apps/v1", &["deployments", "replicasets"]),
    ("apis/rbac.authorization.k8s.io/v1", &["roles", "rolebindings"]),
    ("apis/policy/v1", &["poddisruptionbudgets"]),
    ("apis/networking.k8s.io/v1", &["networkpolicies"]),
    ("apis/monitoring.coreos.com/v1", &["servicemonitors", "prometheusrules"]),
];

/// How to create what is on standard input.
pub(crate) const CREATE: &[&str] = &["create", "-o=name", "-f", "-"];

/// A cluster for one test alone, in which a release may be.
pub(crate) struct Release {
    pub(crate) plane: &'static Plane,
    isthmus: Option<Server>,
    pub(crate) scout: Option<Scout>,
    /// The generations of the Deployments that run.
    running: BTreeMap<&'static str, Json>,
    /// Which Helm.
    pub(crate) helm: &'static str,
    /// Whether isthmus makes its certificate itself.
    pub(crate) own_certificate: bool,
    /// Whether the Service is called, which leads nowhere here.
    pub(crate) by_service: bool,
    /// Where the API server finds isthmus.
    pub(crate) service: Relay,
    certs: TempDir,
    home: TempDir,
    _turn: Option<Turn>,
}

impl Release {
    /// A cluster without one.
    pub(crate) fn none() -> Self {
        let (plane, turn) = exclusive();
        Self { _turn: Some(turn), ..Self::none_in(plane) }
    }

    /// The same in a cluster that the test has already.
    pub(crate) fn none_in(plane: &'static Plane) -> Self {
        clear(plane, CRDS);
        plane.kubectl(&["apply", "-f", "-"], OTHERS).ok();
        // The definition that an earlier release has left.
        let left = ["delete", "crd", "meshmembers.isthmus.dev", "--ignore-not-found"];
        plane.kubectl(&left, "").ok();
        wait_established(plane);
        for namespace in ["d8-istio", "a-istio", "b-istio"] {
            let made = plane
                .admin()
                .create("/api/v1/namespaces", &json!({"metadata": {"name": namespace}}));
            assert!([201, 409].contains(&made.status), "{}", made.text());
        }
        let restricted = "pod-security.kubernetes.io/enforce=restricted";
        plane.kubectl(&["label", "--overwrite", "namespace/isthmus", restricted], "").ok();
        let mut api = plane.admin();
        for (group, resources) in LEFT {
            for resource in *resources {
                api.clear(&format!("/{group}/namespaces/isthmus/{resource}"));
            }
        }
        let rights = "/apis/rbac.authorization.k8s.io/v1";
        for (kind, name) in [
            ("role", "isthmus"),
            ("rolebinding", "isthmus"),
            ("role", "isthmus-scout"),
            ("rolebinding", "isthmus-scout"),
        ] {
            api.clear(&format!("{rights}/cluster{kind}s/{name}"));
            for namespace in ["default", "kube-system", "istio-system", "d8-istio"] {
                api.clear(&format!("{rights}/namespaces/{namespace}/{kind}s/{name}"));
            }
        }
        for kind in ["validatingadmissionpolicies", "validatingadmissionpolicybindings"] {
            api.clear(&format!("/apis/admissionregistration.k8s.io/v1/{kind}"));
        }
        for kind in ["flowschemas", "prioritylevelconfigurations"] {
            api.clear(&format!("/apis/flowcontrol.apiserver.k8s.io/v1/{kind}/isthmus"));
        }
        api.clear("/api/v1/nodes");
        let release = Self {
            plane,
            isthmus: None,
            scout: None,
            running: BTreeMap::new(),
            helm: "helm",
            own_certificate: false,
            by_service: false,
            service: Relay::new(),
            certs: certified(),
            home: TempDir::new(),
            _turn: None,
        };
        let pair = ["tls.pem", "tls-key.pem"].map(|name| release.certs.path().join(name));
        let [certificate, key] = pair.map(|path| path.display().to_string());
        let make = ["create", "secret", "tls", "given", "-n=isthmus"];
        let files = [format!("--cert={certificate}"), format!("--key={key}")];
        release.kubectl(&[&make[..], &[&files[0], &files[1]]].concat()).ok();
        release
    }

    /// The same, for the other Helm, and for certificates that isthmus makes itself.
    pub(crate) fn none_by(helm: &'static str) -> Self {
        Self { helm, own_certificate: true, ..Self::none() }
    }

    /// A cluster with one.
    pub(crate) fn install(values: &[&str]) -> Self {
        let mut release = Self::none();
        let printed = release.roll_out("install", values);
        assert!(printed.contains("STATUS: deployed"), "{printed}");
        release
    }

    /// What runs of it.
    pub(crate) fn isthmus(&self) -> &Server {
        self.isthmus.as_ref().expect("isthmus runs")
    }

    /// Ends what runs of it.
    pub(crate) fn end_isthmus(&mut self) {
        self.service.lead_to(None);
        self.isthmus = None;
    }

    pub(crate) fn kubectl(&self, args: &[&str]) -> Output {
        self.plane.kubectl(args, "")
    }

    /// What people are told to type.
    pub(crate) fn shell(&self, text: &str) -> Output {
        let mut shell = Command::new("sh");
        let place = binary("kubectl");
        let path = std::env::var("PATH").unwrap_or_default();
        shell.env("PATH", format!("{}:{path}", place.parent().unwrap().display()));
        shell.env("KUBECONFIG", self.plane.kubeconfig("admin", ADMIN)).args(["-c", text]);
        finished(spawned(&mut shell))
    }

    /// An object of the release.
    pub(crate) fn get(&self, what: &str) -> Json {
        let found = self.plane.admin().get(&path_of(what));
        assert!(found["metadata"]["uid"].is_string(), "{what}: {found}");
        found
    }

    /// Helm, at the cluster.
    pub(crate) fn helm(&self, args: &[&str]) -> Command {
        let mut command = helm(self.helm, &self.home);
        command.env("KUBECONFIG", self.plane.kubeconfig("admin", ADMIN));
        command.args(args).arg("--namespace=isthmus");
        command
    }

    /// Has Helm change the release and wait for it, and does what it waits for.
    pub(crate) fn roll_out(&mut self, verb: &str, args: &[&str]) -> String {
        let authority = self.certs.path().join("ca.pem");
        let url = format!("--set=webhooks.url=https://{}", self.service.address);
        let authority = format!("--set-file=tls.provided.caBundle={}", authority.display());
        let mut command = self.helm(&[verb, "isthmus"]);
        if verb != "rollback" {
            command.arg(chart()).args(["--set", IMAGE]);
            if !self.by_service {
                command.arg(&url);
            }
            if !self.own_certificate {
                command.args(["--set=tls.mode=provided,tls.provided.secretName=given", &authority]);
            }
        }
        command.args(["--wait", "--timeout=10m"]).args(args);
        let before = self.generation("isthmus");
        let mut child = spawned(&mut command);
        wait_for("the Deployment", || {
            (self.generation("isthmus") != before || ended(&mut child)).then_some(())
        });
        // A Deployment that stays as it is runs what it ran.
        if self.generation("isthmus") != before {
            self.run_pod();
            self.tell_available("isthmus");
        }
        let printed = finished(child).ok();
        if !self.by_service {
            wait_asked(self.plane);
        }
        printed
    }

    /// Runs the tests of the release, and what their Pod says; returns what Helm printed, and
    /// what the Pod did.
    pub(crate) fn test(&self) -> (Output, Output) {
        let mut child = spawned(&mut self.helm(&["test", "isthmus", "--timeout=10m"]));
        wait_for("the Pod", || {
            (self.phase_of_probe().is_some() || ended(&mut child)).then_some(())
        });
        let probed = self.run_probe();
        (finished(child), probed)
    }

    /// The phase of the Pod that tests the release.
    fn phase_of_probe(&self) -> Option<Json> {
        let pod = self.plane.admin().get("/api/v1/namespaces/isthmus/pods/isthmus-probe");
        (pod["kind"] == "Pod").then(|| pod["status"]["phase"].clone())
    }

    /// What the Pod that tests the release says.
    fn run_probe(&self) -> Output {
        let pod = self.get("pod/isthmus-probe");
        let args = args_of(&pod["spec"]["containers"][0]);
        let kubeconfig = self.kubeconfig("isthmus-probe");
        let mut probe = crate::support::process::command(self.home.path());
        probe.args(args).arg("--kubeconfig").arg(kubeconfig);
        let probed = finished(spawned(&mut probe));
        let phase = if probed.succeeded { "Succeeded" } else { "Failed" };
        self.tell("pod/isthmus-probe", &json!({"phase": phase}));
        probed
    }

    /// Has an administrator's commands run, and does meanwhile what a cluster does: what the
    /// Deployments say, and the tests of the release.
    pub(crate) fn attend(&mut self, mut commands: Command) -> Output {
        let mut child = spawned(commands.env("KUBECONFIG", self.plane.kubeconfig("admin", ADMIN)));
        while !ended(&mut child) {
            for name in ["isthmus", "isthmus-scout"] {
                let generation = self.generation(name);
                if generation.is_none() || self.running.get(name) == generation.as_ref() {
                    continue;
                }
                match name {
                    "isthmus" => self.run_pod(),
                    _ => self.run_scout(),
                }
                self.tell_available(name);
                self.running.extend(generation.map(|generation| (name, generation)));
            }
            if self.phase_of_probe().is_some_and(|phase| phase == "Pending") {
                self.run_probe();
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        finished(child)
    }

    /// Removes the release.
    pub(crate) fn uninstall(&self) -> String {
        finished(spawned(&mut self.helm(&["uninstall", "isthmus", "--wait", "--timeout=10m"]))).ok()
    }

    /// How many reviews isthmus was asked for.
    pub(crate) fn reviews(&self) -> u64 {
        let page = self.isthmus().admin("/metrics").text();
        let counted = page.lines().filter(|line| line.starts_with("isthmus_reviews_total{"));
        counted.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    }

    fn generation(&self, deployment: &str) -> Option<Json> {
        let path = format!("/apis/apps/v1/namespaces/isthmus/deployments/{deployment}");
        let found = self.plane.admin().get(&path);
        (found["kind"] == "Deployment").then(|| found["metadata"]["generation"].clone())
    }

    /// Runs what the Deployment of the scout says.
    fn run_scout(&mut self) {
        let deployment = self.get("deployment/isthmus-scout");
        let pod = &deployment["spec"]["template"]["spec"];
        assert_eq!(pod["serviceAccountName"], "isthmus-scout");
        let args = args_of(&pod["containers"][0]);
        let (scout, args) = args.split_first().unwrap();
        assert_eq!(scout, "scout");
        let is_given = |arg: &&str| !arg.starts_with("--admin=") && !arg.starts_with("--log-");
        let kubeconfig = format!("--kubeconfig={}", self.kubeconfig("isthmus-scout").display());
        let args = args.iter().map(String::as_str).filter(is_given);
        let scout = Scout::launch(&args.chain([kubeconfig.as_str()]).collect::<Vec<_>>());
        wait_for("the scout", || (scout.page("/readyz").0 == 200).then_some(()));
        self.scout = Some(scout);
    }

    /// Runs what the Deployment says, in place of what ran before.
    fn run_pod(&mut self) {
        let deployment = self.get("deployment/isthmus");
        let pod = &deployment["spec"]["template"]["spec"];
        assert_eq!(pod["serviceAccountName"], "isthmus");
        let mounted = TempDir::new();
        let volumes = pod["volumes"].as_array().into_iter().flatten();
        let secrets = volumes.filter_map(|volume| volume["secret"]["secretName"].as_str());
        for secret in secrets {
            let secret = self.get(&format!("secret/{secret}"));
            for (name, content) in secret["data"].as_object().unwrap() {
                mounted.write(name, STANDARD.decode(content.as_str().unwrap()).unwrap());
            }
        }
        assert_eq!(pod.get("volumes").is_none(), self.own_certificate);
        let place = mounted.path().display().to_string();
        let args = args_of(&pod["containers"][0]);
        let mut args: Vec<_> = args
            .iter()
            .map(|arg| match arg.split_once('=') {
                Some(("--listen", _)) => "--listen=127.0.0.1:0".to_owned(),
                Some(("--admin", _)) => "--admin=127.0.0.1:0".to_owned(),
                _ => arg.replace("/etc/isthmus/tls", &place).replace("/etc/isthmus/path", &place),
            })
            .collect();
        args.push(format!("--kubeconfig={}", self.kubeconfig("isthmus").display()));
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        let server = Server::run(&args);
        server.wait_ready();
        // It has read them.
        drop(mounted);
        self.service.lead_to(Some(server.webhook));
        self.isthmus = Some(server);
    }

    fn tell_available(&self, name: &str) {
        let name = format!("deployment/{name}");
        let deployment = self.get(&name);
        if self.helm == "helm3" {
            self.replicate(&deployment);
        }
        let replicas = &deployment["spec"]["replicas"];
        let condition =
            |kind: &str, reason: &str| json!({"type": kind, "status": "True", "reason": reason});
        let status = json!({
            "observedGeneration": deployment["metadata"]["generation"],
            "replicas": replicas,
            "updatedReplicas": replicas,
            "readyReplicas": replicas,
            "availableReplicas": replicas,
            "conditions": [
                condition("Available", "MinimumReplicasAvailable"),
                condition("Progressing", "NewReplicaSetAvailable"),
            ],
        });
        self.tell(&name, &status);
    }

    /// Tells the status of an object of the release.
    fn tell(&self, what: &str, status: &Json) {
        let path = format!("{}/status", path_of(what));
        self.plane.admin().merge(&path, &json!({"status": status}));
    }

    /// Makes the ReplicaSet of a Deployment, which Helm 3 looks at, too.
    fn replicate(&self, deployment: &Json) {
        let (metadata, spec) = (&deployment["metadata"], &deployment["spec"]);
        let hash = metadata["generation"].to_string();
        let mut template = spec["template"].clone();
        template["metadata"]["labels"]["pod-template-hash"] = hash.as_str().into();
        let labels = template["metadata"]["labels"].clone();
        let owner = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "name": metadata["name"],
            "uid": metadata["uid"], "controller": true,
        });
        let set = json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": {
                "namespace": "isthmus", "name": format!("isthmus-{hash}"), "labels": labels,
                "ownerReferences": [owner],
            },
            "spec": {
                "replicas": spec["replicas"], "template": template,
                "selector": {"matchLabels": labels},
            },
        });
        self.plane.kubectl(&["apply", "-f", "-"], &set.to_string()).ok();
        let replicas = &spec["replicas"];
        let status = json!({
            "observedGeneration": 1, "replicas": replicas, "readyReplicas": replicas,
            "availableReplicas": replicas,
        });
        self.tell(&format!("replicaset/isthmus-{hash}"), &status);
    }

    fn kubeconfig(&self, account: &str) -> std::path::PathBuf {
        self.plane.kubeconfig(account, &self.token(account))
    }

    /// A token of a service account.
    pub(crate) fn token(&self, account: &str) -> String {
        let path = format!("/api/v1/namespaces/isthmus/serviceaccounts/{account}/token");
        let made = self.plane.admin().create(&path, &json!({"spec": {}}));
        assert_eq!(made.status, 201, "{}", made.text());
        let made: Json = serde_json::from_slice(&made.body).unwrap();
        made["status"]["token"].as_str().unwrap().to_owned()
    }
}

/// Where an object is of which tests speak as kubectl does, `KIND/NAME`.
fn path_of(what: &str) -> String {
    let (kind, name) = what.split_once('/').unwrap();
    let (group, namespace) = match kind {
        "pod" | "secret" => ("api/v1", true),
        "deployment" | "replicaset" => ("apis/apps/v1", true),
        "poddisruptionbudget" => ("apis/policy/v1", true),
        "servicemonitor" => ("apis/monitoring.coreos.com/v1", true),
        "flowschema" | "prioritylevelconfiguration" => {
            ("apis/flowcontrol.apiserver.k8s.io/v1", false)
        }
        _ => ("apis/admissionregistration.k8s.io/v1", false),
    };
    let namespace = if namespace { "/namespaces/isthmus" } else { "" };
    format!("/{group}{namespace}/{kind}s/{name}")
}

/// What a container's program is told.
pub(crate) fn args_of(container: &Json) -> Vec<String> {
    let args = container["args"].as_array().unwrap();
    args.iter().map(|arg| arg.as_str().unwrap().to_owned()).collect()
}

fn spawned(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn ended(child: &mut Child) -> bool {
    child.try_wait().unwrap().is_some()
}

fn finished(child: Child) -> Output {
    let output = child.wait_with_output().unwrap();
    Output {
        succeeded: output.status.success(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}
