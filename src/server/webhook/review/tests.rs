//! Reviews that come by no connection.

use std::convert::Infallible;
use std::sync::Mutex;

use tokio::time::sleep;
use tower::service_fn;

use super::*;
use crate::server::ledger::PageKeeper;
use crate::server::webhook::caller::Verification;
use crate::server::{Certificate, CertificateSource, LedgerConfig, Limits, know};
use crate::settings::Settings;
use crate::sources::Sources;

fn app(settings: Arc<Settings>, hold: Option<Duration>) -> App {
    let sources = Arc::new(Sources::new([]));
    let verification = Verification::new(false, false, None).unwrap();
    let certificate = Certificate::load(CertificateSource::SelfSigned).unwrap();
    let limits = Limits {
        connections: 4,
        reviews: 4,
        body_memory: 2 * body::LARGEST,
        client_timeout: DEFAULT_TIMEOUT,
    };
    App::new(settings, sources, hold, verification, certificate, None, limits).unwrap()
}

#[test]
#[allow(clippy::panic, reason = "it is what is tested")]
fn a_panic_becomes_a_response() {
    assert!(matches!(caught(|| panic!("on purpose")), Err::<(), _>(Refusal::Panic)));
    assert_eq!(caught(|| 1).ok(), Some(1));
}

#[test]
fn long_reviews_leave_the_async_threads() {
    let app = Arc::new(app(Arc::default(), None));
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.max_blocking_threads(1).enable_time().build().unwrap();
    let (end, busy) = std::sync::mpsc::channel::<()>();
    runtime.block_on(async {
        // The threads for such work are taken: what is over all the same was made here.
        let (end_backstage, busy_backstage) = std::sync::mpsc::channel::<()>();
        let busy_backstage = Arc::new(std::sync::Mutex::new(busy_backstage));
        for _ in 0..2 {
            let busy = Arc::clone(&busy_backstage);
            app.backstage.run(move || busy.lock().unwrap().recv());
        }
        let busy = spawn_blocking(move || busy.recv());
        for (length, is_apart) in
            [(SMALL, false), (SMALL + 1, true), (MEDIUM + 1, true), (body::LARGEST, true)]
        {
            let request = Request::post("/validate").body("a".repeat(length).into()).unwrap();
            let review = review(&app, Hook::Validate, Caller::Anybody, request, None);
            tokio::select! {
                biased;
                _ = review => assert!(!is_apart, "{length} bytes were waited for"),
                () = std::future::ready(()) => assert!(is_apart, "{length} bytes"),
            }
        }
        drop((end, end_backstage));
        let _ = busy.await;
    });
}

#[tokio::test]
async fn the_ledger_is_read_before_what_a_verdict_rests_on() {
    // What a call asks for, and when it is answered.
    let calls = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&calls);
    let service = service_fn(move |request: axum::http::Request<kube::client::Body>| {
        let log = Arc::clone(&log);
        async move {
            let is_lease = request.uri().path().ends_with("/leases/isthmus-ledger");
            let what = if is_lease { "ledger" } else { "object" };
            log.lock().unwrap().push(("asked", what));
            // Whoever does not wait for the answer asks for more before it comes.
            sleep(Duration::from_millis(20)).await;
            log.lock().unwrap().push(("answered", what));
            let lease = r#"{"metadata":{"name":"isthmus-ledger","uid":"u","resourceVersion":"1"}}"#;
            let absent = r#"{"kind":"Status","status":"Failure","code":404,"reason":"NotFound"}"#;
            let (status, body) = if is_lease { (200, lease) } else { (404, absent) };
            let response = axum::http::Response::builder().status(status);
            Ok::<_, Infallible>(response.body(axum::body::Body::from(body)).unwrap())
        }
    });
    let client = kube::Client::new(service, "default");
    let settings = Arc::new(Settings::default());
    let mut app = app(Arc::clone(&settings), Some(LONGEST_TIMEOUT));
    let watches = crate::cluster::watches(&settings);
    let lease = "isthmus/isthmus-ledger".parse().unwrap();
    let ledger = LedgerConfig { lease, optional: Vec::new() };
    know(&mut app, &client, &watches, Some(ledger));
    let app = Arc::new(app);
    let mut keeper = PageKeeper::new(app.ledger.as_ref().unwrap());
    tokio::spawn(async move { keeper.keep().await });
    while app.snapshot.page().is_none_or(|page| page.fault.is_some()) {
        sleep(Duration::from_millis(1)).await;
    }
    let request = Request::post("/validate").header(CONTENT_TYPE, "application/json");
    let (head, body) = request.body(axum::body::Body::from("{}")).unwrap().into_parts();
    let (now, room) = (Instant::now(), app.memory.part(Caller::Verified, [0; 4].into()));
    let deadline = now + LONGEST_TIMEOUT;
    let received = body::receive(LONGEST_TIMEOUT, &head.headers, body, room, deadline).await;
    let mut case = Case {
        hook: Hook::Validate,
        caller: Caller::Verified,
        received: received.unwrap(),
        begun: now,
        working: deadline,
        waiting: deadline,
        looks: None,
        confirmed: Some(BTreeSet::new()),
        is_alone: false,
        is_late: false,
        fault: None,
    };
    let map = |name: &str| Arc::new(ObjectRef::new("ConfigMap", Some("istio-system"), name));
    calls.lock().unwrap().clear();
    let objects = vec![map("istio")];
    super::confirm(&app, &mut case, Confirm { objects, page: true }).await;
    let calls = calls.lock().unwrap();
    assert_eq!(calls[..2], [("asked", "ledger"), ("answered", "ledger")]);
    assert!(calls.contains(&("answered", "object")), "{calls:?}");
    assert_eq!(case.confirmed.unwrap().len(), 1);
}

#[test]
fn the_caller_says_how_long_it_waits() {
    const CASES: &[(Option<&str>, u64)] = &[
        (None, 10_000),
        (Some(""), 10_000),
        (Some("timeout=3s"), 3_000),
        (Some("a=b&timeout=250ms"), 250),
        (Some("timeout=5m"), 30_000),
        (Some("timeout=0s"), 10_000),
        (Some("timeout=soon"), 10_000),
    ];
    for (query, milliseconds) in CASES {
        assert_eq!(timeout(*query), Duration::from_millis(*milliseconds), "{query:?}");
    }
}

#[test]
fn long_texts_are_clipped() {
    assert_eq!(clipped("short"), "short");
    assert_eq!(clipped(&"\u{e4}".repeat(1000)).chars().count(), LONGEST_LOGGED);
}
