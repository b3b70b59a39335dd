//! The pages on the first day, word by word: a shell runs each of their commands in a clone, with
//! real Helm and kubectl, before real control planes, and what they print is what the pages show.
//!
//! Something else stands for what is not there:
//!
//! - `podman`, as the tests need no image: [`Release`] runs what Deployments say. It writes down
//!   which image it was told to build and to push.
//! - `istioctl`, which is another project: it prints what `istioctl create-remote-secret` prints.
//! - `helm install` is told `webhooks.url`, since nobody here leads to the addresses of Services, and
//!   that secret paths stay: Helm and isthmus share a `url`, but not the path of a Service; and that
//!   a new ledger has writes wait for 10 seconds, not for 45.
//! - `REGISTRY`, and an endpoint's host: words for the reader to replace.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value as Json, json};

use super::release::Release;
use crate::support::elsewhere::{Elsewhere, Reply, outer_address};
use crate::support::objects::{config_map, multicluster, secret_of_deckhouse, with};
use crate::support::plane::{Output, Plane, binary, several};
use crate::support::relay::Relay;
use crate::support::scouting::{self, lasting_reader, remote_secret};
use crate::support::showing::Showing;
use crate::support::{TempDir, data, wait_for};

const SECRETS: &str = "/api/v1/namespaces/istio-system/secrets";

/// The blocks of a page that are marked so, without their indentation.
fn blocks<const COUNT: usize>(page: &str, mark: &str) -> [String; COUNT] {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(page);
    let (text, mut found) = (fs::read_to_string(path).unwrap(), Vec::<String>::new());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some((indentation, of)) = line.split_once("```") else { continue };
        let block = lines.by_ref().map_while(|line| {
            let line = line.strip_prefix(indentation).unwrap_or(line);
            (!line.starts_with("```")).then(|| format!("{line}\n"))
        });
        let block = block.collect();
        if of == mark {
            found.push(block);
        }
    }
    let count = found.len();
    found.try_into().unwrap_or_else(|_| panic!("{page} has {count} blocks of {mark}"))
}

/// Somebody who follows a page.
struct Reader {
    release: Release,
    clone: TempDir,
    tools: TempDir,
}

impl Reader {
    /// In a clone, before a cluster that has no isthmus yet.
    fn new(plane: &'static Plane) -> Self {
        let mut release = Release::none_in(plane);
        release.own_certificate = true;
        let clone = TempDir::new();
        for entry in fs::read_dir(env!("CARGO_MANIFEST_DIR")).unwrap() {
            let entry = entry.unwrap();
            if entry.file_name() != "target" {
                symlink(entry.path(), clone.path().join(entry.file_name())).unwrap();
            }
        }
        let reader = Self { release, clone, tools: TempDir::new() };
        let helm = format!(
            "case $1 in install) set -- \"$@\" --set 'webhooks.url=https://{},extraArgs={{--tls-path-life=24h,--tls-settle=1h,--hold=10s}}' ;; esac\nexec {} \"$@\"",
            reader.release.service.address,
            binary("helm").display()
        );
        reader.tool("helm", &helm);
        reader.tool("kubectl", &format!("exec {} \"$@\"", binary("kubectl").display()));
        // It knows one image to build in, by its digest.
        let digest = format!("rust@sha256:{}", "0".repeat(64));
        let podman = format!(
            "case $1 in\nbuild) echo \"$@\" | sed 's/.*--tag \\([^ ]*\\).*/build \\1/' >> $0.told ;;\npush) echo \"$@\" >> $0.told ;;\nimage) echo {digest} ;;\nesac"
        );
        reader.tool("podman", &podman);
        let asked = "create-remote-secret --context b --name cluster-b";
        reader.tool("istioctl", &format!("[ \"$*\" = '{asked}' ] && cat $0.prints"));
        reader
    }

    /// A program that the reader has.
    fn tool(&self, name: &str, script: &str) {
        self.tools.write(name, format!("#!/bin/sh\n{script}\n"));
        let path = self.tools.path().join(name);
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// What the reader sees of commands, and whether all of them succeeded.
    fn types(&mut self, commands: &str) -> Output {
        let commands = commands.replace("REGISTRY", "registry.example.com");
        let mut shell = Command::new("sh");
        let path = std::env::var("PATH").unwrap_or_default();
        shell.env("PATH", format!("{}:{path}", self.tools.path().display()));
        for variable in ["MAKEFLAGS", "MFLAGS", "MAKELEVEL", "IMAGE", "CONTAINER", "RUST_IMAGE"] {
            shell.env_remove(variable);
        }
        for home in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME", "KUBECACHEDIR"] {
            shell.env(home, self.tools.path());
        }
        shell.args(["-e", "-c", &commands]).current_dir(self.clone.path());
        self.release.attend(shell)
    }

    /// isthmus is installed, and shows that it guards the cluster.
    #[track_caller]
    fn installs(&mut self, commands: &str) {
        let printed = self.types(commands);
        assert!(printed.succeeded, "{printed:?}");
        for shown in ["STATUS: deployed", "successfully rolled out", "Phase:          Succeeded"] {
            assert!(printed.stdout.contains(shown), "{printed:?}");
        }
        let deployment = self.release.get("deployment/isthmus");
        let image = &deployment["spec"]["template"]["spec"]["containers"][0]["image"];
        let image = image.as_str().unwrap();
        let told = fs::read_to_string(self.tools.path().join("podman.told")).unwrap();
        assert_eq!(told, format!("build {image}\npush {image}\n"), "{printed:?}");
    }

    /// The scout is switched on; the row of a MeshMember once it begins so.
    #[track_caller]
    fn scouts(&mut self, commands: &str, row: &[&str]) {
        let printed = self.types(commands);
        assert!(printed.succeeded && printed.stdout.contains("NAME"), "{printed:?}");
        let (last, plane) = (commands.trim_end().lines().last().unwrap(), self.release.plane);
        let args: Vec<_> = last.strip_prefix("kubectl ").unwrap().split(' ').collect();
        wait_for("the row", || {
            let columns = plane.kubectl(&args, "").ok();
            let mut rows = columns.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
            rows.any(|words| words.starts_with(row)).then_some(())
        });
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // Other tests make some of the same objects, whatever becomes of this one.
        let _ = self.release.helm(&["uninstall", "isthmus", "--wait", "--timeout=10m"]).output();
    }
}

/// All that a command prints, as a terminal shows it.
fn seen(printed: Output) -> String {
    printed.stdout + &printed.stderr
}

#[test]
fn every_command_of_the_first_day_on_plain_istio_does_what_the_page_says() {
    let page = "plain-istio.md";
    let [install, join, scout] = blocks(page, "sh");
    let [denied, apart, unread] = blocks(page, "text");
    let ([own, other], _turns) = several();
    let peer = Showing::nothing(other);
    let mut reader = Reader::new(own);
    let networking =
        "{dnsDomain: cluster.local, podSubnet: 10.111.0.0/16, serviceSubnet: 10.0.0.0/24}";
    let local = Showing::nothing(own);
    local.kubeadm(networking).istiod("cluster.local", "cluster-a");
    reader.installs(&install);

    // It is as anywhere: reached by an address that is not this machine's own alone.
    let relay = Relay::at(outer_address());
    relay.lead_to(Some(other.api()));
    let mut joins = |pods: &str, network: Option<&str>| {
        other.admin().clear("/api/v1/namespaces/kube-system/pods");
        other.admin().clear("/api/v1/namespaces/istio-system/pods");
        let services = format!("--service-cluster-ip-range={}", other.services);
        peer.control_plane("kube-controller-manager", &format!("--cluster-cidr={pods}"))
            .control_plane("kube-apiserver", &services)
            .istiod("cluster.local", "cluster-b")
            .network(network);
        // What was seen by another token counts for a minute.
        let printed = data("remote-secret.yaml")
            .replace("SERVER", &format!("https://{}", relay.address))
            .replace("AUTHORITY", &STANDARD.encode(other.authority()))
            .replace("TOKEN", &lasting_reader(other));
        reader.tools.write("istioctl.prints", printed);
        own.admin().clear(SECRETS);
        reader.types(&join)
    };
    let printed = joins("10.111.0.0/16", None);
    assert!(!printed.succeeded, "{printed:?}");
    assert_eq!(seen(printed), denied);
    assert_eq!(seen(joins("10.111.0.0/16", Some("vpc-b"))), apart);
    let silent = "secret/istio-remote-secret-cluster-b created\n";
    assert_eq!(seen(joins("10.112.0.0/16", None)), silent);
    relay.lead_to(None);
    assert_eq!(seen(joins("10.111.0.0/16", None)), unread);

    relay.lead_to(Some(other.api()));
    let row = ["cluster-b", "cluster.local", "10.111.0.0/16", &other.services, "Secret"];
    reader.scouts(&scout, &[&row[..], &["True", "False"]].concat());
    own.admin().clear(SECRETS);
}

#[test]
fn every_command_of_the_first_day_on_deckhouse_does_what_the_page_says() {
    const OWN: &str = "0b9d1c80-8a46-11ee-b9d1-0242ac120002";
    const JOINED: &str = "1c9d1c80-8a46-11ee-b9d1-0242ac120002";
    const ANOTHER: &str = "2c9d1c80-8a46-11ee-b9d1-0242ac120002";
    let page = "deckhouse.md";
    let [install, declare, scout] = blocks(page, "sh");
    let [home, twice] = blocks(page, "text");
    let ([own, other], _turns) = several();
    let peer = Showing::nothing(other);
    let mut reader = Reader::new(own);
    let local = Showing::nothing(own);
    local.deckhouse();
    own.admin().clear("/api/v1/namespaces/d8-istio/secrets");
    let uuid = config_map("kube-system", "d8-cluster-uuid", json!({"cluster-uuid": OWN}));
    local
        .create("/api/v1/namespaces/kube-system/configmaps", &uuid)
        .create(
            "/api/v1/namespaces/kube-system/secrets",
            &secret_of_deckhouse("10.111.0.0/16", "10.222.0.0/16"),
        )
        .create("/apis/deckhouse.io/v1alpha1/istiomulticlusters", &multicluster("b"));
    let pinned = json!({"status": {"metadataCache": {"public": {"clusterUUID": JOINED}}}});
    own.admin().merge("/apis/deckhouse.io/v1alpha1/istiomulticlusters/b/status", &pinned);
    reader.installs(&install);

    let mut declares = |uuid: &str| {
        let public = json!({"clusterUUID": uuid, "authnKeyPub": "x", "rootCA": "x"}).to_string();
        let peer = Elsewhere::start(move |path| match path {
            "/metadata/public/public.json" => Reply::Answer(200, public.clone()),
            _ => Reply::Answer(404, String::new()),
        });
        let endpoint = "https://istio.c.example.com/metadata/";
        assert!(declare.contains(endpoint));
        let ca = Json::from(peer.authority.clone());
        let published = format!("https://{}/metadata/\n  metadata: {{ca: {ca}}}", peer.address);
        reader.types(&declare.replace(endpoint, &published))
    };
    let printed = declares(OWN);
    assert!(!printed.succeeded, "{printed:?}");
    assert_eq!(seen(printed), home);
    let printed = declares(JOINED);
    assert!(!printed.succeeded, "{printed:?}");
    assert_eq!(seen(printed), twice);
    let printed = declares(ANOTHER);
    assert!(printed.succeeded, "{printed:?}");

    // Deckhouse renders the Secret.
    peer.deckhouse().api_proxy("cluster.local", ANOTHER);
    peer.control_plane("kube-controller-manager", "--cluster-cidr=10.111.0.0/16");
    peer.control_plane("kube-apiserver", "--service-cluster-ip-range=10.223.0.0/16");
    let labels = json!({"istio/multiCluster": "true", "heritage": "deckhouse", "module": "istio"});
    let metadata =
        json!({"name": "istio-remote-secret-c", "namespace": "d8-istio", "labels": labels});
    let secret = remote_secret("istio-cluster-c", other, &scouting::reader(other));
    local.create("/api/v1/namespaces/d8-istio/secrets", &with(secret, &["metadata"], metadata));
    let row = ["c", "cluster.local", "10.111.0.0/16", "10.223.0.0/16", "IstioMulticluster,Secret"];
    reader.scouts(&scout, &[&row[..], &["True", "False"]].concat());
    own.admin().clear("/api/v1/namespaces/d8-istio/secrets");
}
