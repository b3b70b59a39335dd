//! isthmus before a real kube-apiserver, as those see it who run kubectl.

mod authority;
mod changes;
mod guarded;
mod outages;
mod plane;
mod probe;
mod replicas;
mod transcript;
mod writes;
