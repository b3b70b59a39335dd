//! `isthmus probe`, in all that may come of it.

use std::path::Path;

use crate::support::guarded::{CRDS, Guarded, isthmus};
use crate::support::process::command;
use crate::support::{TempDir, wait_for};

/// The status and all that was printed.
fn probe(kubeconfig: &Path, args: &[&str]) -> (i32, String) {
    let directory = TempDir::new();
    let mut command = command(directory.path());
    let output = command.args(["probe", "--kubeconfig"]).arg(kubeconfig).args(args).output();
    let output = output.unwrap();
    let printed = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(printed).unwrap())
}

/// A kubeconfig of a new service account.
fn account(cluster: &Guarded, name: &str) -> std::path::PathBuf {
    let manifest = format!(
        "{{apiVersion: v1, kind: ServiceAccount, metadata: {{name: {name}, namespace: isthmus}}}}"
    );
    cluster.kubectl(&["apply", "-f", "-"], &manifest).ok();
    let token = cluster.kubectl(&["create", "token", name, "-n=isthmus"], "").ok();
    cluster.plane.kubeconfig(name, token.trim())
}

#[track_caller]
fn wait_told(kubeconfig: &Path, args: &[&str], status: i32, told: &str) {
    wait_for(told, || {
        let (ended, printed) = probe(kubeconfig, args);
        (ended == status && printed.contains(told)).then_some(())
    });
}

#[test]
fn the_probe_reports_whether_isthmus_is_called() {
    let cluster = Guarded::start();
    let nobody = account(&cluster, "nobody");
    let (status, told) = probe(&nobody, &[]);
    assert_eq!(status, 2, "{told}");
    assert!(told.contains("cannot create resource \"istiomulticlusters\""), "{told}");
    assert!(told.contains("`isthmus rbac --probe` prints the roles that are needed"), "{told}");

    cluster.kubectl(&["apply", "-f", "-"], &isthmus(&["rbac", "--probe"])).ok();
    let prober = account(&cluster, "isthmus-probe");
    wait_told(&prober, &[], 0, "guarded: isthmus denied a dry run of IstioMulticluster");
    let (_, told) = probe(&prober, &[]);
    assert!(told.contains("did you mean https://isthmus-probe.invalid/metadata/"), "{told}");

    // Nobody is asked.
    let kinds = "validatingwebhookconfiguration/isthmus";
    let registered = cluster.kubectl(&["get", kinds, "-o=yaml"], "").ok();
    cluster.kubectl(&["delete", kinds], "").ok();
    wait_told(
        &prober,
        &[],
        1,
        "NOT guarded: the API server admitted a dry run of IstioMulticluster",
    );
    cluster.kubectl(&["apply", "-f", "-"], &registered).ok();
    wait_told(&prober, &[], 0, "guarded:");

    // Without the resource a ConfigMap is asked about.
    cluster.kubectl(&["delete", "crd", "--all"], "").ok();
    wait_told(&prober, &[], 0, "guarded: isthmus denied a dry run of ConfigMap isthmus/");
    let admin = cluster.plane.kubeconfig("admin-probe", crate::support::plane::ADMIN);
    let nowhere = ["--member-namespaces", "nowhere"];
    wait_told(&admin, &nowhere, 2, "Create the namespace, or set another with --member-namespaces");

    // Nobody answers.
    cluster.kubectl(&["apply", "-f", "-"], CRDS).ok();
    cluster.wait_established();
    wait_told(&prober, &[], 0, "guarded: isthmus denied a dry run of IstioMulticluster");
    cluster.isthmus.terminate();
    wait_told(&prober, &[], 2, "but isthmus did not deny it");
    let kinds = "validatingwebhookconfigurations,mutatingwebhookconfigurations";
    let closed = cluster.kubectl(&["get", kinds, "-o=yaml"], "").ok();
    let open = closed.replace("failurePolicy: Fail", "failurePolicy: Ignore");
    cluster.kubectl(&["replace", "-f", "-"], &open).ok();
    wait_told(&prober, &[], 1, "does not answer and the failure policy is Ignore");
    cluster.plane.stop_api_server();
    wait_told(&prober, &[], 2, "cannot call the API server");
    cluster.plane.start_api_server();
}
