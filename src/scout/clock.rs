//! Whether the clock here is that of the API server: facts are of the age that it tells.

use jiff::{SignedDuration, Timestamp};
use prometheus_client::metrics::counter::Counter;

/// How far they may be apart.
const APART: SignedDuration = SignedDuration::from_mins(5);

/// How the clock was when it was compared last.
pub(super) struct Clock {
    errors: Counter,
    is_wrong: bool,
}

impl Clock {
    pub(super) fn new(errors: Counter) -> Self {
        Self { errors, is_wrong: false }
    }

    /// Compares a time here with the one that the API server has of the same moment, if it tells any.
    pub(super) fn compare(&mut self, here: Timestamp, there: Option<Timestamp>) {
        let Some(there) = there else { return };
        let apart = here.duration_since(there);
        let is_wrong = apart.abs() >= APART;
        if is_wrong && !self.is_wrong {
            self.errors.inc();
            tracing::error!(
                seconds = apart.as_secs(),
                "the clock differs from that of the API server, so facts seem newer or older than they are"
            );
        }
        self.is_wrong = is_wrong;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_wrong_that_is_minutes_ahead_or_behind_and_that_is_told_once() {
        let mut clock = Clock::new(Counter::default());
        let mut told_after = |here: i64, there: Option<i64>| {
            let at = |second| Timestamp::from_second(second).unwrap();
            clock.compare(at(here), there.map(at));
            clock.errors.get()
        };
        assert_eq!(told_after(10_000, None), 0, "nothing was written");
        assert_eq!(told_after(10_000, Some(10_020)), 0);
        assert_eq!(told_after(10_300, Some(10_000)), 1);
        assert_eq!(told_after(10_900, Some(10_000)), 1, "it is as wrong as before");
        assert_eq!(told_after(10_900, Some(10_900)), 1);
        assert_eq!(told_after(10_000, Some(10_900)), 2, "it is behind now");
    }
}
