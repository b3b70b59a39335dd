//! Certificates for development: a certificate authority of one certificate.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

/// The names every certificate is for.
const NAMES: [&str; 4] = ["localhost", "127.0.0.1", "::1", "isthmus"];
/// How long before now certificates begin, for clocks that are behind.
const BACKDATED: Duration = Duration::from_hours(1);

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
pub fn issue(names: &[String], valid_for: Duration) -> Result<Issued, rcgen::Error> {
    let authority_key = KeyPair::generate()?;
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.distinguished_name.push(DnType::CommonName, "isthmus development CA");
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    limit(&mut authority, valid_for);
    let authority_certificate = authority.self_signed(&authority_key)?;
    let issuer = Issuer::from_params(&authority, &authority_key);

    let key = KeyPair::generate()?;
    let mut all: Vec<String> = NAMES.iter().map(|name| (*name).to_owned()).collect();
    all.extend(names.iter().filter(|name| !NAMES.contains(&name.as_str())).cloned());
    let mut leaf = CertificateParams::new(all)?;
    leaf.distinguished_name.push(DnType::CommonName, "isthmus");
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    leaf.use_authority_key_identifier_extension = true;
    limit(&mut leaf, valid_for);
    let certificate = leaf.signed_by(&key, &issuer)?;

    let authority = authority_certificate.pem();
    Ok(Issued { certificate: certificate.pem() + &authority, key: key.serialize_pem(), authority })
}

fn limit(params: &mut CertificateParams, valid_for: Duration) {
    let now = SystemTime::now();
    params.not_before = (now - BACKDATED).into();
    params.not_after = (now + valid_for).into();
}
