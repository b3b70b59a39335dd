//! What the Secret holds: authorities, the keys of those that sign, the certificate, and the paths.
//!
//! It is read leniently: whatever of it is bad is as if it were absent, so that a Secret that was
//! spoilt in part is gone on from.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::ByteString;
use pem::{EncodeConfig, LineEnding, Pem};
use rcgen::{Error, Issuer, KeyPair, PublicKeyData};
use rustls::RootCertStore;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::ParsedCertificate;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

use super::paths::SecretPath;
use crate::server::tls::issue;
use crate::server::tls::validity::Validity;
use crate::server::tls::{self, Loaded};

/// The common name of authorities.
const AUTHORITY: &str = "isthmus CA";
/// All authorities that callers are to trust.
const AUTHORITIES: &str = "ca.crt";
/// The key of the authority that signs.
const SIGNER: &str = "ca.key";
/// The key of the authority that is to sign next.
const NEXT: &str = "next-ca.key";
/// The certificate that is shown, and its key.
const CERTIFICATE: [&str; 2] = ["tls.crt", "tls.key"];
/// The last certificates of authorities that do not sign any more.
const OLD: &str = "old.crt";
/// The current path and the previous one.
const PATHS: [&str; 2] = ["path", "last-path"];

/// The data of a Secret or a ConfigMap.
pub(super) type Data = BTreeMap<String, ByteString>;

/// What the Secret holds. Keys of authorities are in no other memory.
#[derive(Clone, Default)]
pub(super) struct Kept {
    /// Whom callers are to trust, in the order in which they were made.
    pub(super) authorities: Vec<Authority>,
    /// The key of the one that signs.
    pub(super) signer: Option<Key>,
    /// The key of the one that is to sign once all callers know it.
    pub(super) next: Option<Key>,
    /// What is shown to callers.
    pub(super) leaf: Option<Leaf>,
    /// The last certificates of authorities that do not sign any more.
    pub(super) old: Vec<Authority>,
    /// The path that callers are to call.
    pub(super) path: Option<SecretPath>,
    /// The one before it.
    pub(super) last_path: Option<SecretPath>,
}

/// A certificate that is or was trusted, without its key.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Authority {
    pub(super) certificate: CertificateDer<'static>,
    pub(super) validity: Validity,
}

/// The key of an authority.
#[derive(Clone)]
pub(super) struct Key(Arc<KeyPair>);

/// An authority with its key.
pub(super) struct Signer {
    pub(super) authority: Authority,
    pub(super) key: Key,
}

/// A certificate of isthmus, with its key.
#[derive(Clone)]
pub(super) struct Leaf {
    pub(super) loaded: Loaded,
    /// The DNS names and IP addresses that it is for.
    pub(super) names: Vec<String>,
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Kept {
    /// What can be used of a Secret.
    pub(super) fn read(data: &Data) -> Self {
        let value = |key: &str| data.get(key).map_or(&[][..], |value| &value.0);
        let [certificate, key] = CERTIFICATE.map(value);
        let [path, last_path] =
            PATHS.map(|key| SecretPath::parse(std::str::from_utf8(value(key)).ok()?.trim()));
        Self {
            authorities: Authority::all(value(AUTHORITIES)),
            signer: Key::read(value(SIGNER)),
            next: Key::read(value(NEXT)),
            leaf: Leaf::read(certificate, key),
            old: Authority::all(value(OLD)),
            path,
            last_path,
        }
    }

    /// Puts all of it into a Secret, and leaves alone what is not of it.
    pub(super) fn write(&self, data: &mut Data) {
        let key = |key: &Option<Key>| key.as_ref().map(|key| key.0.serialize_pem().into_bytes());
        let leaf = self.leaf.as_ref();
        let path = |path: Option<SecretPath>| path.map(|path| path.reveal().into_bytes());
        let old = (!self.old.is_empty()).then(|| bundle(&self.old).into_bytes());
        for (name, value) in [
            (AUTHORITIES, Some(bundle(&self.authorities).into_bytes())),
            (SIGNER, key(&self.signer)),
            (NEXT, key(&self.next)),
            (CERTIFICATE[0], leaf.map(|leaf| leaf.certificate.clone())),
            (CERTIFICATE[1], leaf.map(|leaf| leaf.key.clone())),
            (OLD, old),
            (PATHS[0], path(self.path)),
            (PATHS[1], path(self.last_path)),
        ] {
            match value {
                Some(value) => drop(data.insert(name.to_owned(), ByteString(value))),
                None => drop(data.remove(name)),
            }
        }
    }

    /// The same without keys of authorities.
    pub(super) fn without_signers(&self) -> Self {
        Self { signer: None, next: None, ..self.clone() }
    }

    /// Whether callers that trust its authorities trust its certificate now.
    pub(super) fn is_usable(&self, now: i64) -> bool {
        self.leaf.as_ref().is_some_and(|leaf| leaf.is_trusted(&self.authorities, now))
    }

    /// The authority that signs, if it can now.
    pub(super) fn signer(&self, now: i64) -> Option<Signer> {
        self.with_key(self.signer.as_ref()?, now)
    }

    /// The authority that is to sign next, if it can now.
    pub(super) fn next(&self, now: i64) -> Option<Signer> {
        self.with_key(self.next.as_ref()?, now)
    }

    fn with_key(&self, key: &Key, now: i64) -> Option<Signer> {
        let mut valid = self.authorities.iter().filter(|known| known.validity.contains(now));
        let authority = valid.find(|authority| key.is_of(authority))?.clone();
        Some(Signer { authority, key: key.clone() })
    }

    /// The authorities that callers no longer have to trust.
    pub(super) fn unneeded(&self, now: i64) -> Vec<&Authority> {
        self.authorities.iter().filter(|authority| !self.needs(authority, now)).collect()
    }

    /// Whether callers still have to trust one of its authorities.
    pub(super) fn needs(&self, authority: &Authority, now: i64) -> bool {
        let signs = |key: &Option<Key>| key.as_ref().is_some_and(|key| key.is_of(authority));
        let has_signed = |certificate: &Authority| {
            certificate.validity.contains(now)
                && is_trusted(std::slice::from_ref(&certificate.certificate), [authority], now)
        };
        authority.validity.contains(now)
            && (signs(&self.signer)
                || signs(&self.next)
                || self.leaf.as_ref().is_some_and(|leaf| leaf.is_trusted([authority], now))
                || self.old.iter().any(has_signed))
    }
}

impl Authority {
    /// All certificates of a text in PEM that can be read.
    pub(super) fn all(pem: &[u8]) -> Vec<Self> {
        let certificates = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok);
        certificates.filter_map(|certificate| Self::new(certificate).ok()).collect()
    }

    fn new(certificate: CertificateDer<'static>) -> Result<Self, String> {
        let validity = Validity::of(&certificate)?;
        Ok(Self { certificate, validity })
    }
}

impl Signer {
    /// Makes an authority.
    pub(super) fn make(now: i64, life: Duration) -> Result<Self, Error> {
        let validity = Validity::starting(now, life);
        let (certificate, key) = issue::authority(AUTHORITY, validity)?;
        let authority = Authority { certificate: certificate.der().clone(), validity };
        Ok(Self { authority, key: Key(Arc::new(key)) })
    }

    /// Makes a certificate that the authority outlives.
    pub(super) fn sign(&self, names: Vec<String>, now: i64, life: Duration) -> Result<Leaf, Error> {
        let mut validity = Validity::starting(now, life);
        validity.until = validity.until.min(self.authority.validity.until);
        let issuer = Issuer::from_ca_cert_der(&self.authority.certificate, &*self.key.0)?;
        let (certificate, key) = issue::certificate(names, validity, &issuer)?;
        Leaf::read(certificate.pem().as_bytes(), key.serialize_pem().as_bytes())
            .ok_or(Error::CouldNotParseCertificate)
    }
}

impl Key {
    fn read(pem: &[u8]) -> Option<Self> {
        let key = KeyPair::from_pem(std::str::from_utf8(pem).ok()?).ok()?;
        Some(Self(Arc::new(key)))
    }

    /// Whether it is the key of this authority.
    fn is_of(&self, authority: &Authority) -> bool {
        let parsed = parse_x509_certificate(&authority.certificate);
        let public = self.0.subject_public_key_info();
        parsed.is_ok_and(|(_, parsed)| parsed.public_key().raw == public && parsed.is_ca())
    }
}

impl Leaf {
    fn read(certificate: &[u8], key: &[u8]) -> Option<Self> {
        let loaded = tls::load(certificate, key).ok()?;
        let names = names(loaded.key.cert.first()?)?;
        Some(Self { loaded, names, certificate: certificate.to_owned(), key: key.to_owned() })
    }

    /// Whether callers that trust these authorities trust it now.
    pub(super) fn is_trusted<'a>(
        &self,
        authorities: impl IntoIterator<Item = &'a Authority>,
        now: i64,
    ) -> bool {
        is_trusted(&self.loaded.key.cert, authorities, now)
    }

    /// Whether it is the same certificate.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.loaded.key.cert == other.loaded.key.cert
    }

    /// What stays of it when its authority does not sign any more.
    pub(super) fn retired(&self) -> Option<Authority> {
        Authority::new(self.loaded.key.cert.first()?.clone()).ok()
    }
}

/// Certificates as one text in PEM.
pub(super) fn bundle(certificates: &[Authority]) -> String {
    let lines = EncodeConfig::new().set_line_ending(LineEnding::LF);
    let pem = |authority: &Authority| {
        pem::encode_config(&Pem::new("CERTIFICATE", authority.certificate.as_ref()), lines)
    };
    certificates.iter().map(pem).collect()
}

/// Whether who trusts these authorities trusts a certificate with its chain now.
fn is_trusted<'a>(
    chain: &[CertificateDer<'static>],
    authorities: impl IntoIterator<Item = &'a Authority>,
    now: i64,
) -> bool {
    let Some((leaf, intermediates)) = chain.split_first() else { return false };
    let mut roots = RootCertStore::empty();
    // Unlike the API server, webpki does not ask whether an authority is still valid.
    let valid = authorities.into_iter().filter(|authority| authority.validity.contains(now));
    roots.add_parsable_certificates(valid.map(|authority| authority.certificate.clone()));
    let Ok(leaf) = ParsedCertificate::try_from(leaf) else { return false };
    let now = UnixTime::since_unix_epoch(Duration::from_secs(now.try_into().unwrap_or(0)));
    let algorithms = tls::provider().signature_verification_algorithms.all;
    verify_server_cert_signed_by_trust_anchor(&leaf, &roots, intermediates, now, algorithms).is_ok()
}

/// The DNS names and IP addresses that a certificate is for.
fn names(certificate: &CertificateDer<'_>) -> Option<Vec<String>> {
    let (_, parsed) = parse_x509_certificate(certificate).ok()?;
    let Some(alternatives) = parsed.subject_alternative_name().ok()? else {
        return Some(Vec::new());
    };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(octets) => {
            let address: Result<[u8; 4], _> = (*octets).try_into();
            let longer: Result<[u8; 16], _> = (*octets).try_into();
            let address = address.map(IpAddr::from).or(longer.map(IpAddr::from));
            address.ok().map(|address| address.to_string())
        }
        _ => None,
    };
    Some(alternatives.value.general_names.iter().filter_map(name).collect())
}
