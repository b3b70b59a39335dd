//! The certificate that is shown, and its renewal.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::issue;
use super::validity::{Clock, Validity};

/// How long a certificate made at start is valid.
const SELF_SIGNED_FOR: Duration = Duration::from_hours(365 * 24);
/// The largest file that a certificate or key is read from, in bytes.
const LARGEST_FILE: u64 = 1 << 20;

/// Where the certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateSource {
    /// Two files in PEM: the certificate with its chain, and its key.
    Files {
        /// The certificate first, then those that lead to its authority.
        certificate: PathBuf,
        /// Its private key.
        key: PathBuf,
    },
    /// Generated at startup; only this process knows the key.
    SelfSigned,
    /// Kept in a Secret of the cluster, from which it has yet to come.
    Kept,
}

/// Why a certificate cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{}: {why}", .file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        why: String,
    },
    /// The pair cannot be used.
    #[error("{} and {}: {why}", .certificate.display(), .key.display())]
    Unusable {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// Why.
        why: String,
    },
    /// The authority of callers cannot be used.
    #[error("{}: {why}", .file.display())]
    Authority {
        /// Its file.
        file: PathBuf,
        /// Why.
        why: String,
    },
    /// A file of secret paths holds something else.
    #[error("{}: it must contain 32 lower-case hexadecimal digits per line", .file.display())]
    NotAPath {
        /// The file.
        file: PathBuf,
    },
    /// None could be made.
    #[error("cannot create a certificate: {0}")]
    NotMade(String),
}

/// The certificate in use. New connections are shown the last good one.
#[derive(Debug)]
pub struct Certificate {
    source: CertificateSource,
    current: RwLock<Option<Loaded>>,
    /// The bytes that were tried last, so that each invalid state is logged once.
    tried: Mutex<Option<u64>>,
    clock: Clock,
}

/// A certificate with its key, ready to be shown.
#[derive(Clone, Debug)]
pub(in crate::server) struct Loaded {
    pub(in crate::server) key: Arc<CertifiedKey>,
    pub(in crate::server) validity: Validity,
}

impl Certificate {
    /// Reads or makes the first certificate.
    pub fn load(source: CertificateSource) -> Result<Arc<Self>, TlsError> {
        let (loaded, tried) = match &source {
            CertificateSource::Kept => (None, None),
            CertificateSource::SelfSigned => (Some(make()?), None),
            CertificateSource::Files { certificate, key } => {
                let pair = Pair::read(certificate, key)?;
                (Some(pair.load(certificate, key)?), Some(pair.hash()))
            }
        };
        let (current, tried) = (RwLock::new(loaded), Mutex::new(tried));
        Ok(Arc::new(Self { source, current, tried, clock: Clock::default() }))
    }

    /// Reads the files again, and returns whether there is a new certificate. An invalid one is
    /// logged once, and the last valid one stays in use.
    pub fn refresh(&self) -> Result<bool, TlsError> {
        let (certificate, key) = match &self.source {
            CertificateSource::Files { certificate, key } => (certificate, key),
            CertificateSource::SelfSigned => return self.renew(),
            CertificateSource::Kept => return Ok(false),
        };
        let pair = Pair::read(certificate, key);
        let state = match &pair {
            Ok(pair) => pair.hash(),
            Err(error) => hash(&error.to_string()),
        };
        let tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner).replace(state);
        if tried == Some(state) {
            return Ok(false);
        }
        self.put(pair?.load(certificate, key)?);
        Ok(true)
    }

    /// When the one in use is valid; nothing if there is none yet.
    pub fn validity(&self) -> Option<Validity> {
        self.current().map(|current| current.validity)
    }

    /// Why there is none that is valid now, if so.
    pub fn fault(&self) -> Option<String> {
        let Some(Validity { from, until }) = self.validity() else {
            return Some("there is no certificate yet".to_owned());
        };
        match self.now() {
            now if now > until => Some(format!("the certificate expired {} s ago", now - until)),
            now if now < from => {
                Some(format!("the certificate is not valid for another {} s", from - now))
            }
            _ => None,
        }
    }

    /// The clock that it is valid by.
    pub(in crate::server) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The time by that clock, in seconds since 1970.
    pub(in crate::server) fn now(&self) -> i64 {
        self.clock.now()
    }

    /// Shows this one from now on.
    pub(in crate::server) fn put(&self, loaded: Loaded) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(loaded);
    }

    fn renew(&self) -> Result<bool, TlsError> {
        if self.validity().is_some_and(|validity| !validity.is_due(self.now())) {
            return Ok(false);
        }
        self.put(make()?);
        Ok(true)
    }

    fn current(&self) -> Option<Loaded> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.current().map(|current| current.key)
    }
}

struct Pair {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Pair {
    fn read(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        Ok(Self { certificate: read(certificate)?, key: read(key)? })
    }

    fn hash(&self) -> u64 {
        hash(&(&self.certificate, &self.key))
    }

    fn load(&self, certificate: &Path, key: &Path) -> Result<Loaded, TlsError> {
        load(&self.certificate, &self.key).map_err(|why| TlsError::Unusable {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            why,
        })
    }
}

/// Reads a file of certificates or of a key.
pub(in crate::server) fn read(file: &Path) -> Result<Vec<u8>, TlsError> {
    let unreadable = |why| TlsError::Unreadable { file: file.to_owned(), why };
    let metadata = fs::metadata(file).map_err(|error| unreadable(error.to_string()))?;
    if !metadata.is_file() || metadata.len() > LARGEST_FILE {
        return Err(unreadable(
            "it is not a regular file, or too large for a certificate".to_owned(),
        ));
    }
    fs::read(file).map_err(|error| unreadable(error.to_string()))
}

/// A certificate with its chain, and its key, from PEM.
pub(in crate::server) fn load(certificate: &[u8], key: &[u8]) -> Result<Loaded, String> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(certificate)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("the certificate is not PEM: {error}"))?;
    let Some(leaf) = chain.first() else {
        return Err("it contains no certificate".to_owned());
    };
    let validity = Validity::of(leaf)?;
    // The parser's errors might quote the key.
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|_| "it contains no PEM private key".to_owned())?;
    let key = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => "the key does not match the certificate".to_owned(),
        error => error.to_string(),
    })?;
    Ok(Loaded { key: Arc::new(key), validity })
}

fn make() -> Result<Loaded, TlsError> {
    let not_made = TlsError::NotMade;
    let issued = issue::issue(&[], SELF_SIGNED_FOR).map_err(|error| not_made(error.to_string()))?;
    load(issued.certificate.as_bytes(), issued.key.as_bytes()).map_err(not_made)
}

/// The cryptography of everything.
pub(in crate::server) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

pub(in crate::server) fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
