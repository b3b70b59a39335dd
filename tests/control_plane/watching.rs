//! What the watches take for granted of the API server, of the version under test.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use crate::support::api::Api;
use crate::support::guarded::{CRDS, clear};
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
