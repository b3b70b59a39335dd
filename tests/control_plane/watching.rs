//! A watch before the real API server, and what watches take for granted of it, of the version under
//! test.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use isthmus::cluster::{Told, as_pod, watches};
use isthmus::ledger::Watched;
use isthmus::mesh::Mesh;
use isthmus::settings::Settings;
use isthmus::snapshot::Snapshot;
use isthmus::sources::{Need, Sources};
use serde_json::{Value as Json, json};

use crate::support::api::{Api, MEMBERS};
use crate::support::cable::Cable;
use crate::support::guarded::{CRDS, Guarded, clear};
use crate::support::objects::multicluster;
use crate::support::plane::{Plane, Turn, exclusive};
use crate::support::wait_for;

const MAPS: &str = "/api/v1/namespaces/isthmus/configmaps";

fn plane() -> (&'static Plane, Turn) {
    let (plane, turn) = exclusive();
    clear(plane, CRDS);
    (plane, turn)
}

fn map(name: &str, label: &str) -> Json {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "labels": {"of": label}},
    })
}

fn version(object: &Json) -> u64 {
    object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}

fn created(api: &mut Api, name: &str, label: &str) -> u64 {
    let made = api.create(MAPS, &map(name, label));
    assert_eq!(made.status, 201, "{}", made.text());
    version(&serde_json::from_slice(&made.body).unwrap())
}

/// What one call of a watch tells, from its beginning to its end.
fn watched(plane: &Plane, label: &str, from: u64, seconds: u32) -> Vec<(String, u64)> {
    let path = format!(
        "{MAPS}?watch=true&allowWatchBookmarks=true&labelSelector=of%3D{label}&resourceVersion={from}&timeoutSeconds={seconds}"
    );
    let answer = plane.admin().send("GET", &path, &Json::Null);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let text = answer.text();
    let events = text.lines().map(|line| serde_json::from_str::<Json>(line).unwrap());
    events
        .map(|event| (event["type"].as_str().unwrap().to_owned(), version(&event["object"])))
        .collect()
}

#[test]
fn an_object_that_leaves_a_selector_for_another_is_told_of_by_both_with_one_version() {
    let (plane, _turn) = plane();
    let mut api = plane.admin();
    let made = created(&mut api, "moves", "a");
    let path = format!("{MAPS}/moves");
    api.merge(&path, &json!({"metadata": {"labels": {"of": "b"}}}));
    let moved = version(&api.get(&path));
    assert!(made < moved);
    let told = |label| {
        let mut told = watched(plane, label, made, 3);
        told.retain(|(of, _)| of != "BOOKMARK");
        told
    };
    assert_eq!(told("a"), [("DELETED".to_owned(), moved)]);
    assert_eq!(told("b"), [("ADDED".to_owned(), moved)]);
}

#[test]
fn a_call_ends_in_time_and_before_that_with_a_bookmark_of_what_it_does_not_select() {
    const CALL: u32 = 15;
    let (plane, _turn) = plane();
    let mut names = (0..).map(|number| format!("unselected-{number}"));
    wait_for("a bookmark", || {
        let from = version(&plane.admin().get(MAPS));
        let begun = Instant::now();
        let (told, unselected) = thread::scope(|scope| {
            let told = scope.spawn(|| watched(plane, "a", from, CALL));
            let unselected = created(&mut plane.admin(), &names.next().unwrap(), "b");
            (told.join().unwrap(), unselected)
        });
        assert!(begun.elapsed() >= Duration::from_secs(u64::from(CALL) - 1));
        let is_bookmark = |(of, _): &(String, u64)| of == "BOOKMARK";
        assert!(told.iter().all(is_bookmark), "{told:?}");
        // It comes two seconds before the end, unless the machine is slow.
        told.last().is_some_and(|(_, version)| *version >= unselected).then_some(())
    });
}

/// So a watch may only be continued where etcd is the one that it began with.
#[test]
fn a_watch_from_a_version_of_the_future_tells_nothing_and_does_not_fail() {
    let (plane, _turn) = plane();
    let future = version(&plane.admin().get(MAPS)) + 1_000_000;
    let told = thread::scope(|scope| {
        let told = scope.spawn(|| watched(plane, "a", future, 4));
        created(&mut plane.admin(), "untold", "a");
        told.join().unwrap()
    });
    assert_eq!(told, []);
}

#[test]
fn what_a_silent_watch_does_not_tell_is_listed_before_the_silence_is_noticed() {
    const LARGE: usize = 200 << 10;
    let cluster = Guarded::start_unasked();
    let cable = Cable::to(cluster.plane.api());
    let kubeconfig = cluster.kubeconfig_by(cable.address);
    let settings = Arc::new(Settings::default());
    let watch = watches(&settings).into_iter();
    let watch = watch.filter(|watch| watch.document.is_peer()).collect::<Vec<_>>().remove(0);
    let name: Arc<str> = watch.to_string().into();
    let snapshot = Arc::new(Snapshot::new(Mesh::new(settings)));
    let told = Arc::new(Told::new(Arc::clone(&snapshot), std::slice::from_ref(&watch)));
    let sources = Arc::new(Sources::new([(name.to_string(), Need::Required)]));
    let stored = |object: &Json| {
        let made = cluster.plane.admin().create(MEMBERS, object);
        assert_eq!(made.status, 201, "{}", made.text());
        version(&serde_json::from_slice(&made.body).unwrap())
    };
    // It has told of this version, and by which list.
    let come = |least: u64| match snapshot.watched(&name) {
        Watched::At { version, listed } if version >= least => Some(listed),
        _ => None,
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let config = runtime.block_on(as_pod(Some(&kubeconfig), None)).unwrap();
    let _entered = runtime.enter();
    let client = kube::Client::try_from(config).unwrap();
    let mut watching = watch.over(client, Arc::clone(&told), Arc::clone(&sources));
    runtime.spawn(async move { watching.run().await });
    let first = wait_for("the first list", || come(0));
    let mut large = multicluster("large");
    large["metadata"]["annotations"] = json!({"note": "x".repeat(LARGE)});
    let large = stored(&large);
    wait_for("an event", || come(large));
    // The connection of the watch goes dead: nobody is told.
    assert_eq!(cable.die_where_received(LARGE), 1);
    let unseen = stored(&multicluster("unseen"));
    let behind = || if come(unseen).is_some() { Vec::new() } else { vec![Arc::clone(&name)] };
    runtime.block_on(told.catch_up(behind));
    assert!(come(unseen).is_some_and(|listed| listed > first), "it was listed again");
    assert_eq!(snapshot.read(Mesh::len), 2);
    assert_eq!(sources.lost(), 0, "nobody has noticed the silence");
    // It goes on from there.
    let later = stored(&multicluster("later"));
    wait_for("an event after the list", || come(later));
    runtime.shutdown_background();
}
