//! A watch over what an API server of the test's own says.

use std::convert::Infallible;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use futures_util::{FutureExt, StreamExt, stream};
use serde_json::{Value as Json, json};
use tower::service_fn;

use super::*;
use crate::cluster::watches;
use crate::mesh::Mesh;
use crate::settings::Settings;
use crate::snapshot::Snapshot;
use crate::sources::Need;

const GROUP: &str = "deckhouse.io/v1alpha1";

/// What an API server says.
#[derive(Default)]
struct Script {
    /// What it lists next, page by page; null is a failure, and a number its status.
    pages: Mutex<Vec<Json>>,
    /// What the next calls of a watch bring: events, and at last whether the call ends.
    calls: Mutex<Vec<(Vec<Json>, bool)>>,
    /// Whether it does not know the resource.
    is_absent: AtomicBool,
    /// What it was asked, but for what it serves.
    asked: Mutex<Vec<String>>,
}

fn member(name: &str) -> Json {
    json!({
        "apiVersion": GROUP, "kind": "IstioMulticluster",
        "metadata": {"name": name, "resourceVersion": "1"},
        "spec": {"metadataEndpoint": format!("https://{name}.example.com/metadata/")},
    })
}

fn page_at(version: u64, names: &[&str], rest: &str) -> Json {
    let items: Vec<_> = names.iter().map(|name| member(name)).collect();
    let metadata = json!({"resourceVersion": version.to_string(), "continue": rest});
    json!({"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": items})
}

fn page(names: &[&str], rest: &str) -> Json {
    page_at(1, names, rest)
}

fn event(of: &str, version: u64, name: &str) -> Json {
    let mut object = member(name);
    object["metadata"]["resourceVersion"] = version.to_string().into();
    json!({"type": of, "object": object})
}

fn expired() -> Json {
    let status = json!({"kind": "Status", "status": "Failure", "code": 410, "message": "too old"});
    json!({"type": "ERROR", "object": status})
}

impl Script {
    fn of(pages: impl IntoIterator<Item = Json>) -> Arc<Self> {
        let script = Self::default();
        script.lists(pages);
        Arc::new(script)
    }

    fn lists(&self, pages: impl IntoIterator<Item = Json>) {
        self.pages.lock().unwrap().extend(pages);
    }

    fn tells(&self, events: impl IntoIterator<Item = Json>, ends: bool) {
        self.calls.lock().unwrap().push((events.into_iter().collect(), ends));
    }

    fn answer(&self, request: &Request<kube::client::Body>) -> Response<Body> {
        let status = |status: u16| {
            let message = if status == 403 { "forbidden" } else { "" };
            let body =
                json!({"kind": "Status", "status": "Failure", "code": status, "message": message});
            let status = StatusCode::from_u16(status).unwrap();
            Response::builder().status(status).body(Body::from(body.to_string())).unwrap()
        };
        let path = request.uri().path();
        if let Some(namespace) = path.strip_prefix("/api/v1/namespaces/")
            && !namespace.contains('/')
        {
            return status(if self.is_absent.load(Ordering::Relaxed) { 404 } else { 403 });
        }
        if !path.ends_with("/istiomulticlusters") && !path.ends_with("/configmaps") {
            if self.is_absent.load(Ordering::Relaxed) {
                return status(404);
            }
            let resource = json!({"name": "istiomulticlusters", "singularName": "", "namespaced": false, "kind": "IstioMulticluster", "verbs": []});
            let list =
                json!({"kind": "APIResourceList", "groupVersion": GROUP, "resources": [resource]});
            return Response::new(Body::from(list.to_string()));
        }
        let query = request.uri().query().unwrap_or_default();
        self.asked.lock().unwrap().push(query.to_owned());
        let next = |queue: &Mutex<Vec<Json>>| {
            let mut queue = queue.lock().unwrap();
            if queue.is_empty() { Json::Null } else { queue.remove(0) }
        };
        if !query.contains("watch=true") {
            return match next(&self.pages) {
                Json::Null => status(500),
                Json::Number(code) => status(code.as_u64().unwrap().try_into().unwrap()),
                page => Response::new(Body::from(page.to_string())),
            };
        }
        let mut calls = self.calls.lock().unwrap();
        let (events, ends) = if calls.is_empty() { (Vec::new(), false) } else { calls.remove(0) };
        let lines: Vec<_> =
            events.iter().map(|event| Ok::<_, Infallible>(format!("{event}\n"))).collect();
        let lines = stream::iter(lines);
        Response::new(if ends {
            Body::from_stream(lines)
        } else {
            Body::from_stream(lines.chain(stream::pending()))
        })
    }

    /// From which version each watch was called, and nothing for each page that was listed.
    fn asked(&self) -> Vec<Option<u64>> {
        let version = |query: &String| {
            let of_watch = query.split('&').find_map(|it| it.strip_prefix("resourceVersion="));
            of_watch.map(|version| version.parse().unwrap())
        };
        self.asked.lock().unwrap().iter().map(version).collect()
    }
}

fn watching(script: &Arc<Script>) -> Watching {
    watching_of("IstioMulticluster", script)
}

fn watching_of(document: &str, script: &Arc<Script>) -> Watching {
    let settings = Arc::new(Settings::default());
    let watch = watches(&settings).into_iter().find(|watch| watch.document.name == document);
    let watch = watch.unwrap();
    let script = Arc::clone(script);
    let service = service_fn(move |request| {
        let answer = script.answer(&request);
        async { Ok::<_, Infallible>(answer) }
    });
    let sources = Arc::new(Sources::new([(watch.to_string(), Need::Required)]));
    let snapshot = Arc::new(Snapshot::new(Mesh::new(settings)));
    let told = Arc::new(Told::new(snapshot, std::slice::from_ref(&watch)));
    watch.over(Client::new(service, "default"), told, sources)
}

fn members(watching: &Watching) -> Vec<String> {
    let names = |mesh: &Mesh| mesh.members().iter().map(|it| it.name().to_string()).collect();
    watching.told.snapshot.read(names)
}

/// Runs it until this is so.
async fn until(watching: &mut Watching, is: impl Fn(&Sources, Watched) -> bool) {
    let (sources, told) = (Arc::clone(&watching.sources), Arc::clone(&watching.told));
    let name = Arc::clone(&watching.name);
    let done = async {
        while !is(&sources, told.snapshot.watched(&name)) {
            sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        () = watching.run() => {}
        done = timeout(Duration::from_mins(1), done) => done.unwrap(),
    }
}

fn is_read(sources: &Sources, _: Watched) -> bool {
    sources.missing().is_empty() && sources.lost() == 0
}

fn is_at(expected: u64) -> impl Fn(&Sources, Watched) -> bool {
    move |_, come| matches!(come, Watched::At { version, .. } if version == expected)
}

#[tokio::test]
async fn objects_deleted_during_a_restart_are_removed() {
    let script = Script::of([page(&["a", "b"], "")]);
    let mut watching = watching(&script);
    until(&mut watching, is_read).await;
    assert_eq!(members(&watching), ["a", "b"]);
    // As its supervisor does after a panic.
    let begun_anew = watching.run();
    assert!(begun_anew.now_or_never().is_none());
    assert_eq!(watching.sources.lost(), 1, "until it has a list again");
    assert_eq!(watching.told.snapshot.watched(&watching.name), Watched::Unknown);
    script.lists([page(&["b", "c"], "")]);
    until(&mut watching, is_read).await;
    assert_eq!(members(&watching), ["b", "c"]);
}

#[tokio::test]
async fn objects_of_an_interrupted_list_are_removed_too() {
    let script = Script::of([page(&["a", "b"], "more"), Json::Null]);
    let mut watching = watching(&script);
    until(&mut watching, |sources, _| sources.lost() == 1).await;
    assert_eq!(members(&watching), ["a", "b"]);
    script.lists([page(&["b"], "")]);
    until(&mut watching, is_read).await;
    assert_eq!(members(&watching), ["b"]);
}

#[tokio::test]
async fn it_has_come_as_far_as_the_last_list_event_or_bookmark() {
    let script = Script::of([page_at(5, &["a"], "more"), page_at(5, &["b"], "")]);
    let bookmark = |version: &str| {
        let object = json!({"apiVersion": GROUP, "kind": "IstioMulticluster", "metadata": {"resourceVersion": version}});
        json!({"type": "BOOKMARK", "object": object})
    };
    script.tells([event("ADDED", 7, "c"), event("DELETED", 8, "a"), bookmark("12")], false);
    let mut watching = watching(&script);
    until(&mut watching, is_at(12)).await;
    assert_eq!(members(&watching), ["b", "c"]);
    assert_eq!(script.asked(), [None, None, Some(5)]);
    let asked = script.asked.lock().unwrap();
    assert!(asked[..2].iter().all(|list| list.contains("limit=256")), "{asked:?}");
    assert!(asked[1].contains("continue=more"), "{asked:?}");
    assert!(asked[2].contains("allowWatchBookmarks=true"), "{asked:?}");
}

#[tokio::test]
async fn a_call_that_has_ended_in_time_is_continued_and_any_other_is_not() {
    let script = Script::of([page_at(5, &["a"], "")]);
    script.tells([event("ADDED", 7, "b")], true);
    script.tells([event("ADDED", 9, "c")], false);
    let mut watching = watching(&script);
    watching.call = 1;
    until(&mut watching, is_at(9)).await;
    assert_eq!(script.asked(), [None, Some(5), Some(7)]);

    let script = Script::of([page_at(5, &["a"], ""), page_at(8, &["a", "b"], "")]);
    script.tells([event("ADDED", 7, "b")], true);
    let mut watching = self::watching(&script);
    until(&mut watching, is_at(8)).await;
    assert_eq!(script.asked()[..3], [None, Some(5), None]);
    assert_eq!(watching.sources.lost(), 0, "it is not told as a loss");
}

#[tokio::test]
async fn what_cannot_be_continued_starts_again_with_a_list() {
    let failures = [expired(), event("MODIFIED", 3, "a"), json!({"type": "ADDED", "object": {}})];
    for failure in failures {
        let script = Script::of([page_at(5, &["a", "b"], ""), page_at(9, &["b"], "")]);
        script.tells([failure.clone()], false);
        let mut watching = watching(&script);
        until(&mut watching, is_at(9)).await;
        assert_eq!(members(&watching), ["b"], "{failure}");
        assert_eq!(script.asked()[..3], [None, Some(5), None], "{failure}");
    }
}

#[tokio::test]
async fn a_list_that_is_asked_for_is_begun_after_that() {
    let script = Script::of([page_at(5, &["a"], "")]);
    let mut watching = watching(&script);
    until(&mut watching, is_at(5)).await;
    let told = Arc::clone(&watching.told);
    let name = Arc::clone(&watching.name);
    let asked = told.snapshot.now();
    script.lists([page_at(5, &["a"], ""), page_at(9, &["a", "b"], "")]);
    let behind = || {
        let is_there =
            matches!(told.snapshot.watched(&name), Watched::At { version, .. } if version >= 9);
        if is_there { Vec::new() } else { vec![Arc::clone(&name)] }
    };
    tokio::select! {
        () = watching.run() => {}
        done = timeout(Duration::from_mins(1), told.catch_up(behind)) => done.unwrap(),
    }
    let Watched::At { listed, .. } = told.snapshot.watched(&name) else { panic!() };
    assert!(listed > asked);
    assert_eq!(members(&watching), ["a", "b"]);
}

#[tokio::test]
async fn a_resource_that_is_absent_is_known_to_be_and_looked_for() {
    let script = Script::of([page_at(5, &["a"], "")]);
    script.is_absent.store(true, Ordering::Relaxed);
    let mut watching = watching(&script);
    let is_absent = |_: &Sources, come| matches!(come, Watched::Absent { .. });
    until(&mut watching, is_absent).await;
    assert!(is_read(&watching.sources, Watched::Unknown), "there is nothing to read");
    let Watched::Absent { since, listed: first } = watching.come else { panic!() };
    let is_later = |_: &Sources, come| matches!(come, Watched::Absent { since: same, listed } if same == since && listed > first);
    watching.has_run = false;
    until(&mut watching, is_later).await;
    script.is_absent.store(false, Ordering::Relaxed);
    until(&mut watching, is_at(5)).await;
    assert_eq!(members(&watching), ["a"]);
    // Served no more, the list is not found, and then it is absent.
    script.lists([404.into()]);
    script.is_absent.store(true, Ordering::Relaxed);
    until(&mut watching, is_absent).await;
    assert_eq!(members(&watching), [""; 0]);
    assert_eq!(watching.sources.lost(), 0);
}

#[tokio::test]
async fn a_refusal_is_a_loss_unless_there_is_no_such_namespace() {
    let refused = || (0..MANY).map(|_| 403.into());
    let script = Script::of(refused());
    script.is_absent.store(true, Ordering::Relaxed);
    let mut watching = watching_of("member ConfigMap", &script);
    until(&mut watching, |_, come| matches!(come, Watched::Absent { .. })).await;
    assert_eq!(watching.sources.lost(), 0);
    assert_eq!(watching.sources.missing(), [""; 0]);

    let script = Script::of(refused());
    let mut watching = watching_of("member ConfigMap", &script);
    until(&mut watching, |sources, _| sources.lost() == 1).await;
    let missing = watching.sources.missing();
    assert!(missing[0].ends_with("is not read: forbidden"), "{missing:?}");
    assert_eq!(watching.come, Watched::Unknown);
    // Once it is granted, nothing else has to happen.
    script.pages.lock().unwrap().clear();
    script.lists([page_at(5, &[], "")]);
    until(&mut watching, is_at(5)).await;
    assert_eq!(watching.sources.lost(), 0);
}
