//! What the ledger takes for granted of the API server, of the version under test.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use isthmus::pending::LONGEST;
use serde_json::{Value as Json, json};

use crate::support::api::{APPLY, Api, MERGE};
use crate::support::client::Answer;
use crate::support::guarded::{CRDS, clear};
use crate::support::plane::{Plane, Turn, exclusive};
use crate::support::recorder::Recorder;
use crate::support::wait_for;

const MAPS: &str = "/api/v1/namespaces/isthmus/configmaps";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/isthmus/leases";
const WEBHOOKS: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
const MUTATING: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
const PATCH: &str = "Content-Type: application/json-patch+json";

/// A control plane whose API server asks these about ConfigMaps, at the same time.
struct Asked {
    plane: &'static Plane,
    recorders: Vec<Arc<Recorder>>,
    _turn: Turn,
}

impl Asked {
    fn by(recorders: impl IntoIterator<Item = Recorder>) -> Self {
        let (plane, turn) = exclusive();
        clear(plane, CRDS);
        let recorders: Vec<_> = recorders.into_iter().map(Arc::new).collect();
        let webhooks = recorders.iter().enumerate().map(|(at, recorder)| webhook(at, recorder));
        let webhooks: Vec<_> = webhooks.collect();
        let mut api = plane.admin();
        let made = api.create(WEBHOOKS, &json!({"metadata": {"name": "r"}, "webhooks": webhooks}));
        assert_eq!(made.status, 201, "{}", made.text());
        wait_for("the webhooks to be called", || {
            api.try_create(MAPS, &map("probe", "1"));
            let are_asked = recorders.iter().all(|it| !it.requests("probe").is_empty());
            are_asked.then_some(())
        });
        Self { plane, recorders, _turn: turn }
    }

    fn requests(&self, name: &str) -> Vec<Json> {
        self.recorders.iter().flat_map(|recorder| recorder.requests(name)).collect()
    }
}

/// What has the API server ask a recorder, for as long as it ever waits.
fn webhook(at: usize, recorder: &Recorder) -> Json {
    let url = format!("https://{}/validate/secret", recorder.address);
    json!({
        "name": format!("{at}.recorder.isthmus.dev"),
        "clientConfig": {"url": url, "caBundle": recorder.bundle},
        "rules": [{
            "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"],
            "operations": ["CREATE", "UPDATE"],
        }],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "isthmus"}},
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "failurePolicy": "Fail",
        "timeoutSeconds": 30,
    })
}

fn map(name: &str, value: &str) -> Json {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name}, "data": {"key": value},
    })
}

fn allow(_: &Json, _: usize) -> Json {
    json!({"allowed": true})
}

fn stored(answer: &Answer) -> Json {
    assert!([200, 201].contains(&answer.status), "{}", answer.text());
    serde_json::from_slice(&answer.body).unwrap()
}

fn version(object: &Json) -> u64 {
    object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}

#[test]
fn a_creation_has_its_uid_when_it_is_judged_however_it_is_written() {
    let asked = Asked::by([Recorder::start(allow)]);
    let mut api = asked.plane.admin();
    let uid = |object: &Json| object["metadata"]["uid"].clone();
    let created = stored(&api.create(MAPS, &map("created", "1")));
    let apply = format!("{MAPS}/applied?fieldManager=test");
    let applied = stored(&api.send_as("PATCH", &apply, APPLY, &map("applied", "1")));
    let mut generated = map("", "1");
    generated["metadata"] = json!({"generateName": "generated-"});
    let generated = stored(&api.create(MAPS, &generated));
    for object in [created, applied, generated] {
        let requests = asked.requests(object["metadata"]["name"].as_str().unwrap());
        assert_eq!(requests.len(), 1);
        assert_eq!(requests[0]["operation"], "CREATE");
        assert!(uid(&object).is_string());
        assert_eq!(uid(&requests[0]["object"]), uid(&object));
    }
}

#[test]
fn a_write_is_given_up_before_it_stops_counting() {
    // Each webhook answers in time, and both together not soon enough for what remains after them.
    let each = LONGEST.saturating_sub(Duration::from_secs(5)) / 2;
    let is_slow = |request: &Json| request["object"]["data"]["key"] == "slow";
    let slow = move || {
        Recorder::start(move |request: &Json, _| {
            if is_slow(request) {
                thread::sleep(each);
            }
            json!({"allowed": true})
        })
    };
    let (asked, first) = (Asked::by([slow()]), slow());
    let mut api = asked.plane.admin();
    let mutating = json!({"metadata": {"name": "r"}, "webhooks": [webhook(0, &first)]});
    stored(&api.create(MUTATING, &mutating));
    wait_for("the mutating webhook to be called", || {
        stored(&api.try_create(MAPS, &map("probe", "1")));
        (!first.requests("probe").is_empty()).then_some(())
    });
    let patch = json!({"data": {"key": "slow"}});
    let writes = [
        ("created", "POST", "", map("created", "slow")),
        ("put", "PUT", "", map("put", "slow")),
        ("patched", "PATCH", MERGE, patch),
        ("applied", "PATCH", APPLY, map("applied", "slow")),
    ];
    for (name, ..) in &writes[1..] {
        stored(&api.create(MAPS, &map(name, "1")));
    }
    thread::scope(|scope| {
        for (name, method, headers, body) in &writes {
            let (asked, first) = (&asked, &first);
            scope.spawn(move || {
                let path = match *method {
                    "POST" => MAPS.to_owned(),
                    _ if *headers == APPLY => {
                        format!("{MAPS}/{name}?fieldManager=test&force=true")
                    }
                    _ => format!("{MAPS}/{name}"),
                };
                let mut api = asked.plane.admin();
                let answer = match *headers {
                    "" => api.send(method, &path, body),
                    headers => api.send_as(method, &path, headers, body),
                };
                assert!(answer.status >= 500, "{name}: {}", answer.text());
                for recorder in [first, &*asked.recorders[0]] {
                    let calls = recorder.requests(name);
                    assert_eq!(calls.iter().filter(|it| is_slow(it)).count(), 1, "{name}");
                }
            });
        }
    });
    assert_eq!(api.send("GET", &format!("{MAPS}/created"), &Json::Null).status, 404);
    for (name, ..) in &writes[1..] {
        assert_eq!(api.get(&format!("{MAPS}/{name}"))["data"]["key"], "1", "{name}");
    }
}

#[test]
fn a_creation_that_is_tried_again_has_another_uid() {
    let is_denied = AtomicBool::new(true);
    let deny_once = move |request: &Json, _: usize| {
        let is_ours = request["object"]["metadata"]["name"] == "again";
        json!({"allowed": !(is_ours && is_denied.swap(false, Ordering::Relaxed))})
    };
    let asked = Asked::by([Recorder::start(deny_once)]);
    let mut api = asked.plane.admin();
    assert_eq!(api.create(MAPS, &map("again", "1")).status, 400);
    let object = stored(&api.create(MAPS, &map("again", "1")));
    let uids: Vec<_> =
        asked.requests("again").iter().map(|it| it["object"]["metadata"]["uid"].clone()).collect();
    assert_eq!(uids.len(), 2);
    assert!(uids[0] != uids[1] && uids[1] == object["metadata"]["uid"], "{uids:?}");
}

#[test]
fn a_generated_name_that_is_taken_is_judged_again_by_another_name_and_uid() {
    let (plane, first) = (Arc::new(OnceLock::<&'static Plane>::new()), Arc::new(OnceLock::new()));
    let (of_answer, judged) = (Arc::clone(&plane), Arc::clone(&first));
    // While the first name is judged, somebody else takes it.
    let take = move |request: &Json, _: usize| {
        let metadata = &request["object"]["metadata"];
        if metadata["generateName"] == "taken-" && judged.set(request.clone()).is_ok() {
            let name = metadata["name"].as_str().unwrap();
            stored(&of_answer.get().unwrap().admin().create(MAPS, &map(name, "other")));
        }
        json!({"allowed": true})
    };
    let asked = Asked::by([Recorder::start(take)]);
    plane.set(asked.plane).ok();
    let mut generated = map("", "1");
    generated["metadata"] = json!({"generateName": "taken-"});
    let made = stored(&asked.plane.admin().create(MAPS, &generated));
    let requests = asked.requests(made["metadata"]["name"].as_str().unwrap());
    assert_eq!(requests.len(), 1);
    let first = first.get().unwrap();
    assert_ne!(requests[0]["uid"], first["uid"]);
    for field in ["name", "uid"] {
        let of = |request: &Json| request["object"]["metadata"][field].clone();
        assert_eq!(of(&requests[0]), made["metadata"][field]);
        assert_ne!(of(&requests[0]), of(first), "{field}");
    }
}

#[test]
fn each_call_of_a_webhook_has_a_uid_of_its_own() {
    let asked = Asked::by([Recorder::start(allow), Recorder::start(allow)]);
    stored(&asked.plane.admin().create(MAPS, &map("one", "1")));
    let requests = asked.requests("one");
    assert_eq!(requests.len(), 2, "each of them is asked");
    assert_ne!(requests[0]["uid"], requests[1]["uid"]);
    let uid = |request: &Json| request["object"]["metadata"]["uid"].clone();
    assert_eq!(uid(&requests[0]), uid(&requests[1]));
}

#[test]
fn each_attempt_of_an_update_is_judged_and_replaces_the_version_that_it_was_judged_with() {
    // While the first attempt is judged, somebody else writes.
    let plane: Arc<OnceLock<&'static Plane>> = Arc::default();
    let of_answer = Arc::clone(&plane);
    let interfere = move |request: &Json, before: usize| {
        let is_ours = request["object"]["metadata"]["name"] == "contested"
            && request["object"]["data"]["key"] == "patched";
        if is_ours && before == 1 {
            let path = format!("{MAPS}/contested");
            let labels = json!({"metadata": {"labels": {"other": "writer"}}});
            of_answer.get().unwrap().admin().merge(&path, &labels);
        }
        json!({"allowed": true})
    };
    let asked = Asked::by([Recorder::start(interfere)]);
    plane.set(asked.plane).ok();
    let mut api = asked.plane.admin();
    let created = stored(&api.create(MAPS, &map("contested", "1")));
    let path = format!("{MAPS}/contested");
    let patch = json!({"data": {"key": "patched"}});
    let patched = stored(&api.send_as("PATCH", &path, MERGE, &patch));
    let requests = asked.requests("contested");
    let ours: Vec<_> =
        requests.iter().filter(|it| it["object"]["data"]["key"] == "patched").collect();
    let attempts: Vec<_> = ours
        .iter()
        .filter(|it| it["oldObject"]["data"]["key"] == "1")
        .map(|it| version(&it["oldObject"]))
        .collect();
    assert_eq!(attempts.len(), 2, "{attempts:?}");
    assert_eq!(attempts[0], version(&created));
    assert!(attempts[0] < attempts[1] && attempts[1] < version(&patched));
    assert_eq!(patched["metadata"]["labels"]["other"], "writer", "nothing is overwritten");
    // A PUT states its version, and is not tried again.
    let stale = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "data": {"key": "stale"},
        "metadata": {"name": "contested", "resourceVersion": attempts[1].to_string()},
    });
    assert_eq!(api.send("PUT", &path, &stale).status, 409);
}

#[test]
fn what_a_quota_refuses_was_judged_before() {
    let asked = Asked::by([Recorder::start(allow)]);
    let mut api = asked.plane.admin();
    let quotas = "/api/v1/namespaces/isthmus/resourcequotas";
    let quota = json!({"metadata": {"name": "none"}, "spec": {"hard": {"count/configmaps": "0"}}});
    stored(&api.create(quotas, &quota));
    let status =
        json!({"status": {"hard": {"count/configmaps": "0"}, "used": {"count/configmaps": "0"}}});
    api.merge(&format!("{quotas}/none/status"), &status);
    let mut tries = 0;
    let refused = wait_for("the quota to count", || {
        tries += 1;
        let answer = api.create(MAPS, &map(&format!("too-much-{tries}"), "1"));
        (answer.status == 403).then_some(answer)
    });
    api.delete(&format!("{quotas}/none"));
    assert!(refused.text().contains("exceeded quota"), "{}", refused.text());
    assert_eq!(asked.requests(&format!("too-much-{tries}")).len(), 1);
}

#[test]
fn a_swap_is_refused_that_expects_another_uid_or_nonce() {
    let asked = Asked::by([Recorder::start(allow)]);
    let mut api = asked.plane.admin();
    api.clear(&format!("{LEASES}/page"));
    let lease = json!({"metadata": {"name": "page", "annotations": {"isthmus.dev/nonce": "a"}}});
    let made = stored(&api.create(LEASES, &lease));
    let mut swap = |uid: &Json, nonce: &str, next: &str| {
        let at = "/metadata/annotations/isthmus.dev~1nonce";
        let patch = json!([
            {"op": "test", "path": "/metadata/uid", "value": uid},
            {"op": "test", "path": at, "value": nonce},
            {"op": "replace", "path": at, "value": next},
        ]);
        api.send_as("PATCH", &format!("{LEASES}/page"), PATCH, &patch)
    };
    let uid = &made["metadata"]["uid"];
    let swapped = stored(&swap(uid, "a", "b"));
    assert!(version(&swapped) > version(&made));
    for (uid, nonce) in [(uid, "a"), (&json!("another"), "b")] {
        let lost = swap(uid, nonce, "c");
        assert_eq!(lost.status, 422, "{}", lost.text());
    }
    assert_eq!(stored(&swap(uid, "b", "d"))["metadata"]["annotations"]["isthmus.dev/nonce"], "d");
}

#[test]
fn of_swaps_at_once_one_is_made() {
    const SWAPS: usize = 12;
    let asked = Asked::by([]);
    let mut api = asked.plane.admin();
    api.clear(&format!("{LEASES}/page"));
    let lease = json!({"metadata": {"name": "page", "annotations": {"isthmus.dev/nonce": "a"}}});
    stored(&api.create(LEASES, &lease));
    let swap = |next: usize| {
        let at = "/metadata/annotations/isthmus.dev~1nonce";
        let patch = json!([
            {"op": "test", "path": at, "value": "a"},
            {"op": "replace", "path": at, "value": next.to_string()},
        ]);
        let path = format!("{LEASES}/page");
        asked.plane.admin().send_as("PATCH", &path, PATCH, &patch).status
    };
    let made = thread::scope(|scope| {
        let swaps: Vec<_> = (0..SWAPS).map(|next| scope.spawn(move || swap(next))).collect();
        swaps.into_iter().map(|it| it.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(made.iter().filter(|status| **status == 200).count(), 1, "{made:?}");
    assert!(made.iter().all(|status| [200, 409, 422].contains(status)), "{made:?}");
}

#[test]
fn a_list_is_as_new_as_what_was_stored_before_it_and_its_versions_are_numbers() {
    let asked = Asked::by([]);
    let mut api = asked.plane.admin();
    let list = |api: &mut Api, path: &str| version(&api.get(path));
    let mut last = list(&mut api, MAPS);
    for at in 0..20 {
        let made = version(&stored(&api.create(MAPS, &map(&format!("listed-{at}"), "1"))));
        let listed = list(&mut api, &format!("{MAPS}?limit=1"));
        assert!(last < made && made <= listed, "{last} {made} {listed}");
        last = listed;
    }
    // A list of nothing tells of a version as well, which a read of nothing does not.
    assert!(list(&mut api, &format!("{MAPS}?fieldSelector=metadata.name%3Dnone")) >= last);
    assert_eq!(api.send("GET", &format!("{MAPS}/none"), &Json::Null).status, 404);
}

#[test]
fn what_fails_to_be_called_is_told_with_its_path() {
    let asked = Asked::by([Recorder::start(|request: &Json, _| {
        // The connection breaks, once the webhook is known to be called.
        let is_probe = request["object"]["metadata"]["name"] == "probe";
        if is_probe { json!({"allowed": true}) } else { Json::Null }
    })]);
    let answer = asked.plane.admin().create(MAPS, &map("failed", "1"));
    assert_eq!(answer.status, 500, "{}", answer.text());
    assert!(answer.text().contains("/validate/secret"), "{}", answer.text());
}

#[test]
fn of_denials_the_first_that_arrives_is_told() {
    let denier = |name: &'static str, is_late: bool| {
        Recorder::start(move |request: &Json, _| {
            if request["object"]["metadata"]["name"] == "probe" {
                return json!({"allowed": true});
            }
            if is_late {
                thread::sleep(Duration::from_secs(2));
            }
            json!({"allowed": false, "status": {"message": name}})
        })
    };
    let asked = Asked::by([denier("slow", true), denier("quick", false)]);
    let answer = asked.plane.admin().create(MAPS, &map("denied", "1"));
    assert!(
        answer.text().contains("quick") && !answer.text().contains("slow"),
        "{}",
        answer.text()
    );
}
