//! isthmus keeps Istio multicluster meshes sound.
//!
//! It reads Kubernetes objects into *claims* about the members of a mesh, judges each member
//! against the mesh, and answers an admission request with what the change adds.
//!
//! ```text
//! bytes ──wire──▶ Request ──document──▶ Reading{claims} ──Mesh::with──▶ View after
//!                                                                          │
//!        Mesh (what stands) ──Mesh::with──▶ View before ── rules judge members ◀┘
//!                                                             │ findings(after) − findings(before)
//! bytes ◀──wire── Response ◀──report── Verdict{denials, warnings}
//! ```
//!
//! The core decides. It does no I/O, reads no clock, and has no async and no logging:
//!
//! - [`value`]: subnets, domains, endpoints; parsed once and valid from then on.
//! - [`syntax`]: texts into trees that know their places.
//! - [`mesh`]: members, the claims about them, and the indexes that find who clashes with whom.
//! - [`document`]: one file for each kind of object that says something; `DOCUMENTS`.
//! - [`rule`]: one file for each rule; `RULES`.
//! - [`review`]: the only place that compares before and after.
//! - [`ledger`]: what replicas have admitted and may not see stored yet, and what each does next.
//! - [`observe`]: what was read of a cluster into facts about it.
//! - [`pending`]: writes that may never be stored, and those that wait for them.
//! - [`budget`]: what a piece of work may cost.
//! - [`wire`], [`admission`]: AdmissionReview in and out.
//! - [`manifest`]: the text of a file into objects.
//! - [`plan`]: subnets for clusters that are still to be made.
//! - [`map`]: the mesh as a page, a picture or a text.
//! - [`report`]: findings as people and programs read them.
//!
//! The edges (feature `serve`) are thin and lie around it:
//!
//! - [`snapshot`]: the mesh as it stands, shared.
//! - [`inventory`]: a directory of files into what its objects say.
//! - [`cluster`]: everything that talks to an API server: what its objects say, followed or read.
//! - [`sources`]: which of these have been read, and how old that is.
//! - [`scout`]: visits the members, and keeps in MeshMembers what they show.
//! - [`server`]: HTTPS, probes, metrics, certificates, limits.
//! - [`cli`]: the commands.

pub mod admission;
pub mod budget;
pub mod document;
pub mod ledger;
pub mod manifest;
pub mod map;
pub mod mesh;
pub mod meshmember;
pub mod observe;
pub mod pending;
pub mod plan;
pub mod report;
pub mod review;
pub mod rule;
pub mod settings;
pub mod syntax;
pub mod value;
pub mod wire;

#[cfg(feature = "serve")]
pub mod cli;
#[cfg(feature = "serve")]
pub mod cluster;
#[cfg(feature = "serve")]
pub mod inventory;
#[cfg(feature = "serve")]
pub mod scout;
#[cfg(feature = "serve")]
pub mod server;
#[cfg(feature = "serve")]
pub mod snapshot;
#[cfg(feature = "serve")]
pub mod sources;
