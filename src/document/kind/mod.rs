//! The kinds of documents, one file for each.

pub(super) mod carrier;
pub(super) mod cluster_configuration;
pub(super) mod cluster_uuid;
pub(super) mod descriptors;
pub(super) mod endpoints;
pub(super) mod istio_federation;
pub(super) mod istio_installation;
pub(super) mod istio_multicluster;
pub(super) mod istio_remote;
mod kubeconfig;
pub(super) mod mesh_config;
pub(super) mod mesh_member;
pub(super) mod module_config;
pub(super) mod remote_secret;
