//! Who may call: how connections are secured, and whose certificates are asked for.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig,
    SignatureScheme,
};
use tokio_rustls::TlsAcceptor;
use x509_parser::parse_x509_certificate;

use super::certificate::{self, Certificate, TlsError};

/// Who may call, where not everybody may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callers {
    /// The authority that has signed their certificates, in PEM.
    pub authority: PathBuf,
    /// The common names or DNS names of their certificates; any if empty.
    pub names: Vec<String>,
    /// Whether others are answered, too, who are then strangers.
    pub optional: bool,
}

/// How connections are secured: TLS 1.2 and 1.3, HTTP/1.1 within.
pub(in crate::server) struct TlsSetup {
    certificate: Arc<Certificate>,
    callers: Option<Callers>,
    config: RwLock<Arc<ServerConfig>>,
    /// The bytes of the CA file that were tried last, so that each invalid state is logged once.
    tried: Mutex<Option<u64>>,
}

impl TlsSetup {
    pub(in crate::server) fn new(
        certificate: Arc<Certificate>,
        callers: Option<Callers>,
    ) -> Result<Self, TlsError> {
        let (verifier, tried) = match &callers {
            Some(callers) => {
                let pem = certificate::read(&callers.authority)?;
                (callers.verifier(&pem)?, Some(certificate::hash(&pem)))
            }
            None => (WebPkiClientVerifier::no_client_auth(), None),
        };
        let config = RwLock::new(config(Arc::clone(&certificate), verifier)?);
        Ok(Self { certificate, callers, config, tried: Mutex::new(tried) })
    }

    /// Secures new connections as is right now.
    pub(in crate::server) fn acceptor(&self) -> TlsAcceptor {
        let config = self.config.read().unwrap_or_else(PoisonError::into_inner);
        TlsAcceptor::from(Arc::clone(&config))
    }

    /// Reads the CA of callers again, and returns whether it has changed. An invalid one is logged
    /// once, and the last valid one stays in use.
    pub(in crate::server) fn refresh(&self) -> Result<bool, TlsError> {
        let Some(callers) = &self.callers else { return Ok(false) };
        let pem = certificate::read(&callers.authority);
        let state = match &pem {
            Ok(pem) => certificate::hash(pem),
            Err(error) => certificate::hash(&error.to_string()),
        };
        let tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner).replace(state);
        if tried == Some(state) {
            return Ok(false);
        }
        // A config of its own: what was agreed on under the last authority is not resumed.
        let config = config(Arc::clone(&self.certificate), callers.verifier(&pem?)?)?;
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(true)
    }
}

impl Callers {
    fn verifier(&self, pem: &[u8]) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
        let bad = |why: String| TlsError::Authority { file: self.authority.clone(), why };
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate =
                certificate.map_err(|error| bad(format!("it is not PEM: {error}")))?;
            roots.add(certificate).map_err(|error| bad(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(bad("it contains no certificate".to_owned()));
        }
        let builder =
            WebPkiClientVerifier::builder_with_provider(roots.into(), certificate::provider());
        let builder = if self.optional { builder.allow_unauthenticated() } else { builder };
        let signed = builder.build().map_err(|error| bad(error.to_string()))?;
        if self.names.is_empty() {
            return Ok(signed);
        }
        Ok(Arc::new(Named { signed, names: self.names.clone() }))
    }
}

fn config(
    certificate: Arc<Certificate>,
    verifier: Arc<dyn ClientCertVerifier>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let unusable = |error: Error| TlsError::NotMade(error.to_string());
    let mut config = ServerConfig::builder_with_provider(certificate::provider())
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(unusable)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Accepts only callers whose certificate has one of these names.
#[derive(Debug)]
struct Named {
    signed: Arc<dyn ClientCertVerifier>,
    names: Vec<String>,
}

impl Named {
    fn is_named(&self, certificate: &CertificateDer<'_>) -> Result<bool, Error> {
        let parsed = ParsedCertificate::try_from(certificate)?;
        let (_, fields) =
            parse_x509_certificate(certificate).map_err(|_| CertificateError::BadEncoding)?;
        let is_common = |name: &str| {
            fields.subject().iter_common_name().any(|common| common.as_str() == Ok(name))
        };
        let is_alternative = |name: &str| {
            ServerName::try_from(name)
                .is_ok_and(|name| rustls::client::verify_server_name(&parsed, &name).is_ok())
        };
        Ok(self.names.iter().any(|name| is_common(name) || is_alternative(name)))
    }
}

impl ClientCertVerifier for Named {
    fn client_auth_mandatory(&self) -> bool {
        self.signed.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.signed.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.signed.verify_client_cert(certificate, intermediates, now)?;
        if !self.is_named(certificate)? {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signed.supported_verify_schemes()
    }
}
