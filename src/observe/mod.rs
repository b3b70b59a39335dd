//! What was read of a cluster, into facts about it: the same for a peer and for the guarded cluster.
//!
//! [`Seen`] tells what to ask of a cluster, takes the answers, and says what follows from them. It
//! trusts nobody more than Kubernetes does: a flag of the control plane counts only in a mirror Pod,
//! which only a kubelet can create, and what proxies say of Istio only in Istio's own namespaces. A
//! fact is *exact* where its source gives the whole value; otherwise the cluster uses at least that:
//! an overlap in it is real, and its absence proves nothing.

mod ask;
mod facts;
mod objects;
mod ranges;
mod seen;

pub use ask::{Ask, MOST_ITEMS, NETWORK_LABEL, Right};
pub use seen::{NotKubernetes, Seen};

#[cfg(test)]
mod tests;
