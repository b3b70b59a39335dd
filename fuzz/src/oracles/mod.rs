//! What must hold of every input.
//!
//! The fuzz targets look for an input that breaks one of these laws. `make test` holds the inputs
//! to them that are kept in `fuzz/corpus` and `fuzz/regressions`.

mod kubeconfig;
mod program;
mod review;
mod text;
mod value;

/// One fuzz target: its name, and the law that it tries to break.
pub struct Target {
    /// The name of the program, and of the directory of its corpus.
    pub name: &'static str,
    /// Panics if the law does not hold of an input. Gives back how many bytes isthmus had to read:
    /// a law asks more than once, and an input may stand for more than its own bytes.
    pub law: fn(&[u8]) -> usize,
}

/// Every target.
pub static TARGETS: &[Target] = &[
    Target { name: "review", law: review::one },
    Target { name: "mesh", law: review::stream },
    Target { name: "yaml", law: text::yaml },
    Target { name: "kubeconfig", law: kubeconfig::kubeconfig },
    Target { name: "remote_secret", law: kubeconfig::remote_secret },
    Target { name: "fix", law: text::fix },
    Target { name: "endpoint", law: value::endpoint },
    Target { name: "subnet", law: value::subnet },
    Target { name: "domain", law: value::domain },
];

/// The kinds of object that a review can be about, each at least once, as YAML.
pub use program::bases;
