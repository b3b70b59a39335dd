//! Metrics for Prometheus: each part of the server declares what it counts, and registers that.
//!
//! Every label takes a bounded set of values: what a request says of itself is mapped to what is
//! known, or to `other`.

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

/// The media type of [`render`].
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Declares metrics: a struct that has them, and registers them by their names and what they mean.
macro_rules! metrics {
    ($(#[$doc:meta])* struct $of:ident {
        $($(#[$about:meta])* $field:ident: $type:ty = $name:literal, $help:literal;)+
    }) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        pub(in crate::server) struct $of {
            $($(#[$about])* pub(in crate::server) $field: $type,)+
        }

        impl $of {
            /// New ones, which this registry shows.
            pub(in crate::server) fn shown_by(
                registry: &mut prometheus_client::registry::Registry,
            ) -> Self {
                let metrics = Self::default();
                $(registry.register($name, $help, metrics.$field.clone());)+
                metrics
            }
        }
    };
}
pub(super) use metrics;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct BuildLabels {
    version: &'static str,
}

/// A registry that shows which version runs, and nothing more yet.
pub(super) fn registry() -> Registry {
    let mut registry = Registry::with_prefix("isthmus");
    let build = BuildLabels { version: env!("CARGO_PKG_VERSION") };
    registry.register("build", "The running version", Info::new(build));
    registry
}

/// The text that Prometheus reads.
pub(super) fn render(registry: &Registry) -> String {
    let mut page = String::new();
    // Writing to a String cannot fail.
    let _ = text::encode(&mut page, registry);
    page
}
