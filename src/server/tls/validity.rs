//! When certificates are valid, and by which clock.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::http::HeaderValue;
use rustls::pki_types::CertificateDer;

/// How long before they are made certificates begin, in seconds: for clocks that are behind, down
/// to those that were set to local time where UTC is meant.
pub(in crate::server) const BACKDATED: i64 = 24 * 3600;

/// From when to when a certificate is valid, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first second.
    pub from: i64,
    /// The last second.
    pub until: i64,
}

impl Validity {
    /// That of a certificate made now, which has so long to live.
    pub(in crate::server) fn starting(now: i64, life: Duration) -> Self {
        let life = i64::try_from(life.as_secs()).unwrap_or(i64::MAX);
        Self { from: now.saturating_sub(BACKDATED), until: now.saturating_add(life) }
    }

    /// That of a certificate, as it says.
    pub(in crate::server) fn of(certificate: &CertificateDer<'_>) -> Result<Self, String> {
        let (_, parsed) = x509_parser::parse_x509_certificate(certificate)
            .map_err(|error| format!("the certificate cannot be read: {error}"))?;
        let validity = parsed.validity();
        Ok(Self { from: validity.not_before.timestamp(), until: validity.not_after.timestamp() })
    }

    /// Whether it is valid now.
    pub(in crate::server) fn contains(self, now: i64) -> bool {
        (self.from..=self.until).contains(&now)
    }

    /// Whether two thirds of its life are over.
    pub(in crate::server) fn is_due(self, now: i64) -> bool {
        let life = self.until.saturating_sub(self.from).saturating_sub(BACKDATED).max(0);
        now >= self.until - life / 3
    }
}

/// The clock of the API server, which verifies certificates, taken from its responses; until there
/// is one, the local clock. So a replica whose own clock is wrong neither creates certificates that
/// are not trusted, nor undoes what other replicas do.
#[derive(Debug, Default)]
pub(in crate::server) struct Clock {
    /// The last time it reported, in seconds since 1970, and when.
    last: Mutex<Option<(i64, Instant)>>,
}

impl Clock {
    /// Takes the time of a `Date` header.
    pub(in crate::server) fn tell(&self, date: &HeaderValue) {
        let date = date.to_str().ok().and_then(|date| httpdate::parse_http_date(date).ok());
        if let Some(date) = date {
            let last = Some((seconds(date), Instant::now()));
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = last;
        }
    }

    /// The time, in seconds since 1970.
    pub(in crate::server) fn now(&self) -> i64 {
        self.at(SystemTime::now(), Instant::now())
    }

    /// The time by the last report, or by the local clock.
    pub(in crate::server) fn at(&self, wall: SystemTime, now: Instant) -> i64 {
        let Some((date, at)) = *self.last.lock().unwrap_or_else(PoisonError::into_inner) else {
            return seconds(wall);
        };
        let since = now.saturating_duration_since(at).as_secs();
        date.saturating_add(i64::try_from(since).unwrap_or(i64::MAX))
    }
}

/// The time on the wall, in seconds since 1970.
pub(in crate::server) fn now() -> i64 {
    seconds(SystemTime::now())
}

fn seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_thirds_count_from_when_it_was_made() {
        let validity = Validity::starting(1_000_000, Duration::from_secs(90));
        assert!(!validity.is_due(1_000_059));
        assert!(validity.is_due(1_000_060));
        assert!(validity.contains(1_000_090) && !validity.contains(1_000_091));
        let clock_behind = 1_000_000 - 14 * 3600;
        assert!(validity.contains(clock_behind) && !validity.is_due(clock_behind));
    }
}
