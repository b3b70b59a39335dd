//! MeshMembers: the definition that isthmus prints, as a real API server takes it.

use serde_json::json;

use crate::support::guarded::{Guarded, isthmus, local, wait_established};
use crate::support::objects::yaml;
use crate::support::transcript::Transcript;

const APPLY: &[&str] = &["apply", "-f", "-"];

/// A cluster whose API server knows MeshMembers.
pub(crate) fn with_mesh_members() -> Guarded {
    let cluster = Guarded::start();
    let strict = ["apply", "--server-side", "--validate=strict", "-f", "-"];
    cluster.plane.kubectl(&strict, &isthmus(&["crd"])).ok();
    wait_established(cluster.plane);
    cluster
}

#[test]
fn what_people_state_in_a_mesh_member_is_explained_judged_and_shown() {
    let cluster = with_mesh_members();
    cluster.create(&local("10.111.0.0/16")).ok();
    cluster.wait_watched(1);
    let member = |spec| {
        let version = "isthmus.dev/v1alpha1";
        let metadata = json!({"name": "cluster-b"});
        yaml(
            &json!({"apiVersion": version, "kind": "MeshMember", "metadata": metadata, "spec": spec}),
        )
    };
    let mut told = Transcript::new("mesh-members");
    told.note("Every field is explained.");
    told.kubectl(&cluster, &["explain", "meshmember.spec"], "");
    told.note("The schema leaves it to isthmus to say what is wrong.");
    let wrong = member(json!({"clusterDomain": "k8s_b", "podSubnets": ["10.112.5.0/16"]}));
    told.kubectl(&cluster, APPLY, &wrong);
    let overlapping = json!({
        "clusterDomain": "k8s-b.local", "podSubnets": ["10.111.0.0/16"],
        "serviceSubnets": ["10.223.0.0/16"],
    });
    told.kubectl(&cluster, APPLY, &member(overlapping));
    told.note("Domains are brought into their canonical form.");
    let sound = json!({
        "clusterDomain": "Cluster.Local.", "podSubnets": ["10.112.0.0/16"],
        "serviceSubnets": ["10.223.0.0/16"], "network": "vpc-1",
    });
    told.kubectl(&cluster, APPLY, &member(sound));
    let domain = "-o=jsonpath={.spec.clusterDomain}{\"\\n\"}";
    told.kubectl(&cluster, &["get", "meshmember", "cluster-b", domain], "");
    cluster.wait_watched(2);
    told.note("The columns show the summary, which only isthmus writes.");
    let condition = |kind: &str, status: &str| {
        json!({
            "type": kind, "status": status, "reason": "Stated", "message": "",
            "lastTransitionTime": "2026-11-01T12:00:00Z",
        })
    };
    let status = json!({"status": {
        "summary": {
            "clusterDomain": "cluster.local", "pods": "10.112.0.0/16",
            "services": "10.223.0.0/16", "network": "vpc-1", "joinedBy": "IstioMulticluster",
        },
        "conditions": [condition("Known", "True"), condition("Sound", "False")],
    }});
    let patch = ["patch", "meshmember", "cluster-b", "--subresource=status", "--type=merge", "-p"];
    cluster.plane.kubectl(&[&patch[..], &[&status.to_string()]].concat(), "").ok();
    let shown = cluster.plane.kubectl(&["get", "meshmembers"], "").ok();
    // The last column is its age.
    let lines =
        shown.lines().map(|line| line.rsplit_once(' ').map_or("", |(line, _)| line.trim_end()));
    told.print("$ kubectl get meshmembers", &lines.collect::<Vec<_>>().join("\n"));
    told.check();
}
