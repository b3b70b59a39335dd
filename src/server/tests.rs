//! A whole server within the test, so that its tasks can be made to fail.

use std::convert::Infallible;
use std::net::SocketAddr;

use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use futures_util::stream;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::authority::Terms;
use super::supervise::TOO_MANY;
use super::*;
use crate::admission::Hook;

/// How long anything is waited for.
const PATIENCE: Duration = Duration::from_mins(1);

/// An API server that has no objects, and no resources but Kubernetes' own.
async fn api_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let serve = http1::Builder::new().serve_connection(
                TokioIo::new(stream),
                service_fn(async |request| Ok::<_, Infallible>(api(&request))),
            );
            tokio::spawn(serve);
        }
    });
    address
}

fn api(request: &Request<Incoming>) -> Response<Body> {
    let is_watch = request.uri().query().is_some_and(|query| query.contains("watch=true"));
    let mut response = if !request.uri().path().starts_with("/api/v1/") {
        let status = r#"{"kind":"Status","apiVersion":"v1","status":"Failure","code":404,"reason":"NotFound","message":"not found"}"#;
        let mut response = Response::new(Body::from(status));
        *response.status_mut() = StatusCode::NOT_FOUND;
        response
    } else if is_watch {
        Response::new(Body::from_stream(stream::pending::<Result<String, Infallible>>()))
    } else {
        Response::new(Body::from(
            r#"{"kind":"List","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":[]}"#,
        ))
    };
    response.headers_mut().insert("content-type", "application/json".parse().unwrap());
    response
}

/// A server that does all that there is to do.
async fn start() -> (Running, SocketAddr, SocketAddr) {
    let cluster =
        || async { kube::Config::new(format!("http://{}", api_server().await).parse().unwrap()) };
    let seconds = Duration::from_secs;
    let terms = Terms {
        names: vec!["localhost".to_owned()],
        authority_life: seconds(1000),
        life: seconds(100),
        settle: seconds(1),
        path_life: seconds(100),
    };
    let authority = authority::Config {
        cluster: cluster().await,
        secret: "isthmus/isthmus-tls".parse().unwrap(),
        webhooks: "isthmus".to_owned(),
        terms,
        poll: seconds(1),
    };
    let config = Config {
        settings: Settings::default(),
        inventory: Some("manifests/examples/mesh".into()),
        inventory_poll: seconds(1),
        cluster: Some(cluster().await),
        hold: seconds(1),
        ledger: Some(LedgerConfig {
            lease: "isthmus/isthmus-ledger".parse().unwrap(),
            optional: vec!["customResources"],
        }),
        listen: "127.0.0.1:0".to_owned(),
        admin: "127.0.0.1:0".to_owned(),
        certificate: Certificate::load(CertificateSource::SelfSigned).unwrap(),
        tls_poll: seconds(1),
        authority: Some(authority),
        callers: None,
        path_file: None,
        drain_delay: Duration::ZERO,
        limits: Limits {
            connections: 16,
            reviews: 16,
            body_memory: 1 << 20,
            client_timeout: seconds(10),
        },
        lost_log_lines: Counter::default(),
        mesh_page: true,
    };
    let server = Server::bind(config).await.unwrap();
    let (webhook, admin) = (server.webhook_address().unwrap(), server.admin_address().unwrap());
    (server.start().unwrap(), webhook, admin)
}

async fn wait_for(what: &str, mut is: impl AsyncFnMut() -> bool) {
    let waited = async {
        while !is().await {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, waited).await.expect(what);
}

/// What is answered to a request in plain HTTP.
async fn ask(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_panicking_task_is_counted_and_restarted_and_costs_readiness_if_it_repeats() {
    let (running, webhook, admin) = start().await;
    let app = Arc::clone(&running.app);
    wait_for("the mesh to be read", async || app.faults().is_empty()).await;
    let members = app.snapshot.read(Mesh::len);
    assert!(members > 0);
    let tasks = app.supervisor.names();
    let watches = cluster::watches(&app.settings).into_iter().map(|watch| format!("watch {watch}"));
    let others = [
        "accept",
        "accept admin",
        "findings",
        "certificate",
        "holds",
        "inventory",
        "keeper",
        "ledger",
        "sweep",
        "sweep admin",
    ];
    let mut expected: Vec<_> = others.into_iter().map(str::to_owned).chain(watches).collect();
    expected.sort();
    assert_eq!(tasks, expected, "every task is one of these, and is made to fail");

    for ends in 1..=TOO_MANY {
        assert!(app.supervisor.failing().is_empty());
        for task in &tasks {
            app.supervisor.inject(task);
        }
        for task in &tasks {
            let is_counted = async || {
                let series = format!("isthmus_task_failures_total{{task=\"{task}\"}} {ends}\n");
                app.metrics_page().contains(&series)
            };
            wait_for(task, is_counted).await;
        }
    }
    let failing = app.supervisor.failing();
    for task in &tasks {
        let is_told = failing.iter().any(|told| told.contains(&format!("\"{task}\"")));
        assert_eq!(is_told, task != "findings", "{task}: {failing:?}");
    }
    // Everything is as before, except for readiness.
    assert!(ask(admin, "/livez").await.starts_with("HTTP/1.1 200"));
    let told = ask(admin, "/readyz").await;
    assert!(told.starts_with("HTTP/1.1 503") && told.contains("keeps failing"), "{told}");
    let failures = app.http.metrics.handshake_failures.get();
    let mut stream = TcpStream::connect(webhook).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let is_met = async || app.http.metrics.handshake_failures.get() > failures;
    wait_for("the webhook to accept", is_met).await;
    wait_for("the watches", async || app.sources.lost() == 0).await;
    let polls = || {
        let page = app.metrics_page();
        let count =
            page.lines().find_map(|line| line.strip_prefix("isthmus_inventory_polls_total "));
        count.unwrap().parse::<u64>().unwrap()
    };
    let before = polls();
    wait_for("the inventory", async || polls() > before).await;
    assert!(app.faults().is_empty(), "{:?}", app.faults());
    assert_eq!(app.snapshot.read(Mesh::len), members);
}

#[tokio::test]
async fn a_half_changed_mesh_ends_the_process() {
    let (running, _, _) = start().await;
    let app = Arc::clone(&running.app);
    wait_for("the mesh to be read", async || app.faults().is_empty()).await;
    let breaking = Arc::clone(&app.snapshot);
    std::thread::spawn(move || breaking.break_off()).join().unwrap_err();
    assert_eq!(app.faults(), ["a bug in isthmus has left the mesh half changed"]);
    let ended = timeout(PATIENCE, running.until_the_end(|_| ())).await.unwrap();
    assert_eq!(ended.unwrap_err().to_string(), HALF_CHANGED);
}

#[tokio::test]
async fn a_verdict_that_rests_on_old_knowledge_says_so() {
    let (running, _, _) = start().await;
    let app = Arc::clone(&running.app);
    wait_for("the mesh to be read", async || app.faults().is_empty()).await;
    let object = |host: &str| {
        json!({
            "apiVersion": "deckhouse.io/v1alpha1", "kind": "IstioMulticluster",
            "metadata": {"name": "peer"},
            "spec": {"metadataEndpoint": format!("https://{host}.example.com/metadata/")},
        })
    };
    let warnings = async |host: &str| {
        let kind =
            json!({"group": "deckhouse.io", "version": "v1alpha1", "kind": "IstioMulticluster"});
        let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
            "uid": "x", "kind": kind, "name": "peer", "operation": "UPDATE", "dryRun": true,
            "object": object(host), "oldObject": object("old"),
        }});
        let request = Request::post("/validate").body(Body::from(review.to_string())).unwrap();
        let answer = webhook::route::call(&app, Hook::Validate, request, None).await;
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        serde_json::from_slice::<Json>(&body).unwrap()["response"]["warnings"].to_string()
    };
    let told = "isthmus could not read istiomulticlusters.deckhouse.io for 3 min; this verdict rests on its last known state";
    assert!(!warnings("new").await.contains("could not read"));
    let silent_for = Duration::from_secs(3 * 60 + 1);
    app.sources.lose("istiomulticlusters.deckhouse.io", "it is silent", silent_for);
    assert!(warnings("new").await.starts_with(&format!("[\"{told}\"")));
    assert!(!warnings("old").await.contains("could not read"), "it says nothing new");
}
