//! Replicas of isthmus that are their own certificate authority.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value as Json, json};

use super::api::{Api, MEMBERS};
use super::guarded::{CRDS, clear, grant};
use super::objects::{multicluster, with};
use super::plane::{Plane, Turn, exclusive};
use crate::support::client::{Answer, Client};
use crate::support::process::Server;
use crate::support::wait_for;

pub(crate) const SECRET: &str = "/api/v1/namespaces/isthmus/secrets/isthmus-tls";
pub(crate) const CONFIGURATIONS: [&str; 2] = [
    "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/isthmus",
    "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/isthmus",
];

/// Replicas before a control plane, each of which is asked about every write.
pub(crate) struct Replicas {
    pub(crate) servers: Vec<Server>,
    pub(crate) plane: &'static Plane,
    /// What each of them is told.
    args: Vec<String>,
    _turn: Turn,
}

impl Replicas {
    /// Starts so many at once, that nobody asks yet.
    pub(crate) fn unregistered(count: usize, args: &[&str]) -> Self {
        Self::looking(count, "100ms", args)
    }

    /// The same, where they look as often as this.
    pub(crate) fn looking(count: usize, poll: &str, args: &[&str]) -> Self {
        let (plane, turn) = exclusive();
        clear(plane, CRDS);
        let kubeconfig = grant(plane, &["--tls-secret", "isthmus/isthmus-tls"]);
        let common = [
            "--kubeconfig",
            kubeconfig.to_str().unwrap(),
            "--tls-secret=isthmus/isthmus-tls",
            "--tls-names=localhost,isthmus.isthmus.svc",
            &format!("--tls-poll={poll}"),
        ];
        // Where the API server finds all of them, by their ports.
        let service = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"namespace": "isthmus", "name": "isthmus"},
            "spec": {"type": "ExternalName", "externalName": "localhost"},
        });
        plane.kubectl(&["delete", "--ignore-not-found", "-n=isthmus", "service/isthmus"], "").ok();
        plane.kubectl(&["create", "-f", "-"], &service.to_string()).ok();
        let args = &[&common, args].concat();
        let told = args.iter().map(|arg| (*arg).to_owned()).collect();
        let servers = thread::scope(|scope| {
            let start = |_| scope.spawn(|| Server::launch_with(args));
            let starts: Vec<_> = (0..count).map(start).collect();
            starts.into_iter().map(|start| start.join().unwrap()).collect()
        });
        Self { servers, plane, args: told, _turn: turn }
    }

    /// Starts one more, in an environment of which this is part.
    pub(crate) fn join(&mut self, environment: &[(&str, &str)]) {
        let serve = ["serve", "--listen=127.0.0.1:0", "--admin=127.0.0.1:0"];
        let args: Vec<_> = serve.into_iter().chain(self.args.iter().map(String::as_str)).collect();
        self.servers.push(Server::run_within(environment, &args));
    }

    /// Starts so many, and waits until all of them are asked.
    pub(crate) fn start(count: usize, args: &[&str]) -> Self {
        let replicas = Self::unregistered(count, args);
        replicas.register();
        replicas
    }

    /// Has the API server ask all of them, and waits until it does.
    pub(crate) fn register(&self) {
        for manifest in self.configurations(self.servers.len()) {
            self.plane.kubectl(&["apply", "-f", "-"], &manifest.to_string()).ok();
        }
        self.servers.iter().for_each(Server::wait_ready);
        self.wait_asked();
    }

    /// What has the API server ask the first of them.
    pub(crate) fn configurations(&self, count: usize) -> [Json; 2] {
        ["Validating", "Mutating"].map(|kind| {
            let webhooks = self.servers.iter().enumerate().take(count).map(|(at, server)| {
                json!({
                    "name": format!("replica-{at}.isthmus.dev"),
                    "admissionReviewVersions": ["v1"],
                    "clientConfig": {"service": {
                        "namespace": "isthmus", "name": "isthmus", "port": server.webhook.port(),
                    }},
                    "failurePolicy": "Fail",
                    "sideEffects": "NoneOnDryRun",
                    "timeoutSeconds": 30,
                    "rules": [{
                        "apiGroups": ["deckhouse.io"], "apiVersions": ["v1alpha1"],
                        "operations": ["CREATE", "UPDATE"], "resources": ["istiomulticlusters"],
                    }],
                })
            });
            json!({
                "apiVersion": "admissionregistration.k8s.io/v1",
                "kind": format!("{kind}WebhookConfiguration"),
                "metadata": {"name": "isthmus"},
                "webhooks": webhooks.collect::<Vec<_>>(),
            })
        })
    }

    /// Waits until the API server asks, and is answered.
    #[track_caller]
    pub(crate) fn wait_asked(&self) {
        let mut api = self.api();
        wait_for("the webhooks to be called", || {
            let refused = api.call("https://istio.call.example.com");
            let refused =
                refused.status == 422 && refused.text().contains("InvalidMetadataEndpoint");
            (refused && api.call(GOOD).status == 201).then_some(())
        });
    }

    /// A connection of an administrator to the API server.
    pub(crate) fn api(&self) -> Api {
        self.plane.admin()
    }

    /// The same, as far as there is an API server.
    pub(crate) fn try_api(&self) -> std::io::Result<Api> {
        Api::try_connect(self.plane.api())
    }

    /// Writes, through the API server and all replicas, until it is done; counts how often.
    pub(crate) fn call_until(&self, done: &AtomicBool, calls: &AtomicU32) {
        let mut api = self.api();
        while !done.load(Ordering::Relaxed) {
            let answer = api.call(GOOD);
            let call = calls.fetch_add(1, Ordering::Relaxed);
            assert_eq!(answer.status, 201, "call {call}: {}", answer.text());
        }
    }

    /// Connects to all replicas again and again, as an API server does that has just started;
    /// gives the certificates that it was shown.
    pub(crate) fn connect_until(&self, done: &AtomicBool, seen: impl Fn(CertificateDer<'static>)) {
        let mut api = self.api();
        while !done.load(Ordering::Relaxed) {
            for server in &self.servers {
                let published = api.published().remove(0);
                let client = Client::checking_by(server.webhook, certificates(&published));
                seen(client.expect("a certificate that is trusted").certificate());
            }
        }
    }

    /// Those of the certificates shown now that differ.
    pub(crate) fn shown(&self) -> HashSet<CertificateDer<'static>> {
        self.servers.iter().map(|server| Client::connect(server.webhook).certificate()).collect()
    }

    /// Waits until this was logged so often by all of them together, and no more often.
    #[track_caller]
    pub(crate) fn wait_logged(&self, text: &str, times: usize) {
        wait_for(text, || {
            let found = self.logged(text);
            assert!(found <= times, "{text}: logged {found} times");
            (found == times).then_some(())
        });
    }

    /// How often this was logged by all of them together.
    pub(crate) fn logged(&self, text: &str) -> usize {
        self.servers.iter().map(|server| server.logged().matches(text).count()).sum()
    }
}

/// An endpoint that is admitted.
const GOOD: &str = "https://istio.call.example.com/metadata/";

impl Api {
    /// Creates a member with this endpoint, as a dry run.
    pub(crate) fn call(&mut self, endpoint: &str) -> Answer {
        let member = with(multicluster("call"), &["spec", "metadataEndpoint"], endpoint);
        self.try_create(MEMBERS, &member)
    }

    /// Creates what is admitted, as a dry run; what is told where it is not.
    pub(crate) fn try_good(&mut self) -> Result<(), String> {
        self.ask(MEMBERS, &multicluster("call"))
    }

    /// Deletes the Secret, and makes it anew with nothing in it, as who installs isthmus does.
    #[track_caller]
    pub(crate) fn recreate(&mut self) {
        self.delete(SECRET);
        let empty = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"namespace": "isthmus", "name": "isthmus-tls"},
        });
        let secrets = "/api/v1/namespaces/isthmus/secrets";
        assert_eq!(self.send("POST", secrets, &empty).status, 201);
    }

    /// The value of a key of the Secret.
    pub(crate) fn secret(&mut self, key: &str) -> Option<Vec<u8>> {
        let secret = self.get(SECRET);
        Some(STANDARD.decode(secret["data"][key].as_str()?).unwrap())
    }

    /// What the webhooks' callers are told to trust, by webhook.
    pub(crate) fn published(&mut self) -> Vec<Vec<u8>> {
        let configurations = CONFIGURATIONS.map(|path| self.get(path));
        let webhooks = configurations.iter().filter_map(|found| found["webhooks"].as_array());
        let bundle = |webhook: &Json| webhook["clientConfig"]["caBundle"].as_str().map(decode);
        webhooks.flatten().map(|webhook| bundle(webhook).unwrap_or_default()).collect()
    }

    /// The secret paths that are called, by webhook; nothing where none is.
    pub(crate) fn called(&mut self) -> Vec<Option<String>> {
        let configurations = CONFIGURATIONS.map(|path| self.get(path));
        let webhooks = configurations.iter().filter_map(|found| found["webhooks"].as_array());
        let called = |webhook: &Json| {
            let path = webhook["clientConfig"]["service"]["path"].as_str()?;
            path.rsplit_once('/').map(|(_, secret)| secret.to_owned())
        };
        webhooks.flatten().map(called).collect()
    }

    /// The one secret path that every webhook has, and the Secret.
    pub(crate) fn path(&mut self) -> Option<String> {
        let path = String::from_utf8(self.secret("path")?).unwrap();
        let called = self.called();
        called.iter().all(|called| called.as_ref() == Some(&path)).then_some(path)
    }

    /// Writes the same into every `caBundle`.
    pub(crate) fn publish(&mut self, bundle: &Json) {
        for path in CONFIGURATIONS {
            let mut found = self.get(path);
            for webhook in found["webhooks"].as_array_mut().unwrap() {
                webhook["clientConfig"]["caBundle"] = bundle.clone();
            }
            self.merge(path, &json!({"webhooks": found["webhooks"]}));
        }
    }
}

/// The certificates of a text in PEM.
pub(crate) fn certificates(pem: &[u8]) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem).map(Result::unwrap).collect()
}

fn decode(text: &str) -> Vec<u8> {
    STANDARD.decode(text).unwrap()
}
