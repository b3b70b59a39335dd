//! isthmus before a real kube-apiserver, as those see it who run kubectl.

mod authority;
mod changes;
mod demo;
mod descriptors;
mod documents;
pub(crate) mod guarded;
mod istio_remote;
mod judged;
mod killed;
mod mesh_networks;
mod outages;
mod paths;
pub(crate) mod plane;
mod policy;
mod probe;
pub(crate) mod replicas;
mod silence;
mod transcript;
mod unstored;
mod writes;
