//! What takes minutes to show: `make faults` runs it.

use super::{AGE, is_noticed_in_a_black_hole, notices, recovers};
use crate::support::guarded::{Guarded, member};
use crate::support::{peer, wait_for};

#[test]
#[ignore = "takes a minute: `make faults`"]
fn a_dead_connection_is_noticed_even_without_installed_resources() {
    is_noticed_in_a_black_hole("");
}

#[test]
#[ignore = "takes a minute: `make faults`"]
fn a_stopped_api_server_is_noticed_and_recovered_from() {
    let cluster = Guarded::start_unasked();
    let mut review = peer("new", "https://istio.new.example.com/metadata/");
    review["request"]["dryRun"] = true.into();
    let warnings = || cluster.isthmus.review("/validate", &review)["warnings"].to_string();
    cluster.plane.while_api_server_sleeps(|| {
        notices(&cluster.isthmus);
        for age in [30.0, 50.0] {
            wait_for("time to pass", || (cluster.isthmus.metric(AGE)? > age).then_some(()));
        }
        wait_for("more than a minute", || {
            let warned = "isthmus could not read the cluster for 1 min";
            warnings().contains(warned).then_some(())
        });
        assert!(cluster.isthmus.metric(AGE).unwrap() > 60.0);
    });
    recovers(&cluster.isthmus);
    assert!(!warnings().contains("could not read"));
    cluster.create(&member("later", "https://istio.later.example.com/metadata/")).ok();
    cluster.wait_watched(1);
}
