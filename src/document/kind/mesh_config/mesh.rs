//! `mesh`: Istio's mesh config, as far as one wrong value of it makes Istio drop all of it.

use super::protobuf::named;
use crate::document::toolkit::{Cursor, Notes, shortened};
use crate::mesh::Fact;
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

pub(in crate::document::kind) fn read(root: &Cursor<'_, '_>, notes: &mut Notes<'_>) {
    let wanted = "a mapping with the fields of Istio's MeshConfig";
    let mut near_misses = NearMisses::default();
    for (key, node) in notes.entries(root, wanted) {
        let at = root.entry(&key.text, &key.text, node);
        let at_key = root.key(&key.text).at(key.span.position());
        match named(&key.text, FIELDS) {
            _ if at.node.is_none() => {}
            Some("trustDomain") if at.text() == Some("") && is_early(root) => {
                let problem =
                    "is empty, and a later Istio drops the whole mesh config because of it";
                let remedy = "write cluster.local, or remove the line, before you upgrade";
                notes.doubt(&at, "", Invalid::new(problem, remedy));
            }
            Some("trustDomain") => read_trust_domain(&at, notes),
            Some("trustDomainAliases") => {
                for (index, item) in notes.items(&at).iter().enumerate() {
                    let at = at.item(index, item);
                    // Istio compares them as they are, and drops nothing for them.
                    if let Some(Ok(alias)) = notes.text(&at).map(ClusterDomain::parse) {
                        notes.claim(&at, Fact::TrustDomainAlias(alias));
                    }
                }
            }
            Some("defaultConfig") if key.text == "defaultConfig" => {
                read_proxy_config(&at, &mut near_misses, notes);
            }
            Some("defaultConfig") => {
                let problem = "is ignored: Istio accepts this field in one spelling only";
                notes.doubt(&at_key, "", Invalid::new(problem, "write defaultConfig"));
            }
            Some(_) => {}
            None => near_misses.look(&at_key, FIELDS, notes),
        }
    }
}

/// Whether this is the mesh config of an Istio up to 1.4, whose charts leave the trust domain empty.
fn is_early(root: &Cursor<'_, '_>) -> bool {
    root.node.is_some_and(|root| root.get(FIELD_OF_EARLY).is_some())
}

fn read_trust_domain(at: &Cursor<'_, '_>, notes: &mut Notes<'_>) {
    let Some(text) = notes.text(at) else { return };
    match ClusterDomain::parse(text) {
        Ok(domain) => notes.claim(at, Fact::TrustDomain(domain)),
        Err(why) => notes.fault(at, text, why),
    }
}

fn read_proxy_config(config: &Cursor<'_, '_>, near_misses: &mut NearMisses, notes: &mut Notes<'_>) {
    for (key, node) in notes.entries(config, "a mapping with the fields of Istio's ProxyConfig") {
        let at = config.entry(&key.text, &key.text, node);
        match named(&key.text, PROXY_FIELDS) {
            _ if at.node.is_none() => {}
            Some("discoveryAddress") => {
                if let Some(text) = notes.text(&at)
                    && let Err(why) = check_host_and_port(text, ISTIOD)
                {
                    notes.fault(&at, text, why);
                }
            }
            Some(_) => {
                let wanted = "a mapping of names to string values";
                for (name, value) in notes.entries(&at, wanted) {
                    let at = at.entry(&name.text, &name.text, value);
                    if at.node.is_none() {
                        notes.fault(
                            &at,
                            "",
                            Invalid::new("must be a string, not null", "write a string"),
                        );
                    }
                    notes.text(&at);
                }
            }
            None => {
                let at = config.key(&key.text).at(key.span.position());
                near_misses.look(&at, PROXY_FIELDS, notes);
            }
        }
    }
}

/// How many unknown fields have been compared with known ones.
#[derive(Default)]
struct NearMisses(usize);

impl NearMisses {
    fn look(&mut self, at: &Cursor<'_, '_>, known: &[&str], notes: &mut Notes<'_>) {
        let Self(compared) = self;
        *compared += 1;
        if *compared <= MOST_COMPARED
            && let Some(meant) = similar(at.last_key(), known)
        {
            let name = shortened(at.last_key());
            let problem = format!("field {name:?} is unknown, and Istio ignores it");
            notes.doubt(at, "", Invalid::new(problem, format!("did you mean {meant}?")));
        }
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
