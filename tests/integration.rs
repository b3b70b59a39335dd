//! Every test that runs isthmus as a whole, in one binary so that it links once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod chart;
mod check;
mod ci;
mod complexity;
mod contract;
mod control_plane;
mod docs;
mod faults;
mod fuzz;
mod golden;
mod house;
mod laws;
mod map;
mod policy_report;
mod serve;
mod settings;
mod support;
mod tool;
