//! The scout, between real clusters.

use serde_json::{Value as Json, json};

use crate::support::guarded::isthmus;
use crate::support::plane::{Plane, several};
use crate::support::scouting::{Scout, home, reader, remote_secret, wait_granted};
use crate::support::showing::Showing;
use crate::support::wait_for;

pub(super) const MEMBERS: &str = "/apis/isthmus.dev/v1alpha1/meshmembers";
const SECRETS: &str = "/api/v1/namespaces/istio-system/secrets";
/// Each member is visited so often that a test need not wait.
const OFTEN: &str = "--interval=1s";

/// A MeshMember once it is as it should be.
pub(super) fn member(plane: &Plane, name: &str, is: impl Fn(&Json) -> bool) -> Json {
    let mut api = plane.admin();
    wait_for(name, || {
        let found = api.get(&format!("{MEMBERS}/{name}"));
        is(&found).then_some(found)
    })
}

pub(super) fn condition<'a>(member: &'a Json, kind: &str) -> (&'a str, &'a str) {
    let conditions = member["status"]["conditions"].as_array();
    let found = conditions.into_iter().flatten().find(|condition| condition["type"] == kind);
    found.map_or(("", ""), |found| {
        (found["status"].as_str().unwrap(), found["reason"].as_str().unwrap())
    })
}

fn usual(showing: &Showing, pods: &str, id: &str) {
    let Plane { services, .. } = showing.plane;
    let networking = format!(
        "{{dnsDomain: cluster.local, podSubnet: {pods}.0.0/16, serviceSubnet: {services}}}"
    );
    showing.kubeadm(&networking).istiod("cluster.local", id);
    showing.control_plane("kube-controller-manager", &format!("--cluster-cidr={pods}.0.0/16"));
    showing.control_plane("kube-apiserver", &format!("--service-cluster-ip-range={services}"));
}

/// An Event and a metric tell of an overlap of a member.
#[track_caller]
pub(super) fn an_overlap_is_told(plane: &Plane, scout: &Scout, name: &str, about: &str) {
    let event = wait_for("an Event", || {
        let events = plane.admin().get("/api/v1/namespaces/default/events");
        let events = events["items"].as_array().unwrap().clone();
        events.into_iter().find(|event| event["reason"] == "SubnetOverlap")
    });
    let regards = [&event["involvedObject"]["kind"], &event["involvedObject"]["name"]];
    assert_eq!(regards, ["MeshMember", name]);
    assert!(event["message"].as_str().unwrap().contains(about), "{event}");
    let series = format!(
        "isthmus_standing_findings_by_member{{rule=\"SubnetOverlap\",severity=\"deny\",member=\"{name}\"}} 1"
    );
    wait_for("the metric", || scout.page("/metrics").1.contains(&series).then_some(()));
}

#[test]
fn members_are_visited_and_what_stands_wrong_is_told() {
    let ([own, other], _turns) = several();
    let local = home(own, &["--remote-secrets"]);
    usual(&local, "10.111", "local");
    let peer = Showing::nothing(other);
    usual(&peer, "10.111", "cluster-b");
    let token = reader(other);
    let scout = Scout::start(own, &["--remote-secrets", OFTEN, "--keep=0s"]);
    let seen = member(own, "local", |it| condition(it, "Sound").0 == "True");
    assert_eq!(condition(&seen, "Known"), ("True", "Known"));
    assert_eq!(scout.page("/readyz").0, 200);

    // It joins with the same Pods' subnet.
    peer.network(None);
    local.create(SECRETS, &remote_secret("cluster-b", other, &token));
    let seen = member(own, "cluster-b", |it| condition(it, "Sound").0 == "False");
    assert_eq!(condition(&seen, "Reachable"), ("True", "Read"));
    assert_eq!(condition(&seen, "Sound"), ("False", "SubnetOverlap"));
    assert_eq!(seen["status"]["observed"]["uid"]["value"], peer.uid());
    let from = &seen["status"]["observed"]["podSubnets"]["from"];
    assert_eq!(*from, "Pod kube-system/kube-controller-manager-m (--cluster-cidr)");
    let joined = json!([{
        "kind": "Secret", "namespace": "istio-system", "name": "istio-remote-secret-cluster-b",
        "key": "cluster-b",
    }]);
    assert_eq!(seen["status"]["joinedBy"], joined);
    let columns = own.kubectl(&["get", "meshmembers"], "").ok();
    let row = |name: &str| {
        let row = columns.lines().find(|line| line.starts_with(name)).unwrap();
        row.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let (services, theirs) = (&own.services, &other.services);
    let local_row = ["local", "cluster.local", "10.111.0.0/16", services, "True", "True"];
    assert_eq!(row("local")[..6], local_row);
    let row = row("cluster-b");
    let expected =
        ["cluster-b", "cluster.local", "10.111.0.0/16", theirs, "Secret", "True", "False"];
    assert_eq!(row[..7], expected);
    let about = "10.111.0.0/16 overlaps pod subnet 10.111.0.0/16 of member \"local\"";
    an_overlap_is_told(own, &scout, "cluster-b", about);

    // It is rebuilt elsewhere in the address space, as far as its objects show.
    other.admin().clear("/api/v1/namespaces/kube-system/pods");
    peer.control_plane("kube-controller-manager", "--cluster-cidr=10.112.0.0/16");
    peer.control_plane("kube-apiserver", &format!("--service-cluster-ip-range={theirs}"));
    let seen = member(own, "cluster-b", |it| condition(it, "Sound").0 == "True");
    assert_eq!(seen["status"]["summary"]["pods"], "10.112.0.0/16");
    // Another network.
    peer.network(Some("vpc-b"));
    let seen = member(own, "cluster-b", |it| it["status"]["summary"]["network"] == "vpc-b");
    let since = seen["status"]["observed"].clone();

    // It is lost: nothing is forgotten.
    other.stop_api_server();
    let seen = member(own, "cluster-b", |it| condition(it, "Reachable").0 == "False");
    assert_eq!(condition(&seen, "Reachable").1, "ConnectionRefused");
    assert_eq!(seen["status"]["observed"]["podSubnets"]["value"], since["podSubnets"]["value"]);
    assert_eq!(condition(&seen, "Known"), ("True", "Known"));
    other.start_api_server();
    member(own, "cluster-b", |it| condition(it, "Reachable").0 == "True");

    // Its credentials are no good any more.
    let path = format!("{SECRETS}/istio-remote-secret-cluster-b");
    let wrong = remote_secret("cluster-b", other, "another-planted-token");
    own.admin().merge(&path, &json!({"stringData": wrong["stringData"]}));
    let seen = member(own, "cluster-b", |it| condition(it, "Reachable").0 == "False");
    assert_eq!(condition(&seen, "Reachable").1, "Unauthorized");

    // Nothing of the credentials is anywhere.
    let stored = [
        own.admin().get(MEMBERS).to_string(),
        own.admin().get("/api/v1/namespaces/default/events").to_string(),
        scout.log(),
        scout.page("/metrics").1,
    ];
    for text in stored {
        for secret in [token.as_str(), "another-planted-token", "BEGIN CERTIFICATE"] {
            assert!(!text.contains(secret), "{text}");
        }
    }

    // What joined it is gone, and so is its MeshMember; one that people have written stays.
    let stated = "{apiVersion: isthmus.dev/v1alpha1, kind: MeshMember, metadata: {name: stated}}";
    own.kubectl(&["create", "-f", "-"], stated).ok();
    own.admin().delete(&path);
    wait_for("the MeshMember to be gone", || {
        (own.admin().get(&format!("{MEMBERS}/cluster-b"))["code"] == 404).then_some(())
    });
    let kept = member(own, "stated", |it| condition(it, "Reachable").0 == "Unknown");
    assert_eq!(condition(&kept, "Known"), ("False", "UnknownFacts"));
    assert_eq!(own.admin().get(&format!("{MEMBERS}/local"))["kind"], "MeshMember");
}

#[test]
fn what_changes_in_a_peer_is_noticed_within_the_period() {
    let ([own, other], _turns) = several();
    let local = home(own, &["--remote-secrets"]);
    usual(&local, "10.111", "local");
    let peer = Showing::nothing(other);
    peer.istiod("cluster.local", "b").node("n1", "10.112.0.0/24");
    let token = reader(other);
    let optional = isthmus(&["rbac", "--peer", "--istio-namespaces", "istio-system"]);
    other.kubectl(&["apply", "-f", "-"], &optional).ok();
    wait_granted(other, &["list", "servicecidrs.networking.k8s.io"]);
    let _scout = Scout::start(own, &["--remote-secrets", OFTEN]);
    local.create(SECRETS, &remote_secret("b", other, &token));
    let shows = |column: &str, value: &str| {
        member(own, "b", |it| it["status"]["summary"][column] == value);
    };
    shows("pods", "at least 10.112.0.0/24");
    shows("services", &other.services);
    // Nodes with a new range.
    peer.node("n2", "10.112.1.0/24");
    shows("pods", "at least 10.112.0.0/23");
    // More addresses for Services.
    let range = json!({"metadata": {"name": "more"}, "spec": {"cidrs": ["10.98.0.0/24"]}});
    let ranges = "/apis/networking.k8s.io/v1/servicecidrs";
    peer.create(ranges, &range);
    shows("services", &format!("{},10.98.0.0/24", other.services));
    other.admin().clear(&format!("{ranges}/more"));
    shows("services", &other.services);
    // Another network.
    peer.network(Some("vpc-b"));
    shows("network", "vpc-b");
    other.kubectl(&["delete", "-f", "-"], &optional).ok();
}

#[test]
fn two_scouts_do_no_harm_and_a_secret_that_leads_home_is_nobody() {
    let ([own, other], _turns) = several();
    let local = home(own, &["--secret-names=istio-remote-secret-b,istio-remote-secret-own"]);
    usual(&local, "10.111", "local");
    let peer = Showing::nothing(other);
    usual(&peer, "10.112", "b");
    let names = "--secret-names=istio-remote-secret-b,istio-remote-secret-own";
    local.create(SECRETS, &remote_secret("b", other, &reader(other)));
    local.create(SECRETS, &remote_secret("own", own, &reader(own)));
    local.create(SECRETS, &remote_secret("unread", other, "planted-token"));
    let scouts = [(); 2].map(|()| Scout::start(own, &[names, OFTEN]));
    member(own, "b", |it| condition(it, "Sound").0 == "True");
    for scout in &scouts {
        wait_for("visits", || (read_visits(scout) >= 6.0).then_some(()));
    }
    // Both have seen the same again and again: it was written once, and judged.
    let version = |name: &str| {
        let member = own.admin().get(&format!("{MEMBERS}/{name}"));
        member["metadata"]["resourceVersion"].as_str().unwrap().to_owned()
    };
    let before = version("b");
    let so_far = read_visits(&scouts[0]);
    wait_for("more visits", || (read_visits(&scouts[0]) >= so_far + 6.0).then_some(()));
    assert_eq!(version("b"), before, "nothing new is nothing to write");
    let names = own.kubectl(&["get", "meshmembers", "-o=name"], "").ok();
    let expected = "meshmember.isthmus.dev/b\nmeshmember.isthmus.dev/local\n";
    assert_eq!(names, expected);
}

/// How often the API server was asked to list MeshMembers, remote Secrets, or what else a scout
/// judges.
fn lists(plane: &Plane) -> f64 {
    let page = plane.admin().send("GET", "/metrics", &Json::Null).text();
    let is_of_scout = |line: &&str| {
        line.starts_with("apiserver_request_total{")
            && line.contains("verb=\"LIST\"")
            && ["meshmembers", "secrets", "configmaps", "endpoints"]
                .iter()
                .any(|resource| line.contains(&format!("resource=\"{resource}\"")))
    };
    let counts = page.lines().filter(is_of_scout);
    counts.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

fn read_visits(scout: &Scout) -> f64 {
    let page = scout.page("/metrics").1;
    let line = page.lines().find(|line| line.contains("visits_total{outcome=\"Read\"}"));
    line.and_then(|line| line.split(' ').nth(1)?.parse().ok()).unwrap_or_default()
}

#[test]
fn the_cluster_is_watched_and_not_listed_again_and_again() {
    let ([own, other], _turns) = several();
    let local = home(own, &["--remote-secrets"]);
    usual(&local, "10.111", "local");
    let peer = Showing::nothing(other);
    usual(&peer, "10.112", "b");
    let scout = Scout::start(own, &["--remote-secrets", OFTEN]);
    local.create(SECRETS, &remote_secret("b", other, &reader(other)));
    member(own, "b", |it| condition(it, "Sound").0 == "True");
    let (visits, before) = (read_visits(&scout), lists(own));
    wait_for("visits", || (read_visits(&scout) >= visits + 20.0).then_some(()));
    let more = lists(own) - before;
    assert!(more < 5.0, "{more} lists in 20 visits");
    // What is written is taken in all the same.
    own.admin().merge(&format!("{MEMBERS}/b"), &json!({"spec": {"network": "vpc-b"}}));
    member(own, "b", |it| it["status"]["summary"]["network"] == "vpc-b");
}

#[test]
fn a_member_whose_secret_is_restored_is_the_one_that_it_was() {
    let ([own, other], _turns) = several();
    let local = home(own, &["--remote-secrets"]);
    usual(&local, "10.111", "local");
    let peer = Showing::nothing(other);
    usual(&peer, "10.112", "b");
    let _scout = Scout::start(own, &["--remote-secrets", OFTEN]);
    let secret = remote_secret("b", other, &reader(other));
    local.create(SECRETS, &secret);
    member(own, "b", |it| condition(it, "Sound").0 == "True");
    // All is lost.
    own.admin().delete(&format!("{SECRETS}/istio-remote-secret-b"));
    let lost = member(own, "b", |it| condition(it, "Reachable").0 == "Unknown");
    assert!(lost["status"]["joinedBy"].is_null());
    // Another one, of which nobody knows but by a Secret, comes and goes meanwhile.
    local.create(SECRETS, &remote_secret("c", other, "no-token"));
    member(own, "c", |it| condition(it, "Reachable").0 == "False");
    own.admin().delete(&format!("{SECRETS}/istio-remote-secret-c"));
    wait_for("the MeshMember of c to be gone", || {
        (own.admin().get(&format!("{MEMBERS}/c"))["code"] == 404).then_some(())
    });
    let kept = member(own, "b", |_| true);
    assert_eq!(kept["metadata"]["uid"], lost["metadata"]["uid"]);
    assert_eq!(kept["status"]["observed"]["uid"]["value"], peer.uid());
    // It is back.
    local.create(SECRETS, &secret);
    let back = member(own, "b", |it| condition(it, "Reachable").0 == "True");
    assert_eq!(back["metadata"]["uid"], lost["metadata"]["uid"]);
}

#[test]
fn a_gitops_tool_owns_what_it_states_and_may_prune_it() {
    let ([own, other], _turns) = several();
    let local = home(own, &["--remote-secrets"]);
    usual(&local, "10.111", "local");
    let peer = Showing::nothing(other);
    usual(&peer, "10.112", "b");
    let _scout = Scout::start(own, &["--remote-secrets", OFTEN]);
    local.create(SECRETS, &remote_secret("b", other, &reader(other)));
    let made = member(own, "b", |it| condition(it, "Sound").0 == "True");
    // By neither of these does a tool take it for one of its own.
    assert_eq!(
        made["metadata"]["labels"],
        json!({"app.kubernetes.io/managed-by": "isthmus-scout"})
    );
    for field in ["annotations", "ownerReferences", "finalizers"] {
        assert!(made["metadata"][field].is_null(), "{made}");
    }
    // Git has it now.
    let stated = json!({
        "apiVersion": "isthmus.dev/v1alpha1",
        "kind": "MeshMember",
        "metadata": {
            "name": "b",
            "annotations": {"argocd.argoproj.io/tracking-id": "mesh:isthmus.dev/MeshMember:/b"},
        },
        "spec": {"network": "vpc-b"},
    });
    let apply = || {
        let args = ["apply", "--server-side", "--field-manager=argocd-controller", "-f", "-"];
        own.kubectl(&args, &stated.to_string()).ok();
    };
    apply();
    let shared = member(own, "b", |it| it["status"]["summary"]["network"] == "vpc-b");
    let fields = shared["metadata"]["managedFields"].as_array().unwrap();
    let of_scouts = fields.iter().filter(|it| it["manager"] == "isthmus-scout");
    for owned in of_scouts {
        let fields = &owned["fieldsV1"];
        let is_status = owned["subresource"] == "status";
        let states_nothing = fields["f:spec"].as_object().is_none_or(serde_json::Map::is_empty);
        assert_eq!(is_status, !fields["f:status"].is_null(), "{owned}");
        assert!(states_nothing, "{owned}");
    }
    // It finds nothing to revert, and nothing in its way.
    let version = shared["metadata"]["generation"].clone();
    apply();
    assert_eq!(member(own, "b", |_| true)["metadata"]["generation"], version);
    // It is no longer in Git: what is pruned is there again with what was seen.
    own.admin().delete(&format!("{MEMBERS}/b"));
    let again = member(own, "b", |it| {
        it["metadata"]["uid"] != shared["metadata"]["uid"] && condition(it, "Sound").0 == "True"
    });
    assert_eq!(again["status"]["observed"]["uid"]["value"], peer.uid());
    assert_eq!(again["status"]["summary"]["pods"], "10.112.0.0/16");
    assert_eq!(again["metadata"]["labels"], made["metadata"]["labels"]);
    assert!(again["metadata"]["annotations"].is_null(), "{again}");
    assert!(again["status"]["summary"]["network"].is_null(), "{again}");
}
