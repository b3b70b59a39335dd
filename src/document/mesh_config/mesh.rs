//! `mesh`: Istio's mesh config, as far as one wrong value of it makes Istio drop all of it.

use std::net::IpAddr;

use super::super::node::{Node, Value};
use super::carried::{Carried, Spot, named, shortened};
use super::networks::host;
use crate::mesh::Fact;
use crate::value::{ClusterDomain, Invalid, similar};

/// The fields of Istio's MeshConfig, so that a near miss is known for one. Those it has had are
/// among them, and newer ones pass in silence.
const FIELDS: &[&str] = &[
    "accessLogEncoding",
    "accessLogFile",
    "accessLogFormat",
    "ca",
    "caCertificates",
    "certificates",
    "configSources",
    "connectTimeout",
    "defaultConfig",
    "defaultDestinationRuleExportTo",
    "defaultHttpRetryPolicy",
    "defaultProviders",
    "defaultServiceExportTo",
    "defaultVirtualServiceExportTo",
    "disableEnvoyListenerLog",
    "disableMixerHttpReports",
    "disablePolicyChecks",
    "discoverySelectors",
    "dnsRefreshRate",
    "enableAutoMtls",
    "enableClientSidePolicyCheck",
    "enableEnvoyAccessLogService",
    "enablePrometheusMerge",
    "enableTracing",
    "extensionProviders",
    "h2UpgradePolicy",
    "inboundClusterStatName",
    "inboundTrafficPolicy",
    "ingressClass",
    "ingressControllerMode",
    "ingressSelector",
    "ingressService",
    "localityLbSetting",
    "meshMTLS",
    "mesh_mTLS",
    "mixerCheckServer",
    "mixerReportServer",
    "outboundClusterStatName",
    "outboundTrafficPolicy",
    "pathNormalization",
    "policyCheckFailOpen",
    "protocolDetectionTimeout",
    "proxyHttpPort",
    "proxyInboundListenPort",
    "proxyListenPort",
    "reportBatchMaxEntries",
    "reportBatchMaxTime",
    "rootNamespace",
    "sdsUdsPath",
    "serviceScopeConfigs",
    "serviceSettings",
    "sidecarToTelemetrySessionAffinity",
    "tcpKeepalive",
    "thriftConfig",
    "tlsDefaults",
    "trustDomain",
    "trustDomainAliases",
    "verifyCertificateAtClient",
];
/// Those of its ProxyConfig that are read here.
const PROXY_FIELDS: &[&str] = &["discoveryAddress", "proxyMetadata"];

pub(super) fn read(carried: &mut Carried<'_>, spot: &Spot, root: &Node<'_>) {
    let remedy = "write the fields of Istio's MeshConfig, such as `trustDomain: cluster.local`";
    for (key, node) in carried.mapping(spot, root, remedy) {
        let at_key = spot.field(&key.text, &key.text).at(key.span.position());
        let at = at_key.at(node.span.position());
        match named(&key.text, FIELDS) {
            _ if node.value == Value::Null => {}
            Some("trustDomain") => read_trust_domain(carried, &at, node),
            Some("defaultConfig") if key.text == "defaultConfig" => {
                read_proxy_config(carried, &at, node);
            }
            Some("defaultConfig") => {
                let problem = "is lost: Istio takes this one field in one spelling only";
                carried.doubt(&at_key, "", Invalid::new(problem, "write defaultConfig"));
            }
            Some(_) => {}
            None => near_miss(carried, &at_key, &key.text, FIELDS),
        }
    }
}

fn read_trust_domain(carried: &mut Carried<'_>, spot: &Spot, node: &Node<'_>) {
    let Some(text) = carried.text(spot, node) else { return };
    match ClusterDomain::parse(text) {
        Ok(domain) => carried.claim(spot, Fact::TrustDomain(domain)),
        Err(why) => carried.fault(spot, text, why),
    }
}

fn read_proxy_config(carried: &mut Carried<'_>, spot: &Spot, node: &Node<'_>) {
    for (key, node) in carried.mapping(spot, node, "write the fields of Istio's ProxyConfig") {
        let at_key = spot.field(&key.text, &key.text).at(key.span.position());
        let at = at_key.at(node.span.position());
        match named(&key.text, PROXY_FIELDS) {
            _ if node.value == Value::Null => {}
            Some("discoveryAddress") => {
                if let Some(text) = carried.text(&at, node)
                    && let Err(why) = check_discovery_address(text)
                {
                    carried.fault(&at, text, why);
                }
            }
            Some(_) => {
                let remedy = "write names with values, all of them strings";
                for (name, value) in carried.mapping(&at, node, remedy) {
                    let at = at.field(&name.text, &name.text).at(value.span.position());
                    carried.text(&at, value);
                }
            }
            None => near_miss(carried, &at_key, &key.text, PROXY_FIELDS),
        }
    }
}

fn near_miss(carried: &mut Carried<'_>, spot: &Spot, name: &str, known: &[&str]) {
    if let Some(meant) = similar(name, known) {
        let problem = format!("field {:?} is unknown, and Istio reads past it", shortened(name));
        carried.doubt(spot, "", Invalid::new(problem, format!("did you mean {meant}?")));
    }
}

/// Checks that an address is one that Istio lets a proxy be given: a host and a port.
fn check_discovery_address(text: &str) -> Result<(), Invalid> {
    let example = "write one such as istiod.istio-system.svc:15012";
    let told = shortened(text);
    if text.is_empty() {
        return Err(Invalid::new("the discovery address is empty", example));
    }
    let bare = text.parse::<IpAddr>();
    let Some((host_text, port)) = text.rsplit_once(':').filter(|_| bare.is_err()) else {
        let host =
            if matches!(bare, Ok(IpAddr::V6(_))) { format!("[{told}]") } else { told.clone() };
        let problem = format!("{told:?} has no port");
        return Err(Invalid::new(problem, format!("write one, as in {host}:15012")));
    };
    if !matches!(port.parse::<u16>(), Ok(1..)) {
        let problem = format!("{:?} of {told:?} is not a port", shortened(port));
        return Err(Invalid::new(problem, "write one from 1 to 65535, such as 15012"));
    }
    let bracketed = host_text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let is_address = match bracketed {
        Some(text) => text.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host_text.parse::<std::net::Ipv4Addr>().is_ok(),
    };
    if is_address || host(host_text).is_some() {
        return Ok(());
    }
    Err(Invalid::new(format!("{told:?} has no host name and no address before its port"), example))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_field_of_istio_is_taken_for_a_near_miss_of_another() {
        const OTHERS: &[&str] = &[
            "availabilityZone",
            "binaryPath",
            "caCertificatesPem",
            "concurrency",
            "configPath",
            "controlPlaneAuthPolicy",
            "customConfigFile",
            "discoveryRefreshDelay",
            "drainDuration",
            "envoyAccessLogService",
            "envoyMetricsService",
            "envoyMetricsServiceAddress",
            "extraStatTags",
            "fileFlushInterval",
            "gatewayTopology",
            "holdApplicationUntilProxyStarts",
            "image",
            "interceptionMode",
            "meshId",
            "parentShutdownDuration",
            "privateKeyProvider",
            "proxyAdminPort",
            "proxyBootstrapTemplatePath",
            "proxyHeaders",
            "proxyStatsMatcher",
            "readinessProbe",
            "runtimeValues",
            "sds",
            "serviceCluster",
            "statNameLength",
            "statsdUdpAddress",
            "statusPort",
            "terminationDrainDuration",
            "tracing",
            "tracingServiceName",
            "zipkinAddress",
        ];
        for name in OTHERS {
            assert_eq!(similar(name, PROXY_FIELDS), None, "{name}");
        }
    }

    #[test]
    fn reads_discovery_addresses_as_istio_does() {
        for text in [
            "istiod.istio-system.svc:15012",
            "istiod-1-20.istio-system.svc.cluster.local.:15012",
            "10.0.0.5:15012",
            "[fd00::1]:15012",
        ] {
            assert_eq!(check_discovery_address(text), Ok(()), "{text}");
        }
        for text in [
            "",
            "istiod",
            "a:b",
            "a:0",
            "a:65536",
            ":15012",
            "10.0.0.300:1",
            "fd00::1",
            "a_b:1",
            "http://a:1",
        ] {
            assert!(check_discovery_address(text).is_err(), "{text}");
        }
    }
}
