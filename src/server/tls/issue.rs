//! Certificates that isthmus makes: authorities, and certificates by them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, Error, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SigningKey,
};

use super::validity::{Validity, now};

/// The names every certificate for development is for.
const NAMES: [&str; 4] = ["localhost", "127.0.0.1", "::1", "isthmus"];

/// A certificate with its key and its authority, in PEM.
///
/// The authority's own key is gone once this is made, so nothing else can be signed with it.
pub struct Issued {
    /// The authority's certificate, for those who are to trust it.
    pub authority: String,
    /// The certificate, the authority's after it.
    pub certificate: String,
    /// The certificate's private key.
    pub key: String,
}

/// Makes a certificate for this machine and for more DNS names or IP addresses.
pub fn issue(names: &[String], valid_for: Duration) -> Result<Issued, Error> {
    let validity = Validity::starting(now(), valid_for);
    let (authority, authority_key) = authority("isthmus development CA", validity)?;
    let issuer = Issuer::from_ca_cert_der(authority.der(), authority_key)?;
    let mut all: Vec<String> = NAMES.iter().map(|name| (*name).to_owned()).collect();
    all.extend(names.iter().filter(|name| !NAMES.contains(&name.as_str())).cloned());
    let (certificate, key) = certificate(all, validity, &issuer)?;
    let authority = authority.pem();
    Ok(Issued { certificate: certificate.pem() + &authority, key: key.serialize_pem(), authority })
}

/// Makes an authority that signs certificates of servers, and no other authority.
pub(in crate::server) fn authority(
    name: &str,
    validity: Validity,
) -> Result<(Certificate, KeyPair), Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    limit(&mut params, validity);
    Ok((params.self_signed(&key)?, key))
}

/// Makes a certificate of a server with these DNS names and IP addresses.
pub(in crate::server) fn certificate(
    names: Vec<String>,
    validity: Validity,
    issuer: &Issuer<'_, impl SigningKey>,
) -> Result<(Certificate, KeyPair), Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, "isthmus");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    limit(&mut params, validity);
    Ok((params.signed_by(&key, issuer)?, key))
}

fn limit(params: &mut CertificateParams, validity: Validity) {
    params.not_before = time(validity.from).into();
    params.not_after = time(validity.until).into();
}

fn time(seconds: i64) -> SystemTime {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { UNIX_EPOCH - distance } else { UNIX_EPOCH + distance }
}
