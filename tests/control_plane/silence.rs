//! An API server that is connected and says nothing: told of, survived, and over when it is over.

mod faults;

use crate::support::cable::Cable;
use crate::support::guarded::{CRDS, Guarded, member};
use crate::support::process::Server;

const LOST: &str = "isthmus_lost_watches";
const AGE: &str = "isthmus_inventory_age_seconds";

fn all_watches() -> f64 {
    let watches = isthmus::cluster::watches(&isthmus::settings::Settings::default()).len();
    f64::from(u32::try_from(watches).unwrap())
}

/// A server that reaches the cluster by this way.
fn by(cable: &Cable, cluster: &Guarded) -> Server {
    let kubeconfig = cluster.kubeconfig_by(cable.address);
    let server = Server::launch_with(&["--kubeconfig", kubeconfig.to_str().unwrap()]);
    server.wait_ready();
    server
}

/// How often something is told at this level.
fn told(server: &Server, level: &str, message: &str) -> usize {
    let lines = server.log_lines();
    let is_it = |line: &&serde_json::Value| line["level"] == level && line["message"] == message;
    lines.iter().filter(is_it).count()
}

#[track_caller]
fn notices(server: &Server) {
    server.wait_metric(LOST, all_watches());
    assert!(server.metric(AGE).unwrap() > 0.0);
    let lost = "the API server is lost; the last known state stays in use";
    server.wait_logged(lost);
    server.wait_logged("the API server does not answer");
    assert_eq!(told(server, "ERROR", lost), 1, "{}", server.logged());
    assert_eq!(server.admin("/readyz").status, 200);
}

#[track_caller]
fn recovers(server: &Server) {
    server.wait_metric(LOST, 0.0);
    assert_eq!(server.metric(AGE), Some(0.0));
    let back = "the API server is back; the mesh is up to date";
    server.wait_logged(back);
    assert_eq!(told(server, "INFO", back), 1);
}

fn is_noticed_in_a_black_hole(crds: &str) {
    let cluster = Guarded::start_with(crds, "Fail");
    let cable = Cable::to(cluster.plane.api());
    let server = by(&cable, &cluster);
    server.wait_metric(LOST, 0.0);
    cable.die();
    notices(&server);
    cable.revive();
    recovers(&server);
}

#[test]
fn a_dead_connection_to_the_api_server_is_noticed_and_recovered_from() {
    is_noticed_in_a_black_hole(CRDS);
}

#[test]
fn a_single_silent_watch_is_restarted() {
    const LARGE: usize = 200 << 10;
    let cluster = Guarded::start_unasked();
    let cable = Cable::to(cluster.plane.api());
    let server = by(&cable, &cluster);
    let endpoint = "https://istio.large.example.com/metadata/";
    let large = member("large", endpoint);
    let note = format!("  annotations: {{note: {}}}\nspec:", "x".repeat(LARGE));
    cluster.create(&large.replacen("spec:", &note, 1)).ok();
    server.wait_metric("isthmus_watched_objects", 1.0);
    // The one connection that the watch of this resource has.
    assert_eq!(cable.die_where_received(LARGE), 1);
    cluster.create(&member("unseen", "https://istio.unseen.example.com/metadata/")).ok();
    server.wait_metric("isthmus_watched_objects", 2.0);
    server.wait_metric(LOST, 0.0);
    server.wait_logged("is lost;");
    let lost = server.log_lines().into_iter().filter(|line| line["level"] == "ERROR");
    let watches: Vec<_> = lost.map(|line| line["watch"].clone()).collect();
    assert_eq!(watches, ["istiomulticlusters.deckhouse.io"], "{}", server.logged());
}
