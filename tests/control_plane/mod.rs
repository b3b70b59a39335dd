//! isthmus before a real kube-apiserver, as those see it who run kubectl.

mod changes;
mod demo;
mod descriptors;
mod documents;
mod guarded;
mod istio_remote;
mod judged;
mod mesh_networks;
mod outages;
mod plane;
mod transcript;
mod writes;
