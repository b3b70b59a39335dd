use super::*;
use crate::manifest;
use crate::settings::Settings;

fn readings(yaml: &str) -> Vec<Reading> {
    let settings = Settings::default();
    let manifests = manifest::read(yaml, "file.yaml").unwrap();
    manifests.iter().map(|manifest| manifest.reading(&settings).unwrap()).collect()
}

fn mesh(readings: &[Reading]) -> Mesh {
    Mesh::of(Arc::new(Settings::default()), readings.iter().cloned())
}

fn configuration(name: &str, annotations: &str, domain: &str, subnets: &str) -> String {
    format!(
        "---\napiVersion: deckhouse.io/v1\nkind: ClusterConfiguration\nmetadata: {{name: {name}, annotations: {{{annotations}}}}}\nclusterDomain: {domain}\npodSubnetCIDR: 10.{subnets}.0.0/16\npodSubnetNodeCIDRPrefix: '24'\nserviceSubnetCIDR: 172.{subnets}.0.0/16\n"
    )
}

#[test]
fn a_status_only_denies_another_local_domain_whatever_the_name_of_the_member() {
    for name in ["a", "z"] {
        let peer = format!(
            "---\napiVersion: deckhouse.io/v1alpha1\nkind: IstioMulticluster\nmetadata: {{name: {name}}}\nspec: {{metadataEndpoint: 'https://{name}.example/metadata/'}}\nstatus: {{metadataCache: {{private: {{networkName: network-other-local-5}}}}}}\n"
        );
        let local = |domain| configuration("local", "", domain, "16");
        let written = readings(&(local("cluster.local") + &peer));
        let verdict = review_all(&mesh(&[]), &mesh(&written), &written, None);
        assert_eq!(verdict.denials, [], "{name}");
        let mismatch = |it: &&Warning| it.finding.rule == "ClusterDomainMismatch";
        let places = verdict.warnings.iter().filter(mismatch).map(|it| &it.finding.place);
        let objects: Vec<_> = places.map(|place| place.object.to_string()).collect();
        assert_eq!(objects, [format!("IstioMulticluster {name}")]);

        let before = readings(&(local("other.local") + &peer));
        let verdict = review_all(&mesh(&before), &mesh(&written), &written[..1], None);
        let rules: Vec<_> = verdict.denials.iter().map(|finding| finding.rule).collect();
        assert_eq!(rules, ["ClusterDomainMismatch"], "{name}");
    }
}

#[test]
fn naming_the_local_network_reports_the_pairs_it_joins() {
    let named = configuration("b", "isthmus.dev/network: vpc", "cluster.local", "17");
    let unstated = configuration("c", "", "cluster.local", "17");
    let local = |annotation| configuration("local", annotation, "cluster.local", "16");
    let before = readings(&(local("") + &named + &unstated));
    let after = readings(&(local("isthmus.dev/network: vpc") + &named + &unstated));
    let verdict = review_all(&mesh(&before), &mesh(&after), &after[..1], None);
    let rules: Vec<_> = verdict.denials.iter().map(|finding| finding.rule).collect();
    assert_eq!(rules, ["SubnetOverlap"; 2]);
}
