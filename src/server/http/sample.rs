//! A sample of what happens too often to be logged each time.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How many lines there may be for each reason within [`WINDOW`].
const MOST: u32 = 10;
const WINDOW: Duration = Duration::from_secs(1);

/// What was logged recently, by reason.
#[derive(Debug, Default)]
pub(in crate::server) struct Sample {
    reasons: Mutex<BTreeMap<&'static str, Window>>,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    logged: u32,
    suppressed: u64,
}

impl Sample {
    /// Whether one more may be logged for this reason: if so, how many were not since the last one.
    pub(in crate::server) fn take(&self, reason: &'static str) -> Option<u64> {
        self.take_at(reason, Instant::now())
    }

    fn take_at(&self, reason: &'static str, now: Instant) -> Option<u64> {
        let mut reasons = self.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        let new = Window { began: now, logged: 0, suppressed: 0 };
        let window = reasons.entry(reason).or_insert(new);
        if now.duration_since(window.began) >= WINDOW {
            (window.began, window.logged) = (now, 0);
        }
        if window.logged == MOST {
            window.suppressed += 1;
            return None;
        }
        window.logged += 1;
        Some(std::mem::take(&mut window.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_few_are_logged_and_the_rest_counted() {
        let (sample, begun) = (Sample::default(), Instant::now());
        let logged = (0..1000).filter(|_| sample.take_at("bad", begun) == Some(0)).count();
        assert_eq!(logged, MOST as usize);
        assert_eq!(sample.take_at("worse", begun), Some(0), "each reason has its own");
        assert_eq!(sample.take_at("bad", begun + WINDOW), Some(1000 - u64::from(MOST)));
        assert_eq!(sample.take_at("bad", begun + WINDOW), Some(0));
    }
}
