//! The secret path that isthmus publishes, as the API server calls it, and who else may.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::support::Done;
use crate::support::guarded::isthmus as run;
use crate::support::plane::callers;
use crate::support::process::{Server, command};
use crate::support::replicas::{CONFIGURATIONS, Replicas, SECRET};
use crate::support::{TempDir, peer, wait_for};

/// Where no path changes by itself while a test lasts.
const STILL: [&str; 2] = ["--tls-path-life=24h", "--tls-settle=1h"];

/// The status of a review by this path.
fn status(server: &Server, path: &str) -> u16 {
    let review = peer("asked", "https://istio.asked.example.com/metadata/").to_string();
    let answer = server.client().post(path, &review);
    if answer.status == 503 {
        assert_eq!(answer.header("retry-after"), Some("1"), "{path}");
    }
    answer.status
}

/// What is logged of a path that follows another.
const CHANGED: &str = "a new secret path is created";

#[test]
fn only_writes_by_the_secret_path_are_remembered() {
    let replicas = Replicas::start(1, &STILL);
    let path = wait_for("the path", || replicas.api().path());
    assert_eq!(path.len(), 32);
    let server = &replicas.servers[0];
    let twin = |name: &str| peer(name, "https://istio.twin.example.com/metadata/").to_string();
    let answer = |path: &str, name: &str| server.client().post(path, twin(name)).response();
    for name in ["a", "b"] {
        assert_eq!(answer("/validate", name)["allowed"], true, "nothing is held of a stranger");
    }
    assert_eq!(answer(&format!("/validate/{path}"), "a")["allowed"], true);
    for path in ["/validate", &format!("/validate/{path}")] {
        let told = answer(path, "b");
        let message = told["status"]["message"].as_str().unwrap();
        assert!(message.contains("(IstioMulticluster a, just admitted)"), "{message}");
    }
}

#[test]
fn rotating_paths_fail_no_call_and_are_not_disclosed() {
    let args = ["--tls-path-life=700ms", "--tls-settle=300ms", "--log=trace", "--log-format=json"];
    let replicas = Replicas::start(3, &args);
    let (done, made) = (AtomicBool::new(false), AtomicU32::new(0));
    let mut seen = HashSet::new();
    thread::scope(|scope| {
        let running = Done(&done);
        let calls = scope.spawn(|| replicas.call_until(&done, &made));
        let mut api = replicas.api();
        wait_for("paths", || {
            seen.extend(api.called().into_iter().flatten());
            (seen.len() >= 6 || calls.is_finished()).then_some(())
        });
        drop(running);
        calls.join().unwrap();
        assert!(made.load(Ordering::Relaxed) > 10);
    });
    for server in &replicas.servers {
        let told = server.logged() + &server.printed() + &server.admin("/metrics").text();
        assert!(seen.iter().all(|path| !told.contains(path)), "a path is told");
    }
    wait_for("the changes", || (replicas.logged(CHANGED) >= 5).then_some(()));
    // Who probes while nobody answers is shown what the API server called, but for its path.
    replicas.plane.kubectl(&["apply", "-f", "-"], &run(&["rbac", "--probe"])).ok();
    replicas.servers.iter().for_each(Server::terminate);
    let admin = replicas.plane.kubeconfig("admin-paths", crate::support::plane::ADMIN);
    let home = TempDir::new();
    let mut command = command(home.path());
    let output = command.args(["probe", "--kubeconfig"]).arg(admin).output().unwrap();
    let told = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(told.contains("/mutate/<path>?timeout=30s"), "{told}");
}

#[test]
fn a_path_is_replaced_after_a_failed_call() {
    let replicas = Replicas::start(1, &["--tls-path-life=24h", "--tls-settle=500ms"]);
    let (server, mut api) = (&replicas.servers[0], replicas.api());
    // Nobody knows whom the last process failed; whom this one failed it knows.
    replicas.wait_logged(CHANGED, 1);
    let first = wait_for("the path", || api.path());
    replicas.wait_asked();
    // What strangers do is no reason.
    let post = |path: &str, body: &str| server.client().post(path, body).status;
    for path in ["/validate", "/mutate", "/validate/00000000000000000000000000000000"] {
        post(path, "no review");
    }
    replicas.wait_logged(CHANGED, 1);
    assert_eq!(post(&format!("/mutate/{first}"), "no review"), 400);
    let second = wait_for("another path", || api.path().filter(|path| *path != first));
    replicas.wait_logged(CHANGED, 2);
    assert_eq!(status(server, &format!("/validate/{second}")), 200);
    // An API server that is late is answered, but after a while is not taken for one any more.
    wait_for("the first path to be forgotten", || {
        let held = server.metric("isthmus_held_writes");
        assert_eq!(status(server, &format!("/validate/{first}")), 200);
        (held == Some(0.0) && server.metric("isthmus_held_writes") == held).then_some(())
    });
    replicas.wait_asked();
    assert_eq!(replicas.logged(CHANGED), 2, "calls that were answered are no reason");
}

#[test]
fn an_api_server_is_recognized_by_its_client_certificate() {
    for (optional, is_called) in [(&[][..], false), (&["--tls-client-optional"], true)] {
        let authority = format!("--tls-client-ca={}", callers().display());
        let args =
            [&STILL[..], &[&authority, "--tls-client-names=kube-apiserver"], optional].concat();
        let replicas = Replicas::unregistered(1, &args);
        let [validating, mutating] = replicas.configurations(1);
        let apply = |manifest: &serde_json::Value| {
            replicas.plane.kubectl(&["apply", "-f", "-"], &manifest.to_string()).ok();
        };
        apply(&validating);
        let server = &replicas.servers[0];
        server.wait_ready();
        let mut api = replicas.api();
        wait_for("a refusal by isthmus", || {
            api.call("https://istio.call.example.com")
                .text()
                .contains("InvalidMetadataEndpoint")
                .then_some(())
        });
        // To mutating webhooks this API server shows nothing.
        apply(&mutating);
        wait_for("the mutating webhook", || {
            let answer = api.call("https://istio.call.example.com/metadata/");
            let called = answer.status == 201;
            let refused = answer.text().contains("failed calling webhook");
            let published = api.called().iter().all(Option::is_some);
            (published && called == is_called && refused != is_called).then_some(())
        });
    }
}

#[test]
fn an_unknown_path_has_the_secret_read_again() {
    // Nobody looks by himself while this lasts.
    let replicas = Replicas::looking(1, "1h", &STILL);
    let server = &replicas.servers[0];
    server.wait_ready();
    let mut api = replicas.api();
    let other = "00000000000000000000000000000001";
    assert_eq!(status(server, &format!("/validate/{other}")), 503);
    assert_eq!(status(server, "/"), 503);
    api.merge(SECRET, &json!({"data": {"path": STANDARD.encode(other)}}));
    wait_for("the path", || (status(server, &format!("/mutate/{other}")) == 200).then_some(()));
    // Registered later, it is called later: that takes a call, too.
    for manifest in replicas.configurations(1) {
        replicas.plane.kubectl(&["apply", "-f", "-"], &manifest.to_string()).ok();
    }
    wait_for("the path to be published", || {
        status(server, "/validate/more");
        api.called().iter().all(Option::is_some).then_some(())
    });
    assert_eq!(CONFIGURATIONS.len(), api.called().len());
}

#[test]
fn a_path_prefix_of_the_url_is_kept() {
    let replicas = Replicas::unregistered(1, &STILL);
    let server = &replicas.servers[0];
    let port = server.webhook.port();
    for (at, (client, field, base)) in [
        (
            json!({"url": format!("https://localhost:{port}/at/validate")}),
            "url",
            format!("https://localhost:{port}/at/validate/"),
        ),
        (
            json!({"url": format!("https://localhost:{port}")}),
            "url",
            format!("https://localhost:{port}/validate/"),
        ),
        (
            json!({"service": {"namespace": "isthmus", "name": "isthmus", "path": "/at/validate"}}),
            "path",
            "/at/validate/".to_owned(),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let mut api = replicas.api();
        let mut manifest = replicas.configurations(1)[0].clone();
        manifest["webhooks"][0]["clientConfig"] = client;
        let verb = if at == 0 { "create" } else { "replace" };
        replicas.plane.kubectl(&[verb, "-f", "-"], &manifest.to_string()).ok();
        wait_for(&base, || {
            let path = String::from_utf8(api.secret("path")?).unwrap();
            let found = api.get(CONFIGURATIONS[0]);
            let client = &found["webhooks"][0]["clientConfig"];
            let told = if field == "url" { &client["url"] } else { &client["service"]["path"] };
            (*told == format!("{base}{path}")).then_some(())
        });
    }
}
