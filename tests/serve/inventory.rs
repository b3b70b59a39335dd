//! The inventory directory and what becomes of it.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::Value as Json;

use crate::support::objects::multicluster;
use crate::support::process::Server;
use crate::support::{TempDir, data, peer, wait_for};

fn configuration(pods: &str) -> String {
    data("seed/cluster-configuration.yaml").replace("10.111.0.0/16", pods)
}

/// A member on the local network with these pods.
fn flat(pods: &str) -> Json {
    let mut review = peer("flat", "https://istio.flat.example.com/metadata/");
    let object = &mut review["request"]["object"];
    object["spec"]["enableIngressGateway"] = false.into();
    object["metadata"]["annotations"] = serde_json::json!({"isthmus.dev/pod-subnet-cidr": pods});
    review
}

#[track_caller]
fn wait_allowed(server: &Server, review: &Json, allowed: bool) {
    wait_for("the verdict", || (server.allows(review) == allowed).then_some(()));
}

#[test]
fn a_changed_file_changes_verdicts() {
    let inventory = TempDir::with("local.yaml", &configuration("10.1.0.0/16"));
    let server = Server::start(inventory.path(), &[]);
    assert!(!server.allows(&flat("10.1.0.0/16")));
    assert!(server.allows(&flat("10.2.0.0/16")));
    // As long as before, and written within the same tick of a clock.
    inventory.write("local.yaml", configuration("10.2.0.0/16"));
    wait_allowed(&server, &flat("10.2.0.0/16"), false);
    assert!(server.allows(&flat("10.1.0.0/16")));
    inventory.remove("local.yaml");
    wait_allowed(&server, &flat("10.2.0.0/16"), true);
    server.wait_metric("isthmus_inventory_members", 0.0);
}

#[test]
fn a_bad_file_keeps_its_last_good_state() {
    let inventory = TempDir::with("local.yaml", &configuration("10.1.0.0/16"));
    inventory.write("peers.yaml", data("seed/istiomulticlusters.yaml"));
    let server = Server::start(inventory.path(), &[]);
    server.wait_metric("isthmus_inventory_objects", 3.0);

    inventory.write("local.yaml", "kind: [ClusterConfiguration\n");
    server.wait_metric("isthmus_inventory_errors_total", 1.0);
    server.wait_metric("isthmus_inventory_bad_files", 1.0);
    server.wait_inventory();
    assert!(!server.allows(&flat("10.1.0.0/16")));
    assert_eq!(server.metric("isthmus_inventory_errors_total"), Some(1.0), "told once");
    assert_eq!(server.admin("/readyz").status, 200);
    server.wait_logged("ERROR");
    let logged = server.log_lines();
    let errors: Vec<_> = logged.iter().filter(|line| line["level"] == "ERROR").collect();
    assert_eq!(errors.len(), 1);
    let told = errors[0]["error"].as_str().unwrap();
    assert!(told.starts_with("local.yaml: ") && told.contains("line"), "{told}");

    // The others go on changing meanwhile.
    inventory.remove("peers.yaml");
    server.wait_metric("isthmus_inventory_objects", 1.0);
    inventory.write("local.yaml", [0xff, 0xfe]);
    server.wait_metric("isthmus_inventory_errors_total", 2.0);
    inventory.write("local.yaml", configuration("10.3.0.0/16"));
    wait_allowed(&server, &flat("10.3.0.0/16"), false);
    server.wait_metric("isthmus_inventory_bad_files", 0.0);
    server.wait_logged("valid again");
}

#[test]
fn a_file_that_was_never_valid_keeps_the_server_unready() {
    let inventory = TempDir::with("local.yaml", "kind: [ClusterConfiguration\n");
    let server = Server::launch(inventory.path(), &[]);
    let told = wait_for("the reason", || {
        let told = server.admin("/readyz");
        told.text().contains("local.yaml").then_some(told)
    });
    assert_eq!(told.status, 503);
    let answer = server.client().post("/validate", flat("10.1.0.0/16").to_string());
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    assert!(answer.text().contains("local.yaml"));
    inventory.write("local.yaml", configuration("10.1.0.0/16"));
    server.wait_ready();
    assert!(!server.allows(&flat("10.1.0.0/16")));
    // A new one that is bad is no hole: nothing is known to be missing.
    inventory.write("new.yaml", "a: [");
    server.wait_metric("isthmus_inventory_bad_files", 1.0);
    assert_eq!(server.admin("/readyz").status, 200);
}

#[test]
fn every_form_of_a_file_is_read() {
    let inventory = TempDir::new();
    let uuid = "{apiVersion: v1, kind: ConfigMap, metadata: {name: d8-cluster-uuid, namespace: kube-system}, data: {cluster-uuid: 0b9d1c80-8a46-11ee-b9d1-0242ac120002}}";
    inventory.write("bare.yml", configuration("10.1.0.0/16"));
    inventory.write(
        "list.yaml",
        format!("kind: List\nitems:\n- {}\n- {}\n", multicluster("a"), multicluster("b")),
    );
    inventory.write(
        "one.JSON",
        peer("c", "https://istio.c.example.com/metadata/")["request"]["object"].to_string(),
    );
    inventory.write(
        "many.yaml",
        format!(
            "{}\n---\n# nothing\n---\nkind: Deployment\nmetadata: {{name: x}}\n---\n{uuid}\n",
            multicluster("d")
        ),
    );
    inventory.write("notes.txt", "a: [");
    inventory.write("helm-values.yaml", "replicas: 2\n");
    fs::create_dir(inventory.path().join("more")).unwrap();
    fs::write(inventory.path().join("more/e.yaml"), multicluster("e").to_string()).unwrap();
    fs::create_dir(inventory.path().join(".hidden")).unwrap();
    fs::write(inventory.path().join(".hidden/f.yaml"), multicluster("f").to_string()).unwrap();
    symlink(".", inventory.path().join("circle")).unwrap();
    symlink("nowhere.yaml", inventory.path().join("dangling.yaml")).unwrap();
    let server = Server::start(inventory.path(), &[]);
    server.wait_metric("isthmus_inventory_members", 6.0);
    assert_eq!(server.metric("isthmus_inventory_errors_total"), Some(0.0));
}

#[test]
fn a_mounted_config_map_swaps_a_symlink() {
    let inventory = TempDir::new();
    for (name, pods) in [("..1", "10.1.0.0/16"), ("..2", "10.2.0.0/16")] {
        fs::create_dir(inventory.path().join(name)).unwrap();
        fs::write(inventory.path().join(name).join("local.yaml"), configuration(pods)).unwrap();
    }
    symlink("..1", inventory.path().join("..data")).unwrap();
    symlink("..data/local.yaml", inventory.path().join("local.yaml")).unwrap();
    let server = Server::start(inventory.path(), &[]);
    assert!(!server.allows(&flat("10.1.0.0/16")));
    symlink("..2", inventory.path().join("..new")).unwrap();
    fs::rename(inventory.path().join("..new"), inventory.path().join("..data")).unwrap();
    wait_allowed(&server, &flat("10.2.0.0/16"), false);
    assert_eq!(server.metric("isthmus_inventory_objects"), Some(1.0));
}

#[test]
fn an_object_in_two_files_is_reported() {
    let inventory = TempDir::with("a.yaml", &data("seed/istiomulticlusters.yaml"));
    inventory.write("b.yaml", data("seed/istiomulticlusters.yaml"));
    let server = Server::start(inventory.path(), &[]);
    server.wait_metric("isthmus_inventory_members", 2.0);
    server.wait_logged("IstioMulticluster cluster-a");
}

#[test]
fn a_removed_directory_keeps_what_was_read() {
    let parent = TempDir::new();
    let directory = parent.path().join("inventory");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("local.yaml"), configuration("10.1.0.0/16")).unwrap();
    let server = Server::start(&directory, &[]);
    fs::rename(&directory, parent.path().join("elsewhere")).unwrap();
    server.wait_metric("isthmus_inventory_errors_total", 1.0);
    assert!(!server.allows(&flat("10.1.0.0/16")));
    fs::rename(parent.path().join("elsewhere"), &directory).unwrap();
    server.wait_metric("isthmus_inventory_bad_files", 0.0);
}

#[test]
fn the_content_of_an_invalid_file_is_not_logged() {
    let inventory = TempDir::new();
    let server = Server::start(inventory.path(), &[]);
    let secret = "kind: Secret\nmetadata: {name: s}\nstringData:\n  ";
    let bad = [
        "a: 'hunter2",
        "a: *hunter2",
        "a: hunter2: hunter2",
        "a: \"hunter2\\q\"",
        "a: !hunter2!x y",
        "a: [hunter2}",
        "hunter2\n b",
        "a: @hunter2",
    ];
    for bad in bad {
        inventory.write("secret.yaml", format!("{secret}{bad}\n"));
        server.wait_inventory();
    }
    assert!(server.metric("isthmus_inventory_errors_total").unwrap() > 4.0);
    let logged = server.all_logged();
    assert!(!logged.contains("hunter2"), "{logged}");
}

#[test]
fn reading_repeatedly_takes_no_more_memory() {
    let inventory = TempDir::new();
    for n in 0..1000 {
        let mut member =
            peer(&format!("member-{n}"), &format!("https://istio.m{n}.example.com/metadata/"));
        let object = &mut member["request"]["object"];
        object["metadata"]["annotations"] = serde_json::json!({
            "isthmus.dev/pod-subnet-cidr": format!("10.{}.{}.0/24", n / 250, n % 250),
        });
        inventory.write(&format!("member-{n}.json"), object.to_string());
    }
    let server = Server::start(inventory.path(), &["--inventory-poll", "20ms"]);
    server.wait_metric("isthmus_inventory_members", 1000.0);
    server.wait_inventory();
    let once = server.resident();
    for _ in 0..10 {
        server.wait_inventory();
    }
    let often = server.resident();
    assert!(often < once + once / 2, "{once} KiB once, {often} KiB when read often");
}
