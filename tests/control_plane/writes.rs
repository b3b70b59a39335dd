//! What is stored, what is refused, and what kubectl prints of it.

use crate::support::data;
use crate::support::guarded::{Guarded, described, local, member};
use crate::support::transcript::Transcript;

const CREATE: &[&str] = &["create", "-f", "-"];
const DRY_RUN: &[&str] = &["create", "--dry-run=server", "-f", "-"];
const APPLY: &[&str] = &["apply", "-f", "-"];
const SERVER_SIDE: &[&str] = &["apply", "--server-side", "-f", "-"];
const REPLACE: &[&str] = &["replace", "-f", "-"];
const LIST: &[&str] = &["get", "istiomulticlusters", "-o=name"];

#[test]
fn the_documented_members_are_stored_and_bad_ones_are_refused() {
    let cluster = Guarded::start();
    let mut told = Transcript::new("members");
    told.note("The two members of the documentation.");
    told.kubectl(&cluster, CREATE, &data("seed/istiomulticlusters.yaml"));
    told.kubectl(&cluster, CREATE, &local("10.111.0.0/16"));
    cluster.wait_watched(3);
    for (note, manifest) in [
        ("DuplicateMember", member("twin", "https://istio.k8s-a.example.com/metadata/")),
        ("InvalidMetadataEndpoint", member("bad", "https://istio.bad.example.com")),
        ("ClusterDomainMismatch", described("bad", true, &[("cluster-domain", "another.local")])),
        ("SubnetOverlap", described("bad", false, &[("pod-subnet-cidr", "10.111.64.0/18")])),
        ("SubnetOverlap, behind a gateway", {
            described("bad", true, &[("pod-subnet-cidr", "10.111.64.0/18")])
        }),
        ("SubnetSelfOverlap", {
            let subnets =
                [("pod-subnet-cidr", "10.1.0.0/16"), ("service-subnet-cidr", "10.1.2.0/24")];
            described("bad", true, &subnets)
        }),
        ("InvalidSubnet", described("bad", true, &[("pod-subnet-cidr", "10.1.2.0/16")])),
        ("InvalidClusterDomain", described("bad", true, &[("cluster-domain", "under_score")])),
        ("SelfReference", member("local", "https://istio.bad.example.com/metadata/")),
    ] {
        told.note(note);
        told.kubectl(&cluster, DRY_RUN, &manifest);
    }
    told.note("Nothing of that is stored.");
    told.kubectl(&cluster, LIST, "");
    told.check();
}

#[test]
fn every_way_to_write_is_judged() {
    let cluster = Guarded::start();
    cluster.create(&data("seed/istiomulticlusters.yaml")).ok();
    cluster.wait_watched(2);
    let mut told = Transcript::new("ways-to-write");
    let twin = "https://istio.k8s-a.example.com/metadata/";
    for (note, args) in [("create", CREATE), ("apply", APPLY), ("apply, server-side", SERVER_SIDE)]
    {
        told.note(note);
        told.kubectl(&cluster, args, &member("twin", twin));
    }
    told.note("What is there already");
    for args in [APPLY, SERVER_SIDE, REPLACE] {
        let force = if args == SERVER_SIDE { &["--force-conflicts"][..] } else { &[] };
        told.kubectl(&cluster, &[args, force].concat(), &member("cluster-b", twin));
    }
    let patch = format!(r#"{{"spec":{{"metadataEndpoint":"{twin}"}}}}"#);
    let target = ["patch", "istiomulticluster", "cluster-b", "--type=merge", "-p"];
    told.kubectl(&cluster, &[&target[..], &[&patch]].concat(), "");
    let patch = format!(r#"[{{"op":"replace","path":"/spec/metadataEndpoint","value":"{twin}"}}]"#);
    let target = ["patch", "istiomulticluster", "cluster-b", "--type=json", "-p"];
    told.kubectl(&cluster, &[&target[..], &[&patch]].concat(), "");
    told.note("A name that the API server completes");
    let nameless = |endpoint: &str| {
        member("generated", endpoint).replace("name: generated", "generateName: generated-")
    };
    told.kubectl(&cluster, CREATE, &nameless(twin));
    told.kubectl(&cluster, CREATE, &nameless("https://istio.k8s-c.example.com/metadata/"));
    cluster.wait_watched(3);
    told.kubectl(&cluster, CREATE, &nameless("https://istio.k8s-c.example.com/metadata/"));
    told.note("An editor: a change that is refused, one that is put right, and one that passes");
    let edit = ["edit", "istiomulticluster", "cluster-b"];
    told.edit(&cluster, "s/k8s-b/k8s-a/", &edit);
    told.edit(&cluster, "s#https://istio.k8s-b#HTTPS://istio.k8s-e#", &edit);
    told.edit(&cluster, "s/k8s-e/k8s-b/", &edit);
    told.note("A list of which one is bad");
    let good = "https://istio.good.example.com/metadata/";
    let items = [member("good", good), member("twin", twin)]
        .map(|item| format!("- {}", item.trim_end().replace('\n', "\n  ")));
    let list = format!("apiVersion: v1\nkind: List\nitems:\n{}\n", items.join("\n"));
    told.kubectl(&cluster, CREATE, &list);
    told.kubectl(&cluster, LIST, "");
    told.check();
}

#[test]
fn endpoints_are_stored_in_canonical_form() {
    let cluster = Guarded::start();
    let mut told = Transcript::new("canonical-form");
    let stored = ["get", "istiomulticluster", "a", "-o=jsonpath={.spec}{\"\\n\"}"];
    for endpoint in [
        "HTTPS://Istio.A.Example.COM:443/metadata",
        "' https://istio.a.example.com/metadata/public/public.json '",
        "https://istio.b\u{fc}cher.example.com/./metadata//",
    ] {
        told.note("The resource's own pattern would refuse some of these.");
        told.kubectl(&cluster, APPLY, &member("a", endpoint));
        told.kubectl(&cluster, &stored, "");
        told.kubectl(&cluster, APPLY, &member("a", endpoint));
        told.kubectl(&cluster, &["delete", "istiomulticluster", "a"], "");
        told.kubectl(&cluster, SERVER_SIDE, &member("a", endpoint));
        told.kubectl(&cluster, SERVER_SIDE, &member("a", endpoint));
        told.kubectl(&cluster, &stored, "");
        told.kubectl(&cluster, &["delete", "istiomulticluster", "a"], "");
    }
    told.note("What is canonical is applied again, and nothing changes.");
    for args in [APPLY, APPLY, SERVER_SIDE, SERVER_SIDE] {
        told.kubectl(&cluster, args, &member("c", "https://istio.c.example.com/metadata/"));
    }
    told.kubectl(&cluster, CREATE, &member("a", "https://istio.a.example.com/metadata/"));
    let whole = cluster.kubectl(&["get", "istiomulticluster", "a", "-o=yaml"], "").ok();
    let again = cluster.kubectl(&["replace", "-o=yaml", "-f", "-"], &whole).ok();
    assert_eq!(again, whole);
    told.check();
}
