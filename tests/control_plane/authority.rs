//! isthmus as its own certificate authority, as the API server sees it that calls.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::process::Signal;
use serde_json::{Value as Json, json};

use crate::support::process::Server;
use crate::support::replicas::{CONFIGURATIONS, Replicas, SECRET, certificates};
use crate::support::{Done, TempDir, pem, wait_for};

const MADE: &str = "a certificate authority (CA) and a certificate are created";
/// A certificate is renewed when two thirds of its life are over: the rest is for a machine that is
/// busy with other things.
const FAST: [&str; 3] = ["--tls-life=24s", "--tls-ca-life=48s", "--tls-settle=300ms"];

#[test]
fn replicas_that_start_at_once_agree_on_one_authority() {
    for _ in 0..3 {
        let replicas = Replicas::unregistered(3, &[]);
        replicas.servers.iter().for_each(Server::wait_ready);
        let mut api = replicas.api();
        replicas.wait_logged(MADE, 1);
        assert_eq!(replicas.shown().len(), 1);
        let authorities = api.secret("ca.crt").unwrap();
        assert_eq!(certificates(&authorities).len(), 1);
        replicas.register();
        assert!(api.published().iter().all(|bundle| *bundle == authorities));
        assert_eq!(api.published().len(), 6);
        let logged = replicas.servers.iter().map(Server::logged);
        assert!(logged.into_iter().all(|logged| !logged.contains("PRIVATE KEY")));
    }
}

#[test]
fn no_call_fails_while_certificates_rotate() {
    drop(no_call_fails_in(12, 1));
}

/// Holds that callers of three replicas are served, and trust what they are shown, while
/// certificates rotate so often: some by themselves, in lifetimes of seconds, and the rest as soon
/// as they can.
pub(crate) fn no_call_fails_in(rotations_in_all: usize, by_themselves: usize) -> Replicas {
    let replicas = Replicas::start(3, &FAST);
    let (done, made) = (AtomicBool::new(false), AtomicU32::new(0));
    let shown = Mutex::new(HashSet::new());
    let rotations = || shown.lock().unwrap().len();
    let mut api = replicas.api();
    thread::scope(|scope| {
        let running = Done(&done);
        let calls = scope.spawn(|| replicas.call_until(&done, &made));
        let connections = scope.spawn(|| {
            replicas.connect_until(&done, |certificate| {
                shown.lock().unwrap().insert(certificate);
            });
        });
        let next = |before: usize| {
            let called = made.load(Ordering::Relaxed);
            wait_for("the next rotation, and a call", || {
                let over = calls.is_finished() || connections.is_finished();
                let goes_on = rotations() > before && made.load(Ordering::Relaxed) > called;
                (over || goes_on).then_some(())
            });
        };
        while rotations() < rotations_in_all && !calls.is_finished() && !connections.is_finished() {
            let before = rotations();
            if before > by_themselves {
                // The key of the authority is lost: the next one takes over.
                api.merge(SECRET, &json!({"data": {"ca.key": null}}));
            }
            next(before);
        }
        drop(running);
        connections.join().unwrap();
        calls.join().unwrap();
    });
    assert_eq!(replicas.logged("the certificate cannot be kept"), 0);
    let changes = replicas.logged("signs from now on");
    assert!(changes > rotations_in_all / 2, "{changes} authorities");
    replicas
}

#[test]
fn a_lost_or_corrupted_secret_is_restored_without_a_failed_call() {
    let replicas = Replicas::start(2, &["--tls-settle=300ms"]);
    let (done, made) = (AtomicBool::new(false), AtomicU32::new(0));
    let mut api = replicas.api();
    thread::scope(|scope| {
        let running = Done(&done);
        let calls = scope.spawn(|| replicas.call_until(&done, &made));
        let fresh = scope.spawn(|| replicas.connect_until(&done, drop));
        let nonsense = json!(STANDARD.encode("nonsense"));
        let all = ["ca.crt", "ca.key", "tls.crt", "tls.key"];
        let spoilt: Json = all.map(|key| (key.to_owned(), nonsense.clone())).into_iter().collect();
        // It is lost again before it is whole.
        for _ in 0..20 {
            wait_for("the Secret", || api.secret("tls.crt"));
            api.recreate();
        }
        let mut damages = vec![None, Some(spoilt)];
        damages.extend(all.map(|key| Some(json!({key: nonsense}))));
        for damage in damages {
            let before = wait_for("the Secret", || api.secret("ca.crt"));
            match &damage {
                None => api.recreate(),
                Some(data) => api.merge(SECRET, &json!({"data": data})),
            }
            wait_for("a whole Secret", || {
                let [authorities, certificate] = [api.secret("ca.crt")?, api.secret("tls.crt")?];
                let mut is_key = |key| {
                    let value = api.secret(key).unwrap_or_default();
                    String::from_utf8_lossy(&value).contains("PRIVATE KEY")
                };
                let keys_are_whole =
                    is_key("ca.key") && is_key("tls.key") && !is_key("next-ca.key");
                let shown = replicas.shown();
                let is_shown =
                    shown.len() == 1 && shown.iter().next() == certificates(&certificate).first();
                let is_published = api.published().iter().all(|bundle| *bundle == authorities);
                (keys_are_whole && is_shown && is_published).then_some(())
            });
            let is_lost = damage.as_ref().is_none_or(|data| data.get("ca.key").is_some());
            let is_replaced = before != api.secret("ca.crt").unwrap();
            assert_eq!(is_replaced, is_lost, "an authority without a key is replaced: {damage:?}");
            let called = made.load(Ordering::Relaxed);
            wait_for("a call", || {
                let over = calls.is_finished() || fresh.is_finished();
                (over || made.load(Ordering::Relaxed) > called).then_some(())
            });
            assert!(!calls.is_finished() && !fresh.is_finished());
        }
        drop(running);
        fresh.join().unwrap();
        calls.join().unwrap();
    });
    // Nothing was begun anew.
    replicas.wait_logged(MADE, 1);
}

#[test]
fn a_deleted_secret_is_requested_and_filled_again() {
    let replicas = Replicas::start(2, &["--tls-settle=300ms"]);
    let mut api = replicas.api();
    let authorities = api.secret("ca.crt").unwrap();
    // The webhooks are called before a path is published to all of them.
    wait_for("a path", || api.path());
    api.delete(SECRET);
    for server in &replicas.servers {
        server.wait_logged("there is no Secret isthmus/isthmus-tls; create it: kubectl --namespace isthmus create secret generic isthmus-tls");
        assert_eq!(server.admin("/readyz").status, 200, "what there is goes on");
    }
    assert_eq!(api.get(SECRET)["code"], 404, "nobody has the right to create it");
    replicas.wait_asked();
    let create = ["create", "secret", "generic", "isthmus-tls", "-n=isthmus"];
    replicas.plane.kubectl(&create, "").ok();
    // The key is lost for good, so the next authority joins the one that is put back.
    let known = certificates(&authorities);
    wait_for("what was in it", || {
        let kept = certificates(&api.secret("ca.crt")?);
        known.iter().all(|authority| kept.contains(authority)).then_some(())
    });
    replicas.wait_logged(MADE, 1);
    wait_for("a path", || api.path());
    replicas.wait_asked();
}

#[test]
fn a_changed_bundle_is_corrected() {
    let replicas = Replicas::start(2, &[]);
    let mut api = replicas.api();
    let authorities = api.secret("ca.crt").unwrap();
    let foreign = ::pem::encode(&::pem::Pem::new("CERTIFICATE", pem::valid().authority.as_ref()));
    for bundle in [Json::Null, json!(STANDARD.encode(foreign))] {
        api.publish(&bundle);
        wait_for("the bundles", || {
            api.published().iter().all(|bundle| *bundle == authorities).then_some(())
        });
        replicas.wait_asked();
    }
    // What is gone is not made, and what comes again is filled in.
    for path in CONFIGURATIONS {
        api.delete(path);
    }
    for server in &replicas.servers {
        server.wait_logged("this webhook configuration does not exist; waiting for it");
        assert_eq!(server.admin("/readyz").status, 200);
    }
    assert_eq!(api.get(CONFIGURATIONS[0])["code"], 404);
    replicas.register();
    assert!(api.published().iter().all(|bundle| *bundle == authorities));
}

#[test]
fn only_the_bundles_and_paths_are_owned() {
    let replicas = Replicas::unregistered(2, &[]);
    let mut api = replicas.api();
    let install = |count: usize| {
        for manifest in replicas.configurations(count) {
            let apply = ["apply", "--server-side", "--field-manager=helm", "-f", "-"];
            replicas.plane.kubectl(&apply, &manifest.to_string()).ok();
        }
    };
    install(2);
    replicas.servers.iter().for_each(Server::wait_ready);
    replicas.wait_asked();
    let owned = |found: &Json| {
        let managers = found["metadata"]["managedFields"].as_array().unwrap();
        let ours = managers.iter().find(|m| m["manager"] == "isthmus-certificates").unwrap();
        ours["fieldsV1"].clone()
    };
    let bundle = json!({"f:clientConfig": {"f:caBundle": {}, "f:service": {"f:path": {}}}});
    let webhook = |at: u32| format!("k:{{\"name\":\"replica-{at}.isthmus.dev\"}}");
    for path in CONFIGURATIONS {
        let expected = json!({"f:webhooks": {webhook(0): bundle, webhook(1): bundle}});
        assert_eq!(owned(&api.get(path)), expected);
    }
    // Whoever installs them takes a webhook away, and puts it back.
    install(1);
    assert_eq!(api.published().len(), 2);
    install(2);
    let authorities = api.secret("ca.crt").unwrap();
    wait_for("the bundles", || {
        let published = api.published();
        (published.len() == 4 && published.iter().all(|b| *b == authorities)).then_some(())
    });
}

#[test]
fn a_paused_process_recovers_when_it_continues() {
    let lives = ["--tls-life=3s", "--tls-ca-life=6s", "--tls-settle=200ms"];
    let replicas = Replicas::start(1, &lives);
    let server = &replicas.servers[0];
    let expiry = |name: &str| {
        server.metric(&format!("isthmus_certificate_{name}expiry_timestamp_seconds")).unwrap()
    };
    let begun = [expiry(""), expiry("authority_")];
    server.signal(Signal::STOP);
    let ends = begun[1] + 4.0;
    wait_for("the end of the authority", || {
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
        (now > ends).then_some(())
    });
    server.signal(Signal::CONT);
    wait_for("a certificate", || (expiry("") > ends && expiry("authority_") > ends).then_some(()));
    server.wait_ready();
    replicas.wait_asked();
}

#[test]
fn the_state_stays_while_the_api_server_is_lost() {
    let replicas = Replicas::start(1, &[]);
    let server = &replicas.servers[0];
    let shown = replicas.shown();
    assert!(server.metric("isthmus_certificate_sync_age_seconds").unwrap() < 30.0);
    replicas.plane.stop_api_server();
    wait_for("failures", || {
        (server.metric("isthmus_certificate_errors_total")? > 3.0).then_some(())
    });
    assert_eq!(replicas.shown(), shown);
    assert_eq!(server.admin("/readyz").status, 200);
    replicas.plane.start_api_server();
    server.wait_logged("the certificate is kept as it should be again");
    replicas.wait_logged("the certificate cannot be kept as it should be", 1);
    assert_eq!(replicas.shown(), shown);
    replicas.wait_asked();
}

#[test]
fn missing_permissions_are_reported_with_the_command_that_grants_them() {
    let replicas = Replicas::unregistered(0, &[]);
    let namespace =
        "{apiVersion: v1, kind: ServiceAccount, metadata: {name: nobody, namespace: isthmus}}";
    replicas.plane.kubectl(&["apply", "-f", "-"], namespace).ok();
    let token = replicas.plane.kubectl(&["create", "token", "nobody", "-n=isthmus"], "").ok();
    let kubeconfig = replicas.plane.kubeconfig("nobody", token.trim());
    let inventory = TempDir::new();
    let server = Server::launch_with(&[
        "--inventory",
        inventory.path().to_str().unwrap(),
        "--kubeconfig",
        kubeconfig.to_str().unwrap(),
        "--tls-secret=isthmus/isthmus-tls",
        "--tls-names=localhost",
        "--tls-poll=100ms",
    ]);
    server.wait_logged("secrets \\\"isthmus-tls\\\" is forbidden");
    server.wait_logged(
        "`isthmus rbac --tls-secret isthmus/isthmus-tls --tls-webhooks isthmus` prints the required roles",
    );
    let told = server.admin("/readyz");
    assert_eq!(told.status, 503);
    assert!(told.text().contains("there is no certificate yet\n"), "{}", told.text());
}
