//! One call of the API server: its timeout and its failures.

use std::fmt;
use std::io;
use std::iter::successors;
use std::time::Duration;

use kube::core::Status;
use tokio::time::timeout;

/// How long an answer may take, and a list to bring its next page.
pub(super) const ANSWER: Duration = Duration::from_secs(15);
/// The message when it takes longer.
pub(super) const SILENT: &str = "the API server does not answer";

/// Why a call failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The API server responded with this status.
    Status(Box<Status>),
    /// It could not be reached, or did not respond; the reason.
    Other(String),
}

/// The response, unless it takes longer.
pub(crate) async fn within<T, E: Into<Failure>>(
    time: Duration,
    call: impl Future<Output = Result<T, E>>,
) -> Result<T, Failure> {
    let silent = |_| Failure::Other(SILENT.to_owned());
    timeout(time, call).await.map_err(silent)?.map_err(Into::into)
}

/// The response, unless it takes longer than usual.
pub(crate) async fn answer<T, E: Into<Failure>>(
    call: impl Future<Output = Result<T, E>>,
) -> Result<T, Failure> {
    within(ANSWER, call).await
}

impl Failure {
    /// Whether the object was not found.
    pub(crate) fn is_not_found(&self) -> bool {
        self.is(404)
    }

    /// Whether the permission is missing.
    pub(crate) fn is_forbidden(&self) -> bool {
        self.is(403)
    }

    /// Whether the object was changed meanwhile.
    pub(crate) fn is_conflict(&self) -> bool {
        self.is(409)
    }

    /// Whether the resource version is too old.
    pub(crate) fn is_expired(&self) -> bool {
        self.is(410)
    }

    fn is(&self, code: u16) -> bool {
        matches!(self, Self::Status(status) if status.code == code)
    }
}

impl From<kube::Error> for Failure {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::Status(status),
            error => Self::Other(reason(&error)),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Status(status) => &status.message,
            Self::Other(why) => why,
        })
    }
}

/// What went wrong, with its causes.
pub(crate) fn reason(error: &(dyn std::error::Error + 'static)) -> String {
    let mut words: Vec<String> = Vec::new();
    for error in successors(Some(error), |error| error.source()) {
        let word = match error.downcast_ref::<kube::Error>() {
            // Its own words repeat the whole status.
            Some(kube::Error::Api(status)) => return status.message.clone(),
            _ => error.to_string(),
        };
        let of_stream = error.downcast_ref::<io::Error>();
        if of_stream.is_some_and(|error| error.kind() == io::ErrorKind::TimedOut) {
            return SILENT.to_owned();
        }
        if words.last().is_none_or(|last| !last.contains(&word)) {
            words.push(word);
        }
    }
    words.join(": ")
}
