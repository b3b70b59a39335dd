//! The webhook: who calls it, what it answers, and what is counted of that.

pub(super) mod backstage;
pub(super) mod caller;
pub(super) mod metrics;
mod refusal;
mod review;
pub(super) mod route;
