//! Figures that must not get worse without anybody noticing.

use crate::support::TempDir;
use crate::support::process::Server;

#[test]
fn a_thousand_members_fit_into_20_mib() {
    let inventory = TempDir::new();
    for n in 0..1000 {
        let (a, b) = (n / 250, n % 250);
        let member = format!(
            "apiVersion: deckhouse.io/v1alpha1\nkind: IstioMulticluster\nmetadata:\n  name: member-{n}\n  annotations:\n    isthmus.dev/cluster-domain: cluster.local\n    isthmus.dev/pod-subnet-cidr: 10.{a}.{b}.0/24\n    isthmus.dev/service-subnet-cidr: 172.16.{b}.{}/26\nspec:\n  metadataEndpoint: https://istio.member-{n}.example.com/metadata/\n",
            a * 64
        );
        inventory.write(&format!("member-{n}.yaml"), member);
    }
    let server = Server::start(inventory.path(), &["--inventory-poll", "100ms"]);
    server.wait_metric("isthmus_inventory_members", 1000.0);
    server.wait_inventory();
    let resident = server.resident();
    assert!(resident < 20 << 10, "{resident} KiB");
}
