//! Who calls the webhook, as far as that is known.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::Response;
use tokio::time::{sleep, timeout};

use crate::server::authority::paths::{Known, PathFile, Paths, REST, SecretPath};
use crate::server::http::room::Caller;
use crate::server::tls::TlsError;

/// How callers show who they are.
#[derive(Debug)]
pub(in crate::server) struct Verification {
    /// Whether callers are asked for a certificate.
    pub(in crate::server) by_certificate: bool,
    /// The paths that only the API server knows.
    pub(in crate::server) paths: Arc<Paths>,
    /// The file that they are in, if they are in one.
    pub(in crate::server) file: Option<PathFile>,
}

impl Verification {
    /// By certificates, by paths that are kept in the cluster, or by those of a file.
    pub(in crate::server) fn new(
        by_certificate: bool,
        are_kept: bool,
        file: Option<PathBuf>,
    ) -> Result<Self, TlsError> {
        let paths = Paths::new(are_kept || file.is_some());
        let file = file.map(|file| PathFile::load(file, &paths)).transpose()?;
        Ok(Self { by_certificate, paths: Arc::new(paths), file })
    }

    /// Whether there is any.
    pub(in crate::server) fn is_set_up(&self) -> bool {
        self.by_certificate || self.paths.are_set_up()
    }

    /// Waits until the file is due to be read again: for this long at most, and less if a path is
    /// called that is not in it.
    pub(in crate::server) async fn rest(&self, wait: Duration) {
        let asked = async {
            sleep(REST.min(wait)).await;
            self.paths.wanted().await;
        };
        match self.file {
            Some(_) => drop(timeout(wait, asked).await),
            None => sleep(wait).await,
        }
    }

    /// Reads the file again, and returns whether its paths have changed. An invalid file is logged
    /// once, and the last valid one stays in use.
    pub(in crate::server) fn refresh(&self) -> Result<bool, TlsError> {
        self.file.as_ref().map_or(Ok(false), |file| file.refresh(&self.paths))
    }

    /// Who calls this path, having shown a certificate or not; nothing if the path is none of ours.
    fn caller(&self, path: &str, is_certified: bool) -> Option<Caller> {
        let secret = path.trim_start_matches('/').split_once('/').map(|(_, secret)| secret);
        match secret.map(|secret| self.paths.find(secret)) {
            _ if is_certified => Some(Caller::Verified),
            Some(Known::Honoured) => Some(Caller::Verified),
            Some(Known::Stale) => Some(Caller::Stranger),
            Some(Known::Unknown) => None,
            None if self.is_set_up() => Some(Caller::Stranger),
            None => Some(Caller::Anybody),
        }
    }
}

/// Identifies the caller; `None` if the path is unknown. This replica may not have heard of that
/// path yet, so the caller has to retry: after any other response, the API server would reject or
/// admit the write at once.
pub(in crate::server) async fn identify(
    verification: &Verification,
    request: Request,
    is_certified: bool,
    answer: impl AsyncFnOnce(Option<Caller>, Request) -> Response,
) -> Response {
    let Some(caller) = verification.caller(request.uri().path(), is_certified) else {
        verification.paths.want();
        return answer(None, request).await;
    };
    let paths = &verification.paths;
    let is_by_path = caller == Caller::Verified && !is_certified;
    let mut call = Call { paths, path: paths.first().filter(|_| is_by_path) };
    let response = answer(Some(caller), request).await;
    if response.status() == StatusCode::OK {
        call.path = None;
    }
    response
}

/// A call by a path. When it fails, or its caller goes before the answer, the API server shows the
/// path to whoever wrote.
struct Call<'a> {
    paths: &'a Paths,
    path: Option<SecretPath>,
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if let Some(path) = self.path {
            self.paths.suspect(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "00112233445566778899aabbccddeeff";

    fn verification(by_certificate: bool, secrets: &[&str]) -> Verification {
        let paths = Paths::new(!secrets.is_empty());
        for secret in secrets {
            paths.honour(SecretPath::parse(secret).into_iter().collect());
        }
        Verification { by_certificate, paths: Arc::new(paths), file: None }
    }

    #[test]
    fn callers_are_identified_by_certificate_or_path() {
        let plain = verification(false, &[]);
        let by_certificate = verification(true, &[]);
        let by_path = verification(false, &["0123456789abcdef0123456789abcdef", SECRET]);
        let secret = format!("/mutate/{SECRET}");
        let last = "/validate/0123456789abcdef0123456789abcdef";
        let cases = [
            (&plain, "/validate", false, Some(Caller::Anybody)),
            (&plain, &*secret, false, None),
            (&by_certificate, "/validate", true, Some(Caller::Verified)),
            (&by_certificate, &secret, true, Some(Caller::Verified)),
            (&by_certificate, "/validate", false, Some(Caller::Stranger)),
            (&by_path, &secret, false, Some(Caller::Verified)),
            (&by_path, last, false, Some(Caller::Stranger)),
            (&by_path, "/validate", false, Some(Caller::Stranger)),
            (&by_path, "/validate/ffffffffffffffffffffffffffffffff", false, None),
            (&by_path, &format!("{secret}/more"), false, None),
            (&by_path, "/validate/more", true, Some(Caller::Verified)),
        ];
        for (verification, path, is_certified, caller) in cases {
            assert_eq!(verification.caller(path, is_certified), caller, "{path}");
        }
        assert!(Caller::Verified.is_remembered());
        assert!(!Caller::Stranger.is_remembered() && !Caller::Anybody.is_remembered());
    }
}
