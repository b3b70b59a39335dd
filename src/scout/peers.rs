//! Who is to be visited: the clusters that remote Secrets and IstioMulticlusters join. No I/O.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use crate::meshmember::{Joined, object_name};

/// How many clusters are visited at most.
pub(super) const MOST_PEERS: usize = 1000;
/// How Deckhouse calls the Secrets that it renders of IstioMulticlusters, and where they are.
const RENDERED: (&str, &str) = ("d8-istio", "istio-remote-secret-");
/// How long to wait after the first failure.
const FIRST_RETRY: Duration = Duration::from_secs(15);

/// A remote Secret. What is in it is shown nowhere, so it cannot be printed.
pub(super) struct RemoteSecret {
    pub(super) namespace: String,
    pub(super) name: String,
    /// The kubeconfigs by their cluster IDs.
    pub(super) kubeconfigs: BTreeMap<String, Arc<str>>,
}

/// A cluster that is joined.
#[derive(Default)]
pub(super) struct Peer {
    /// What joins it.
    pub(super) joined_by: Vec<Joined>,
    /// How it is reached, if anything tells that.
    pub(super) kubeconfig: Option<Arc<str>>,
}

impl Peer {
    /// What tells one way to reach it from another.
    pub(super) fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.kubeconfig.hash(&mut hasher);
        hasher.finish()
    }
}

/// The clusters that are joined, by the names of their MeshMembers. `stated` tells which MeshMember
/// states a cluster ID.
pub(super) fn peers(
    multiclusters: &[String],
    secrets: &[Arc<RemoteSecret>],
    stated: &BTreeMap<String, String>,
) -> BTreeMap<String, Peer> {
    let mut peers: BTreeMap<String, Peer> = BTreeMap::new();
    let has_room = |peers: &BTreeMap<_, _>, name: &String| {
        peers.len() < MOST_PEERS || peers.contains_key(name)
    };
    for name in multiclusters {
        if has_room(&peers, name) {
            let joined = Joined {
                kind: "IstioMulticluster".to_owned(),
                name: name.clone(),
                ..Joined::default()
            };
            peers.entry(name.clone()).or_default().joined_by.push(joined);
        }
    }
    for secret in secrets {
        let RemoteSecret { namespace, name, kubeconfigs } = &**secret;
        for (id, kubeconfig) in kubeconfigs {
            let rendered = name.strip_prefix(RENDERED.1).filter(|_| namespace == RENDERED.0);
            let member = match (stated.get(id), rendered) {
                (Some(stated), _) => stated.clone(),
                (None, Some(name)) => object_name(name),
                (None, None) => object_name(id),
            };
            if !has_room(&peers, &member) {
                continue;
            }
            let peer = peers.entry(member).or_default();
            peer.joined_by.push(Joined {
                kind: "Secret".to_owned(),
                namespace: Some(namespace.clone()),
                name: name.clone(),
                key: Some(id.clone()),
            });
            peer.kubeconfig.get_or_insert_with(|| Arc::clone(kubeconfig));
        }
    }
    peers
}

/// When to go again: after the interval, or sooner after a failure, but ever later. `chance`, from 0
/// to 1, keeps them from going all at once.
pub(super) fn pause(interval: Duration, failures: u32, chance: f64) -> Duration {
    let pause = match failures {
        0 => interval,
        failures => FIRST_RETRY.saturating_mul(1 << (failures - 1).min(10)).min(interval),
    };
    pause.mul_f64(0.9 + 0.2 * chance.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(namespace: &str, name: &str, ids: &[&str]) -> Arc<RemoteSecret> {
        let kubeconfigs = ids.iter().map(|id| ((*id).to_owned(), Arc::from(format!("to {id}"))));
        let kubeconfigs = kubeconfigs.collect();
        Arc::new(RemoteSecret { namespace: namespace.into(), name: name.into(), kubeconfigs })
    }

    fn told(peers: &BTreeMap<String, Peer>) -> Vec<String> {
        let told = peers.iter().map(|(name, peer)| {
            let kinds: Vec<_> = peer.joined_by.iter().map(|joined| joined.kind.as_str()).collect();
            format!("{name}: {} by {:?}", kinds.join("+"), peer.kubeconfig)
        });
        told.collect()
    }

    #[test]
    fn a_cluster_that_is_joined_in_several_ways_is_one() {
        let stated = BTreeMap::from([("id-of-c".to_owned(), "c".to_owned())]);
        let secrets = [
            secret("d8-istio", "istio-remote-secret-a", &["istio-cluster-1"]),
            secret("istio-system", "istio-remote-secret-x", &["gke_p_z_b"]),
            secret("istio-system", "s", &["id-of-c", "d"]),
        ];
        let peers = peers(&["a".to_owned(), "e".to_owned()], &secrets, &stated);
        let expected = [
            "a: IstioMulticluster+Secret by Some(\"to istio-cluster-1\")",
            "c: Secret by Some(\"to id-of-c\")",
            "d: Secret by Some(\"to d\")",
            "e: IstioMulticluster by None",
        ];
        let mut told = told(&peers);
        let odd = told.iter().position(|line| line.starts_with("gke-p-z-b-")).unwrap();
        assert!(told.remove(odd).ends_with("by Some(\"to gke_p_z_b\")"));
        assert_eq!(told, expected);
        let keys: Vec<_> = peers["a"].joined_by.iter().map(|joined| joined.key.clone()).collect();
        assert_eq!(keys, [None, Some("istio-cluster-1".to_owned())]);
    }

    #[test]
    fn their_number_is_bounded() {
        let ids: Vec<_> = (0..2 * MOST_PEERS).map(|at| format!("c{at}")).collect();
        let ids: Vec<_> = ids.iter().map(String::as_str).collect();
        let peers = peers(&[], &[secret("istio-system", "s", &ids)], &BTreeMap::new());
        assert_eq!(peers.len(), MOST_PEERS);
    }

    #[test]
    fn another_kubeconfig_is_another_way() {
        let digest = |text: Option<&str>| {
            Peer { kubeconfig: text.map(Arc::from), ..Peer::default() }.digest()
        };
        assert_eq!(digest(Some("a")), digest(Some("a")));
        assert_ne!(digest(Some("a")), digest(Some("b")));
        assert_ne!(digest(None), digest(Some("a")));
    }

    #[test]
    fn failures_are_followed_by_ever_longer_pauses_up_to_the_interval() {
        let interval = Duration::from_mins(10);
        let middle: Vec<_> =
            (0..8).map(|failures| pause(interval, failures, 0.5).as_secs()).collect();
        assert_eq!(middle, [600, 15, 30, 60, 120, 240, 480, 600]);
        assert_eq!(pause(interval, 0, 0.0).as_secs(), 540);
        assert_eq!(pause(interval, u32::MAX, 1.0).as_secs(), 660);
    }
}
