//! Replicas that share a ledger: of two writes that clash, never both are stored, whichever replica
//! is asked about each, and whatever happens to the replicas and to the ledger.

use std::thread;

use isthmus::ledger::MOST_BYTES;
use rustix::process::Signal;
use serde_json::{Value as Json, json};

use crate::chart::alerts::OF_THE_LEDGER;
use crate::support::api::{Api, MEMBERS};
use crate::support::cable::Cable;
use crate::support::guarded::{CRDS, Guarded, LEDGER, SHARING, VALIDATE, grant};
use crate::support::objects::{config_map, multicluster, review, with};
use crate::support::process::Server;
use crate::support::racing::{Ring, wait_usable, write};
use crate::support::wait_for;

/// How long a write counts, in the tests that wait for its end: long enough for a slow machine to see
/// that it does.
const HOLD: &str = "--hold=10s";
/// How many pairs of writes clash.
const PAIRS: usize = 24;

/// One that shares its endpoint with others of this host; without a host, it is not valid.
fn member(name: &str, host: &str) -> Json {
    let endpoint = match host {
        "" => "https://istio.example.com".to_owned(),
        host => format!("https://istio.{host}.example.com/metadata/"),
    };
    with(multicluster(name), &["spec", "metadataEndpoint"], endpoint)
}

/// Two that clash, of which each replica is asked about one.
fn rivals(host: &str) -> [Json; 2] {
    [0, 1].map(|number| member(&format!("{host}-{number}"), host))
}

fn page(api: &mut Api) -> String {
    api.get(LEDGER)["metadata"]["annotations"]["isthmus.dev/page"].to_string()
}

#[test]
fn of_writes_that_clash_through_two_replicas_one_is_stored() {
    let ring = Ring::start(2, &[]);
    for pair in 0..PAIRS {
        ring.race(&rivals(&format!("host{pair}")));
    }
    assert_eq!(ring.stored().len(), PAIRS);
    ring.with_each(|replica| {
        let committed = replica.metric(r#"isthmus_ledger_swaps_total{result="committed"}"#);
        assert!(committed.unwrap() > 1.0, "{committed:?}");
        assert!(replica.metric("isthmus_ledger_wait_seconds_count").unwrap() > 0.0);
        let page = replica.admin("/metrics").text();
        for metric in OF_THE_LEDGER {
            assert!(page.contains(&format!("\n{metric}")), "{metric}");
        }
    });
    // What changes no claim, and what is not stored, takes no swap.
    ring.with_each(|replica| replica.wait_metric("isthmus_held_writes", 0.0));
    let mut api = ring.api();
    let version = |api: &mut Api| api.get(LEDGER)["metadata"]["resourceVersion"].clone();
    let before = version(&mut api);
    let labels = json!({"metadata": {"labels": {"some": "label"}}});
    api.merge(&format!("{MEMBERS}/{}", ring.stored()[0]), &labels);
    assert_eq!(api.try_create(MEMBERS, &member("dry-0", "dry")).status, 201);
    let stranger = review(None, &member("stranger-1", "stranger"));
    assert!(ring.with(1, |replica| replica.allows(&stranger)));
    assert_eq!(version(&mut api), before);
}

#[test]
fn what_was_entered_counts_though_every_replica_dies_before_it_answers() {
    let ring = Ring::start(2, &[HOLD]);
    let cable = Cable::to(ring.cluster.plane.api());
    let entered = (0..5).find(|tries| {
        let replica = ring.cluster.replica_by(cable.address, &ring.args());
        drop(ring.seat(0, replica));
        ring.wait_usable();
        // It has all that it needs to judge.
        let warm = format!("warm{tries}-0");
        assert_eq!(write(&mut ring.api(), &member(&warm, &warm)).status, 201);
        let name = format!("entered{tries}-0");
        // What it sends arrives, and it is not told so.
        cable.mute(true);
        let is_entered = thread::scope(|scope| {
            let written = scope.spawn(|| ring.api().create(MEMBERS, &member(&name, "contested")));
            let is_entered = wait_for("an entry or an answer", || {
                let is_entered = page(&mut ring.api()).contains(&name);
                (is_entered || written.is_finished()).then_some(is_entered)
            });
            if is_entered {
                (0..2).for_each(|number| ring.end(number, Signal::KILL));
            }
            let answer = written.join().unwrap();
            assert_ne!(answer.status, 201, "{}", answer.text());
            is_entered
        });
        // It was about to read the ledger, perhaps.
        cable.mute(false);
        is_entered
    });
    assert!(entered.is_some(), "nothing was entered");
    // To those who come, it may be stored as long as they know of it.
    (0..2).for_each(|number| ring.restart(number, Signal::TERM));
    ring.with_each(wait_usable);
    let rival = member("rival-1", "contested");
    let early = ring.api().create(MEMBERS, &rival);
    assert_eq!(early.status, 429, "{}", early.text());
    assert!(early.text().contains("just admitted"), "{}", early.text());
    assert_eq!(write(&mut ring.api(), &rival).status, 201);
}

#[test]
fn a_ledger_that_is_lost_or_spoilt_is_begun_anew_and_told() {
    let ring = Ring::start(2, &[HOLD]);
    let mut api = ring.api();
    let lists = || {
        let page = ring.api().send("GET", "/metrics", &Json::Null).text();
        let is_list = |line: &&str| {
            line.starts_with("apiserver_request_total{")
                && line.contains(r#"resource="istiomulticlusters""#)
                && line.contains(r#"verb="LIST""#)
        };
        let counts = page.lines().filter(is_list).map(|line| line.rsplit(' ').next().unwrap());
        counts.map(|count| count.parse::<f64>().unwrap()).sum::<f64>()
    };
    let begun_anew = |host: &str| {
        ring.with_each(|replica| {
            wait_for("a quarantine", || {
                (replica.metric("isthmus_ledger_quarantine_seconds")? > 0.0).then_some(())
            });
        });
        let before = lists();
        let answer = ring.api().create(MEMBERS, &member(&format!("{host}-early-0"), "early"));
        assert_eq!(answer.status, 429, "{}", answer.text());
        let told = "the ledger is new or was lost";
        assert!(answer.text().contains(told), "{}", answer.text());
        ring.with_each(|replica| {
            replica.wait_logged("the ledger is new, spoilt or restored");
            wait_usable(replica);
        });
        // What is listed before its end is no help, however long that lasts.
        let more = lists() - before;
        assert!(more < 12.0, "{more} lists by two replicas");
        ring.race(&rivals(host));
    };
    // Somebody edits it.
    api.merge(LEDGER, &json!({"metadata": {"annotations": {"isthmus.dev/page": "x"}}}));
    begun_anew("spoilt");
    // Somebody deletes it.
    api.delete(LEDGER);
    begun_anew("deleted");
    assert_eq!(api.get(LEDGER)["kind"], "Lease", "it is made anew");
}

#[test]
fn a_full_ledger_has_writes_wait() {
    let cluster = Guarded::start_by(CRDS, "Fail", &[SHARING, HOLD]);
    wait_usable(&cluster.isthmus);
    // Each of them says much, and none is ever stored.
    let large = |at: usize| {
        let ranges = (0..40).map(|n| json!({"fromCidr": format!("10.{at}.{n}.0/24")}));
        let gateways = json!([{"address": "192.0.2.1", "port": 15443}]);
        let network = json!({"endpoints": ranges.collect::<Vec<_>>(), "gateways": gateways});
        let networks = json!({"networks": {"far": network}}).to_string();
        let object = config_map("istio-system", "istio", json!({"meshNetworks": networks}));
        let object = with(object, &["metadata", "uid"], format!("uid-{at}"));
        let mut review = review(None, &object);
        review["request"]["userInfo"]["username"] = format!("user-{at}").into();
        review
    };
    let full = r#"isthmus_delayed_reviews_total{reason="full"}"#;
    wait_for("the ledger to be full", || {
        let answers: Vec<_> = (0..40).map(|at| cluster.asks(&large(at))).collect();
        let is_told = |answer: &Json| answer["status"]["code"] == 429;
        assert!(answers.iter().all(|it| it["allowed"] == true || is_told(it)), "{answers:?}");
        (cluster.isthmus.metric(full)? > 0.0).then_some(())
    });
    let mut api = cluster.plane.admin();
    let length = page(&mut api).len();
    assert!(length < MOST_BYTES * 3 / 2, "{length} bytes");
    assert_eq!(write(&mut api, &member("a", "a")).status, 201, "not for ever");
}

#[test]
fn without_the_right_to_the_ledger_a_replica_says_so_and_admits_nothing() {
    let cluster = Guarded::start_by(CRDS, "Fail", &[]);
    let asks = |replica: &Server, host: &str| {
        let object = with(member(host, host), &["metadata", "uid"], host);
        replica.review(VALIDATE, &review(None, &object))
    };
    let replica = cluster.replica_with(&[SHARING, HOLD]);
    replica.wait_logged("forbidden");
    cluster.register_at(replica.webhook, "Fail");
    assert_eq!(replica.admin("/readyz").status, 200, "other writes are judged");
    // Whoever writes is told, and clients repeat it by themselves.
    let mut api = cluster.plane.admin();
    let answer = api.create(MEMBERS, &member("one", "one"));
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    for told in ["denied the request", "has to wait: the ledger cannot be used", "forbidden"] {
        assert!(answer.text().contains(told), "{}", answer.text());
    }
    let unusable = r#"isthmus_delayed_reviews_total{reason="unusable"}"#;
    assert_eq!(replica.metric(unusable), Some(1.0));
    let kubectl = cluster.create(&member("one", "one").to_string());
    assert!(kubectl.stderr.starts_with("Error from server (ServiceUnavailable)"), "{kubectl:?}");
    assert!(kubectl.stderr.contains("the ledger cannot be used"), "{kubectl:?}");
    assert_eq!(replica.metric(unusable), Some(12.0), "kubectl has tried eleven times");
    // What changes no claim is judged, and so is what must not depend on anything.
    assert_eq!(api.try_create(MEMBERS, &member("dry", "dry")).status, 201);
    let optional = |domain: &str| {
        let text = format!(
            "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\nnetworking: {{dnsDomain: {domain}}}\n"
        );
        let map =
            config_map("kube-system", "kubeadm-config", json!({"ClusterConfiguration": text}));
        with(map, &["metadata", "uid"], domain)
    };
    for (domain, is_allowed) in [("cluster.local", true), ("cluster..local", false)] {
        let answer = replica.review(VALIDATE, &review(None, &optional(domain)));
        assert_eq!(answer["allowed"], is_allowed, "{answer}");
    }
    // Whoever says so goes on as if there were one replica, or has nothing denied.
    let alone = cluster.replica_with(&[SHARING, HOLD, "--ledger-optional=all"]);
    assert_eq!(asks(&alone, "one")["allowed"], true);
    let rival = with(member("rival", "one"), &["metadata", "uid"], "rival");
    let answer = alone.review(VALIDATE, &review(None, &rival));
    assert_eq!(answer["status"]["code"], 429, "{answer}");
    let warning = cluster.replica_with(&[SHARING, HOLD, "--enforcement=Warn"]);
    assert_eq!(asks(&warning, "one")["allowed"], true);
    // Once the right is there, the next repetition passes.
    grant(cluster.plane, &[SHARING]);
    assert_eq!(write(&mut api, &member("one", "one")).status, 201);
}

#[test]
fn replicas_with_other_settings_take_over_and_the_old_ones_say_so() {
    let ring = Ring::start(2, &[]);
    let newer = || ring.cluster.replica_with(&[SHARING, "--service-overlap=Warn"]);
    let older = [0, 1].map(|number| ring.seat(number, newer()).unwrap());
    ring.wait_usable();
    assert_eq!(write(&mut ring.api(), &member("newer-1", "newer")).status, 201);
    for old in &older {
        wait_for("it to be superseded", || {
            let ready = old.admin("/readyz");
            (ready.status == 503 && ready.text().contains("other settings judge")).then_some(())
        });
        let object = with(member("old-0", "old"), &["metadata", "uid"], "old");
        let answer = old.client().post(VALIDATE, review(None, &object).to_string());
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    }
    // The upgrade is undone: one that has just started takes over at once.
    let [_, other] = older;
    let newer = [ring.cluster.replica_with(&[SHARING]), other];
    let newer = [0, 1].into_iter().zip(newer).map(|(number, old)| ring.seat(number, old).unwrap());
    let newer: Vec<_> = newer.collect();
    ring.wait_usable();
    for newer in &newer {
        wait_for("it to give way", || (newer.admin("/readyz").status == 503).then_some(()));
    }
    ring.race(&rivals("undone"));
}

#[test]
fn a_write_that_changes_a_claim_takes_one_write_more() {
    const WRITES: u32 = 20;
    let cluster = Guarded::start_by(CRDS, "Fail", &[SHARING]);
    wait_usable(&cluster.isthmus);
    let mut api = cluster.plane.admin();
    let counts = || {
        let metric = |name: &str| cluster.isthmus.metric(name).unwrap();
        let committed = metric(r#"isthmus_ledger_swaps_total{result="committed"}"#);
        [committed, metric("isthmus_ledger_wait_seconds_count")]
    };
    let before = counts();
    for at in 0..WRITES {
        let name = format!("member-{at}");
        let answer = api.create(MEMBERS, &member(&name, &name));
        assert_eq!(answer.status, 201, "{}", answer.text());
    }
    // No entry lasts long enough for a swap of its own.
    let after = counts();
    let more = [0, 1].map(|at| (after[at] - before[at]).to_string());
    assert_eq!(more, [WRITES.to_string(), WRITES.to_string()]);
}
