//! A cluster whose control plane is in another one.

use std::path::Path;

use crate::support::guarded::{Guarded, local};
use crate::support::plane::helm;
use crate::support::transcript::Transcript;

const APPLY: &[&str] = &["apply", "-f", "-"];

/// What `helm template` makes of the chart of these tests with these values.
fn rendered(values: &[&str]) -> String {
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/istio-remote");
    let sets = values.iter().flat_map(|value| ["--set-string", value]);
    let args = ["template", "istio-remote", chart.to_str().unwrap(), "-n=istio-system"];
    helm(&args.into_iter().chain(sets).collect::<Vec<_>>())
}

#[test]
fn rendered_values_and_endpoints_are_judged() {
    let cluster = Guarded::start();
    cluster.create(&local("10.111.0.0/16")).ok();
    cluster.wait_watched(1);
    let mut told = Transcript::new("istio-remote");
    for (note, values) in [
        ("Helm ignores values outside of global.", &["pilotEndpoint=172.16.0.5"][..]),
        (
            "A host name is no address.",
            &["global.pilotEndpoint=pilot.example.com", "global.mixerEndpoint=172.16.0.6:9091"],
        ),
        (
            "A control plane among the local pods.",
            &["global.pilotEndpoint=10.111.3.4", "global.mixerEndpoint=172.16.0.6"],
        ),
        (
            "Addresses that the cluster reaches.",
            &["global.pilotEndpoint=172.16.0.5", "global.mixerEndpoint=172.16.0.6"],
        ),
    ] {
        told.note(note);
        told.kubectl(&cluster, APPLY, &rendered(values));
    }
    told.note("What has nothing to do with Istio is not looked at.");
    let other =
        rendered(&["global.pilotEndpoint=172.16.0.5"]).replace("isthmus.dev/helm-values", "team");
    let before = cluster.isthmus.reviews();
    assert!(before > 0.0);
    told.kubectl(&cluster, APPLY, &other.replace("name: istio-", "name: reviews-"));
    assert!((cluster.isthmus.reviews() - before).abs() < f64::EPSILON);
    told.check();
}
