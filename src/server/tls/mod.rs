//! TLS: the certificate that is presented, whose certificates are asked for, and the making of them.

mod callers;
mod certificate;
pub(super) mod issue;
pub(super) mod validity;

pub use callers::Callers;
pub(super) use callers::TlsSetup;
pub use certificate::{Certificate, CertificateSource, TlsError};
pub(super) use certificate::{Loaded, hash, load, provider, read};
pub use issue::{Issued, issue};
pub use validity::Validity;
