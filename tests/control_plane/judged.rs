//! What `isthmus check --cluster` and `isthmus audit` say of a cluster.

use std::fmt::Write;

use isthmus::settings::Settings;
use serde_json::Value as Json;

use crate::support::guarded::{Guarded, Ran, local, member};
use crate::support::objects::{carried, configuration, stated, yaml};
use crate::support::process::command;
use crate::support::transcript::Transcript;
use crate::support::{TempDir, data};

const CHECK: &[&str] = &["check", "--cluster"];
const UUID: &str = r#"{"status":{"metadataCache":{"public":{"clusterUUID":"0b9d1c80-8a46-11ee-b9d1-0242ac120002"}}}}"#;

/// A member on the local network that says all of itself.
fn flat(name: &str, pods: &str, services: &str) -> String {
    yaml(&stated(name, false, pods, services))
}

#[test]
fn files_are_judged_as_a_change_to_the_cluster() {
    let cluster = Guarded::start_unasked();
    cluster.create(&local("10.111.0.0/16")).ok();
    let files = TempDir::new();
    let mut told = Transcript::new("check-cluster");
    told.note("No peer is there, but the cluster knows of them: a gateway may come with this one.");
    files
        .write("d.yaml", yaml(&carried("d", configuration("d", "10.111.0.0/16", "10.224.0.0/16"))));
    told.isthmus(&cluster, files.path(), &[CHECK, &["d.yaml"]].concat());
    cluster.create(&flat("a", "10.112.0.0/16", "10.223.0.0/16")).ok();
    let status = ["patch", "istiomulticluster/a", "--subresource=status", "--type=merge", "-p"];
    cluster.kubectl(&[&status[..], &[UUID]].concat(), "").ok();
    let mut check = |note: &str, file: &str, text: &str| -> Ran {
        files.write(file, text);
        told.note(note);
        told.isthmus(&cluster, files.path(), &[CHECK, &[file]].concat())
    };
    check("A new member that clashes.", "b.yaml", &flat("b", "10.112.64.0/18", "10.224.0.0/16"));
    check("One that does not.", "b.yaml", &flat("b", "10.113.0.0/16", "10.224.0.0/16"));
    check("What is there already.", "a.yaml", &flat("a", "10.112.0.0/16", "10.223.0.0/16"));
    let moved = flat("a", "10.112.0.0/16", "10.223.0.0/16").replace("istio.a.", "istio.other.");
    check("It moves, and the cluster has pinned it.", "a.yaml", &moved);
    check("The local cluster takes its pods.", "local.yaml", &local("10.112.0.0/16"));
    let bare = data("seed/cluster-configuration.yaml");
    check("The file that the local cluster was made of.", "bare.yaml", &bare);
    let changed = bare.replace("10.111.0.0/16", "10.112.0.0/16");
    check("It changes.", "bare.yaml", &changed);
    cluster.create(&flat("z", "10.111.8.0/24", "10.229.0.0/16")).ok();
    check("What stood before is only warned of.", "bare.yaml", &bare);
    cluster.kubectl(&["delete", "istiomulticluster/z"], "").ok();
    files.write("mesh.yaml", flat("c", "10.113.0.0/16", "10.225.0.0/16"));
    told.note("A file that it is held against describes a member that the cluster does not have.");
    let against = ["--against", "mesh.yaml", "b.yaml"];
    told.isthmus(&cluster, files.path(), &[CHECK, &against].concat());
    told.note("Of one that both have, it counts what the cluster has.");
    files.write("mesh.yaml", flat("a", "10.113.0.0/16", "10.225.0.0/16"));
    told.isthmus(&cluster, files.path(), &[CHECK, &against].concat());
    told.check();

    files.write("b.yaml", flat("b", "10.112.64.0/18", "10.224.0.0/16"));
    let json = cluster.run(files.path(), &[CHECK, &["b.yaml", "--format", "json"]].concat());
    let json: Json = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["summary"]["objectsOfCluster"], 2);
    assert_eq!(json["findings"][0]["location"]["file"], "b.yaml");
}

#[test]
fn the_state_of_the_cluster_is_audited() {
    let cluster = Guarded::start_unasked();
    let directory = TempDir::new();
    let mut told = Transcript::new("audit");
    let audit = |told: &mut Transcript, args: &[&str]| {
        told.isthmus(&cluster, directory.path(), &[&["audit"], args].concat())
    };
    told.note("Nothing is there.");
    audit(&mut told, &[]);
    told.note("A sound mesh.");
    cluster.create(&local("10.111.0.0/16")).ok();
    cluster.create(&flat("a", "10.112.0.0/16", "10.223.0.0/16")).ok();
    audit(&mut told, &[]);
    told.note("Mistakes that nobody was there to refuse.");
    cluster.create(&flat("b", "10.111.64.0/18", "10.224.0.0/16")).ok();
    let accepted = flat("c", "10.1.2.0/16", "10.225.0.0/16")
        .replace("annotations:\n", "annotations:\n    isthmus.dev/allow: InvalidSubnet\n");
    cluster.create(&accepted).ok();
    cluster.create(&member("d", "https://istio.a.example.com/metadata/")).ok();
    audit(&mut told, &[]);
    told.note("Files for members that the cluster does not have.");
    let inventory = TempDir::with("e.yaml", &flat("e", "10.112.0.0/20", "10.226.0.0/16"));
    inventory.write("b.yaml", flat("b", "10.120.0.0/16", "10.227.0.0/16"));
    let files = inventory.path().to_str().unwrap();
    let both = cluster.run(directory.path(), &["audit", "--inventory", files, "--cluster"]);
    told.print("$ isthmus audit --inventory DIR --cluster", &both.stdout);
    told.check();
    let alone = cluster.run(directory.path(), &["audit", "--inventory", files]);
    assert_eq!((alone.status, &*alone.stdout), (0, "2 objects judged: 0 denials, 0 warnings\n"));

    let json = cluster.run(directory.path(), &["audit", "--format", "json"]);
    let json: Json = serde_json::from_str(&json.stdout).unwrap();
    let told: Vec<_> = json["findings"].as_array().unwrap().iter().collect();
    assert_eq!(json["summary"]["denials"], 2, "{json}");
    assert_eq!(told[0]["object"]["kind"], "IstioMulticluster");
    assert_eq!(told[0]["location"], Json::Null);
    let sarif = cluster.run(directory.path(), &["audit", "--format", "sarif"]);
    assert_eq!(sarif.status, 1);
    let sarif: Json = serde_json::from_str(&sarif.stdout).unwrap();
    let results = sarif["runs"][0]["results"].as_array().unwrap();
    assert_eq!(results.len(), told.len());
    let place = &results[0]["locations"][0]["logicalLocations"][0];
    let named = place["fullyQualifiedName"].as_str().unwrap();
    assert!(named.starts_with("IstioMulticluster "), "{place}");
}

#[test]
fn an_unreadable_cluster_is_reported_with_a_remedy() {
    let cluster = Guarded::start_unasked();
    let files = TempDir::with("b.yaml", &flat("b", "10.112.64.0/18", "10.224.0.0/16"));
    cluster.kubectl(&["create", "serviceaccount", "unbound", "-n=isthmus"], "").ok();
    let token = cluster.kubectl(&["create", "token", "unbound", "-n=isthmus"], "").ok();
    let nobody = cluster.plane.kubeconfig("unbound", token.trim());
    let run = |args: &[&str], kubeconfig: Option<&str>| -> Ran {
        let mut command = command(files.path());
        command.args(args).env_remove("KUBECONFIG").env("HOME", files.path());
        for name in ["KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"] {
            command.env_remove(name);
        }
        Ran::from(command.envs(kubeconfig.map(|path| ("KUBECONFIG", path))).output().unwrap())
    };
    let api = cluster.plane.api().to_string();
    let mut forbidden = format!("isthmus: the cluster at https://{api}/ cannot be read:\n");
    // What is not served is not forbidden: neither is installed here.
    let is_served =
        |watch: &isthmus::cluster::Watch| !["MeshMember", "Istio"].contains(&watch.document.name);
    for watch in isthmus::cluster::watches(&Settings::default()).into_iter().filter(is_served) {
        writeln!(forbidden, "  {watch}: forbidden").unwrap();
    }
    forbidden.push_str(
        "istiomulticlusters.deckhouse.io is forbidden: User \"system:serviceaccount:isthmus:unbound\" \
         cannot list resource \"istiomulticlusters\" in API group \"deckhouse.io\" at the cluster scope\n\
         `isthmus rbac` prints the required roles\n",
    );
    for args in [&["audit"][..], &["check", "--cluster", "b.yaml"]] {
        let ran = run(args, nobody.to_str());
        assert_eq!((ran.status, &*ran.stdout, &*ran.stderr), (2, "", &*forbidden));
    }
    let said = |ran: Ran, words: &str| {
        assert_eq!(ran.status, 2, "{ran:?}");
        assert!(ran.stderr.contains(words), "{}", ran.stderr);
    };
    let stranger = cluster.plane.kubeconfig("stranger", "nonsense");
    said(run(&["audit"], stranger.to_str()), "cannot be read: Unauthorized");
    let nowhere = run(&["audit"], None);
    assert!(!nowhere.stderr.contains("environment variable"), "{nowhere:?}");
    said(nowhere, "no cluster is configured: set --kubeconfig FILE");
    said(run(&["audit"], Some("absent")), "KUBECONFIG=absent: failed to read kubeconfig");
    said(run(&["audit", "--kubeconfig", "absent"], None), "--kubeconfig absent: ");
    said(run(&["audit", "--context", "x"], stranger.to_str()), "--context x: ");
    said(run(&["check", "b.yaml", "--context", "x"], None), "--cluster");
    let text = std::fs::read_to_string(&stranger).unwrap().replace(&api, "127.0.0.1:1");
    files.write("away", text);
    let away = run(&["audit"], Some("away"));
    said(away, "the cluster at https://127.0.0.1:1/ cannot be read: ");
    // As kubectl: the kubeconfig of the home directory, where no other is named.
    std::fs::create_dir(files.path().join(".kube")).unwrap();
    std::fs::copy(&stranger, files.path().join(".kube/config")).unwrap();
    said(run(&["audit"], None), "Unauthorized");
}
