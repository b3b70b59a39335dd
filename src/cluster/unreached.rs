//! Why a cluster's facts could not be read, in classes: nothing of what its answers or its kubeconfig
//! say is ever repeated, for it may be secret, or made up by whoever answers.

use std::error::Error;
use std::io;

use rustls::CertificateError;

use crate::observe::NotKubernetes;

/// Why a cluster's facts could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreached {
    /// The kubeconfig does not lead there.
    #[error("its kubeconfig {0}")]
    Kubeconfig(&'static str),
    /// There are no credentials: the program that provides them failed.
    #[error("no credentials can be had: the kubeconfig's plugin fails")]
    Credentials,
    /// The name of the server has no address.
    #[error("the name of its server cannot be resolved")]
    Unresolved,
    /// The server's address is none that is connected to.
    #[error("its server is at {0}, to which isthmus does not connect")]
    Address(&'static str),
    /// Nobody listens there.
    #[error("the connection is refused")]
    Refused,
    /// Connecting failed, or the connection broke.
    #[error("the connection fails")]
    Connection,
    /// It takes longer than it may.
    #[error("it does not answer in time")]
    Slow,
    /// It shows a certificate that is not trusted.
    #[error("its certificate {0}")]
    Certificate(&'static str),
    /// Nobody is trusted to have signed its certificate.
    #[error("its certificate cannot be verified, as no certificate authority (CA) is known here")]
    Untrusted,
    /// TLS fails otherwise.
    #[error("the TLS handshake fails")]
    Tls,
    /// It does not take the credentials.
    #[error("it does not accept the credentials (401)")]
    Unauthorized,
    /// It does not grant what takes no more rights than Istio has.
    #[error("it does not let its namespace kube-system be read, whose UID is its identity")]
    Unidentified,
    /// It leads elsewhere.
    #[error("it redirects to another address, which isthmus does not follow ({0})")]
    Redirect(u16),
    /// It answers with an error.
    #[error("it answers with status {0}")]
    Status(u16),
    /// It answers more than is read.
    #[error("its answers are larger than isthmus reads")]
    TooMuch,
    /// It does not publish a cluster's metadata there.
    #[error("what it answers is not a cluster's public metadata")]
    NotMetadata,
    /// It is not asked, for others are.
    #[error("too many other clusters are being read")]
    Busy,
    /// It is something else.
    #[error(transparent)]
    NotKubernetes(#[from] NotKubernetes),
}

impl Unreached {
    /// The class as one word, as conditions and metrics have it.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Kubeconfig(_) => "InvalidKubeconfig",
            Self::Credentials => "NoCredentials",
            Self::Unresolved => "UnresolvedName",
            Self::Address(_) => "ForbiddenAddress",
            Self::Refused => "ConnectionRefused",
            Self::Connection => "ConnectionFailed",
            Self::Slow => "Timeout",
            Self::Certificate(_) | Self::Untrusted => "UntrustedCertificate",
            Self::Tls => "TLSFailed",
            Self::Unauthorized => "Unauthorized",
            Self::Unidentified => "Forbidden",
            Self::Redirect(_) => "Redirected",
            Self::Status(_) => "ServerError",
            Self::TooMuch => "TooLarge",
            Self::NotMetadata => "NotMetadata",
            Self::Busy => "Busy",
            Self::NotKubernetes(_) => "NotKubernetes",
        }
    }

    /// The class of whatever a client's call or its making came to.
    pub(super) fn of(error: &(dyn Error + 'static)) -> Self {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(known) = known(error) {
                return known;
            }
            // What an I/O error wraps is not its source.
            let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            next = match wrapped {
                Some(inner) => Some(inner),
                None => error.source(),
            };
        }
        Self::Connection
    }
}

/// Of a kubeconfig that cannot be followed without one.
pub(super) const PROXY: &str = "asks for a proxy, which isthmus does not use";

fn known(error: &(dyn Error + 'static)) -> Option<Unreached> {
    if let Some(error) = error.downcast_ref::<Unreached>() {
        return Some(error.clone());
    }
    if let Some(error) = error.downcast_ref::<rustls::Error>() {
        return Some(of_tls(error));
    }
    match error.downcast_ref::<kube::Error>() {
        Some(kube::Error::Auth(_)) => return Some(Unreached::Credentials),
        Some(kube::Error::RustlsTls(_)) => {
            return Some(Unreached::Kubeconfig("has a certificate or key that cannot be used"));
        }
        Some(
            kube::Error::ProxyProtocolDisabled { .. }
            | kube::Error::ProxyProtocolUnsupported { .. },
        ) => return Some(Unreached::Kubeconfig(PROXY)),
        _ => {}
    }
    match error.downcast_ref::<io::Error>()?.kind() {
        io::ErrorKind::ConnectionRefused => Some(Unreached::Refused),
        io::ErrorKind::TimedOut => Some(Unreached::Slow),
        _ => None,
    }
}

fn of_tls(error: &rustls::Error) -> Unreached {
    let rustls::Error::InvalidCertificate(why) = error else { return Unreached::Tls };
    Unreached::Certificate(match why {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "is not valid yet"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "is for another name"
        }
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "is not signed by the certificate authority (CA) of the kubeconfig"
        }
        _ => "is not valid",
    })
}
