//! What all kinds of documents are read with: one cursor over a tree, one way to note what it says
//! and what is wrong with it, and the values that many of them state.

mod annotations;
mod canonical;
mod cursor;
mod misspelt;
mod notes;
mod sights;
mod text;
mod values;

pub(super) use annotations::{
    Annotations, allow_unsafe, common_annotations, completing_annotations, network_annotation,
    of_object, rendered,
};
pub(super) use canonical::advise;
pub use canonical::{Beside, Canonical, Rewrite, Written};
pub(super) use cursor::{Cursor, shortened};
pub(super) use misspelt::{near_labels, near_misses, own_names};
pub(super) use notes::{EXITS, Notes, PILOT, PILOT_JSON, PROTOBUF};
pub(super) use sights::{Shown, sights};
pub(super) use text::{decoded, fields, text_of, tree_of};
pub(super) use values::{domain, node_prefix, subnets};
