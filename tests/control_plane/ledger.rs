//! Replicas that share a ledger: of two writes that clash, never both are stored, whichever replica
//! is asked about each, and whatever happens to the replicas and to the ledger.

use std::thread;
use std::time::Instant;

use isthmus::ledger::MOST_BYTES;
use rustix::process::Signal;
use serde_json::{Value as Json, json};

use crate::chart::alerts::OF_THE_LEDGER;
use crate::support::api::{Api, MEMBERS};
use crate::support::cable::Cable;
use crate::support::client::Answer;
use crate::support::guarded::{CRDS, Guarded, VALIDATE};
use crate::support::objects::{config_map, multicluster, review, with};
use crate::support::process::Server;
use crate::support::wait_for;

const LEDGER: &str = "--ledger=isthmus/isthmus-ledger";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/isthmus/leases";
/// How long a write counts here that may never be stored.
const HOLD: &str = "--hold=3s";
const AVAILABLE: &str = "isthmus_ledger_available";
/// How many pairs of writes clash.
const PAIRS: usize = 24;

/// Two replicas that share a ledger: about a member whose name begins with `a` the API server asks
/// the first one, about one whose name begins with `b` the second one.
struct Two {
    guarded: Guarded,
    other: Server,
}

impl Two {
    fn start(args: &[&str]) -> Self {
        let args = [&[LEDGER, HOLD], args].concat();
        let guarded = Guarded::start_unregistered(&args);
        let other = guarded.replica_with(&args);
        let two = Self { guarded, other };
        two.register([&two.guarded.isthmus, &two.other]);
        two
    }

    /// Has the API server ask these, and waits until it does and they judge.
    fn register(&self, replicas: [&Server; 2]) {
        for (replica, prefix) in replicas.into_iter().zip(["a", "b"]) {
            let expression = format!("request.name.startsWith('{prefix}')");
            self.guarded.register_part(replica.webhook, prefix, &expression);
            wait_available(replica);
            let wrong = member(&format!("{prefix}-probe"), "");
            wait_for("the webhook", || {
                let answer = self.api().try_create(MEMBERS, &wrong);
                answer.text().contains("[InvalidMetadataEndpoint]").then_some(())
            });
        }
    }

    fn api(&self) -> Api {
        self.guarded.plane.admin()
    }

    /// Creates what the first and the second replica are asked about, at the same moment.
    fn race(&self, host: &str) -> [(String, Answer); 2] {
        thread::scope(|scope| {
            let write = |prefix: &str| {
                let name = format!("{prefix}-{host}");
                scope.spawn(move || (name.clone(), create(&mut self.api(), &member(&name, host))))
            };
            ["a", "b"].map(write).map(|write| write.join().unwrap())
        })
    }
}

fn wait_available(replica: &Server) {
    replica.wait_metric(AVAILABLE, 1.0);
    replica.wait_metric("isthmus_ledger_quarantine_seconds", 0.0);
}

/// One that shares its endpoint with others of this host; without a host, it is not valid.
fn member(name: &str, host: &str) -> Json {
    let endpoint = match host {
        "" => "https://istio.example.com".to_owned(),
        host => format!("https://istio.{host}.example.com/metadata/"),
    };
    with(multicluster(name), &["spec", "metadataEndpoint"], endpoint)
}

/// Creates a member, again as long as it is told to come again.
fn create(api: &mut Api, member: &Json) -> Answer {
    wait_for("an answer", || {
        let answer = api.create(MEMBERS, member);
        (answer.status != 429).then_some(answer)
    })
}

/// Of two writes that clash one is stored, and the other one is told of it.
#[track_caller]
fn one_is_stored([(first, a), (second, b)]: &[(String, Answer); 2]) {
    let (winner, loser) = match (a.status, b.status) {
        (201, 422) => (first, b),
        (422, 201) => (second, a),
        _ => panic!("{}\n{}", a.text(), b.text()),
    };
    let told = format!("(IstioMulticluster {winner})");
    assert!(loser.text().contains(&told), "{}", loser.text());
}

#[test]
fn of_writes_that_clash_through_two_replicas_one_is_stored() {
    let two = Two::start(&[]);
    for pair in 0..PAIRS {
        one_is_stored(&two.race(&format!("host-{pair}")));
    }
    let mut api = two.api();
    let stored = api.get(MEMBERS)["items"].as_array().unwrap().len();
    assert_eq!(stored, PAIRS);
    for replica in [&two.guarded.isthmus, &two.other] {
        let committed = replica.metric(r#"isthmus_ledger_swaps_total{result="committed"}"#);
        assert!(committed.unwrap() > 1.0, "{committed:?}");
        assert!(replica.metric("isthmus_ledger_wait_seconds_count").unwrap() > 0.0);
        let page = replica.admin("/metrics").text();
        for metric in OF_THE_LEDGER {
            assert!(page.contains(&format!("\n{metric}")), "{metric}");
        }
    }
    // What changes no claim, and what is not stored, takes no swap.
    let version = |api: &mut Api| api.get(&lease())["metadata"]["resourceVersion"].clone();
    let before = wait_for("quiet", || {
        let before = version(&mut api);
        let is_late = two.guarded.isthmus.metric("isthmus_held_writes") != Some(0.0)
            || two.other.metric("isthmus_held_writes") != Some(0.0);
        (!is_late).then_some(before)
    });
    let stored = api.get(MEMBERS)["items"][0]["metadata"]["name"].as_str().unwrap().to_owned();
    let labels = json!({"metadata": {"labels": {"some": "label"}}});
    api.merge(&format!("{MEMBERS}/{stored}"), &labels);
    assert_eq!(api.try_create(MEMBERS, &member("a-dry", "dry")).status, 201);
    let stranger = review(None, &member("a-stranger", "stranger"));
    assert!(two.other.allows(&stranger));
    assert_eq!(version(&mut api), before);
}

#[test]
fn what_a_replica_has_entered_counts_though_it_dies_before_it_answers() {
    let two = Two::start(&[]);
    let cable = Cable::to(two.guarded.plane.api());
    let dying = two.guarded.replica_by(cable.address, &[LEDGER, HOLD]);
    two.register([&dying, &two.other]);
    let entered = (0..5).find(|tries| {
        wait_available(&dying);
        // It has all that it needs to judge.
        let warm = format!("a-warm-{tries}");
        assert_eq!(create(&mut two.api(), &member(&warm, &warm)).status, 201);
        let name = format!("a-{tries}");
        // What it sends arrives, and it is not told so.
        cable.mute(true);
        let written = thread::scope(|scope| {
            let write = scope.spawn(|| two.api().create(MEMBERS, &member(&name, "contested")));
            let entered = wait_for("an entry or an answer", || {
                let page = two.api().get(&lease())["metadata"]["annotations"].to_string();
                let is_entered = page.contains(&name);
                (is_entered || write.is_finished()).then_some(is_entered)
            });
            if entered {
                dying.signal(Signal::KILL);
            }
            let answer = write.join().unwrap();
            assert_ne!(answer.status, 201, "{}", answer.text());
            entered
        });
        // It was about to read the ledger, perhaps.
        cable.mute(false);
        written
    });
    assert!(entered.is_some(), "nothing was entered");
    let rival = member("b-rival", "contested");
    let mut waits = 0;
    let answer = wait_for("the rival to pass", || {
        let answer = two.api().create(MEMBERS, &rival);
        waits += usize::from(answer.status == 429);
        (answer.status != 429).then_some(answer)
    });
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert!(waits > 0, "it may have been stored");
}

#[test]
fn a_ledger_that_is_lost_or_spoilt_is_begun_anew_and_told() {
    let two = Two::start(&[]);
    let mut api = two.api();
    let replicas = [&two.guarded.isthmus, &two.other];
    // Somebody edits it.
    let quarantined = |replica: &Server| {
        wait_for("a quarantine", || {
            (replica.metric("isthmus_ledger_quarantine_seconds")? > 0.0).then_some(())
        });
    };
    api.merge(&lease(), &json!({"metadata": {"annotations": {"isthmus.dev/page": "x"}}}));
    quarantined(replicas[0]);
    let answer = api.create(MEMBERS, &member("a-early", "early"));
    assert_eq!(answer.status, 429, "{}", answer.text());
    assert!(
        answer.text().contains("may have been admitted that are not known"),
        "{}",
        answer.text()
    );
    for replica in replicas {
        replica.wait_logged("the ledger is new, spoilt or restored");
        wait_available(replica);
    }
    one_is_stored(&two.race("spoilt"));

    // Somebody deletes it.
    api.delete(&lease());
    replicas.into_iter().for_each(quarantined);
    assert_eq!(api.get(&lease())["kind"], "Lease", "it is made anew");
    let answer = api.create(MEMBERS, &member("a-late", "late"));
    assert_eq!(answer.status, 429, "{}", answer.text());
    replicas.into_iter().for_each(wait_available);
    one_is_stored(&two.race("late"));
}

#[test]
fn a_full_ledger_has_writes_wait() {
    let cluster = Guarded::start_by(CRDS, "Fail", &[LEDGER, HOLD]);
    wait_available(&cluster.isthmus);
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
    let page = api.get(&lease())["metadata"]["annotations"]["isthmus.dev/page"].clone();
    let length = page.as_str().unwrap().len();
    assert!(length < MOST_BYTES * 3 / 2, "{length} bytes");
    assert_eq!(create(&mut api, &member("a", "a")).status, 201, "not for ever");
}

#[test]
fn a_replica_without_the_right_to_its_ledger_says_so_and_admits_nothing() {
    let cluster = Guarded::start_by(CRDS, "Fail", &[]);
    let asks = |replica: &Server, host: &str| {
        let object = with(member(host, host), &["metadata", "uid"], host);
        replica.client().post(VALIDATE, review(None, &object).to_string())
    };
    let unbound = "--ledger=isthmus/isthmus-ledger";
    let replica = cluster.replica_with(&[unbound, HOLD]);
    replica.wait_logged("forbidden");
    let answer = asks(&replica, "one");
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.text().contains("forbidden"), "{}", answer.text());
    assert_eq!(replica.admin("/readyz").status, 200, "other writes are judged");
    // What changes no claim is judged, and so is what must not depend on anything.
    let dry = with(review(None, &member("dry", "dry")), &["request", "dryRun"], true);
    assert_eq!(replica.review(VALIDATE, &dry)["allowed"], true);
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
    // Whoever says so goes on as if there were one replica.
    let alone = cluster.replica_with(&[unbound, HOLD, "--ledger-optional=all"]);
    assert_eq!(asks(&alone, "one").response()["allowed"], true);
    let rival = with(member("rival", "one"), &["metadata", "uid"], "rival");
    let answer = alone.review(VALIDATE, &review(None, &rival));
    assert_eq!(answer["status"]["code"], 429, "{answer}");
}

#[test]
fn replicas_with_other_settings_take_over_and_the_old_ones_say_so() {
    let two = Two::start(&[]);
    let newer = two.guarded.replica_with(&[LEDGER, HOLD, "--service-overlap=Warn"]);
    wait_available(&newer);
    two.register([&newer, &newer]);
    assert_eq!(create(&mut two.api(), &member("b-newer", "newer")).status, 201);
    for old in [&two.guarded.isthmus, &two.other] {
        wait_for("it to be superseded", || {
            let ready = old.admin("/readyz");
            (ready.status == 503 && ready.text().contains("other settings judge")).then_some(())
        });
        let object = with(member("a-old", "old"), &["metadata", "uid"], "old");
        let answer = old.client().post(VALIDATE, review(None, &object).to_string());
        assert_eq!(answer.status, 503, "{}", answer.text());
    }
    // The upgrade is undone: one that has just started takes over at once.
    let older = two.guarded.replica_with(&[LEDGER, HOLD]);
    wait_available(&older);
    wait_for("the newer one to give way", || (newer.admin("/readyz").status == 503).then_some(()));
    two.register([&older, &two.other]);
    one_is_stored(&two.race("undone"));
}

fn lease() -> String {
    format!("{LEASES}/isthmus-ledger")
}

#[test]
#[allow(clippy::print_stdout, reason = "figures are for people")]
fn a_write_that_changes_a_claim_takes_one_write_more() {
    const WRITES: u32 = 20;
    let cluster = Guarded::start_by(CRDS, "Fail", &[LEDGER, "--hold=10s"]);
    cluster.isthmus.wait_metric(AVAILABLE, 1.0);
    let mut api = cluster.plane.admin();
    // The ledger is new, which is waited for as any client does.
    assert_eq!(create(&mut api, &member("first", "first")).status, 201);
    let metric = |name: &str| cluster.isthmus.metric(name).unwrap();
    let counts = || {
        let committed = metric(r#"isthmus_ledger_swaps_total{result="committed"}"#);
        [committed, metric("isthmus_ledger_wait_seconds_count")]
    };
    let ([swaps, entered], waited) = (counts(), metric("isthmus_ledger_wait_seconds_sum"));
    for at in 0..WRITES {
        let name = format!("member-{at}");
        let answer = api.create(MEMBERS, &member(&name, &name));
        assert_eq!(answer.status, 201, "{}", answer.text());
    }
    let [more_swaps, more_entered] = counts();
    let more = [more_swaps - swaps, more_entered - entered];
    // No entry lasts long enough for a swap of its own.
    assert_eq!(more.map(|more| more.to_string()), [WRITES.to_string(), WRITES.to_string()]);
    let plain = json!({"metadata": {"name": "plain"}});
    assert_eq!(api.create(LEASES, &plain).status, 201);
    let begun = Instant::now();
    for at in 0..WRITES {
        let note = json!({"metadata": {"annotations": {"note": at.to_string()}}});
        api.merge(&format!("{LEASES}/plain"), &note);
    }
    let plain = begun.elapsed().as_secs_f64() / f64::from(WRITES);
    let wait = (metric("isthmus_ledger_wait_seconds_sum") - waited) / f64::from(WRITES);
    println!("one after the other: {wait:.4} s each; a plain update of a Lease: {plain:.4} s");
}
