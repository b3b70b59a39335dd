//! isthmus before a real kube-apiserver, as those see it who run kubectl.

mod assumptions;
pub(crate) mod authority;
mod changes;
mod day_one;
mod demo;
mod descriptors;
mod documents;
mod facts;
mod hostile_peers;
mod istio_remote;
mod joining;
mod judged;
mod killed;
mod mesh_members;
mod mesh_networks;
mod outages;
mod paths;
mod policy;
mod policy_reports;
mod probe;
mod remote_secrets;
mod scout;
mod scout_deckhouse;
mod silence;
mod unstored;
mod watching;
mod writes;
