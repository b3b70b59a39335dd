//! Row by row what tells a fact, and what must not.

use jiff::Timestamp;
use serde_json::{Value as Json, json};

use super::{Ask, MOST_ITEMS, NotKubernetes, Seen};
use crate::meshmember::{Fact, Observed};
use crate::settings::Settings;

/// Objects of a cluster, and what its reader may not see: paths begin so.
struct Cluster {
    objects: Vec<Json>,
    forbidden: Vec<&'static str>,
}

/// A cluster that has nothing but its identity, and Istio's namespace.
fn cluster(objects: impl IntoIterator<Item = Json>) -> Cluster {
    let own = [
        json!({"kind": "Namespace", "metadata": {"name": "kube-system", "uid": "u-1"}}),
        json!({"kind": "Namespace", "metadata": {"name": "istio-system"}}),
    ];
    Cluster { objects: own.into_iter().chain(objects).collect(), forbidden: Vec::new() }
}

impl Cluster {
    fn without(mut self, path: &'static str) -> Self {
        self.forbidden.push(path);
        self
    }

    fn facts(&self) -> Observed {
        let mut seen = Seen::new(&Settings::default());
        let mut asks = seen.first();
        while let Some(ask) = asks.pop() {
            asks.extend(self.answer(&mut seen, &ask));
        }
        let mut asks = seen.then();
        while let Some(ask) = asks.pop() {
            asks.extend(self.answer(&mut seen, &ask));
        }
        seen.facts(Timestamp::UNIX_EPOCH).unwrap()
    }

    fn answer(&self, seen: &mut Seen, ask: &Ask) -> Option<Ask> {
        let path = ask.path();
        if self.forbidden.iter().any(|forbidden| path.starts_with(forbidden)) {
            seen.refuse(ask);
            return None;
        }
        seen.take(ask, &self.get(&path)?.to_string()).unwrap()
    }

    /// What an API server answers, as far as anything is asked.
    fn get(&self, path: &str) -> Option<Json> {
        let url = url::Url::parse("https://cluster").unwrap().join(path).unwrap();
        let parts: Vec<_> = url.path_segments().unwrap().collect();
        let (namespace, rest) = match parts[..] {
            ["api", "v1", "namespaces", namespace, _, ..] => (Some(namespace), &parts[4..]),
            ["api", "v1", ..] => (None, &parts[2..]),
            _ => (None, &parts[3..]),
        };
        let (kind, name) = match *rest {
            ["namespaces", name] => ("Namespace", Some(name)),
            ["configmaps", name] => ("ConfigMap", Some(name)),
            ["pods"] => ("Pod", None),
            ["services"] => ("Service", None),
            ["nodes"] => ("Node", None),
            ["servicecidrs"] => ("ServiceCIDR", None),
            _ => panic!("{path}"),
        };
        let query = |key: &str| {
            url.query_pairs().find(|(found, _)| found == key).map(|(_, value)| value.into_owned())
        };
        let selector = query("labelSelector").unwrap_or_default();
        let mut found: Vec<_> = self
            .objects
            .iter()
            .filter(|it| {
                it["kind"] == kind
                    && namespace.is_none_or(|namespace| it["metadata"]["namespace"] == namespace)
                    && name.is_none_or(|name| it["metadata"]["name"] == name)
                    && is_selected(&selector, &it["metadata"]["labels"])
            })
            .cloned()
            .collect();
        if name.is_some() {
            return found.pop();
        }
        let begin = query("continue").map_or(0, |token| token.parse().unwrap());
        let limit: usize = query("limit").unwrap().parse().unwrap();
        let end = found.len().min(begin + limit);
        let next = (end < found.len()).then(|| end.to_string());
        let metadata = json!({"continue": next.unwrap_or_default()});
        Some(
            json!({"kind": format!("{kind}List"), "metadata": metadata, "items": found[begin..end]}),
        )
    }
}

/// Whether labels meet a selector; of one with parentheses no other part has a comma outside them.
fn is_selected(selector: &str, labels: &Json) -> bool {
    let mut rest = selector;
    while !rest.is_empty() {
        let (part, left) = match (rest.find(')'), rest.find(',')) {
            (Some(end), _) if rest.find('(') < rest.find(',') => rest.split_at(end + 1),
            (_, Some(comma)) => rest.split_at(comma),
            _ => (rest, ""),
        };
        rest = left.trim_start_matches(',');
        let label = |key: &str| labels[key].as_str().unwrap_or_default();
        let is_met = if let Some((key, of)) = part.split_once(" notin (") {
            !of.trim_end_matches(')').split(',').any(|value| value == label(key))
        } else if let Some((key, of)) = part.split_once(" in (") {
            of.trim_end_matches(')').split(',').any(|value| value == label(key))
        } else if let Some((key, value)) = part.split_once("!=") {
            label(key) != value
        } else {
            labels.get(part).is_some()
        };
        if !is_met {
            return false;
        }
    }
    true
}

fn config_map(namespace: &str, name: &str, key: &str, text: &str) -> Json {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"namespace": namespace, "name": name}, "data": {key: text},
    })
}

fn kubeadm(networking: &str) -> Json {
    let text = format!(
        "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\nnetworking: {networking}\n"
    );
    config_map("kube-system", "kubeadm-config", "ClusterConfiguration", &text)
}

/// A Pod with an app, these words of its command and this variable.
fn pod(namespace: &str, name: &str, labels: &Json, words: &[&str], env: &[(&str, &str)]) -> Json {
    let env: Vec<_> =
        env.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
    json!({
        "kind": "Pod",
        "metadata": {"namespace": namespace, "name": name, "labels": labels},
        "spec": {"containers": [{"args": words, "env": env}]},
    })
}

/// A Pod as a kubelet shows it of the control plane.
fn mirror(component: &str, words: &[&str]) -> Json {
    let mut pod = pod("kube-system", component, &json!({"component": component}), &[], &[]);
    pod["spec"] = json!({"hostNetwork": true, "containers": [{"command": words}]});
    pod["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
    pod["metadata"]["ownerReferences"] = json!([{"kind": "Node", "name": "m"}]);
    pod
}

fn running(name: &str, ip: &str) -> Json {
    let mut pod = pod("default", name, &json!({}), &[], &[]);
    pod["status"] = json!({"phase": "Running", "podIPs": [{"ip": ip}]});
    pod
}

fn node(name: &str, cidrs: &[&str]) -> Json {
    json!({"kind": "Node", "metadata": {"name": name}, "spec": {"podCIDRs": cidrs}})
}

fn service(name: &str, ip: &str, labels: &Json) -> Json {
    json!({
        "kind": "Service",
        "metadata": {"namespace": "default", "name": name, "labels": labels},
        "spec": {"clusterIPs": [ip]},
    })
}

fn service_cidr(name: &str, cidrs: &[&str]) -> Json {
    json!({"kind": "ServiceCIDR", "metadata": {"name": name}, "spec": {"cidrs": cidrs}})
}

/// A fact in one line: its value, whether it is exact, and where it is from.
fn told<T: serde::Serialize>(fact: Option<Fact<T>>) -> String {
    fact.map_or_else(String::new, |Fact { value, from, exact, .. }| {
        let value = serde_json::to_value(value).unwrap();
        let value = match value.as_array() {
            Some(items) => items.iter().filter_map(Json::as_str).collect::<Vec<_>>().join(" "),
            None => value.as_str().unwrap().to_owned(),
        };
        format!("{} {value} <- {from}", if exact { "=" } else { ">=" })
    })
}

fn pods_of(objects: impl IntoIterator<Item = Json>) -> String {
    told(cluster(objects).facts().pod_subnets)
}

fn services_of(objects: impl IntoIterator<Item = Json>) -> String {
    told(cluster(objects).facts().service_subnets)
}

const PODS: &str = "{podSubnet: 10.111.0.0/16, serviceSubnet: 10.222.0.0/16, dnsDomain: K.local.}";
const KUBEADM_PODS: &str = "= 10.111.0.0/16 <- ConfigMap kube-system/kubeadm-config";

#[test]
fn the_identity_is_the_uid_of_kube_system() {
    assert_eq!(told(Some(cluster([]).facts().uid)), "= u-1 <- Namespace kube-system");
    for uid in ["", "two words", "line\nbreak"] {
        let mut seen = Seen::new(&Settings::default());
        let namespace = json!({"kind": "Namespace", "metadata": {"uid": uid}});
        seen.take(&seen.first()[0].clone(), &namespace.to_string()).unwrap();
        assert!(seen.facts(Timestamp::UNIX_EPOCH).is_none(), "{uid:?}");
    }
}

#[test]
fn pod_subnets_are_those_of_kubeadm_config_first() {
    let flag = mirror("kube-controller-manager", &["--cluster-cidr=10.9.0.0/16"]);
    assert_eq!(pods_of([kubeadm(PODS), flag, node("n", &["10.111.1.0/24"])]), KUBEADM_PODS);
    let dual = "{podSubnet: '10.111.0.0/16,fd00:10::/56'}";
    let expected = "= 10.111.0.0/16 fd00:10::/56 <- ConfigMap kube-system/kubeadm-config";
    assert_eq!(pods_of([kubeadm(dual)]), expected);
}

#[test]
fn else_they_are_those_of_the_controller_manager_in_its_mirror_pod() {
    let from = "<- Pod kube-system/kube-controller-manager (--cluster-cidr)";
    for (words, expected) in [
        (&["kube-controller-manager", "--cluster-cidr=10.9.0.0/16"][..], "= 10.9.0.0/16"),
        (&["--cluster-cidr", "10.9.0.0/16,fd00::/56"], "= 10.9.0.0/16 fd00::/56"),
        (&["--cluster-cidr=10.8.0.0/16", "--cluster-cidr=10.9.0.0/16"], "= 10.9.0.0/16"),
    ] {
        let flag = mirror("kube-controller-manager", words);
        assert_eq!(pods_of([kubeadm("{}"), flag]), format!("{expected} {from}"));
    }
    for words in
        [&["--cluster-cidr=0.0.0.0/0"][..], &["--cluster-cidr"], &["--cluster-cidr-x=10.9.0.0/16"]]
    {
        assert_eq!(pods_of([mirror("kube-controller-manager", words)]), "", "{words:?}");
    }
    // Two that differ: a change is under way.
    let mut other = mirror("kube-controller-manager", &["--cluster-cidr=10.8.0.0/16"]);
    other["metadata"]["name"] = "other".into();
    let flag = mirror("kube-controller-manager", &["--cluster-cidr=10.9.0.0/16"]);
    let expected = ">= 10.8.0.0/16 <- Pod kube-system/other (--cluster-cidr)";
    assert_eq!(pods_of([flag, other]), expected);
}

#[test]
fn a_pod_that_is_no_mirror_of_the_control_plane_tells_no_flag() {
    let words = ["--cluster-cidr=10.0.0.0/8", "--service-cluster-ip-range=10.0.0.0/8"];
    let changes: [fn(&mut Json); 5] = [
        |pod| pod["metadata"]["annotations"] = json!({}),
        |pod| pod["metadata"]["ownerReferences"] = json!([]),
        |pod| pod["metadata"]["ownerReferences"] = json!([{"kind": "ReplicaSet"}]),
        |pod| pod["metadata"]["namespace"] = "tenant".into(),
        |pod| pod["metadata"]["labels"] = json!({"component": "something"}),
    ];
    for (at, change) in changes.iter().enumerate() {
        let mut pod = mirror("kube-controller-manager", &words);
        change(&mut pod);
        let facts = cluster([pod]).facts();
        assert_eq!((facts.pod_subnets, facts.service_subnets), (None, None), "{at}");
    }
}

#[test]
fn pod_subnets_are_exact_only_while_every_sampled_pod_is_inside() {
    let inside = running("a", "10.111.3.4");
    assert_eq!(pods_of([kubeadm(PODS), inside.clone()]), KUBEADM_PODS);
    // A plugin's own range beside it, or a second family that nobody states.
    for ip in ["192.168.0.7", "fd00::7"] {
        let told = pods_of([kubeadm(PODS), inside.clone(), running("b", ip)]);
        assert_eq!(told, KUBEADM_PODS.replace('=', ">="), "{ip}");
    }
    // None is inside: what kubeadm was told is not in use.
    let expected = ">= 192.168.0.7/32 <- Pods (status.podIPs)";
    assert_eq!(pods_of([kubeadm(PODS), running("b", "192.168.0.7")]), expected);
    // Nobody may look.
    let blind = cluster([kubeadm(PODS)]).without("/api/v1/pods");
    assert_eq!(told(blind.facts().pod_subnets), KUBEADM_PODS.replace('=', ">="));
    // These have no address of their own, or none any more.
    let mut outside =
        [running("b", "172.16.0.1"), running("c", "172.16.0.2"), running("d", "172.16.0.3")];
    outside[0]["spec"]["hostNetwork"] = true.into();
    outside[1]["status"]["phase"] = "Succeeded".into();
    outside[2]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    assert_eq!(pods_of([kubeadm(PODS), inside].into_iter().chain(outside)), KUBEADM_PODS);
}

#[test]
fn else_the_nodes_ranges_are_at_least_in_use() {
    let nodes = [
        node("a", &["10.111.0.0/24", "fd00::/64"]),
        node("b", &["10.111.1.0/24"]),
        node("c", &["10.111.4.0/24"]),
        json!({"kind": "Node", "metadata": {"name": "d"}, "spec": {"podCIDR": "10.111.5.0/24"}}),
        node("wrong", &["0.0.0.0/0", "x"]),
    ];
    let expected = ">= 10.111.0.0/23 10.111.4.0/23 fd00::/64 <- Nodes (spec.podCIDRs)";
    assert_eq!(pods_of(nodes.clone()), expected);
    assert_eq!(pods_of(nodes.into_iter().chain([running("a", "10.111.1.9")])), expected);
}

#[test]
fn else_sampled_pods_have_their_addresses_and_no_more() {
    let pods = ["10.1.0.4", "10.1.0.5", "10.1.0.4", "::ffff:10.1.0.6", "fd00::7", "127.0.0.1", "x"];
    let pods = pods.into_iter().enumerate().map(|(at, ip)| running(&at.to_string(), ip));
    let expected = ">= 10.1.0.4/32 10.1.0.5/32 10.1.0.6/32 fd00::7/128 <- Pods (status.podIPs)";
    assert_eq!(pods_of(pods), expected);
}

#[test]
fn a_pod_or_node_that_claims_a_lot_is_never_exact() {
    let told = pods_of([node("n", &["10.0.0.0/8"])]);
    assert_eq!(told, ">= 10.0.0.0/8 <- Nodes (spec.podCIDRs)");
    let told = pods_of([running("p", "10.0.0.0/8")]);
    assert_eq!(told, "");
}

#[test]
fn service_subnets_are_those_of_the_service_cidrs_first() {
    let own = service_cidr("kubernetes", &["10.222.0.0/16", "fd01::/112"]);
    let expected = "= 10.222.0.0/16 fd01::/112 <- ServiceCIDR kubernetes";
    assert_eq!(services_of([kubeadm("{serviceSubnet: 10.9.0.0/16}"), own.clone()]), expected);
    let added = service_cidr("more", &["10.224.0.0/16"]);
    let expected = "= 10.222.0.0/16 10.224.0.0/16 fd01::/112 <- ServiceCIDRs";
    assert_eq!(services_of([own.clone(), added]), expected);
    let many = (0..=MOST_ITEMS).map(|at| service_cidr(&at.to_string(), &["10.222.0.0/16"]));
    assert_eq!(services_of(many), ">= 10.222.0.0/16 <- ServiceCIDRs");
    let refused = cluster([own, kubeadm(PODS)]).without("/apis/networking.k8s.io/");
    let expected = "= 10.222.0.0/16 <- ConfigMap kube-system/kubeadm-config";
    assert_eq!(told(refused.facts().service_subnets), expected);
}

#[test]
fn else_they_are_those_of_kubeadm_then_those_of_the_api_server() {
    let flag = mirror("kube-apiserver", &["--service-cluster-ip-range", "10.9.0.0/16"]);
    let kubeadm = kubeadm("{serviceSubnet: 10.8.0.0/16}");
    let expected = "= 10.8.0.0/16 <- ConfigMap kube-system/kubeadm-config";
    assert_eq!(services_of([kubeadm, flag.clone()]), expected);
    let expected = "= 10.9.0.0/16 <- Pod kube-system/kube-apiserver (--service-cluster-ip-range)";
    assert_eq!(services_of([flag]), expected);
    let flag = mirror("kube-controller-manager", &["--service-cluster-ip-range=10.9.0.0/16"]);
    assert!(services_of([flag]).starts_with("= 10.9.0.0/16 <- Pod kube-system/kube-controller"));
}

#[test]
fn else_the_services_addresses_are_at_least_in_use() {
    let services = ["10.222.0.1", "10.222.0.10", "10.222.0.11", "None", ""];
    let services = services.map(|ip| service(ip, ip, &json!({})));
    let expected = ">= 10.222.0.1/32 10.222.0.10/31 <- Services (spec.clusterIPs)";
    assert_eq!(services_of(services), expected);
}

#[test]
fn long_lists_are_read_page_by_page_and_not_for_ever() {
    let nodes =
        (0..300).map(|at| node(&at.to_string(), &[&format!("10.{}.{}.0/24", at / 256, at % 256)]));
    assert_eq!(
        pods_of(nodes),
        ">= 10.0.0.0/16 10.1.0.0/19 10.1.32.0/21 10.1.40.0/22 <- Nodes (spec.podCIDRs)"
    );
    // A server that has always one more.
    let mut seen = Seen::new(&Settings::default());
    let (mut ask, mut asked) = (seen.then().into_iter().next(), 0);
    let page = json!({"kind": "NodeList", "metadata": {"continue": "more"}, "items": vec![node("n", &["10.1.0.0/24"]); 3 * MOST_ITEMS]});
    while let Some(next) = ask {
        ask = seen.take(&next, &page.to_string()).unwrap();
        asked += 1;
    }
    assert_eq!(asked, 10);
    assert_eq!(seen.nodes.len(), 10 * MOST_ITEMS, "no more is taken than was asked for");
}

#[test]
fn long_lists_are_asked_for_only_where_nothing_better_tells() {
    let mut seen = Seen::new(&Settings::default());
    assert_eq!(seen.then().len(), 2);
    let kubeadm = kubeadm(PODS).to_string();
    let ask = seen.first().into_iter().find(|ask| ask.path().ends_with("kubeadm-config")).unwrap();
    seen.take(&ask, &kubeadm).unwrap();
    assert_eq!(seen.then(), []);
}

#[test]
fn the_cluster_domain_is_that_of_deckhouse_then_of_istiod_then_of_kubeadm() {
    let deckhouse = |domain| {
        pod("d8-istio", "proxy", &json!({"app": "api-proxy"}), &[], &[("CLUSTER_DOMAIN", domain)])
    };
    let istiod = |namespace, words: &[&str]| {
        pod(namespace, "istiod-1", &json!({"app": "istiod"}), words, &[])
    };
    let domain = |objects: Vec<Json>| told(cluster(objects).facts().cluster_domain);
    let all = vec![
        deckhouse("A.local"),
        istiod("istio-system", &["discovery", "--domain", "b.local"]),
        kubeadm(PODS),
    ];
    assert_eq!(domain(all.clone()), "= a.local <- Pod d8-istio/proxy (CLUSTER_DOMAIN)");
    assert_eq!(domain(all[1..].to_vec()), "= b.local <- Pod istio-system/istiod-1 (--domain)");
    assert_eq!(domain(all[2..].to_vec()), "= k.local <- ConfigMap kube-system/kubeadm-config");
    let joined = istiod("istio-system", &["discovery", "--domain=c.local"]);
    assert_eq!(domain(vec![joined]), "= c.local <- Pod istio-system/istiod-1 (--domain)");
    // Somebody else's Pod, and a gateway's own flag of that name.
    let gateway = ["proxy", "router", "--domain", "istio-system.svc.cluster.local"];
    let gateway = pod("istio-system", "gateway", &json!({"app": "gateway"}), &gateway, &[]);
    let foreign = istiod("tenant", &["discovery", "--domain", "evil.local"]);
    let labelled = istiod("istio-system", &["proxy", "--domain", "$(POD_NAMESPACE).svc.local"]);
    assert_eq!(domain(vec![gateway, foreign, labelled]), "");
    // Two revisions that differ.
    let mut other = istiod("istio-system", &["discovery", "--domain", "c.local"]);
    other["metadata"]["name"] = "istiod-0".into();
    let told = domain(vec![all[1].clone(), other]);
    assert_eq!(told, ">= b.local <- Pod istio-system/istiod-1 (--domain)");
}

#[test]
fn deckhouse_tells_its_uuid() {
    let uuid = "0B9D1C80-8a46-11ee-b9d1-0242ac120002";
    let told_by = |namespace, value| {
        let api_proxy = json!({"app": "api-proxy"});
        let pod = pod(namespace, "proxy", &api_proxy, &[], &[("CLUSTER_UUID", value)]);
        told(cluster([pod]).facts().cluster_uuid)
    };
    let expected = format!("= {} <- Pod d8-istio/proxy (CLUSTER_UUID)", uuid.to_lowercase());
    assert_eq!(told_by("d8-istio", uuid), expected);
    assert_eq!((told_by("tenant", uuid), told_by("d8-istio", "x")), (String::new(), String::new()));
}

#[test]
fn istio_s_own_pods_tell_ids_and_domains_and_nobody_else_s() {
    let istiod =
        |id| pod("istio-system", "istiod", &json!({"app": "istiod"}), &[], &[("CLUSTER_ID", id)]);
    let env = [
        ("ISTIO_META_CLUSTER_ID", "b"),
        ("ISTIO_META_NETWORK", "vpc-2"),
        ("ISTIO_META_MESH_ID", "mesh1"),
        ("TRUST_DOMAIN", "td.local"),
    ];
    let gateway = |namespace| pod(namespace, "gw", &json!({"app": "gateway"}), &[], &env);
    let facts = |objects: &[Json]| {
        let facts = cluster(objects.iter().cloned()).facts();
        [told(facts.cluster_id), told(facts.network), told(facts.mesh_id), told(facts.trust_domain)]
    };
    let by = |value: &str, name: &str| format!("= {value} <- Pod istio-system/gw ({name})");
    let expected = [
        by("b", "ISTIO_META_CLUSTER_ID"),
        by("vpc-2", "ISTIO_META_NETWORK"),
        by("mesh1", "ISTIO_META_MESH_ID"),
        by("td.local", "TRUST_DOMAIN"),
    ];
    assert_eq!(facts(&[gateway("istio-system")]), expected);
    let [id, ..] = facts(&[istiod("gke_p_z_c"), gateway("istio-system")]);
    assert_eq!(id, "= gke_p_z_c <- Pod istio-system/istiod (CLUSTER_ID)");
    let nothing = ["", "=  <- Namespace istio-system", "", ""];
    assert_eq!(facts(&[gateway("tenant")]), nothing);
    // What would break a line, or does not fit into a label, is told nobody.
    let long = "x".repeat(300);
    assert_eq!(facts(&[istiod("a\nb")]), nothing);
    assert_eq!(facts(&[istiod(&long)]), nothing);
}

#[test]
fn the_network_is_the_label_of_istio_s_namespace_first() {
    let labelled = json!({
        "kind": "Namespace",
        "metadata": {"name": "d8-istio", "labels": {"topology.istio.io/network": "vpc-1"}},
    });
    let ztunnel =
        pod("istio-system", "z", &json!({"app": "ztunnel"}), &[], &[("NETWORK", "vpc-3")]);
    let tenant = json!({
        "kind": "Namespace",
        "metadata": {"name": "tenant", "labels": {"topology.istio.io/network": "evil"}},
    });
    let network = |objects: Vec<Json>| told(cluster(objects).facts().network);
    let expected = "= vpc-1 <- Namespace d8-istio (topology.istio.io/network)";
    assert_eq!(network(vec![ztunnel.clone(), labelled]), expected);
    assert_eq!(network(vec![ztunnel]), "= vpc-3 <- Pod istio-system/z (NETWORK)");
    assert_eq!(network(vec![tenant]), "=  <- Namespace istio-system");
    let without = cluster([]).without("/api/v1/namespaces/istio-system");
    assert_eq!(without.facts().network, None, "without Istio there is no network");
}

#[test]
fn services_with_the_label_are_gateways() {
    let label = |network: &str| json!({"topology.istio.io/network": network});
    let services = [("a", "vpc-1"), ("b", "vpc-1"), ("c", ""), ("d", "vpc-0")];
    let services = services.map(|(name, network)| service(name, "None", &label(network)));
    let facts = cluster(services.into_iter().chain([service("x", "None", &json!({}))])).facts();
    assert_eq!(told(facts.gateways), "= vpc-0 vpc-1 <- Services (topology.istio.io/network)");
    assert_eq!(cluster([]).without("/api/v1/services").facts().gateways, None);
}

#[test]
fn the_mesh_config_tells_the_trust_domain_where_it_may_be_read() {
    let mesh = config_map("istio-system", "istio", "mesh", "trustDomain: td.local\n");
    let expected = "= td.local <- ConfigMap istio-system/istio";
    assert_eq!(told(cluster([mesh.clone()]).facts().trust_domain), expected);
    let refused = cluster([mesh]).without("/api/v1/namespaces/istio-system/configmaps");
    assert_eq!(refused.facts().trust_domain, None);
}

#[test]
fn what_is_refused_is_not_known_and_what_is_not_kubernetes_is_an_error() {
    let refused = ["/api/v1/n", "/api/v1/p", "/api/v1/s", "/apis"];
    let nothing = Cluster { objects: Vec::new(), forbidden: refused.to_vec() };
    let mut seen = Seen::new(&Settings::default());
    for ask in seen.first() {
        assert_eq!(nothing.answer(&mut seen, &ask), None);
    }
    assert!(seen.facts(Timestamp::UNIX_EPOCH).is_none());

    let deep = format!("{{\"kind\": \"PodList\", \"items\": [{}]}}", "[".repeat(100_000));
    for answer in [
        "",
        "<html>",
        "[]",
        "{}",
        r#"{"kind": "Status"}"#,
        r#"{"kind": "PodList", "items": 1}"#,
        &deep,
    ] {
        for ask in seen.first() {
            assert_eq!(seen.take(&ask, answer), Err(NotKubernetes), "{answer:.40}");
        }
    }
    // An item that is not what it should be tells nothing, and spoils nothing.
    let items = r#"{"kind": "PodList", "items": [1, {"spec": {"containers": "x"}}, {"status": {"podIPs": [{"ip": "10.1.0.1"}]}}]}"#;
    let sample =
        seen.first().into_iter().find(|ask| ask.path().starts_with("/api/v1/pods")).unwrap();
    seen.take(&sample, items).unwrap();
    assert_eq!(seen.pod_sample.map(|pods| pods.len()), Some(1));
}

#[test]
fn paths_and_selectors_are_escaped() {
    let settings = Settings { istio_namespaces: vec!["a/../b?".to_owned()], ..Settings::default() };
    let paths: Vec<_> = Seen::new(&settings).first().iter().map(Ask::path).collect();
    assert!(paths.contains(&"/api/v1/namespaces/a%2F..%2Fb%3F".to_owned()), "{paths:?}");
    let selector = "labelSelector=component+in+%28kube-apiserver%2Ckube-controller-manager%29";
    assert!(paths.iter().any(|path| path.ends_with(selector)), "{paths:?}");
}
