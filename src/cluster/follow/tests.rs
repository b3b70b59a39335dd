//! A watch over what an API server of the test's own says.

use std::convert::Infallible;
use std::sync::Mutex;

use axum::body::Body;
use axum::http::{Request, Response};
use futures_util::FutureExt;
use futures_util::stream;
use serde_json::{Value as Json, json};
use tower::service_fn;

use super::*;
use crate::cluster::watches;
use crate::mesh::Mesh;
use crate::settings::Settings;
use crate::sources::Need;

/// What the API server lists next, page by page; a page that is null is a failure.
type Pages = Arc<Mutex<Vec<Json>>>;

fn member(name: &str) -> Json {
    json!({
        "metadata": {"name": name, "resourceVersion": "1"},
        "spec": {"metadataEndpoint": format!("https://{name}.example.com/metadata/")},
    })
}

fn page(names: &[&str], rest: &str) -> Json {
    let items: Vec<_> = names.iter().map(|name| member(name)).collect();
    let metadata = json!({"resourceVersion": "1", "continue": rest});
    json!({"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": items})
}

fn answer(pages: &Pages, request: &Request<kube::client::Body>) -> Response<Body> {
    let query = request.uri().query().unwrap_or_default();
    if query.contains("watch=true") {
        return Response::new(Body::from_stream(stream::pending::<Result<String, Infallible>>()));
    }
    if !request.uri().path().ends_with("/istiomulticlusters") {
        let resource = json!({"name": "istiomulticlusters", "singularName": "", "namespaced": false, "kind": "IstioMulticluster", "verbs": []});
        let list = json!({"kind": "APIResourceList", "groupVersion": "deckhouse.io/v1alpha1", "resources": [resource]});
        return Response::new(Body::from(list.to_string()));
    }
    let mut pages = pages.lock().unwrap();
    match if pages.is_empty() { Json::Null } else { pages.remove(0) } {
        Json::Null => Response::builder().status(500).body(Body::from("{}")).unwrap(),
        page => Response::new(Body::from(page.to_string())),
    }
}

fn watching(pages: &Pages) -> Watching {
    let settings = Arc::new(Settings::default());
    let watch =
        watches(&settings).into_iter().find(|watch| watch.document.name == "IstioMulticluster");
    let watch = watch.unwrap();
    let pages = Arc::clone(pages);
    let service = service_fn(move |request| {
        let answer = answer(&pages, &request);
        async { Ok::<_, Infallible>(answer) }
    });
    let sources = Arc::new(Sources::new([(watch.to_string(), Need::Required)]));
    watch.over(
        Client::new(service, "default"),
        Arc::new(Snapshot::new(Mesh::new(settings))),
        sources,
    )
}

fn members(watching: &Watching) -> Vec<String> {
    let names = |mesh: &Mesh| mesh.members().iter().map(|it| it.name().to_string()).collect();
    watching.snapshot.read(names)
}

/// Runs it until its list is read, or so many are not.
async fn until(watching: &mut Watching, is: impl Fn(&Sources) -> bool) {
    let sources = Arc::clone(&watching.sources);
    let done = async {
        while !is(&sources) {
            sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        () = watching.run() => {}
        done = timeout(Duration::from_mins(1), done) => done.unwrap(),
    }
}

fn is_read(sources: &Sources) -> bool {
    sources.missing().is_empty() && sources.lost() == 0
}

#[tokio::test]
async fn objects_deleted_during_a_restart_are_removed() {
    let pages = Pages::default();
    pages.lock().unwrap().extend([page(&["a", "b"], "")]);
    let mut watching = watching(&pages);
    until(&mut watching, is_read).await;
    assert_eq!(members(&watching), ["a", "b"]);
    // As its supervisor does after a panic.
    let begun_anew = watching.run();
    assert!(begun_anew.now_or_never().is_none());
    assert_eq!(watching.sources.lost(), 1, "until it has a list again");
    pages.lock().unwrap().extend([page(&["b", "c"], "")]);
    until(&mut watching, is_read).await;
    assert_eq!(members(&watching), ["b", "c"]);
}

#[tokio::test]
async fn objects_of_an_interrupted_list_are_removed_too() {
    let pages = Pages::default();
    pages.lock().unwrap().extend([page(&["a", "b"], "more"), Json::Null]);
    let mut watching = watching(&pages);
    until(&mut watching, |sources| sources.lost() == 1).await;
    assert_eq!(members(&watching), ["a", "b"]);
    pages.lock().unwrap().extend([page(&["b"], "")]);
    until(&mut watching, is_read).await;
    assert_eq!(members(&watching), ["b"]);
}
