//! A scout in a cluster of the test's own, where names lead wherever the test says.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};

use axum::body::Body;
use axum::http::{Method, Request, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::{FutureExt, stream};
use http_body_util::BodyExt;
use serde_json::{Value as Json, json};
use tower::service_fn;

use super::*;

const MEMBERS: &str = "/apis/isthmus.dev/v1alpha1/meshmembers";

/// A cluster with one remote Secret and what the scout makes of it.
struct Cluster {
    secret: Json,
    /// MeshMember `b` after each change, the last one at last.
    members: Mutex<Vec<Json>>,
}

impl Cluster {
    fn member(&self) -> Json {
        self.members.lock().unwrap().last().unwrap().clone()
    }

    async fn answer(&self, request: Request<kube::client::Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let (path, query) = (parts.uri.path(), parts.uri.query().unwrap_or_default());
        let of = |value: Json| Response::new(Body::from(value.to_string()));
        let list = |items: Json| {
            of(json!({"kind": "List", "metadata": {"resourceVersion": "1"}, "items": items}))
        };
        let is_served = path == MEMBERS || path == "/api/v1/namespaces/istio-system/secrets";
        if is_served && query.contains("watch=true") {
            return Response::new(
                Body::from_stream(stream::pending::<Result<String, io::Error>>()),
            );
        }
        if is_served && query.contains("labelSelector") {
            return list(json!([self.secret]));
        }
        if path == MEMBERS {
            return list(json!([self.member()]));
        }
        if parts.method == Method::PATCH && path == format!("{MEMBERS}/b/status") {
            let body = body.collect().await.unwrap().to_bytes();
            let patch: Json = serde_json::from_slice(&body).unwrap();
            let mut members = self.members.lock().unwrap();
            let mut member = members.last().unwrap().clone();
            member["status"] = patch["status"].clone();
            member["metadata"]["resourceVersion"] = (members.len() + 1).to_string().into();
            members.push(member.clone());
            return of(member);
        }
        let status = json!({"kind": "Status", "status": "Failure", "code": 404, "message": ""});
        Response::builder().status(404).body(Body::from(status.to_string())).unwrap()
    }
}

fn secret(server: &str, ids: &[&str]) -> Json {
    let kubeconfig = json!({
        "current-context": "b",
        "clusters": [{"name": "b", "cluster": {"server": server}}],
        "contexts": [{"name": "b", "context": {"cluster": "b", "user": "b"}}],
        "users": [{"name": "b", "user": {"token": "t"}}],
    });
    let kubeconfig = STANDARD.encode(kubeconfig.to_string());
    let data: BTreeMap<_, _> = ids.iter().map(|id| (*id, &kubeconfig)).collect();
    json!({
        "metadata": {"name": "s", "namespace": "istio-system", "resourceVersion": "1"},
        "data": data,
    })
}

/// A scout of the cluster, whose peers' names lead to these addresses one after the other.
fn scout(cluster: &Arc<Cluster>, leads: &[String]) -> (Scout, JoinSet<()>) {
    let served = Arc::clone(cluster);
    let service = service_fn(move |request| {
        let served = Arc::clone(&served);
        async move { Ok::<_, std::convert::Infallible>(served.answer(request).await) }
    });
    let leads: VecDeque<SocketAddr> = leads.iter().map(|text| text.parse().unwrap()).collect();
    let leads = Arc::new(Mutex::new(leads));
    let resolve = Arc::new(move |_, _| {
        let mut leads = leads.lock().unwrap();
        let next = if leads.len() > 1 { leads.pop_front() } else { leads.front().copied() };
        async move { Ok(next.into_iter().collect()) }.boxed()
    });
    let config = Config {
        settings: Settings { local_member: String::new(), ..Settings::default() },
        secrets: Secrets::All,
        interval: Duration::from_millis(10),
        keep: Duration::ZERO,
        policy_reports: None,
        admin: String::new(),
        dial: Dial::default().resolving(resolve),
        cluster: kube::Config::new("https://localhost".parse().unwrap()),
    };
    let client = Client::new(service, "default");
    let state = Arc::new(State::new());
    let mut tasks = JoinSet::new();
    let scout = Scout::new(config, client, state, &mut tasks);
    (scout, tasks)
}

#[tokio::test]
async fn a_name_that_leads_to_this_machine_and_then_to_its_cloud_is_told_and_nothing_is_forgotten()
{
    let here = TcpListener::bind("127.0.0.1:0").unwrap();
    here.set_nonblocking(true).unwrap();
    let port = here.local_addr().unwrap().port();
    let fact = |value: Json| json!({"value": value, "from": "x", "exact": true, "at": "2020-01-01T00:00:00Z"});
    let observed = json!({"uid": fact("u".into()), "podSubnets": fact(json!(["10.112.0.0/16"]))});
    let member = json!({
        "metadata": {"name": "b", "resourceVersion": "1"},
        "status": {"observed": observed, "joinedBy": [], "conditions": [], "findings": []},
    });
    let cluster = Arc::new(Cluster {
        secret: secret(&format!("https://b.example.com:{port}"), &["b"]),
        members: Mutex::new(vec![member]),
    });
    let leads = ["127.0.0.1", "169.254.169.254"].map(|host| format!("{host}:{port}"));
    let (mut scout, _tasks) = scout(&cluster, &leads);
    let told = |member: &Json| {
        let conditions = member["status"]["conditions"].as_array();
        let it = conditions.into_iter().flatten().find(|it| it["type"] == "Reachable");
        it.map(|it| (it["reason"].clone(), it["message"].as_str().unwrap().to_owned()))
    };
    let is_told = |class: &str| {
        told(&cluster.member()).is_some_and(|(reason, message)| {
            reason == "ForbiddenAddress" && message.contains(class)
        })
    };
    let mut rounds = std::pin::pin!(scout.run());
    for class in ["a loopback address", "a link-local address"] {
        while !is_told(class) {
            let round = tokio::time::timeout(Duration::from_millis(5), &mut rounds);
            assert!(round.await.is_err(), "it never ends");
        }
        assert_eq!(cluster.member()["status"]["observed"]["uid"], observed["uid"]);
        assert_eq!(cluster.member()["status"]["observed"]["podSubnets"], observed["podSubnets"]);
    }
    assert_eq!(here.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "nobody has called");
}

#[tokio::test]
async fn a_member_that_cannot_be_created_holds_up_no_other() {
    let member = json!({"metadata": {"name": "b", "resourceVersion": "1"}});
    let cluster = Arc::new(Cluster {
        // Of these, the API server takes none but b.
        secret: secret("https://b.example.com", &["a", "b", "c"]),
        members: Mutex::new(vec![member]),
    });
    let (mut scout, _tasks) = scout(&cluster, &["127.0.0.1:443".to_owned()]);
    let errors = scout.state.metrics.errors.clone();
    let mut rounds = std::pin::pin!(scout.run());
    let is_visited = || cluster.member().to_string().contains("ForbiddenAddress");
    let begun = Instant::now();
    while !is_visited() {
        let round = tokio::time::timeout(Duration::from_millis(5), &mut rounds);
        assert!(round.await.is_err(), "it never ends");
        assert!(begun.elapsed() < Duration::from_mins(1), "{}", cluster.member());
    }
    assert!(errors.get() > 0, "that they cannot be created is told");
}
