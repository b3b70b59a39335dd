//! Certificates for tests.

use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::CertificateDer;

/// A certificate with its chain and key, in PEM, and its authority.
pub(crate) struct Pair {
    pub(crate) chain: String,
    pub(crate) key: String,
    pub(crate) leaf: CertificateDer<'static>,
    pub(crate) authority: CertificateDer<'static>,
}

/// A certificate by an intermediate authority, valid from and until so many seconds from now.
pub(crate) fn pair(from: i64, until: i64) -> Pair {
    let authority = |name: &str| {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    };
    let (root_key, root) = (KeyPair::generate().unwrap(), authority("root"));
    let root_certificate = root.self_signed(&root_key).unwrap();
    let (middle_key, middle) = (KeyPair::generate().unwrap(), authority("middle"));
    let middle_certificate =
        middle.signed_by(&middle_key, &Issuer::from_params(&root, &root_key)).unwrap();
    let mut leaf = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    leaf.distinguished_name.push(rcgen::DnType::CommonName, "kube-apiserver");
    leaf.not_before = from_now(from).into();
    leaf.not_after = from_now(until).into();
    let key = KeyPair::generate().unwrap();
    let certificate = leaf.signed_by(&key, &Issuer::from_params(&middle, &middle_key)).unwrap();
    Pair {
        chain: certificate.pem() + &middle_certificate.pem(),
        key: key.serialize_pem(),
        leaf: certificate.der().clone(),
        authority: root_certificate.der().clone(),
    }
}

/// A certificate that is valid now.
pub(crate) fn valid() -> Pair {
    pair(-60, 3600)
}

fn from_now(seconds: i64) -> SystemTime {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { SystemTime::now() - distance } else { SystemTime::now() + distance }
}
