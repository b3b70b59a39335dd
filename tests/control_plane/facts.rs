//! What clusters show of themselves, and whether they can be joined, before anything is written.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};

use crate::support::elsewhere::{kubeconfig, outer_address, remote_secret};
use crate::support::golden::expect;
use crate::support::guarded::{Guarded, Ran, isthmus};
use crate::support::plane::{ADMIN, Plane, several};
use crate::support::process::command;
use crate::support::relay::Relay;
use crate::support::scouting::{lasting_reader, wait_granted};
use crate::support::showing::Showing;
use crate::support::{TempDir, data};

/// Commands and what they printed, without what is another with each run.
struct Session {
    directory: TempDir,
    /// What is replaced, and by what.
    chance: Vec<(String, &'static str)>,
    text: String,
}

impl Session {
    /// With a kubeconfig of these contexts.
    fn new(contexts: &[(&str, &Plane, &str)]) -> Self {
        let directory = TempDir::new();
        let mut config = json!({"apiVersion": "v1", "kind": "Config", "current-context": "a"});
        for list in ["clusters", "users", "contexts"] {
            config[list] = json!([]);
        }
        for (name, plane, token) in contexts {
            let text = std::fs::read_to_string(plane.kubeconfig("facts", token)).unwrap();
            let authority = text.split('\'').nth(3).unwrap();
            let server = format!("https://{}", plane.api());
            let cluster = json!({"server": server, "certificate-authority": authority});
            let push = |list: &mut Json, item| list.as_array_mut().unwrap().push(item);
            push(&mut config["clusters"], json!({"name": name, "cluster": cluster}));
            push(&mut config["users"], json!({"name": name, "user": {"token": token}}));
            let context = json!({"cluster": name, "user": name});
            push(&mut config["contexts"], json!({"name": name, "context": context}));
        }
        directory.write("kubeconfig", config.to_string());
        Self { directory, chance: Vec::new(), text: String::new() }
    }

    fn kubeconfig(&self) -> PathBuf {
        self.directory.path().join("kubeconfig")
    }

    fn note(&mut self, note: &str) {
        let gap = if self.text.is_empty() { "" } else { "\n" };
        writeln!(self.text, "{gap}# {note}").unwrap();
    }

    fn run(&mut self, args: &[&str]) -> Ran {
        let mut command = command(self.directory.path());
        let ran =
            Ran::from(command.args(args).env("KUBECONFIG", self.kubeconfig()).output().unwrap());
        writeln!(self.text, "$ isthmus {}", args.join(" ")).unwrap();
        for (mark, lines) in [("   ", &ran.stdout), ("2> ", &ran.stderr)] {
            for line in lines.lines() {
                let mut line = line.to_owned();
                for (found, instead) in &self.chance {
                    line = line.replace(found, instead);
                }
                if line.trim_start().starts_with("at: ") {
                    line = line.split("at: ").next().unwrap().to_owned() + "at: ...";
                }
                writeln!(self.text, "{}", format!("{mark}{line}").trim_end()).unwrap();
            }
        }
        writeln!(self.text, "exit: {}", ran.status).unwrap();
        ran
    }

    #[track_caller]
    fn check(self, name: &str) {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/control_plane");
        expect(&directory.join("transcripts").join(name).with_extension("txt"), &self.text);
    }
}

/// A cluster as kubeadm and istioctl leave it.
fn usual(showing: &Showing, pods: &str, id: &str) {
    let Plane { services, .. } = showing.plane;
    let networking = format!(
        "{{dnsDomain: cluster.local, podSubnet: {pods}.0.0/16, serviceSubnet: {services}}}"
    );
    showing.kubeadm(&networking).istiod("cluster.local", id);
    showing.running("default", "inside", &format!("{pods}.0.7"));
}

#[test]
fn a_cluster_s_facts_are_a_file_that_can_be_judged() {
    let ([plane], _turns) = several();
    let showing = Showing::nothing(plane);
    let mut session = Session::new(&[("a", plane, ADMIN)]);
    // One that begins like a number is quoted.
    session.chance.push((format!("\"{}\"", showing.uid()), "UID"));
    session.chance.push((showing.uid(), "UID"));
    session.note("Nothing but what every API server has.");
    session.run(&["facts", "--context", "a", "--member", "bare"]);
    session.note("A cluster as kubeadm and istioctl leave it.");
    usual(&showing, "10.111", "cluster-a");
    showing.network(Some("vpc-1"));
    let facts = session.run(&["facts", "--context", "a"]);
    session.directory.write("a.yaml", &facts.stdout);
    session.note("The file is one of an inventory, and is judged as it is.");
    session.run(&["check", "a.yaml"]);
    let change = "kind: MeshMember\napiVersion: isthmus.dev/v1alpha1\nmetadata: {name: b}\nspec: {podSubnets: [10.111.4.0/24], serviceSubnets: [10.9.0.0/16], clusterDomain: other.local, network: vpc-1}\n";
    session.directory.write("b.yaml", change);
    session.run(&["check", "b.yaml", "--against", "a.yaml", "--local-member", "cluster-a"]);
    session.note("As JSON, it is the same.");
    let mut json_facts: Json = serde_json::from_str(
        &Ran::from(
            command(session.directory.path())
                .args(["facts", "--context", "a", "-o", "json"])
                .env("KUBECONFIG", session.kubeconfig())
                .output()
                .unwrap(),
        )
        .stdout,
    )
    .unwrap();
    let observed = json_facts["status"]["observed"].take();
    assert_eq!(observed["uid"]["value"], showing.uid());
    assert_eq!(json_facts["spec"]["podSubnets"], json!(["10.111.0.0/16"]));
    session
        .note("A tenant's Pod tells nothing of Istio, and an address outside is not passed over.");
    let env = json!([{"name": "ISTIO_META_NETWORK", "value": "evil"}, {"name": "CLUSTER_DOMAIN", "value": "evil.local"}]);
    let evil = json!({"name": "c", "image": "c", "args": ["discovery", "--domain", "evil.local"], "env": env});
    showing.pod("tenant", "istiod", "istiod", &evil).running("tenant", "outside", "10.99.0.1");
    session.run(&["facts", "--context", "a"]);
    session.check("facts");
}

#[test]
fn each_right_tells_its_rows_and_what_is_refused_is_not_known() {
    let ([plane], _turns) = several();
    let showing = Showing::nothing(plane);
    usual(&showing, "10.111", "cluster-a");
    showing.control_plane("kube-controller-manager", "--cluster-cidr=10.111.0.0/16");
    showing.node("n1", "10.111.1.0/24");
    for kind in ["clusterroles", "clusterrolebindings"] {
        let path = format!("/apis/rbac.authorization.k8s.io/v1/{kind}");
        plane.kubectl(&["delete", kind, "-l=test=facts"], "").ok();
        plane.admin().clear(&format!("{path}/isthmus-peer"));
    }
    for namespace in ["kube-system", "istio-system"] {
        for kind in ["roles", "rolebindings"] {
            let path = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/{kind}");
            plane.admin().clear(&format!("{path}/isthmus-peer"));
        }
    }
    let account = "istio-reader-service-account";
    plane.admin().clear(&format!("/api/v1/namespaces/istio-system/serviceaccounts/{account}"));
    plane.kubectl(&["create", "serviceaccount", account, "-n=istio-system"], "").ok();
    let token = plane.kubectl(&["create", "token", account, "-n=istio-system"], "").ok();
    let mut session = Session::new(&[("a", plane, token.trim())]);
    // One that begins like a number is quoted.
    session.chance.push((format!("\"{}\"", showing.uid()), "UID"));
    session.chance.push((showing.uid(), "UID"));
    session.note("Without any right.");
    session.run(&["facts", "--context", "a"]);
    session.note(
        "With the role of Istio's readers, which that of Deckhouse's api-proxy equals in this.",
    );
    let role = data("istio-reader.yaml");
    plane.kubectl(&["apply", "-f", "-"], &role).ok();
    wait_granted(plane, &["list", "nodes"]);
    session.run(&["facts", "--context", "a"]);
    session.note("Without Pods of the control plane, as in managed clusters.");
    plane.admin().clear("/api/v1/namespaces/kube-system/pods");
    session.run(&["facts", "--context", "a"]);
    session.note("With the optional role beside it.");
    let optional = isthmus(&["rbac", "--peer", "--istio-namespaces", "istio-system"]);
    plane.kubectl(&["apply", "-f", "-"], &optional).ok();
    wait_granted(plane, &["list", "servicecidrs.networking.k8s.io"]);
    for (name, namespace) in [("kubeadm-config", "kube-system"), ("istio", "istio-system")] {
        wait_granted(plane, &["get", &format!("configmaps/{name}"), "-n", namespace]);
    }
    session.run(&["facts", "--context", "a"]);
    session.check("facts-by-rights");
}

#[test]
fn three_clusters_are_judged_as_one_mesh_before_they_are_one() {
    let (planes, _turns) = several::<3>();
    let [a, b, c] = planes.map(Showing::nothing);
    usual(&a, "10.111", "cluster-a");
    usual(&b, "10.111", "cluster-a");
    usual(&c, "10.113", "cluster-c");
    let contexts = [("a", planes[0], ADMIN), ("b", planes[1], ADMIN), ("c", planes[2], ADMIN)];
    let mut session = Session::new(&contexts);
    for (showing, name) in [(&a, "UID-A"), (&b, "UID-B"), (&c, "UID-C")] {
        session.chance.push((showing.uid(), name));
    }
    let all = ["join", "--context", "a", "--context", "b", "--context", "c"];
    session.note("Two have the same Pods' subnet and one cluster ID.");
    assert_eq!(session.run(&all).status, 1);
    session.note("As proposed: another subnet, and another ID.");
    let b = Showing::nothing(planes[1]);
    usual(&b, "10.112", "cluster-b");
    assert_eq!(session.run(&[&all[..], &["--strict"]].concat()).status, 0);
    session.note("One has another cluster domain, and shows only its Nodes' part of its Pods.");
    let b = Showing::nothing(planes[1]);
    b.istiod("other.local", "cluster-b").node("n1", "10.111.3.0/24");
    assert_eq!(session.run(&all).status, 1);
    session.note("A Node that claims too much denies nobody.");
    let b = Showing::nothing(planes[1]);
    b.istiod("cluster.local", "cluster-b").node("n1", "10.0.0.0/8");
    assert_eq!(session.run(&all).status, 0);
    session.note("On networks of their own, subnets may overlap.");
    let b = Showing::nothing(planes[1]);
    usual(&b, "10.111", "cluster-b");
    b.network(Some("vpc-b"));
    a.network(Some("vpc-a"));
    assert_eq!(session.run(&["join", "--context", "a", "--context", "b"]).status, 0);
    session.note("What is no pair of clusters.");
    session.run(&["join", "--context", "a"]);
    session.run(&["join", "--context", "a", "--context", "a"]);
    session.run(&["join", "--context", "a", "--context", "d"]);
    session.check("join");
}

/// What the account of a remote Secret sees of it, too.
fn seen_by_readers(showing: &Showing, pods: &str) {
    showing.control_plane("kube-controller-manager", &format!("--cluster-cidr={pods}.0.0/16"));
    let services = format!("--service-cluster-ip-range={}", showing.plane.services);
    showing.control_plane("kube-apiserver", &services);
}

#[test]
fn what_joining_proposes_is_admitted_once_it_is_applied() {
    let (planes, _turns) = several::<3>();
    let [a, b, c] = planes.map(Showing::nothing);
    let cluster = Guarded::start_in(planes[0], &["--reach=true"]);
    usual(&a, "10.111", "cluster-a");
    usual(&b, "10.111", "cluster-b");
    seen_by_readers(&b, "10.111");
    usual(&c, "10.113", "cluster-c");
    seen_by_readers(&c, "10.113");
    cluster.wait_watched(1);
    let contexts = [("a", planes[0], ADMIN), ("b", planes[1], ADMIN), ("c", planes[2], ADMIN)];
    let mut session = Session::new(&contexts);
    let all = ["join", "--context", "a", "--context", "b", "--context", "c"];
    // Each write has a token of its own: what was seen by another one counts for a minute.
    let apply = |id: &str, peer: &'static Plane| {
        let relay = Relay::at(outer_address());
        relay.lead_to(Some(peer.api()));
        let kubeconfig = kubeconfig(
            id,
            &format!("https://{}", relay.address),
            &peer.authority(),
            &lasting_reader(peer),
        );
        let secret = remote_secret(id, &kubeconfig).to_string();
        let applied = cluster.kubectl(&["apply", "-f", "-"], &secret);
        (applied.succeeded, applied.stderr)
    };

    let refused = session.run(&all);
    assert_eq!(refused.status, 1);
    let (is_admitted, told) = apply("cluster-b", planes[1]);
    assert!(!is_admitted && told.contains("[SubnetOverlap]"), "{told}");

    let proposed = refused.stdout.split("next free /16: ").nth(1).unwrap();
    let proposed = proposed.split(".0.0/16").next().unwrap();
    let b = Showing::nothing(planes[1]);
    usual(&b, proposed, "cluster-b");
    seen_by_readers(&b, proposed);
    assert_eq!(session.run(&all).status, 0);
    for (id, peer) in [("cluster-b", planes[1]), ("cluster-c", planes[2])] {
        assert_eq!(apply(id, peer), (true, String::new()), "{id}");
    }
    planes[0].admin().clear("/api/v1/namespaces/istio-system/secrets");
}
