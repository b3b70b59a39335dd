//! The certificate that is shown, and its renewal.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};

use super::issue;

/// How long a certificate made at start is valid.
const SELF_SIGNED_FOR: Duration = Duration::from_hours(365 * 24);
/// How long before its end a certificate made at start is made anew.
const RENEW_BEFORE: Duration = Duration::from_hours(30 * 24);
/// The largest file that a certificate or key is read from, in bytes.
const LARGEST_FILE: u64 = 1 << 20;

/// Where the certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Two files in PEM: the certificate with its chain, and its key.
    Files {
        /// The certificate first, then those that lead to its authority.
        certificate: PathBuf,
        /// Its private key.
        key: PathBuf,
    },
    /// Made at start, known to nobody else.
    SelfSigned,
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
    /// None could be made.
    #[error("no certificate can be made: {0}")]
    NotMade(String),
}

/// The certificate in use. New connections are shown the last good one.
#[derive(Debug)]
pub struct Certificate {
    source: Source,
    current: RwLock<Loaded>,
    /// The bytes that were last tried, so that each bad state is told once.
    tried: Mutex<Option<u64>>,
}

#[derive(Clone, Debug)]
struct Loaded {
    key: Arc<CertifiedKey>,
    validity: Validity,
}

/// From when to when a certificate is valid, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first second.
    pub from: i64,
    /// The last second.
    pub until: i64,
}

impl Certificate {
    /// Reads or makes the first certificate.
    pub fn load(source: Source) -> Result<Arc<Self>, TlsError> {
        let (loaded, tried) = match &source {
            Source::SelfSigned => (make()?, None),
            Source::Files { certificate, key } => {
                let pair = Pair::read(certificate, key)?;
                (pair.load(certificate, key)?, Some(pair.hash()))
            }
        };
        Ok(Arc::new(Self { source, current: RwLock::new(loaded), tried: Mutex::new(tried) }))
    }

    /// Looks whether there is a new one, and says so. A bad one is told once and leaves the last
    /// good one in use.
    pub fn refresh(&self) -> Result<bool, TlsError> {
        let Source::Files { certificate, key } = &self.source else {
            return self.renew();
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

    /// When the one in use is valid.
    pub fn validity(&self) -> Validity {
        self.current().validity
    }

    /// Why the one in use is not valid now, if so.
    pub fn fault(&self) -> Option<String> {
        let Validity { from, until } = self.validity();
        match now() {
            now if now > until => Some(format!("the certificate expired {} s ago", now - until)),
            now if now < from => Some(format!("the certificate is valid in {} s only", from - now)),
            _ => None,
        }
    }

    fn renew(&self) -> Result<bool, TlsError> {
        if SystemTime::now() + RENEW_BEFORE < self.validity().end() {
            return Ok(false);
        }
        self.put(make()?);
        Ok(true)
    }

    fn current(&self) -> Loaded {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn put(&self, loaded: Loaded) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = loaded;
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current().key)
    }
}

impl Validity {
    fn end(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(u64::try_from(self.until).unwrap_or(0))
    }
}

/// How connections are secured: TLS 1.2 and 1.3, HTTP/1.1 within.
pub(super) fn config(certificate: Arc<Certificate>) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

struct Pair {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Pair {
    fn read(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let read = |file: &Path| {
            let unreadable = |why| TlsError::Unreadable { file: file.to_owned(), why };
            let metadata = fs::metadata(file).map_err(|error| unreadable(error.to_string()))?;
            if !metadata.is_file() || metadata.len() > LARGEST_FILE {
                return Err(unreadable("no file of a certificate's size".to_owned()));
            }
            fs::read(file).map_err(|error| unreadable(error.to_string()))
        };
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

fn load(certificate: &[u8], key: &[u8]) -> Result<Loaded, String> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(certificate)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("the certificate is no PEM: {error}"))?;
    let Some(leaf) = chain.first() else {
        return Err("there is no certificate in it".to_owned());
    };
    let validity = validity(leaf)?;
    // The parser's errors might quote the key.
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|_| "there is no private key in PEM in it".to_owned())?;
    let key = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => "the key is not the certificate's".to_owned(),
        error => error.to_string(),
    })?;
    Ok(Loaded { key: Arc::new(key), validity })
}

fn validity(certificate: &CertificateDer<'_>) -> Result<Validity, String> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate)
        .map_err(|error| format!("the certificate cannot be read: {error}"))?;
    let validity = parsed.validity();
    Ok(Validity { from: validity.not_before.timestamp(), until: validity.not_after.timestamp() })
}

fn make() -> Result<Loaded, TlsError> {
    let not_made = TlsError::NotMade;
    let issued = issue::issue(&[], SELF_SIGNED_FOR).map_err(|error| not_made(error.to_string()))?;
    load(issued.certificate.as_bytes(), issued.key.as_bytes()).map_err(not_made)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
