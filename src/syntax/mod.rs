//! Texts into trees that know their places: YAML, JSON, and the frame of a Kubernetes object.

mod node;
mod object;
mod outline;
mod path;
mod yaml;

pub(crate) use node::Within;
pub use node::{BorrowedText, Key, Node, Position, Span, Value};
pub(crate) use object::{ALLOW_UNSAFE, MOST_VALUES};
pub use object::{Metadata, Object};
pub use outline::outline;
pub use path::{Path, Segment};
pub(crate) use yaml::document as yaml_document;
pub(crate) use yaml::integer as yaml_integer;
pub(crate) use yaml::texts as yaml_texts;
pub use yaml::{YamlError, documents as yaml_documents};
