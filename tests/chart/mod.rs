//! The Helm chart: what it renders, what it takes, and what it says of itself.

pub(crate) mod alerts;
mod calls;
mod cluster;
pub(crate) mod helm;
mod pages;
mod registry;
mod release;
mod templates;
mod values;
