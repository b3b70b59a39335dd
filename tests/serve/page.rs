//! The page of the mesh at the admin port.

use std::fs;
use std::time::Instant;

use isthmus::map::POLICY;

use crate::support::TempDir;
use crate::support::process::Server;
use crate::support::wait_for;

const MADE: &str = "isthmus_mesh_pages_total";

fn config(pods: &str) -> String {
    format!(
        "apiVersion: deckhouse.io/v1\nkind: ClusterConfiguration\nmetadata: {{name: local}}\npodSubnetCIDR: {pods}\n"
    )
}

#[test]
fn there_is_no_page_unless_it_is_asked_for() {
    let directory = TempDir::new();
    fs::write(directory.path().join("a.yaml"), config("10.1.0.0/16")).unwrap();
    let server = Server::start(directory.path(), &[]);
    let answer = server.admin("/mesh");
    assert_eq!(answer.status, 404);
    assert_eq!(answer.text(), "not found; the paths are /livez, /readyz and /metrics\n");
    assert_eq!(server.metric(MADE), None);
}

#[test]
fn the_page_is_made_once_for_each_state_of_the_mesh() {
    let directory = TempDir::new();
    let file = directory.path().join("a.yaml");
    fs::write(&file, config("10.1.0.0/16")).unwrap();
    let server = Server::start(directory.path(), &["--mesh-page"]);
    assert_eq!(server.metric(MADE), Some(0.0), "nobody has asked for it");
    assert!(server.printed().contains("/readyz, /metrics and /mesh\n"), "{}", server.printed());
    let begun = Instant::now();
    for _ in 0..50 {
        let answer = server.admin("/mesh");
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
        assert_eq!(answer.header("content-security-policy"), Some(POLICY));
        assert_eq!(answer.header("x-frame-options"), Some("DENY"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert!(answer.text().contains("10.1.0.0/16"));
    }
    // It is made anew each minute, for the ages in it.
    let minutes = 1 + begun.elapsed().as_secs() / 60;
    let made = server.metric(MADE).unwrap();
    assert!(
        made >= 1.0 && made <= f64::from(u32::try_from(minutes).unwrap()),
        "{made} in {minutes} min"
    );

    fs::write(&file, config("10.2.0.0/16")).unwrap();
    wait_for("the page of the mesh as it is now", || {
        let page = server.admin("/mesh").text();
        (page.contains("10.2.0.0/16") && !page.contains("10.1.0.0/16")).then_some(())
    });
    let told = server.admin("/nothing").text();
    assert_eq!(told, "not found; the paths are /livez, /readyz, /metrics and /mesh\n");
}
