//! Whether the authority does its work, for readiness and metrics.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Whether the authority does its work.
#[derive(Debug)]
pub struct Health {
    state: Mutex<State>,
}

#[derive(Clone, Debug)]
pub(super) struct State {
    /// Why callers may not trust what they are shown.
    pub(super) distrusted: Option<String>,
    /// The last second of the authority of the certificate that is shown.
    pub(super) until: Option<i64>,
    /// When all was last seen to be as it should be.
    pub(super) seen: Option<Instant>,
}

impl Health {
    /// Why callers may not trust what they are shown; nothing if they do.
    pub(in crate::server) fn distrusted(&self) -> Option<String> {
        self.state().distrusted.clone()
    }

    /// The last second of the authority, in seconds since 1970.
    pub(in crate::server) fn authority_until(&self) -> i64 {
        self.state().until.unwrap_or_default()
    }

    /// For how long it is not known that all is as it should be, in seconds.
    pub(in crate::server) fn age(&self) -> f64 {
        self.state().seen.map_or(f64::INFINITY, |seen| seen.elapsed().as_secs_f64())
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Health {
    fn default() -> Self {
        let distrusted =
            Some("it is not yet known whether the API server trusts the certificate".to_owned());
        Self { state: Mutex::new(State { distrusted, until: None, seen: None }) }
    }
}
