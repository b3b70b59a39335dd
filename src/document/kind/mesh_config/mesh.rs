//! `mesh`: Istio's mesh config, as far as one wrong value of it makes Istio drop all of it.

use super::protobuf::{Carried, Spot, named, shortened};
use crate::mesh::Fact;
use crate::syntax::{Node, Value};
use crate::value::{ClusterDomain, Invalid, check_host_and_port, similar};

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
/// One of them that every chart up to 1.4 writes.
const FIELD_OF_EARLY: &str = "sdsUdsPath";
/// Those of its ProxyConfig that are read here.
const PROXY_FIELDS: &[&str] = &["discoveryAddress", "proxyMetadata"];

/// How many unknown fields are compared with those: each costs a look at all of them.
const MOST_COMPARED: usize = 500;

/// A discovery address, as Istio's own installation has it.
const ISTIOD: &str = "istiod.istio-system.svc:15012";

pub(super) fn read(carried: &mut Carried<'_>, spot: &Spot, root: &Node<'_>) {
    let remedy = "write the fields of Istio's MeshConfig, such as `trustDomain: cluster.local`";
    for (key, node) in carried.mapping(spot, root, remedy) {
        let at_key = spot.field(&key.text, &key.text).at(key.span.position());
        let at = at_key.at(node.span.position());
        match named(&key.text, FIELDS) {
            _ if node.value == Value::Null => {}
            Some("trustDomain") if node.text() == Some("") && is_early(root) => {
                let problem =
                    "is empty, and a later Istio drops the whole mesh config because of it";
                let remedy = "write cluster.local, or remove the line, before you upgrade";
                carried.doubt(&at, "", Invalid::new(problem, remedy));
            }
            Some("trustDomain") => read_trust_domain(carried, &at, node),
            Some("defaultConfig") if key.text == "defaultConfig" => {
                read_proxy_config(carried, &at, node);
            }
            Some("defaultConfig") => {
                let problem = "is ignored: Istio accepts this field in one spelling only";
                carried.doubt(&at_key, "", Invalid::new(problem, "write defaultConfig"));
            }
            Some(_) => {}
            None => near_miss(carried, &at_key, &key.text, FIELDS),
        }
    }
}

/// Whether this is the mesh config of an Istio up to 1.4, whose charts leave the trust domain empty.
fn is_early(root: &Node<'_>) -> bool {
    root.get(FIELD_OF_EARLY).is_some()
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
                    && let Err(why) = check_host_and_port(text, ISTIOD)
                {
                    carried.fault(&at, text, why);
                }
            }
            Some(_) => {
                let remedy = "write a mapping of names to string values";
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
    carried.compared += 1;
    if carried.compared <= MOST_COMPARED
        && let Some(meant) = similar(name, known)
    {
        let problem = format!("field {:?} is unknown, and Istio ignores it", shortened(name));
        carried.doubt(spot, "", Invalid::new(problem, format!("did you mean {meant}?")));
    }
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
}
