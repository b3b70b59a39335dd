//! isthmus before a real kube-apiserver, as those see it who run kubectl.

mod guarded;
mod plane;
mod transcript;
mod writes;
