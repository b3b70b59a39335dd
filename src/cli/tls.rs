//! Where the webhook's certificate comes from, and whose certificates it asks for.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use rustls::pki_types::ServerName;

use crate::server::authority::{self, NamespacedName, Terms};
use crate::server::{Callers, Certificate, CertificateSource};
use crate::value::duration;

/// The longest life of an authority, so that its end is a date that can be written.
const LONGEST: Duration = Duration::from_hours(100 * 365 * 24);

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "TLS")]
pub(super) struct TlsArgs {
    /// The certificate in PEM, followed by its intermediate certificates. Without it, the one of
    /// `isthmus certs` is used, or a self-signed one for this run.
    #[arg(long, env = "ISTHMUS_TLS_CERT", requires = "tls_key", value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// The private key of the certificate, in PEM.
    #[arg(long, env = "ISTHMUS_TLS_KEY", requires = "tls_cert", value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// How often the certificate files, or the Secret, are checked for changes.
    #[arg(
        long,
        env = "ISTHMUS_TLS_POLL",
        default_value = "5s",
        value_parser = duration::positive,
        value_name = "DURATION"
    )]
    tls_poll: Duration,
    /// Where `isthmus certs` wrote certificates for development.
    #[arg(long, env = "ISTHMUS_CERTS_DIR", default_value = "certs", value_name = "DIR")]
    certs_dir: PathBuf,
    /// Be the certificate authority (CA): create the certificate, share it with all replicas in
    /// this Secret of the cluster, and write the CA bundle into the webhook configurations.
    #[arg(
        long,
        env = "ISTHMUS_TLS_SECRET",
        conflicts_with_all = ["tls_cert", "tls_key"],
        requires = "tls_names",
        value_name = "NAMESPACE/NAME"
    )]
    tls_secret: Option<NamespacedName>,
    /// The DNS names and IP addresses of the certificate, such as isthmus.isthmus.svc.
    #[arg(
        long,
        env = "ISTHMUS_TLS_NAMES",
        value_delimiter = ',',
        value_parser = name,
        value_name = "NAMES"
    )]
    tls_names: Vec<String>,
    #[command(flatten)]
    webhooks: WebhooksArg,
    /// The lifetime of a CA; the next one takes over after two thirds of it.
    #[arg(
        long,
        env = "ISTHMUS_TLS_CA_LIFE",
        default_value = "87600h",
        value_parser = duration::positive,
        value_name = "DURATION"
    )]
    tls_ca_life: Duration,
    /// The lifetime of a certificate; it is renewed after two thirds of it.
    #[arg(
        long,
        env = "ISTHMUS_TLS_LIFE",
        default_value = "2160h",
        value_parser = duration::positive,
        value_name = "DURATION"
    )]
    tls_life: Duration,
    /// How long a CA is published in the webhook configurations before a certificate signed by it
    /// is served, so that every API server has read it.
    #[arg(
        long,
        env = "ISTHMUS_TLS_SETTLE",
        default_value = "1m",
        value_parser = duration::parse,
        value_name = "DURATION"
    )]
    tls_settle: Duration,
    /// How long a secret path is used before the next one takes over.
    #[arg(
        long,
        env = "ISTHMUS_TLS_PATH_LIFE",
        default_value = "1h",
        value_parser = duration::positive,
        value_name = "DURATION"
    )]
    tls_path_life: Duration,
    /// A file with the secret path that the API server calls, 32 lower-case hexadecimal digits,
    /// instead of the one that --tls-secret manages. Further lines are honoured too.
    #[arg(long, env = "ISTHMUS_TLS_PATH_FILE", conflicts_with = "tls_secret", value_name = "FILE")]
    tls_path_file: Option<PathBuf>,
    /// Accept only callers with a client certificate that this CA has signed; a file in PEM.
    #[arg(long, env = "ISTHMUS_TLS_CLIENT_CA", value_name = "FILE")]
    tls_client_ca: Option<PathBuf>,
    /// Of these callers, accept only those with one of these common names or DNS names.
    #[arg(
        long,
        env = "ISTHMUS_TLS_CLIENT_NAMES",
        requires = "tls_client_ca",
        value_delimiter = ',',
        value_name = "NAMES"
    )]
    tls_client_names: Vec<String>,
    /// Also answer callers without a client certificate, but do not remember their writes: for API
    /// servers that present theirs to only one kind of webhook.
    #[arg(long, env = "ISTHMUS_TLS_CLIENT_OPTIONAL", requires = "tls_client_ca")]
    tls_client_optional: bool,
}

/// The webhook configurations' name, which several commands take.
#[derive(Debug, clap::Args)]
pub(super) struct WebhooksArg {
    /// The name of the ValidatingWebhookConfiguration and MutatingWebhookConfiguration whose
    /// `caBundle` isthmus manages.
    #[arg(
        long = "tls-webhooks",
        env = "ISTHMUS_TLS_WEBHOOKS",
        default_value = "isthmus",
        value_name = "NAME"
    )]
    pub(super) name: String,
}

impl TlsArgs {
    /// Says what does not fit together.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        let Self { tls_life, tls_ca_life, .. } = self;
        if self.tls_secret.is_none() {
            return Ok(());
        }
        if *tls_ca_life > LONGEST {
            bail!("--tls-ca-life: give at most {} days", LONGEST.as_secs() / 86_400);
        }
        if *tls_life < Duration::from_secs(1) || tls_life.saturating_mul(2) > *tls_ca_life {
            bail!("--tls-life: give at least 1s and at most half of --tls-ca-life");
        }
        if self.tls_settle > *tls_life / 4 {
            bail!("--tls-settle: give at most a quarter of --tls-life");
        }
        Ok(())
    }

    pub(super) fn poll(&self) -> Duration {
        self.tls_poll
    }

    /// The certificate, or the place for the one that is to come.
    pub(super) fn certificate(&self) -> anyhow::Result<Arc<Certificate>> {
        if self.tls_secret.is_some() {
            return Ok(Certificate::load(CertificateSource::Kept)?);
        }
        if let (Some(certificate), Some(key)) = (self.tls_cert.clone(), self.tls_key.clone()) {
            return Ok(Certificate::load(CertificateSource::Files { certificate, key })?);
        }
        if let Some(certificate) = development(&self.certs_dir) {
            return Ok(certificate);
        }
        tracing::info!("using a self-signed certificate for this run");
        Ok(Certificate::load(CertificateSource::SelfSigned)?)
    }

    /// How the certificate is kept in the cluster, if it is.
    pub(super) async fn authority(
        &self,
        cluster: impl AsyncFnOnce() -> anyhow::Result<kube::Config>,
    ) -> anyhow::Result<Option<authority::Config>> {
        let Some(secret) = self.tls_secret.clone() else { return Ok(None) };
        Ok(Some(authority::Config {
            cluster: cluster().await?,
            secret,
            webhooks: self.webhooks.name.clone(),
            terms: Terms {
                names: self.tls_names.clone(),
                authority_life: self.tls_ca_life,
                life: self.tls_life,
                settle: self.tls_settle,
                path_life: self.tls_path_life,
            },
            poll: self.tls_poll,
        }))
    }

    /// The file of the secret path, if it is in one.
    pub(super) fn path_file(&self) -> Option<PathBuf> {
        self.tls_path_file.clone()
    }

    /// Who may call, where not everybody may.
    pub(super) fn callers(&self) -> Option<Callers> {
        let authority = self.tls_client_ca.clone()?;
        let names = self.tls_client_names.clone();
        Some(Callers { authority, names, optional: self.tls_client_optional })
    }
}

/// The certificate that `isthmus certs` wrote, if it is there and valid.
fn development(directory: &Path) -> Option<Arc<Certificate>> {
    let [certificate, key] = ["tls.pem", "tls-key.pem"].map(|file| directory.join(file));
    if !certificate.exists() && !key.exists() {
        return None;
    }
    let place = directory.display().to_string();
    let why = match Certificate::load(CertificateSource::Files { certificate, key }) {
        Ok(loaded) => match loaded.fault() {
            None => {
                tracing::info!(directory = place, "using the certificate of `isthmus certs`");
                return Some(loaded);
            }
            Some(fault) => fault,
        },
        Err(error) => error.to_string(),
    };
    tracing::warn!(directory = place, why, "the certificate of `isthmus certs` cannot be used");
    None
}

/// A DNS name or an IP address, as it is written into a certificate.
fn name(text: &str) -> Result<String, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(address.to_string());
    }
    match ServerName::try_from(text) {
        Ok(_) => Ok(text.to_ascii_lowercase()),
        Err(_) => Err(format!("{text:?} is neither a DNS name nor an IP address")),
    }
}
