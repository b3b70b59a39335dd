//! Peers that refuse, hang, lie, or are gone, before a scout that has seen them sound.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value as Json, json};

use super::scout::{MEMBERS, condition, member};
use crate::support::elsewhere::{
    Elsewhere, Reply, Shows, kubeconfig, outer_address, remote_secret,
};
use crate::support::plane::{Plane, exclusive};
use crate::support::relay::Relay;
use crate::support::scouting::{Scout, home};
use crate::support::wait_for;

const SECRETS: &str = "/api/v1/namespaces/istio-system/secrets";
/// What is planted in credentials, and in what peers answer.
const TOKEN: &str = "planted-token-of-an-account";
const BODY: &str = "planted-text-of-a-body";
const KEY: &str = "planted-key-of-a-client";

/// A peer that is sound at first, and then as a test says.
struct Peer {
    id: &'static str,
    server: Elsewhere,
    relay: Relay,
    is_hostile: Arc<AtomicBool>,
}

/// What tells which cluster it is.
const IDENTITY: &str = "/api/v1/namespaces/kube-system";

impl Peer {
    /// Once it is hostile, it does this with any request; one that is so in part goes on telling
    /// which cluster it is.
    fn start(number: u8, id: &'static str, hostile: Reply) -> Self {
        let is_hostile = Arc::new(AtomicBool::new(false));
        let turned = Arc::clone(&is_hostile);
        let server = Elsewhere::start(move |path| {
            if turned.load(Relaxed) && (id != "in-part" || path != IDENTITY) {
                return hostile.clone();
            }
            let uid = format!("0b9d1c80-8a46-11ee-b9d1-0242ac1200{number:02}");
            let (pods, services) =
                (format!("10.{}.0.0/16", 120 + number), format!("10.{}.0.0/16", 220 + number));
            Shows {
                uid: &uid,
                pods: &pods,
                services: &services,
                domain: "cluster.local",
                network: "",
                id,
            }
            .reply(path)
        });
        let relay = Relay::at(outer_address());
        relay.lead_to(Some(server.address));
        Self { id, server, relay, is_hostile }
    }

    fn kubeconfig(&self) -> String {
        let server = format!("https://{}", self.relay.address);
        kubeconfig(self.id, &server, &self.server.authority, TOKEN)
    }

    fn join(&self, plane: &Plane) {
        let made = plane.admin().create(SECRETS, &remote_secret(self.id, &self.kubeconfig()));
        assert_eq!(made.status, 201, "{}", made.text());
    }

    /// Its Secret has another kubeconfig from now on.
    fn write(&self, plane: &Plane, kubeconfig: &str) {
        let path = format!("{SECRETS}/istio-remote-secret-{}", self.id);
        plane.admin().merge(&path, &json!({"data": {self.id: STANDARD.encode(kubeconfig)}}));
    }
}

fn with_user(kubeconfig: &str, user: &Json) -> String {
    let mut config: Json = serde_json::from_str(kubeconfig).unwrap();
    config["users"][0]["user"] = user.clone();
    config.to_string()
}

fn with_server(kubeconfig: &str, server: &str) -> String {
    let mut config: Json = serde_json::from_str(kubeconfig).unwrap();
    config["clusters"][0]["cluster"]["server"] = server.into();
    config.to_string()
}

/// Peers, each with the class of what becomes of it.
fn peers() -> Vec<(Peer, &'static str)> {
    let answer = |status: u16, body: &str| Reply::Answer(status, body.to_owned());
    let planted = json!({"kind": "Status", "message": BODY}).to_string();
    let hostile = [
        ("unauthorized", answer(401, &planted), "Unauthorized"),
        ("forbidden", answer(403, &planted), "Forbidden"),
        ("in-part", answer(403, &planted), "ReadInPart"),
        ("broken", answer(500, &planted), "ServerError"),
        ("elsewhere", answer(302, BODY), "Redirected"),
        ("wrong", answer(200, &planted), "NotKubernetes"),
        ("deep", answer(200, &"[".repeat(100_000)), "NotKubernetes"),
        ("endless", Reply::Endless, "TooLarge"),
        ("silent", Reply::Hang, "Timeout"),
        // What happens to these, happens elsewhere than in their answers.
        ("other-certificate", answer(401, &planted), "UntrustedCertificate"),
        ("gone", answer(401, &planted), "ConnectionFailed"),
        ("without-credentials", answer(401, &planted), "Unauthorized"),
        ("keyless", answer(401, &planted), "InvalidKubeconfig"),
        ("program", answer(401, &planted), "InvalidKubeconfig"),
        ("metadata-address", answer(401, &planted), "ForbiddenAddress"),
        ("unreadable", answer(401, &planted), "InvalidKubeconfig"),
    ];
    let numbered = (1..).zip(hostile);
    numbered.map(|(number, (id, reply, class))| (Peer::start(number, id, reply), class)).collect()
}

/// The peer is hostile from now on.
fn turn(peer: &Peer, own: &Plane, another: &Peer) {
    let kubeconfig = peer.kubeconfig();
    peer.is_hostile.store(true, Relaxed);
    match peer.id {
        "other-certificate" => peer.relay.lead_to(Some(another.server.address)),
        "gone" => peer.relay.lead_to(None),
        "without-credentials" => peer.write(own, &with_user(&kubeconfig, &json!({}))),
        "keyless" => {
            let [certificate, key] = ["no certificate", KEY].map(|text| STANDARD.encode(text));
            let user = json!({"client-certificate-data": certificate, "client-key-data": key});
            peer.write(own, &with_user(&kubeconfig, &user));
        }
        "program" => {
            let exec = json!({
                "apiVersion": "client.authentication.k8s.io/v1",
                "command": "touch",
                "args": [KEY],
                "env": [{"name": "A", "value": KEY}],
            });
            peer.write(own, &with_user(&kubeconfig, &json!({"exec": exec})));
        }
        "metadata-address" => {
            peer.write(own, &with_server(&kubeconfig, "https://169.254.169.254"));
        }
        "unreadable" => peer.write(own, &format!("users: [{{{TOKEN}: {KEY}")),
        _ => {}
    }
}

#[test]
fn a_peer_that_turns_hostile_is_told_in_a_class_and_nothing_is_forgotten_or_leaked() {
    let (own, _turn) = exclusive();
    home(own, &["--remote-secrets"]);
    let peers = peers();
    let sound = Peer::start(30, "sound", Reply::Hang);
    for peer in peers.iter().map(|(peer, _)| peer).chain([&sound]) {
        peer.join(own);
    }
    let scout =
        Scout::start(own, &["--remote-secrets", "--interval=1s", "--log=debug,isthmus=trace"]);
    let is_sound =
        |it: &Json| condition(it, "Reachable").1 == "Read" && condition(it, "Sound").0 == "True";
    let before: Vec<_> = peers
        .iter()
        .map(|(peer, _)| member(own, peer.id, is_sound)["status"]["observed"].clone())
        .collect();
    let (visits, taken) = (sound.server.asked("/api/v1/pods"), scout.peak());

    for (peer, _) in &peers {
        turn(peer, own, &sound);
    }
    for ((peer, class), before) in peers.iter().zip(&before) {
        let seen = member(own, peer.id, |it| condition(it, "Reachable").1 == *class);
        assert_eq!(condition(&seen, "Reachable").0 == "True", *class == "ReadInPart");
        // Nothing is forgotten.
        for fact in ["uid", "clusterDomain", "podSubnets", "serviceSubnets"] {
            assert_eq!(seen["status"]["observed"][fact]["value"], before[fact]["value"]);
        }
        assert_eq!(condition(&seen, "Known"), ("True", "Known"), "{}", peer.id);
        assert_eq!(condition(&seen, "Sound").0, "True", "{}", peer.id);
        let series = format!("isthmus_scout_visits_total{{outcome=\"{class}\"}}");
        assert!(scout.page("/metrics").1.contains(&series), "{class}");
    }
    // None of them keeps the others from being visited, or has its answers kept.
    wait_for("visits of the sound one", || {
        (sound.server.asked("/api/v1/pods") > visits + 5).then_some(())
    });
    assert_eq!(condition(&member(own, "sound", |_| true), "Reachable").0, "True");
    assert!(scout.peak() < 4 * taken, "{} KiB, and {taken} KiB before", scout.peak());

    // They are back.
    for (peer, _) in &peers {
        peer.is_hostile.store(false, Relaxed);
        peer.relay.lead_to(Some(peer.server.address));
        peer.write(own, &peer.kubeconfig());
    }
    for (peer, _) in &peers {
        member(own, peer.id, is_sound);
    }
    nothing_is_leaked(own, &scout, &sound);
}

fn nothing_is_leaked(own: &Plane, scout: &Scout, peer: &Peer) {
    let authority = STANDARD.encode(&peer.server.authority);
    let planted = [TOKEN, BODY, KEY, &STANDARD.encode(KEY), &authority[..200], "BEGIN CERTIFICATE"];
    let mut shown = vec![
        ("log", scout.log()),
        ("metrics", scout.page("/metrics").1),
        ("readyz", scout.page("/readyz").1),
        ("livez", scout.page("/livez").1),
    ];
    let paths = [MEMBERS, "/api/v1/events", "/api/v1/configmaps", "/apis/events.k8s.io/v1/events"];
    shown.extend(paths.map(|path| (path, own.admin().get(path).to_string())));
    for (place, text) in &shown {
        assert!(text.len() > 2, "{place} is empty");
        for secret in planted {
            assert!(!text.contains(secret), "{secret} is in {place}");
        }
    }
}
