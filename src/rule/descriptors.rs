//! What Pilot of Istio 0.8 stumbles over: InvalidDescriptor, ControlPlaneCount and
//! MissingAccessConfig.

use super::Rule;
use crate::mesh::About;

pub(super) static INVALID_DESCRIPTOR: Rule = Rule {
    name: "InvalidDescriptor",
    what: "A cluster's descriptor in ConfigMap `multicluster` is one that Pilot of Istio 0.8 fails on, drops or silently ignores in part. A `spec` nested under `metadata`, as in the sample of Istio's own page, is warned of; the setting `strictDescriptors` denies it.",
    why: "Pilot reads the descriptors at its start only: one that it cannot read keeps it from starting, hours or weeks after the edit, and one that it drops leaves a cluster without configuration.",
    remedy: "Write what the message says, at the key, line and field that it names.",
    faults: |about| about == About::Descriptor,
    ..Rule::IDLE
};

pub(super) static CONTROL_PLANE_COUNT: Rule = Rule {
    name: "ControlPlaneCount",
    what: "ConfigMap `multicluster` has no descriptor with `config.istio.io/pilotCfgStore` true, or more than one.",
    why: "With two Pilot exits at its next start; with none it serves no remote cluster and says nothing.",
    remedy: "Set it to true in the descriptor of the cluster that Pilot runs in, and in no other.",
    faults: |about| about == About::ControlPlane,
    ..Rule::IDLE
};

pub(super) static MISSING_ACCESS_CONFIG: Rule = Rule {
    name: "MissingAccessConfig",
    what: "A descriptor's `config.istio.io/accessConfigFile` names no key of its ConfigMap, leaves the directory, or names what is no usable kubeconfig: one whose current context leads to an `https` server that is not loopback, and to a user. That it holds credentials, or needs files beside it, is warned of.",
    why: "Pilot exits at its next start, or never reaches the cluster. Credentials in a ConfigMap can be seen by all who may read ConfigMaps.",
    remedy: "Put the kubeconfig under the key that the descriptor names: `kubectl config view --minify --flatten` writes one. Credentials belong in a Secret, as Istio 1.0 and later keep them.",
    faults: |about| about == About::AccessConfig,
    ..Rule::IDLE
};
