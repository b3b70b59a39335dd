//! What Pilot of Istio 0.8 stumbles over: InvalidDescriptor, ControlPlaneCount and
//! MissingAccessConfig.

use super::Rule;
use crate::mesh::About;

pub(super) static INVALID_DESCRIPTOR: Rule = Rule {
    name: "InvalidDescriptor",
    what: "Pilot of Istio 0.8 would fail on a cluster descriptor in ConfigMap `multicluster`, drop it, or silently ignore a part of it. A `spec` nested under `metadata`, as in the sample in Istio's documentation, is a warning; the setting `strictDescriptors` denies it.",
    why: "Pilot reads the descriptors only when it starts. A descriptor that it cannot read prevents the start, hours or weeks after the edit; one that it drops leaves a cluster without configuration.",
    remedy: "Write what the message says, at the key, line and field in it.",
    example: "data[a.yaml][falkor08].metadata.annotations[config.istio.io/platform]: line 7, column 31: \"kubernetes\" is not a platform that Pilot knows, and Pilot exits at its next start; did you mean Kubernetes? [InvalidDescriptor]",
    faults: |about| about == About::Descriptor,
    ..Rule::IDLE
};

pub(super) static CONTROL_PLANE_COUNT: Rule = Rule {
    name: "ControlPlaneCount",
    what: "ConfigMap `multicluster` has no descriptor, or more than one, whose annotation `config.istio.io/pilotCfgStore` is true. One in which nothing resembles a descriptor belongs to other software, and is a warning.",
    why: "With two of them, Pilot exits at its next start. With none, it serves no remote cluster and does not report it.",
    remedy: "Set the annotation to true in the descriptor of the cluster that Pilot runs in, and in no other.",
    example: "data: no descriptor has config.istio.io/pilotCfgStore true, so Pilot silently serves none of the clusters; set it to true in the descriptor of the cluster that Pilot runs in [ControlPlaneCount]",
    faults: |about| about == About::ControlPlane,
    ..Rule::IDLE
};

pub(super) static MISSING_ACCESS_CONFIG: Rule = Rule {
    name: "MissingAccessConfig",
    what: "A descriptor's `config.istio.io/accessConfigFile` does not name a key of its ConfigMap, points outside the directory, or names a kubeconfig that is not usable: its current context must have a user with credentials, and an `https` server that is not a loopback address. A kubeconfig that contains credentials, or needs a program or other files, is a warning.",
    why: "Pilot exits at its next start, or never reaches the cluster. Everyone who may read ConfigMaps can see credentials in a ConfigMap.",
    remedy: "Put the kubeconfig under the key that the descriptor names; `kubectl config view --minify --flatten` prints one. Credentials belong in a Secret, where Istio 1.0 and later keep them.",
    example: "data[falkor07.yaml][falkor07].metadata.annotations[config.istio.io/accessConfigFile]: line 9, column 39: \"falkor07.kubeconf\" is not a key of this ConfigMap, and Pilot exits at its next start; did you mean falkor07.kube.conf? [MissingAccessConfig]",
    faults: |about| about == About::AccessConfig,
    ..Rule::IDLE
};
